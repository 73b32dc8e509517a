/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_uplink.c -- brokers that are joined, and what goes wrong between them: a
 * partition, the only server away for 10 s, one of three that is killed again
 * and again, either broker or the server standing still, a huge result whose
 * broker dies. Calls end with an answer
 * or a named error, nothing is answered twice, callers at one broker do not
 * notice what happens to another. Figures are asserted in the long form. */
#include "chaos.h"
#include "joined.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAT_MS 1000
#define SHORT_BEAT_MS 500
#define NAMED_MS (3 * BEAT_MS + 200)
#define CALL_MS 60000
#define MIB (1 << 20)

typedef struct world {
    nats_server_t server;
    chaos_t *cut; /* between B and the server */
    char through[80];
    gate_runtime_t *runtime;
    gate_service_t *local;
    joined_t a, b, c;
    child_t at_b, at_c;
} world_t;

static gate_err_t add(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static const gate_method_t s_local[] = {GATE_METHOD(add), GATE_END};

/* What a call may end with when a broker is lost, and nothing else. */
static ledger_t *s_ledger(const char *name, bool loses) {
    static const gate_err_t errors[] = {GATE_WORKERLOST, GATE_NOSERVICE,
                                        GATE_BUSY};
    ledger_t *ledger = ledger_new(name, 2000000);
    for (size_t i = 0; loses && i < sizeof errors / sizeof *errors; i++)
        ledger_allow(ledger, errors[i]);
    return ledger;
}

/* A service of ours at A, Demo at B, B's way to the server can be cut. */
static void s_begin(world_t *w) {
    char endpoint[64];
    joined_server(&w->server);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", w->server.port);
    w->cut = chaos_new(endpoint);
    snprintf(w->through, sizeof w->through, "nats%s",
             chaos_endpoint(w->cut) + strlen("tcp"));
    w->runtime = lanes_runtime();
    joined_start(&w->a, w->runtime, "A", w->server.url);
    joined_start(&w->b, w->runtime, "B", w->through);
    child_service(&w->at_b, w->b.back, "4");
    w->local = gate_service_new(w->runtime, "Local");
    gate_service_methods(w->local, s_local, NULL);
    child_check(gate_service_start(w->local, w->a.back) == GATE_OK &&
                    gate_service_ready(w->local, CALL_MS) == GATE_OK,
                "a service at A");
    joined_await(&w->a, "Demo", true);
}

static void s_end(world_t *w) {
    gate_service_destroy(&w->local);
    joined_end(&w->a);
    joined_end(&w->b);
    gate_runtime_destroy(&w->runtime);
    child_end(&w->at_b);
    chaos_destroy(&w->cut);
    nats_kill(&w->server);
}

/* ---- a partition --------------------------------------------------------- */
/* Every call under way at B ends by name. */
static double s_named(gate_future_t **f, size_t n) {
    double begin = child_now_ms(), longest = 0;
    for (size_t i = 0; i < n; i++) {
        gate_err_t e =
            gate_future_wait(f[i], (int64_t)(CALL_MS * child_slow()), NULL);
        child_check(e == GATE_WORKERLOST &&
                        strcmp(gate_error()->text, "The broker B is lost.") ==
                            0,
                    gate_error()->text);
        longest = child_now_ms() - begin;
        gate_future_destroy(&f[i]);
    }
    return longest;
}

typedef void s_part_fn(world_t *w, bool parted);

static void s_freeze(world_t *w, bool parted) {
    chaos_rule(w->cut, (chaos_rules_t){.frozen = parted});
}

static void s_server_away(world_t *w, bool parted) {
    if (parted)
        nats_kill(&w->server);
    else
        child_check(nats_start(&w->server), "the server starts again");
}

/* The p99 of local calls when nothing is wrong. */
static double s_calm(world_t *w) {
    ledger_t *ledger = s_ledger("local calls", false);
    lanes_t *lanes =
        lanes_start_of("Local.add", w->a.client, ledger, 4, CALL_MS, 0.5);
    child_sleep_ms(child_long() ? 3000 : 300);
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "local calls");
    double p99 = ledger_p99_ms(ledger);
    ledger_destroy(&ledger);
    return p99;
}

static void s_start_calls(world_t *w, gate_future_t **f, size_t n) {
    for (size_t i = 0; i < n; i++)
        f[i] = gate_client_start(w->a.client, "Demo.sleep", 600000,
                                 gate_timeout_ms(600000));
    joined_back(&w->a); /* they are there: links keep order */
}

static void s_parted(world_t *w, const char *name, s_part_fn *part, double ms) {
    enum { N = 5 };
    gate_future_t *f[N];
    int64_t sum;
    double calm = s_calm(w);
    ledger_t *ledger = s_ledger(name, false);
    lanes_t *lanes =
        lanes_start_of("Local.add", w->a.client, ledger, 4, CALL_MS, 0.5);
    s_start_calls(w, f, N);
    part(w, true);
    double named = s_named(f, N);
    gate_err_t e = gate_client_call(w->a.client, "Demo.add", &sum, 1, 2);
    child_check(e == GATE_NOSERVICE, "a new call: no such service");
    child_sleep_ms(child_long() && ms > named ? ms - named : 0);
    part(w, false);
    double back = joined_back(&w->a);
    child_check(lanes_all_back(lanes, CALL_MS) >= 0, "local calls go on");
    lanes_stop(&lanes);
    printf("%s: %d calls named after %.0f ms, back after %.0f ms, local p99 "
           "%.2f ms (%.2f before)\n",
           name, N, named, back, ledger_p99_ms(ledger), calm);
    child_check(ledger_close(ledger), "local calls");
    child_check(named < 5 * NAMED_MS * child_slow(), "named in time");
    if (child_long())
        child_check(named < NAMED_MS && back < 2 * BEAT_MS &&
                        ledger_p99_ms(ledger) < 2 * calm + 1,
                    "within the figures");
    ledger_destroy(&ledger);
}

/* ---- one of three is killed ---------------------------------------------- */
static void s_restart(world_t *w, joined_t *broker) {
    child_kill(&broker->broker);
    child_sleep_ms(child_long() ? 1500 : 200);
    joined_start(broker, w->runtime, broker->name, broker->urls);
    child_sleep_ms(child_long() ? 1500 : 400);
}

/* Demo.add is idempotent and C stays: no caller at A notices. In the short form
 * heartbeats are so short that a slow machine may lose C as well. */
static void s_killed(world_t *w) {
    joined_start(&w->c, w->runtime, "C", w->server.url);
    child_service(&w->at_c, w->c.back, "4");
    joined_await(&w->a, "Demo", true);
    ledger_t *ledger = s_ledger("one of three is killed", !child_long());
    lanes_t *lanes = lanes_start(w->a.client, ledger, 8, CALL_MS, 1);
    for (int i = 0; i < (child_long() ? 10 : 2); i++)
        s_restart(w, &w->b);
    child_check(lanes_all_back(lanes, CALL_MS * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "idempotent calls");
    if (child_long())
        child_check(ledger_longest_ms(ledger) < NAMED_MS + 500, "the longest");
    ledger_destroy(&ledger);
    child_end(&w->at_c);
    joined_end(&w->c);
    joined_await(&w->b, "Demo", true); /* its own worker has found it again */
    joined_await(&w->a, "Demo", true);
}

/* ---- one that stands still ----------------------------------------------- */
static void s_stopped(world_t *w, const char *name, pid_t pid, double ms) {
    ledger_t *ledger = s_ledger(name, true);
    long before = child_rss_kb(&w->a.broker);
    lanes_t *lanes = lanes_start(w->a.client, ledger, 8, CALL_MS, 1);
    child_check(lanes_all_back(lanes, CALL_MS) >= 0, "load runs");
    kill(pid, SIGSTOP);
    child_sleep_ms(ms);
    kill(pid, SIGCONT);
    child_check(lanes_all_back(lanes, CALL_MS * child_slow()) >= 0, "all back");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), name);
    long grown = child_rss_kb(&w->a.broker) - before;
    printf("%s for %.0f ms: A has grown by %ld KiB\n", name, ms, grown);
    if (child_long())
        child_check(grown < 32 * 1024, "memory");
    ledger_destroy(&ledger);
}

/* A on waking: its calls at B were cancelled when B missed it. */
static void s_caller_stopped(world_t *w, double ms) {
    gate_future_t *f = gate_client_start(w->a.client, "Demo.sleep", 600000,
                                         gate_timeout_ms(600000));
    double begin = child_now_ms();
    joined_back(&w->a);
    child_check(joined_in_flight(&w->b) == 1, "the call is at B");
    kill(w->a.broker.pid, SIGSTOP);
    while (joined_in_flight(&w->b) > 0 &&
           child_now_ms() - begin < CALL_MS * child_slow())
        child_sleep_ms(10);
    child_check(joined_in_flight(&w->b) == 0, "B has cancelled it");
    double took = child_now_ms() - begin;
    child_sleep_ms(child_long() && ms > took ? ms - took : 0);
    kill(w->a.broker.pid, SIGCONT);
    gate_err_t e = gate_future_wait(f, (int64_t)(CALL_MS * child_slow()), NULL);
    printf("A stopped for %.0f ms: %s %s\n", child_now_ms() - begin,
           gate_err_name(e), gate_error()->text);
    child_check(e == GATE_WORKERLOST || e == GATE_LOST, gate_err_name(e));
    gate_future_destroy(&f);
    joined_await(&w->a, "Demo", true);
    joined_back(&w->a);
}

static void s_standing(world_t *w) {
    static const double ms[] = {500, 4000, 20000};
    for (size_t i = 0; i < (child_long() ? 3 : 1); i++) {
        double so_long = child_long() ? ms[i] : 4 * SHORT_BEAT_MS;
        s_stopped(w, "B stopped", w->b.broker.pid, so_long);
        if (child_long())
            s_stopped(w, "the server stopped", w->server.pid, so_long);
    }
    if (!child_long())
        s_stopped(w, "the server stopped", w->server.pid, 500);
    for (size_t i = 1; i < (child_long() ? 3 : 2); i++)
        s_caller_stopped(w, ms[i]);
}

/* ---- a huge result ------------------------------------------------------- */
/* The broker dies under a huge result that nobody reads. */
static void s_huge(world_t *w) {
    int64_t n = child_long() ? (int64_t)1024 * MIB : (int64_t)128 * MIB;
    GATE_OWN(gate_stream) stream = NULL;
    char *buf = malloc(MIB);
    size_t size = 1, got = 0;
    long before = child_rss_kb(&w->a.broker);
    gate_err_t e =
        gate_client_open(w->a.client, "Demo.huge", &stream, n, "hex");
    if (!e)
        e = gate_stream_read(stream, buf, &size);
    child_check(e == GATE_OK, "a huge result begins");
    child_sleep_ms(child_long() ? 5000 : 500);
    long grown = child_rss_kb(&w->a.broker) - before;
    child_kill(&w->b.broker);
    while (size = MIB, !(e = gate_stream_read(stream, buf, &size)))
        got += size;
    child_check(e == GATE_WORKERLOST, gate_err_name(e));
    printf("huge: %zu MiB were under way, A had grown by %ld KiB: %s\n",
           got / MIB, grown, gate_error()->text);
    if (child_long())
        child_check(grown < 64 * 1024, "memory");
    free(buf);
    joined_start(&w->b, w->runtime, "B", w->through);
    joined_back(&w->a);
}

int main(int argc, char **argv) {
    static world_t w;
    joined_init(argc, argv, getenv("GATE_LONG") ? BEAT_MS : SHORT_BEAT_MS);
    s_begin(&w);
    s_parted(&w, "partition", s_freeze, 0);
    s_parted(&w, "the only server away", s_server_away, 10000);
    s_huge(&w);
    s_standing(&w);
    s_killed(&w);
    s_end(&w);
    return child_result();
}
