/* SPDX-License-Identifier: BSD-3-Clause */
/* gauge.c -- a full gauge is waited for, news are not slept over, what is put off
 * runs. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "sync/clock.h"
#include "sync/gauge.h"
#include "sync/later.h"
#include "sync/news.h"

enum { THREADS = 4, ROUNDS = 5000 };
static gi_gauge_t s_gauge;
static atomic_long s_inside, s_most;

static void *s_visit(void *arg) {
    for (int i = 0; i < ROUNDS; i++) {
        while (!gi_gauge_enter(&s_gauge, 1))
            cr_assert(gi_gauge_await(&s_gauge, 1, gi_clock_ms() + 60000));
        long n = atomic_fetch_add(&s_inside, 1) + 1;
        if (n > s_most)
            s_most = n;
        atomic_fetch_sub(&s_inside, 1);
        gi_gauge_leave(&s_gauge);
    }
    return arg;
}

/* A lost wake-up would be a minute. */
Test(gauge, room_wakes_whoever_waits) {
    pthread_t threads[THREADS];
    gi_gauge_init(&s_gauge);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, s_visit, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(s_most, 1);
    cr_expect_eq(gi_gauge_read(&s_gauge), 0);
}

Test(gauge, the_deadline_holds) {
    gi_gauge_init(&s_gauge);
    cr_assert(gi_gauge_enter(&s_gauge, 1));
    cr_expect(!gi_gauge_await(&s_gauge, 1, gi_clock_ms() + 20));
    cr_expect(!gi_gauge_await(&s_gauge, 1, gi_clock_ms() - 20));
    cr_expect(gi_gauge_await(&s_gauge, 2, gi_clock_ms() + 20));
}

/* ---- news ---------------------------------------------------------------- */
static gi_news_t s_news;
static atomic_int s_true;

static void *s_tell(void *arg) {
    s_true = 1;
    gi_news_tell(&s_news);
    return arg;
}

Test(news, what_was_told_is_not_slept_over) {
    for (int i = 0; i < 500; i++) {
        pthread_t thread;
        gi_news_init(&s_news);
        s_true = 0;
        unsigned seen = gi_news_read(&s_news);
        cr_assert_eq(pthread_create(&thread, NULL, s_tell, NULL), 0);
        while (!s_true) {
            cr_assert(gi_news_wait(&s_news, seen, gi_clock_ms() + 60000));
            seen = gi_news_read(&s_news);
        }
        pthread_join(thread, NULL);
    }
    unsigned seen = gi_news_read(&s_news);
    cr_expect(!gi_news_wait(&s_news, seen, gi_clock_ms() + 20));
}

/* ---- later --------------------------------------------------------------- */
static atomic_int s_ran;

static void s_run(void *arg) { s_ran += *(int *)arg; }

Test(later, runs_and_is_waited_for) {
    int one = 1;
    gi_later_wait();
    for (int i = 0; i < 20; i++)
        cr_assert(gi_later(s_run, &one));
    gi_later_wait();
    cr_expect_eq(s_ran, 20);
}
