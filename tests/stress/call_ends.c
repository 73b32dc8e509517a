/* SPDX-License-Identifier: BSD-3-Clause */
/* The ends of calls that two threads have a hand in: a handler on threads and
 * the actor, a keeper and a handler that has not returned, a job and its reader
 * that leaves. Ledger: each call ends once, with its own value or the error that
 * it raised; a stream ends whole or with an error; nothing stays in flight. */
#include <gaterpc.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include "check.h"

enum { S_CALLERS = 3, S_ROUNDS = 120, S_HANDLER = 40, S_JOB = 200 };

static gate_client_t *s_client;
static int s_rounds = S_ROUNDS;

/* ---- keepers ------------------------------------------------------------- */
static void *s_finisher(void *kept) {
    gate_call_t *call = kept;
    gate_finish(&call, 7);
    return NULL;
}

static void *s_failer(void *kept) {
    gate_call_t *call = kept;
    gate_fail(&call, "KeyError", "no such key");
    return NULL;
}

/* Its end races with the handler's return. */
static gate_err_t s_keep(gate_call_t *call, void *(*ender)(void *), bool join) {
    pthread_t thread;
    gate_call_t *mine = gate_call_keep(call);
    if (!mine)
        return gate_error()->code;
    if (pthread_create(&thread, NULL, ender, mine)) {
        ender(mine);
        return GATE_KEPT;
    }
    if (join)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
    return GATE_KEPT;
}

static gate_err_t s_race(gate_call_t *call) {
    return s_keep(call, s_finisher, false);
}

static gate_err_t s_before(gate_call_t *call) {
    return s_keep(call, s_finisher, true);
}

static gate_err_t s_race_fail(gate_call_t *call) {
    return s_keep(call, s_failer, false);
}

/* Two words: the handler's counts, the keeper's is only let go of. */
static gate_err_t s_both(gate_call_t *call) {
    pthread_t thread;
    gate_call_t *mine = gate_call_keep(call);
    if (!mine || pthread_create(&thread, NULL, s_finisher, mine))
        abort();
    pthread_detach(thread);
    return gate_raise(call, "OSError", "the queue is full, or so it seemed");
}

/* ---- streams ------------------------------------------------------------- */
static gate_err_t s_count(gate_call_t *call, int64_t from, int64_t n) {
    gate_err_t e = GATE_OK;
    for (int64_t i = 0; i < n && !e; i++)
        e = gate_yield(call, from + i);
    return e;
}

static gate_err_t s_job(gate_call_t *call) {
    int64_t from, n;
    gate_err_t e = gate_args(call, &from, &n);
    if (!e)
        e = s_count(call, from, n);
    return e ? e : GATE_EOS;
}

/* Items of the handler, then those of a job on other threads. */
static gate_err_t s_relay(gate_call_t *call) {
    gate_err_t e = s_count(call, 0, S_HANDLER);
    if (e)
        return e;
    gate_pool_t *pool = gate_runtime_threads(gate_call_runtime(call));
    return gate_call_run(call, pool, s_job,
                         gate_list((int64_t)S_HANDLER, (int64_t)S_JOB), NULL);
}

static gate_err_t s_raiser(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (!e)
        e = s_count(call, 0, n);
    for (int i = 0; i < 8; i++)
        e = gate_raise(call, "LookupError",
                       "item %d of a list that is long enough to need memory "
                       "of its own",
                       i);
    return e;
}

static const gate_method_t s_methods[] = {
    {.name = "race", .fn = s_race, .runs = GATE_THREAD},
    {.name = "before", .fn = s_before, .runs = GATE_THREAD},
    {.name = "race_fail", .fn = s_race_fail, .runs = GATE_THREAD},
    {.name = "both", .fn = s_both, .runs = GATE_THREAD},
    {.name = "relay", .fn = s_relay, .runs = GATE_THREAD},
    {.name = "raiser", .fn = s_raiser, .runs = GATE_THREAD},
    GATE_END};

/* ---- callers ------------------------------------------------------------- */
static void s_ask(const char *method, const char *cls) {
    int64_t n = 0;
    gate_err_t e = gate_client_call(s_client, method, &n);
    if (cls)
        CHECK(e == GATE_RAISED && !strcmp(gate_error()->cls, cls), "%s: %s %s",
              method, gate_err_name(e), gate_error()->text);
    else
        CHECK(!e && n == 7, "%s: %s %s", method, gate_err_name(e),
              gate_error()->text);
}

/* Whole, and in order. */
static void s_read_all(void) {
    GATE_OWN(gate_stream) stream = NULL;
    int64_t item, n = 0;
    gate_err_t e = gate_client_open(s_client, "Ends.relay", &stream,
                                    gate_timeout_ms(20000));
    CHECK(!e, "open: %s", gate_error()->text);
    while (!(e = gate_stream_next(stream, &item)))
        CHECK(item == n++, "%lld instead of %lld", (long long)item,
              (long long)n - 1);
    CHECK(e == GATE_EOS && n == S_HANDLER + S_JOB, "%s after %lld: %s",
          gate_err_name(e), (long long)n, gate_error()->text);
}

static void s_leave(const char *method, int64_t n, int reads) {
    GATE_OWN(gate_stream) stream = NULL;
    gate_err_t e = strcmp(method, "Ends.relay")
                       ? gate_client_open(s_client, method, &stream, n)
                       : gate_client_open(s_client, method, &stream);
    CHECK(!e, "open: %s", gate_error()->text);
    for (int i = 0; i < reads && !e; i++)
        e = gate_stream_next(stream, NULL);
}

static void *s_caller(void *arg) {
    for (int i = 0; i < s_rounds; i++) {
        s_ask("Ends.race", NULL);
        s_ask("Ends.before", NULL);
        s_ask("Ends.race_fail", "KeyError");
        s_ask("Ends.both", "OSError");
        s_leave("Ends.raiser", i % 20, i % 3);
        s_leave("Ends.relay", 0, i % 60);
        if (i % 4 == 0)
            s_read_all();
    }
    return arg;
}

static void s_until_idle(gate_service_t *service) {
    int64_t left = 1;
    for (int i = 0; i < 2000 && left; i++) {
        GATE_OWN(gate_value) stats = gate_service_stats(service);
        CHECK(!gate_value_read(stats, "in_flight", &left), "no in_flight");
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    CHECK(!left, "%lld calls are still in flight", (long long)left);
}

/* A window that is smaller than the streams, so that credit decides. */
static void s_over(const char *front, const char *back, const char *route) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", route);
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "stream_reply_maxsize", 8);
    GATE_OWN(gate_runtime) rt = gate_runtime_new(settings);
    GATE_OWN(gate_broker) broker = gate_broker_new(rt);
    GATE_OWN(gate_service) service = gate_service_new(rt, "Ends");
    GATE_OWN(gate_client) client = gate_client_new(rt);
    gate_service_methods(service, s_methods, NULL);
    gate_broker_bind(broker, front);
    gate_broker_bind_backend(broker, back);
    CHECK(!gate_broker_start(broker) &&
              !gate_service_start(service, gate_broker_backend(broker, 0)) &&
              !gate_service_ready(service, 5000) &&
              !gate_client_connect(client, gate_broker_frontend(broker, 0)) &&
              !gate_client_ready(client, 5000),
          "start: %s", gate_error()->text);
    s_client = client;
    pthread_t threads[S_CALLERS];
    for (int i = 0; i < S_CALLERS; i++)
        CHECK(!pthread_create(&threads[i], NULL, s_caller, NULL), "a thread");
    for (int i = 0; i < S_CALLERS; i++)
        pthread_join(threads[i], NULL);
    s_until_idle(service);
}

int main(int argc, char **argv) {
    if (argc > 1)
        s_rounds = atoi(argv[1]);
    s_over("inproc://ends-front", "inproc://ends-back", "auto");
    s_over("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", "broker");
    puts("each call ended once");
    return 0;
}
