/* SPDX-License-Identifier: BSD-3-Clause */
/* moment.h -- moments and spans in one unit, added so that a peer's number
 * cannot overflow them. Thread: any. */
#ifndef GI_MOMENT_H
#define GI_MOMENT_H

#include <stdint.h>

#define GI_NEVER INT64_MAX

/* The moment that lies so far behind now; GI_NEVER when it cannot be said, or
 * the span is below zero (for ever). */
static inline int64_t gi_time_after(int64_t now, int64_t span) {
    return span < 0 || (now > 0 && span > GI_NEVER - now) ? GI_NEVER
                                                          : now + span;
}

#endif
