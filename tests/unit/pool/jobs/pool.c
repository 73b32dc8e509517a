/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls, thread pools, custom executors and map, through the public functions.
 */
#include "jobs/pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <gaterpc/call.h>

#include "sync/clock.h"
#include "base/mem.h"

static gate_pool_t *s_threads(int workers, int queue_max) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = workers, .queue_max = queue_max};
    gate_pool_t *pool = gi_pool_threads(&base, &options);

    cr_assert_not_null(pool);
    return pool;
}

/* Runs at once, on the submitting thread. */
static gate_err_t s_inline(void *ctx, void (*run)(void *arg), void *arg) {
    if (ctx)
        ++*(int *)ctx;
    run(arg);
    return GATE_OK;
}

static gate_err_t s_refuse(void *ctx, void (*run)(void *arg), void *arg) {
    (void)ctx;
    (void)run;
    (void)arg;
    return GATE_BUSY;
}

static gate_pool_t *s_custom(gate_submit_fn *submit, void *ctx) {
    gi_pool_base_t base = {0};

    return gi_pool_custom(&base, submit, ctx);
}

/* ---- jobs ---------------------------------------------------------------- */
static gate_err_t s_add(gate_call_t *call) {
    int64_t a, b = 10;
    gate_err_t e = gate_args(call, &a, gate_kwopt("b", &b));

    return e == GATE_OK ? gate_return(call, a + b) : e;
}

static gate_err_t s_raise(gate_call_t *call) {
    return gate_raise(call, "ValueError", "%s %d", "no", 7);
}

static gate_err_t s_nothing(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

static gate_err_t s_code(gate_call_t *call) {
    (void)call;
    return GATE_REFUSED;
}

static gate_err_t s_two_values(gate_call_t *call) {
    msgpack_packer *pk = gate_call_packer(call);

    msgpack_pack_int(pk, 1);
    msgpack_pack_int(pk, 2);
    return GATE_OK;
}

static gate_err_t s_by_hand(gate_call_t *call) {
    msgpack_packer *pk = gate_call_packer(call);

    msgpack_pack_array(pk, 2);
    msgpack_pack_int(pk, 1);
    msgpack_pack_int(pk, 2);
    return GATE_OK;
}

static gate_err_t s_kept(gate_call_t *call) {
    cr_assert_null(gate_call_keep(call));
    return GATE_KEPT;
}

static gate_err_t s_count(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);

    for (int64_t i = 0; e == GATE_OK && i < n; i++)
        e = gate_yield(call, i);
    return e == GATE_OK ? GATE_EOS : e;
}

static gate_err_t s_three_then_boom(gate_call_t *call) {
    for (int i = 0; i < 3; i++)
        if (gate_yield(call, i) != GATE_OK)
            return GATE_CANCELLED;
    return gate_raise(call, "ValueError", "boom");
}

static gate_err_t s_next(gate_call_t *call, void *state) {
    int *n = state;

    return *n < 3 ? gate_yield(call, (*n)++) : GATE_EOS;
}

static void s_generator_done(void *state) { *(int *)state = -1; }

static int s_state;

static gate_err_t s_generator(gate_call_t *call) {
    s_state = 0;
    return gate_generate(call, s_next, &s_state, s_generator_done);
}

static atomic_int s_started;

static gate_err_t s_until_cancelled(gate_call_t *call) {
    int64_t start = gi_clock_ms();

    s_started++;
    while (!gate_call_cancelled(call))
        usleep(1000);
    return gate_return(call, gi_clock_ms() - start);
}

static gate_err_t s_sleep(gate_call_t *call) {
    int ms;

    s_started++;
    if (gate_args(call, &ms) != GATE_OK)
        return GATE_BADARG;
    usleep((useconds_t)ms * 1000);
    return gate_return(call, ms);
}

/* ---- one result ---------------------------------------------------------- */
static gate_err_t s_result(gate_future_t *f, int64_t *n) {
    gate_err_t e = gate_future_wait(f, 10000, n);

    gate_future_destroy(&f);
    return e;
}

static void s_check_results(gate_pool_t *pool) {
    gate_future_t *f;
    gate_value_t *value = NULL;
    int64_t n = 0;

    cr_assert_eq(s_result(gate_submit(pool, s_add, 1, 2), &n), GATE_OK);
    cr_assert_eq(n, 3);
    cr_assert_eq(s_result(gate_submit(pool, s_add, 1, gate_kw("b", 5)), &n),
                 GATE_OK);
    cr_assert_eq(n, 6);
    cr_assert_eq(s_result(gate_submit(pool, s_add, 1), &n), GATE_OK);
    cr_assert_eq(n, 11);
    cr_assert_eq(s_result(gate_submit(pool, s_add, "x"), &n), GATE_BADARG);
    cr_assert_str_eq(gate_error()->cls, "TypeError");
    cr_assert_eq(s_result(gate_submit(pool, s_raise), &n), GATE_RAISED);
    cr_assert_str_eq(gate_error()->cls, "ValueError");
    cr_assert_str_eq(gate_error()->text, "no 7");
    cr_assert_eq(s_result(gate_submit(pool, s_code), &n), GATE_REFUSED);
    cr_assert_str_eq(gate_error()->text, gate_err_text(GATE_REFUSED));
    cr_assert_eq(s_result(gate_submit(pool, s_two_values), &n), GATE_BADARG);
    cr_assert_eq(s_result(gate_submit(pool, s_kept), &n), GATE_BADARG);
    cr_assert_eq(s_result(gate_submit(pool, s_count, 3), &n), GATE_BADARG,
                 "a stream is no result");
    f = gate_submit(pool, s_nothing);
    cr_assert_eq(gate_future_wait(f, -1, &value), GATE_OK);
    cr_assert_eq(gate_value_object(value)->type, MSGPACK_OBJECT_NIL);
    gate_value_destroy(&value);
    gate_future_destroy(&f);
    f = gate_submit(pool, s_by_hand);
    cr_assert_eq(gate_future_wait(f, -1, &value), GATE_OK);
    cr_assert_eq(gate_value_object(value)->via.array.size, 2);
    gate_value_destroy(&value);
    gate_future_destroy(&f);
}

Test(pool, results_from_threads, .timeout = 60) {
    gate_pool_t *pool = s_threads(2, 0);

    s_check_results(pool);
    gate_pool_destroy(&pool);
    cr_assert_null(pool);
}

Test(pool, results_from_a_custom_executor, .timeout = 60) {
    int submitted = 0;
    gate_pool_t *pool = s_custom(s_inline, &submitted);

    s_check_results(pool);
    cr_assert_eq(submitted, 11);
    cr_assert_eq(gate_pool_resize(pool, 3), GATE_NOTIMPL);
    gate_pool_destroy(&pool);
    pool = s_custom(s_refuse, NULL);
    int64_t n;
    cr_assert_eq(s_result(gate_submit(pool, s_add, 1), &n), GATE_BUSY);
    gate_pool_destroy(&pool);
    cr_assert_null(s_custom(NULL, NULL));
}

static gate_err_t s_stale(gate_call_t *call) {
    int n;

    if (gate_args(call, &n) == GATE_OK) /* else a story of GATE_BADARG stays */
        return GATE_CLOSED;
    return gate_return(call, 1);
}

static gate_err_t s_bare_badarg(gate_call_t *call) {
    (void)call;
    return GATE_BADARG;
}

Test(pool, no_story_of_another_call, .timeout = 60) {
    gate_pool_t *pool = s_threads(1, 0);
    int64_t n;

    cr_assert_eq(s_result(gate_submit(pool, s_stale, "x"), &n), GATE_OK);
    cr_assert_eq(s_result(gate_submit(pool, s_bare_badarg), &n), GATE_BADARG);
    cr_assert_str_eq(gate_error()->text, gate_err_text(GATE_BADARG));
    gate_pool_destroy(&pool);
}

Test(pool, busy_closed_drained, .timeout = 60) {
    gate_pool_t *pool = s_threads(1, 1);
    gate_future_t *slow, *queued;
    int64_t n;

    s_started = 0;
    slow = gate_submit(pool, s_sleep, 100);
    while (!s_started)
        usleep(1000);
    queued = gate_submit(pool, s_sleep, 0);
    cr_assert_eq(s_result(gate_submit(pool, s_sleep, 0), &n), GATE_BUSY);
    cr_assert_eq(gate_pool_drain(pool, 1), GATE_TIMEOUT);
    cr_assert_eq(s_result(gate_submit(pool, s_sleep, 0), &n), GATE_CLOSED);
    cr_assert_eq(gate_pool_drain(pool, -1), GATE_OK);
    cr_assert(gate_future_ready(slow));
    cr_assert_eq(s_result(slow, &n), GATE_OK);
    gate_pool_destroy(&pool);
    cr_assert_eq(s_result(queued, &n), GATE_OK, "futures outlive the pool");
}

Test(pool, cancel, .timeout = 60) {
    gate_pool_t *pool = s_threads(1, 0);
    gate_future_t *running, *queued;
    gate_value_t *stats;
    int64_t n;

    s_started = 0;
    running = gate_submit(pool, s_until_cancelled);
    while (!s_started)
        usleep(1000);
    queued = gate_submit(pool, s_sleep, 0);
    gate_future_cancel(queued);
    cr_assert_eq(s_result(queued, &n), GATE_CANCELLED);
    gate_future_cancel(running); /* sees the flag, else this test hangs */
    cr_assert_eq(s_result(running, &n), GATE_CANCELLED);
    cr_assert_eq(gate_pool_drain(pool, -1), GATE_OK);
    cr_assert_eq(s_started, 1, "the other was dropped while queued");
    stats = gate_pool_stats(pool);
    cr_assert_eq(gate_value_read(stats, "cancelled", &n), GATE_OK);
    cr_assert_eq(n, 1);
    gate_value_destroy(&stats);
    gate_pool_destroy(&pool);
}

Test(pool, limits, .timeout = 60) {
    gate_pool_t *pool = s_threads(1, 0);
    gate_job_options_t soft = {.soft_ms = 40};
    gate_future_t *late;
    int64_t n = 0;

    cr_assert_eq(s_result(gate_submit_with(pool, s_until_cancelled, &soft), &n),
                 GATE_OK);
    cr_assert_geq(n, 38);
    s_started = 0;
    gate_future_t *slow = gate_submit(pool, s_sleep, 80);
    late = gate_submit(pool, s_sleep, 0, gate_timeout_ms(20));
    cr_assert_eq(s_result(late, &n), GATE_TIMEOUT);
    cr_assert_eq(s_result(slow, &n), GATE_OK);
    cr_assert_eq(s_started, 1, "nobody waits for it any more: not run");
    gate_pool_destroy(&pool);
}

Test(pool, stats, .timeout = 60) {
    gate_pool_t *pool = s_threads(3, 0);
    gate_value_t *stats;
    const char *kind;
    int64_t n;

    cr_assert_eq(s_result(gate_submit(pool, s_add, 1), &n), GATE_OK);
    cr_assert_eq(s_result(gate_submit(pool, s_raise), &n), GATE_RAISED);
    cr_assert_eq(gate_pool_drain(pool, -1), GATE_OK);
    stats = gate_pool_stats(pool);
    cr_assert_eq(gate_value_read(stats, "kind", &kind), GATE_OK);
    cr_assert_str_eq(kind, "threads");
    cr_assert_eq(gate_value_read(stats, "workers", &n), GATE_OK);
    cr_assert_eq(n, 3);
    cr_assert_eq(gate_value_read(stats, "done", &n), GATE_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(gate_value_read(stats, "failed", &n), GATE_OK);
    cr_assert_eq(n, 1);
    cr_assert_eq(gate_value_read(stats, "queued", &n), GATE_OK);
    cr_assert_eq(n, 0);
    gate_value_destroy(&stats);
    gate_pool_destroy(&pool);
}

Test(pool, stale_tickets, .timeout = 60) {
    gate_pool_t *pool = s_threads(1, 0);
    int64_t n;

    cr_assert_eq(s_result(gate_submit(pool, s_add, 1), &n), GATE_OK);
    gate_future_t *next = gate_submit(pool, s_sleep, 20);
    gi_pool_cancel(pool, (gi_ticket_t)1 << 32 | 1); /* the first one's */
    gi_pool_cancel(pool, 0);
    gi_pool_cancel(pool, UINT64_MAX);
    gi_pool_credit(pool, UINT64_MAX, 1, 1);
    cr_assert_eq(s_result(next, &n), GATE_OK);
    gate_pool_destroy(&pool);
}

Test(pool, names) {
    gate_fn_register("add", s_add);
    gate_fn_register("add again", s_add);
    cr_assert_str_eq(gi_pool_fn_name(s_add), "add");
    cr_assert_null(gi_pool_fn_name(s_raise));
}

/* ---- streams ------------------------------------------------------------- */
static void s_check_stream(gate_pool_t *pool, int64_t length) {
    gate_stream_t *s = NULL;
    int64_t n;

    cr_assert_eq(gate_submit_stream(pool, s_count, &s, length), GATE_OK);
    for (int64_t i = 0; i < length; i++) {
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
        cr_assert_eq(n, i);
        cr_assert_eq(gate_stream_index(s), i);
    }
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(pool, streams, .timeout = 60) {
    gate_pool_t *pool = s_threads(2, 0);
    gate_stream_t *s;
    int64_t n;

    s_check_stream(pool, 0);
    s_check_stream(pool, 1);
    s_check_stream(pool, 10000); /* far beyond the window: credit flows */
    cr_assert_eq(gate_submit_stream(pool, s_three_then_boom, &s), GATE_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_RAISED);
    cr_assert_str_eq(gate_stream_error(s)->text, "boom");
    gate_stream_destroy(&s);
    cr_assert_eq(gate_submit_stream(pool, s_add, &s, 1, 2), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(n, 3);
    cr_assert(gate_stream_single(s));
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    gate_stream_destroy(&s);
    cr_assert_eq(gate_submit_stream(pool, s_generator, &s), GATE_OK);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    cr_assert_eq(s_state, -1);
    gate_stream_destroy(&s);
    gate_pool_destroy(&pool);
}

Test(pool, stream_left_early, .timeout = 20) {
    gate_pool_t *pool = s_threads(1, 0);
    gate_stream_t *s;
    int64_t n;

    cr_assert_eq(gate_submit_stream(pool, s_count, &s, INT64_MAX), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    gate_stream_destroy(&s); /* the producer stops, or drain would hang */
    cr_assert_eq(gate_pool_drain(pool, -1), GATE_OK);
    gate_pool_destroy(&pool);
}

Test(pool, stream_outlives_its_pool, .timeout = 20) {
    gate_pool_t *pool = s_threads(1, 0);
    gate_stream_t *s;
    int64_t n, last = 0;
    gate_err_t e;

    cr_assert_eq(gate_submit_stream(pool, s_count, &s, INT64_MAX), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    gate_pool_destroy(&pool); /* its producer waits for credit: cancelled */
    while ((e = gate_stream_next(s, &n)) == GATE_OK)
        cr_assert_eq(n, ++last);
    cr_assert_eq(e, GATE_CANCELLED);
    gate_stream_destroy(&s);
}

/* ---- map ----------------------------------------------------------------- */
static gate_err_t s_square(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);

    if (e == GATE_OK && n % 7 == 0)
        usleep(100);
    return e == GATE_OK ? gate_return(call, n * n) : e;
}

static gate_err_t s_fail_at_500(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);

    if (n == 500)
        return gate_raise(call, "ValueError", "at %d", (int)n);
    return e == GATE_OK ? gate_return(call, n) : e;
}

enum { INPUTS = 2000 };
static gate_arg_t s_inputs[INPUTS];

static gate_stream_t *s_map(gate_pool_t *pool, gate_fn *fn, bool ordered) {
    gate_stream_t *s = NULL;

    for (int i = 0; i < INPUTS; i++)
        s_inputs[i] = gate_int(i);
    cr_assert_eq(gate_pool_map(pool, fn, s_inputs, INPUTS, ordered, &s),
                 GATE_OK);
    return s;
}

static void s_check_map(gate_pool_t *pool, bool ordered) {
    gate_stream_t *s = s_map(pool, s_square, ordered);
    static bool seen[INPUTS];
    int64_t n;

    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < INPUTS; i++) {
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
        size_t index = gate_stream_index(s);
        cr_assert_eq(n, (int64_t)(index * index));
        cr_assert(!ordered || index == i);
        cr_assert_not(seen[index]);
        seen[index] = true;
    }
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(map, all_kinds, .timeout = 60) {
    gate_pool_t *pool = s_threads(3, 0);

    s_check_map(pool, true);
    s_check_map(pool, false);
    gate_pool_destroy(&pool);
    pool = s_threads(2, 3); /* a queue smaller than the window */
    s_check_map(pool, true);
    s_check_map(pool, false);
    gate_pool_destroy(&pool);
    pool = s_custom(s_inline, NULL);
    s_check_map(pool, true);
    s_check_map(pool, false);
    gate_pool_destroy(&pool);
}

Test(map, empty_and_spread, .timeout = 60) {
    gate_pool_t *pool = s_threads(2, 0);
    gate_arg_t pairs[] = {gate_list(1, 2), gate_list(30, 40), gate_int(5)};
    gate_stream_t *s;
    int64_t n;

    cr_assert_eq(gate_pool_map(pool, s_add, NULL, 0, true, &s), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    gate_stream_destroy(&s);
    cr_assert_eq(gate_pool_map(pool, s_add, pairs, 3, true, &s), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(n, 3);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(n, 70);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(n, 15);
    gate_stream_destroy(&s);
    gate_pool_destroy(&pool);
}

Test(map, one_failure_ends_it, .timeout = 60) {
    gate_pool_t *pool = s_threads(3, 0);
    gate_stream_t *s = s_map(pool, s_fail_at_500, true);
    gate_err_t e;
    int64_t n;

    for (int i = 0; i < 500; i++) {
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK, "those before count");
        cr_assert_eq(n, i);
    }
    cr_assert_eq(gate_stream_next(s, &n), GATE_RAISED);
    cr_assert_str_eq(gate_error()->text, "at 500");
    gate_stream_destroy(&s);
    s = s_map(pool, s_fail_at_500, false);
    while ((e = gate_stream_next(s, &n)) == GATE_OK)
        ;
    cr_assert_eq(e, GATE_RAISED);
    gate_stream_destroy(&s);
    gate_pool_destroy(&pool);
}

Test(map, reader_leaves, .timeout = 60) {
    gate_pool_t *pool = s_threads(3, 0);
    gate_stream_t *s = s_map(pool, s_square, true);
    int64_t n;

    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    gate_stream_destroy(&s);
    gate_pool_destroy(&pool);
}

Test(map, pool_leaves, .timeout = 60) {
    gate_pool_t *pool = s_threads(3, 0);
    gate_stream_t *s = s_map(pool, s_square, true);
    gate_err_t e;
    int64_t n, got = 0;

    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    gate_pool_destroy(&pool);
    while ((e = gate_stream_next(s, &n)) == GATE_OK)
        got++;
    cr_assert_eq(e, GATE_CLOSED);
    cr_assert_lt(got, INPUTS);
    gate_stream_destroy(&s);
}

/* ---- no memory ----------------------------------------------------------- */
/* Whatever allocation fails: an answer or GATE_NOMEM, no hang, no leak. */
static void s_everything(gate_pool_t *pool) {
    gate_arg_t inputs[] = {gate_int(1), gate_int(2), gate_int(3)};
    gate_future_t *f = gate_submit(pool, s_add, 1, 2);
    gate_stream_t *s = NULL;
    int64_t n;
    gate_err_t e = gate_future_wait(f, -1, &n);

    cr_assert(e == GATE_OK || e == GATE_NOMEM);
    gate_future_destroy(&f);
    e = gate_submit_stream(pool, s_count, &s, 5);
    while (e == GATE_OK)
        e = gate_stream_next(s, &n);
    cr_assert(e == GATE_EOS || e == GATE_NOMEM);
    gate_stream_destroy(&s);
    for (int ordered = 0; ordered < 2; ordered++) {
        e = gate_pool_map(pool, s_add, inputs, 3, ordered, &s);
        while (e == GATE_OK)
            e = gate_stream_next(s, &n);
        cr_assert(e == GATE_EOS || e == GATE_NOMEM, "%s", gate_err_name(e));
        gate_stream_destroy(&s);
    }
}

Test(pool, every_allocation_may_fail, .timeout = 60) {
    gi_pool_base_t base = {0};

    for (long n = 1; n < 400; n++) {
        gate_pool_t *pool;

        gi_mem_fail_at(n, false);
        pool = gi_pool_threads(&base, NULL);
        if (pool)
            s_everything(pool);
        else
            cr_assert_eq(gate_error()->code, GATE_NOMEM);
        gate_pool_destroy(&pool);
        long asked = gi_mem_asked();
        gi_mem_fail_at(0, false);
        if (asked < n)
            break;
    }
}
