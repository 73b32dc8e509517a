/* SPDX-License-Identifier: BSD-3-Clause */
/* latch.c -- the signal is sent under the mutex, so that the waiter may free
 * the latch as soon as it has been let through. */
#include "sync/latch.h"

#include "sync/wait.h"

void gi_latch_init(gi_latch_t *self) {
    gi_wait_mutex_init(&self->mutex);
    pthread_cond_init(&self->zero, NULL);
    self->count = 0;
}

void gi_latch_fini(gi_latch_t *self) {
    pthread_cond_destroy(&self->zero);
    pthread_mutex_destroy(&self->mutex);
}

void gi_latch_add_n(gi_latch_t *self, size_t n) {
    pthread_mutex_lock(&self->mutex);
    self->count += (long)n;
    pthread_mutex_unlock(&self->mutex);
}

void gi_latch_add(gi_latch_t *self) { gi_latch_add_n(self, 1); }

void gi_latch_done(gi_latch_t *self) {
    pthread_mutex_lock(&self->mutex);
    if (--self->count == 0)
        pthread_cond_broadcast(&self->zero);
    pthread_mutex_unlock(&self->mutex);
}

void gi_latch_wait(gi_latch_t *self) {
    pthread_mutex_lock(&self->mutex);
    while (self->count)
        pthread_cond_wait(&self->zero, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}
