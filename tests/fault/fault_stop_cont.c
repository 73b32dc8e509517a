/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_stop_cont.c -- client, broker and service are stopped and continued,
 * shorter and longer than the liveness window: no call gets two finals, none
 * hangs, and all go on afterwards. */
#include "child.h"
#include "lanes.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HB_MS 300
#define WINDOW 32
#define TIMEOUT_MS 15000
#define CALLS 65536 /* more than anybody asks in a window of 22 s */

/* Finals are counted in callbacks, where a second one would show. */
typedef struct asked {
    ledger_t *ledger;
    size_t id;
    atomic_int *flying;
} asked_t;

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    asked_t *asked = ctx;
    int64_t sum = -1;
    if (e == GATE_OK)
        e = gate_value_read(value, "", &sum);
    ledger_final(asked->ledger, asked->id, e, sum);
    atomic_fetch_sub(asked->flying, 1);
}

static void s_ask(gate_client_t *client, asked_t *asked, int64_t a) {
    asked->id = ledger_open(asked->ledger, a + 1);
    atomic_fetch_add(asked->flying, 1);
    gate_future_t *future = gate_client_start(client, "Demo.add", a, 1,
                                              gate_timeout_ms(TIMEOUT_MS));
    gate_future_then(&future, NULL, s_done, asked);
}

static void s_stop(const char *name, gate_client_t *client,
                   const child_t *child, double ms) {
    static asked_t asked[CALLS]; /* outlives late finals, were there any */
    atomic_int flying = 0;
    ledger_t *ledger = ledger_new(name, CALLS);
    ledger_allow(ledger, GATE_LOST);
    ledger_allow(ledger, GATE_WORKERLOST);
    ledger_allow(ledger, GATE_NOSERVICE);
    if (ms > TIMEOUT_MS) /* then a call's own time may be over */
        ledger_allow(ledger, GATE_TIMEOUT);
    double begin = child_now_ms();
    bool stopped = false, continued = false;
    int n = 0;
    while (child_now_ms() - begin < ms + 1500 && n < CALLS) {
        double t = child_now_ms() - begin;
        if (!stopped && t > 100)
            child_signal(child, SIGSTOP), stopped = true;
        if (!continued && t > 100 + ms)
            child_signal(child, SIGCONT), continued = true;
        asked[n].ledger = ledger;
        asked[n].flying = &flying;
        if (atomic_load(&flying) < WINDOW) {
            s_ask(client, &asked[n], n);
            n++;
        }
        child_sleep_ms(1);
    }
    child_signal(child, SIGCONT);
    double limit = child_now_ms() + 20000;
    while (atomic_load(&flying) > 0 && child_now_ms() < limit)
        child_sleep_ms(1);
    child_sleep_ms(200); /* late finals would come now */
    child_check(ledger_close(ledger), name);
    child_check(ledger_right(ledger) > 0, "some answers");
    ledger_destroy(&ledger);
}

/* The callers are all right again. */
static void s_recovered(gate_client_t *client) {
    ledger_t *ledger = ledger_new("afterwards", 100000);
    for (int e = 0; e < GATE_ERR_COUNT; e++)
        ledger_allow(ledger, (gate_err_t)e);
    lanes_t *lanes = lanes_start(client, ledger, 4, 5000, 1);
    child_check(lanes_all_back(lanes, 10000 * child_slow()) >= 0, "recovered");
    lanes_stop(&lanes);
    ledger_destroy(&ledger);
}

/* ---- a client that is stopped: this program, started with other words ---- */
static int s_client(const char *front, int ms) {
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    ledger_t *ledger = ledger_new("the stopped client's own", 1000000);
    ledger_allow(ledger, GATE_LOST);
    ledger_allow(ledger, GATE_TIMEOUT);
    printf("ready client\n");
    fflush(stdout);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* nobody reads on */
    lanes_t *lanes = lanes_start(client, ledger, 4, 15000, 1);
    child_sleep_ms(ms);
    child_check(lanes_all_back(lanes, 10000) >= 0, "it is back");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the stopped client's ledger");
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    return child_result();
}

static void s_stop_client(const char *front, double ms) {
    child_t client;
    char length[16];
    snprintf(length, sizeof length, "%d", (int)ms + 1000);
    const char *args[] = {"client", front, length, NULL};
    child_run(&client, NULL, args);
    child_sleep_ms(300);
    child_signal(&client, SIGSTOP);
    child_sleep_ms(ms);
    child_signal(&client, SIGCONT);
    child_check(child_wait(&client, 30000) == 0, "the client that was stopped");
    printf("client stopped %.1f s: it ended well\n", ms / 1000);
}

static void s_late(gate_client_t *client) {
    int64_t late = lanes_count(client, "replies_late"),
            unknown = lanes_count(client, "replies_unknown");
    /* often none: who was silent begins anew before it answers */
    printf("late replies: %lld, of calls no longer known: %lld\n",
           (long long)late, (long long)unknown);
}

int main(int argc, char **argv) {
    child_t broker, service;
    if (argc > 3 && strcmp(argv[1], "client") == 0)
        return s_client(argv[2], atoi(argv[3]));
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "300", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    child_service(&service, back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_stop("service stopped 0.5 s", client, &service, 500);
    s_recovered(client);
    s_stop("service stopped 3 s", client, &service, 3000);
    s_recovered(client);
    s_late(client);
    s_stop_client(front, 1500);
    s_stop("broker stopped 0.5 s", client, &broker, 500);
    s_recovered(client);
    s_stop("broker stopped 3 s", client, &broker, 3000);
    s_recovered(client);
    if (child_long()) {
        for (double ms = 5000; ms <= 20000; ms *= 2)
            s_stop_client(front, ms);
        s_stop("service stopped 8 s", client, &service, 8000);
        s_recovered(client);
        s_stop("service stopped 20 s", client, &service, 20000);
        s_recovered(client);
        s_stop("broker stopped 20 s", client, &broker, 20000);
        s_recovered(client);
    }
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
