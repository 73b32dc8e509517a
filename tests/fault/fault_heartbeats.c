/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_heartbeats.c -- handlers that block every thread lane and use up every
 * pool worker for six heartbeats (60 s in the long form) never get their worker
 * expelled: inline calls go on, the busy ones come back and so do those that
 * waited behind them, nothing is lost and nobody was taken for dead. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 500
#define LANES 4
#define PROCS 2
#define BUSY (2 * LANES + PROCS)

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    const char *serve[] = {"serve",       "--demo",    "--backend",
                           back,          "--threads", "4",
                           "--processes", "2",         NULL};
    child_start(&service, serve);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);

    int64_t ms = child_long() ? 60000 : 6 * HB_MS;
    gate_future_t *busy[BUSY]; /* as many again wait behind the threads */
    ledger_t *sleepers = ledger_new("busy lanes and workers", BUSY);
    for (int i = 0; i < BUSY; i++) {
        bool waits = i >= LANES && i < 2 * LANES;
        const char *method = i < 2 * LANES ? "Demo.sleep" : "Demo.spin";
        int64_t want = (waits ? 1000 : ms) + i;
        ledger_open(sleepers, want);
        busy[i] =
            gate_client_start(client, method, want, gate_timeout_ms(10 * ms));
    }
    ledger_t *ledger = ledger_new("beside them", 4000000);
    lanes_t *lanes = lanes_start(client, ledger, 4, 10000, 1);
    for (int i = 0; i < BUSY; i++) {
        int64_t got = -1;
        gate_err_t e = gate_future_wait(busy[i], -1, &got);
        ledger_final(sleepers, (size_t)i, e, got);
        gate_future_destroy(&busy[i]);
    }
    lanes_stop(&lanes);
    child_check(ledger_close(sleepers), "the sleepers' ledger");
    child_check(ledger_close(ledger), "the ledger");
    child_check(ledger_right(ledger) > 100, "inline calls were served");
    child_check(!child_long() || ledger_p99_ms(ledger) <= 5,
                "inline calls answered within 5 ms (p99)");
    child_check(lanes_count(client, "workers_lost") == 0, "no worker lost");
    child_check(lanes_count(client, "workers_expired") == 0, "none expired");
    ledger_destroy(&sleepers);
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
