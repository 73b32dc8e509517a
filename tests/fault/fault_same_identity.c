/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_same_identity.c -- eight workers of fixed identities; twice a second
 * one is killed with -9 and started again under its name. Every call ends with
 * its answer or, where it may not run again, with WorkerLostError. */
#include "child.h"
#include "lanes.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HB_MS 500
#define WORKERS 8
#define SLOW 8      /* callers of what may not run again */
#define SLOW_MS 100 /* how long that takes */

/* ---- the worker: this program, started with other words ------------------ */
static gate_err_t add(gate_call_t *call) {
    int64_t a = 0, b = 0;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t slow(gate_call_t *call) {
    int64_t n = 0;
    gate_err_t e = gate_args(call, &n);
    child_sleep_ms(SLOW_MS);
    return e ? e : gate_return(call, -n);
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(add, .idempotent = true),
    GATE_METHOD(slow, .runs = GATE_THREAD), GATE_END};

static int s_worker(const char *backend, const char *name) {
    gate_runtime_t *runtime = lanes_runtime();
    gate_service_t *service = gate_service_new(runtime, "Demo");
    if (!service)
        child_die("no service");
    gate_service_identity(service, name);
    gate_service_methods(service, s_methods, NULL);
    if (gate_service_start(service, backend) ||
        gate_service_ready(service, 20000))
        child_die("no worker: %s", gate_error()->text);
    printf("ready %s\n", name);
    fflush(stdout);
    gate_runtime_wait(runtime);
    gate_service_destroy(&service);
    gate_runtime_destroy(&runtime);
    return 0;
}

static void s_start(child_t *worker, const char *backend, int i) {
    char name[16];
    snprintf(name, sizeof name, "worker-%d", i);
    const char *args[] = {"worker", backend, name, NULL};
    if (!child_python(worker, backend, name))
        child_run(worker, NULL, args);
}

/* ---- callers of slow ----------------------------------------------------- */
typedef struct sleeper {
    gate_client_t *client;
    ledger_t *ledger;
    atomic_bool *stop;
    pthread_t thread;
} sleeper_t;

static void *s_sleeper(void *arg) {
    sleeper_t *self = arg;
    for (int64_t n = 1; !atomic_load(self->stop); n++) {
        int64_t got = 0;
        size_t id = ledger_open(self->ledger, -n);
        gate_err_t e = gate_client_call(self->client, "Demo.slow", &got, n,
                                        gate_timeout_ms(20000));
        ledger_final(self->ledger, id, e, got);
    }
    return NULL;
}

static void s_kills(child_t *worker, const char *back, int kills) {
    double begin = child_now_ms();
    for (int i = 0; i < kills; i++) {
        int which = i * 3 % WORKERS;
        child_kill(&worker[which]);
        s_start(&worker[which], back, which);
        double left = begin + (i + 1) * 500 - child_now_ms();
        child_sleep_ms(left > 0 ? left : 0);
    }
    printf("same identity: %d kills in %.1f s\n", kills,
           (child_now_ms() - begin) / 1000);
}

static void s_test(gate_client_t *client, child_t *worker, const char *back) {
    sleeper_t sleeper[SLOW];
    atomic_bool stop = false;
    ledger_t *quick = ledger_new("same identity, idempotent", 8000000);
    ledger_t *slow_ones = ledger_new("same identity, once", 1000000);
    ledger_allow(slow_ones, GATE_WORKERLOST);
    if (child_has_python()) /* those never say what may run again */
        ledger_allow(quick, GATE_WORKERLOST);
    lanes_t *lanes = lanes_start(client, quick, 8, 20000, 0.2);
    for (int i = 0; i < SLOW; i++) {
        sleeper[i] = (sleeper_t){client, slow_ones, &stop, 0};
        if (pthread_create(&sleeper[i].thread, NULL, s_sleeper, &sleeper[i]))
            child_die("no thread");
    }
    s_kills(worker, back, child_long() ? 120 : 10);
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    atomic_store(&stop, true);
    for (int i = 0; i < SLOW; i++)
        pthread_join(sleeper[i].thread, NULL);
    child_check(ledger_close(quick), "what may run again");
    child_check(ledger_close(slow_ones), "what runs once");
    child_check(ledger_right(slow_ones) > 0, "some ran to their end");
    double longest = ledger_longest_ms(slow_ones) - SLOW_MS;
    printf("same identity: a death was noticed within %.0f ms\n", longest);
    child_check(longest < (child_long() ? 1 : 10) * HB_MS * child_slow(),
                "a closed connection is noticed within a heartbeat");
    child_check(ledger_longest_ms(quick) < 10 * HB_MS * child_slow(),
                "no call hung");
    ledger_destroy(&quick);
    ledger_destroy(&slow_ones);
}

int main(int argc, char **argv) {
    child_t broker, worker[WORKERS];
    char front[128], back[128];
    if (argc > 3 && strcmp(argv[1], "worker") == 0)
        return s_worker(argv[2], argv[3]);
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    setenv("GATE_LOG_LEVEL", "error", 1); /* 240 lines a minute, else */
    child_init(argc, argv);
    child_broker(&broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&broker, "frontend=", front, sizeof front);
    child_endpoint(&broker, "backend=", back, sizeof back);
    for (int i = 0; i < WORKERS; i++)
        s_start(&worker[i], back, i);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_test(client, worker, back);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    for (int i = 0; i < WORKERS; i++)
        child_end(&worker[i]);
    child_end(&broker);
    return child_result();
}
