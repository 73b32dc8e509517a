/* SPDX-License-Identifier: BSD-3-Clause */
/* hist.c -- slot of v: its highest 7 bits, and how far they were shifted.
 *
 *   v < 64          slot v, exact
 *   otherwise       shift = bits(v) - 7; slot = (shift + 1) * 64 + the 6 bits
 *                   below the highest */
#include "bench/rigs/hist.h"

static size_t s_slot(uint64_t v) {
    if (v >> GI_HIST_TOP_BITS)
        return GI_HIST_SLOTS - 1;
    if (v < 1u << GI_HIST_STEP_BITS)
        return (size_t)v;
    unsigned shift = 63u - (unsigned)__builtin_clzll(v) - GI_HIST_STEP_BITS;
    return ((size_t)shift << GI_HIST_STEP_BITS) + (size_t)(v >> shift);
}

/* The largest value of a slot. */
static uint64_t s_top(size_t slot) {
    if (slot < 1u << GI_HIST_STEP_BITS)
        return slot;
    size_t shift = (slot >> GI_HIST_STEP_BITS) - 1;
    uint64_t high = slot - (shift << GI_HIST_STEP_BITS);
    return ((high + 1) << shift) - 1;
}

void gi_hist_add(gi_hist_t *self, uint64_t ns) {
    self->slots[s_slot(ns)]++;
    self->n++;
    self->sum += ns;
    if (ns > self->max)
        self->max = ns;
}

void gi_hist_merge(gi_hist_t *self, const gi_hist_t *other) {
    for (size_t i = 0; i < GI_HIST_SLOTS; i++)
        self->slots[i] += other->slots[i];
    self->n += other->n;
    self->sum += other->sum;
    if (other->max > self->max)
        self->max = other->max;
}

uint64_t gi_hist_at(const gi_hist_t *self, double part) {
    double rank = part * (double)self->n;
    uint64_t want = (uint64_t)rank, seen = 0;
    if ((double)want < rank || !want)
        want++;
    for (size_t i = 0; i < GI_HIST_SLOTS && self->n; i++) {
        seen += self->slots[i];
        if (seen >= want)
            return s_top(i) < self->max ? s_top(i) : self->max;
    }
    return self->max;
}

double gi_hist_mean(const gi_hist_t *self) {
    return self->n ? (double)self->sum / (double)self->n : 0;
}
