/* SPDX-License-Identifier: BSD-3-Clause */
/* ref.h -- a reference count. Memory orders: a release before each drop and an
 * acquire at the last one, so that whoever frees sees all that others did. */
#ifndef GI_REF_H
#define GI_REF_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct gi_ref {
    atomic_int n;
} gi_ref_t;

static inline void gi_ref_init(gi_ref_t *self) { atomic_init(&self->n, 1); }
static inline void gi_ref_take(gi_ref_t *self) {
    atomic_fetch_add_explicit(&self->n, 1, memory_order_relaxed);
}
static inline void gi_ref_take_n(gi_ref_t *self, unsigned n) {
    atomic_fetch_add_explicit(&self->n, (int)n, memory_order_relaxed);
}
/* Drops n at once; true for the one that must free. */
static inline bool gi_ref_drop_n(gi_ref_t *self, unsigned n) {
    return atomic_fetch_sub_explicit(&self->n, (int)n, memory_order_acq_rel) ==
           (int)n;
}
/* True for the one that must free. Who finds one left holds it: nobody else can
 * take another, and looking is enough. */
static inline bool gi_ref_drop(gi_ref_t *self) {
    return atomic_load_explicit(&self->n, memory_order_acquire) == 1 ||
           atomic_fetch_sub_explicit(&self->n, 1, memory_order_acq_rel) == 1;
}

#endif
