/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/actors.c -- what a service or a client of a program costs by the public
 * API, beside a bare zactor of CZMQ: memory that is resident once all are there,
 * and the time that each takes to start and to stop. One thread starts all, one
 * after the other, waits until all are ready, and stops them in that order; each
 * kind in a process of its own, which has the runtime, the broker and one that
 * was started and stopped before it is measured.
 *   bench_actors [size] [only]   size * 10 of each, default 100
 * Medians of three rounds taken in turns; JSON on stdout. */
#include <gaterpc.h>

#include <czmq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { S_ROUNDS = 3, S_WAIT_MS = 60000 };

typedef struct s_cost {
    double kib, start_us, ready_us, stop_us; /* of each */
    double cpu_us; /* of all threads, for all of its life */
} s_cost_t;

static gate_runtime_t *s_runtime;
static const char *s_frontend, *s_backend; /* NULL: no broker */

static void s_must(gate_err_t e) {
    if (!e)
        return;
    fprintf(stderr, "%s\n", gate_error()->text);
    abort();
}

static int64_t s_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- what is started ----------------------------------------------------- */
static gate_err_t echo(gate_call_t *call) {
    gate_bytes_t b;
    gate_err_t e = gate_args(call, &b);
    return e ? e : gate_return(call, b);
}

static void s_bare_thread(zsock_t *pipe, void *unused) {
    (void)unused;
    zsock_signal(pipe, 0);
    for (bool on = true; on;) {
        char *command = zstr_recv(pipe);
        on = command && strcmp(command, "$TERM") != 0;
        zstr_free(&command);
    }
}

static void *s_bare_start(size_t i) {
    (void)i;
    return zactor_new(s_bare_thread, NULL);
}

static void s_bare_stop(void *actor) {
    zactor_t *bare = actor;
    zactor_destroy(&bare);
}

static void *s_service_start(size_t i) {
    static const gate_method_t table[] = {GATE_METHOD(echo), GATE_END};
    char name[32];
    snprintf(name, sizeof name, "S%zu", i);
    gate_service_t *service = gate_service_new(s_runtime, name);
    gate_service_methods(service, table, NULL);
    s_must(gate_service_start(service, s_backend));
    return service;
}

static void s_service_ready(void *actor) {
    s_must(gate_service_ready(actor, S_WAIT_MS));
}

static void s_service_stop(void *actor) {
    gate_service_t *service = actor;
    gate_service_destroy(&service);
}

static void *s_client_start(size_t i) {
    gate_client_t *client = gate_client_new(s_runtime);
    (void)i;
    s_must(gate_client_connect(client, s_frontend));
    return client;
}

static void s_client_ready(void *actor) {
    if (s_frontend)
        s_must(gate_client_ready(actor, S_WAIT_MS));
}

static void s_client_stop(void *actor) {
    gate_client_t *client = actor;
    gate_client_destroy(&client);
}

static const struct {
    const char *name;
    const char *broker; /* where it listens; NULL: none is needed */
    void *(*start)(size_t i);
    void (*ready)(void *actor); /* NULL: as soon as it is started */
    void (*stop)(void *actor);
} s_kinds[] = {
    {"zactor", NULL, s_bare_start, NULL, s_bare_stop},
    {"service", NULL, s_service_start, s_service_ready, s_service_stop},
    {"service, inproc broker", "inproc", s_service_start, s_service_ready,
     s_service_stop},
    {"service, ipc broker", "ipc", s_service_start, s_service_ready,
     s_service_stop},
    {"client", NULL, s_client_start, s_client_ready, s_client_stop},
    {"client, inproc broker", "inproc", s_client_start, s_client_ready,
     s_client_stop},
    {"client, ipc broker", "ipc", s_client_start, s_client_ready,
     s_client_stop},
};
enum { S_KINDS = sizeof s_kinds / sizeof *s_kinds };

/* ---- measured in a process of its own ------------------------------------ */
static double s_rss_kib(void) {
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f) &&
           sscanf(line, "Rss: %ld kB", &kib) != 1) {
    }
    if (f)
        fclose(f);
    return (double)kib;
}

static void s_broker(const char *transport) {
    static char ends[2][64];
    bool wild = strcmp(transport, "ipc") == 0;
    for (int i = 0; i < 2; i++)
        snprintf(ends[i], sizeof ends[i],
                 wild ? "ipc://*" : "inproc://bench-actors-%d", i);
    gate_broker_t *broker = gate_broker_new(s_runtime);
    gate_broker_bind(broker, ends[0]);
    gate_broker_bind_backend(broker, ends[1]);
    s_must(gate_broker_start(broker));
    s_frontend = gate_broker_frontend(broker, 0);
    s_backend = gate_broker_backend(broker, 0);
}

static void s_begin(size_t kind) {
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    s_runtime = gate_runtime_new(settings);
    s_must(gate_runtime_start(s_runtime));
    if (s_kinds[kind].broker)
        s_broker(s_kinds[kind].broker);
    void *first = s_kinds[kind].start(0);
    if (s_kinds[kind].ready)
        s_kinds[kind].ready(first);
    s_kinds[kind].stop(first);
}

static double s_cpu_us(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return 1e6 * (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static s_cost_t s_measure(size_t kind, size_t n) {
    void **all = calloc(n, sizeof *all);
    memset(all, 1, n * sizeof *all);
    s_begin(kind);
    double before = s_rss_kib(), each = 1e3 * (double)n, cpu = s_cpu_us();
    int64_t began = s_now_ns();
    for (size_t i = 0; i < n; i++)
        all[i] = s_kinds[kind].start(i);
    int64_t started = s_now_ns();
    for (size_t i = 0; i < n && s_kinds[kind].ready; i++)
        s_kinds[kind].ready(all[i]);
    int64_t ready = s_now_ns();
    double kib = s_rss_kib() - before;
    int64_t stopping = s_now_ns();
    for (size_t i = 0; i < n; i++)
        s_kinds[kind].stop(all[i]);
    return (s_cost_t){kib / (double)n, (double)(started - began) / each,
                      (double)(ready - began) / each,
                      (double)(s_now_ns() - stopping) / each,
                      (s_cpu_us() - cpu) / (double)n};
}

static s_cost_t s_measure_apart(size_t kind, size_t n) {
    s_cost_t cost = {0};
    int ends[2], status;
    if (pipe(ends))
        abort();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        cost = s_measure(kind, n);
        _exit(write(ends[1], &cost, sizeof cost) != (ssize_t)sizeof cost);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &cost, sizeof cost) != sizeof cost ||
        waitpid(child, &status, 0) != child || status)
        abort();
    close(ends[0]);
    return cost;
}

/* ---- the report ---------------------------------------------------------- */
static int s_by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void s_print(const char *name, const s_cost_t *rounds, size_t at,
                    const char *end) {
    double x[S_ROUNDS];
    for (size_t r = 0; r < S_ROUNDS; r++)
        memcpy(&x[r], (const char *)&rounds[r] + at, sizeof *x);
    qsort(x, S_ROUNDS, sizeof *x, s_by_size);
    printf("\"%s\": [%.1f, %.1f, %.1f]%s", name, x[S_ROUNDS / 2], x[0],
           x[S_ROUNDS - 1], end);
}

/* Descriptors and CZMQ's sockets for n of whatever takes most. */
static void s_room(size_t n) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 12 * n + 100)
        fprintf(stderr, "%zu may be too many for %llu descriptors\n", n,
                (unsigned long long)limit.rlim_cur);
}

int main(int argc, char **argv) {
    size_t n = 10 * (size_t)(argc > 1 ? atoi(argv[1]) : 100);
    const char *only = argc > 2 ? argv[2] : NULL;
    static s_cost_t costs[S_KINDS][S_ROUNDS];
    s_room(n);
    for (size_t r = 0; r < S_ROUNDS; r++)
        for (size_t k = 0; k < S_KINDS; k++)
            if (!only || !strcmp(only, s_kinds[k].name))
                costs[k][r] = s_measure_apart(k, n);
    printf("{\"bench\": \"actors\", \"unit\": \"of each: median, least, most\","
           " \"actors\": %zu",
           n);
    for (size_t k = 0; k < S_KINDS; k++) {
        if (only && strcmp(only, s_kinds[k].name))
            continue;
        printf(",\n  \"%s\": {", s_kinds[k].name);
        s_print("KiB", costs[k], offsetof(s_cost_t, kib), ", ");
        s_print("start us", costs[k], offsetof(s_cost_t, start_us), ", ");
        s_print("ready us", costs[k], offsetof(s_cost_t, ready_us), ", ");
        s_print("stop us", costs[k], offsetof(s_cost_t, stop_us), ", ");
        s_print("CPU us", costs[k], offsetof(s_cost_t, cpu_us), "}");
    }
    printf("}\n");
    return 0;
}
