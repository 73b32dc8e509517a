/* SPDX-License-Identifier: BSD-3-Clause */
#include "jobs/threads.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "sync/clock.h"
#include "base/mem.h"

typedef struct s_task {
    gi_job_t job;
    int64_t sleep_ms;
    int64_t end_ms;
} s_task_t;

static atomic_long s_ran;

static void s_run(gi_job_t *job) {
    s_task_t *task = (s_task_t *)job;

    if (task->sleep_ms)
        usleep((useconds_t)task->sleep_ms * 1000);
    task->end_ms = gi_clock_ms();
    atomic_fetch_add(&s_ran, 1);
}

static s_task_t s_task(int64_t sleep_ms) {
    return (s_task_t){.job = {.run = s_run}, .sleep_ms = sleep_ms};
}

static gi_threads_t *s_pool(int workers, size_t queue_max) {
    gi_threads_t *pool = NULL;

    atomic_store(&s_ran, 0);
    cr_assert_eq(gi_threads_new("test", workers, queue_max, &pool), GATE_OK);
    return pool;
}

Test(threads, destroy_waits_for_all, .timeout = 60) {
    static s_task_t tasks[10000];
    gi_threads_t *pool = s_pool(3, 100000);

    for (int i = 0; i < 10000; i++) {
        tasks[i] = s_task(0);
        cr_assert_eq(gi_threads_submit(pool, &tasks[i].job), GATE_OK);
    }
    gi_threads_destroy(&pool);
    cr_assert_eq(s_ran, 10000);
}

static s_task_t s_order[5];
static atomic_int s_place, s_places[5];

static void s_run_place(gi_job_t *job) {
    s_places[(s_task_t *)job - s_order] = s_place++;
}

Test(threads, urgent_ones_first_in_their_order, .timeout = 60) {
    gi_threads_t *pool = s_pool(1, 5);
    s_task_t busy = s_task(200), one_more = s_task(0);

    cr_assert_eq(gi_threads_submit(pool, &busy.job), GATE_OK);
    for (gi_threads_stats_t now = {.queued = 1}; now.queued; usleep(1000))
        gi_threads_stats(pool, &now); /* until it has been taken */
    for (int i = 0; i < 5; i++) {
        s_order[i].job.run = s_run_place;
        s_order[i].job.urgent = i > 2;
        cr_assert_eq(gi_threads_submit(pool, &s_order[i].job), GATE_OK);
    }
    one_more.job.urgent = true;
    cr_assert_eq(gi_threads_submit(pool, &one_more.job), GATE_BUSY);
    gi_threads_destroy(&pool);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(s_places[i], (i + 2) % 5, "%d", i);
}

/* One slow job: whatever batch it was taken in, nothing else waits for it. */
static void s_one_slow(int slow_at) {
    enum { N = 400 };
    static s_task_t tasks[N];
    gi_threads_t *pool = s_pool(4, 1000);
    int64_t slow_end;

    for (int i = 0; i < N; i++)
        tasks[i] = s_task(i == slow_at ? 300 : 0);
    for (int i = 0; i < N; i++)
        cr_assert_eq(gi_threads_submit(pool, &tasks[i].job), GATE_OK);
    gi_threads_destroy(&pool);
    slow_end = tasks[slow_at].end_ms;
    for (int i = 0; i < N; i++)
        if (i != slow_at)
            cr_assert_lt(tasks[i].end_ms, slow_end - 100,
                         "job %d waited for the slow one", i);
}

Test(threads, slow_job_holds_nobody, .timeout = 60) {
    for (int at = 0; at < 20; at += 4)
        s_one_slow(at);
}

/* Three of four workers blocked, in the middle of batches. */
Test(threads, three_slow_jobs_hold_nobody, .timeout = 60) {
    enum { N = 200 };
    static s_task_t tasks[N];
    gi_threads_t *pool = s_pool(4, 1000);

    for (int i = 0; i < N; i++)
        tasks[i] = s_task(i < 60 && i % 20 == 0 ? 300 : 0);
    for (int i = 0; i < N; i++)
        cr_assert_eq(gi_threads_submit(pool, &tasks[i].job), GATE_OK);
    gi_threads_destroy(&pool);
    for (int i = 0; i < N; i++)
        if (!tasks[i].sleep_ms)
            cr_assert_lt(tasks[i].end_ms, tasks[0].end_ms - 100);
}

Test(threads, bounded, .timeout = 60) {
    gi_threads_t *pool = s_pool(1, 2);
    s_task_t slow = s_task(200), a = s_task(0), b = s_task(0), c = s_task(0);
    gi_threads_stats_t stats;

    gi_threads_submit(pool, &slow.job);
    do
        gi_threads_stats(pool, &stats);
    while (stats.queued);
    cr_assert_eq(gi_threads_submit(pool, &a.job), GATE_OK);
    cr_assert_eq(gi_threads_submit(pool, &b.job), GATE_OK);
    cr_assert_eq(gi_threads_submit(pool, &c.job), GATE_BUSY);
    usleep(50000);
    gi_threads_stats(pool, &stats);
    cr_assert_eq(stats.queued, 2);
    cr_assert_eq(stats.running, 1);
    cr_assert_eq(stats.workers, 1);
    cr_assert_geq(stats.oldest_ms, 30);
    gi_threads_destroy(&pool);
    cr_assert_eq(s_ran, 3);
}

Test(threads, drain_refuses_and_waits, .timeout = 60) {
    gi_threads_t *pool = s_pool(2, 100);
    s_task_t slow = s_task(150), late = s_task(0);
    gi_threads_stats_t stats;

    gi_threads_submit(pool, &slow.job);
    cr_assert_eq(gi_threads_drain(pool, 10), GATE_TIMEOUT);
    cr_assert_eq(gi_threads_submit(pool, &late.job), GATE_CLOSED);
    cr_assert_eq(gi_threads_drain(pool, -1), GATE_OK);
    gi_threads_stats(pool, &stats);
    cr_assert_eq(stats.done, 1);
    gi_threads_destroy(&pool);
}

Test(threads, resize_while_running, .timeout = 60) {
    static s_task_t tasks[3000];
    gi_threads_t *pool = s_pool(1, 10000);

    for (int i = 0; i < 3000; i++) {
        tasks[i] = s_task(0);
        cr_assert_eq(gi_threads_submit(pool, &tasks[i].job), GATE_OK);
        if (i % 100 == 0)
            cr_assert_eq(gi_threads_resize(pool, 1 + i / 100 % 7), GATE_OK);
    }
    cr_assert_eq(gi_threads_resize(pool, 0), GATE_BADARG);
    gi_threads_destroy(&pool);
    cr_assert_eq(s_ran, 3000);
}

Test(threads, growing_makes_room_at_once, .timeout = 60) {
    gi_threads_t *pool = s_pool(1, 100);
    s_task_t slow = s_task(300), fast = s_task(0);

    gi_threads_submit(pool, &slow.job);
    usleep(20000);
    gi_threads_submit(pool, &fast.job);
    cr_assert_eq(gi_threads_resize(pool, 2), GATE_OK);
    gi_threads_destroy(&pool);
    cr_assert_lt(fast.end_ms, slow.end_ms - 100);
}

Test(threads, no_memory, .timeout = 60) {
    gi_threads_t *pool = NULL;

    for (long n = 1;; n++) {
        gi_mem_fail_at(n, false);
        gate_err_t e = gi_threads_new("test", 2, 100, &pool);
        gi_mem_fail_at(0, false);
        if (e == GATE_OK)
            break;
        cr_assert_eq(e, GATE_NOMEM);
        cr_assert_lt(n, 20);
    }
    gi_threads_destroy(&pool);
}
