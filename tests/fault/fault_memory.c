/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_memory.c -- a broker that may have 128 MiB, with the settings as they
 * are, is offered ten times what its workers can do: it stays, they are kept
 * busy, and what is too much is answered BusyWorkerError. */
#include "child.h"
#include "lanes.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT (128L * 1024 * 1024)
#define SANITIZED 4 /* times as much where a sanitizer needs it itself */
#define THREADS 4   /* of the worker */
#define WORK_MS 4   /* of each call: it can do 1,000 a second */
#define BODY (8 * 1024)
#define CLIENTS 4
#define FLYING 5000 /* of each client, at most: its message_max */
#define OVER 10     /* times as much is offered */

/* ---- the worker: this program, started with other words ------------------ */
static gate_err_t work(gate_call_t *call) {
    gate_bytes_t body;
    gate_err_t e = gate_args(call, &body);
    child_sleep_ms(WORK_MS);
    return e ? e : gate_return(call, (int64_t)body.size);
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(work, .runs = GATE_THREAD), GATE_END};

static int s_worker(const char *backend) {
    gate_runtime_t *runtime = lanes_runtime();
    gate_service_t *service = gate_service_new(runtime, "Work");
    if (!service)
        child_die("no service");
    gate_service_limit(service, 4 * THREADS);
    gate_service_methods(service, s_methods, NULL);
    if (gate_service_start(service, backend) ||
        gate_service_ready(service, 20000))
        child_die("no worker: %s", gate_error()->text);
    printf("ready worker\n");
    fflush(stdout);
    gate_runtime_wait(runtime);
    gate_service_destroy(&service);
    gate_runtime_destroy(&runtime);
    return 0;
}

/* ---- the limit ----------------------------------------------------------- */
static long s_limit(void) {
    return child_slow() > 1 ? SANITIZED * LIMIT : LIMIT;
}

static char s_group[512]; /* the control group; "": none */

static bool s_write(const char *name, long value) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", s_group, name);
    FILE *f = fopen(path, "r+"); /* it is there in a group */
    if (!f)
        return false;
    bool ok = fprintf(f, "%ld", value) > 0;
    return fclose(f) == 0 && ok;
}

/* A group below our own: v1's memory controller, or v2 where it is ours. */
static bool s_make_group(void) {
    char line[400];
    bool made = false;
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (!made && f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *path = strrchr(line, ':');
        bool v1 = strstr(line, ":memory:");
        if (!path || (!v1 && strncmp(line, "0::", 3) != 0))
            continue;
        snprintf(s_group, sizeof s_group, "/sys/fs/cgroup%s%s/gate-fault-%d",
                 v1 ? "/memory" : "", path + 1, (int)getpid());
        if (mkdir(s_group, 0755))
            continue;
        made = s_write(v1 ? "memory.limit_in_bytes" : "memory.max", s_limit());
        if (!made)
            rmdir(s_group);
    }
    if (f)
        fclose(f);
    if (!made)
        s_group[0] = '\0';
    return made;
}

/* The broker inherits the limit: by its group, else as RLIMIT_DATA. Without one
 * there is nothing to be seen. */
static void s_broker(child_t *broker) {
    struct rlimit all, few;
    bool grouped = s_make_group() && s_write("cgroup.procs", getpid());
    getrlimit(RLIMIT_DATA, &all);
    few = all;
    few.rlim_cur = (rlim_t)s_limit();
    if (!grouped && child_slow() > 1) { /* shadow memory counts there */
        printf("skipped: no control group can be made here, and RLIMIT_DATA is "
               "no limit under a sanitizer\n");
        exit(77);
    } else if (!grouped) {
        printf("RLIMIT_DATA instead of a control group: none can be made\n");
        setrlimit(RLIMIT_DATA, &few);
    }
    child_broker(broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    setrlimit(RLIMIT_DATA, &all);
}

/* We and all others go back where we were; the broker stays. */
static void s_leave_group(void) {
    char *last = strrchr(s_group, '/');
    if (!last)
        return;
    *last = '\0';
    s_write("cgroup.procs", getpid());
    *last = '/';
}

static void s_remove_group(void) {
    double limit = child_now_ms() + 5000;
    while (*s_group && rmdir(s_group) && child_now_ms() < limit)
        child_sleep_ms(20);
}

/* ---- load ---------------------------------------------------------------- */
typedef struct load {
    ledger_t *ledger;
    gate_client_t *client;
    double rate, end; /* calls a second; when it is over */
    atomic_long flying, busy;
    pthread_t thread;
} load_t;

typedef struct asked {
    load_t *load;
    size_t id;
} asked_t;

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    asked_t *asked = ctx;
    int64_t n = -1;
    if (e == GATE_OK)
        e = gate_value_read(value, "", &n);
    ledger_final(asked->load->ledger, asked->id, e, n);
    atomic_fetch_add(&asked->load->busy, e == GATE_BUSY);
    atomic_fetch_sub(&asked->load->flying, 1);
    free(asked);
}

static void s_ask(load_t *self, const char *body) {
    asked_t *asked = malloc(sizeof *asked);
    if (!asked)
        child_die("no memory");
    *asked = (asked_t){self, ledger_open(self->ledger, BODY)};
    atomic_fetch_add(&self->flying, 1);
    gate_future_t *future =
        gate_client_start(self->client, "Work.work", gate_bin(body, BODY),
                          gate_timeout_ms(60000));
    gate_future_then(&future, NULL, s_done, asked);
}

/* Open: it asks at its rate, whatever comes back. */
static void *s_load(void *arg) {
    static const char body[BODY];
    load_t *self = arg;
    double begin = child_now_ms();
    for (long n = 0; child_now_ms() < self->end; child_sleep_ms(1))
        while ((double)n < (child_now_ms() - begin) * self->rate / 1000) {
            n++;
            if (atomic_load(&self->flying) < FLYING)
                s_ask(self, body);
        }
    double limit = child_now_ms() + 90000;
    while (atomic_load(&self->flying) > 0 && child_now_ms() < limit)
        child_sleep_ms(5);
    return NULL;
}

/* Right answers a second. */
static double s_offer(const char *name, gate_client_t *const *clients,
                      double rate, double seconds, long *busy) {
    load_t load[CLIENTS];
    size_t room = (size_t)(rate * seconds) + CLIENTS * FLYING + 1000;
    ledger_t *ledger = ledger_new(name, room);
    ledger_allow(ledger, GATE_BUSY);
    double end = child_now_ms() + seconds * 1000;
    for (int i = 0; i < CLIENTS; i++) {
        load[i] = (load_t){.ledger = ledger,
                           .client = clients[i],
                           .rate = rate / CLIENTS,
                           .end = end};
        if (pthread_create(&load[i].thread, NULL, s_load, &load[i]))
            child_die("no thread");
    }
    child_sleep_ms(seconds * 1000);
    double right = (double)ledger_right(ledger) / seconds;
    *busy = 0;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(load[i].thread, NULL);
        *busy += atomic_load(&load[i].busy);
    }
    child_check(ledger_close(ledger), name);
    ledger_destroy(&ledger);
    return right;
}

static void s_test(child_t *broker, gate_client_t *const *clients) {
    double capacity = THREADS * 1000.0 / WORK_MS;
    double seconds = child_long() ? 60 : 4;
    long busy = 0;
    double peak = s_offer("as much as it can", clients, 1.2 * capacity,
                          child_long() ? 10 : 1.5, &busy);
    double over =
        s_offer("ten times as much", clients, OVER * capacity, seconds, &busy);
    printf("%ld MiB: %.0f calls/s at the peak, %.0f when ten times as much is "
           "offered, %ld answered Busy; the broker has %ld kB\n",
           s_limit() >> 20, peak, over, busy, child_rss_kb(broker));
    child_check(child_wait(broker, 0) == -1, "the broker is alive");
    child_check(over > (child_long() ? 0.8 : 0.1) * peak, "its workers work");
    child_check(busy > 0, "what is too much is refused");
}

int main(int argc, char **argv) {
    child_t broker, worker;
    char front[128], back[128];
    gate_client_t *clients[CLIENTS];
    if (argc > 2 && strcmp(argv[1], "worker") == 0)
        return s_worker(argv[2]);
    setenv("GATE_LOG_LEVEL", "error", 1);
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 1);
    child_init(argc, argv);
    s_broker(&broker);
    s_leave_group();
    child_endpoint(&broker, "frontend=", front, sizeof front);
    child_endpoint(&broker, "backend=", back, sizeof back);
    const char *args[] = {"worker", back, NULL};
    setenv("GATE_THREADS", "4", 1);
    child_run(&worker, NULL, args);
    unsetenv("GATE_THREADS");
    gate_runtime_t *runtime = lanes_runtime();
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = lanes_client(runtime, front);
    s_test(&broker, clients);
    for (int i = 0; i < CLIENTS; i++)
        gate_client_destroy(&clients[i]);
    gate_runtime_destroy(&runtime);
    child_end(&worker);
    child_end(&broker);
    s_remove_group();
    return child_result();
}
