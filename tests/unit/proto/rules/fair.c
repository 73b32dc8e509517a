/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is next: turns by what is asked for, order within each owner, and a model
 * for random ones. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "rules/fair.h"

#define N 3000

typedef struct one {
    gi_fair_item_t at;
    int whose, number;
} one_t;

static one_t s_ones[N];
static char s_owners[8];

static one_t *s_next(gi_fair_t *fair) {
    gi_fair_item_t *at = gi_fair_first(fair);
    if (at)
        gi_fair_take(fair, at);
    return at ? GI_OF(at, one_t, at) : NULL;
}

static void s_add(gi_fair_t *fair, int i, int whose, size_t bytes) {
    s_ones[i].whose = whose;
    s_ones[i].number = i;
    cr_assert(gi_fair_add(fair, &s_ones[i].at, &s_owners[whose], bytes));
}

/* How many of others' are taken before the one of that owner. */
static int s_before(gi_fair_t *fair, int whose) {
    int n = 0;
    for (one_t *one; (one = s_next(fair)) && one->whose != whose;)
        n++;
    return n;
}

Test(fair, who_comes_behind_a_thousand_of_anothers_waits_for_one_turn) {
    gi_fair_t fair;
    gi_fair_init(&fair);
    for (int i = 0; i < 1000; i++)
        s_add(&fair, i, 0, 100);
    s_add(&fair, 1000, 1, 100);
    cr_expect_leq(s_before(&fair, 1), 16);
    cr_expect_eq(fair.n, 1000 - 15);
    while (s_next(&fair))
        ;
    gi_fair_fini(&fair);
}

Test(fair, large_ones_take_fewer_turns) {
    gi_fair_t fair;
    gi_fair_init(&fair);
    for (int i = 0; i < 100; i++)
        s_add(&fair, i, 0, 1 << 20);
    for (int i = 100; i < 1100; i++)
        s_add(&fair, i, 1, 10);
    int large = 0;
    for (int small = 0; small < 1000;) {
        one_t *one = s_next(&fair);
        large += one->whose == 0;
        small += one->whose == 1;
    }
    cr_expect_leq(large, 3, "%d MiB beside 1,000 small ones", large);
    while (s_next(&fair))
        large++;
    cr_expect_eq(large, 100); /* alone, nothing holds them up */
    gi_fair_fini(&fair);
}

Test(fair, each_owners_come_in_order_and_all_of_them) {
    gi_fair_t fair;
    int last[8], n = 0, in = 0, walked = 0;
    gi_fair_init(&fair);
    srand(7);
    memset(last, -1, sizeof last);
    while (n < N) {
        if (in < N && (in == n || rand() % 3)) {
            s_add(&fair, in, rand() % 8, (size_t)(rand() % 100000));
            in++;
            continue;
        }
        one_t *one;
        if (rand() % 4 == 0) { /* any one that waits leaves */
            gi_fair_item_t *at = gi_fair_next(&fair, NULL);
            for (int skip = rand() % 5; skip && at; skip--) {
                gi_fair_item_t *after = gi_fair_next(&fair, at);
                at = after ? after : at;
            }
            gi_fair_remove(&fair, at);
            n++;
            continue;
        }
        one = s_next(&fair);
        cr_assert_gt(one->number, last[one->whose]);
        last[one->whose] = one->number;
        n++;
        cr_assert_eq(fair.n, (size_t)(in - n));
    }
    for (gi_fair_item_t *at = NULL; (at = gi_fair_next(&fair, at));)
        walked++;
    cr_expect_eq(walked, 0);
    cr_expect_null(s_next(&fair));
    gi_fair_fini(&fair);
}

Test(fair, walks_see_each_item_and_the_first_of_each_lane) {
    gi_fair_t fair;
    int all = 0, lanes = 0;
    gi_fair_init(&fair);
    for (int i = 0; i < 100; i++)
        s_add(&fair, i, i % 4, 0);
    for (gi_fair_item_t *at = NULL; (at = gi_fair_next(&fair, at));)
        all++;
    for (gi_fair_item_t *at = NULL; (at = gi_fair_next_lane(&fair, at));)
        lanes += GI_OF(at, one_t, at)->number == lanes;
    cr_expect_eq(all, 100);
    cr_expect_eq(lanes, 4);
    gi_fair_fini(&fair); /* lanes go with it */
}
