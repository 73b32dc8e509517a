/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_reader_kill.c -- readers and callers that are killed while nothing is
 * sent to them: streams whose credit is used up, calls that run, calls that
 * wait. The service, which takes 4 calls at once, must have its room back. */
#include "child.h"
#include "lanes.h"
#include <gaterpc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READERS 4 /* as many as the service takes */
#define HB 500

/* Nobody reads its output: the stream stops when pipe and credit are full. */
static void s_reader(child_t *self, const char *front, const char *method,
                     const char *ms) {
    self->out = -1;
    child_spawn(self, (const char *const[]){"call", "--broker", front, method,
                                            "1000000000", ms, NULL});
}

static bool s_until(gate_client_t *client, const char *counter, uint64_t n,
                    double ms) {
    double limit = child_now_ms() + ms * child_slow();
    while (lanes_count(client, counter) != (int64_t)n)
        if (child_now_ms() < limit)
            child_sleep_ms(20);
        else
            return false;
    return true;
}

static void s_killed(gate_client_t *client, const char *front,
                     const char *method, const char *ms) {
    child_t readers[2 * READERS];
    for (int i = 0; i < 2 * READERS; i++)
        s_reader(&readers[i], front, method, ms);
    child_check(s_until(client, "in_flight", READERS, 10000) &&
                    s_until(client, "queued", READERS, 10000),
                "some run and some wait");
    child_sleep_ms(300); /* credit is used up, or nearly: either will do */
    for (int i = 0; i < 2 * READERS; i++)
        child_kill(&readers[i]);
    double begin = child_now_ms();
    bool back = s_until(client, "in_flight", 0, 3 * HB) &&
                s_until(client, "queued", 0, HB);
    printf("%s: room again after %.0f ms\n", method, child_now_ms() - begin);
    child_check(back, "room within three heartbeats");
    ledger_t *ledger = ledger_new("after killed readers", 64);
    for (int i = 0; i < 64; i++) {
        int64_t sum = -1;
        size_t id = ledger_open(ledger, i + 1);
        gate_err_t e = gate_client_call(client, "Demo.add", &sum, i, 1,
                                        gate_timeout_ms(10000));
        ledger_final(ledger, id, e, sum);
    }
    child_check(ledger_close(ledger), "calls after killed readers");
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    setenv("GATE_MESSAGE_MAX", "4", 1); /* of the service alone */
    child_service(&service, back, "4");
    unsetenv("GATE_MESSAGE_MAX");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_killed(client, front, "Demo.gen", NULL);
    s_killed(client, front, "Demo.slow_gen", "1");
    child_check(lanes_count(client, "orphaned") >= 2 * READERS, "orphaned");
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
