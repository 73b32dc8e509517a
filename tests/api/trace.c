/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c -- where a call's time went, on every way of a call and whatever runs
 * its handler: the parts are there, none is longer than the whole, and what
 * slept is found where it slept. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"

#define SLEPT_MS 30
#define SLEPT_US (SLEPT_MS * 1000)

static void s_sleep(void) {
    struct timespec left = {.tv_nsec = SLEPT_MS * 1000000L};
    while (nanosleep(&left, &left)) {
    }
}

static gate_err_t nap(gate_call_t *call) {
    const char *parent = gate_call_meta(call, "traceparent");
    s_sleep();
    return gate_return(call, parent ? parent : "none");
}

static gate_err_t items(gate_call_t *call) {
    s_sleep();
    for (int i = 0; i < 3; i++) {
        gate_err_t e = gate_yield(call, i);
        if (e)
            return e;
    }
    return GATE_EOS;
}

static gate_err_t fails(gate_call_t *call) {
    s_sleep();
    return gate_raise(call, "ValueError", "no");
}

static gate_err_t large(gate_call_t *call) {
    s_sleep();
    char *data = calloc(1, 200000);
    gate_err_t e = gate_return(call, gate_bin(data, 200000));
    free(data);
    return e;
}

static const gate_method_t s_table[] = {{"here", nap, .runs = GATE_INLINE},
                                        {"thread", nap, .runs = GATE_THREAD},
                                        {"items", items, .runs = GATE_THREAD},
                                        {"fails", fails, .runs = GATE_THREAD},
                                        {"large", large, .runs = GATE_THREAD},
                                        {0}};

/* Each part that is told is within the whole, and all together are. */
static void s_adds_up(const gate_trace_t *trace, rig_way_t way) {
    int64_t total = gate_trace_us(trace, GATE_TRACE_TOTAL), at_service = 0;
    for (int i = GATE_TRACE_SERVICE_QUEUE; i <= GATE_TRACE_HANDLER; i++) {
        int64_t us = gate_trace_us(trace, i);
        at_service += us > 0 ? us : 0;
    }
    int64_t broker = gate_trace_us(trace, GATE_TRACE_BROKER);
    cr_expect_geq(total, SLEPT_US, "%s", rig_name(way));
    cr_expect_leq(at_service, total, "%s", rig_name(way));
    if (way == RIG_REGISTRY) {
        cr_expect_eq(broker, -1, "nobody else has it");
        return;
    }
    int64_t queue = gate_trace_us(trace, GATE_TRACE_BROKER_QUEUE);
    cr_expect_leq(broker, total, "%s", rig_name(way));
    cr_expect_geq(queue, 0, "%s", rig_name(way));
    cr_expect_leq(queue + at_service, broker, "%s", rig_name(way));
}

static void s_slept_in_handler(const gate_trace_t *trace, bool pool,
                               rig_way_t way) {
    char pid[32];
    s_adds_up(trace, way);
    cr_expect_geq(gate_trace_us(trace, GATE_TRACE_HANDLER), SLEPT_US, "%s",
                  rig_name(way));
    cr_expect_geq(gate_trace_us(trace, GATE_TRACE_SERVICE_QUEUE), 0);
    cr_expect_eq(gate_trace_us(trace, GATE_TRACE_POOL_WAIT) >= 0, pool, "%s",
                 rig_name(way));
    snprintf(pid, sizeof pid, ":%ld", (long)getpid());
    cr_expect(strstr(gate_trace_worker(trace), pid), "%s",
              gate_trace_worker(trace));
    cr_expect_eq(gate_trace_run(trace), 1);
}

static void s_calls(rig_t *rig, rig_way_t way) {
    static const char *const methods[] = {"Test.here", "Test.thread"};
    for (int i = 0; i < 2; i++) {
        const char *parent;
        GATE_OWN(gate_trace) trace = gate_trace_new(NULL);
        cr_assert_eq(gate_trace_us(trace, GATE_TRACE_TOTAL), -1);
        cr_assert_eq(gate_client_call(rig->client, methods[i], &parent,
                                      gate_trace_arg(trace)),
                     GATE_OK, "%s", gate_error()->text);
        cr_expect_str_eq(parent, gate_trace_parent(trace));
        s_slept_in_handler(trace, i > 0, way);
    }
}

static void s_failures(rig_t *rig, rig_way_t way) {
    GATE_OWN(gate_trace) trace = gate_trace_new(NULL);
    cr_assert_eq(gate_client_call(rig->client, "Test.fails", NULL,
                                  gate_trace_arg(trace)),
                 GATE_RAISED);
    s_slept_in_handler(trace, true, way);
    gate_trace_t *other = gate_trace_new(NULL);
    cr_assert_eq(gate_client_call(rig->client, "Test.nothing", NULL,
                                  gate_trace_arg(other)),
                 GATE_NOMETHOD);
    cr_expect_geq(gate_trace_us(other, GATE_TRACE_TOTAL), 0, "%s",
                  rig_name(way));
    cr_expect_eq(gate_trace_us(other, GATE_TRACE_HANDLER), -1);
    gate_trace_destroy(&other);
}

static void s_streams(rig_t *rig, rig_way_t way) {
    GATE_OWN(gate_trace) trace = gate_trace_new(NULL);
    gate_stream_t *stream = NULL;
    int64_t i, n = 0;
    cr_assert_eq(gate_client_open(rig->client, "Test.items", &stream,
                                  gate_trace_arg(trace)),
                 GATE_OK);
    while (!gate_stream_next(stream, &i))
        cr_expect_eq(i, n++);
    cr_expect_eq(n, 3);
    gate_stream_destroy(&stream);
    s_slept_in_handler(trace, true, way);
}

static void s_huge(rig_t *rig, rig_way_t way) {
    GATE_OWN(gate_trace) trace = gate_trace_new(NULL);
    gate_bytes_t got;
    cr_assert_eq(gate_client_call(rig->client, "Test.large", &got,
                                  gate_trace_arg(trace)),
                 GATE_OK, "%s", gate_error()->text);
    cr_expect_eq(got.size, 200000);
    s_slept_in_handler(trace, true, way);
}

/* Until the broker knows that the worker is one of ours. */
static void s_known(rig_t *rig) {
    int64_t us = -1;
    cr_assert_eq(gate_client_ready(rig->client, 20000), GATE_OK);
    for (int i = 0; i < 1000 && us < 0; i++) {
        GATE_OWN(gate_trace) trace = gate_trace_new(NULL);
        cr_assert_eq(gate_client_call(rig->client, "Test.here", NULL,
                                      gate_trace_arg(trace)),
                     GATE_OK, "%s", gate_error()->text);
        us = gate_trace_us(trace, GATE_TRACE_HANDLER);
    }
    cr_assert_geq(us, 0);
}

Test(trace, every_way) {
    for (rig_way_t way = 0; way < RIG_WAYS; way++) {
        rig_t rig;
        GATE_OWN(gate_settings) settings = rig_settings();
        gate_settings_set(settings, "huge_threshold", 65536);
        rig_up(&rig, way, settings, s_table, NULL);
        if (way != RIG_REGISTRY)
            s_known(&rig);
        s_calls(&rig, way);
        s_failures(&rig, way);
        s_streams(&rig, way);
        s_huge(&rig, way);
        rig_down(&rig);
    }
}

/* The trace is the caller's to drop at any time: the call has its own. */
Test(trace, dropped_while_it_is_under_way) {
    rig_t rig;
    rig_up(&rig, RIG_INPROC, NULL, s_table, NULL);
    for (int i = 0; i < 20; i++) {
        gate_trace_t *trace = gate_trace_new(NULL);
        gate_future_t *f =
            gate_client_start(rig.client, "Test.thread", gate_trace_arg(trace));
        gate_trace_destroy(&trace);
        if (i % 2)
            cr_expect_eq(gate_future_wait(f, 20000, NULL), GATE_OK);
        gate_future_destroy(&f);
    }
    rig_down(&rig);
}

/* W3C trace context, level 1: what goes on, and what is no header. */
Test(trace, headers) {
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"
    static const struct {
        const char *header;
        bool right, sampled;
    } rows[] = {
        {"00-" TRACE "-" SPAN "-01", true, true},
        {"00-" TRACE "-" SPAN "-00", true, false},
        {"cc-" TRACE "-" SPAN "-01-what-is-new", true, true},
        {"cc-" TRACE "-" SPAN "-01", true, true},
        {"01-" TRACE "-" SPAN "-00-more", true, false},
        {"00-" TRACE "-" SPAN "-03", true, true}, /* and random */
        {"00-" TRACE "-" SPAN "-fe", true, false},
        {"", false, false},
        {"00", false, false},
        {"00-" TRACE "-" SPAN "-01-more", false, false},
        {"00-" TRACE "-" SPAN "-01 ", false, false},
        {"cc-" TRACE "-" SPAN "-01more", false, false},
        {"ff-" TRACE "-" SPAN "-01", false, false},
        {"00-00000000000000000000000000000000-" SPAN "-01", false, false},
        {"00-" TRACE "-0000000000000000-01", false, false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false, false},
        {"00-" TRACE "_" SPAN "-01", false, false},
        {"0g-" TRACE "-" SPAN "-01", false, false},
        {"00-" TRACE "-" SPAN "-0", false, false},
        {"00-" TRACE "-" SPAN "-0x", false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        GATE_OWN(gate_trace) trace = gate_trace_new(rows[i].header);
        cr_expect_eq(trace != NULL, rows[i].right, "%s", rows[i].header);
        if (!trace) {
            cr_expect_eq(gate_error()->code, GATE_BADARG);
            continue;
        }
        const char *made = gate_trace_parent(trace);
        cr_expect_eq(strlen(made), 55, "%s", made);
        cr_expect_eq(strncmp(made, "00-" TRACE "-", 36), 0, "%s", made);
        cr_expect_neq(strncmp(made + 36, SPAN, 16), 0, "a span of its own");
        cr_expect_str_eq(made + 53, rows[i].sampled ? "01" : "00", "%s",
                         rows[i].header);
    }
    GATE_OWN(gate_trace) a = gate_trace_new(NULL);
    GATE_OWN(gate_trace) b = gate_trace_new(gate_trace_parent(a));
    cr_expect(b &&
              strncmp(gate_trace_parent(a), gate_trace_parent(b), 36) == 0);
    cr_expect_str_eq(gate_trace_parent(NULL), "");
    cr_expect_eq(gate_trace_us(a, GATE_TRACE_PARTS), -1);
    cr_expect_eq(gate_trace_us(NULL, GATE_TRACE_TOTAL), -1);
    cr_expect_eq(gate_trace_run(NULL), 0);
    cr_expect_str_eq(gate_trace_worker(NULL), "");
    gate_trace_destroy(NULL);
}
