/* SPDX-License-Identifier: BSD-3-Clause */
/* rested.c -- see rested.h. By the time of day, as file systems have it: a file
 * from the future has rested, as far as anybody can tell. */
#include "security/rested.h"

#include <errno.h>
#include <stdint.h>
#include <time.h>

#define S_REST_MS 25
#define S_LOOKS 10

static int64_t s_ms(struct timespec t) {
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool gi_rested(const char *file, struct stat *st) {
    for (int i = 0; i < S_LOOKS; i++) {
        struct timespec now;
        if (stat(file, st) < 0)
            return false;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t age_ms = s_ms(now) - s_ms(st->st_mtim);
        if (age_ms < 0 || age_ms > S_REST_MS)
            return true;
        nanosleep(
            &(struct timespec){.tv_nsec = (S_REST_MS + 1 - age_ms) * 1000000},
            NULL);
    }
    errno = 0;
    return false;
}
