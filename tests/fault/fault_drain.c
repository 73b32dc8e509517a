/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_drain.c -- two serving processes are drained and started again in turn
 * under load, by SIGTERM and by `gate drain`: no call fails, neither inline nor
 * sleeping ones, and none had to run again. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define SLEEPERS 12
#define RATE 5000 /* calls a second over all of it, in the long form */

typedef struct sleepers {
    ledger_t *ledger;
    gate_future_t *future[SLEEPERS];
} sleepers_t;

/* Calls that still run when the drain begins. */
static void s_sleep(sleepers_t *self, gate_client_t *client) {
    self->ledger = ledger_new("sleepers over a drain", SLEEPERS);
    for (int i = 0; i < SLEEPERS; i++) {
        ledger_open(self->ledger, 600 + i);
        self->future[i] = gate_client_start(client, "Demo.sleep", 600 + i,
                                            gate_timeout_ms(20000));
    }
    child_sleep_ms(100);
}

static void s_awake(sleepers_t *self) {
    for (int i = 0; i < SLEEPERS; i++) {
        int64_t got = -1;
        gate_err_t e = gate_future_wait(self->future[i], -1, &got);
        ledger_final(self->ledger, (size_t)i, e, got);
        gate_future_destroy(&self->future[i]);
    }
    child_check(ledger_close(self->ledger), "the sleepers' ledger");
    ledger_destroy(&self->ledger);
}

/* The broker tells both to leave. They have calls to finish, so that the next
 * ones are there before the last of them goes. */
static void s_told(gate_client_t *client, child_t service[2],
                   const char *back) {
    child_t next[2];
    sleepers_t sleepers;
    int64_t n = 0;
    s_sleep(&sleepers, client);
    gate_err_t e = gate_client_call(client, "Gate.drain", &n, "Demo");
    child_check(e == GATE_OK && n == 2, "both are told to drain");
    child_service(&next[0], back, "8");
    child_service(&next[1], back, "8");
    s_awake(&sleepers);
    for (int i = 0; i < 2; i++) {
        child_check(child_wait(&service[i], 10000) == 0, "it ends with 0");
        service[i] = next[i];
    }
}

/* `gate drain WORKER` by the command: the other one stays. */
static void s_one_by_id(gate_client_t *client, child_t service[2],
                        const char *front, const char *back) {
    GATE_OWN(gate_value) workers = NULL;
    char id[128] = "";
    gate_err_t e = gate_client_call(client, "Gate.workers", &workers, "Demo");
    const msgpack_object *map = e ? NULL : gate_value_object(workers);
    if (map && map->type == MSGPACK_OBJECT_MAP && map->via.map.size == 2)
        snprintf(id, sizeof id, "%.*s",
                 (int)map->via.map.ptr[0].key.via.str.size,
                 map->via.map.ptr[0].key.via.str.ptr);
    child_check(*id != 0, "both workers are listed");
    const char *args[] = {"drain", "--broker", front, id, NULL};
    child_t drain;
    child_spawn(&drain, args);
    child_check(child_wait(&drain, 10000) == 0, "gate drain WORKER");
    int gone = -1;
    for (double end = child_now_ms() + 10000 * child_slow();
         gone < 0 && child_now_ms() < end;)
        for (int i = 0; i < 2; i++)
            if (child_wait(&service[i], 1) == 0)
                gone = i;
    child_check(gone >= 0, "one of them ends with 0");
    if (gone < 0)
        return;
    child_sleep_ms(100);
    child_check(child_wait(&service[1 - gone], 1) == -1, "the other one stays");
    child_service(&service[gone], back, "8");
}

int main(int argc, char **argv) {
    child_t broker, service[2];
    sleepers_t sleepers;
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
    double begin = child_now_ms();
    lanes_t *lanes = lanes_start(client, ledger, 16, 20000, 0.2);
    for (int i = 0; i < (child_long() ? 40 : 6); i++) {
        child_sleep_ms(100);
        if (i % 2)
            s_sleep(&sleepers, client);
        child_end(&service[i % 2]);
        if (i % 2)
            s_awake(&sleepers);
        child_service(&service[i % 2], back, "8");
    }
    s_one_by_id(client, service, front, back);
    s_told(client, service, back);
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    double seconds = (child_now_ms() - begin) / 1000;
    double rate = (double)ledger_opened(ledger) / seconds;
    printf("drain: %.0f calls/s for %.1f s\n", rate, seconds);
    if (child_long())
        child_check(rate >= RATE, "the load is what it shall be");
    child_check(ledger_close(ledger), "the ledger");
    ledger_destroy(&ledger);
    child_check(lanes_count(client, "ran_again") == 0, "none ran again");
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service[0]);
    child_end(&service[1]);
    child_end(&broker);
    return child_result();
}
