/* SPDX-License-Identifier: BSD-3-Clause */
/* hist.h -- a histogram of nanoseconds, log-linear as HdrHistogram's: 64 steps
 * per power of two, so a value is known to 1.6 %, from 1 ns to 73 minutes.
 * A flat struct: it goes through a pipe as it stands. Thread: one. */
#ifndef GI_HIST_H
#define GI_HIST_H

#include <stddef.h>
#include <stdint.h>

enum {
    GI_HIST_STEP_BITS = 6,
    GI_HIST_TOP_BITS = 42,
    GI_HIST_SLOTS = (GI_HIST_TOP_BITS - GI_HIST_STEP_BITS + 1)
                    << GI_HIST_STEP_BITS
};

/* Law: n is the sum of slots. */
typedef struct gi_hist {
    uint64_t n, sum, max;
    uint64_t slots[GI_HIST_SLOTS];
} gi_hist_t;

/* Counts one value; what is beyond the range counts as the largest in it. */
void gi_hist_add(gi_hist_t *self, uint64_t ns);
void gi_hist_merge(gi_hist_t *self, const gi_hist_t *other);
/* The smallest value that `part` (0..1) of all do not exceed, rounded up by at
 * most 1.6 %; 0 when there is none. */
uint64_t gi_hist_at(const gi_hist_t *self, double part);
double gi_hist_mean(const gi_hist_t *self);

#endif
