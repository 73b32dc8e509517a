/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/gauge.h"

#include "sync/wait.h"

void gi_gauge_tell(gi_gauge_t *self) {
    atomic_fetch_add(&self->told, 1);
    gi_wait_word_wake(&self->told);
}

bool gi_gauge_await(gi_gauge_t *self, int64_t max, int64_t deadline_ms) {
    int64_t deadline_ns =
        deadline_ms >= INT64_MAX / 1000000 ? INT64_MAX : deadline_ms * 1000000;
    bool in_time = true;
    atomic_fetch_add(&self->waiting, 1);
    while (in_time) {
        unsigned told = atomic_load(&self->told);
        if (atomic_load(&self->n) < max)
            break;
        in_time = gi_wait_word(&self->told, told, deadline_ns);
    }
    atomic_fetch_sub(&self->waiting, 1);
    return in_time;
}
