/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_calls.c -- huge results of every make, read in every way, some left half
 * way, by several threads at once, with and without sockets; then everything
 * ends while some are under way. What is read must be right. GATE_SCALE scales
 * the number of rounds. */
#include <gaterpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READERS 4
#define SIZE_MAX_ ((size_t)3 << 20)

static unsigned char *s_pattern; /* the value of every byte */
static atomic_int s_feeding;     /* threads of elsewhere */
static atomic_int s_wrong;

static gate_err_t s_size(gate_call_t *call, size_t *size) {
    return gate_args(call, size);
}

static gate_err_t plain(gate_call_t *call) {
    size_t n;
    gate_err_t e = s_size(call, &n);
    return e ? e : gate_return(call, gate_bin(s_pattern, n));
}

static gate_err_t kept(gate_call_t *call) {
    size_t n;
    gate_err_t e = s_size(call, &n);
    return e ? e : gate_huge_data(call, s_pattern, n, NULL, NULL);
}

static gate_err_t s_feed(gate_huge_t *huge, size_t n) {
    gate_err_t e = GATE_OK;
    for (size_t at = 0, size; at < n && !e; at += size) {
        size = n - at < 50000 ? n - at : 50000;
        e = gate_huge_put(huge, s_pattern + at, size);
    }
    if (!e)
        return gate_huge_end(&huge);
    gate_huge_destroy(&huge);
    return e;
}

static gate_err_t fed(gate_call_t *call) {
    gate_huge_options_t options = {0};
    size_t n;
    gate_err_t e = s_size(call, &n);
    options.size = n;
    gate_huge_t *huge = e ? NULL : gate_huge_new(call, &options);
    return huge ? s_feed(huge, n) : gate_error()->code;
}

typedef struct s_other {
    gate_huge_t *huge;
    size_t n;
} s_other_t;

static void *s_run_other(void *arg) {
    s_other_t *other = arg;
    gate_err_t e = s_feed(other->huge, other->n);
    (void)e; /* the reader may have left */
    free(other);
    s_feeding--;
    return NULL;
}

static gate_err_t elsewhere(gate_call_t *call) {
    pthread_t thread;
    size_t n;
    gate_err_t e = s_size(call, &n);
    if (e)
        return e;
    gate_huge_options_t options = {.size = n};
    s_other_t *other = malloc(sizeof *other);
    *other = (s_other_t){gate_huge_new(call, &options), n};
    s_feeding++;
    if (!other->huge || pthread_create(&thread, NULL, s_run_other, other))
        abort();
    pthread_detach(thread);
    return GATE_KEPT;
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(plain, .runs = GATE_THREAD), GATE_METHOD(kept),
    GATE_METHOD(fed, .runs = GATE_THREAD), GATE_METHOD(elsewhere), GATE_END};

/* ---- readers ------------------------------------------------------------- */
typedef struct s_reader {
    pthread_t thread;
    gate_client_t *client;
    unsigned seed;
    int rounds;
} s_reader_t;

static void s_check(const void *data, size_t size, size_t at) {
    if (at + size > SIZE_MAX_ || memcmp(data, s_pattern + at, size))
        s_wrong++;
}

static void s_fail(const char *what) {
    fprintf(stderr, "FAIL: %s: %s: %s\n", what, gate_error()->cls,
            gate_error()->text);
    s_wrong++;
}

static void s_as_value(gate_client_t *client, const char *method, size_t n) {
    gate_bytes_t got;
    if (gate_client_call(client, method, &got, n))
        s_fail(method);
    else if (got.size != n)
        s_wrong++;
    else
        s_check(got.data, n, 0);
}

static void s_as_bytes(gate_client_t *client, const char *method, size_t n,
                       size_t until) {
    GATE_OWN(gate_stream) stream = NULL;
    unsigned char buf[70000];
    size_t at = 0, size;
    gate_err_t e = gate_client_open(client, method, &stream, n);
    while (!e && at < until) {
        size = sizeof buf;
        e = gate_stream_read(stream, buf, &size);
        if (!e) {
            s_check(buf, size, at);
            at += size;
        }
    }
    if (e ? e != GATE_EOS || at != n : at < until)
        s_fail(method);
}

static void s_cancel(gate_client_t *client, const char *method, size_t n) {
    GATE_OWN(gate_future) f = gate_client_start(client, method, n);
    nanosleep(&(struct timespec){.tv_nsec = 1000000L}, NULL);
    gate_future_cancel(f);
}

static void *s_read(void *arg) {
    static const char *const methods[] = {"Huge.plain", "Huge.kept", "Huge.fed",
                                          "Huge.elsewhere"};
    s_reader_t *self = arg;
    for (int i = 0; i < self->rounds; i++) {
        const char *method = methods[rand_r(&self->seed) % 4];
        size_t n = (size_t)rand_r(&self->seed) % SIZE_MAX_ + 1;
        switch (rand_r(&self->seed) % 4) {
        case 0:
            s_as_value(self->client, method, n);
            break;
        case 1:
            s_as_bytes(self->client, method, n, SIZE_MAX);
            break;
        case 2:
            s_as_bytes(self->client, method, n, 1);
            break;
        default:
            s_cancel(self->client, method, n);
        }
    }
    return NULL;
}

/* ---- rounds -------------------------------------------------------------- */
static void s_must(gate_err_t e, const char *what) {
    if (!e)
        return;
    s_fail(what);
    exit(1);
}

static void s_round(const char *route, const char *front, const char *back,
                    int rounds) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", route);
    gate_settings_set(settings, "log_level", "error");
    gate_settings_set(settings, "huge_policy", "compress");
    gate_settings_set(settings, "reply_timeout", 300);
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_bind(broker, front);
    gate_broker_bind_backend(broker, back);
    s_must(gate_broker_start(broker), "broker");
    gate_service_t *service = gate_service_new(rt, "Huge");
    gate_service_methods(service, s_methods, NULL);
    s_must(gate_service_start(service, gate_broker_backend(broker, 0)),
           "service");
    s_must(gate_service_ready(service, 20000), "ready");
    gate_client_t *client = gate_client_new(rt);
    s_must(gate_client_connect(client, gate_broker_frontend(broker, 0)),
           "client");
    s_must(gate_client_ready(client, 20000), "client's ready");
    s_reader_t readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = (s_reader_t){
            .client = client, .seed = (unsigned)i + 1, .rounds = rounds};
        pthread_create(&readers[i].thread, NULL, s_read, &readers[i]);
    }
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    /* the end comes while these are under way */
    gate_future_t *left =
        gate_client_start(client, "Huge.elsewhere", SIZE_MAX_);
    gate_future_t *more = gate_client_start(client, "Huge.kept", SIZE_MAX_);
    gate_service_destroy(&service);
    gate_client_destroy(&client);
    gate_broker_destroy(&broker);
    gate_future_destroy(&left);
    gate_future_destroy(&more);
    gate_runtime_destroy(&rt);
}

int main(void) {
    const char *scale = getenv("GATE_SCALE");
    int rounds = (int)(20 * (scale ? strtod(scale, NULL) : 1));
    unsetenv("GATE_SCALE");
    unsetenv("GATE_LONG");
    unsetenv("GATE_SLOW");
    s_pattern = malloc(SIZE_MAX_);
    for (size_t i = 0; i < SIZE_MAX_; i++)
        s_pattern[i] = (unsigned char)(i * i >> 9);
    s_round("broker", "inproc://huge-front", "inproc://huge-back", rounds);
    /* TSan takes every word that libzmq sends for a race, and its time */
#ifndef __SANITIZE_THREAD__
    s_round("broker", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", rounds);
#endif
    s_round("local", "inproc://huge-local", "inproc://huge-unused", rounds);
    for (int i = 0; i < 2000 && s_feeding; i++)
        nanosleep(&(struct timespec){.tv_nsec = 5000000L}, NULL);
    free(s_pattern);
    printf("%d wrong, %d feeders left\n", s_wrong, s_feeding);
    return s_wrong || s_feeding;
}
