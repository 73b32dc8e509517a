/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/jobs.c -- jobs that use CPU: nothing, 10 us, 100 us, 1 ms, 100 ms, on
 * two worker processes, by the public API: gate_submit with 64 under way (4 of
 * 100 ms), gate_pool_map, a method over a broker on ipc; and a prefork pool over
 * pipes, which gives each child four ahead.
 * The work is a count, whose length one process alone took just before: serial.
 * bench_jobs [size]   about size * 20 ms a figure, 50 by default
 * JSON on stdout: jobs/s; jobs_peers.py adds Python's pools and efficiencies. */
#include <gaterpc.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { S_WORKERS = 2, S_WINDOW = 64, S_PIPED = 4, S_READY_MS = 60000 };

static const long s_lengths_us[] = {0, 10, 100, 1000, 100000};

static int64_t s_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void s_must(gate_err_t e, const char *what) {
    if (!e)
        return;
    gate_perror(what);
    exit(1);
}

/* ---- the work ------------------------------------------------------------ */
static long s_count(long n) {
    volatile long sum = 0;
    for (long i = 0; i < n; i++)
        sum = sum + i;
    return sum;
}

static gate_err_t s_job(gate_call_t *call) {
    long n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, s_count(n) & 1);
}

/* How far to count for so long: the least of some tries. */
static long s_calibrate(long us) {
    const long n = 1000000;
    int64_t best = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        int64_t began = s_now_ns();
        s_count(n);
        int64_t took = s_now_ns() - began;
        best = took < best ? took : best;
    }
    return (long)((double)us * 1000 * (double)n / (double)best);
}

static double s_serial(long n, int64_t span_ns) {
    int64_t began = s_now_ns();
    long jobs = 0;
    do {
        s_count(n);
        jobs++;
    } while (s_now_ns() - began < span_ns);
    return (double)jobs * 1e9 / (double)(s_now_ns() - began);
}

/* ---- ours ---------------------------------------------------------------- */
typedef struct s_rig {
    gate_runtime_t *runtime;
    gate_pool_t *pool;
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client;
    char folder[32];
} s_rig_t;

static const gate_method_t s_methods[] = {
    {.name = "job", .fn = s_job, .runs = GATE_PROCESS}, GATE_END};

static void s_up(s_rig_t *rig) {
    char front[64], back[64];
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "processes", (int)S_WORKERS);
    strcpy(rig->folder, "/tmp/gate-jobs-XXXXXX");
    if (!mkdtemp(rig->folder))
        exit(1);
    snprintf(front, sizeof front, "ipc://%s/f", rig->folder);
    snprintf(back, sizeof back, "ipc://%s/b", rig->folder);
    rig->runtime = gate_runtime_new(settings);
    rig->pool = gate_runtime_procs(rig->runtime);
    rig->broker = gate_broker_new(rig->runtime);
    rig->service = gate_service_new(rig->runtime, "Jobs");
    rig->client = gate_client_new(rig->runtime);
    if (!rig->pool || !rig->broker || !rig->service || !rig->client)
        s_must(GATE_NOMEM, "jobs");
    gate_broker_bind(rig->broker, front);
    gate_broker_bind_backend(rig->broker, back);
    gate_service_methods(rig->service, s_methods, NULL);
    s_must(gate_pool_ready(rig->pool, S_READY_MS), "the pool");
    s_must(gate_broker_start(rig->broker), "the broker");
    s_must(gate_service_start(rig->service, back), "the service");
    s_must(gate_service_ready(rig->service, S_READY_MS), "the service");
    s_must(gate_client_connect(rig->client, front), "the client");
    s_must(gate_client_ready(rig->client, S_READY_MS), "the client");
}

static void s_down(s_rig_t *rig) {
    gate_client_destroy(&rig->client);
    gate_service_destroy(&rig->service);
    gate_broker_destroy(&rig->broker);
    gate_runtime_destroy(&rig->runtime);
    rmdir(rig->folder);
}

static gate_future_t *s_start(s_rig_t *rig, bool method, long n) {
    return method ? gate_client_start(rig->client, "Jobs.job", n)
                  : gate_submit(rig->pool, s_job, n);
}

static double s_futures(s_rig_t *rig, bool method, long n, size_t window,
                        int64_t span_ns) {
    gate_future_t *f[S_WINDOW] = {0};
    int64_t began = s_now_ns();
    size_t jobs = 0;
    for (; s_now_ns() - began < span_ns; jobs++) {
        gate_future_t **slot = &f[jobs % window];
        if (*slot)
            s_must(gate_future_wait(*slot, -1, NULL), "a job");
        gate_future_destroy(slot);
        *slot = s_start(rig, method, n);
    }
    for (size_t i = 0; i < window; i++) {
        if (f[i])
            s_must(gate_future_wait(f[i], -1, NULL), "a job");
        gate_future_destroy(&f[i]);
    }
    return (double)jobs * 1e9 / (double)(s_now_ns() - began);
}

/* As many inputs as take about the time. */
static double s_map(s_rig_t *rig, long n, long us, int64_t span_ns) {
    int64_t each_ns = us ? us * 1000 / S_WORKERS : 1000;
    long inputs = (long)(span_ns / each_ns) + S_WORKERS, left = 0, x;
    gate_items_t *items = gate_items_new();
    GATE_OWN(gate_stream) results = NULL;
    for (long i = 0; i < inputs; i++)
        s_must(gate_items_add(items, n), "an input");
    int64_t began = s_now_ns();
    s_must(gate_pool_map(rig->pool, s_job, gate_items_data(items),
                         (size_t)inputs, false, &results),
           "a map");
    for (left = inputs; left > 0; left--)
        s_must(gate_stream_next(results, &x), "a map's result");
    double rate = (double)inputs * 1e9 / (double)(s_now_ns() - began);
    gate_items_destroy(&items);
    return rate;
}

/* ---- pipes --------------------------------------------------------------- */
typedef struct s_child {
    int to, from, flying;
    pid_t pid;
} s_child_t;

static void s_child_main(int in, int out) __attribute__((noreturn));
static void s_child_main(int in, int out) {
    for (long n; read(in, &n, sizeof n) == sizeof n;) {
        n = s_count(n) & 1;
        if (write(out, &n, sizeof n) != sizeof n)
            break;
    }
    _exit(0);
}

static void s_child_new(s_child_t *self) {
    int to[2], from[2];
    if (pipe(to) || pipe(from))
        exit(1);
    self->flying = 0;
    self->pid = fork();
    if (self->pid == 0) {
        close(to[1]);
        close(from[0]);
        s_child_main(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    self->to = to[1];
    self->from = from[0];
}

/* A few ahead of each child; an answer read is a job given. */
static long s_feed(s_child_t *self, long n, bool more) {
    long done = 0, x;
    struct pollfd p = {self->from, POLLIN, 0};
    while (self->flying > 0 && poll(&p, 1, 0) == 1) {
        if (read(self->from, &x, sizeof x) != sizeof x)
            exit(1);
        self->flying--;
        done++;
    }
    for (; more && self->flying < S_PIPED; self->flying++)
        if (write(self->to, &n, sizeof n) != sizeof n)
            exit(1);
    return done;
}

static double s_pipes(s_child_t *children, long n, int64_t span_ns) {
    int64_t began = s_now_ns();
    long jobs = 0;
    int flying;
    do {
        bool more = s_now_ns() - began < span_ns;
        struct pollfd p[S_WORKERS];
        flying = 0;
        for (int i = 0; i < S_WORKERS; i++) {
            jobs += s_feed(&children[i], n, more);
            flying += children[i].flying;
            p[i] = (struct pollfd){children[i].flying ? children[i].from : -1,
                                   POLLIN, 0};
        }
        if (flying)
            poll(p, S_WORKERS, -1);
    } while (flying);
    return (double)jobs * 1e9 / (double)(s_now_ns() - began);
}

static void s_child_end(s_child_t *self) {
    kill(self->pid, SIGKILL); /* its sisters hold its pipe open */
    waitpid(self->pid, NULL, 0);
    close(self->to);
    close(self->from);
}

/* ---- all of it ------------------------------------------------------------ */
static void s_length(s_rig_t *rig, s_child_t *children, long us,
                     int64_t span_ns) {
    long n = s_calibrate(us);
    size_t window = us < 10000 ? S_WINDOW : S_WORKERS * 2;
    if (span_ns < 8 * 1000 * us)
        span_ns = 8 * 1000 * us;
    printf("  \"%ldus\": {", us);
    printf("\"serial\": %.1f, ", us ? s_serial(n, span_ns / 4) : 0.0);
    printf("\"submit\": %.1f, ", s_futures(rig, false, n, window, span_ns));
    printf("\"map\": %.1f, ", s_map(rig, n, us, span_ns));
    printf("\"method\": %.1f, ", s_futures(rig, true, n, window, span_ns));
    printf("\"pipes\": %.1f}", s_pipes(children, n, span_ns));
}

int main(int argc, char **argv) {
    long size = argc > 1 ? strtol(argv[1], NULL, 10) : 50;
    size_t n = sizeof s_lengths_us / sizeof *s_lengths_us;
    s_child_t children[S_WORKERS];
    s_rig_t rig = {0};
    s_must(gate_process_init(), "gate_process_init");
    for (int i = 0; i < S_WORKERS; i++)
        s_child_new(&children[i]);
    s_up(&rig);
    printf("{\"workers\": %d, \"jobs\": {\n", (int)S_WORKERS);
    for (size_t i = 0; i < n; i++) {
        s_length(&rig, children, s_lengths_us[i], size * 20000000);
        puts(i + 1 < n ? "," : "");
    }
    puts("}}");
    s_down(&rig);
    for (int i = 0; i < S_WORKERS; i++)
        s_child_end(&children[i]);
    return 0;
}
