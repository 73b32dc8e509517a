/* SPDX-License-Identifier: BSD-3-Clause */
/* call_ends.c -- handlers that slip: what their callers hear, that it is heard in
 * time, and that nothing stays in flight. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include "rig.h"

static gate_err_t s_nothing(gate_call_t *call) {
    (void)call;
    return GATE_KEPT;
}

static gate_call_t *s_kept; /* finished by the test */

static gate_err_t s_leak(gate_call_t *call) {
    s_kept = gate_call_keep(call);
    return GATE_KEPT;
}

static gate_err_t s_ok_after(gate_call_t *call) {
    s_kept = gate_call_keep(call);
    return GATE_OK;
}

static gate_err_t s_raise_after(gate_call_t *call) {
    s_kept = gate_call_keep(call);
    return gate_raise(call, "OSError", "the queue is full");
}

static gate_err_t s_twice(gate_call_t *call) {
    gate_call_t *mine = gate_call_keep(call);
    cr_expect_null(gate_call_keep(call));
    gate_finish(&mine, 1);
    return GATE_KEPT;
}

static gate_err_t s_sleeps(gate_call_t *call) {
    while (!gate_call_cancelled(call))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return gate_return(call, 1);
}

static gate_err_t s_forever(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (int64_t i = 0; !e; i++)
        e = gate_yield(call, i);
    return e;
}

static gate_huge_t *s_huge; /* destroyed by the test */

static gate_err_t s_unended(gate_call_t *call) {
    s_huge = gate_huge_new(call, &(gate_huge_options_t){.size = 10});
    return s_huge ? GATE_KEPT : gate_error()->code;
}

static gate_err_t s_job(gate_call_t *call) { return gate_return(call, 5); }

/* A job, and an answer of its own. */
static gate_err_t s_run_and_return(gate_call_t *call) {
    gate_pool_t *pool = gate_runtime_threads(gate_call_runtime(call));
    if (gate_call_run(call, pool, s_job, gate_list_(NULL, 0), NULL) !=
        GATE_KEPT)
        return gate_error()->code;
    return gate_return(call, 1);
}

static gate_err_t s_one(gate_call_t *call) { return gate_return(call, 1); }

/* Would wait for itself: it, and its pointer, stay as they are. */
static gate_service_t *s_service;

static gate_err_t s_destroys(gate_call_t *call) {
    gate_service_t *before = s_service;
    gate_service_destroy(&s_service);
    if (gate_error()->code != GATE_WOULDBLOCK || s_service != before)
        return gate_raise(call, "AssertionError", "it was destroyed");
    gate_err_t e = gate_service_drain(s_service, -1);
    return gate_return(call, e == GATE_WOULDBLOCK ? 1 : 0);
}

static gate_err_t s_job_destroys(gate_call_t *call) {
    gate_pool_t *pool = gate_runtime_threads(gate_call_runtime(call));
    return gate_call_run(call, pool, s_destroys, gate_list_(NULL, 0), NULL);
}

/* Calls itself, on as many threads. */
static gate_client_t *s_client;

static gate_err_t s_deep(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (!e && n)
        e = gate_client_call(s_client, "Test.t_deep", NULL, n - 1,
                             gate_timeout_ms(300));
    return e ? gate_raise(call, "Nested", "%s", gate_error()->text)
             : gate_return(call, n);
}

#define BOTH(its)                                             \
    {.name = #its, .fn = s_##its, .runs = GATE_INLINE}, {     \
        .name = "t_" #its, .fn = s_##its, .runs = GATE_THREAD \
    }
static const gate_method_t table[] = {
    BOTH(nothing),
    BOTH(leak),
    BOTH(ok_after),
    BOTH(raise_after),
    BOTH(twice),
    BOTH(unended),
    BOTH(run_and_return),
    BOTH(one),
    BOTH(destroys),
    BOTH(job_destroys),
    {.name = "t_deep", .fn = s_deep, .runs = GATE_THREAD},
    {.name = "t_sleeps", .fn = s_sleeps, .runs = GATE_THREAD},
    {.name = "t_forever", .fn = s_forever, .runs = GATE_THREAD},
    GATE_END};

static int64_t s_in_flight(rig_t *rig) {
    int64_t n = -1;
    GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
    cr_assert_eq(gate_value_read(stats, "in_flight", &n), GATE_OK);
    return n;
}

static void s_until_idle(rig_t *rig, const char *what) {
    int64_t n = 1;
    for (int i = 0; i < 1000 && (n = s_in_flight(rig)); i++)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    cr_expect_eq(n, 0, "%s: %d calls in flight", what, (int)n);
}

static void s_up(rig_t *rig, rig_way_t way, const char *key, int64_t value) {
    GATE_OWN(gate_settings) settings = rig_settings();
    gate_settings_set(settings, "log_level", "silent");
    if (key)
        gate_settings_set(settings, key, value);
    rig_up(rig, way, settings, table, NULL);
}

static void s_ends(rig_t *rig, const char *method, gate_err_t code,
                   const char *text) {
    int64_t n = 0;
    gate_err_t e =
        gate_client_call(rig->client, method, &n, gate_timeout_ms(200));
    cr_expect_eq(e, code, "%s: %s: %s", method, gate_err_name(e),
                 gate_error()->text);
    if (e)
        cr_expect(strstr(gate_error()->text, text), "%s: %s", method,
                  gate_error()->text);
    s_until_idle(rig, method);
    if (s_kept) /* too late: only let go of */
        gate_finish(&s_kept, 1);
    gate_huge_destroy(&s_huge);
    cr_expect_eq(gate_client_call(rig->client, "Test.t_one", &n), GATE_OK,
                 "after %s: %s", method, gate_error()->text);
}

static const rig_way_t ways[] = {RIG_INPROC, RIG_TCP, RIG_REGISTRY};
#define N_WAYS (sizeof ways / sizeof *ways)

Test(call_ends, slips_are_told, .timeout = 60) {
    static const struct {
        const char *method;
        gate_err_t code;
        const char *text;
    } slips[] = {
        {"nothing", GATE_RAISED, "kept nothing"},
        {"leak", GATE_TIMEOUT, "no answer"},
        {"ok_after", GATE_RAISED, "did not return GATE_KEPT"},
        {"raise_after", GATE_RAISED, "the queue is full"},
        {"twice", GATE_OK, ""},
        {"unended", GATE_TIMEOUT, ""},
        {"run_and_return", GATE_RAISED, "did not return GATE_KEPT"},
    };
    for (size_t w = 0; w < N_WAYS; w++) {
        rig_t rig;
        s_up(&rig, ways[w], NULL, 0);
        for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
            char inlined[64], threaded[64];
            snprintf(inlined, sizeof inlined, "Test.%s", slips[i].method);
            snprintf(threaded, sizeof threaded, "Test.t_%s", slips[i].method);
            s_ends(&rig, inlined, slips[i].code, slips[i].text);
            s_ends(&rig, threaded, slips[i].code, slips[i].text);
        }
        rig_down(&rig);
    }
}

/* Whoever runs it learns of it, and its slot is free when it was told. */
Test(call_ends, a_deadline_cancels, .timeout = 60) {
    for (size_t w = 0; w < N_WAYS; w++) {
        rig_t rig;
        s_up(&rig, ways[w], NULL, 0);
        s_ends(&rig, "Test.t_sleeps", GATE_TIMEOUT, "no answer");
        rig_down(&rig);
    }
}

/* A caller that named no deadline: a call, and a stream that nobody reads. */
Test(call_ends, the_services_limit_ends_what_nobody_ends, .timeout = 60) {
    for (size_t w = 0; w < N_WAYS; w++) {
        rig_t rig;
        GATE_OWN(gate_stream) kept = NULL;
        s_up(&rig, ways[w], "service_call_max_ms", 100);
        cr_assert_eq(gate_client_open(rig.client, "Test.t_leak", &kept),
                     GATE_OK);
        gate_err_t e = gate_stream_next(kept, NULL);
        cr_expect_neq(e, GATE_OK);
        cr_expect_str_eq(gate_stream_error(kept)->cls, "TimeoutError", "%s: %s",
                         rig_name(ways[w]), gate_error()->text);
        s_until_idle(&rig, "kept");
        gate_finish(&s_kept, 1);
        GATE_OWN(gate_stream) unread = NULL;
        cr_assert_eq(gate_client_open(rig.client, "Test.t_forever", &unread),
                     GATE_OK);
        while (!s_in_flight(&rig))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        s_until_idle(&rig, "unread");
        rig_down(&rig);
    }
}

Test(call_ends, a_service_is_not_destroyed_in_a_handler_of_its_own,
     .timeout = 60) {
    static const char *const methods[] = {"Test.destroys", "Test.t_destroys",
                                          "Test.job_destroys",
                                          "Test.t_job_destroys"};
    for (size_t w = 0; w < N_WAYS; w++) {
        rig_t rig;
        s_up(&rig, ways[w], NULL, 0);
        s_service = rig.service;
        for (int i = 0; i < 4; i++) {
            int64_t yes = 0;
            gate_err_t e = gate_client_call(rig.client, methods[i], &yes);
            cr_expect_eq(e, GATE_OK, "%s: %s", methods[i], gate_error()->text);
            cr_expect_eq(yes, 1, "%s: drained", methods[i]);
        }
        rig_down(&rig);
    }
}

/* ---- a pool that waits for itself ---------------------------------------- */
static atomic_int s_lines;

static void s_count(void *ctx, gate_level_t level, const char *part,
                    const char *text) {
    (void)ctx;
    (void)level;
    (void)part;
    s_lines += strstr(text, "wait for answers to calls") != NULL;
}

Test(call_ends, threads_that_all_wait_for_each_other_are_named, .timeout = 60) {
    for (size_t w = 0; w < N_WAYS; w++) {
        rig_t rig;
        GATE_OWN(gate_settings) settings = rig_settings();
        gate_settings_set(settings, "threads", 3);
        gate_settings_set(settings, "log_level", "warn");
        rig_up(&rig, ways[w], settings, table, NULL);
        gate_log_sink(s_count, NULL);
        s_client = rig.client;
        s_lines = 0;
        cr_expect_eq(gate_client_call(rig.client, "Test.t_deep", NULL, 2),
                     GATE_OK);
        gate_log_flush(2000);
        cr_expect_eq(s_lines, 0, "three threads are enough for that");
        cr_expect_neq(gate_client_call(rig.client, "Test.t_deep", NULL, 4),
                      GATE_OK);
        gate_log_flush(2000);
        cr_expect_geq(s_lines, 1, "%s", rig_name(ways[w]));
        gate_log_sink(NULL, NULL);
        rig_down(&rig);
    }
}
