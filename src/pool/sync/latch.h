/* SPDX-License-Identifier: BSD-3-Clause */
/* latch.h -- counts work that somebody else runs, so that its owner can wait
 * for the last of it. Thread: any. */
#ifndef GI_LATCH_H
#define GI_LATCH_H

#include <pthread.h>
#include <stdatomic.h>

typedef struct gi_latch {
    pthread_mutex_t mutex;
    pthread_cond_t zero;
    atomic_long count;
} gi_latch_t;

void gi_latch_init(gi_latch_t *self);
void gi_latch_fini(gi_latch_t *self);
void gi_latch_add_n(gi_latch_t *self, size_t n);
void gi_latch_add(gi_latch_t *self);
void gi_latch_done(gi_latch_t *self);
/* Blocks until the count is zero. */
void gi_latch_wait(gi_latch_t *self);

#endif
