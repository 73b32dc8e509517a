/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_heartbeats.c -- handlers that block every thread lane for ten and more
 * heartbeats never get their worker expelled: inline calls go on, the sleepers
 * come back, nothing is lost. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 200
#define LANES 4

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "200", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    child_service(&service, back, "4");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);

    int64_t ms = child_long() ? 10000 : 12 * HB_MS;
    gate_future_t *busy[2 * LANES]; /* as many again wait behind them */
    ledger_t *sleepers = ledger_new("sleepers", 2 * LANES);
    for (int i = 0; i < 2 * LANES; i++) {
        ledger_open(sleepers, ms + i);
        busy[i] = gate_client_start(client, "Demo.sleep", ms + i,
                                    gate_timeout_ms(60000));
    }
    ledger_t *ledger = ledger_new("beside them", 4000000);
    lanes_t *lanes = lanes_start(client, ledger, 4, 10000, 1);
    for (int i = 0; i < 2 * LANES; i++) {
        int64_t got = -1;
        gate_err_t e = gate_future_wait(busy[i], -1, &got);
        ledger_final(sleepers, (size_t)i, e, got);
        gate_future_destroy(&busy[i]);
    }
    lanes_stop(&lanes);
    child_check(ledger_close(sleepers), "the sleepers' ledger");
    child_check(ledger_close(ledger), "the ledger");
    child_check(ledger_right(ledger) > 100, "inline calls were served");
    ledger_destroy(&sleepers);
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
