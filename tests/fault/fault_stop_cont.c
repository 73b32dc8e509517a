/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_stop_cont.c -- broker and service are stopped and continued, shorter
 * and longer than the liveness window: no call gets two finals, none hangs, and
 * all go on afterwards. */
#include "child.h"
#include "lanes.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 300
#define WINDOW 32

/* Finals are counted in callbacks, where a second one would show. */
typedef struct asked {
    ledger_t *ledger;
    size_t id;
    atomic_int *flying;
} asked_t;

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    asked_t *asked = ctx;
    int64_t sum = -1;
    if (e == GATE_OK)
        e = gate_value_read(value, "", &sum);
    ledger_final(asked->ledger, asked->id, e, sum);
    atomic_fetch_sub(asked->flying, 1);
}

static void s_ask(gate_client_t *client, asked_t *asked, int64_t a) {
    asked->id = ledger_open(asked->ledger, a + 1);
    atomic_fetch_add(asked->flying, 1);
    gate_future_t *future =
        gate_client_start(client, "Demo.add", a, 1, gate_timeout_ms(15000));
    gate_future_then(&future, NULL, s_done, asked);
}

static void s_stop(const char *name, gate_client_t *client,
                   const child_t *child, double ms) {
    static asked_t asked[8192]; /* outlives late finals, were there any */
    atomic_int flying = 0;
    ledger_t *ledger = ledger_new(name, 8192);
    ledger_allow(ledger, GATE_LOST);
    ledger_allow(ledger, GATE_WORKERLOST);
    ledger_allow(ledger, GATE_NOSERVICE);
    double begin = child_now_ms();
    bool stopped = false, continued = false;
    int n = 0;
    while (child_now_ms() - begin < ms + 1500 && n < 8192) {
        double t = child_now_ms() - begin;
        if (!stopped && t > 100)
            child_signal(child, SIGSTOP), stopped = true;
        if (!continued && t > 100 + ms)
            child_signal(child, SIGCONT), continued = true;
        asked[n].ledger = ledger;
        asked[n].flying = &flying;
        if (atomic_load(&flying) < WINDOW) {
            s_ask(client, &asked[n], n);
            n++;
        }
        child_sleep_ms(1);
    }
    child_signal(child, SIGCONT);
    double limit = child_now_ms() + 20000;
    while (atomic_load(&flying) > 0 && child_now_ms() < limit)
        child_sleep_ms(1);
    child_sleep_ms(200); /* late finals would come now */
    child_check(ledger_close(ledger), name);
    child_check(ledger_right(ledger) > 0, "some answers");
    ledger_destroy(&ledger);
}

/* The callers are all right again. */
static void s_recovered(gate_client_t *client) {
    ledger_t *ledger = ledger_new("afterwards", 100000);
    for (int e = 0; e < GATE_ERR_COUNT; e++)
        ledger_allow(ledger, (gate_err_t)e);
    lanes_t *lanes = lanes_start(client, ledger, 4, 5000, 1);
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "recovered");
    lanes_stop(&lanes);
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "300", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    child_service(&service, back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_stop("service stopped 0.5 s", client, &service, 500);
    s_recovered(client);
    s_stop("service stopped 3 s", client, &service, 3000);
    s_recovered(client);
    s_stop("broker stopped 0.5 s", client, &broker, 500);
    s_recovered(client);
    s_stop("broker stopped 3 s", client, &broker, 3000);
    s_recovered(client);
    if (child_long()) {
        s_stop("service stopped 20 s", client, &service, 20000);
        s_stop("broker stopped 20 s", client, &broker, 20000);
        s_recovered(client);
    }
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
