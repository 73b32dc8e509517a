/* SPDX-License-Identifier: BSD-3-Clause */
/* same.c -- "same process, same API": errors, order, limits and names are those
 * of a call over a broker, whichever way a call takes. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "rig.h"

enum { S_ORDERED = 200 };
static _Atomic int s_open, s_seen[S_ORDERED], s_n_seen;

static gate_err_t add(gate_call_t *call) {
    long a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t busy(gate_call_t *call) {
    return gate_raise(call, "BusyWorkerError", "my disk is full");
}

static gate_err_t items(gate_call_t *call) {
    gate_err_t e = gate_yield(call, 1);
    return e ? e : GATE_EOS;
}

static gate_err_t wait(gate_call_t *call) {
    while (!s_open && !gate_call_cancelled(call))
        usleep(1000);
    return gate_return(call, 1);
}

static gate_err_t note(gate_call_t *call) {
    int i;
    gate_err_t e = gate_args(call, &i);
    if (!e && s_n_seen < S_ORDERED)
        s_seen[s_n_seen++] = i;
    return e ? e : gate_return(call, i);
}

/* Its step says that there is an item, and there is none. */
static gate_err_t s_nothing(gate_call_t *call, void *state) {
    (void)call;
    (void)state;
    return GATE_OK;
}

static gate_err_t empty(gate_call_t *call) {
    return gate_generate(call, s_nothing, NULL, NULL);
}

/* Quick steps, so that they are waited for, then others that take a while; the
 * last wants that all before it have been read. */
enum { S_QUICK = 20, S_STEPS = 2 * S_QUICK };
static _Atomic int s_n_read;

static gate_err_t s_pace(gate_call_t *call, void *state) {
    int *i = state;
    bool last = *i == S_STEPS - 1;
    if (*i == S_STEPS)
        return GATE_EOS;
    if (*i >= S_QUICK)
        usleep(10000);
    for (int ms = 0; last && s_n_read < *i && ms < 10000; ms++)
        usleep(1000);
    if (last && s_n_read < *i)
        return gate_raise(call, "RuntimeError", "not all before was read yet");
    return gate_yield(call, (*i)++);
}

static gate_err_t paced(gate_call_t *call) {
    return gate_generate(call, s_pace, calloc(1, sizeof(int)), free);
}

/* The same for calls: s_n_done have been answered. Callers of this process are told
 * after every eighth. */
enum { S_QUICK_CALLS = 100, S_CALLS = S_QUICK_CALLS + 20, S_TOLD_EVERY = 8 };
static _Atomic int s_n_done, s_untold;

static gate_err_t slower(gate_call_t *call) {
    int i;
    gate_err_t e = gate_args(call, &i);
    if (!e && i >= S_QUICK_CALLS)
        usleep(10000);
    bool last = !e && i == S_CALLS - 1;
    for (int ms = 0; last && s_n_done < i - s_untold && ms < 10000; ms++)
        usleep(1000);
    if (last && s_n_done < i - s_untold)
        return gate_raise(call, "RuntimeError", "not all before was answered");
    return e ? e : gate_return(call, i);
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(paced),
    GATE_METHOD(slower),
    GATE_METHOD(empty),
    GATE_METHOD(add),
    GATE_METHOD(busy),
    GATE_METHOD(items, .runs = GATE_THREAD),
    GATE_METHOD(wait, .runs = GATE_THREAD),
    GATE_METHOD(note),
    GATE_END};

/* ---- errors -------------------------------------------------------------- */
#define S_FAILS(code_, cls_, call)                                             \
    do {                                                                       \
        cr_expect_eq((call), code_, "%s: %s: %s", rig_name(way), #call,        \
                     gate_error()->text);                                      \
        cr_expect_str_eq(gate_error()->cls, cls_, "%s: %s: %s", rig_name(way), \
                         #call, gate_error()->text);                           \
    } while (0)

Test(same, errors, .timeout = 120) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        long n;
        const char *text;
        rig_up(&rig, way, NULL, s_methods, NULL);
        gate_client_t *c = rig.client;
        s_open = 0;
        S_FAILS(GATE_NOMETHOD, "AttributeError",
                gate_client_call(c, "Test.nope", &n));
        S_FAILS(GATE_NOSERVICE, "ServiceUnAvailableError",
                gate_client_call(c, "Nope.add", &n, 1, 2));
        S_FAILS(GATE_BADARG, "TypeError", gate_client_call(c, "Test.", &n));
        S_FAILS(GATE_RAISED, "TypeError",
                gate_client_call(c, "Test.add", &n, 1));
        S_FAILS(GATE_RAISED, "BusyWorkerError",
                gate_client_call(c, "Test.busy", &n, gate_retry(3)));
        S_FAILS(GATE_BADARG, "TypeError",
                gate_client_call(c, "Test.add", &text, 1, 2));
        S_FAILS(GATE_BADARG, "TypeError",
                gate_client_call(c, "Test.items", &n));
        S_FAILS(GATE_TIMEOUT, "TimeoutError",
                gate_client_call(c, "Test.wait", &n, gate_timeout_ms(50)));
        s_open = 1;
        cr_expect_eq(gate_client_call(c, "Test.add", &n, 1, 2), GATE_OK);
        rig_down(&rig);
    }
}

static gate_err_t s_read(gate_client_t *c, const char *method) {
    GATE_OWN(gate_stream) stream = NULL;
    gate_err_t e = gate_client_open(c, method, &stream);
    while (!e)
        e = gate_stream_next(stream, NULL);
    return e;
}

Test(same, errors_of_streams, .timeout = 120) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        rig_up(&rig, way, NULL, s_methods, NULL);
        S_FAILS(GATE_RAISED, "RuntimeError", s_read(rig.client, "Test.empty"));
        cr_expect_eq(s_read(rig.client, "Test.items"), GATE_EOS);
        rig_down(&rig);
    }
}

/* What was made is not kept back for what takes long. */
Test(same, items_of_slow_steps_arrive, .timeout = 120) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        rig_up(&rig, way, NULL, s_methods, NULL);
        gate_stream_t *stream = NULL;
        s_n_read = 0;
        gate_err_t e = gate_client_open(rig.client, "Test.paced", &stream);
        while (!e && !(e = gate_stream_next(stream, NULL)))
            s_n_read++;
        cr_expect_eq(e, GATE_EOS, "%s: %s", rig_name(way), gate_error()->text);
        cr_expect_eq(s_n_read, S_STEPS, "%s", rig_name(way));
        gate_stream_destroy(&stream);
        rig_down(&rig);
    }
}

Test(same, answers_do_not_wait_for_slow_handlers, .timeout = 120) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        gate_future_t *future[S_CALLS];
        rig_up(&rig, way, NULL, s_methods, NULL);
        s_n_done = 0;
        s_untold = way == RIG_REGISTRY ? S_TOLD_EVERY : 0;
        for (int i = 0; i < S_CALLS; i++)
            future[i] = gate_client_start(rig.client, "Test.slower", i,
                                          gate_timeout_ms(60000));
        for (int i = 0; i < S_CALLS; i++, s_n_done++) {
            cr_expect_eq(gate_future_wait(future[i], 30000, NULL), GATE_OK,
                         "%s: %s", rig_name(way), gate_error()->text);
            gate_future_destroy(&future[i]);
        }
        rig_down(&rig);
    }
}

/* ---- order --------------------------------------------------------------- */
Test(same, order, .timeout = 120) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        gate_future_t *future[S_ORDERED];
        rig_up(&rig, way, NULL, s_methods, NULL);
        s_n_seen = 0;
        for (int i = 0; i < S_ORDERED; i++)
            future[i] = gate_client_start(rig.client, "Test.note", i,
                                          gate_timeout_ms(60000));
        for (int i = 0; i < S_ORDERED; i++) {
            int n = -1;
            cr_expect_eq(gate_future_wait(future[i], 30000, &n), GATE_OK,
                         "%s: %s", rig_name(way), gate_error()->text);
            cr_expect_eq(n, i);
            cr_expect_eq(s_seen[i], i, "%s: %d ran as number %d", rig_name(way),
                         s_seen[i], i);
            gate_future_destroy(&future[i]);
        }
        rig_down(&rig);
    }
}

/* ---- limits -------------------------------------------------------------- */
/* As many as may be are under way: one more is BusyWorkerError, at once. Over a
 * broker the client counts (message_max), within a runtime the service does. */
Test(same, limits, .timeout = 120) {
    gate_settings_t *settings = rig_settings();
    gate_settings_set(settings, "message_max", 2);
    gate_settings_set(settings, "local_max", 2);
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        gate_future_t *under[2];
        int n;
        rig_up(&rig, way, settings, s_methods, NULL);
        s_open = 0;
        for (int i = 0; i < 2; i++)
            under[i] = gate_client_start(rig.client, "Test.wait",
                                         gate_timeout_ms(60000));
        gate_future_t *more = gate_client_start(rig.client, "Test.add", 1, 2);
        gate_err_t e = gate_future_wait(more, 30000, &n);
        cr_expect_eq(e, GATE_BUSY, "%s: %s: %s", gate_err_name(e),
                     rig_name(way), gate_error()->text);
        cr_expect_str_eq(gate_error()->cls, "BusyWorkerError");
        s_open = 1;
        for (int i = 0; i < 2; i++) {
            cr_expect_eq(gate_future_wait(under[i], 30000, &n), GATE_OK);
            gate_future_destroy(&under[i]);
        }
        gate_future_destroy(&more);
        rig_down(&rig);
    }
    gate_settings_destroy(&settings);
}

/* ---- names --------------------------------------------------------------- */
Test(same, names_are_those_that_can_be_called, .timeout = 120) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        gate_value_t *names = NULL;
        const char *first = NULL;
        long n = 0;
        rig_up(&rig, way, NULL, s_methods, NULL);
        cr_assert_eq(gate_client_services(rig.client, &names), GATE_OK);
        cr_expect_eq(gate_value_read(names, "0", &first), GATE_OK);
        cr_expect_str_eq(first, "Test", "%s", rig_name(way));
        gate_value_destroy(&names);
        cr_expect_eq(gate_client_call(rig.client, "Test.add", &n, 1, 2),
                     GATE_OK);
        rig_down(&rig);
    }
}

/* What runs behind a broker is none of the runtime's own, and is not named. */
Test(same, a_broker_s_service_is_not_the_runtime_s, .timeout = 60) {
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_bind(broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
    cr_assert_eq(gate_broker_start(broker), GATE_OK);
    gate_service_t *service = gate_service_new(rt, "Test");
    gate_service_methods(service, s_methods, NULL);
    cr_assert_eq(gate_service_start(service, gate_broker_backend(broker, 0)),
                 GATE_OK);
    gate_client_t *alone = gate_client_new(rt);
    gate_value_t *names = NULL;
    const char *first;
    long n;
    cr_assert_eq(gate_client_connect(alone, NULL), GATE_OK);
    cr_assert_eq(gate_client_services(alone, &names), GATE_OK);
    cr_expect_neq(gate_value_read(names, "0", &first), GATE_OK);
    cr_expect_eq(gate_client_call(alone, "Test.add", &n, 1, 2), GATE_NOSERVICE);
    gate_value_destroy(&names);
    gate_client_destroy(&alone);
    gate_service_destroy(&service);
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}
