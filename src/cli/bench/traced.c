/* SPDX-License-Identifier: BSD-3-Clause */
/* traced.c -- `gate bench echo --trace`: where the time of one call goes, one
 * call at a time, each with a trace: medians of its parts. All in this process,
 * or at a broker that runs. */
#include "bench/traced.h"

#include <gaterpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S_CALLS 2000
#define S_READY_MS 10000
#define S_SIZE_MAX (1u << 20)
#define S_WARM 1000 /* calls until its worker's times are known, at most */

static const char *const s_transports[] = {"registry", "inproc", "ipc", "tcp"};

typedef struct s_way {
    gate_runtime_t *rt;
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client;
    const char *method;
    char folder[32], front[96], back[96];
} s_way_t;

static gate_err_t s_echo(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, gate_bin(data.data, data.size));
}

static const gate_method_t s_inline[] = {
    {.name = "echo", .fn = s_echo, .runs = GATE_INLINE}, GATE_END};
static const gate_method_t s_thread[] = {
    {.name = "echo", .fn = s_echo, .runs = GATE_THREAD}, GATE_END};

/* ---- a way of a call ------------------------------------------------------- */
static bool s_endpoints(s_way_t *self, const char *transport) {
    const char *form = "";
    if (strcmp(transport, "ipc") == 0) {
        strcpy(self->folder, "/tmp/gate-trace-XXXXXX");
        if (!mkdtemp(self->folder))
            return false;
        snprintf(self->front, sizeof self->front, "ipc://%s/f", self->folder);
        snprintf(self->back, sizeof self->back, "ipc://%s/b", self->folder);
        return true;
    }
    if (strcmp(transport, "tcp") == 0)
        form = "tcp://127.0.0.1:*";
    snprintf(self->front, sizeof self->front, "%s",
             strcmp(transport, "inproc") == 0 ? "inproc://gate-trace-f" : form);
    snprintf(self->back, sizeof self->back, "%s",
             strcmp(transport, "inproc") == 0 ? "inproc://gate-trace-b" : form);
    return true;
}

static gate_err_t s_broker(s_way_t *self) {
    self->broker = gate_broker_new(self->rt);
    gate_broker_bind(self->broker, self->front);
    gate_broker_bind_backend(self->broker, self->back);
    gate_err_t e = gate_broker_start(self->broker);
    if (!e) { /* where it is in fact */
        snprintf(self->front, sizeof self->front, "%s",
                 gate_broker_frontend(self->broker, 0));
        snprintf(self->back, sizeof self->back, "%s",
                 gate_broker_backend(self->broker, 0));
    }
    return e;
}

static gate_err_t s_up(s_way_t *self, const char *transport, bool thread) {
    bool local = strcmp(transport, "registry") == 0;
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", local ? "local" : "broker");
    gate_settings_set(settings, "log_level", "error");
    if (!s_endpoints(self, transport) ||
        !(self->rt = gate_runtime_new(settings)))
        return GATE_SYSTEM;
    gate_err_t e = local ? GATE_OK : s_broker(self);
    self->service = gate_service_new(self->rt, "Trace");
    gate_service_methods(self->service, thread ? s_thread : s_inline, NULL);
    if (!e)
        e = gate_service_start(self->service, local ? NULL : self->back);
    if (!e && !local)
        e = gate_service_ready(self->service, S_READY_MS);
    self->client = gate_client_new(self->rt);
    if (!e)
        e = gate_client_connect(self->client, local ? NULL : self->front);
    self->method = "Trace.echo";
    return e || local ? e : gate_client_ready(self->client, S_READY_MS);
}

static gate_err_t s_up_there(s_way_t *self, const gi_bench_args_t *args) {
    self->rt = gate_runtime_new(NULL);
    self->client = gate_client_new(self->rt);
    self->method = args->method;
    if (args->user)
        gate_client_plain(self->client, args->user, args->password);
    if (args->curve_cert)
        gate_client_curve(self->client, args->curve_cert, args->curve_server);
    if (args->plain_user)
        gate_client_plain_transport(self->client, args->plain_user,
                                    args->plain_password);
    gate_err_t e = gate_client_connect(self->client, args->broker);
    return e ? e : gate_client_ready(self->client, S_READY_MS);
}

static void s_down(s_way_t *self) {
    gate_client_destroy(&self->client);
    gate_service_destroy(&self->service);
    gate_broker_destroy(&self->broker);
    gate_runtime_destroy(&self->rt);
    if (*self->folder)
        rmdir(self->folder);
}

/* ---- calls ----------------------------------------------------------------- */
static gate_err_t s_call(s_way_t *self, gate_bytes_t payload,
                         gate_trace_t **trace) {
    *trace = gate_trace_new(NULL);
    return gate_client_call(self->client, self->method, NULL,
                            gate_bin(payload.data, payload.size),
                            gate_trace_arg(*trace));
}

static int s_compare(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static gate_err_t s_measure(s_way_t *self, gate_bytes_t payload,
                            int64_t us[GATE_TRACE_PARTS][S_CALLS]) {
    gate_trace_t *trace = NULL;
    gate_err_t e = GATE_OK;
    int64_t handler = -1;
    for (int i = 0; i < S_WARM && !e && handler < 0; i++) {
        e = s_call(self, payload, &trace);
        handler = gate_trace_us(trace, GATE_TRACE_HANDLER);
        gate_trace_destroy(&trace);
    }
    for (int i = 0; i < S_CALLS && !e; i++) {
        e = s_call(self, payload, &trace);
        for (int part = 0; part < GATE_TRACE_PARTS; part++)
            us[part][i] = gate_trace_us(trace, (gate_trace_part_t)part);
        gate_trace_destroy(&trace);
    }
    for (int part = 0; part < GATE_TRACE_PARTS && !e; part++)
        qsort(us[part], S_CALLS, sizeof us[0][0], s_compare);
    return e;
}

/* ---- telling --------------------------------------------------------------- */
static const struct {
    const char *key, *name;
} s_parts[GATE_TRACE_PARTS] = {
    [GATE_TRACE_TOTAL] = {"total_us", "for its caller"},
    [GATE_TRACE_BROKER] = {"broker_us", "of that, at the broker and behind it"},
    [GATE_TRACE_BROKER_QUEUE] = {"broker_queue_us", "waiting at the broker"},
    [GATE_TRACE_SERVICE_QUEUE] = {"service_queue_us", "waiting at the service"},
    [GATE_TRACE_POOL_WAIT] = {"pool_wait_us", "waiting in the pool"},
    [GATE_TRACE_HANDLER] = {"handler_us", "handler"}};

static void s_print(const char *transport, const char *runs, size_t size,
                    int64_t us[GATE_TRACE_PARTS][S_CALLS], bool json) {
    if (json)
        printf("{\"transport\": \"%s\", \"runs\": \"%s\", \"calls\": %d, "
               "\"payload\": %zu",
               transport, runs, S_CALLS, size);
    else
        printf("%s, %s, %zu bytes, %d calls, one at a time%15s%9s\n", transport,
               runs, size, S_CALLS, "median", "p99");
    for (int part = 0; part < GATE_TRACE_PARTS; part++) {
        int64_t half = us[part][S_CALLS / 2],
                most = us[part][S_CALLS * 99 / 100];
        if (half < 0) /* nobody told */
            continue;
        if (json)
            printf(", \"%s\": [%lld, %lld]", s_parts[part].key, (long long)half,
                   (long long)most);
        else
            printf("  %-50s%6lld us%6lld us\n", s_parts[part].name,
                   (long long)half, (long long)most);
    }
    puts(json ? "}" : "");
}

static int s_fail(const char *transport, const char *why) {
    fprintf(stderr, "gate: bench: %s: %s\n", transport, why);
    return 1;
}

static int s_way(const gi_bench_args_t *args, const char *transport,
                 bool thread, gate_bytes_t payload,
                 int64_t us[GATE_TRACE_PARTS][S_CALLS]) {
    s_way_t way = {0};
    const char *runs = args->broker ? args->method
                       : thread     ? "thread"
                                    : "inline";
    gate_err_t e =
        args->broker ? s_up_there(&way, args) : s_up(&way, transport, thread);
    if (!e)
        e = s_measure(&way, payload, us);
    if (!e)
        s_print(transport, runs, payload.size, us, args->json);
    int code = e ? s_fail(transport, gate_error()->text) : 0;
    s_down(&way);
    return code;
}

static int s_ways(const gi_bench_args_t *args, gate_bytes_t payload,
                  int64_t us[GATE_TRACE_PARTS][S_CALLS]) {
    int code = 0;
    if (args->broker)
        return s_way(args, "broker", false, payload, us);
    for (int thread = 0; thread < 2; thread++)
        for (size_t i = 0; i < sizeof s_transports / sizeof *s_transports; i++)
            if (strstr(args->runs, thread ? "thread" : "inline") &&
                (!args->transports ||
                 strstr(args->transports, s_transports[i])))
                code |= s_way(args, s_transports[i], thread, payload, us);
    return code;
}

int gi_traced_run(const gi_bench_args_t *args) {
    size_t size = args->sizes ? strtoul(args->sizes, NULL, 10) : 64;
    int64_t(*us)[S_CALLS] = calloc(GATE_TRACE_PARTS, sizeof *us);
    void *data = size <= S_SIZE_MAX ? calloc(1, size + 1) : NULL;
    int code = us && data ? s_ways(args, (gate_bytes_t){data, size}, us)
                          : s_fail("echo", "no memory for such a payload");
    free(data);
    free(us);
    return code;
}
