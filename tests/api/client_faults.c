/* SPDX-License-Identifier: BSD-3-Clause */
/* client_faults.c -- what a client's user gets wrong, or finds missing: each
 * is told at once, or when its time is over, by a text that names it. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "rig.h"

#define MUST(call) cr_assert_eq(call, GATE_OK, "%s", gate_error()->text)
#define TOLD(what) \
    cr_expect(strstr(gate_error()->text, what), "%s", gate_error()->text)
#define REFUSED_AT "tcp://127.0.0.1:1" /* nobody listens there */

static void s_pause(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000,
                                 .tv_nsec = ms % 1000 * 1000000L},
              NULL);
}

static int64_t s_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static gate_err_t add(gate_call_t *call) {
    int a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t slow(gate_call_t *call) {
    for (int i = 0; i < 3000 && !gate_call_cancelled(call); i++)
        s_pause(1);
    return gate_return(call, 1);
}

static gate_err_t one_then_slow(gate_call_t *call) {
    gate_err_t e = gate_yield(call, 1);
    return e ? e : slow(call);
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(add), GATE_METHOD(slow, .runs = GATE_THREAD),
    GATE_METHOD(one_then_slow, .runs = GATE_THREAD), GATE_END};

/* ---- arguments ----------------------------------------------------------- */
Test(arguments, what_is_missing_is_named) {
    rig_t rig;
    int sum = 0;
    gate_stream_t *stream = NULL;
    gate_value_t *names = NULL;
    rig_up(&rig, RIG_INPROC, NULL, s_methods, NULL);
    gate_client_t *none = NULL, *c = rig.client;
    const char *no_method = NULL;
    cr_expect_eq(gate_client_call(none, "Test.add", &sum, 1, 2), GATE_BADARG);
    TOLD("client: it is NULL");
    cr_expect_eq(gate_client_call(c, no_method, &sum, 1, 2), GATE_BADARG);
    TOLD("the method is NULL");
    cr_expect_eq(gate_client_open(c, no_method, &stream), GATE_BADARG);
    cr_expect_eq(gate_client_open(c, "Test.add", (gate_stream_t **)NULL, 1, 2),
                 GATE_BADARG);
    gate_future_t *future = gate_client_start(c, no_method);
    cr_expect_eq(gate_future_error(future)->code, GATE_BADARG);
    gate_future_destroy(&future);
    cr_expect_eq(
        gate_client_call(c, "Test.add", &sum, 1, 2, gate_timeout_ms(-1)),
        GATE_BADARG);
    TOLD("gate_timeout_ms(-1)");
    cr_expect_eq(gate_client_services(c, NULL), GATE_BADARG);
    cr_expect_eq(gate_client_services(none, &names), GATE_BADARG);
    cr_expect_eq(gate_client_connect(none, NULL), GATE_BADARG);
    cr_expect_eq(gate_client_ready(none, 10), GATE_BADARG);
    cr_expect_null(gate_client_stats(none));
    cr_expect_eq(gate_stream_next(NULL, &sum), GATE_BADARG);
    cr_expect_eq(gate_future_wait(NULL, 1, &sum), GATE_BADARG);
    gate_stream_destroy(NULL);
    gate_future_destroy(NULL);
    MUST(gate_client_call(c, "Test.add", &sum, 1, 2));
    cr_expect_eq(sum, 3);
    rig_down(&rig);
}

/* ---- nobody there -------------------------------------------------------- */
Test(trouble, no_broker_is_named_with_the_reason) {
    gate_runtime_t *rt = gate_runtime_new(NULL);
    char missing[128];
    snprintf(missing, sizeof missing, "ipc:///tmp/gate-none-%d", (int)getpid());
    const char *at[] = {REFUSED_AT, missing};
    const char *why[] = {"no broker at " REFUSED_AT ": Connection refused",
                         "no such socket"};
    for (int i = 0; i < 2; i++) {
        gate_client_t *c = gate_client_new(rt);
        gate_stream_t *stream;
        int sum;
        MUST(gate_client_connect(c, at[i]));
        cr_expect_eq(
            gate_client_call(c, "Math.add", &sum, 2, 3, gate_timeout_ms(200)),
            GATE_TIMEOUT);
        TOLD(why[i]);
        TOLD("Math");
        cr_expect_eq(gate_client_ready(c, 100), GATE_TIMEOUT);
        TOLD(why[i]);
        MUST(gate_client_open(c, "Math.add", &stream, gate_timeout_ms(100)));
        cr_expect_eq(gate_stream_next(stream, &sum), GATE_TIMEOUT);
        TOLD(why[i]);
        cr_expect_eq(gate_stream_error(stream)->code, GATE_TIMEOUT);
        cr_expect(strstr(gate_stream_error(stream)->text, why[i]));
        gate_stream_destroy(&stream);
        gate_client_destroy(&c);
    }
    gate_runtime_destroy(&rt);
}

Test(trouble, ready_ends_when_it_is_true_and_not_later) {
    rig_t rig;
    rig_up(&rig, RIG_TCP, NULL, s_methods, NULL);
    gate_client_t *c = gate_client_new(rig.rt);
    MUST(gate_client_connect(c, gate_broker_frontend(rig.broker, 0)));
    MUST(gate_client_ready(c, -1));
    MUST(gate_client_ready(c, 0));
    gate_client_destroy(&c);
    rig_down(&rig);
}

Test(trouble, a_lost_broker_is_no_silent_service) {
    rig_t rig;
    int sum;
    rig_up(&rig, RIG_TCP, NULL, s_methods, NULL);
    MUST(gate_client_call(rig.client, "Test.add", &sum, 1, 2));
    gate_service_destroy(&rig.service);
    gate_broker_destroy(&rig.broker);
    gate_err_t e = GATE_LOST; /* those that went out before it was seen */
    for (int i = 0; i < 50 && e == GATE_LOST; i++)
        e = gate_client_call(rig.client, "Test.add", &sum, 1, 2,
                             gate_timeout_ms(300));
    cr_expect_eq(e, GATE_TIMEOUT);
    TOLD("was lost: ");
    TOLD("Connection refused");
    rig_down(&rig);
}

Test(trouble, an_answer_that_is_late_is_no_item) {
    rig_t rig;
    gate_stream_t *stream;
    int n;
    rig_up(&rig, RIG_TCP, NULL, s_methods, NULL);
    MUST(gate_client_open(rig.client, "Test.slow", &stream,
                          gate_timeout_ms(50)));
    cr_expect_eq(gate_stream_next(stream, &n), GATE_TIMEOUT);
    cr_expect_str_eq(gate_error()->text, "no answer within 50 ms");
    cr_expect_str_eq(gate_stream_error(stream)->text, gate_error()->text);
    gate_stream_destroy(&stream);
    MUST(gate_client_open(rig.client, "Test.one_then_slow", &stream,
                          gate_timeout_ms(200)));
    MUST(gate_stream_next(stream, &n));
    cr_expect_eq(gate_stream_error(stream)->code, GATE_OK);
    cr_expect_eq(gate_stream_next(stream, &n), GATE_TIMEOUT);
    TOLD("no further item of the stream within 200 ms");
    gate_stream_destroy(&stream);
    rig_down(&rig);
}

/* ---- a producer that is faster than its reader --------------------------- */
enum { S_ITEMS = 4000 };

static gate_err_t many(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (int i = 0; i < S_ITEMS && !e; i++)
        e = gate_yield(call, i);
    return e ? e : GATE_EOS;
}

static const gate_method_t s_streams[] = {
    GATE_METHOD(many, .runs = GATE_THREAD), GATE_END};

/* More credit than what the broker keeps for one peer. */
Test(streams, credit_beyond_what_a_broker_keeps, .timeout = 120) {
    rig_t rig;
    gate_stream_t *stream = NULL;
    int item, n = 0;
    gate_settings_t *settings = rig_settings();
    gate_settings_set(settings, "stream_reply_maxsize", 100000);
    gate_settings_set(settings, "zmq_hwm", 1);
    gate_settings_set(settings, "peer_queue_max", 16);
    rig_up(&rig, RIG_IPC, settings, s_streams, NULL);
    MUST(gate_client_open(rig.client, "Test.many", &stream));
    gate_err_t e;
    while ((e = gate_stream_next(stream, &item)) == GATE_OK && item == n)
        n++;
    cr_expect_eq(e, GATE_EOS, "%s", gate_error()->text);
    cr_expect_eq(n, S_ITEMS);
    gate_stream_destroy(&stream);
    rig_down(&rig);
    gate_settings_destroy(&settings);
}

/* ---- nobody who lets us in ----------------------------------------------- */
Test(trouble, a_broker_that_asks_for_more_says_so) {
    char users[] = "/tmp/gate-users-XXXXXX";
    int fd = mkstemp(users), sum;
    cr_assert(fd >= 0);
    cr_assert(dprintf(fd, "ann:$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/:gate\n") > 0);
    close(fd);
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_plain(broker, users);
    gate_broker_bind(broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
    MUST(gate_broker_start(broker));
    for (int with = 0; with < 2; with++) {
        gate_client_t *c = gate_client_new(rt);
        int64_t begun = s_now();
        if (with)
            gate_client_plain_transport(c, "ann", "guess");
        MUST(gate_client_connect(c, gate_broker_frontend(broker, 0)));
        cr_expect_eq(
            gate_client_call(c, "Math.add", &sum, 1, 2, gate_timeout_ms(20000)),
            GATE_REFUSED);
        TOLD(with ? "does not accept our certificate, or our user and password"
                  : "asks for CURVE or PLAIN by the transport");
        cr_expect_lt(s_now() - begun, 10000); /* long before its deadline */
        cr_expect_eq(gate_client_ready(c, 20000), GATE_REFUSED);
        gate_client_destroy(&c);
    }
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&rt);
    unlink(users);
}

/* ---- inside a callback --------------------------------------------------- */
typedef struct world {
    rig_t rig;
    atomic_int done, code;
} world_t;

static void s_destroys(void *ctx, gate_err_t e, const gate_value_t *value) {
    world_t *w = ctx;
    (void)e;
    (void)value;
    gate_client_destroy(&w->rig.client);
    w->done = 1;
}

static void s_calls(void *ctx, gate_err_t e, const gate_value_t *value) {
    world_t *w = ctx;
    int sum;
    (void)e;
    (void)value;
    w->code = (int)gate_client_call(w->rig.client, "Test.add", &sum, 1, 2);
    w->done = 1;
}

static void s_await(world_t *w) {
    for (int i = 0; i < 1000 && !w->done; i++)
        s_pause(10);
    cr_assert(w->done, "it hangs");
}

Test(callback, may_destroy_its_client) {
    world_t w = {0};
    rig_up(&w.rig, RIG_TCP, NULL, s_methods, NULL);
    gate_future_t *other = gate_client_start(w.rig.client, "Test.slow");
    gate_future_t *f = gate_client_start(w.rig.client, "Test.add", 1, 2);
    gate_future_then(&f, NULL, s_destroys, &w);
    s_await(&w);
    cr_expect_eq(gate_future_wait(other, 10000, NULL), GATE_CLOSED);
    gate_future_destroy(&other);
    rig_down(&w.rig); /* waits until the client has ended */
}

Test(callback, may_not_wait) {
    world_t w = {0};
    rig_up(&w.rig, RIG_TCP, NULL, s_methods, NULL);
    gate_future_t *f = gate_client_start(w.rig.client, "Test.add", 1, 2);
    gate_future_then(&f, NULL, s_calls, &w);
    s_await(&w);
    cr_expect_eq(w.code, GATE_WOULDBLOCK);
    rig_down(&w.rig);
}

/* ---- a child of fork() --------------------------------------------------- */
static int s_child(gate_client_t *c) {
    int sum;
    alarm(20);
    if (gate_client_call(c, "Test.add", &sum, 1, 2) != GATE_CLOSED ||
        !strstr(gate_error()->text, "fork()"))
        return 1;
    gate_stream_t *stream;
    if (gate_client_open(c, "Test.add", &stream, 1, 2) != GATE_CLOSED ||
        gate_client_ready(c, 1000) != GATE_CLOSED || gate_client_stats(c))
        return 2;
    gate_client_destroy(&c);
    return c ? 3 : 0;
}

Test(fork, the_child_is_told_and_does_not_hang) {
    rig_t rig;
    int status, sum;
    rig_up(&rig, RIG_TCP, NULL, s_methods, NULL);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (!pid)
        _exit(s_child(rig.client));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x",
              (unsigned)status);
    MUST(gate_client_call(rig.client, "Test.add", &sum, 1, 2));
    rig_down(&rig);
}

/* Of whatever has threads in the parent, in the middle of work. */
static int s_destroys_all(rig_t *rig, gate_supervisor_t **supervisor,
                          gate_pool_t **threads, gate_future_t **f) {
    alarm(20);
    if (gate_runtime_wait(rig->rt) != 1)
        return 1;
    gate_future_destroy(f);
    gate_supervisor_destroy(supervisor);
    gate_service_destroy(&rig->service);
    gate_client_destroy(&rig->client);
    gate_broker_destroy(&rig->broker);
    gate_pool_destroy(threads);
    gate_runtime_destroy(&rig->rt);
    return 0;
}

static gate_err_t s_supervised(gate_runtime_t *rt, gate_service_t *service,
                               void *ctx) {
    (void)rt, (void)ctx;
    gate_service_methods(service, s_methods, NULL);
    return GATE_OK;
}

static gate_err_t busy(gate_call_t *call) {
    s_pause(300);
    return gate_return(call, 7);
}

Test(fork, the_child_destroys_what_works) {
    static const gate_method_t table[] = {
        GATE_METHOD(busy, .runs = GATE_THREAD), GATE_END};
    const gate_service_spec_t spec = {.name = "Sup", .init = s_supervised};
    rig_t rig;
    int status, r = 0;
    rig_up(&rig, RIG_TCP, NULL, table, NULL);
    gate_supervisor_t *supervisor = gate_supervisor_new(rig.rt, NULL);
    gate_supervisor_add_service(supervisor, &spec);
    MUST(gate_supervisor_start(supervisor));
    gate_pool_t *threads = gate_threads_new(rig.rt, NULL);
    gate_future_t *f = gate_client_start(rig.client, "Test.busy");
    s_pause(100);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (!pid)
        _exit(s_destroys_all(&rig, &supervisor, &threads, &f));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x",
              (unsigned)status);
    MUST(gate_future_wait(f, 20000, &r));
    cr_expect_eq(r, 7);
    gate_future_destroy(&f);
    gate_pool_destroy(&threads);
    gate_supervisor_destroy(&supervisor);
    rig_down(&rig);
}

/* What is under way ends in the parent; a child that waits for it is told so. */
static int s_waits(gate_future_t *f, gate_future_t *job,
                   gate_stream_t *stream) {
    int r;
    alarm(20);
    if (gate_future_wait(f, -1, &r) != GATE_CLOSED ||
        !strstr(gate_error()->text, "fork()"))
        return 1;
    if (gate_future_wait(job, -1, NULL) != GATE_CLOSED)
        return 2;
    return gate_stream_next(stream, &r) == GATE_CLOSED ? 0 : 3;
}

Test(fork, the_child_does_not_wait_for_what_its_parent_has_under_way) {
    static const gate_method_t table[] = {
        GATE_METHOD(busy, .runs = GATE_THREAD), GATE_END};
    rig_t rig;
    int status, r = 0;
    gate_stream_t *stream = NULL;
    rig_up(&rig, RIG_TCP, NULL, table, NULL);
    gate_pool_t *threads = gate_threads_new(rig.rt, NULL);
    gate_future_t *f = gate_client_start(rig.client, "Test.busy");
    gate_future_t *job = gate_submit(threads, busy);
    MUST(gate_client_open(rig.client, "Test.busy", &stream));
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (!pid)
        _exit(s_waits(f, job, stream));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x",
              (unsigned)status);
    MUST(gate_future_wait(f, 20000, &r));
    MUST(gate_future_wait(job, 20000, NULL));
    MUST(gate_stream_next(stream, &r));
    gate_stream_destroy(&stream);
    gate_future_destroy(&f);
    gate_future_destroy(&job);
    gate_pool_destroy(&threads);
    rig_down(&rig);
}

/* ---- leaving ------------------------------------------------------------- */
static atomic_int s_cancelled;

static gate_err_t until_cancelled(gate_call_t *call) {
    for (int i = 0; i < 10000 && !gate_call_cancelled(call); i++)
        s_pause(1);
    s_cancelled += gate_call_cancelled(call);
    return gate_return(call, 1);
}

Test(leaving, a_client_that_is_destroyed_cancels_its_calls) {
    static const gate_method_t table[] = {
        GATE_METHOD(until_cancelled, .runs = GATE_THREAD), GATE_END};
    rig_t rig;
    gate_settings_t *settings = rig_settings();
    gate_future_t *f[2];
    gate_settings_set(settings, "route", "broker");
    rig_up(&rig, RIG_TCP, settings, table, NULL);
    for (int i = 0; i < 2; i++)
        f[i] = gate_client_start(rig.client, "Test.until_cancelled");
    s_pause(100); /* so that they run, or wait for a thread */
    gate_client_destroy(&rig.client);
    for (int i = 0; i < 500 && s_cancelled < 2; i++)
        s_pause(10);
    cr_expect_eq(s_cancelled, 2);
    for (int i = 0; i < 2; i++)
        gate_future_destroy(&f[i]);
    rig_down(&rig);
    gate_settings_destroy(&settings);
}

/* ---- names --------------------------------------------------------------- */
Test(names, three_hundred_services_have_three_hundred_names) {
    enum { N = 300 };
    gate_service_t *services[N];
    gate_value_t *names = NULL;
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_client_t *c = gate_client_new(rt);
    MUST(gate_client_connect(c, NULL));
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "Service%03d", i);
        services[i] = gate_service_new(rt, name);
        gate_service_methods(services[i], s_methods, NULL);
        MUST(gate_service_start(services[i], NULL));
    }
    MUST(gate_client_services(c, &names));
    const msgpack_object *o = gate_value_object(names);
    cr_assert_eq(o->type, MSGPACK_OBJECT_ARRAY);
    cr_assert_eq(o->via.array.size, N);
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "Service%03d", i);
        const msgpack_object *s = &o->via.array.ptr[i];
        cr_expect(s->type == MSGPACK_OBJECT_STR && s->via.str.size == 10 &&
                      memcmp(s->via.str.ptr, name, 10) == 0,
                  "%d", i);
    }
    gate_value_destroy(&names);
    gate_client_destroy(&c);
    for (int i = 0; i < N; i++)
        gate_service_destroy(&services[i]);
    gate_runtime_destroy(&rt);
}
