/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/clock.h"

#include <time.h>

int64_t gi_clock_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t gi_clock_ms(void) { return gi_clock_ns() / 1000000; }

#define S_TICK_MS 10 /* at most, by the coarse clock */
#define S_LONG_MS 1000

int64_t gi_clock_deadline_ms(int64_t timeout_ms) {
    int64_t now_ms = timeout_ms < S_LONG_MS
                         ? gi_clock_ms()
                         : gi_clock_coarse_ns() / 1000000 + S_TICK_MS;

    return timeout_ms < INT64_MAX - now_ms ? now_ms + timeout_ms : INT64_MAX;
}

int64_t gi_clock_coarse_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
