/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_load.c -- 200 callers on 8 threads over ipc and tcp: every answer
 * right, none lost or double, the broker's memory flat. */
#include "child.h"
#include "ledger.h"
#include "lanes.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 8
#define CALLERS 25
#define MEMORY_KB (24 * 1024)

typedef struct lane lane_t;

typedef struct caller {
    lane_t *lane;
    size_t id;
} caller_t;

struct lane {
    gate_client_t *client;
    ledger_t *ledger;
    gate_cq_t *cq;
    size_t left, flying;
    pthread_t thread;
    caller_t caller[CALLERS];
};

static void s_next(caller_t *caller);

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    caller_t *caller = ctx;
    int64_t sum = -1;
    if (e == GATE_OK)
        e = gate_value_read(value, "", &sum);
    ledger_final(caller->lane->ledger, caller->id, e, sum);
    caller->lane->flying--;
    s_next(caller);
}

static void s_next(caller_t *caller) {
    lane_t *lane = caller->lane;
    if (lane->left == 0)
        return;
    lane->left--;
    lane->flying++;
    int64_t a = (int64_t)lane->left, b = (int64_t)caller->id % 1000;
    caller->id = ledger_open(lane->ledger, a * 3 + b);
    gate_future_t *future = gate_client_start(lane->client, "Demo.add", a * 3,
                                              b, gate_timeout_ms(60000));
    gate_future_then(&future, lane->cq, s_done, caller);
}

static void *s_lane(void *arg) {
    lane_t *lane = arg;
    for (int i = 0; i < CALLERS; i++) {
        lane->caller[i].lane = lane;
        s_next(&lane->caller[i]);
    }
    double quiet = child_now_ms();
    while (lane->flying > 0 && child_now_ms() - quiet < 90000)
        if (gate_cq_wait(lane->cq, 256, 1000) > 0)
            quiet = child_now_ms();
    return NULL;
}

/* Two clients, four threads on each. */
static void s_burst(ledger_t *ledger, gate_client_t *const *clients,
                    size_t calls) {
    static lane_t lanes[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        lanes[i] = (lane_t){.client = clients[i % 2],
                            .ledger = ledger,
                            .cq = gate_cq_new(),
                            .left = calls / THREADS};
        if (!lanes[i].cq ||
            pthread_create(&lanes[i].thread, NULL, s_lane, &lanes[i]))
            child_die("no lane");
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(lanes[i].thread, NULL);
        gate_cq_destroy(&lanes[i].cq);
    }
}

static void s_transport(const char *name, const char *front, const char *back,
                        size_t calls) {
    child_t broker, service;
    char endpoint[128];
    child_broker(&broker, front, back);
    child_endpoint(&broker, "backend=", endpoint, sizeof endpoint);
    child_service(&service, endpoint, "2");
    child_endpoint(&broker, "frontend=", endpoint, sizeof endpoint);

    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *clients[2] = {lanes_client(runtime, endpoint),
                                 lanes_client(runtime, endpoint)};
    ledger_t *warm = ledger_new("warm-up", calls / 5 + THREADS);
    s_burst(warm, clients, calls / 5);
    long broker_kb = child_rss_kb(&broker), service_kb = child_rss_kb(&service);
    ledger_t *ledger = ledger_new(name, calls + THREADS);
    s_burst(ledger, clients, calls);
    broker_kb = child_rss_kb(&broker) - broker_kb;
    service_kb = child_rss_kb(&service) - service_kb;

    child_check(ledger_close(ledger), "the ledger");
    child_check(ledger_right(ledger) == ledger_opened(ledger), "all right");
    printf("%s: memory broker %+ld kB service %+ld kB\n", name, broker_kb,
           service_kb);
    long most = (long)(MEMORY_KB * child_slow()); /* sanitizers keep more */
    child_check(broker_kb < most && service_kb < most, "flat memory");
    ledger_destroy(&warm);
    ledger_destroy(&ledger);
    gate_client_destroy(&clients[0]);
    gate_client_destroy(&clients[1]);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
}

int main(int argc, char **argv) {
    char front[128], back[128];
    /* What ASan keeps back of freed memory is nobody's. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 1);
    child_init(argc, argv);
    size_t calls = child_scaled(500000, 2000);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    s_transport("load ipc", front, back, calls);
    s_transport("load tcp", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", calls);
    return child_result();
}
