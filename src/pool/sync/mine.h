/* SPDX-License-Identifier: BSD-3-Clause */
/* mine.h -- something that belongs to the first thread which asks for it: that
 * one uses it without a lock, all others do without it. Memory order: relaxed,
 * since only the owner ever looks at what is guarded. */
#ifndef GI_MINE_H
#define GI_MINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct gi_mine { /* zeroed: nobody's yet */
    _Atomic(const void *) owner;
} gi_mine_t;

static inline bool gi_mine(gi_mine_t *self) {
    static _Thread_local char me;
    const void *owner =
        atomic_load_explicit(&self->owner, memory_order_relaxed);

    if (!owner && atomic_compare_exchange_strong_explicit(
                      &self->owner, &owner, &me, memory_order_relaxed,
                      memory_order_relaxed))
        return true;
    return owner == &me;
}

#endif
