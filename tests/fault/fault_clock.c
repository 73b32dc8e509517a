/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_clock.c -- the time of day of client, broker and service jumps by an
 * hour, forth and back (20 times in the long form), under load: nothing
 * expires, nothing hangs. The test
 * starts itself again with a preloaded clock (clock_shim.c); argv[2] is it. */
#include "child.h"
#include "clock.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HB_MS 500
#define HOUR 3600

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    int64_t *off = clock_begin(argc, argv);
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    child_service(&service, back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    ledger_t *ledger = ledger_new("clock steps", 1000000);
    ledger_t *sleeper = ledger_new("sleeper", 1);
    lanes_t *lanes = lanes_start(client, ledger, 4, 20000, 1);
    ledger_open(sleeper, 3000);
    gate_future_t *future =
        gate_client_start(client, "Demo.sleep", 3000, gate_timeout_ms(20000));
    time_t before = time(NULL);
    *off = HOUR;
    child_check(time(NULL) - before >= HOUR, "the clock is preloaded");
    for (int i = 0; i < (child_long() ? 20 : 1); i++) {
        *off = HOUR;
        child_sleep_ms(HB_MS * 4);
        *off = -HOUR;
        child_sleep_ms(HB_MS * 4);
    }
    *off = 0;
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    int64_t got = -1;
    gate_err_t e = gate_future_wait(future, -1, &got);
    ledger_final(sleeper, 0, e, got);
    gate_future_destroy(&future);
    child_check(ledger_close(sleeper), "the sleeper's ledger");
    child_check(ledger_close(ledger), "the ledger");
    double most = (child_long() ? 3 : 30) * HB_MS;
    child_check(ledger_longest_ms(ledger) < most * child_slow(),
                "no call hung");
    child_check(lanes_count(client, "workers_lost") == 0, "no worker lost");
    child_check(lanes_count(client, "disconnects") == 0, "no DISCONNECT");
    ledger_destroy(&ledger);
    ledger_destroy(&sleeper);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
