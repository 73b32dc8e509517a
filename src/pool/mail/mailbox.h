/* SPDX-License-Identifier: BSD-3-Clause */
/* mailbox.h -- an actor's way in: a bounded ring of pointers with many
 * producers and one consumer, and a doorbell. Thread: push and close any; the
 * rest the owner. Blocks: push up to its timeout. Owns: not the items; after
 * close the owner pops what is left. */
#ifndef GI_MAILBOX_H
#define GI_MAILBOX_H

#include <gaterpc/error.h>

typedef struct gi_mailbox gi_mailbox_t;

/* Room for at least capacity items. NULL: no memory or descriptor. */
gi_mailbox_t *gi_mailbox_new(size_t capacity);
void gi_mailbox_destroy(gi_mailbox_t **self_p);
/* GATE_BUSY: full for timeout_ms (0: not waiting, -1: for ever); GATE_CLOSED.
 * Sets no story: hot path. */
gate_err_t gi_mailbox_push(gi_mailbox_t *self, void *item, int64_t timeout_ms);
/* Takes up to max items in order; returns how many. */
size_t gi_mailbox_pop(gi_mailbox_t *self, void **items, size_t max);
void gi_mailbox_close(gi_mailbox_t *self);
bool gi_mailbox_there(const gi_mailbox_t *self); /* an item, for its owner */
int gi_mailbox_fd(const gi_mailbox_t *self);
/* Declares sleep; false when items are waiting (then it is awake). */
bool gi_mailbox_sleep(gi_mailbox_t *self);
void gi_mailbox_wake(gi_mailbox_t *self);
/* The next sleep lets others run for a moment before it is declared: for mail
 * whose sender waits for the answer and sends again. */
void gi_mailbox_linger(gi_mailbox_t *self);

#endif
