/* SPDX-License-Identifier: BSD-3-Clause */
/* credit.h -- how much a stream's producer may still send: items and bytes.
 * Thread: give and cancel any; take and try the producer.
 * Law: sending is allowed while both are above zero; bytes may so fall below
 * zero by one item (docs/extensions.md, stream credit). */
#ifndef GI_CREDIT_H
#define GI_CREDIT_H

#include <gaterpc/error.h>
#include <pthread.h>

#define GI_CREDIT_FREE INT64_MAX /* this one does not count */

typedef struct gi_credit {
    pthread_mutex_t mutex;
    pthread_cond_t more;
    int64_t items, bytes;
    bool cancelled;
} gi_credit_t;

void gi_credit_init(gi_credit_t *self, int64_t items, int64_t bytes);
void gi_credit_fini(gi_credit_t *self);
void gi_credit_give(gi_credit_t *self, int64_t items, int64_t bytes);
/* Takers get GATE_CANCELLED from now on. */
void gi_credit_cancel(gi_credit_t *self);
/* One item of size bytes: false when there is no credit now. */
bool gi_credit_try(gi_credit_t *self, size_t size);
/* One item could be sent. */
bool gi_credit_any(gi_credit_t *self);
/* What is left. */
void gi_credit_look(gi_credit_t *self, int64_t *items, int64_t *bytes);
/* One item of size bytes that somebody else let through. */
void gi_credit_spend(gi_credit_t *self, size_t size);
/* Waits for it. GATE_OK or GATE_CANCELLED; sets no story. */
gate_err_t gi_credit_take(gi_credit_t *self, size_t size);

#endif
