/* SPDX-License-Identifier: BSD-3-Clause */
/* rested.c -- see rested.h. By the time of day, as file systems have it: a file
 * from the future has rested, as far as anybody can tell. */
#include "security/rested.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define S_REST_MS 25
#define S_OPEN_MS 150 /* while a writer has it open */
#define S_LOOKS 10

static int64_t s_ms(struct timespec t) {
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The kernel gives nobody a read lease of what is open for writing. Of another
 * user's file, and on some file systems, it says nothing. The lease is given
 * back at once; should it be broken meanwhile, the signal is one that does
 * nothing. */
gi_rested_open_t gi_rested_is_open(const char *file) {
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return GI_RESTED_UNKNOWN;
    fcntl(fd, F_SETSIG, SIGURG);
    bool had = fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
    bool is_open = !had && errno == EAGAIN;
    if (had)
        fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
    return had       ? GI_RESTED_CLOSED
           : is_open ? GI_RESTED_OPEN
                     : GI_RESTED_UNKNOWN;
}

static bool s_rests(const char *file, int64_t age_ms) {
    return age_ms < 0 || age_ms > S_OPEN_MS ||
           (age_ms > S_REST_MS && gi_rested_is_open(file) != GI_RESTED_OPEN);
}

bool gi_rested(const char *file, struct stat *st) {
    for (int i = 0; i < S_LOOKS; i++) {
        struct timespec now;
        if (stat(file, st) < 0)
            return false;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t age_ms = s_ms(now) - s_ms(st->st_mtim);
        if (s_rests(file, age_ms))
            return true;
        int64_t rest_ms = age_ms > S_REST_MS ? S_REST_MS : S_REST_MS - age_ms;
        nanosleep(&(struct timespec){.tv_nsec = (rest_ms + 1) * 1000000}, NULL);
    }
    errno = 0;
    return false;
}
