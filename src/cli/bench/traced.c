/* SPDX-License-Identifier: BSD-3-Clause */
/* traced.c -- `gate bench echo --trace`: where the time of one call goes, one
 * call at a time, each with a trace: medians of its parts. All in this process,
 * or at a broker that runs. */
#include "bench/traced.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/rigs/gate_rig.h"

#define S_CALLS 2000
#define S_SIZE_MAX (1u << 20)
#define S_WARM 1000 /* calls until its worker's times are known, at most */

static const char *const s_transports[] = {"registry", "inproc", "ipc", "tcp"};

typedef struct s_way {
    gi_spec_t spec;
    char folder[GI_RIG_FOLDER];
    gi_gate_rig_t *rig;
    gate_client_t *client;
    const char *method;
} s_way_t;

/* ---- a way of a call ------------------------------------------------------- */
static bool s_up(s_way_t *self) {
    return gi_rig_endpoints(&self->spec, self->folder) &&
           (self->rig = gi_gate_rig_up(&self->spec)) &&
           gi_gate_rig_client(self->rig, &self->client);
}

static bool s_up_here(s_way_t *self, const gi_bench_args_t *args,
                      const char *transport, bool thread) {
    self->method = "Bench0.echo";
    self->spec = (gi_spec_t){.kind = &gi_kind_gate,
                             .transport = transport,
                             .parts = GI_BROKER | GI_SERVICE | GI_CLIENT,
                             .services = 1,
                             .workers = 1,
                             .lane = args->lane,
                             .runs = thread ? GATE_THREAD : GATE_INLINE};
    return s_up(self);
}

static bool s_up_there(s_way_t *self, const gi_bench_args_t *args) {
    self->method = args->method;
    self->spec = (gi_spec_t){.kind = &gi_kind_gate,
                             .transport = "tcp",
                             .parts = GI_CLIENT,
                             .lane = args->lane,
                             .user = args->user,
                             .password = args->password,
                             .curve_cert = args->curve_cert,
                             .curve_server = args->curve_server,
                             .plain_user = args->plain_user,
                             .plain_password = args->plain_password};
    snprintf(self->spec.frontend, sizeof self->spec.frontend, "%s",
             args->broker);
    return s_up(self);
}

static void s_down(s_way_t *self) {
    gate_client_destroy(&self->client);
    if (self->rig)
        gi_gate_rig_down(self->rig);
    gi_rig_unlink(self->folder);
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

/* Why it does not come up is said by who brings it up. */
static int s_way(const gi_bench_args_t *args, const char *transport,
                 bool thread, gate_bytes_t payload,
                 int64_t us[GATE_TRACE_PARTS][S_CALLS]) {
    s_way_t way = {0};
    const char *runs = args->broker ? args->method
                       : thread     ? "thread"
                                    : "inline";
    int code = 1;
    if (args->broker ? s_up_there(&way, args)
                     : s_up_here(&way, args, transport, thread))
        code = s_measure(&way, payload, us)
                   ? s_fail(transport, gate_error()->text)
                   : 0;
    if (code == 0)
        s_print(transport, runs, payload.size, us, args->json);
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
