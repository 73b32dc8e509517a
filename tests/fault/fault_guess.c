/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_guess.c -- wrong passwords by the thousand, first over one connection,
 * then over a fresh one for each: every one is refused, few of them are looked
 * at, and an honest caller hardly notices (the long form asserts by how much).
 */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 50 /* guesses under way */

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

/* All are refused, by name; returns how many were. */
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
    printf("guess: %zu wrong passwords, %zu refused\n", n, refused);
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
    printf("guess: %zu connections, %zu refused\n", n, refused);
    child_check(refused == n, "each connection is refused");
}

/* p99 of calls made while fn runs, or for two seconds. */
static double s_beside(gate_client_t *honest, const char *name,
                       gate_runtime_t *runtime, const char *front,
                       void (*fn)(gate_runtime_t *, const char *, size_t),
                       size_t n) {
    ledger_t *ledger = ledger_new(name, 2000000);
    lanes_t *lanes = lanes_start(honest, ledger, 2, 20000, 0.2);
    if (fn)
        fn(runtime, front, n);
    else
        child_sleep_ms(child_long() ? 2000 : 300);
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), name);
    double p99 = ledger_p99_ms(ledger);
    ledger_destroy(&ledger);
    return p99;
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
    child_init(argc, argv);
    child_start(&zap,
                (const char *[]){"zap", "--bind", "tcp://127.0.0.1:*", "--user",
                                 "ann", "--password", "right", NULL});
    child_endpoint(&zap, "zap=", at, sizeof at);
    child_start(&broker,
                (const char *[]){"broker", "--frontend", "tcp://127.0.0.1:*",
                                 "--backend", "tcp://127.0.0.1:*", "--zap", at,
                                 NULL});
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
    double before =
        s_beside(honest, "before the guesses", runtime, front, NULL, 0);
    double begin = child_now_ms();
    double one = s_beside(honest, "beside one guesser", runtime, front,
                          s_over_one_connection, child_scaled(20000, 500));
    s_slowed(honest, "over one connection", &asked, begin);
    begin = child_now_ms();
    double many = s_beside(honest, "beside many connections", runtime, front,
                           s_over_fresh_connections, child_scaled(2000, 100));
    s_slowed(honest, "over fresh connections", &asked, begin);
    printf("guess: honest p99 %.2f ms before, %.2f and %.2f ms beside\n",
           before, one, many);
    if (child_long())
        child_check(one <= 2 * before && many <= 2 * before, "p99 <= 2x");
    child_check(lanes_count(honest, "zap_throttled") > 0, "throttled");

    gate_client_destroy(&honest);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    child_end(&zap);
    return child_result();
}
