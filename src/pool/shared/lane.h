/* SPDX-License-Identifier: BSD-3-Clause */
/* lane.h -- payload memory of a ring: one producer takes runs of bytes in
 * order, one consumer gives them back in the same order. No free list, so a
 * killed process cannot leak any of it, and nothing in it is shared state: the
 * consumer computes where the next run must lie and checks it.
 * Thread: one side each. Units: bytes; positions only grow, a position modulo
 * size is the offset. */
#ifndef GI_LANE_H
#define GI_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GI_LANE_ALIGN 64u

static inline uint64_t gi_lane_round(size_t n) {
    return ((uint64_t)n + GI_LANE_ALIGN - 1) & ~(uint64_t)(GI_LANE_ALIGN - 1);
}

/* Where a run of n bytes begins when tail is the next free position: runs do
 * not wrap, the rest before the end is skipped. n <= size, size a multiple of
 * GI_LANE_ALIGN. */
static inline uint64_t gi_lane_place(uint64_t size, uint64_t tail, size_t n) {
    uint64_t offset = tail % size;
    return offset + gi_lane_round(n) > size ? tail - offset + size : tail;
}

/* Takes a run: *at is its position, *tail the next free one; false when the
 * consumer, who has freed everything below free_to, has not made room. */
static inline bool gi_lane_take(uint64_t size, uint64_t *tail, uint64_t free_to,
                                size_t n, uint64_t *at) {
    uint64_t begin = gi_lane_place(size, *tail, n);
    uint64_t end = begin + gi_lane_round(n);
    if (n > size || end - free_to > size)
        return false;
    *at = begin;
    *tail = end;
    return true;
}

#endif
