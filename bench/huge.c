/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/huge.c -- huge results against one core of plain zlib level 1, all in
 * one run, as JSON: the compressor alone (zlib and ISA-L blocks by 1 and 2
 * threads), and whole calls over a broker whose client builds the value.
 * usage: huge [MiB [data's kind]] */
#include "huge/split.h"
#include <gaterpc/broker.h>
#include <gaterpc/client.h>
#include <gaterpc/huge.h>
#include <gaterpc/pool.h>
#include <gaterpc/runtime.h>
#include <gaterpc/service.h>
#include <gaterpc/settings.h>
#include <gaterpc/value.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define S_THREADS_MAX 2
#define S_CALLS 11

typedef struct s_run {
    gate_bytes_t whole;
    gi_engine_t engine;
    bool dict;          /* blocks look back */
    atomic_size_t next; /* block to be taken */
    atomic_size_t out;  /* compressed bytes */
} s_run_t;

static double s_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of processes that have ended, user and system. */
static double s_children_cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static unsigned s_random(unsigned *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

static char *s_json(size_t size) {
    unsigned seed = 1;
    char *data = malloc(size + 200);
    for (size_t i = 0; data && i < size;)
        i += (size_t)sprintf(
            data + i,
            "{\"id\": %u, \"name\": \"user-%u\", \"email\": "
            "\"user%u@example.org\", \"score\": %u.%02u, \"active\": %s},\n",
            s_random(&seed) % 1000000, s_random(&seed) % 5000,
            s_random(&seed) % 5000, s_random(&seed) % 1000,
            s_random(&seed) % 100, s_random(&seed) & 1 ? "true" : "false");
    return data;
}

static char *s_bytes(size_t size, bool hex) {
    unsigned seed = 1;
    char *data = malloc(size);
    for (size_t i = 0; data && i < size; i++)
        data[i] = hex ? "0123456789abcdef"[s_random(&seed) & 15]
                      : (char)s_random(&seed);
    return data;
}

static void *s_worker(void *arg) {
    s_run_t *run = arg;
    gi_deflater_t *deflater = gi_deflater_new(run->engine, 1);
    void *out = malloc(gi_block_bound(GI_BLOCK_SIZE));
    size_t n = gi_block_count(run->whole.size), i, size;
    uint32_t crc;
    while (deflater && out && (i = atomic_fetch_add(&run->next, 1)) < n) {
        gi_block_t block =
            gi_block_at(run->whole, i * GI_BLOCK_SIZE, run->dict);
        if (gi_deflater_block(deflater, &block, out, &size, &crc) == GATE_OK)
            atomic_fetch_add(&run->out, size);
    }
    free(out);
    gi_deflater_destroy(&deflater);
    return NULL;
}

static double s_time(s_run_t *run, int n_threads) {
    pthread_t threads[S_THREADS_MAX];
    double begun = s_now();
    atomic_store(&run->next, 0);
    atomic_store(&run->out, 0);
    for (int i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, s_worker, run))
            exit(1);
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    return s_now() - begun;
}

static int s_compare(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* One stream of zlib level 1, as the Python peers do it: the median of 3. */
static double s_plain(gate_bytes_t whole, size_t *out_size) {
    double took[3];
    for (int i = 0; i < 3; i++) {
        uLong room = compressBound(whole.size);
        Bytef *out = malloc(room);
        double begun = s_now();
        if (!out || compress2(out, &room, whole.data, whole.size, 1) != Z_OK)
            exit(1);
        took[i] = s_now() - begun;
        *out_size = room;
        free(out);
    }
    qsort(took, 3, sizeof *took, s_compare);
    return took[1];
}

/* ---- whole calls: a broker, a service and a client, a process each ------- */
typedef struct s_way {
    const char *transport, *policy;
    bool kept; /* gate_huge_data, not gate_return */
    bool busy; /* the service's worker processes all run something */
} s_way_t;

static gate_bytes_t s_source; /* what the service's method gives */
static bool s_kept;

static gate_err_t s_give(gate_call_t *call) {
    if (!s_kept)
        return gate_return(call, s_source);
    gate_huge_options_t options = {.kind = GATE_HUGE_BIN};
    return gate_huge_data(call, s_source.data, s_source.size, NULL, &options);
}

static const gate_method_t s_methods[] = {
    {.name = "give", .fn = s_give, .runs = GATE_THREAD},
    GATE_END,
};

static gate_err_t s_sleep(gate_call_t *call) {
    for (;;)
        sleep(1000);
    return gate_return(call, 0);
}

static void s_make_busy(gate_runtime_t *runtime) {
    for (int i = 0; i < 2; i++) {
        gate_future_t *future =
            gate_submit(gate_runtime_procs(runtime), s_sleep);
        if (!future)
            exit(1);
        gate_future_destroy(&future);
    }
}

static gate_runtime_t *s_runtime(const s_way_t *way) {
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "error");
    gate_settings_set(settings, "route", "broker");
    gate_settings_set(settings, "huge_policy", way->policy);
    gate_settings_set(settings, "processes", 2);
    gate_runtime_t *runtime = gate_runtime_new(settings);
    gate_settings_destroy(&settings);
    if (!runtime || gate_runtime_start(runtime) != GATE_OK)
        exit(1);
    return runtime;
}

/* Tells who started it that it is there, and stays until that one has gone. */
static void s_stay(int fd, const void *told, size_t size) {
    char byte;
    if (write(fd, told, size) == (ssize_t)size)
        while (read(fd, &byte, 1) > 0) {
        }
    _exit(0);
}

typedef char s_address_t[128];

static void s_broker(const s_way_t *way, int fd) {
    s_address_t at[2] = {{0}};
    const char *any =
        !strcmp(way->transport, "tcp") ? "tcp://127.0.0.1:*" : "ipc://*";
    gate_broker_t *broker = gate_broker_new(s_runtime(way));
    gate_broker_bind(broker, any);
    gate_broker_bind_backend(broker, any);
    if (gate_broker_start(broker) != GATE_OK)
        _exit(1);
    snprintf(at[0], sizeof at[0], "%s", gate_broker_frontend(broker, 0));
    snprintf(at[1], sizeof at[1], "%s", gate_broker_backend(broker, 0));
    s_stay(fd, at, sizeof at);
}

static void s_service(const s_way_t *way, int fd, const char *backend) {
    if (way->busy && gate_process_init() != GATE_OK)
        _exit(1);
    s_kept = way->kept;
    gate_runtime_t *runtime = s_runtime(way);
    if (way->busy)
        s_make_busy(runtime);
    gate_service_t *service = gate_service_new(runtime, "Huge");
    gate_service_methods(service, s_methods, NULL);
    if (gate_service_start(service, backend) != GATE_OK ||
        gate_service_ready(service, 10000) != GATE_OK)
        _exit(1);
    s_stay(fd, "r", 1);
}

/* Forks; the child ends when fd is closed. told gets what it says. */
static int s_fork(const s_way_t *way, const char *backend, void *told,
                  size_t size) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        exit(1);
    pid_t pid = fork();
    if (!pid) {
        close(pair[0]);
        if (backend)
            s_service(way, pair[1], backend);
        else
            s_broker(way, pair[1]);
    }
    close(pair[1]);
    if (pid < 0 || read(pair[0], told, size) != (ssize_t)size)
        exit(1);
    return pair[0];
}

/* The median seconds of a call whose result the client has as a value. */
static double s_calls(const char *frontend, const s_way_t *way) {
    double took[S_CALLS + 1];
    gate_runtime_t *runtime = s_runtime(way);
    gate_client_t *client = gate_client_new(runtime);
    if (gate_client_connect(client, frontend) != GATE_OK ||
        gate_client_ready(client, 10000) != GATE_OK)
        exit(1);
    for (int i = 0; i <= S_CALLS; i++) { /* the first warms up */
        gate_bytes_t out = {0};
        double begun = s_now();
        gate_err_t e =
            gate_client_call(client, "Huge.give", &out, gate_timeout_ms(60000));
        took[i] = s_now() - begun;
        if (e != GATE_OK || out.size != s_source.size ||
            memcmp(out.data, s_source.data, out.size)) {
            gate_perror("bench huge");
            exit(1);
        }
    }
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    qsort(took + 1, S_CALLS, sizeof *took, s_compare);
    return took[1 + S_CALLS / 2];
}

/* Everything forks before it has a thread: the client's process too. */
static double s_end_to_end(const s_way_t *way) {
    int result[2];
    double seconds = 0;
    if (pipe(result))
        exit(1);
    pid_t pid = fork();
    if (!pid) {
        s_address_t at[2];
        char byte;
        int broker = s_fork(way, NULL, at, sizeof at);
        int service = s_fork(way, at[1], &byte, 1);
        seconds = s_calls(at[0], way);
        bool told =
            write(result[1], &seconds, sizeof seconds) == sizeof seconds;
        close(service);
        close(broker);
        while (wait(NULL) > 0) {
        }
        _exit(!told);
    }
    close(result[1]);
    if (pid < 0 || read(result[0], &seconds, sizeof seconds) != sizeof seconds)
        exit(1);
    close(result[0]);
    waitpid(pid, NULL, 0);
    return seconds;
}

static void s_report_calls(gate_bytes_t whole, double plain) {
    static const s_way_t ways[] = {
        {"ipc", "adaptive", false, false}, {"tcp", "adaptive", false, false},
        {"ipc", "adaptive", true, false},  {"tcp", "adaptive", true, false},
        {"ipc", "compress", true, false},  {"tcp", "compress", true, false},
        {"ipc", "store", true, false},     {"tcp", "store", true, false},
        {"ipc", "compress", true, true},   {"tcp", "compress", true, true}};
    s_source = whole;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        double cpu = s_children_cpu(), seconds = s_end_to_end(&ways[i]);
        cpu = (s_children_cpu() - cpu) / (S_CALLS + 1);
        printf("%s\n    {\"transport\": \"%s\", \"policy\": \"%s\", "
               "\"processes\": \"%s\", \"kept\": %s, \"mb_s\": %.0f, "
               "\"to_plain\": %.2f, \"cpu_s_gb\": %.2f}",
               i ? "," : "", ways[i].transport, ways[i].policy,
               ways[i].busy ? "busy" : "idle", ways[i].kept ? "true" : "false",
               (double)whole.size / 1e6 / seconds, plain / seconds,
               cpu / ((double)whole.size / 1e9));
        fflush(stdout);
    }
}

static void s_report(const char *kind, gate_bytes_t whole, bool first) {
    size_t plain_size;
    double mb = (double)whole.size / 1e6, plain = s_plain(whole, &plain_size);
    printf("%s\n  {\"data\": \"%s\", \"plain_zlib_1\": {\"mb_s\": %.0f, "
           "\"ratio\": %.2f}, \"blocks\": [",
           first ? "" : ",", kind, mb / plain,
           (double)whole.size / (double)plain_size);
    const char *comma = "";
    for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++)
        for (int dict = 0; dict < 2 && gi_engine_has((gi_engine_t)engine);
             dict++) {
            s_run_t run = {
                .whole = whole, .engine = (gi_engine_t)engine, .dict = dict};
            double one = s_time(&run, 1), two = s_time(&run, 2);
            printf("%s\n    {\"engine\": \"%s\", \"dictionary\": %s, "
                   "\"ratio\": %.2f, \"mb_s_1\": %.0f, \"mb_s_2\": %.0f, "
                   "\"speedup\": %.2f, \"to_plain\": %.2f}",
                   comma, engine == GI_ENGINE_ISAL ? "isal" : "zlib",
                   dict ? "true" : "false",
                   (double)whole.size / (double)atomic_load(&run.out), mb / one,
                   mb / two, one / two, plain / two);
            comma = ",";
        }
    printf("], \"calls\": [");
    s_report_calls(whole, plain);
    printf("]}");
}

int main(int argc, char **argv) {
    static const char *const kinds[] = {"json", "hex", "random"};
    size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 32) << 20;
    bool first = true;
    printf("{\"bench\": \"huge\", \"bytes\": %zu, \"results\": [", size);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (argc > 2 && strcmp(argv[2], kinds[i]) != 0)
            continue;
        char *data = i ? s_bytes(size, i == 1) : s_json(size);
        if (!size || !data)
            return 1;
        s_report(kinds[i], (gate_bytes_t){data, size}, first);
        first = false;
        free(data);
    }
    printf("]}\n");
    return 0;
}
