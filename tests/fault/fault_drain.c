/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_drain.c -- two serving processes are drained by SIGTERM and started
 * again in turn under load: no call fails, neither inline nor sleeping ones. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define SLEEPERS 8

/* Calls that still run when the drain begins. */
static void s_sleepers(gate_client_t *client, child_t *service) {
    gate_future_t *future[SLEEPERS];
    ledger_t *ledger = ledger_new("sleepers over a drain", SLEEPERS);
    for (int i = 0; i < SLEEPERS; i++) {
        ledger_open(ledger, 400 + i);
        future[i] = gate_client_start(client, "Demo.sleep", 400 + i,
                                      gate_timeout_ms(20000));
    }
    child_sleep_ms(100);
    child_end(service);
    for (int i = 0; i < SLEEPERS; i++) {
        int64_t got = -1;
        gate_err_t e = gate_future_wait(future[i], -1, &got);
        ledger_final(ledger, (size_t)i, e, got);
        gate_future_destroy(&future[i]);
    }
    child_check(ledger_close(ledger), "the sleepers' ledger");
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    child_t broker, service[2];
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    child_service(&service[0], back, "8");
    child_service(&service[1], back, "8");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    ledger_t *ledger = ledger_new("drains under load", 4000000);
    lanes_t *lanes = lanes_start(client, ledger, 8, 20000, 0.5);
    for (int i = 0; i < (child_long() ? 40 : 6); i++) {
        child_sleep_ms(100);
        if (i % 2)
            s_sleepers(client, &service[i % 2]);
        else
            child_end(&service[i % 2]);
        child_service(&service[i % 2], back, "8");
    }
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service[0]);
    child_end(&service[1]);
    child_end(&broker);
    return child_result();
}
