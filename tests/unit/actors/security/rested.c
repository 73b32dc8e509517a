/* SPDX-License-Identifier: BSD-3-Clause */
/* A file that is being rewritten in place: whole lines of half of it are not
 * read while its writer has it open. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "security/rested.h"

static char s_path[] = "/tmp/gate-rested-XXXXXX";

/* As if it had been written so long ago. */
static void s_age(int fd, long ms) {
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec -= ms / 1000;
    now.tv_nsec -= ms % 1000 * 1000000;
    if (now.tv_nsec < 0) {
        now.tv_sec--;
        now.tv_nsec += 1000000000;
    }
    times[0] = times[1] = now;
    cr_assert_eq(futimens(fd, times), 0);
}

static long s_since(const struct stat *st) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - st->st_mtim.tv_sec) * 1000 +
           (now.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
}

static bool s_tells(void) {
    int fd = open(s_path, O_RDONLY | O_CLOEXEC);
    bool tells = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;
    close(fd);
    return tells;
}

Test(rested, not_while_a_writer_has_it_open_and_has_just_written) {
    struct stat st;
    int fd = mkstemp(s_path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "half\n", 5), 5);
    if (!s_tells()) {
        close(fd);
        unlink(s_path);
        cr_skip_test("this file system has no leases");
    }
    s_age(fd, 100);
    cr_expect(gi_rested(s_path, &st));
    cr_expect_gt(s_since(&st), 150);
    s_age(fd, 5000); /* it has it open for good: a log, an editor */
    cr_expect(gi_rested(s_path, &st));
    s_age(fd, 100);
    cr_expect_eq(gi_rested_is_open(s_path), GI_RESTED_OPEN);
    close(fd);
    cr_expect_eq(gi_rested_is_open(s_path), GI_RESTED_CLOSED);
    cr_expect(gi_rested(s_path, &st));
    cr_expect_eq(st.st_size, 5);
    unlink(s_path);
    cr_expect_not(gi_rested(s_path, &st));
    cr_expect_eq(errno, ENOENT);
}
