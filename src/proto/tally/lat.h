/* SPDX-License-Identifier: BSD-3-Clause */
/* lat.h -- how long things took: a histogram of 8 steps an octave from 1 us to
 * 67.1 s. Adding is a multiplication, a clz and three additions; a value is
 * known to 12.5 %. The edges at powers of two of a microsecond are exact, so
 * what is exported by octaves (gi_lat_below) is no approximation. Counts only
 * grow: who wants those of a minute subtracts two looks.
 * Thread: one. Units: ns. Law: n is the sum of all slots. */
#ifndef GI_LAT_H
#define GI_LAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GI_LAT_OCTAVES 26 /* 1 us << 26 = 67.1 s */
#define GI_LAT_SLOTS (GI_LAT_OCTAVES * 8)
#define GI_LAT_UNDER GI_LAT_SLOTS      /* below 1 us */
#define GI_LAT_OVER (GI_LAT_SLOTS + 1) /* 67.1 s and longer */

typedef struct gi_lat {
    uint64_t n, sum_ns;
    uint64_t slot[GI_LAT_SLOTS + 2];
} gi_lat_t;

/* Which slot a time belongs to. */
static inline unsigned gi_lat_slot(uint64_t ns) {
    uint64_t v = ns / 125; /* a step of the first octave */
    if (v < 8)
        return GI_LAT_UNDER;
    unsigned octave = 60u - (unsigned)__builtin_clzll(v);
    unsigned slot = octave * 8 + ((unsigned)(v >> octave) & 7u);
    return slot < GI_LAT_SLOTS ? slot : GI_LAT_OVER;
}

/* One whose slot is known. */
static inline void gi_lat_put(gi_lat_t *self, unsigned slot, uint64_t ns) {
    self->n++;
    self->sum_ns += ns;
    self->slot[slot]++;
}

static inline void gi_lat_add(gi_lat_t *self, int64_t ns) {
    uint64_t t = ns > 0 ? (uint64_t)ns : 0;
    gi_lat_put(self, gi_lat_slot(t), t);
}

void gi_lat_fold(gi_lat_t *self, const gi_lat_t *from);
/* Where a slot begins, ns; that of GI_LAT_SLOTS is where the last one ends. */
uint64_t gi_lat_edge(unsigned slot);
/* How many took less than 1 us << octave, octave 0..GI_LAT_OCTAVES. */
uint64_t gi_lat_below(const gi_lat_t *self, unsigned octave);
/* The time that share (0..1) of all stay below, between the edges of its slot;
 * 0: there are none. */
double gi_lat_quantile_ns(const gi_lat_t *self, double share);

#endif
