/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_process.c -- huge arguments to methods that run in worker processes: the
 * digest is right there, some at a time, the memory is given back, and what the
 * machine has no shared memory for is refused by name. More of it with
 * GATE_LONG. */
#include <gaterpc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static int s_wrong;

#define MUST(test, ...)                                    \
    do {                                                   \
        if (!(test)) {                                     \
            fprintf(stderr, "%d: ", __LINE__);             \
            fprintf(stderr, __VA_ARGS__);                  \
            fprintf(stderr, ": %s\n", gate_error()->text); \
            s_wrong++;                                     \
        }                                                  \
    } while (0)

static int64_t s_digest(const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t h = 1469598103934665603u ^ n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return (int64_t)(h >> 1);
}

static gate_err_t digest(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, s_digest(data.data, data.size));
}

static gate_err_t pid(gate_call_t *call) {
    return gate_return(call, (int64_t)getpid());
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(digest, .runs = GATE_PROCESS),
    GATE_METHOD(pid, .runs = GATE_PROCESS), GATE_END};

/* kB of this process that status calls by that name. */
static long s_status(const char *name) {
    char line[200];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)))
            kib = atol(line + strlen(name) + 1);
    if (f)
        fclose(f);
    return kib;
}

static char *s_make(size_t n, size_t seed) {
    char *data = malloc(n);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)('a' + (i * (i + seed) >> 5) % 26);
    return data;
}

static void s_sizes(gate_client_t *client, size_t most) {
    size_t n[] = {31, 100 << 10, 3 * MIB, 33 * MIB, most};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        char *data = s_make(n[i], i);
        int64_t want = s_digest(data, n[i]), got = 0;
        gate_err_t e =
            gate_client_call(client, "Huge.digest", &got, gate_bin(data, n[i]));
        MUST(!e && got == want, "plain value of %zu: %lld", n[i],
             (long long)got);
        GATE_OWN(gate_huge) huge = gate_huge_arg_data(data, n[i], free, NULL);
        e = gate_client_call(client, "Huge.digest", &got, huge);
        MUST(!e && got == want, "huge value of %zu: %lld", n[i],
             (long long)got);
    }
}

static void s_together(gate_client_t *client) {
    enum { N = 4 };
    gate_future_t *f[N];
    char *data[N];
    for (size_t i = 0; i < N; i++) {
        data[i] = s_make(34 * MIB, i + 9);
        f[i] = gate_client_start(client, "Huge.digest",
                                 gate_bin(data[i], 34 * MIB));
    }
    for (size_t i = 0; i < N; i++) {
        int64_t got = 0;
        gate_err_t e = gate_future_wait(f[i], 60000, &got);
        MUST(!e && got == s_digest(data[i], 34 * MIB), "the %zuth", i);
        gate_future_destroy(&f[i]);
        free(data[i]);
    }
}

/* The only worker is killed: while it compresses for the client, while it gets
 * the arguments, while it runs. Nothing hangs, no digest is wrong. */
static void s_kills(gate_client_t *client, int rounds) {
    char *data = s_make(34 * MIB, 3);
    int64_t want = s_digest(data, 34 * MIB), got, worker;
    for (int i = 0; i < rounds; i++) {
        gate_err_t e = gate_client_call(client, "Huge.pid", &worker);
        MUST(!e, "pid");
        if (e)
            break;
        GATE_OWN(gate_huge)
        huge = gate_huge_arg_data(data, 34 * MIB, NULL, NULL);
        GATE_OWN(gate_future)
        f = gate_client_start(client, "Huge.digest", huge);
        nanosleep(&(struct timespec){.tv_nsec = i * 20000000L}, NULL);
        kill((pid_t)worker, SIGKILL);
        e = gate_future_wait(f, 60000, &got);
        MUST(e == GATE_WORKERLOST || (!e && got == want), "kill %d: %s", i,
             gate_err_name(e));
    }
    gate_err_t e =
        gate_client_call(client, "Huge.digest", &got, gate_bin(data, 34 * MIB));
    MUST(!e && got == want, "after the kills");
    free(data);
}

/* Shared memory is made of files: here none may be larger than 16 MiB. */
static void s_no_room(gate_client_t *client) {
    struct rlimit old, low;
    char *data = s_make(34 * MIB, 1);
    int64_t got;
    getrlimit(RLIMIT_FSIZE, &old);
    low = (struct rlimit){16 * MIB, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
    gate_err_t e =
        gate_client_call(client, "Huge.digest", &got, gate_bin(data, 34 * MIB));
    MUST(e && strstr(gate_error()->text, "shared memory"), "no room: %s",
         gate_err_name(e));
    e = gate_client_call(client, "Huge.digest", &got, gate_bin(data, MIB));
    MUST(!e && got == s_digest(data, MIB), "a smaller one");
    setrlimit(RLIMIT_FSIZE, &old);
    free(data);
}

static gate_client_t *s_up(gate_runtime_t *rt, gate_broker_t **broker,
                           gate_service_t **service) {
    *broker = gate_broker_new(rt);
    gate_broker_bind(*broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(*broker, "tcp://127.0.0.1:*");
    *service = gate_service_new(rt, "Huge");
    gate_service_methods(*service, s_methods, NULL);
    gate_client_t *client = gate_client_new(rt);
    if (gate_broker_start(*broker) ||
        gate_service_start(*service, gate_broker_backend(*broker, 0)) ||
        gate_service_ready(*service, 20000) ||
        gate_client_connect(client, gate_broker_frontend(*broker, 0)) ||
        gate_client_ready(client, 20000))
        exit(gate_perror("up"));
    return client;
}

int main(void) {
    bool all = getenv("GATE_LONG") != NULL;
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", "broker");
    gate_settings_set(settings, "log_level", "error");
    gate_settings_set(settings, "processes", 1);
    gate_settings_set(settings, "huge_policy", "compress");
    gate_settings_set(settings, "reply_timeout", 120);
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client = s_up(rt, &broker, &service);
    int64_t got;
    if (gate_client_call(client, "Huge.digest", &got, "abc"))
        return gate_perror("digest");
    long before = s_status("VmRSS:");
    s_sizes(client, all ? 200 * MIB : 40 * MIB);
    s_together(client);
    s_kills(client, all ? 30 : 6);
    s_no_room(client);
    /* what was taken is given back: allocators keep some of it */
    long after = 0, limit = before + 96 * 1024;
    for (int i = 0; i < 100; i++) {
        after = s_status("VmRSS:");
        if (after < limit)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    printf("%ld KiB before, %ld after\n", before, after);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    MUST(after < limit, "%ld KiB before, %ld after", before, after);
#endif
    gate_client_destroy(&client);
    gate_service_destroy(&service);
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&rt);
    return s_wrong != 0;
}
