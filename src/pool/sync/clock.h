/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h -- monotonic time; nothing in the library looks at the wall clock
 * except log lines. */
#ifndef GI_CLOCK_H
#define GI_CLOCK_H

#include <stdint.h>

int64_t gi_clock_ms(void);
int64_t gi_clock_ns(void);
/* The same clock at the last timer tick (1..4 ms ago): for gauges on hot
 * paths, a quarter of the price. */
int64_t gi_clock_coarse_ns(void);
/* When timeout_ms from now are over: never early, and late by a tick at most
 * where that is little beside the timeout. */
int64_t gi_clock_deadline_ms(int64_t timeout_ms);

#endif
