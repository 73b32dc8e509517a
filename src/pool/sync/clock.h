/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h -- monotonic time; nothing in the library looks at the wall clock
 * except log lines. */
#ifndef GI_CLOCK_H
#define GI_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t gi_clock_ms(void);
int64_t gi_clock_ns(void);
/* The same clock at the last timer tick (1..4 ms ago): for gauges on hot
 * paths, a quarter of the price. */
int64_t gi_clock_coarse_ns(void);
/* When timeout_ms from now are over: never early, and late by a tick at most
 * where that is little beside the timeout. */
int64_t gi_clock_deadline_ms(int64_t timeout_ms);

/* Milliseconds (or any) that last: at + span, never beyond INT64_MAX, which is
 * never; span < 0 is none as well. The one place where times are added that
 * somebody else has chosen. */
static inline int64_t gi_time_add(int64_t at, int64_t span) {
    return span < 0 || span > INT64_MAX - (at > 0 ? at : 0) ? INT64_MAX
                                                            : at + span;
}
/* A limit as users give it: 0 = not given; -1 and INT64_MAX = none. */
static inline bool gi_time_none(int64_t limit) {
    return limit == -1 || limit == INT64_MAX;
}

#endif
