/* SPDX-License-Identifier: BSD-3-Clause */
/* gauge.h -- a bounded counter shared by threads: how much is in flight. Who
 * finds it full may wait for room. Thread: any. Blocks: await alone. */
#ifndef GI_GAUGE_H
#define GI_GAUGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct gi_gauge { /* a cache line of its own, wherever it lies */
    char before[48];
    atomic_uint waiting; /* threads in await */
    atomic_uint told;    /* changes when there is room for one of them */
    atomic_llong n;
    char behind[56];
} gi_gauge_t;

static inline void gi_gauge_init(gi_gauge_t *self) {
    atomic_init(&self->n, 0);
    atomic_init(&self->waiting, 0);
    atomic_init(&self->told, 0);
}
void gi_gauge_tell(gi_gauge_t *self);
/* Until one could enter, perhaps; false when deadline_ms (gi_clock_ms) has
 * passed first. */
bool gi_gauge_await(gi_gauge_t *self, int64_t max, int64_t deadline_ms);
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
/* Sequentially consistent, as await: either it sees the room or we see it. */
static inline void gi_gauge_leave_n(gi_gauge_t *self, int64_t n) {
    if (!n)
        return;
    atomic_fetch_sub(&self->n, n);
    if (atomic_load(&self->waiting))
        gi_gauge_tell(self);
}
static inline void gi_gauge_leave(gi_gauge_t *self) {
    gi_gauge_leave_n(self, 1);
}
static inline int64_t gi_gauge_read(const gi_gauge_t *self) {
    return atomic_load_explicit(&self->n, memory_order_relaxed);
}

#endif
