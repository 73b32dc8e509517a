/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls within the process, from many threads through one client, in every way
 * that a caller can end them, while services come and go. Ledger: each call is
 * answered once, with its own value or a named error. Every check aborts. */
#include <gaterpc.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                    \
    do {                                                               \
        if (!(what)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            gate_perror("last");                                       \
            abort();                                                   \
        }                                                              \
    } while (0)

enum { S_THREADS = 4, S_CALLS = 600, S_BIG = 4000 };

static gate_runtime_t *s_runtime;
static gate_client_t *s_client;
static gate_cq_t *s_cq;
static atomic_long s_asked, s_told, s_wrong;

/* ---- the service --------------------------------------------------------- */
static gate_err_t s_next(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, n + 1);
}

static gate_err_t s_big(gate_call_t *call) {
    int64_t n;
    char bytes[S_BIG];
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    memset(bytes, (int)(n & 127), sizeof bytes);
    return gate_return(call, ((gate_bytes_t){bytes, sizeof bytes}));
}

static gate_err_t s_text(gate_call_t *call) {
    int64_t n;
    char text[32];
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    snprintf(text, sizeof text, "%lld", (long long)n);
    return gate_return(call, text);
}

static gate_err_t s_bad(gate_call_t *call) {
    return gate_raise(call, "ValueError", "as always");
}

static gate_err_t s_three(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (int64_t i = 0; i < 3 && !e; i++)
        e = gate_yield(call, i);
    return e;
}

static const gate_method_t s_methods[] = {
    {.name = "next", .fn = s_next, .runs = GATE_INLINE},
    {.name = "big", .fn = s_big, .runs = GATE_INLINE},
    {.name = "text", .fn = s_text, .runs = GATE_INLINE},
    {.name = "bad", .fn = s_bad, .runs = GATE_INLINE},
    {.name = "next_there", .fn = s_next, .runs = GATE_THREAD},
    {.name = "big_there", .fn = s_big, .runs = GATE_THREAD},
    {.name = "three", .fn = s_three, .runs = GATE_THREAD},
    GATE_END};

/* ---- ways to call -------------------------------------------------------- */
/* What may come instead of the answer: room is short, or it is leaving. */
static bool s_excused(gate_err_t e) {
    return e == GATE_BUSY || e == GATE_NOSERVICE || e == GATE_CLOSED ||
           e == GATE_WORKERLOST;
}

static void s_sync(int64_t n) {
    int64_t there = 0;
    gate_bytes_t big = {NULL, 0};
    const char *text = NULL;
    gate_err_t e = gate_client_call(s_client, "Local.next", &there, n);
    CHECK(e ? s_excused(e) : there == n + 1);
    e = gate_client_call(s_client, "Local.next_there", &there, n);
    CHECK(e ? s_excused(e) : there == n + 1);
    e = gate_client_call(s_client, "Local.big_there", &big, n);
    CHECK(e ? s_excused(e)
            : big.size == S_BIG && ((const char *)big.data)[9] == (n & 127));
    e = gate_client_call(s_client, "Local.text", &text, n);
    CHECK(e ? s_excused(e) : atoll(text) == n);
    e = gate_client_call(s_client, "Local.bad", NULL, n);
    CHECK(e == GATE_RAISED || s_excused(e));
}

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    int64_t n = 0;
    if (!e && (gate_value_read(value, "", &n) || n != (intptr_t)ctx + 1))
        s_wrong++;
    if (e && !s_excused(e))
        s_wrong++;
    s_told++;
}

static void s_queued(int64_t n, bool here) {
    gate_future_t *f = gate_client_start(
        s_client, n % 3 ? "Local.next" : "Local.next_there", n);
    s_asked++;
    gate_future_then(&f, here ? NULL : s_cq, s_done, (void *)(intptr_t)n);
    gate_cq_dispatch(s_cq, 16);
}

static void s_cancelled(int64_t n) {
    gate_future_t *f = gate_client_start(
        s_client, n % 2 ? "Local.big" : "Local.next_there", n);
    gate_err_t e;
    gate_future_cancel(f);
    e = gate_future_wait(f, -1, NULL);
    CHECK(!e || e == GATE_CANCELLED || s_excused(e));
    gate_future_destroy(&f);
}

static void *s_reads(void *f) {
    gate_bytes_t big = {NULL, 0};
    gate_err_t e = gate_future_wait(f, -1, &big);
    CHECK(e ? s_excused(e) : big.size == S_BIG);
    return NULL;
}

/* Two read one future, and its value outlives it. */
static void s_shared(int64_t n) {
    gate_future_t *f =
        gate_client_start(s_client, n % 2 ? "Local.big" : "Local.big_there", n);
    gate_value_t *value = NULL;
    pthread_t other;
    CHECK(!pthread_create(&other, NULL, s_reads, f));
    gate_err_t e = gate_future_wait(f, -1, &value);
    pthread_join(other, NULL);
    gate_future_destroy(&f);
    CHECK(e ? s_excused(e) : gate_value_object(value)->via.bin.size == S_BIG);
    gate_value_destroy(&value);
    f = gate_client_start(s_client, "Local.text", n);
    e = gate_future_wait(f, -1, &value);
    gate_future_destroy(&f);
    CHECK(e ? s_excused(e) : gate_value_object(value)->via.str.size > 0);
    gate_value_destroy(&value);
}

static void s_forgotten(int64_t n) {
    gate_future_t *f = gate_client_start(
        s_client, n % 2 ? "Local.next" : "Local.big_there", n);
    gate_future_destroy(&f);
}

static void s_stream(void) {
    gate_stream_t *stream = NULL;
    gate_err_t e = gate_client_open(s_client, "Local.three", &stream);
    int64_t n = 0, i = 0;
    if (e) {
        CHECK(s_excused(e));
        return;
    }
    while (!(e = gate_stream_next(stream, &n)))
        CHECK(n == i++);
    CHECK(e == GATE_EOS ? i == 3 : s_excused(e));
    gate_stream_destroy(&stream);
}

static void *s_call(void *arg) {
    int64_t from = (int64_t)(intptr_t)arg * S_CALLS;
    for (int64_t n = from; n < from + S_CALLS; n++) {
        s_queued(n, false);
        if (n % 7 == 0)
            s_sync(n);
        if (n % 5 == 0)
            s_cancelled(n);
        if (n % 11 == 0)
            s_forgotten(n);
        if (n % 13 == 0)
            s_queued(n, true);
        if (n % 31 == 0)
            s_shared(n);
        if (n % 37 == 0)
            s_stream();
    }
    return NULL;
}

/* ---- services come and go ------------------------------------------------ */
static atomic_bool s_over;

static gate_service_t *s_up(void) {
    gate_service_t *service = gate_service_new(s_runtime, "Local");
    CHECK(service);
    gate_service_methods(service, s_methods, NULL);
    CHECK(gate_service_start(service, NULL) == GATE_OK);
    return service;
}

static void *s_come_and_go(void *unused) {
    (void)unused;
    while (!atomic_load(&s_over)) {
        gate_service_t *service = s_up();
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        gate_service_destroy(&service);
    }
    return NULL;
}

static void s_round(bool moving) {
    pthread_t threads[S_THREADS], mover;
    gate_service_t *service = moving ? NULL : s_up();
    s_asked = s_told = 0;
    atomic_store(&s_over, false);
    if (moving)
        CHECK(!pthread_create(&mover, NULL, s_come_and_go, NULL));
    for (int i = 0; i < S_THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, s_call, (void *)(intptr_t)i));
    for (int i = 0; i < S_THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&s_over, true);
    if (moving)
        pthread_join(mover, NULL);
    while (s_told < s_asked) /* a lost answer hangs, and ctest tells */
        gate_cq_wait(s_cq, 64, 100);
    CHECK(s_told == s_asked && s_wrong == 0);
    gate_service_destroy(&service);
}

static void s_rounds(int64_t local_max) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "local_max", local_max);
    s_runtime = gate_runtime_new(settings);
    s_client = gate_client_new(s_runtime);
    s_cq = gate_cq_new();
    CHECK(gate_client_connect(s_client, NULL) == GATE_OK);
    s_round(false);
    s_round(true);
    gate_client_destroy(&s_client);
    gate_cq_destroy(&s_cq);
    gate_runtime_destroy(&s_runtime);
}

int main(void) {
    s_rounds(5000);
    s_rounds(3);
    return 0;
}
