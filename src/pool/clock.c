/* SPDX-License-Identifier: BSD-3-Clause */
#include "clock.h"

#include <time.h>

int64_t gi_clock_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t gi_clock_ms(void) { return gi_clock_ns() / 1000000; }

int64_t gi_clock_coarse_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
