/* SPDX-License-Identifier: BSD-3-Clause */
/* Maps over worker processes: rows of short inputs in one job, whose every
 * input ends once, whatever becomes of the worker or of the input before it. */
#include "procs_kit.h"
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 5000 };

static void s_sleep_ms(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static gate_err_t square(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, n * n);
}

/* Every 1000th from 500 on kills its worker, every 1000th from 700 on fails. */
static gate_err_t mixed(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (n % 1000 == 500)
        raise(SIGKILL);
    if (n % 1000 == 700)
        return gate_raise(call, "KeyError", "%lld", (long long)n);
    return e ? e : gate_return(call, n);
}

/* Every 500th takes long. */
static gate_err_t uneven(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (n % 500 == 250)
        s_sleep_ms(20);
    return e ? e : gate_return(call, n);
}

static gate_err_t nap(gate_call_t *call) {
    int64_t ms;
    gate_err_t e = gate_args(call, &ms);
    s_sleep_ms((int)ms);
    return e ? e : gate_return(call, ms);
}

static gate_err_t worker(gate_call_t *call) {
    return gate_return(call, (long)getpid());
}

static gate_err_t sum(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t yields(gate_call_t *call) {
    gate_err_t e = gate_yield(call, 1);
    return e ? e : GATE_EOS;
}

static gate_err_t large(gate_call_t *call) {
    static char zeros[300000];
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, gate_bin(zeros, (size_t)n));
}

/* ---- inputs -------------------------------------------------------------- */

typedef struct s_source {
    int n, end;
    gate_err_t how; /* it ends */
} s_source_t;

static gate_err_t s_next(void *ctx, gate_arg_t *input) {
    s_source_t *self = ctx;
    if (self->n == self->end)
        return self->how;
    *input = gate_int(self->n++);
    return GATE_OK;
}

static void s_ints(gate_arg_t *in, int n) {
    for (int i = 0; i < n; i++)
        in[i] = gate_int(i);
}

/* ---- results ------------------------------------------------------------- */

static void s_squares(gate_stream_t **s, int n, bool ordered) {
    static bool seen[MANY];
    int64_t x;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < n; i++) {
        ok(gate_stream_next(*s, &x));
        size_t at = gate_stream_index(*s);
        cr_assert(at < (size_t)n && !seen[at]);
        cr_assert(!ordered || at == (size_t)i);
        cr_assert_eq(x, (int64_t)(at * at));
        seen[at] = true;
    }
    fails(gate_stream_next(*s, &x), GATE_EOS);
    gate_stream_destroy(s);
}

Test(procs_map, short_inputs_share_jobs, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    static gate_arg_t in[MANY];
    gate_stream_t *s;
    s_ints(in, MANY);
    for (int i = 0; i < 4; i++) {
        ok(gate_pool_map_with(pool, square, in, MANY, &s, .ordered = i % 2));
        s_squares(&s, MANY, i % 2);
    }
    ok(gate_pool_map_with(pool, square, in, MANY, &s, .chunk = 1));
    s_squares(&s, MANY, false);
    ok(gate_pool_map_with(pool, square, in, MANY, &s, .chunk = 1000));
    s_squares(&s, MANY, false);
    GATE_OWN(gate_value) stats = gate_pool_stats(pool);
    int64_t done;
    ok(gate_value_read(stats, "done", &done));
    cr_assert_eq(done, 6 * MANY); /* inputs, not jobs */
}

/* A worker's death and an error are those of the input that brought them. */
static void s_each_once(bool ordered) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    static gate_arg_t in[MANY];
    static int got[MANY];
    gate_stream_t *s;
    gate_err_t e;
    int64_t x = -1;
    s_ints(in, MANY);
    memset(got, 0, sizeof got);
    ok(gate_pool_map_with(pool, mixed, in, MANY, &s, .errors = true,
                          .ordered = ordered));
    for (size_t i = 0; (e = gate_stream_next(s, &x)) != GATE_EOS; i++) {
        size_t at = gate_stream_index(s);
        cr_assert_eq(gate_stream_error(s)->code, GATE_OK, "%s",
                     gate_stream_error(s)->text);
        cr_assert_lt(at, MANY);
        got[at]++;
        cr_assert(!ordered || at == i);
        cr_assert_eq(e,
                     at % 1000 == 500   ? GATE_WORKERLOST
                     : at % 1000 == 700 ? GATE_RAISED
                                        : GATE_OK,
                     "%zu: %s", at, gate_error()->text);
        cr_assert(at % 1000 != 700 || !strcmp(gate_error()->cls, "KeyError"));
        cr_assert(e || x == (int64_t)at);
    }
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(got[i], 1, "%d: %d times", i, got[i]);
    gate_stream_destroy(&s);
}

Test(procs_map, a_failure_is_its_inputs_alone, .timeout = 60) {
    s_each_once(true);
    s_each_once(false);
}

Test(procs_map, without_errors_the_first_ends_it, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    static gate_arg_t in[MANY];
    gate_stream_t *s;
    int64_t x;
    s_ints(in, MANY);
    ok(gate_pool_map(pool, mixed, in, MANY, true, &s));
    for (int i = 0; i < 500; i++)
        ok(gate_stream_next(s, &x));
    fails(gate_stream_next(s, &x), GATE_WORKERLOST);
    cr_assert_eq(gate_stream_error(s)->code, GATE_WORKERLOST);
    gate_stream_destroy(&s);
    ok(gate_pool_map(pool, square, in, MANY, true, &s)); /* the pool lives */
    s_squares(&s, MANY, true);
}

/* What was thought to be short is not: the rest goes to others. */
Test(procs_map, uneven_inputs, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    static gate_arg_t in[MANY];
    gate_stream_t *s;
    int64_t x, all = 0;
    s_ints(in, MANY);
    ok(gate_pool_map(pool, uneven, in, MANY, false, &s));
    for (int i = 0; i < MANY; i++, all += x)
        ok(gate_stream_next(s, &x));
    cr_assert_eq(all, (int64_t)MANY * (MANY - 1) / 2);
    fails(gate_stream_next(s, &x), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(procs_map, a_generator, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    for (int i = 0; i < 4; i++) {
        s_source_t source = {.end = i < 2 ? MANY : i % 2, .how = GATE_EOS};
        gate_stream_t *s;
        ok(gate_pool_map_with(pool, square, NULL, 0, &s, .next = s_next,
                              .ctx = &source, .ordered = i % 2));
        cr_assert_leq(source.n, 1024); /* no more than the window */
        s_squares(&s, source.end, i % 2);
    }
}

Test(procs_map, a_generator_that_fails_ends_it, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    s_source_t source = {.end = 2000, .how = GATE_SYSTEM};
    gate_stream_t *s;
    int64_t x;
    ok(gate_pool_map_with(pool, square, NULL, 0, &s, .next = s_next,
                          .ctx = &source, .ordered = true, .errors = true));
    for (int64_t i = 0; i < 2000; i++) {
        ok(gate_stream_next(s, &x));
        cr_assert_eq(x, i * i);
    }
    fails(gate_stream_next(s, &x), GATE_SYSTEM);
    cr_assert(strstr(gate_error()->text, "the generator of a map"));
    cr_assert_eq(gate_stream_error(s)->code, GATE_SYSTEM);
    gate_stream_destroy(&s);
}

Test(procs_map, limits_are_each_inputs_own, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_job_options_t job = {.hard_ms = 1000};
    gate_arg_t in[] = {gate_int(0), gate_int(60000), gate_int(1)};
    gate_err_t e[3] = {GATE_OK};
    gate_stream_t *s;
    int64_t x;
    ok(gate_pool_map_with(pool, nap, in, 3, &s, .errors = true, .job = &job));
    for (int i = 0; i < 3; i++) {
        gate_err_t got = gate_stream_next(s, &x);
        e[gate_stream_index(s)] = got;
    }
    cr_assert(!e[0] && e[1] == GATE_TIMEOUT && !e[2], "%d %d %d", e[0], e[1],
              e[2]);
    fails(gate_stream_next(s, &x), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(procs_map, what_is_late_is_not_begun, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_arg_t in[40];
    gate_stream_t *s;
    gate_err_t e;
    int well = 0, late = 0;
    int64_t x;
    for (int i = 0; i < 40; i++)
        in[i] = gate_int(100);
    ok(gate_pool_map_with(pool, nap, in, 40, &s, .errors = true,
                          .timeout_ms = 500));
    while ((e = gate_stream_next(s, &x)) != GATE_EOS) {
        cr_assert(!e || e == GATE_TIMEOUT, "%s", gate_error()->text);
        well += !e;
        late += e != GATE_OK;
    }
    cr_assert_eq(well + late, 40);
    cr_assert_gt(late, 20);
    gate_stream_destroy(&s);
}

/* Others have filled the queue: that is waited for. */
Test(procs_map, a_full_queue_is_waited_for, .timeout = 60) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .queue_max = 2};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    gate_future_t *f[4];
    gate_arg_t in[10];
    gate_stream_t *s;
    int64_t x, all = 0;
    s_ints(in, 10);
    for (int i = 0; i < 4; i++)
        f[i] = gate_submit(pool, nap, 300);
    ok(gate_pool_map(pool, square, in, 10, true, &s));
    for (int i = 0; i < 10; i++, all += x)
        ok(gate_stream_next(s, &x));
    cr_assert_eq(all, 285);
    fails(gate_stream_next(s, &x), GATE_EOS);
    gate_stream_destroy(&s);
    for (int i = 0; i < 4; i++)
        gate_future_destroy(&f[i]);
}

/* A map that waits for room is let go of; its pool ends. */
Test(procs_map, left_while_it_waits, .timeout = 60) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .queue_max = 1};
    gate_pool_t *pool = s_pool_with(&o);
    gate_future_t *f[3];
    gate_arg_t in[3];
    gate_stream_t *s[2];
    int64_t x;
    s_ints(in, 3);
    for (int i = 0; i < 3; i++)
        f[i] = gate_submit(pool, nap, 300);
    ok(gate_pool_map(pool, square, in, 3, true, &s[0]));
    ok(gate_pool_map(pool, square, in, 3, true, &s[1]));
    gate_stream_destroy(&s[0]);
    gate_pool_destroy(&pool);
    while (gate_stream_next(s[1], &x) == GATE_OK)
        ;
    cr_assert(gate_stream_next(s[1], &x) == GATE_CLOSED ||
                  gate_stream_next(s[1], &x) == GATE_EOS,
              "%s", gate_error()->text);
    gate_stream_destroy(&s[1]);
    for (int i = 0; i < 3; i++)
        gate_future_destroy(&f[i]);
}

Test(procs_map, lists_are_spread_and_yields_refused, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    GATE_OWN(gate_items) in = gate_items_new();
    gate_stream_t *s;
    int64_t x;
    for (int i = 0; i < 300; i++)
        ok(gate_items_add(in, gate_list(i, 2 * i)));
    ok(gate_pool_map(pool, sum, gate_items_data(in), gate_items_size(in), true,
                     &s));
    for (int64_t i = 0; i < 300; i++) {
        ok(gate_stream_next(s, &x));
        cr_assert_eq(x, 3 * i);
    }
    gate_stream_destroy(&s);
    ok(gate_pool_map(pool, yields, gate_items_data(in), 2, true, &s));
    fails(gate_stream_next(s, &x), GATE_BADARG);
    gate_stream_destroy(&s);
}

Test(procs_map, large_results, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_arg_t in[400];
    gate_stream_t *s;
    gate_bytes_t bytes;
    for (int i = 0; i < 400; i++)
        in[i] = gate_int(i % 7 ? i : 200000 + i);
    ok(gate_pool_map(pool, large, in, 400, true, &s));
    for (size_t i = 0; i < 400; i++) {
        ok(gate_stream_next(s, &bytes));
        cr_assert_eq(bytes.size, i % 7 ? i : 200000 + i);
    }
    fails(gate_stream_next(s, gate_onone(NULL)), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(procs_map, bad_options_are_named, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_arg_t in[1] = {gate_int(0)};
    gate_stream_t *s = NULL;
    fails(gate_pool_map_with(pool, square, in, 1, &s, .next = s_next),
          GATE_BADARG);
    fails(gate_pool_map_with(pool, square, NULL, 1, &s, .errors = true),
          GATE_BADARG);
    fails(gate_pool_map_with(pool, square, in, 1, &s, .chunk = -1),
          GATE_BADARG);
    fails(gate_pool_map_with(pool, square, in, 1, &s, .timeout_ms = -2),
          GATE_BADARG);
    cr_assert_null(s);
}

/* ---- a stream's options --------------------------------------------------- */

static gate_err_t two_then_nap(gate_call_t *call) {
    gate_err_t e = gate_yield(call, (long)getpid());
    e = e ? e : gate_yield(call, 2);
    s_sleep_ms(60000);
    return e ? e : GATE_EOS;
}

Test(procs_map, a_streams_own_limit, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t job = {.hard_ms = 500};
    GATE_OWN(gate_stream) s = NULL;
    int64_t x;
    ok(gate_submit_stream_with(pool, two_then_nap, &job, &s));
    ok(gate_stream_next(s, &x));
    ok(gate_stream_next(s, &x));
    fails(gate_stream_next(s, &x), GATE_TIMEOUT);
    GATE_OWN(gate_future) f = gate_submit(pool, worker);
    ok(gate_future_wait(f, 20000, &x));
}
