/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_uplink_cluster.c -- three nats-servers, one of them killed every two
 * seconds and started again a second later; two brokers; eight callers, a
 * stream and a huge result at one of them, the service at the other. Nobody
 * notices: lost, double, wrong and errors are 0. Then all servers are away for
 * two seconds at once: a pause, and again no error. And a reader stands still
 * without anybody else noticing. A minute of kills in the
 * long form, where no call takes 1.5 s. */
#include "joined.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define CALM_MS \
    5000 /* short form: a machine that stands still is no partition */
#define BEAT_MS 1000
#define CALL_MS 120000
#define LONGEST_MS 1500

typedef struct world {
    nats_server_t servers[NATS_CLUSTER];
    char urls[256];
    gate_runtime_t *runtime;
    joined_t a, b;
    child_t service;
} world_t;

static void s_begin(world_t *w) {
    memset(w, 0, sizeof *w);
    if (!nats_begin_cluster(w->servers))
        child_die("no cluster of nats-servers");
    nats_urls(w->servers, w->urls, sizeof w->urls);
    w->runtime = lanes_runtime();
    joined_start(&w->a, w->runtime, "A", w->urls);
    joined_start(&w->b, w->runtime, "B", w->urls);
    child_service(&w->service, w->b.back, "4");
    joined_await(&w->a, "Demo", true);
}

static void s_end(world_t *w) {
    joined_end(&w->a);
    joined_end(&w->b);
    gate_runtime_destroy(&w->runtime);
    child_end(&w->service);
    for (int i = 0; i < NATS_CLUSTER; i++)
        nats_kill(&w->servers[i]);
}

static void s_start(nats_server_t *server) {
    if (!nats_start(server))
        child_die("a nats-server does not start again");
}

static void s_kills(world_t *w, double ms) {
    double end = child_now_ms() + ms;
    int n = 0;
    for (; child_now_ms() < end; n++) {
        nats_server_t *server = &w->servers[n % NATS_CLUSTER];
        nats_kill(server);
        child_sleep_ms(1000);
        s_start(server);
        child_sleep_ms(1000);
    }
    printf("%d kills\n", n);
}

static void s_all_away(world_t *w, double ms) {
    for (int i = 0; i < NATS_CLUSTER; i++)
        nats_kill(&w->servers[i]);
    child_sleep_ms(ms);
    for (int i = 0; i < NATS_CLUSTER; i++)
        s_start(&w->servers[i]);
}

/* Load, what does harm, and the law. */
static void s_under(world_t *w, const char *name,
                    void (*harm)(world_t *, double), double ms,
                    double longest_ms) {
    size_t streams, huge;
    ledger_t *ledger = ledger_new(name, 4000000);
    lanes_t *lanes = lanes_start(w->a.client, ledger, LANES, CALL_MS, 0.2);
    joined_flow_t *flow = joined_flow_start(&w->a);
    harm(w, ms);
    child_check(lanes_all_back(lanes, CALL_MS * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    joined_flow_stop(&flow, &streams, &huge);
    child_check(ledger_close(ledger), name);
    printf("%s: %zu streams, %zu huge results, longest call %.0f ms, "
           "batches sent again %lld, reconnects %lld, links lost %lld\n",
           name, streams, huge, ledger_longest_ms(ledger),
           (long long)joined_count(&w->a, "resent_batches"),
           (long long)joined_count(&w->a, "reconnects"),
           (long long)joined_count(&w->a, "links_lost"));
    child_check(streams > 0 && huge > 0, "streams and huge results came");
    child_check(joined_count(&w->a, "links_lost") == 0, "no link was lost");
    if (child_long())
        child_check(ledger_longest_ms(ledger) < longest_ms, "the longest call");
    ledger_destroy(&ledger);
}

/* ---- a reader that stands still ------------------------------------------ */
static void s_slow_reader(world_t *w) {
    int64_t n = child_long() ? 30000 : 10000, item = -1, want = 0;
    GATE_OWN(gate_stream) stream = NULL;
    ledger_t *ledger = ledger_new("beside a slow reader", 2000000);
    long a = child_rss_kb(&w->a.broker), b = child_rss_kb(&w->b.broker);
    gate_err_t e = gate_client_open(w->a.client, "Demo.gen", &stream, n);
    lanes_t *lanes = lanes_start(w->a.client, ledger, 20, CALL_MS, 5);
    child_sleep_ms(child_long() ? 12000 : 500);
    child_check(lanes_all_back(lanes, CALL_MS * child_slow()) >= 0, "others");
    lanes_stop(&lanes);
    a = child_rss_kb(&w->a.broker) - a;
    b = child_rss_kb(&w->b.broker) - b;
    while (!e && !(e = gate_stream_next(stream, &item)) && item == want)
        want++;
    child_check(e == GATE_EOS && want == n, "the stream, whole and in order");
    printf("slow reader: %lld items, A has grown by %ld KiB, B by %ld KiB\n",
           (long long)want, a, b);
    child_check(ledger_close(ledger), "others");
    if (child_long())
        child_check(a < 8 * 1024 && b < 8 * 1024, "memory");
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    static world_t w;
    joined_init(argc, argv, getenv("GATE_LONG") ? BEAT_MS : CALM_MS);
    s_begin(&w);
    s_under(&w, "servers killed", s_kills, child_long() ? 60000 : 6000,
            LONGEST_MS);
    s_under(&w, "all servers away", s_all_away, child_long() ? 2000 : 1000,
            2000 + LONGEST_MS);
    s_slow_reader(&w);
    s_end(&w);
    return child_result();
}
