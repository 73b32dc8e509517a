/* SPDX-License-Identifier: BSD-3-Clause */
/* doorbell.c -- memory order: the flag and the queue are a Dekker pair. The
 * owner stores the flag and then loads the queue, a ringer stores to the queue
 * and then loads the flag; a full fence between the two on each side makes it
 * impossible that both loads miss the other's store, whatever order the queue
 * itself uses. ThreadSanitizer does not know fences: there an RMW of the flag
 * takes the fence's place (either RMW is ordered before the other and the later
 * one acquires what the earlier one released). */
#include "mail/doorbell.h"

#include <unistd.h>

#include "base/err.h"
#include "sync/wait.h"

static inline void s_fence(gi_doorbell_t *self) {
#ifdef __SANITIZE_THREAD__
    atomic_fetch_add(&self->sleeping, 0);
#else
    (void)self;
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

gate_err_t gi_doorbell_init(gi_doorbell_t *self) {
    atomic_init(&self->sleeping, 0);
    self->owed = 0;
    self->fd = gi_wait_eventfd();
    return self->fd < 0 ? gi_err_errno("eventfd") : GATE_OK;
}

void gi_doorbell_fini(gi_doorbell_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
}

void gi_doorbell_ring(gi_doorbell_t *self) {
    s_fence(self);
    if (atomic_load_explicit(&self->sleeping, memory_order_relaxed) &&
        atomic_exchange(&self->sleeping, 0)) /* one ringer pays for the write */
        gi_wait_ring(self->fd);
}

void gi_doorbell_sleep(gi_doorbell_t *self) {
    atomic_store_explicit(&self->sleeping, 1, memory_order_relaxed);
    s_fence(self);
}

void gi_doorbell_wake(gi_doorbell_t *self) {
    /* A ringer that took the flag writes a moment later: what is not there to
     * be read yet stays owed, so that a late ring is read by a later wake and
     * does not keep poll() returning for ever. */
    if (!atomic_exchange(&self->sleeping, 0))
        self->owed++;
    if (self->owed)
        self->owed -= gi_wait_hush(self->fd);
}
