/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_lane.c -- lanes (docs/extensions.md) and what happens to their two ends:
 * rings that are always full, with a hundred times more calls under way than they
 * hold; a broker, a service, a client that die with calls under way, the client
 * with a child that holds on to all it had; and that a lane was there in each. At
 * last a broker that takes back each lane every ten seconds, however much goes by
 * it, and peers that ask for the next at once: nothing is lost, double or wrong. */
#include "child.h"
#include "lanes.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLEEPERS 16

/* So many calls at once through rings of 4 KiB: nobody may wait for room while
 * the other waits for room. */
static void s_full_rings(gate_client_t *client) {
    enum { MOST = 10000 };
    size_t n = child_scaled(2 * MOST, 2000) < MOST
                   ? child_scaled(2 * MOST, 2000)
                   : MOST;
    gate_future_t **under_way = calloc(n, sizeof *under_way);
    ledger_t *ledger = ledger_new("full rings", 3 * n);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < n; i++) {
            ledger_open(ledger, (int64_t)i + round);
            under_way[i] =
                gate_client_start(client, "Demo.add", (int64_t)i,
                                  (int64_t)round, gate_timeout_ms(120000));
        }
        for (size_t i = 0; i < n; i++) {
            int64_t got = -1;
            gate_err_t e = gate_future_wait(under_way[i], 120000, &got);
            ledger_final(ledger, (size_t)round * n + i, e, got);
            gate_future_destroy(&under_way[i]);
        }
    }
    child_check(ledger_close(ledger), "full rings");
    child_check(ledger_right(ledger) == 3 * n, "all were answered");
    ledger_destroy(&ledger);
    free(under_way);
}

/* Arguments and results many times larger than the ring, both ways at once. */
static void s_large(gate_client_t *client) {
    enum { N = 24, SIZE = 300000 };
    char *data = malloc(SIZE + 1), *upper = malloc(SIZE);
    gate_future_t *under_way[N];
    memset(data, 'x', SIZE);
    memset(upper, 'X', SIZE);
    data[SIZE] = 0;
    for (int i = 0; i < N; i++)
        under_way[i] = gate_client_start(client, "Demo.upper", data,
                                         gate_timeout_ms(120000));
    for (int i = 0; i < N; i++) {
        gate_bytes_t got = {0};
        gate_err_t e = gate_future_wait(under_way[i], 120000, &got);
        child_check(!e && got.size == SIZE && !memcmp(got.data, upper, SIZE),
                    "a large one came back");
        gate_future_destroy(&under_way[i]);
    }
    free(data);
    free(upper);
}

static void s_start(gate_client_t *client, gate_future_t **sleeping) {
    for (int i = 0; i < SLEEPERS; i++)
        sleeping[i] = gate_client_start(client, "Demo.sleep", (int64_t)60000,
                                        gate_timeout_ms(70000));
}

/* All end with that error, long before their deadline. */
static void s_all_end(gate_future_t **sleeping, gate_err_t with,
                      const char *what) {
    for (int i = 0; i < SLEEPERS; i++) {
        int64_t got;
        gate_err_t e = gate_future_wait(sleeping[i],
                                        (int64_t)(20000 * child_slow()), &got);
        child_check(gate_future_ready(sleeping[i]) && e == with, what);
        gate_future_destroy(&sleeping[i]);
    }
}

/* Until the broker has as many lanes as were made. */
static void s_await_count(gate_client_t *client, const char *name,
                          int64_t least) {
    double end = child_now_ms() + 20000 * child_slow();
    while (lanes_count(client, name) < least && child_now_ms() < end)
        child_sleep_ms(10);
    child_check(lanes_count(client, name) >= least, name);
}

static void s_await_calls(gate_client_t *client, int64_t n) {
    double end = child_now_ms() + 20000 * child_slow();
    while (lanes_count(client, "in_flight") < n && child_now_ms() < end)
        child_sleep_ms(10);
}

static void s_service_dies(gate_client_t *client, const char *back) {
    gate_future_t *sleeping[SLEEPERS];
    child_t service;
    child_service(&service, back, "16");
    s_await_count(client, "lanes", 2);
    s_start(client, sleeping);
    s_await_calls(client, SLEEPERS);
    child_kill(&service);
    s_all_end(sleeping, GATE_WORKERLOST, "a killed service's calls end");
}

/* The test itself, as a client that forks and dies. */
static int s_be_client(const char *front) {
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    gate_future_t *sleeping[SLEEPERS];
    int64_t three = 0;
    if (gate_client_call(client, "Demo.add", &three, 1, 2) || three != 3)
        return 1;
    s_start(client, sleeping);
    s_await_calls(client, SLEEPERS);
    pid_t child = fork();
    if (child == 0) {
        sleep(600); /* with all descriptors of its parent */
        _exit(0);
    }
    printf("ready %d\n", (int)child);
    fflush(stdout);
    sleep(600);
    return 1;
}

static void s_client_dies(gate_client_t *client, const char *front) {
    const char *const args[] = {"client", front, NULL};
    child_t other;
    int grandchild = 0;
    child_run(&other, NULL, args);
    child_check(sscanf(other.ready, "ready %d", &grandchild) == 1, "a client");
    child_kill(&other);
    int64_t three = 0;
    gate_err_t e = gate_client_call(client, "Demo.add", &three, 1, 2);
    child_check(!e && three == 3, "others are served");
    if (grandchild > 0)
        kill(grandchild, SIGKILL); /* it is ours: we started its parent */
    double end = child_now_ms() + 20000 * child_slow();
    while (lanes_count(client, "in_flight") > 1 && child_now_ms() < end)
        child_sleep_ms(20);
    child_check(lanes_count(client, "in_flight") <= 1,
                "nobody runs what a dead client asked for");
}

static void s_broker_dies(gate_client_t *client, child_t *broker) {
    gate_future_t *sleeping[SLEEPERS];
    s_start(client, sleeping);
    s_await_calls(client, SLEEPERS);
    child_kill(broker);
    s_all_end(sleeping, GATE_LOST, "a killed broker's calls end");
}

/* Until each lane was given back, under load and more than once. */
static void s_given_back(gate_runtime_t *runtime) {
    enum { CLIENTS = 4, LEAST = 2 * (CLIENTS + 1) };
    child_t broker, service;
    char front[128], back[128];
    gate_client_t *client[CLIENTS];
    setenv("GATE_LANE", "auto", 1);
    setenv("GATE_LANE_AFTER", "1000000", 1);
    child_ipc("f2", front, sizeof front);
    child_ipc("b2", back, sizeof back);
    child_broker(&broker, front, back);
    setenv("GATE_LANE", "always", 1);
    child_service(&service, back, "16");
    for (int i = 0; i < CLIENTS; i++)
        client[i] = lanes_client(runtime, front);
    ledger_t *ledger = ledger_new("given back", 4000000);
    lanes_t *lanes =
        lanes_start_each(client, CLIENTS, ledger, 4 * CLIENTS, 60000, 0);
    double end = child_now_ms() + 60000 * child_slow();
    while (lanes_count(client[0], "lanes_left") < LEAST && child_now_ms() < end)
        child_sleep_ms(100);
    child_check(lanes_all_back(lanes, 20000 * child_slow()) >= 0, "served");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    child_check(ledger_right(ledger) == ledger_opened(ledger), "all are right");
    child_check(lanes_count(client[0], "lanes_left") >= LEAST, "given back");
    child_check(lanes_count(client[0], "lanes_bad") == 0, "nobody was bad");
    printf("lanes: %lld opened, %lld given back\n",
           (long long)lanes_count(client[0], "lanes_opened"),
           (long long)lanes_count(client[0], "lanes_left"));
    ledger_destroy(&ledger);
    for (int i = 0; i < CLIENTS; i++)
        gate_client_destroy(&client[i]);
    child_end(&service);
    child_end(&broker);
}

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_LANE", "always", 1);
    setenv("GATE_LANE_BYTES", "4096", 1);
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "1000", 1);
    setenv("GATE_MESSAGE_MAX", "20000", 1);
    if (argc > 2 && strcmp(argv[1], "client") == 0)
        return s_be_client(argv[2]);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_service_dies(client, back);
    child_service(&service, back, "16");
    s_full_rings(client);
    s_large(client);
    s_client_dies(client, front);
    s_await_count(client, "lanes_opened", 4);
    child_check(lanes_count(client, "lanes_bad") == 0, "nobody was bad");
    s_broker_dies(client, &broker);
    gate_client_destroy(&client);
    s_given_back(runtime);
    gate_runtime_destroy(&runtime);
    child_kill(&service);
    return child_result();
}
