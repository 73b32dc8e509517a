/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_guess.c -- wrong passwords by the thousand, first over one connection,
 * then over a fresh one for each: every one is refused, few of them are looked
 * at, and an honest caller hardly notices. By how much is asserted by the long
 * form alone: windows of peace and of guessing take turns, so that whatever
 * else the machine does falls on both. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 50 /* guesses under way */
#define TURNS 10  /* of peace and of guessing, in the long form */

typedef void guess_fn(gate_runtime_t *runtime, const char *front, size_t n);

static gate_client_t *s_client(gate_runtime_t *runtime, const char *front,
                               const char *password) {
    gate_client_t *client = gate_client_new(runtime);
    if (!client)
        child_die("no client");
    gate_client_plain(client, "ann", password);
    if (gate_client_connect(client, front) != GATE_OK)
        child_die("no client on %s: %s", front, gate_error()->text);
    return client;
}

/* Returns how many were refused, by name: all shall be. */
static size_t s_guess(gate_client_t *eve, size_t n) {
    gate_future_t *futures[WINDOW];
    size_t refused = 0;
    for (size_t i = 0; i < n; i++)
        futures[i] =
            gate_client_start(eve, "Demo.add", 1, 2, gate_timeout_ms(20000));
    for (size_t i = 0; i < n; i++) {
        int64_t sum;
        refused += gate_future_wait(futures[i], -1, &sum) == GATE_REFUSED;
        gate_future_destroy(&futures[i]);
    }
    return refused;
}

static void s_over_one_connection(gate_runtime_t *runtime, const char *front,
                                  size_t n) {
    gate_client_t *eve = s_client(runtime, front, "guess");
    size_t refused = 0;
    for (size_t left = n; left > 0;) {
        size_t some = left < WINDOW ? left : WINDOW;
        refused += s_guess(eve, some);
        left -= some;
    }
    gate_client_destroy(&eve);
    child_check(refused == n, "each is refused");
}

static void s_over_fresh_connections(gate_runtime_t *runtime, const char *front,
                                     size_t n) {
    size_t refused = 0;
    for (size_t i = 0; i < n; i++) {
        gate_client_t *eve = s_client(runtime, front, "guess");
        refused += s_guess(eve, 1);
        gate_client_destroy(&eve);
    }
    child_check(refused == n, "each connection is refused");
}

/* Honest calls for so long, or while somebody guesses; how long it was. */
static double s_window(gate_client_t *honest, ledger_t *ledger,
                       gate_runtime_t *runtime, const char *front, guess_fn *fn,
                       size_t n, double ms) {
    double begin = child_now_ms();
    lanes_t *lanes = lanes_start(honest, ledger, 2, 20000, 0.2);
    if (fn)
        fn(runtime, front, n);
    else
        child_sleep_ms(ms);
    ms = child_now_ms() - begin;
    lanes_stop(&lanes);
    return ms;
}

static void s_compare(const char *name, ledger_t *peace, ledger_t *beside,
                      size_t guesses, double ms) {
    double quiet = ledger_p99_ms(peace), p99 = ledger_p99_ms(beside);
    child_check(ledger_close(peace), "the ledger in peace");
    child_check(ledger_close(beside), name);
    printf("%s: %zu guesses, all refused, in %.1f s; an honest client's p99 "
           "%.2f ms, %.2f ms in peace\n",
           name, guesses, ms / 1000, p99, quiet);
    if (child_long())
        child_check(p99 <= 2 * quiet, "p99 at most twice");
}

/* Peace and guessing in turns of the same length. */
static void s_turns(gate_client_t *honest, const char *name,
                    gate_runtime_t *runtime, const char *front, guess_fn *fn,
                    size_t n) {
    int turns = child_long() ? TURNS : 1;
    size_t some = n / (size_t)turns;
    double all = 0;
    ledger_t *peace = ledger_new("in peace", 2000000);
    ledger_t *beside = ledger_new(name, 2000000);
    for (int i = 0; i < turns; i++) {
        double ms = s_window(honest, beside, runtime, front, fn, some, 0);
        all += ms;
        s_window(honest, peace, runtime, front, NULL, 0,
                 child_long() ? ms : 300);
    }
    s_compare(name, peace, beside, some * (size_t)turns, all);
    ledger_destroy(&peace);
    ledger_destroy(&beside);
}

static void s_slowed(gate_client_t *honest, const char *when, int64_t *asked,
                     double begin_ms) {
    int64_t now = lanes_count(honest, "zap_asked");
    /* ten at once, then five a second and user; renewals of honest ones */
    int64_t most = 40 + (int64_t)((child_now_ms() - begin_ms) / 1000 * 10);
    printf("guess: %s: %lld questions, at most %lld\n", when,
           (long long)(now - *asked), (long long)most);
    child_check(now - *asked <= most, "guessing is slow");
    *asked = now;
}

int main(int argc, char **argv) {
    child_t zap, broker, service;
    char at[128], front[128], back[128];
    setenv("GATE_LOG_LEVEL", "error", 1);
    child_init(argc, argv);
    child_start(&zap,
                (const char *[]){"zap", "--bind", "tcp://127.0.0.1:*", "--user",
                                 "ann", "--password", "right", NULL});
    child_endpoint(&zap, "zap=", at, sizeof at);
    setenv("GATE_ACCESS", "allow ann Gate.*", 1); /* she may ask for stats */
    child_start(&broker,
                (const char *[]){"broker", "--frontend", "tcp://127.0.0.1:*",
                                 "--backend", "tcp://127.0.0.1:*", "--zap", at,
                                 NULL});
    unsetenv("GATE_ACCESS");
    child_endpoint(&broker, "frontend=", front, sizeof front);
    child_endpoint(&broker, "backend=", back, sizeof back);
    child_start(&service, (const char *[]){"serve", "--demo", "--backend", back,
                                           "--threads", "2", "--user", "ann",
                                           "--password", "right", NULL});
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *honest = s_client(runtime, front, "right");
    if (gate_client_ready(honest, (int64_t)(10000 * child_slow())))
        child_die("%s", gate_error()->text);

    int64_t asked = lanes_count(honest, "zap_asked");
    double begin = child_now_ms();
    s_turns(honest, "beside one guesser", runtime, front, s_over_one_connection,
            child_scaled(20000, 500));
    s_slowed(honest, "over one connection", &asked, begin);
    begin = child_now_ms();
    s_turns(honest, "beside many connections", runtime, front,
            s_over_fresh_connections, child_scaled(400, 60));
    s_slowed(honest, "over fresh connections", &asked, begin);
    child_check(lanes_count(honest, "zap_throttled") > 0, "throttled");

    gate_client_destroy(&honest);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    child_end(&zap);
    return child_result();
}
