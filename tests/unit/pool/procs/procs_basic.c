/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs go to other processes and come back. */
#include "procs_kit.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "sync/clock.h"

static gate_err_t add(gate_call_t *call) {
    long a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t pid(gate_call_t *call) {
    return gate_return(call, (int)getpid());
}

static gate_err_t echo(gate_call_t *call) {
    gate_bytes_t b;
    gate_err_t e = gate_args(call, &b);
    return e ? e : gate_return(call, b);
}

static gate_err_t zeros(gate_call_t *call) {
    long n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    char *p = calloc(1, (size_t)n);
    e = gate_return(call, ((gate_bytes_t){p, (size_t)n}));
    free(p);
    return e;
}

static gate_err_t boom(gate_call_t *call) {
    return gate_raise(call, "ValueError", "boom %d", 7);
}

Test(procs, add) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    GATE_OWN(gate_future) f = gate_submit(pool, add, 2, 3);
    long sum = 0;
    ok(gate_future_wait(f, 5000, &sum));
    cr_assert_eq(sum, 5);
}

Test(procs, runs_elsewhere) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, pid);
    int got = 0;
    ok(gate_future_wait(f, 5000, &got));
    cr_assert_neq(got, getpid());
    cr_assert_gt(got, 0);
}

Test(procs, raises) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, boom);
    long x;
    fails(gate_future_wait(f, 5000, &x), GATE_RAISED);
    cr_assert_str_eq(gate_error()->cls, "ValueError");
    cr_assert_str_eq(gate_error()->text, "boom 7");
    cr_assert(strstr(gate_error()->traceback, "procs_basic"),
              "frames of this program: %s", gate_error()->traceback);
}

/* inline, lane, descriptor; and results inline, in the lane, in chunks */
Test(procs, payloads) {
    static const size_t sizes[] = {
        0, 1, 90, 100, 120, 4096, 65536, 1 << 20, 3 << 20, 5 << 20, 20 << 20};
    GATE_OWN(gate_pool) pool = s_pool(2);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        char *data = malloc(n + 1);
        for (size_t k = 0; k < n; k++)
            data[k] = (char)(k * 31 + i);
        GATE_OWN(gate_future)
        f = gate_submit(pool, echo, ((gate_bytes_t){data, n}));
        gate_bytes_t back;
        ok(gate_future_wait(f, 20000, &back));
        cr_assert_eq(back.size, n);
        cr_assert_eq(memcmp(back.data, data, n), 0);
        free(data);
    }
}

Test(procs, many) {
    enum { N = 20000 };
    GATE_OWN(gate_pool) pool = s_pool(3);
    gate_future_t **f = calloc(N, sizeof *f);
    for (int i = 0; i < N; i++)
        f[i] = gate_submit(pool, add, i, 1);
    for (int i = 0; i < N; i++) {
        long sum = 0;
        ok(gate_future_wait(f[i], 20000, &sum));
        cr_assert_eq(sum, i + 1);
        gate_future_destroy(&f[i]);
    }
    free(f);
}

Test(procs, result_larger_than_allowed) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, zeros, 30 << 20);
    gate_bytes_t b;
    ok(gate_future_wait(f, 20000, &b));
    cr_assert_eq(b.size, 30u << 20);
}

Test(procs, bad_arguments) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, add, "x", 3);
    long x;
    fails(gate_future_wait(f, 5000, &x), GATE_BADARG);
}

Test(procs, refuses_what_is_not_code) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    union {
        void *p;
        gate_fn *fn;
    } u = {malloc(16)};
    GATE_OWN(gate_future) f = gate_submit(pool, u.fn);
    long x;
    fails(gate_future_wait(f, 5000, &x), GATE_BADARG);
    cr_assert(strstr(gate_error()->text, "no loaded object"));
    free(u.p);
}

static gate_err_t spin(gate_call_t *call) {
    int n, us;
    gate_err_t e = gate_args(call, &n, &us);
    if (e)
        return e;
    int64_t until = gi_clock_ns() + (int64_t)us * 1000;
    while (gi_clock_ns() < until)
        ;
    return gate_return(call, n);
}

/* Short and long jobs mixed over rings of 16 cells: jobs are sent ahead, taken
 * back by idle workers, and cells are used again and again. */
Test(procs, small_rings_and_uneven_jobs) {
    enum { N = 30000, AHEAD = 500 };
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "process_ring", 16);
    gate_settings_set(settings, "process_slab_bytes", 1 << 20);
    gi_pool_base_t base = {.settings = settings};
    gate_pool_options_t o = {.name = "t", .workers = 3};
    gate_pool_t *pool = gi_pool_procs(&base, &o);
    cr_assert(pool, "%s", gate_error()->text);
    gate_future_t *f[AHEAD] = {0};
    for (int i = 0; i < N + AHEAD; i++) {
        gate_future_t **at = &f[i % AHEAD];
        int x;
        if (*at) {
            ok(gate_future_wait(*at, 10000, &x));
            cr_assert_eq(x, i - AHEAD);
            gate_future_destroy(at);
        }
        if (i < N)
            *at = gate_submit(pool, spin, i, i % 1000 == 0 ? 3000 : 0);
    }
    gate_value_t *v = gate_pool_stats(pool);
    long lost = -1, done = 0;
    ok(gate_value_read(v, "lost", &lost));
    ok(gate_value_read(v, "done", &done));
    cr_assert_eq(lost, 0);
    cr_assert_eq(done, N);
    gate_value_destroy(&v);
    gate_pool_destroy(&pool);
    gate_settings_destroy(&settings);
}

/* Statistics name jobs that run, which end meanwhile. */
static atomic_bool s_enough;

static void *s_looks(void *pool) {
    long each = 0;
    while (!atomic_load(&s_enough)) {
        GATE_OWN(gate_value) v = gate_pool_stats(pool);
        each += v != NULL;
    }
    return (void *)each;
}

Test(procs, stats_beside_jobs) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    pthread_t looks;
    void *n;
    atomic_store(&s_enough, false);
    cr_assert_eq(pthread_create(&looks, NULL, s_looks, pool), 0);
    for (int i = 0; i < 2000; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, i % 2 ? pid : add, 2, 3);
        gate_err_t e = gate_future_wait(f, 10000, NULL);
        cr_assert(e == GATE_OK || i % 2, "%s", gate_error()->text);
    }
    atomic_store(&s_enough, true);
    pthread_join(looks, &n);
    cr_assert_gt((long)n, 0);
}
