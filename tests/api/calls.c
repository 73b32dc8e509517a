/* SPDX-License-Identifier: BSD-3-Clause */
/* calls.c -- one suite over inproc sockets, ipc, tcp, the registry and two brokers
 * joined: the results and the errors must be the same. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "rig.h"

/* ---- the service --------------------------------------------------------- */
static gate_err_t add(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, gate_named("b", &b));
    return e ? e : gate_return(call, a + b);
}

static gate_err_t slow(gate_call_t *call) {
    int64_t ms;
    gate_err_t e = gate_args(call, &ms);
    if (e)
        return e;
    for (int64_t i = 0; i < ms && !gate_call_cancelled(call); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return gate_return(call, gate_call_cancelled(call) ? -1 : ms);
}

static gate_err_t echo(gate_call_t *call) {
    return gate_return(call, gate_list(gate_obj(gate_call_raw_args(call)),
                                       gate_obj(gate_call_raw_kwargs(call))));
}

static gate_err_t boom(gate_call_t *call) {
    return gate_raise(call, "LookupError", "it's \"%s\"", "gone");
}

static gate_err_t nothing(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

static gate_err_t bad_result(gate_call_t *call) {
    msgpack_packer *pk = gate_call_packer(call);
    msgpack_pack_array(pk, 3);
    msgpack_pack_int(pk, 1);
    return GATE_OK;
}

static void *s_later(void *arg) {
    gate_call_t *call = arg;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    gate_finish(&call, "later");
    return NULL;
}

static gate_err_t kept(gate_call_t *call) {
    pthread_t thread;
    gate_call_t *mine = gate_call_keep(call);
    if (pthread_create(&thread, NULL, s_later, mine))
        return gate_raise(call, "RuntimeError", "no thread");
    pthread_detach(thread);
    return GATE_KEPT;
}

static gate_err_t kept_failed(gate_call_t *call) {
    gate_call_t *mine = gate_call_keep(call);
    gate_fail(&mine, "KeyError", "no such key");
    return GATE_KEPT;
}

static gate_err_t half(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (!e && n % 2)
        return gate_raise(call, "ValueError", "odd");
    return e ? e : gate_return(call, n / 2);
}

static gate_err_t plus_one(gate_call_t *call, gate_err_t e,
                           const gate_value_t *value) {
    int64_t n;
    if (!e)
        e = gate_value_read(value, "", &n);
    return e ? gate_raise(call, "ArithmeticError", "job: %s",
                          gate_error()->text)
             : gate_return(call, n + 1);
}

static gate_err_t half_plus_one(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e
             : gate_call_run(call,
                             gate_runtime_threads(gate_call_runtime(call)),
                             half, gate_int(n), plus_one);
}

static gate_err_t half_directly(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e
             : gate_call_run(call,
                             gate_runtime_threads(gate_call_runtime(call)),
                             half, gate_int(n), NULL);
}

static gate_err_t s_next(gate_call_t *call, void *state) {
    int64_t *left = state;
    if (!*left)
        return GATE_EOS;
    --*left;
    return *left % 3 ? gate_yield(call, *left) : gate_yield(call, (void *)NULL);
}

static gate_err_t countdown(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    int64_t *left = malloc(sizeof *left);
    *left = n;
    if (e) {
        free(left);
        return e;
    }
    return gate_generate(call, s_next, left, free);
}

static gate_err_t yields(gate_call_t *call) {
    int64_t n, fail = -1;
    gate_err_t e = gate_args(call, &n, gate_kwopt("fail", &fail));
    for (int64_t i = 0; i < n && !e; i++)
        e = i == fail ? gate_raise(call, "OSError", "at %d", (int)i)
                      : gate_yield(call, i);
    return e;
}

static gate_err_t inline_yield(gate_call_t *call) {
    return gate_yield(call, 1);
}

static gate_err_t nested(gate_call_t *call) {
    gate_client_t *client = gate_call_ctx(call);
    gate_err_t e = gate_client_call(client, "Test.add", NULL, 1, 2);
    return gate_return(call, gate_err_name(e));
}

static gate_err_t impossible(gate_call_t *call) { return gate_return(call, 1); }

static const gate_method_t table[] = {
    GATE_METHOD(add),
    {.name = "tadd", .fn = add, .runs = GATE_THREAD, .signature = "(a, b)"},
    GATE_METHOD(slow, .runs = GATE_THREAD),
    GATE_METHOD(echo),
    GATE_METHOD(boom),
    {.name = "tboom", .fn = boom, .runs = GATE_THREAD},
    GATE_METHOD(nothing),
    GATE_METHOD(bad_result),
    GATE_METHOD(kept),
    {.name = "tkept", .fn = kept, .runs = GATE_THREAD},
    GATE_METHOD(kept_failed),
    GATE_METHOD(half_plus_one),
    {.name = "thalf_plus_one", .fn = half_plus_one, .runs = GATE_THREAD},
    GATE_METHOD(half_directly),
    GATE_METHOD(countdown),
    {.name = "tcountdown", .fn = countdown, .runs = GATE_THREAD},
    GATE_METHOD(yields, .runs = GATE_THREAD),
    GATE_METHOD(inline_yield),
    GATE_METHOD(nested),
    GATE_METHOD(impossible, .runs = GATE_PROCESS),
    GATE_END};

/* Every test's body runs once for each way. */
#define OVER_ALL(name)                                     \
    static void s_##name(rig_t *rig, const char *way);     \
    Test(calls, name, .timeout = 60) {                     \
        for (int w = 0; w < rig_ways(); w++) {             \
            rig_t rig;                                     \
            rig_up(&rig, (rig_way_t)w, NULL, table, NULL); \
            s_##name(&rig, rig_name((rig_way_t)w));        \
            rig_down(&rig);                                \
        }                                                  \
    }                                                      \
    static void s_##name(rig_t *rig, const char *way)

#define OK(call)                                                \
    do {                                                        \
        gate_err_t e_ = (call);                                 \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s: %s", way, #call, \
                     gate_error()->cls, gate_error()->text);    \
    } while (0)

#define FAILS(code, class, call)                                          \
    do {                                                                  \
        gate_err_t e_ = (call);                                           \
        cr_assert_eq(e_, code, "%s: %s: got %s", way, #call,              \
                     gate_err_name(e_));                                  \
        cr_assert_str_eq(gate_error()->cls, class, "%s: %s", way, #call); \
    } while (0)

/* ---- results ------------------------------------------------------------- */
OVER_ALL(results) {
    int64_t sum = 0;
    OK(gate_client_call(rig->client, "Test.add", &sum, 2, 3));
    cr_assert_eq(sum, 5);
    OK(gate_client_call(rig->client, "Test.add", &sum, 2, gate_kw("b", 40)));
    cr_assert_eq(sum, 42);
    OK(gate_client_call(rig->client, "Test.tadd", &sum, INT64_MAX - 1, 1));
    cr_assert_eq(sum, INT64_MAX);
    OK(gate_client_call(rig->client, "Test.nothing", NULL));
}

OVER_ALL(echoes_every_type) {
    GATE_OWN(gate_value) value = NULL;
    OK(gate_client_call(rig->client, "Test.echo", &value, gate_bool(true), -7,
                        1.5, "text", gate_bin("\0\1", 2),
                        gate_list(1, gate_list(2)), gate_map(gate_kw("k", 3)),
                        (void *)NULL, gate_kw("kw", UINT64_MAX)));
    char *json = gate_value_json(value);
    cr_assert_str_eq(json,
                     "[[true,-7,1.5,\"text\",{\"$bin\":\"AAE=\"},[1,[2]],"
                     "{\"k\":3},null],{\"kw\":18446744073709551615}]",
                     "%s", way);
    free(json);
}

OVER_ALL(large_arguments_and_results) {
    size_t size = 3 << 20;
    char *data = malloc(size);
    memset(data, 'x', size);
    GATE_OWN(gate_value) value = NULL;
    gate_bytes_t back;
    OK(gate_client_call(rig->client, "Test.echo", &value,
                        gate_bin(data, size)));
    OK(gate_value_read(value, "0.0", &back));
    cr_assert_eq(back.size, size);
    cr_assert_eq(memcmp(back.data, data, size), 0);
    free(data);
}

OVER_ALL(default_service_is_unknown_here) {
    FAILS(GATE_NOSERVICE, "ServiceUnAvailableError",
          gate_client_call(rig->client, "add", NULL, 1, 2));
}

/* ---- errors -------------------------------------------------------------- */
OVER_ALL(errors) {
    FAILS(GATE_RAISED, "LookupError",
          gate_client_call(rig->client, "Test.boom", NULL));
    cr_assert_str_eq(gate_error()->text, "it's \"gone\"", "%s", way);
    FAILS(GATE_RAISED, "LookupError",
          gate_client_call(rig->client, "Test.tboom", NULL));
    FAILS(GATE_NOMETHOD, "AttributeError",
          gate_client_call(rig->client, "Test.missing", NULL));
    FAILS(GATE_NOSERVICE, "ServiceUnAvailableError",
          gate_client_call(rig->client, "Nobody.add", NULL));
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.add", NULL, 1));
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.add", NULL, 1, 2, 3));
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.add", NULL, 1, "2"));
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.add", NULL, 1, gate_kw("c", 2)));
    FAILS(GATE_RAISED, "TypeError",
          gate_client_call(rig->client, "Test.bad_result", NULL));
}

OVER_ALL(result_of_another_type) {
    const char *text;
    FAILS(GATE_BADARG, "TypeError",
          gate_client_call(rig->client, "Test.add", &text, 1, 2));
}

OVER_ALL(processes_without_a_zygote) {
    gate_err_t e = gate_client_call(rig->client, "Test.impossible", NULL);
    cr_assert_neq(e, GATE_OK, "%s", way);
    cr_assert(strstr(gate_error()->text, "gate_process_init"), "%s: %s", way,
              gate_error()->text);
}

OVER_ALL(a_synchronous_call_on_an_actor) {
    GATE_OWN(gate_service) service = gate_service_new(rig->rt, "Inner");
    static const gate_method_t inner[] = {GATE_METHOD(nested), GATE_END};
    char *text = NULL;
    gate_service_methods(service, inner, rig->client);
    OK(gate_service_start(
        service, rig->broker ? gate_broker_backend(rig->broker, 0) : NULL));
    OK(gate_service_ready(service, 2000));
    OK(gate_client_call(rig->client, "Inner.nested", &text));
    cr_assert_str_eq(text, "WOULDBLOCK", "%s", way);
    free(text);
}

/* ---- time ---------------------------------------------------------------- */
OVER_ALL(deadline) {
    FAILS(GATE_TIMEOUT, "TimeoutError",
          gate_client_call(rig->client, "Test.slow", NULL, 3000,
                           gate_timeout_ms(60)));
    int64_t sum;
    OK(gate_client_call(rig->client, "Test.add", &sum, 1, 1));
}

OVER_ALL(cancel) {
    GATE_OWN(gate_future)
    f = gate_client_start(rig->client, "Test.slow", 20000);
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    gate_future_cancel(f);
    FAILS(GATE_CANCELLED, "CancelledError", gate_future_wait(f, 1000, NULL));
    int64_t sum;
    OK(gate_client_call(rig->client, "Test.tadd", &sum, 1, 1));
}

/* ---- answering later ----------------------------------------------------- */
OVER_ALL(kept_calls) {
    const char *text;
    OK(gate_client_call(rig->client, "Test.kept", &text));
    cr_assert_str_eq(text, "later");
    OK(gate_client_call(rig->client, "Test.tkept", &text));
    cr_assert_str_eq(text, "later");
    FAILS(GATE_RAISED, "KeyError",
          gate_client_call(rig->client, "Test.kept_failed", NULL));
}

OVER_ALL(continues_after_a_job) {
    int64_t n;
    OK(gate_client_call(rig->client, "Test.half_plus_one", &n, 10));
    cr_assert_eq(n, 6);
    OK(gate_client_call(rig->client, "Test.thalf_plus_one", &n, 10));
    cr_assert_eq(n, 6);
    OK(gate_client_call(rig->client, "Test.half_directly", &n, 10));
    cr_assert_eq(n, 5);
    FAILS(GATE_RAISED, "ArithmeticError",
          gate_client_call(rig->client, "Test.half_plus_one", NULL, 9));
    FAILS(GATE_RAISED, "ValueError",
          gate_client_call(rig->client, "Test.half_directly", NULL, 9));
}

/* ---- streams ------------------------------------------------------------- */
static void s_read_countdown(rig_t *rig, const char *way, const char *method,
                             int64_t n) {
    GATE_OWN(gate_stream) stream = NULL;
    const msgpack_object *item;
    OK(gate_client_open(rig->client, method, &stream, n));
    while (n-- > 0) {
        OK(gate_stream_next(stream, &item));
        if (n % 3 == 0)
            cr_assert_eq(item->type, MSGPACK_OBJECT_NIL, "%s", way);
        else
            cr_assert_eq(item->via.i64, n, "%s: %s", way, method);
    }
    cr_assert_eq(gate_stream_next(stream, &item), GATE_EOS, "%s", way);
    cr_assert_not(gate_stream_single(stream));
}

OVER_ALL(streams_keep_order_and_nil) {
    s_read_countdown(rig, way, "Test.countdown", 5000);
    s_read_countdown(rig, way, "Test.tcountdown", 5000);
    s_read_countdown(rig, way, "Test.countdown", 0);
}

OVER_ALL(streams_from_threads) {
    GATE_OWN(gate_stream) stream = NULL;
    int64_t item = 0, n = 0;
    gate_err_t e;
    OK(gate_client_open(rig->client, "Test.yields", &stream, 5000));
    while (!(e = gate_stream_next(stream, &item)))
        cr_assert_eq(item, n++, "%s", way);
    cr_assert_eq(e, GATE_EOS, "%s: %s", way, gate_error()->text);
    cr_assert_eq(n, 5000);
}

OVER_ALL(stream_fails_midway) {
    GATE_OWN(gate_stream) stream = NULL;
    int64_t item;
    OK(gate_client_open(rig->client, "Test.yields", &stream, 10,
                        gate_kw("fail", 3)));
    for (int i = 0; i < 3; i++)
        OK(gate_stream_next(stream, &item));
    FAILS(GATE_RAISED, "OSError", gate_stream_next(stream, &item));
}

OVER_ALL(single_result_as_a_stream) {
    GATE_OWN(gate_stream) stream = NULL;
    int64_t sum;
    OK(gate_client_open(rig->client, "Test.add", &stream, 1, 2));
    OK(gate_stream_next(stream, &sum));
    cr_assert_eq(sum, 3);
    cr_assert(gate_stream_single(stream));
    cr_assert_eq(gate_stream_next(stream, &sum), GATE_EOS);
}

OVER_ALL(a_stream_called_as_a_single) {
    FAILS(GATE_BADARG, "TypeError",
          gate_client_call(rig->client, "Test.countdown", NULL, 10));
    FAILS(GATE_BADARG, "TypeError",
          gate_client_call(rig->client, "Test.yields", NULL, 10));
}

OVER_ALL(yield_inline_is_refused) {
    GATE_OWN(gate_stream) stream = NULL;
    OK(gate_client_open(rig->client, "Test.inline_yield", &stream));
    gate_err_t e = gate_stream_next(stream, NULL);
    cr_assert_neq(e, GATE_OK, "%s", way);
    cr_assert(strstr(gate_error()->text, "gate_generate"), "%s: %s", way,
              gate_error()->text);
}

/* A reader that stops early stops the producer: nothing stays in flight. */
OVER_ALL(reader_leaves) {
    const char *const methods[] = {"Test.countdown", "Test.yields"};
    for (int m = 0; m < 2; m++) {
        gate_stream_t *stream = NULL;
        OK(gate_client_open(rig->client, methods[m], &stream, 10000000));
        OK(gate_stream_next(stream, NULL));
        gate_stream_destroy(&stream);
    }
    int64_t left = 1;
    for (int i = 0; i < 400 && left; i++) {
        GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
        OK(gate_value_read(stats, "in_flight", &left));
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    cr_assert_eq(left, 0, "%s: %d calls still in flight", way, (int)left);
}

/* A slow reader is never overrun: at most a window is under way. */
OVER_ALL(slow_reader_slows_its_producer) {
    GATE_OWN(gate_stream) stream = NULL;
    int64_t item, items, n = 20000;
    OK(gate_client_open(rig->client, "Test.yields", &stream, n));
    OK(gate_stream_next(stream, &item));
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    GATE_OWN(gate_value) stats = gate_service_stats(rig->service);
    OK(gate_value_read(stats, "items", &items));
    cr_assert_leq(items, 1024 + 512, "%s: %d items sent", way, (int)items);
    for (int64_t i = 1; i < n; i++) {
        OK(gate_stream_next(stream, &item));
        cr_assert_eq(item, i);
    }
    cr_assert_eq(gate_stream_next(stream, &item), GATE_EOS);
}

Test(calls, stream_never_read_expires, .timeout = 60) {
    for (int w = 0; w < rig_ways(); w++) {
        const char *way = rig_name((rig_way_t)w);
        rig_t rig;
        GATE_OWN(gate_settings) settings = rig_settings();
        gate_settings_set(settings, "reply_timeout", 0.2);
        rig_up(&rig, (rig_way_t)w, settings, table, NULL);
        gate_stream_t *stream = NULL;
        gate_err_t e;
        OK(gate_client_open(rig.client, "Test.yields", &stream, 100000));
        nanosleep(&(struct timespec){.tv_nsec = 900000000}, NULL);
        while (!(e = gate_stream_next(stream, NULL)))
            continue;
        cr_assert_eq(e, GATE_TIMEOUT, "%s: %s", way, gate_err_name(e));
        cr_assert(strstr(gate_error()->text, "not read"), "%s: %s", way,
                  gate_error()->text);
        gate_stream_destroy(&stream);
        rig_down(&rig);
    }
}

/* ---- many at once -------------------------------------------------------- */
typedef struct s_caller {
    pthread_t thread;
    rig_t *rig;
    int from, wrong;
} s_caller_t;

static void *s_call_many(void *arg) {
    s_caller_t *self = arg;
    for (int i = 0; i < 500; i++) {
        int64_t sum = 0;
        const char *method = i % 2 ? "Test.add" : "Test.tadd";
        if (gate_client_call(self->rig->client, method, &sum, self->from, i) ||
            sum != self->from + i)
            self->wrong++;
    }
    return NULL;
}

OVER_ALL(many_threads) {
    s_caller_t callers[8];
    for (int i = 0; i < 8; i++) {
        callers[i] = (s_caller_t){.rig = rig, .from = i * 1000};
        pthread_create(&callers[i].thread, NULL, s_call_many, &callers[i]);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(callers[i].thread, NULL);
        cr_assert_eq(callers[i].wrong, 0, "%s", way);
    }
}

static void s_count(void *ctx, gate_err_t e, const gate_value_t *value) {
    int64_t sum = 0;
    if (!e && !gate_value_read(value, "", &sum))
        *(int64_t *)ctx += sum;
}

OVER_ALL(completion_queue) {
    GATE_OWN(gate_cq) cq = gate_cq_new();
    int64_t total = 0, n = 0;
    for (int i = 0; i < 1000; i++) {
        gate_future_t *f = gate_client_start(rig->client, "Test.add", i, 1);
        gate_future_then(&f, cq, s_count, &total);
    }
    while (n < 1000) {
        size_t got = gate_cq_wait(cq, 100, 5000);
        cr_assert_gt(got, 0, "%s: only %d came", way, (int)n);
        n += (int64_t)got;
    }
    cr_assert_eq(total, 1000 * 999 / 2 + 1000);
}
