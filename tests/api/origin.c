/* SPDX-License-Identifier: BSD-3-Clause */
/* origin.c -- who made an error: what a handler raised keeps its class and has
 * one code, whatever the class; what ran is never tried again. On every way of
 * a call, inline, on threads and behind a kept call. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "rig.h"

/* ---- the service --------------------------------------------------------- */
static atomic_int s_runs;

/* What a library and a broker say, too. */
static const char *const s_classes[] = {
    "ServiceUnAvailableError", "GateUnAvailableError", "BusyWorkerError",
    "BusyGateError",           "ConnectionLostError",  "WorkerLostError",
    "AccessDeniedError",       "AttributeError",       "NotImplementedError",
    "CancelledError",          "TimeoutError",         "MyError"};
enum { S_CLASSES = sizeof s_classes / sizeof *s_classes };

static gate_err_t raises(gate_call_t *call) {
    const char *cls;
    atomic_fetch_add(&s_runs, 1);
    gate_err_t e = gate_args(call, &cls);
    return e ? e : gate_raise(call, cls, "my disk queue is full");
}

/* Code only, as a handler does that hands on what a call of its own said. */
static gate_err_t returns(gate_call_t *call) {
    int64_t code;
    atomic_fetch_add(&s_runs, 1);
    gate_err_t e = gate_args(call, &code);
    return e ? e : (gate_err_t)code;
}

/* And with the story of a broker or registry that turned its own call away. */
static gate_err_t hands_on(gate_call_t *call) {
    gate_client_t *client = *(gate_client_t **)gate_call_ctx(call);
    atomic_fetch_add(&s_runs, 1);
    return gate_client_call(client, "Below.nobody", NULL);
}

static gate_err_t kept(gate_call_t *call) {
    atomic_fetch_add(&s_runs, 1);
    gate_call_t *mine = gate_call_keep(call);
    gate_fail(&mine, "BusyWorkerError", "later");
    return GATE_KEPT;
}

/* An item, then the error. */
static gate_err_t streams(gate_call_t *call) {
    gate_err_t e = gate_yield(call, 1);
    return e ? e : gate_raise(call, "BusyWorkerError", "after an item");
}

static gate_client_t *s_client;

static const gate_method_t s_table[] = {
    GATE_METHOD(raises),
    {.name = "raises_thread", .fn = raises, .runs = GATE_THREAD},
    GATE_METHOD(returns),
    {.name = "returns_thread", .fn = returns, .runs = GATE_THREAD},
    {.name = "hands_on", .fn = hands_on, .runs = GATE_THREAD},
    GATE_METHOD(kept),
    {.name = "streams", .fn = streams, .runs = GATE_THREAD},
    GATE_END};

static void s_expect(rig_way_t way, const char *what, gate_err_t e,
                     const char *cls) {
    const gate_error_t *story = gate_error();
    cr_expect_eq(e, GATE_RAISED, "%s, %s, %s: %s", rig_name(way), what, cls,
                 gate_err_name(e));
    cr_expect_str_eq(story->cls, cls, "%s, %s", rig_name(way), what);
    cr_expect(*story->traceback, "%s, %s, %s: says where", rig_name(way), what,
              cls);
    cr_expect_eq(atomic_exchange(&s_runs, 0), 1, "%s, %s, %s ran once",
                 rig_name(way), what, cls);
}

static void s_each(rig_t *r, rig_way_t way) {
    static const char *const raising[] = {"Test.raises", "Test.raises_thread"};
    static const char *const returning[] = {"Test.returns",
                                            "Test.returns_thread"};
    for (int i = 0; i < S_CLASSES * 2; i++)
        s_expect(way, raising[i % 2],
                 gate_client_call(r->client, raising[i % 2], NULL,
                                  s_classes[i / 2], gate_retry(5)),
                 s_classes[i / 2]);
    s_expect(way, "GATE_BUSY",
             gate_client_call(r->client, returning[0], NULL, GATE_BUSY,
                              gate_retry(5)),
             "BusyWorkerError");
    s_expect(way, "GATE_NOSERVICE",
             gate_client_call(r->client, returning[1], NULL, GATE_NOSERVICE,
                              gate_retry(5)),
             "ServiceUnAvailableError");
    s_expect(way, "a story of below",
             gate_client_call(r->client, "Test.hands_on", NULL, gate_retry(5)),
             "ServiceUnAvailableError");
    s_expect(way, "a kept call",
             gate_client_call(r->client, "Test.kept", NULL, gate_retry(5)),
             "BusyWorkerError");
}

Test(origin, what_a_handler_raises, .timeout = 120) {
    for (int i = 0; i < RIG_WAYS * 2; i++) {
        rig_t r;
        gate_settings_t *s = rig_settings();
        gate_settings_set(s, "secure", i % 2 != 0);
        gate_settings_set(s, "retry_wait_ms", 1);
        rig_up(&r, (rig_way_t)(i / 2), s, s_table, &s_client);
        s_client = r.client;
        s_each(&r, (rig_way_t)(i / 2));
        rig_down(&r);
        gate_settings_destroy(&s);
    }
}

Test(origin, in_a_stream, .timeout = 60) {
    for (rig_way_t way = 0; way < RIG_WAYS; way++) {
        rig_t r;
        int64_t item;
        gate_stream_t *stream;
        rig_up(&r, way, NULL, s_table, &s_client);
        cr_assert_eq(gate_client_open(r.client, "Test.streams", &stream),
                     GATE_OK);
        cr_expect_eq(gate_stream_next(stream, &item), GATE_OK);
        cr_expect_eq(gate_stream_next(stream, &item), GATE_RAISED, "%s",
                     rig_name(way));
        cr_expect_str_eq(gate_error()->cls, "BusyWorkerError");
        gate_stream_destroy(&stream);
        rig_down(&r);
    }
}

/* What broker, worker and library say by themselves has the code of its class,
 * and says that nothing ran. */
Test(origin, what_did_not_run, .timeout = 60) {
    for (rig_way_t way = 0; way < RIG_WAYS; way++) {
        rig_t r;
        rig_up(&r, way, NULL, s_table, &s_client);
        cr_expect_eq(gate_client_call(r.client, "No.such", NULL),
                     GATE_NOSERVICE, "%s", rig_name(way));
        cr_expect(strstr(gate_error()->traceback, "(not run)"), "%s",
                  rig_name(way));
        cr_expect_eq(gate_client_call(r.client, "Test.nothing", NULL),
                     GATE_NOMETHOD, "%s", rig_name(way));
        cr_expect(strstr(gate_error()->traceback, "(not run)"), "%s",
                  rig_name(way));
        rig_down(&r);
    }
}
