/* SPDX-License-Identifier: BSD-3-Clause */
/* latch.c -- only the last of it takes the mutex: the count becomes zero and
 * the signal is sent under it, so that the waiter, who looks under it, may free
 * the latch as soon as it has been let through. Whoever is not the last does
 * not touch the latch after its decrement, whose release the last one's takes
 * on (one release sequence), and the mutex hands to the waiter. */
#include "sync/latch.h"

#include "sync/wait.h"

void gi_latch_init(gi_latch_t *self) {
    gi_wait_mutex_init(&self->mutex);
    pthread_cond_init(&self->zero, NULL);
    atomic_init(&self->count, 0);
}

void gi_latch_fini(gi_latch_t *self) {
    pthread_cond_destroy(&self->zero);
    pthread_mutex_destroy(&self->mutex);
}

void gi_latch_add_n(gi_latch_t *self, size_t n) {
    atomic_fetch_add_explicit(&self->count, (long)n, memory_order_relaxed);
}

void gi_latch_add(gi_latch_t *self) { gi_latch_add_n(self, 1); }

void gi_latch_done(gi_latch_t *self) {
    long n = atomic_load_explicit(&self->count, memory_order_relaxed);
    while (n > 1)
        if (atomic_compare_exchange_weak_explicit(&self->count, &n, n - 1,
                                                  memory_order_acq_rel,
                                                  memory_order_relaxed))
            return;
    pthread_mutex_lock(&self->mutex);
    if (atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) == 1)
        pthread_cond_broadcast(&self->zero);
    pthread_mutex_unlock(&self->mutex);
}

void gi_latch_wait(gi_latch_t *self) {
    pthread_mutex_lock(&self->mutex);
    while (atomic_load_explicit(&self->count, memory_order_acquire))
        pthread_cond_wait(&self->zero, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}
