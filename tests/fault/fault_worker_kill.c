/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_worker_kill.c -- a serving process is killed with calls in flight: they
 * end at once when the connection closes, within the liveness window when it
 * only falls silent; under load nothing is lost while services die and come. */
#include "child.h"
#include "lanes.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 500
#define SLEEPERS 16
#define LIVENESS 3

/* Sixteen sleeping calls, then the signal; how long until all have ended. */
static double s_condemn(const char *name, gate_client_t *client,
                        child_t *service, int number, double limit_ms,
                        double figure_ms) {
    gate_future_t *sleeping[SLEEPERS];
    ledger_t *ledger = ledger_new(name, SLEEPERS);
    ledger_allow(ledger, GATE_WORKERLOST);
    for (int i = 0; i < SLEEPERS; i++) {
        ledger_open(ledger, 60000);
        sleeping[i] = gate_client_start(client, "Demo.sleep", 60000,
                                        gate_timeout_ms(70000));
    }
    child_sleep_ms(300); /* let them arrive and run */
    double begin = child_now_ms();
    child_signal(service, number);
    for (int i = 0; i < SLEEPERS; i++) {
        int64_t got = -1;
        double left = limit_ms * child_slow() - (child_now_ms() - begin);
        gate_err_t e =
            gate_future_wait(sleeping[i], left > 1 ? (int64_t)left : 1, &got);
        if (gate_future_ready(sleeping[i]))
            ledger_final(ledger, (size_t)i, e, got);
        gate_future_destroy(&sleeping[i]);
    }
    double ms = child_now_ms() - begin;
    child_check(ledger_close(ledger), name);
    child_check(ledger_right(ledger) == 0, "nobody slept that fast");
    printf("%s: all ended after %.0f ms\n", name, ms);
    if (child_long())
        child_check(ms <= figure_ms, "noticed in time");
    ledger_destroy(&ledger);
    return ms;
}

static void s_two_ends(gate_client_t *client, const char *back) {
    child_t service;
    child_service(&service, back, "8");
    s_condemn("killed", client, &service, SIGKILL, 20 * HB_MS, HB_MS);
    child_kill(&service);
    child_service(&service, back, "8");
    s_condemn("stopped", client, &service, SIGSTOP, 30 * HB_MS,
              LIVENESS * HB_MS + 200);
    child_kill(&service);
}

static void s_under_load(gate_client_t *client, const char *back) {
    child_t service[2];
    child_service(&service[0], back, "2");
    child_service(&service[1], back, "2");
    ledger_t *ledger = ledger_new("kills under load", 4000000);
    ledger_allow(ledger, GATE_WORKERLOST);
    ledger_allow(ledger, GATE_NOSERVICE);
    lanes_t *lanes = lanes_start(client, ledger, 16, 20000, 0.2);
    for (int i = 0; i < (child_long() ? 120 : 10); i++) {
        child_sleep_ms(150);
        child_kill(&service[i % 2]);
        child_service(&service[i % 2], back, "2");
    }
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    child_check(ledger_longest_ms(ledger) < 20 * HB_MS * child_slow(),
                "no call hung");
    ledger_destroy(&ledger);
    child_end(&service[0]);
    child_end(&service[1]);
}

int main(int argc, char **argv) {
    child_t broker;
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_two_ends(client, back);
    s_under_load(client, back);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&broker);
    return child_result();
}
