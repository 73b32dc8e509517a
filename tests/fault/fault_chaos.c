/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_chaos.c -- a proxy between client and broker and one between broker and
 * service: delay, jitter, a narrow line, connections that are cut, lose what
 * they carry or fall silent. Calls end with an answer or a named error, and all
 * callers are back soon after, in the long form within two heartbeats. */
#include "child.h"
#include "chaos.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define HB_MS 500
#define LANES 6

typedef struct world {
    child_t broker, service;
    chaos_t *front, *back;
    gate_runtime_t *runtime;
    gate_client_t *client;
} world_t;

static const gate_err_t s_loss[] = {GATE_LOST, GATE_WORKERLOST, GATE_NOSERVICE,
                                    GATE_TIMEOUT, GATE_BUSY};

/* Load under the rules for a while, then back to normal: the milliseconds until
 * every caller has had a right answer again. */
static void s_try(world_t *w, const char *name, chaos_rules_t rules, double ms,
                  bool loses) {
    chaos_rules_t none = {0};
    ledger_t *ledger = ledger_new(name, 1000000);
    for (size_t i = 0; loses && i < sizeof s_loss / sizeof *s_loss; i++)
        ledger_allow(ledger, s_loss[i]);
    lanes_t *lanes = lanes_start(w->client, ledger, LANES, 8000, 1);
    chaos_rule(w->front, rules);
    chaos_rule(w->back, rules);
    child_sleep_ms(ms);
    chaos_rule(w->front, none);
    chaos_rule(w->back, none);
    double back = lanes_all_back(lanes, 20 * HB_MS * child_slow());
    printf("%s: all back after %.0f ms\n", name, back);
    child_check(back >= 0, name);
    if (child_long())
        child_check(back <= 2 * HB_MS, "back within two heartbeats");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), name);
    child_check(ledger_right(ledger) >= LANES, "every lane had a right one");
    child_check(ledger_longest_ms(ledger) < 10000 * child_slow(),
                "no call hung");
    ledger_destroy(&ledger);
}

static void s_begin(world_t *w) {
    char front[128], back[128];
    child_broker(&w->broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&w->broker, "frontend=", front, sizeof front);
    child_endpoint(&w->broker, "backend=", back, sizeof back);
    w->front = chaos_new(front);
    w->back = chaos_new(back);
    child_service(&w->service, chaos_endpoint(w->back), "2");
    w->runtime = lanes_runtime();
    w->client = lanes_client(w->runtime, chaos_endpoint(w->front));
}

static void s_end(world_t *w) {
    gate_client_destroy(&w->client);
    gate_runtime_destroy(&w->runtime);
    child_end(&w->service);
    child_end(&w->broker);
    chaos_destroy(&w->front);
    chaos_destroy(&w->back);
}

/* Pieces of what is carried are lost, and their connections with them. */
static void s_losses(world_t *w, double ms) {
    static const double part[] = {0.01, 0.05, 0.2};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        char name[32];
        size_t before = chaos_connections(w->front);
        snprintf(name, sizeof name, "loss of %.0f %%", part[i] * 100);
        s_try(w, name, (chaos_rules_t){.loss = part[i]}, ms, true);
        printf("%s: %zu connections of clients\n", name,
               chaos_connections(w->front) - before);
    }
}

int main(int argc, char **argv) {
    world_t w;
    double ms = 0;
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    ms = child_long() ? 30000 : 2000;
    s_begin(&w);
    s_try(&w, "delay", (chaos_rules_t){.delay_ms = 100, .jitter_ms = 100}, ms,
          false);
    s_try(&w, "64 kbit/s", (chaos_rules_t){.bytes_per_s = 8000}, ms, false);
    size_t before = chaos_connections(w.front);
    s_try(&w, "cuts", (chaos_rules_t){.cut_ms = 200}, ms, true);
    child_check(chaos_connections(w.front) > before + 3, "it was cut");
    s_losses(&w, child_long() ? 15000 : 1000);
    s_try(&w, "half-open", (chaos_rules_t){.frozen = true}, 3000, true);
    s_end(&w);
    return child_result();
}
