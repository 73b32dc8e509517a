/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_unequal.c -- broker, service and client with heartbeat settings of
 * half, one and two times each other's: nobody is taken for dead, idle or busy.
 * Long: each with each, for ten of the broker's heartbeats idle and ten busy.
 */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 600

static void s_beat(double factor) {
    char text[32];
    snprintf(text, sizeof text, "%d", (int)(HB_MS * factor));
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", text, 1);
}

static void s_try(double of_service, double of_client) {
    child_t broker, service;
    char front[128], back[128];
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    s_beat(1);
    child_broker(&broker, front, back);
    s_beat(of_service);
    child_service(&service, back, "2");
    s_beat(of_client);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    ledger_t *ledger = ledger_new("unequal heartbeats", 1000000);
    child_sleep_ms(HB_MS * (child_long() ? 10 : 6)); /* idle */
    lanes_t *lanes = lanes_start(client, ledger, 2, 10000, 1);
    child_sleep_ms(HB_MS * (child_long() ? 10 : 4));
    lanes_stop(&lanes);
    printf("service %.1f, client %.1f: ", of_service, of_client);
    child_check(ledger_close(ledger), "the ledger");
    child_check(ledger_right(ledger) > 10, "calls were served");
    child_check(lanes_count(client, "workers_lost") == 0, "no worker lost");
    child_check(lanes_count(client, "disconnects") == 0, "no DISCONNECT");
    child_check(lanes_count(client, "workers") == 1, "one worker");
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
}

int main(int argc, char **argv) {
    static const double factors[] = {0.5, 1, 2};
    child_init(argc, argv);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (child_long() || i + k == 2)
                s_try(factors[i], factors[k]);
    return child_result();
}
