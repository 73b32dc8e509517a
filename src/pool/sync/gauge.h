/* SPDX-License-Identifier: BSD-3-Clause */
/* gauge.h -- a bounded counter shared by threads: how much is in flight. */
#ifndef GI_GAUGE_H
#define GI_GAUGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct gi_gauge { /* a cache line of its own, wherever it lies */
    char before[56];
    atomic_llong n;
    char behind[56];
} gi_gauge_t;

static inline void gi_gauge_init(gi_gauge_t *self) { atomic_init(&self->n, 0); }
/* Adds one unless that would pass max. */
static inline bool gi_gauge_enter(gi_gauge_t *self, int64_t max) {
    if (atomic_fetch_add_explicit(&self->n, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(&self->n, 1, memory_order_relaxed);
    return false;
}
static inline void gi_gauge_add(gi_gauge_t *self) {
    atomic_fetch_add_explicit(&self->n, 1, memory_order_relaxed);
}
static inline void gi_gauge_leave(gi_gauge_t *self) {
    atomic_fetch_sub_explicit(&self->n, 1, memory_order_relaxed);
}
static inline void gi_gauge_leave_n(gi_gauge_t *self, int64_t n) {
    if (n)
        atomic_fetch_sub_explicit(&self->n, n, memory_order_relaxed);
}
static inline int64_t gi_gauge_read(const gi_gauge_t *self) {
    return atomic_load_explicit(&self->n, memory_order_relaxed);
}

#endif
