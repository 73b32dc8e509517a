/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may have how much of the room for huge arguments: heads take none, who
 * stands still loses his, and whatever was let in can end. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include "service/core/arrivals.h"

#define MIB ((int64_t)1 << 20)
#define MAX (256 * MIB)
#define STILL 5000
#define MANY 3000

static gi_arrivals_t s_all;
static gi_arrival_t s_a[MANY];

static void s_begin(void) {
    memset(s_a, 0, sizeof s_a);
    gi_arrivals_init(&s_all, MAX, STILL);
}

static bool s_open(size_t i, uint64_t client, int64_t size, int64_t now) {
    gi_arrival_open(&s_all, &s_a[i], client, size, now);
    return gi_arrival_grant(&s_a[i], now);
}

/* As far as it is let, to the end. */
static void s_make(size_t i, int64_t now) {
    gi_arrival_t *a = &s_a[i];
    do
        gi_arrival_made(a, gi_arrival_whole(a) ? a->size : a->granted, now);
    while (gi_arrival_grant(a, now) && a->made < a->size);
    cr_assert(gi_arrivals_valid(&s_all));
}

/* Four heads that announce all the room there is, of one client or of four,
 * leave a stranger what he needs, at once. */
Test(arrivals, heads_take_no_room) {
    for (uint64_t clients = 1; clients <= 4; clients += 3) {
        s_begin();
        for (size_t i = 0; i < 4; i++)
            cr_assert(s_open(i, i % clients, MAX, 0));
        cr_assert(s_open(4, 99, MAX, 0));
        s_make(4, 0);
        cr_assert_eq(s_a[4].made, MAX);
        gi_arrival_close(&s_a[4]);
        cr_assert_leq(s_all.granted, 4 * MIB);
    }
}

/* More heads than fit: they stand still, so they lose what little they have;
 * who waits for room, or moves, does not. */
Test(arrivals, who_stands_still_loses_it) {
    s_begin();
    for (size_t i = 0; i < 2000; i++)
        (void)s_open(i, i, MAX, 0);
    cr_assert(!s_open(2000, 9999, MAX, 0));
    cr_assert(gi_arrivals_valid(&s_all));
    /* this one took what it got, and waits for more */
    gi_arrival_made(&s_a[500], MIB, STILL - 1);
    cr_assert(!gi_arrival_grant(&s_a[500], STILL - 1));
    size_t n = 0;
    for (size_t i = 0; i <= 2000; i++) {
        cr_assert(!gi_arrival_blocks(&s_a[i], STILL - 1));
        if (!gi_arrival_blocks(&s_a[i], STILL))
            continue;
        cr_assert_neq(i, 500);
        cr_assert_neq(i, 2000);
        gi_arrival_close(&s_a[i]);
        n++;
    }
    cr_assert_gt(n, 500);
    cr_assert(gi_arrival_grant(&s_a[2000], STILL));
}

/* A byte now and then is no progress; a sixty-fourth of it is. */
Test(arrivals, crumbs_are_no_progress) {
    s_begin();
    cr_assert(s_open(0, 0, MAX, 0));
    cr_assert(s_open(1, 1, MAX, 0));
    s_make(1, 0);
    cr_assert(s_open(2, 2, MAX, 0));
    s_make(2, 0);
    cr_assert(s_open(3, 3, MAX, 0));
    s_make(3, 0);
    cr_assert_eq(s_all.n_short, 1);
    /* half of what was left, in steps */
    cr_assert(s_a[3].made > 112 * MIB && s_a[3].made <= 128 * MIB);
    gi_arrival_made(&s_a[0], 1, STILL - 1);
    cr_assert(gi_arrival_blocks(&s_a[0], STILL));
    gi_arrival_made(&s_a[0], MAX / 64, STILL);
    cr_assert(!gi_arrival_blocks(&s_a[0], STILL + 1));
    cr_assert(gi_arrival_blocks(&s_a[0], 2 * STILL));
    cr_assert(!gi_arrival_blocks(&s_a[3], 10 * STILL));
}

/* One client that wants everything leaves others their share. */
Test(arrivals, a_share_per_client) {
    s_begin();
    for (size_t i = 0; i < 8; i++) {
        (void)s_open(i, 7, MAX, 0);
        s_make(i, 0);
    }
    int64_t free = 4 * MAX - s_all.granted;
    cr_assert_geq(free, MAX);
    cr_assert(s_open(8, 8, 100 * MIB, 0));
    s_make(8, 0);
    cr_assert_eq(s_a[8].made, 100 * MIB);
}

/* Any number of any size, in any order: the room is never passed, and all of
 * them come to their end although nobody is refused. */
Test(arrivals, whatever_was_let_in_ends) {
    enum { N = 60 };
    for (unsigned seed = 1; seed <= 50; seed++) {
        srand(seed);
        s_begin();
        for (size_t i = 0; i < N; i++)
            (void)s_open(i, (uint64_t)rand() % 5, 1 + (int64_t)rand() % MAX, 0);
        size_t left = N;
        for (unsigned turn = 0; left; turn++) {
            cr_assert_lt(turn, 200000, "seed %u: %zu left", seed, left);
            gi_arrival_t *a = &s_a[(size_t)rand() % N];
            if (!a->of)
                continue;
            if (gi_arrival_grant(a, turn))
                gi_arrival_made(a, gi_arrival_whole(a) ? a->size : a->granted,
                                turn);
            cr_assert_leq(s_all.granted, 4 * MAX);
            cr_assert(gi_arrivals_valid(&s_all));
            if (a->made == a->size) {
                gi_arrival_close(a);
                left--;
            }
        }
        cr_assert_eq(s_all.granted, 0);
    }
}
