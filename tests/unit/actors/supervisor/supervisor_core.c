/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_core.c -- the supervisor's decisions, by a clock of our own: what
 * it does is written down as text, "+0 +1 -1 -0". */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "supervisor/supervisor_core.h"

typedef struct world {
    gi_sup_t sup;
    int64_t now;
    gate_err_t start_fails[8]; /* what the next start of each gives */
    char did[4096];
} world_t;

static void s_up(world_t *w, gate_strategy_t strategy, size_t n) {
    const gate_supervisor_options_t options = {.strategy = strategy,
                                               .intensity = 3,
                                               .period_ms = 1000,
                                               .backoff_ms = 10,
                                               .backoff_max_ms = 50};
    memset(w, 0, sizeof *w);
    w->now = 100000;
    cr_assert_eq(gi_sup_init(&w->sup, &options), GATE_OK);
    for (size_t i = 0; i < n; i++)
        cr_assert(gi_sup_add(&w->sup, GATE_PERMANENT, w->now));
}

/* Does all there is to do now. */
static const char *s_run(world_t *w) {
    size_t i;
    gi_sup_do_t what;
    w->did[0] = 0;
    while ((what = gi_sup_next(&w->sup, w->now, &i)) != GI_SUP_NOTHING) {
        size_t at = strlen(w->did);
        cr_assert_lt(at, sizeof w->did - 16, "it goes on for ever");
        cr_assert(gi_sup_valid(&w->sup));
        bool start = what == GI_SUP_START;
        gate_err_t e = start ? w->start_fails[i] : GATE_OK;
        snprintf(w->did + at, sizeof w->did - at, "%s%c%zu", at ? " " : "",
                 e       ? '!'
                 : start ? '+'
                         : '-',
                 i);
        if (start)
            gi_sup_started(&w->sup, i, e, w->now);
        else
            gi_sup_stopped(&w->sup, i, w->now);
    }
    cr_assert(gi_sup_valid(&w->sup));
    return w->did;
}

static const char *s_at(world_t *w, int64_t later_ms) {
    w->now += later_ms;
    return s_run(w);
}

Test(supervisor, starts_in_order_and_stops_in_reverse) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 3);
    cr_expect_str_eq(s_run(&w), "+0 +1 +2");
    cr_expect_eq(gi_sup_due(&w.sup), INT64_MAX);
    gi_sup_stop(&w.sup);
    cr_expect_str_eq(s_run(&w), "-2 -1 -0");
    cr_expect(gi_sup_over(&w.sup));
    gi_sup_fini(&w.sup);
}

Test(supervisor, one_for_one_restarts_the_one) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 3);
    s_run(&w);
    gi_sup_died(&w.sup, 1, GATE_LOST, w.now);
    cr_expect_str_eq(s_run(&w), "-1");
    cr_expect_eq(gi_sup_due(&w.sup), w.now + 10);
    cr_expect_str_eq(s_at(&w, 9), "");
    cr_expect_str_eq(s_at(&w, 1), "+1");
    cr_expect_eq(w.sup.child[1].restarts, 1);
    cr_expect_eq(w.sup.child[1].last, GATE_LOST);
    cr_expect_eq(w.sup.child[0].restarts, 0);
    gi_sup_fini(&w.sup);
}

Test(supervisor, rest_for_one_takes_the_later_ones_along) {
    world_t w;
    s_up(&w, GATE_REST_FOR_ONE, 4);
    s_run(&w);
    gi_sup_died(&w.sup, 1, GATE_LOST, w.now);
    cr_expect_str_eq(s_run(&w), "-3 -2 -1");
    cr_expect_str_eq(s_at(&w, 10), "+1 +2 +3");
    cr_expect_eq(w.sup.child[3].restarts, 0, "only the dead one counts");
    gi_sup_fini(&w.sup);
}

Test(supervisor, rest_for_one_waits_for_the_earlier_ones) {
    world_t w;
    s_up(&w, GATE_REST_FOR_ONE, 3);
    w.start_fails[1] = GATE_SYSTEM;
    cr_expect_str_eq(s_run(&w), "+0 !1");
    cr_expect_eq(gi_sup_due(&w.sup), w.now + 10, "2 is not due before 1 runs");
    w.start_fails[1] = GATE_OK;
    cr_expect_str_eq(s_at(&w, 10), "+1 +2");
    gi_sup_fini(&w.sup);
}

Test(supervisor, one_for_one_does_not_wait) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 3);
    w.start_fails[0] = GATE_SYSTEM;
    cr_expect_str_eq(s_run(&w), "!0 +1 +2");
    gi_sup_fini(&w.sup);
}

Test(supervisor, one_for_all_takes_all_along) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ALL, 3);
    s_run(&w);
    gi_sup_died(&w.sup, 1, GATE_LOST, w.now);
    cr_expect_str_eq(s_run(&w), "-2 -1 -0 +0", "0 is well: it does not wait");
    cr_expect_str_eq(s_at(&w, 10), "+1 +2");
    gi_sup_fini(&w.sup);
}

Test(supervisor, backs_off_and_forgets_it_after_a_long_life) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 1);
    s_run(&w);
    static const int64_t waits[] = {10, 20, 40};
    for (size_t i = 0; i < 3; i++) {
        gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
        s_run(&w);
        cr_expect_eq(gi_sup_due(&w.sup) - w.now, waits[i]);
        cr_expect_str_eq(s_at(&w, waits[i]), "+0");
    }
    w.now += 1000; /* it lives for the period: all is forgiven */
    gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
    s_run(&w);
    cr_expect_eq(gi_sup_due(&w.sup) - w.now, 10);
    cr_expect_not(w.sup.gave_up);
    gi_sup_fini(&w.sup);
}

Test(supervisor, the_wait_is_bounded) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 1);
    w.sup.period_ms = 1; /* never too many */
    s_run(&w);
    for (int i = 0; i < 100; i++) {
        gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
        s_run(&w);
        cr_expect_leq(gi_sup_due(&w.sup) - w.now, 50);
        cr_assert_str_eq(s_at(&w, 50), "+0");
    }
    gi_sup_fini(&w.sup);
}

Test(supervisor, gives_up_after_one_too_many) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 2);
    s_run(&w);
    for (int i = 0; i < 3; i++) {
        gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
        cr_assert_not(w.sup.gave_up, "3 restarts are allowed");
        s_run(&w);
        cr_assert_str_eq(s_at(&w, 50), "+0");
    }
    gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
    cr_expect(w.sup.gave_up);
    cr_expect_str_eq(s_run(&w), "-1 -0");
    cr_expect(gi_sup_over(&w.sup));
    cr_expect_str_eq(s_at(&w, 100000), "");
    gi_sup_fini(&w.sup);
}

Test(supervisor, restarts_of_all_children_count_together) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 4);
    s_run(&w);
    for (size_t i = 0; i < 4; i++)
        gi_sup_died(&w.sup, i, GATE_LOST, w.now);
    cr_expect(w.sup.gave_up);
    gi_sup_fini(&w.sup);
}

Test(supervisor, old_restarts_do_not_count) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 1);
    s_run(&w);
    for (int i = 0; i < 20; i++) {
        gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
        s_run(&w);
        cr_assert_str_eq(s_at(&w, 400), "+0"); /* 2.5 in a period */
    }
    cr_expect_not(w.sup.gave_up);
    gi_sup_fini(&w.sup);
}

Test(supervisor, a_mistake_is_not_tried_again) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 2);
    w.start_fails[1] = GATE_BADARG;
    cr_expect_str_eq(s_run(&w), "+0 !1 -0");
    cr_expect(w.sup.gave_up);
    gi_sup_fini(&w.sup);
}

Test(supervisor, transient_and_temporary_children) {
    world_t w;
    s_up(&w, GATE_REST_FOR_ONE, 0);
    gi_sup_add(&w.sup, GATE_TRANSIENT, w.now);
    gi_sup_add(&w.sup, GATE_TEMPORARY, w.now);
    gi_sup_add(&w.sup, GATE_PERMANENT, w.now);
    s_run(&w);
    gi_sup_died(&w.sup, 1, GATE_LOST, w.now);
    cr_expect_str_eq(s_run(&w), "-1", "and nobody with it");
    gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
    s_run(&w);
    cr_expect_str_eq(s_at(&w, 10), "+0 +2");
    gi_sup_died(&w.sup, 0, GATE_OK, w.now);
    cr_expect_str_eq(s_run(&w), "-0");
    cr_expect_str_eq(s_at(&w, 1000), "");
    gi_sup_died(&w.sup, 2, GATE_OK, w.now);
    s_run(&w);
    cr_expect_str_eq(s_at(&w, 10), "+2", "a permanent one always comes back");
    gi_sup_fini(&w.sup);
}

Test(supervisor, none_is_allowed_with_intensity_0) {
    world_t w;
    s_up(&w, GATE_ONE_FOR_ONE, 1);
    gi_sup_fini(&w.sup);
    const gate_supervisor_options_t options = {.intensity = 0,
                                               .period_ms = 1000,
                                               .backoff_ms = 1,
                                               .backoff_max_ms = 1};
    cr_assert_eq(gi_sup_init(&w.sup, &options), GATE_OK);
    gi_sup_add(&w.sup, GATE_PERMANENT, w.now);
    s_run(&w);
    gi_sup_died(&w.sup, 0, GATE_LOST, w.now);
    cr_expect(w.sup.gave_up);
    gi_sup_fini(&w.sup);
}

Test(supervisor, no_memory) {
    gi_sup_t sup;
    const gate_supervisor_options_t options = {.intensity = 3};
    gi_mem_fail_at(1, true);
    cr_expect_eq(gi_sup_init(&sup, &options), GATE_NOMEM);
    gi_mem_fail_at(0, false);
}

/* Whatever happens in whatever order: never more than intensity restarts in a
 * period, never two starts of one without a stop between, and an end. */
Test(supervisor, at_random, .timeout = 60) {
    srand(7);
    for (int round = 0; round < 2000; round++) {
        world_t w;
        bool up[6] = {false};
        size_t n = 1 + (size_t)rand() % 6;
        s_up(&w, (gate_strategy_t)(rand() % 3), n);
        for (int step = 0; step < 60; step++) {
            size_t i = (size_t)rand() % n;
            w.start_fails[i] = rand() % 5 ? GATE_OK : GATE_SYSTEM;
            s_at(&w, rand() % 400);
            for (const char *p = w.did; *p; p++)
                if (*p == '+' || *p == '-') {
                    size_t k = (size_t)(p[1] - '0');
                    cr_assert_eq(up[k], *p == '-', "%s", w.did);
                    up[k] = *p == '+';
                }
            if (rand() % 3 == 0)
                gi_sup_died(&w.sup, i, GATE_LOST, w.now);
        }
        gi_sup_stop(&w.sup);
        s_run(&w);
        cr_assert(gi_sup_over(&w.sup));
        gi_sup_fini(&w.sup);
    }
}
