/* SPDX-License-Identifier: BSD-3-Clause */
/* crumbs.c -- pieces of ZMTP streams: what is a message in crumbs, and what an
 * honest one may look like. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "wire/crumbs.h"

#define MAX 64

static unsigned char s_in[16384];

/* So many frames of that size from at on; the end. */
static size_t s_frames(size_t at, unsigned n, size_t size, bool large) {
    for (; n > 0 && at + size + 9 <= sizeof s_in; n--) {
        s_in[at++] = large ? 3 : 1;
        memset(s_in + at, 0, large ? 8 : 0);
        at += large ? 8 : 1;
        s_in[at - 1] = (unsigned char)size;
        if (large)
            s_in[at - 2] = (unsigned char)(size >> 8);
        memset(s_in + at, 0xee, size);
        at += size;
    }
    return at;
}

Test(crumbs, frame_after_frame_is_seen_from_anywhere) {
    static const size_t sizes[] = {0, 1, 2, 33, 34, 100, 200};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned large = 0; large < 2; large++) {
            size_t end = s_frames(0, 5000, sizes[i], large);
            size_t one = sizes[i] + (large ? 9 : 2);
            for (size_t at = 0; at < one; at++)
                cr_assert(gi_crumbs(s_in + at, end - at, MAX), "%zu at %zu",
                          sizes[i], at);
        }
}

/* As many as a message may have are none. */
Test(crumbs, an_honest_message_is_not) {
    size_t end = s_frames(0, 64, 5, false);
    cr_assert_not(gi_crumbs(s_in, end, MAX));
    end = s_frames(end, 1, 5, false);
    cr_assert(gi_crumbs(s_in, end, MAX));
    cr_assert_not(gi_crumbs(s_in, 0, MAX));
    cr_assert_not(gi_crumbs(s_in, 1, MAX));
}

Test(crumbs, bodies_are_not) {
    memset(s_in, 0, sizeof s_in);
    cr_assert_not(gi_crumbs(s_in, sizeof s_in, MAX), "zeros");
    memset(s_in, 0xff, sizeof s_in);
    cr_assert_not(gi_crumbs(s_in, sizeof s_in, MAX));
    for (size_t i = 0; i < sizeof s_in; i++)
        s_in[i] = i % 4 == 0;
    cr_assert_not(gi_crumbs(s_in, sizeof s_in, MAX), "ones of 32 bits");
    for (size_t i = 0; i < sizeof s_in; i++)
        s_in[i] = i % 8 == 7;
    cr_assert_not(gi_crumbs(s_in, sizeof s_in, MAX),
                  "and of 64, the other way");
    srand(1);
    for (int round = 0; round < 500; round++) {
        for (size_t i = 0; i < sizeof s_in; i++)
            s_in[i] = (unsigned char)(rand() >> 8) & (round % 2 ? 255 : 3);
        cr_assert_not(gi_crumbs(s_in, sizeof s_in, MAX), "by chance");
    }
}
