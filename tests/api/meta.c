/* SPDX-License-Identifier: BSD-3-Clause */
/* meta.c -- what goes along with a call and how often it is tried: metadata on
 * every way of a call and from handler to handler, bounds, tries and budget. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "rig.h"

#define MUST(call)                                                      \
    do {                                                                \
        gate_err_t e_ = (call);                                         \
        cr_assert_eq(e_, GATE_OK, "%s: %s", #call, gate_error()->text); \
    } while (0)

static void s_pause(long ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* ---- the service --------------------------------------------------------- */
static gate_err_t trace(gate_call_t *call) {
    const char *parent = gate_call_meta(call, "traceparent");
    return gate_return(call, parent ? parent : "none");
}

static gate_err_t keys(gate_call_t *call) {
    const char *key, *value;
    char text[400] = "";
    for (size_t i = 0; (key = gate_call_meta_at(call, i, &value)); i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s=%s ", key,
                 value);
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s",
             gate_call_priority(call) == GATE_HIGH ? "high" : "normal");
    return gate_return(call, text);
}

/* Asks another method, with what came along and something more. */
static gate_err_t onward(gate_call_t *call) {
    const char *answer;
    gate_client_t *client = *(gate_client_t **)gate_call_ctx(call);
    gate_err_t e =
        gate_client_call(client, "Test.keys", &answer, gate_meta_of(call),
                         gate_meta("hop", "2"), gate_meta("drop", NULL));
    return e ? e : gate_return(call, answer);
}

/* Has its room until it is let go. */
static atomic_bool s_let_go;
static atomic_int s_held;

static gate_err_t hold(gate_call_t *call) {
    (void)call;
    atomic_fetch_add(&s_held, 1);
    for (int i = 0; i < 20000 && !atomic_load(&s_let_go); i++)
        s_pause(1);
    return GATE_OK;
}

static const gate_method_t s_table[] = {
    GATE_METHOD(trace),
    GATE_METHOD(keys),
    {.name = "trace_thread", .fn = trace, .runs = GATE_THREAD},
    {.name = "onward", .fn = onward, .runs = GATE_THREAD},
    {.name = "hold", .fn = hold, .runs = GATE_THREAD},
    GATE_END};

/* Until the broker knows that the worker is one of ours. */
static const char *s_ask(rig_t *r, const char *method) {
    const char *got = NULL;
    for (int i = 0; i < 500; i++) {
        MUST(gate_client_call(
            r->client, method, &got, gate_meta("traceparent", "00-11-22-01"),
            gate_meta("drop", "me"), gate_meta("priority", "high")));
        if (strstr(got, "00-11"))
            break;
        s_pause(10);
    }
    return got;
}

Test(meta, on_every_way) {
    for (rig_way_t way = 0; way < RIG_WAYS; way++) {
        rig_t r;
        const char *got;
        static gate_client_t *client;
        rig_up(&r, way, NULL, s_table, &client);
        client = r.client;
        cr_expect_str_eq(s_ask(&r, "Test.trace"), "00-11-22-01", "%s",
                         rig_name(way));
        cr_expect_str_eq(s_ask(&r, "Test.trace_thread"), "00-11-22-01", "%s",
                         rig_name(way));
        got = s_ask(&r, "Test.keys");
        cr_expect_str_eq(got,
                         "traceparent=00-11-22-01 drop=me priority=high high",
                         "%s: %s", rig_name(way), got);
        got = s_ask(&r, "Test.onward");
        cr_expect_str_eq(got,
                         "traceparent=00-11-22-01 hop=2 priority=high high",
                         "%s: %s", rig_name(way), got);
        MUST(gate_client_call(r.client, "Test.trace", &got));
        cr_expect_str_eq(got, "none", "the call before's is not this one's");
        rig_down(&r);
    }
}

/* At once, before it has heard a word of its broker: nothing is dropped. */
Test(meta, of_the_first_call_of_a_client) {
    for (rig_way_t way = RIG_INPROC; way <= RIG_TCP; way++) {
        rig_t r;
        rig_up(&r, way, NULL, s_table, NULL);
        s_ask(&r, "Test.trace"); /* its worker is known to be one of ours */
        for (int i = 0; i < 20; i++) {
            const char *got = NULL;
            GATE_OWN(gate_client) c = gate_client_new(r.rt);
            MUST(gate_client_connect(c, gate_broker_frontend(r.broker, 0)));
            MUST(gate_client_call(c, "Test.trace", &got,
                                  gate_meta("traceparent", "00-33-44-01")));
            cr_expect_str_eq(got, "00-33-44-01", "%s, client %d", rig_name(way),
                             i);
        }
        rig_down(&r);
    }
}

Test(meta, what_does_not_go_along) {
    rig_t r;
    const char *got;
    char text[2000];
    rig_up(&r, RIG_REGISTRY, NULL, s_table, NULL);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    cr_expect_eq(
        gate_client_call(r.client, "Test.keys", &got, gate_meta("k", text)),
        GATE_TOOBIG);
    cr_expect_eq(
        gate_client_call(r.client, "Test.keys", &got, gate_meta("", "v")),
        GATE_BADARG);
    cr_expect_eq(gate_client_call(r.client, "Test.keys", &got,
                                  gate_list(gate_meta("k", "v"))),
                 GATE_BADARG);
    rig_down(&r);
}

/* ---- tries --------------------------------------------------------------- */
static int64_t s_count(rig_t *r, const char *name) {
    int64_t n = -1;
    gate_value_t *stats = gate_client_stats(r->client);
    MUST(gate_value_read(stats, name, &n));
    gate_value_destroy(&stats);
    return n;
}

static void s_up(rig_t *r, long wait_ms, long budget) {
    gate_settings_t *s = rig_settings();
    gate_settings_set(s, "retry_wait_ms", wait_ms);
    gate_settings_set(s, "retry_budget", budget);
    gate_settings_set(s, "queue_max", 1);
    rig_up(r, RIG_IPC, s, s_table, NULL);
    gate_settings_destroy(&s);
}

/* One call that runs, one that waits, and no room for more. */
static void s_fill(rig_t *r, gate_service_t **full, gate_future_t *calls[2]) {
    atomic_store(&s_let_go, false);
    *full = gate_service_new(r->rt, "Full");
    gate_service_methods(*full, s_table, NULL);
    gate_service_limit(*full, 1);
    MUST(gate_service_start(*full, gate_broker_backend(r->broker, 0)));
    MUST(gate_service_ready(*full, 5000));
    for (int i = 0; i < 2; i++)
        calls[i] =
            gate_client_start(r->client, "Full.hold", gate_timeout_ms(60000));
    for (int i = 0; i < 4000 && !atomic_load(&s_held); i++)
        s_pause(5);
}

Test(tries, a_busy_service) {
    rig_t r;
    gate_service_t *full;
    gate_future_t *calls[2];
    s_up(&r, 1, 20);
    s_fill(&r, &full, calls);
    gate_err_t e = gate_client_call(r.client, "Full.hold", NULL);
    cr_expect_eq(e, GATE_BUSY, "without being asked to it does not: %s",
                 gate_error()->text);
    cr_expect_eq(s_count(&r, "retries"), 0);
    e = gate_client_call(r.client, "Full.hold", NULL, gate_retry(2));
    cr_expect_eq(e, GATE_BUSY, "two more and no further");
    cr_expect_eq(s_count(&r, "retries"), 2);
    gate_future_t *late = gate_client_start(
        r.client, "Full.hold", gate_retry(1000), gate_timeout_ms(60000));
    for (int i = 0; i < 4000 && s_count(&r, "retries") < 4; i++)
        s_pause(1);
    atomic_store(&s_let_go, true);
    MUST(gate_future_wait(late, 60000, NULL));
    for (int i = 0; i < 2; i++) {
        MUST(gate_future_wait(calls[i], 60000, NULL));
        gate_future_destroy(&calls[i]);
    }
    gate_future_destroy(&late);
    cr_expect_eq(atomic_load(&s_held), 3, "each that was let in ran once");
    cr_expect_eq(s_count(&r, "in_flight"), 0);
    gate_service_destroy(&full);
    rig_down(&r);
}

/* A service that comes while the call is being tried. */
Test(tries, a_service_that_is_not_there_yet) {
    rig_t r;
    const char *got;
    s_up(&r, 10, 20);
    gate_service_t *late = gate_service_new(r.rt, "Late");
    gate_service_methods(late, s_table, NULL);
    gate_future_t *future = gate_client_start(
        r.client, "Late.trace", gate_retry(100), gate_timeout_ms(20000));
    for (int i = 0; i < 1000 && s_count(&r, "retries") < 2; i++)
        s_pause(5);
    MUST(gate_service_start(late, gate_broker_backend(r.broker, 0)));
    MUST(gate_future_wait(future, 20000, &got));
    cr_expect_str_eq(got, "none");
    gate_future_destroy(&future);
    gate_service_destroy(&late);
    rig_down(&r);
}

Test(tries, within_budget_and_deadline) {
    rig_t r;
    int64_t n;
    s_up(&r, 1, 0);
    cr_expect_eq(gate_client_call(r.client, "No.such", &n, gate_retry(500)),
                 GATE_NOSERVICE);
    cr_expect_eq(s_count(&r, "retries"), 10, "the free ones");
    cr_expect_eq(s_count(&r, "retries_denied"), 1);
    cr_expect_eq(gate_client_call(r.client, "No.such", &n, gate_retry(500)),
                 GATE_NOSERVICE);
    rig_down(&r);
    s_up(&r, 1000, 20);
    cr_expect_eq(gate_client_call(r.client, "No.such", &n, gate_retry(500),
                                  gate_timeout_ms(300)),
                 GATE_NOSERVICE, "the pause would be longer than the call");
    cr_expect_eq(s_count(&r, "retries"), 0);
    rig_down(&r);
}

Test(tries, a_cancel_ends_them) {
    rig_t r;
    int64_t n;
    s_up(&r, 2000, 20);
    gate_future_t *future = gate_client_start(
        r.client, "No.such", gate_retry(500), gate_timeout_ms(60000));
    for (int i = 0; i < 1000 && s_count(&r, "retries") < 1; i++)
        s_pause(5);
    gate_future_cancel(future);
    cr_expect_eq(gate_future_wait(future, 5000, &n), GATE_CANCELLED);
    gate_future_destroy(&future);
    for (int i = 0; i < 1000 && s_count(&r, "in_flight"); i++)
        s_pause(5); /* the actor hears of it a little later */
    cr_expect_eq(s_count(&r, "in_flight"), 0);
    rig_down(&r);
}
