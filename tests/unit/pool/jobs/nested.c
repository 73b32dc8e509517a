/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs on threads that wait for jobs of their own pool, and what stopping and
 * cancelling do to jobs that lie in their futures. */
#include "jobs/pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <gaterpc/call.h>

enum { S_WAIT_MS = 30000 };

static gate_pool_t *s_pool;
static atomic_int s_started, s_ran;
static atomic_bool s_go;

static void s_make(int workers) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = workers};

    s_pool = gi_pool_threads(&base, &options);
    cr_assert_not_null(s_pool);
    s_started = s_ran = 0;
    s_go = false;
}

static gate_err_t s_result(gate_future_t *f, int64_t timeout_ms, int64_t *n) {
    gate_err_t e = gate_future_wait(f, timeout_ms, n);

    gate_future_destroy(&f);
    return e;
}

/* Its two halves are jobs of the same pool; waits as long as it is told. */
static gate_err_t s_fibonacci(gate_call_t *call) {
    int64_t n, timeout_ms, a, b;
    gate_err_t e = gate_args(call, &n, &timeout_ms);

    if (e || n < 2)
        return e ? e : gate_return(call, n);
    gate_future_t *one = gate_submit(s_pool, s_fibonacci, n - 1, timeout_ms);
    gate_future_t *two = gate_submit(s_pool, s_fibonacci, n - 2, timeout_ms);
    e = s_result(one, timeout_ms, &a);
    gate_err_t e2 = s_result(two, timeout_ms, &b);
    return e || e2 ? (e ? e : e2) : gate_return(call, a + b);
}

static void s_check_fibonacci(int workers, int64_t timeout_ms) {
    gate_value_t *stats;
    int64_t n = 0;

    s_make(workers);
    cr_assert_eq(
        s_result(gate_submit(s_pool, s_fibonacci, 12, timeout_ms), -1, &n),
        GATE_OK);
    cr_assert_eq(n, 144);
    cr_assert_eq(gate_pool_drain(s_pool, -1), GATE_OK, "all are counted");
    stats = gate_pool_stats(s_pool);
    cr_assert_eq(gate_value_read(stats, "done", &n), GATE_OK);
    cr_assert_eq(n, 465, "calls that fibonacci(12) is made of");
    cr_assert_eq(gate_value_read(stats, "queued", &n), GATE_OK);
    cr_assert_eq(n, 0);
    gate_value_destroy(&stats);
    gate_pool_destroy(&s_pool);
}

Test(nested, one_worker_waits_for_its_own_pool, .timeout = 120) {
    s_check_fibonacci(1, -1);
}

Test(nested, so_do_three, .timeout = 120) { s_check_fibonacci(3, -1); }

Test(nested, with_a_deadline, .timeout = 120) {
    s_check_fibonacci(1, S_WAIT_MS);
    s_check_fibonacci(2, S_WAIT_MS);
}

static gate_err_t s_waits_for_high(gate_call_t *call) {
    gate_job_options_t high = {.priority = GATE_HIGH};
    int64_t n;
    gate_future_t *before = gate_submit(s_pool, s_fibonacci, 5, -1);
    gate_future_t *f =
        gate_submit_with(s_pool, s_fibonacci, &high, (int64_t)7, (int64_t)-1);
    gate_err_t e = s_result(f, -1, &n);

    gate_future_destroy(&before); /* forgotten: it still runs */
    return e ? e : gate_return(call, n);
}

Test(nested, urgent_ones_too, .timeout = 120) {
    int64_t n;

    s_make(1);
    cr_assert_eq(s_result(gate_submit(s_pool, s_waits_for_high), -1, &n),
                 GATE_OK);
    cr_assert_eq(n, 13);
    cr_assert_eq(gate_pool_drain(s_pool, -1), GATE_OK);
    gate_pool_destroy(&s_pool);
}

static gate_err_t s_no_time(gate_call_t *call) {
    int64_t n;
    gate_future_t *f = gate_submit(s_pool, s_fibonacci, 1, -1);
    gate_err_t e = gate_future_wait(f, 0, &n);

    gate_future_destroy(&f);
    return gate_return(call, (int64_t)e);
}

Test(nested, who_does_not_wait_runs_nothing, .timeout = 60) {
    int64_t e = GATE_OK;

    s_make(1);
    cr_assert_eq(s_result(gate_submit(s_pool, s_no_time), -1, &e), GATE_OK);
    cr_assert_eq(e, GATE_TIMEOUT);
    gate_pool_destroy(&s_pool);
}

/* ---- stopping, cancelling ------------------------------------------------ */
static gate_err_t s_until_cancelled(gate_call_t *call) {
    s_started++;
    while (!gate_call_cancelled(call))
        usleep(1000);
    s_ran++;
    return gate_return(call, 1);
}

static gate_err_t s_until_told(gate_call_t *call) {
    s_started++;
    while (!s_go)
        usleep(1000);
    return gate_return(call, (int64_t)gate_call_cancelled(call));
}

static void s_until_started(int n) {
    while (s_started < n)
        usleep(1000);
}

Test(nested, stop_ends_what_runs_and_what_waits, .timeout = 60) {
    gate_future_t *f[8];
    int64_t n;

    s_make(2);
    for (int i = 0; i < 8; i++)
        f[i] = gate_submit(s_pool, s_until_cancelled);
    s_until_started(2);
    cr_assert_eq(
        gate_pool_stop(s_pool, GATE_STOP_QUEUED | GATE_STOP_RUNNING, -1),
        GATE_OK);
    cr_assert_eq(s_ran, 2);
    for (int i = 0, done = 0; i < 8; i++) {
        gate_err_t e = s_result(f[i], -1, &n);

        done += e == GATE_OK;
        cr_assert(e == GATE_OK || e == GATE_CANCELLED);
        cr_assert_leq(done, 2);
    }
    gate_pool_destroy(&s_pool);
}

Test(nested, stop_of_what_waits_leaves_what_runs, .timeout = 60) {
    gate_future_t *runs, *waits;
    int64_t cancelled = -1;

    s_make(1);
    runs = gate_submit(s_pool, s_until_told);
    s_until_started(1);
    waits = gate_submit(s_pool, s_until_told);
    cr_assert_eq(gate_pool_stop(s_pool, GATE_STOP_QUEUED, 0), GATE_TIMEOUT);
    s_go = true;
    cr_assert_eq(s_result(runs, -1, &cancelled), GATE_OK);
    cr_assert_eq(cancelled, 0);
    cr_assert_eq(s_result(waits, -1, &cancelled), GATE_CANCELLED);
    cr_assert_eq(s_started, 1);
    gate_pool_destroy(&s_pool);
}

static gate_err_t s_submits_until_refused(gate_call_t *call) {
    gate_pool_t *pool = s_pool;
    gate_err_t e = GATE_OK;

    s_started++;
    while (e == GATE_OK) {
        int64_t n;
        gate_future_t *f = gate_submit(pool, s_fibonacci, 1, -1);
        e = s_result(f, -1, &n);
    }
    return gate_return(call, (int64_t)e);
}

/* A job that submits and waits while its pool is being destroyed. */
Test(nested, destroy_while_a_job_submits, .timeout = 60) {
    gate_future_t *f;
    gate_pool_t *pool;
    int64_t e = GATE_OK;

    s_make(2);
    f = gate_submit(s_pool, s_submits_until_refused);
    s_until_started(1);
    usleep(2000);
    pool = s_pool; /* the job reads the other */
    gate_pool_destroy(&pool);
    cr_assert_eq(s_result(f, -1, &e), GATE_OK);
    cr_assert_eq(e, GATE_CLOSED);
}

/* Its future has gone: the job that lies in it has not. */
Test(nested, cancelled_and_destroyed_while_queued, .timeout = 60) {
    gate_future_t *first, *f;
    int64_t n;

    s_make(1);
    first = gate_submit(s_pool, s_until_told);
    s_until_started(1);
    for (int i = 0; i < 100; i++) {
        f = gate_submit(s_pool, s_fibonacci, 1, -1);
        gate_future_cancel(f);
        gate_future_destroy(&f);
    }
    s_go = true;
    cr_assert_eq(s_result(first, -1, &n), GATE_OK);
    cr_assert_eq(gate_pool_drain(s_pool, -1), GATE_OK);
    gate_pool_destroy(&s_pool);
}

/* ---- results of every size, read when the pool has gone ------------------ */
static gate_err_t s_bytes(gate_call_t *call) {
    gate_bytes_t in;
    gate_err_t e = gate_args(call, &in);

    return e ? e : gate_return(call, in);
}

Test(nested, results_outlive_their_pool, .timeout = 60) {
    static const size_t sizes[] = {0,   1,    90,    130,   400,
                                   700, 1500, 40000, 65500, 70000};
    enum { S_SIZES = sizeof sizes / sizeof *sizes };
    static char bytes[70000];
    gate_future_t *f[S_SIZES];

    memset(bytes, 'x', sizeof bytes);
    s_make(2);
    for (size_t i = 0; i < S_SIZES; i++)
        f[i] = gate_submit(s_pool, s_bytes, ((gate_bytes_t){bytes, sizes[i]}));
    gate_pool_destroy(&s_pool);
    for (size_t i = 0; i < S_SIZES; i++) {
        gate_bytes_t out = {NULL, 1};

        cr_assert_eq(gate_future_wait(f[i], -1, &out), GATE_OK);
        cr_assert_eq(out.size, sizes[i]);
        cr_assert_eq(memcmp(out.data, bytes, sizes[i]), 0);
        gate_future_destroy(&f[i]);
    }
}
