/* SPDX-License-Identifier: BSD-3-Clause */
/* credit.c -- a mutex and a condition: only a producer that has run out waits,
 * and a stream item costs a message anyway. */
#include "mail/credit.h"

void gi_credit_init(gi_credit_t *self, int64_t items, int64_t bytes) {
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->more, NULL);
    self->items = items;
    self->bytes = bytes;
    self->cancelled = false;
}

void gi_credit_fini(gi_credit_t *self) {
    pthread_cond_destroy(&self->more);
    pthread_mutex_destroy(&self->mutex);
}

static int64_t s_add(int64_t have, int64_t more) {
    if (have == GI_CREDIT_FREE || more <= 0)
        return have;
    return more > GI_CREDIT_FREE - 1 - (have > 0 ? have : 0)
               ? GI_CREDIT_FREE - 1
               : have + more;
}

void gi_credit_give(gi_credit_t *self, int64_t items, int64_t bytes) {
    pthread_mutex_lock(&self->mutex);
    self->items = s_add(self->items, items);
    self->bytes = s_add(self->bytes, bytes);
    pthread_cond_broadcast(&self->more);
    pthread_mutex_unlock(&self->mutex);
}

void gi_credit_cancel(gi_credit_t *self) {
    pthread_mutex_lock(&self->mutex);
    self->cancelled = true;
    pthread_cond_broadcast(&self->more);
    pthread_mutex_unlock(&self->mutex);
}

/* Both with the mutex held. */
static void s_pay(gi_credit_t *self, size_t size) {
    if (self->items != GI_CREDIT_FREE)
        self->items--;
    if (self->bytes != GI_CREDIT_FREE)
        self->bytes -= (int64_t)size;
}

static bool s_spend(gi_credit_t *self, size_t size) {
    if (self->items <= 0 || self->bytes <= 0)
        return false;
    s_pay(self, size);
    return true;
}

bool gi_credit_try(gi_credit_t *self, size_t size) {
    pthread_mutex_lock(&self->mutex);
    bool ok = !self->cancelled && s_spend(self, size);
    pthread_mutex_unlock(&self->mutex);
    return ok;
}

bool gi_credit_any(gi_credit_t *self) {
    pthread_mutex_lock(&self->mutex);
    bool any = self->items > 0 && self->bytes > 0;
    pthread_mutex_unlock(&self->mutex);
    return any;
}

void gi_credit_look(gi_credit_t *self, int64_t *items, int64_t *bytes) {
    pthread_mutex_lock(&self->mutex);
    *items = self->items;
    *bytes = self->bytes;
    pthread_mutex_unlock(&self->mutex);
}

void gi_credit_spend(gi_credit_t *self, size_t size) {
    pthread_mutex_lock(&self->mutex);
    s_pay(self, size);
    pthread_mutex_unlock(&self->mutex);
}

gate_err_t gi_credit_take(gi_credit_t *self, size_t size) {
    pthread_mutex_lock(&self->mutex);
    bool ok = false;
    while (!self->cancelled && !(ok = s_spend(self, size)))
        pthread_cond_wait(&self->more, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    return ok ? GATE_OK : GATE_CANCELLED;
}
