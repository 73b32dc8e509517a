/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_flood.c -- very many connections: such that call, all at the same time,
 * and such that say nothing, HTTP or noise, thousands a second. All that call
 * are served, an honest client beside is, and nothing of it stays. */
#include "child.h"
#include "lanes.h"
#include "zmtp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HB_MS 500
#define CALLS 10
#define RATE 5000        /* calls a second, all callers together */
#define RATE_PYTHON 2000 /* what a worker of that kind can do beside */
#define LIVENESS 3
#define SPARE 4000 /* descriptors that a broker keeps, and others of ours */

typedef struct world {
    child_t broker, service;
    char front[128], back[128];
    gate_client_t *client;
    double quiet_p99;
} world_t;

/* An honest client's calls while something goes on; their p99. */
typedef struct honest {
    ledger_t *ledger;
    lanes_t *lanes;
} honest_t;

static honest_t s_honest(world_t *w, const char *name) {
    honest_t honest = {.ledger = ledger_new(name, 8000000)};
    honest.lanes = lanes_start(w->client, honest.ledger, 4, 20000, 1);
    return honest;
}

static double s_judge(honest_t *honest, const char *name) {
    double back = lanes_all_back(honest->lanes, 10000 * child_slow());
    lanes_stop(&honest->lanes);
    child_check(back >= 0, name);
    child_check(ledger_close(honest->ledger), name);
    double p99 = ledger_p99_ms(honest->ledger);
    ledger_destroy(&honest->ledger);
    return p99;
}

static void s_compare(const world_t *w, const char *name, double p99) {
    printf("%s: an honest client's p99 %.2f ms, %.2f ms in peace\n", name, p99,
           w->quiet_p99);
    if (child_long())
        child_check(p99 <= 3 * w->quiet_p99, "p99 at most three times");
}

static void s_peace(world_t *w) {
    honest_t honest = s_honest(w, "in peace");
    child_sleep_ms(child_long() ? 5000 : 500);
    w->quiet_p99 = s_judge(&honest, "in peace");
}

/* ---- all of them call ---------------------------------------------------- */
/* As many as were asked for, or as the limit allows: then it says so. */
static size_t s_connections(size_t wanted) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    size_t most = (size_t)limit.rlim_max > SPARE + wanted
                      ? wanted
                      : (size_t)limit.rlim_max - SPARE;
    if ((size_t)limit.rlim_max <= SPARE)
        most = (size_t)limit.rlim_max / 4;
    if (most < wanted)
        printf("only %zu connections of %zu: RLIMIT_NOFILE is %zu\n", most,
               wanted, (size_t)limit.rlim_max);
    return most;
}

static void s_callers(world_t *w, size_t n) {
    honest_t honest = s_honest(w, "beside callers");
    double begin = child_now_ms();
    zmtp_t *flood =
        zmtp_new(w->front, n, CALLS, child_has_python() ? RATE_PYTHON : RATE);
    bool done = zmtp_run(flood, 120000);
    double seconds = (child_now_ms() - begin) / 1000;
    int fds = lanes_fds(w->client, w->broker.pid);
    printf("%zu connections x %d calls: %zu right, %zu wrong in %.1f s; the "
           "broker has %d descriptors\n",
           n, CALLS, zmtp_right(flood), zmtp_wrong(flood), seconds, fds);
    child_check(done && zmtp_right(flood) == n * CALLS, "all are served");
    child_check(zmtp_wrong(flood) == 0, "none is cut off");
    child_check(zmtp_connected(flood) == n && fds > (int)n,
                "they were there at the same time");
    double p99 = s_judge(&honest, "beside callers");
    zmtp_destroy(&flood);
    s_compare(w, "beside callers", p99);
}

/* ---- none of them calls -------------------------------------------------- */
static void s_say(int fd, size_t n) {
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    char noise[64];
    if (n % 4 == 1 && send(fd, http, sizeof http - 1, MSG_NOSIGNAL) < 0)
        return; /* thrown out already */
    if (n % 4 == 3 && getrandom(noise, sizeof noise, 0) > 0 &&
        send(fd, noise, sizeof noise, MSG_NOSIGNAL) < 0)
        return;
}

static void s_strangers(world_t *w, size_t rate, double seconds) {
    enum { HELD = 2000 };
    static int held[HELD];
    size_t n = 0, refused = 0;
    memset(held, 0xff, sizeof held);
    honest_t honest = s_honest(w, "beside strangers");
    double begin = child_now_ms(), now = begin;
    for (; (now = child_now_ms()) < begin + seconds * 1000; child_sleep_ms(1))
        for (size_t due = (size_t)((now - begin) * (double)rate / 1000);
             n < due; n++) {
            int *fd = &held[n % HELD];
            if (*fd >= 0)
                close(*fd);
            *fd = zmtp_knock(n % 2 ? w->front : w->back);
            refused += *fd < 0;
            if (*fd >= 0)
                s_say(*fd, n);
        }
    printf("strangers: %zu in %.1f s, %zu of them refused; the broker has %d "
           "descriptors\n",
           n, (child_now_ms() - begin) / 1000, refused,
           lanes_fds(w->client, w->broker.pid));
    double p99 = s_judge(&honest, "beside strangers");
    for (int i = 0; i < HELD; i++)
        if (held[i] >= 0)
            close(held[i]);
    s_compare(w, "beside strangers", p99);
}

/* ---- nothing stays ------------------------------------------------------- */
static void s_fds_back(const world_t *w, int before) {
    double limit = child_now_ms() + 20000 * child_slow();
    while (lanes_fds(w->client, w->broker.pid) > before &&
           child_now_ms() < limit)
        child_sleep_ms(20);
    printf("descriptors: %d before, %d after\n", before,
           lanes_fds(w->client, w->broker.pid));
    child_check(lanes_fds(w->client, w->broker.pid) <= before,
                "descriptors are back");
}

/* Names are forgotten after ten times the silence that makes a worker lost. */
static void s_table_back(const world_t *w, int64_t before) {
    double limit = child_now_ms() + 20.0 * LIVENESS * HB_MS;
    int64_t peers = lanes_count(w->client, "peers");
    while (peers > before && child_now_ms() < limit) {
        child_sleep_ms(100);
        peers = lanes_count(w->client, "peers");
    }
    printf("peers known: %lld before, %lld after\n", (long long)before,
           (long long)peers);
    child_check(peers <= before, "their names are forgotten");
}

int main(int argc, char **argv) {
    world_t w;
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    setenv("GATE_HANDSHAKE_IVL_MS", "1000", 1);
    setenv("GATE_LOG_LEVEL", "error", 1);
    child_init(argc, argv);
    size_t n = s_connections(child_long() ? 10000 : child_scaled(10000, 200));
    child_broker(&w.broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&w.broker, "frontend=", w.front, sizeof w.front);
    child_endpoint(&w.broker, "backend=", w.back, sizeof w.back);
    child_service(&w.service, w.back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    w.client = lanes_client(runtime, w.front);
    s_peace(&w);
    int fds = lanes_fds(w.client, w.broker.pid);
    int64_t peers = lanes_count(w.client, "peers");
    s_callers(&w, n);
    s_fds_back(&w, fds);
    s_strangers(&w, child_long() ? 2000 : 500, child_long() ? 20 : 2);
    s_fds_back(&w, fds);
    if (child_long())
        s_table_back(&w, peers);
    gate_client_destroy(&w.client);
    gate_runtime_destroy(&runtime);
    child_end(&w.service);
    child_end(&w.broker);
    return child_result();
}
