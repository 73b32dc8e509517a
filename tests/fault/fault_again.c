/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_again.c -- of four serving processes random ones are killed -9 under
 * load: calls of idempotent methods never fail, each is answered once and
 * right. */
#include "child.h"
#include "lanes.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SERVICES 4
#define SPINNERS 6
#define FIB 22
#define FIB_VALUE 17711

typedef struct spin {
    gate_client_t *client;
    ledger_t *ledger;
    atomic_bool stop;
} spin_t;

/* Long enough that a kill finds some of them running. */
static void *s_spin(void *arg) {
    spin_t *self = arg;
    while (!atomic_load(&self->stop)) {
        int64_t got = -1;
        size_t id = ledger_open(self->ledger, FIB_VALUE);
        if (id == SIZE_MAX)
            break;
        gate_err_t e = gate_client_call(self->client, "Demo.fib", &got, FIB,
                                        gate_timeout_ms(60000));
        ledger_final(self->ledger, id, e, got);
        if (e)
            child_fail("fib: %s", gate_error()->text);
    }
    return NULL;
}

static void s_serve(child_t *child, const char *back) {
    const char *args[] = {"serve",     "--demo",      "--backend",
                          back,        "--processes", "1",
                          "--threads", "1",           NULL};
    child_start(child, args);
}

static void s_kill_some(child_t *service, const char *back) {
    for (int i = 0; i < (child_long() ? 120 : 12); i++) {
        child_t *victim = &service[rand() % SERVICES];
        child_sleep_ms(100 + rand() % 200);
        child_kill(victim);
        s_serve(victim, back);
    }
}

int main(int argc, char **argv) {
    child_t broker, service[SERVICES];
    char front[128], back[128];
    pthread_t thread[SPINNERS];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    for (int i = 0; i < SERVICES; i++)
        s_serve(&service[i], back);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    ledger_t *adds = ledger_new("add over kills", 4000000);
    spin_t spin = {.client = client,
                   .ledger = ledger_new("fib over kills", 400000)};
    lanes_t *lanes = lanes_start(client, adds, 8, 60000, 0.2);
    for (int i = 0; i < SPINNERS; i++)
        if (pthread_create(&thread[i], NULL, s_spin, &spin))
            child_die("no thread");
    s_kill_some(service, back);
    child_check(lanes_all_back(lanes, 20000 * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    atomic_store(&spin.stop, true);
    for (int i = 0; i < SPINNERS; i++)
        pthread_join(thread[i], NULL);
    child_check(ledger_close(adds), "the ledger of add");
    child_check(ledger_close(spin.ledger), "the ledger of fib");
    int64_t again = lanes_count(client, "ran_again");
    printf("%lld calls ran again\n", (long long)again);
    child_check(again > 0, "some call ran again");
    ledger_destroy(&adds);
    ledger_destroy(&spin.ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    for (int i = 0; i < SERVICES; i++)
        child_end(&service[i]);
    child_end(&broker);
    return child_result();
}
