/* SPDX-License-Identifier: BSD-3-Clause */
/* The wheel against a plain array of due times. */
#include "sync/wheel.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define N 300

static uint64_t s_seed = 88172645463325252u;

static uint64_t s_random(void) {
    s_seed ^= s_seed << 13;
    s_seed ^= s_seed >> 7;
    return s_seed ^= s_seed << 17;
}

/* Near, far and very far, sometimes in the past. */
static int64_t s_due(int64_t now) {
    int64_t distance =
        (int64_t)(s_random() % ((uint64_t)1 << (s_random() % 40)));

    return s_random() % 16 ? now + distance : now - distance % 100;
}

static int64_t s_earliest(const gi_timer_t *timers) {
    int64_t due = INT64_MAX;

    for (int i = 0; i < N; i++)
        if (gi_timer_armed(&timers[i]) && timers[i].due_ms < due)
            due = timers[i].due_ms;
    return due;
}

Test(wheel, never_early_never_late) {
    gi_timer_t timers[N] = {0}, *fired;
    int64_t now = 1000;
    gi_wheel_t *wheel = gi_wheel_new(now);

    for (int step = 0; step < 20000; step++) {
        gi_timer_t *timer = &timers[s_random() % N];

        if (s_random() % 3)
            gi_wheel_arm(wheel, timer, s_due(now));
        else
            gi_wheel_cancel(wheel, timer);
        if (s_random() % 4 == 0)
            now += (int64_t)(s_random() % ((uint64_t)1 << (s_random() % 34)));
        cr_assert_leq(gi_wheel_next(wheel),
                      s_earliest(timers) < now ? now : s_earliest(timers));
        while ((fired = gi_wheel_expire(wheel, now))) {
            cr_assert_leq(fired->due_ms, now, "fired early");
            cr_assert_not(gi_timer_armed(fired));
        }
        cr_assert_gt(s_earliest(timers), now, "a due timer was left");
        size_t armed = 0;
        for (int i = 0; i < N; i++)
            armed += gi_timer_armed(&timers[i]);
        cr_assert_eq(gi_wheel_size(wheel), armed);
    }
    gi_wheel_destroy(&wheel);
    cr_assert_null(wheel);
}

Test(wheel, fires_in_order_of_ms) {
    gi_timer_t timers[200] = {0}, *fired;
    gi_wheel_t *wheel = gi_wheel_new(0);
    int64_t last = 0;
    int n = 0;

    for (int i = 0; i < 200; i++)
        gi_wheel_arm(wheel, &timers[i], (int64_t)(s_random() % 100000));
    while ((fired = gi_wheel_expire(wheel, 100000))) {
        cr_assert_geq(fired->due_ms, last);
        last = fired->due_ms;
        n++;
    }
    cr_assert_eq(n, 200);
    gi_wheel_destroy(&wheel);
}

Test(wheel, next_leads_to_the_timer_exactly) {
    gi_timer_t timer = {0};
    gi_wheel_t *wheel = gi_wheel_new(12345);
    int looks = 0;

    gi_wheel_arm(wheel, &timer, 9876543210);
    for (;;) {
        int64_t next = gi_wheel_next(wheel);

        cr_assert_leq(next, 9876543210);
        if (gi_wheel_expire(wheel, next) == &timer) {
            cr_assert_eq(next, 9876543210);
            break;
        }
        cr_assert_lt(++looks, 11, "one look per level at most");
    }
    cr_assert_eq(gi_wheel_next(wheel), INT64_MAX);
    gi_wheel_destroy(&wheel);
}

Test(wheel, extremes) {
    gi_timer_t never = {0}, past = {0};
    gi_wheel_t *wheel = gi_wheel_new(5000);

    gi_wheel_arm(wheel, &never, INT64_MAX);
    gi_wheel_arm(wheel, &past, -3);
    cr_assert_eq(gi_wheel_expire(wheel, 5000), &past);
    cr_assert_null(gi_wheel_expire(wheel, INT64_MAX - 1));
    cr_assert_eq(gi_wheel_expire(wheel, INT64_MAX), &never);
    gi_wheel_cancel(wheel, &never); /* not armed: nothing happens */
    cr_assert_eq(gi_wheel_size(wheel), 0);
    gi_wheel_destroy(&wheel);
}
