/* SPDX-License-Identifier: BSD-3-Clause */
/* Two sides of a ring pair over one piece of memory: what one puts the other
 * takes, in order and whole, at any position; what breaks the law is told, and
 * reaches nothing else. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "shared/ringpair.h"

#define RING GI_RINGPAIR_MIN

typedef struct s_both {
    unsigned char *memory;
    gi_ringpair_t one, two;
} s_both_t;

static s_both_t s_open(uint64_t at) {
    s_both_t b = {.memory = aligned_alloc(64, gi_ringpair_bytes(RING))};
    memset(b.memory, 0, gi_ringpair_bytes(RING));
    /* every word of position that is not zero in fresh memory */
    memcpy(b.memory, &at, 8);
    memcpy(b.memory + 64, &at, 8);
    unsigned char *second = b.memory + gi_ringpair_bytes(RING) / 2;
    memcpy(second, &at, 8);
    memcpy(second + 64, &at, 8);
    gi_ringpair_open(&b.one, b.memory, RING, true, at);
    gi_ringpair_open(&b.two, b.memory, RING, false, at);
    return b;
}

static void s_close(s_both_t *b) { free(b->memory); }

static bool s_put(gi_ringpair_t *self, size_t size, unsigned n) {
    unsigned char *to = gi_ringpair_room(self, size);
    if (!to)
        return false;
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)(n + i);
    gi_ringpair_put(self, size, false);
    return true;
}

static void s_take(gi_ringpair_t *self, size_t size, unsigned n) {
    unsigned char in[RING];
    size_t got = 0;
    bool more = true;
    cr_assert_eq(gi_ringpair_next(self, &got, &more), 1);
    cr_assert_eq(got, size);
    cr_assert_not(more);
    gi_ringpair_take(self, in);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(in[i], (unsigned char)(n + i));
}

static int s_next(gi_ringpair_t *self) {
    size_t size;
    bool more;
    return gi_ringpair_next(self, &size, &more);
}

Test(ringpair, both_directions_in_order_at_any_position) {
    const uint64_t starts[] = {
        0, 8, RING - 8, UINT64_MAX - RING + 1, UINT64_MAX - 63, UINT64_MAX - 7};
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        s_both_t b = s_open(starts[s]);
        for (unsigned n = 0; n < 2000; n++) {
            size_t size = 1 + n * 37 % gi_ringpair_most(&b.one);
            cr_assert(s_put(&b.one, size, n));
            cr_assert(s_put(&b.two, 1 + n % 50, n + 1));
            s_take(&b.two, size, n);
            s_take(&b.one, 1 + n % 50, n + 1);
            cr_assert_eq(s_next(&b.one), 0);
            cr_assert_eq(s_next(&b.two), 0);
        }
        s_close(&b);
    }
}

Test(ringpair, full_is_said_and_room_is_rung_for) {
    s_both_t b = s_open(UINT64_MAX - 1023);
    unsigned n = 0, at = 0;
    while (s_put(&b.one, 100, n))
        n++;
    cr_assert_geq(n, RING / 104 - 1);
    cr_assert_leq(n, RING / 104);
    cr_assert_not(b.one.bad);
    cr_assert_not(gi_ringpair_freed(&b.two), "nothing was read");
    s_take(&b.two, 100, at++);
    cr_assert_not(gi_ringpair_freed(&b.two), "less than half is free");
    while (at <= n / 2 + 1)
        s_take(&b.two, 100, at++);
    cr_assert(gi_ringpair_freed(&b.two), "who waits is to be rung");
    cr_assert_not(gi_ringpair_freed(&b.two), "once");
    cr_assert(s_put(&b.one, 100, n++));
    while (at < n)
        s_take(&b.two, 100, at++);
    cr_assert_not(gi_ringpair_freed(&b.two), "nobody waits");
    s_close(&b);
}

Test(ringpair, the_largest_record_fits_wherever_an_empty_ring_stands) {
    for (uint64_t at = 0; at < RING; at += 8) {
        s_both_t b = s_open(at);
        cr_assert(s_put(&b.one, gi_ringpair_most(&b.one), 7), "at %d", (int)at);
        s_take(&b.two, gi_ringpair_most(&b.one), 7);
        s_close(&b);
    }
}

Test(ringpair, pieces_say_that_more_follows) {
    s_both_t b = s_open(0);
    size_t size;
    bool more = false;
    char in[8];
    memcpy(gi_ringpair_room(&b.one, 3), "abc", 3);
    gi_ringpair_put(&b.one, 3, true);
    memcpy(gi_ringpair_room(&b.one, 2), "de", 2);
    gi_ringpair_put(&b.one, 2, false);
    cr_assert_eq(gi_ringpair_next(&b.two, &size, &more), 1);
    cr_assert(more && size == 3);
    gi_ringpair_take(&b.two, in);
    cr_assert_eq(gi_ringpair_next(&b.two, &size, &more), 1);
    cr_assert(!more && size == 2);
    gi_ringpair_take(&b.two, in + 3);
    cr_assert_eq(memcmp(in, "abcde", 5), 0);
    s_close(&b);
}

Test(ringpair, a_sleeper_is_rung_once) {
    s_both_t b = s_open(0);
    cr_assert(gi_ringpair_sleep(&b.two), "nothing is there");
    cr_assert(s_put(&b.one, 5, 1));
    cr_assert(gi_ringpair_there(&b.two));
    cr_assert(gi_ringpair_sleeper(&b.one));
    cr_assert_not(gi_ringpair_sleeper(&b.one));
    gi_ringpair_wake(&b.two);
    cr_assert_not(gi_ringpair_sleep(&b.two), "something is there");
    gi_ringpair_wake(&b.two);
    cr_assert_not(gi_ringpair_sleeper(&b.one), "it is awake");
    gi_ringpair_load(&b.one, 3);
    cr_assert_eq(gi_ringpair_other_load(&b.two), 3);
    s_close(&b);
}

/* Each word that the other side could have written, with values that are near
 * the right ones and far from them: what is read stays within what was written,
 * or the pair is bad, for good. */
Test(ringpair, each_word_scribbled_ends_it_or_does_not_matter) {
    const uint64_t values[] = {0,        1,          7,         8,
                               16,       RING,       RING + 8,  RING / 2,
                               RING * 2, UINT32_MAX, 1u << 31,  (1u << 31) | 9,
                               4093,     UINT64_MAX, 1ull << 63};
    size_t bytes = gi_ringpair_bytes(RING);
    for (size_t at = 0; at < bytes; at += at < 512 ? 4 : 60)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            s_both_t b = s_open(RING - 64);
            unsigned char in[RING];
            size_t size, taken = 0;
            bool more;
            for (unsigned n = 0; n < 6; n++)
                cr_assert(s_put(&b.one, 40, n) && s_put(&b.two, 40, n));
            size_t n = at + 8 <= bytes ? 8 : 4;
            memcpy(b.memory + at, &values[v], n);
            while (gi_ringpair_next(&b.two, &size, &more) == 1) {
                cr_assert_leq(size, RING);
                gi_ringpair_take(&b.two, in);
                cr_assert_lt(taken += size + 4, 2 * RING, "it has an end");
            }
            if (b.two.bad)
                cr_assert_eq(s_next(&b.two), -1, "for good");
            gi_ringpair_freed(&b.two);
            gi_ringpair_sleeper(&b.one);
            s_put(&b.one, 100, 1); /* wherever: within */
            s_close(&b);
        }
}

Test(ringpair, a_head_that_nobody_can_have_is_bad) {
    s_both_t b = s_open(0);
    uint64_t beyond = RING * 3;
    cr_assert(s_put(&b.one, 40, 1));
    memcpy(b.memory + 64, &beyond, 8);
    while (s_put(&b.one, 40, 1)) {
    }
    cr_assert(b.one.bad);
    cr_assert_null(gi_ringpair_room(&b.one, 1));
    s_close(&b);
}

Test(ringpair, a_length_that_reaches_beyond_what_is_there_is_bad) {
    const uint32_t words[] = {0, UINT32_MAX, RING, 48, (1u << 31) | 48};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        s_both_t b = s_open(0);
        unsigned char *to = gi_ringpair_room(&b.one, 40);
        gi_ringpair_put(&b.one, 40, false);
        memcpy(to - 4, &words[i], 4);
        cr_assert_eq(s_next(&b.two), -1, "%u", words[i]);
        cr_assert(b.two.bad);
        cr_assert_not(gi_ringpair_there(&b.two));
        s_close(&b);
    }
}
