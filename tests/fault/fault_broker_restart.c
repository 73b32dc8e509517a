/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_broker_restart.c -- the broker is killed with -9 under load and started
 * again on its endpoints: every call in flight ends with an answer or a named
 * error, and all callers are back within two heartbeats. Long: 200 clients, the
 * broker is killed every 5 s, 12 times. Workers of Python's kind say nothing by
 * themselves and hear of no lost connection: they come back after three
 * heartbeats of silence, and their callers with them. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 500
#define LIVENESS 3
#define TIMEOUT_MS 10000
#define CLIENTS_MAX 200
#define ROUND_MS 5000

static double s_round(child_t *broker, lanes_t *lanes, const char *front,
                      const char *back) {
    double begin = child_now_ms();
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "load runs");
    double left = begin + (child_long() ? ROUND_MS : 200) - child_now_ms();
    child_sleep_ms(left > 0 ? left : 0);
    child_kill(broker);
    child_sleep_ms(300);
    child_broker(broker, front, back);
    double back_ms = lanes_all_back(lanes, 20 * HB_MS * child_slow());
    child_check(back_ms >= 0, "all back after the restart");
    return back_ms;
}

static void s_transport(const char *name, const char *front, const char *back) {
    child_t broker, service;
    char real_front[128], real_back[128];
    child_broker(&broker, front, back);
    child_endpoint(&broker, "frontend=", real_front, sizeof real_front);
    child_endpoint(&broker, "backend=", real_back, sizeof real_back);
    child_service(&service, real_back, "2");

    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client[CLIENTS_MAX];
    size_t n = child_long() ? CLIENTS_MAX : 4;
    for (size_t i = 0; i < n; i++)
        client[i] = lanes_client(runtime, real_front);
    ledger_t *ledger = ledger_new(name, 4000000);
    ledger_allow(ledger, GATE_LOST);
    ledger_allow(ledger, GATE_WORKERLOST);
    ledger_allow(ledger, GATE_NOSERVICE);
    lanes_t *lanes =
        lanes_start_each(client, n, ledger, n < 16 ? 16 : n, TIMEOUT_MS,
                         n < 16 ? 0.2 : 20); /* the load is not the matter */
    double worst = 0;
    for (int i = 0; i < (child_long() ? 12 : 3); i++) {
        double ms = s_round(&broker, lanes, real_front, real_back);
        worst = ms > worst ? ms : worst;
    }
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    int most = (child_has_python() ? LIVENESS : 2) * HB_MS;
    printf("%s: %zu clients, worst return %.0f ms (at most %d)\n", name, n,
           worst, most);
    if (child_long())
        child_check(worst <= most, "back within two heartbeats");
    child_check(ledger_longest_ms(ledger) < TIMEOUT_MS, "no call hung");
    ledger_destroy(&ledger);
    for (size_t i = 0; i < n; i++)
        gate_client_destroy(&client[i]);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
}

int main(int argc, char **argv) {
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    s_transport("broker restart ipc", front, back);
    s_transport("broker restart tcp", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    return child_result();
}
