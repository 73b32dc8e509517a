/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_slow_reader.c -- a 30,000-item stream to a reader that sleeps arrives
 * whole and in order; other callers are answered meanwhile, in the long form at
 * most half as fast as before and after it (p99), and the broker's memory stays
 * bounded. */
#include "child.h"
#include "lanes.h"
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_KB (32 * 1024)

static void s_read_all(gate_stream_t *stream, int64_t n) {
    int64_t item = -1, want = 0;
    gate_err_t e = GATE_OK;
    double begin = child_now_ms();
    while ((e = gate_stream_next(stream, &item)) == GATE_OK && item == want)
        want++;
    if (e == GATE_OK)
        child_fail("item %lld is %lld", (long long)want, (long long)item);
    else if (e != GATE_EOS)
        child_fail("stream ended with %s: %s", gate_err_name(e),
                   gate_stream_error(stream)->text);
    child_check(want == n, "every item");
    printf("slow reader: %lld of %lld items in order, read in %.0f ms\n",
           (long long)want, (long long)n, child_now_ms() - begin);
}

/* Others' calls for so long, and until each has had an answer: a worker of
 * Python's kind does nothing else while it sends 30,000 items. */
static void s_others(gate_client_t *client, ledger_t *ledger, double ms) {
    lanes_t *lanes = lanes_start(client, ledger, 4, 20000, 0.2);
    child_sleep_ms(ms);
    child_check(lanes_all_back(lanes, 20000 * child_slow()) >= 0,
                "the others are served");
    lanes_stop(&lanes);
}

static void s_compare(const char *name, ledger_t *peace, ledger_t *beside) {
    double quiet = ledger_p99_ms(peace), p99 = ledger_p99_ms(beside);
    child_check(ledger_close(peace), "the others' ledger in peace");
    child_check(ledger_close(beside), "the others' ledger");
    printf("%s: others' p99 %.2f ms, %.2f ms in peace\n", name, p99, quiet);
    if (child_long())
        child_check(p99 <= 2 * quiet, "others' p99 at most twice");
}

static void s_transport(const char *name, const char *front, const char *back) {
    child_t broker, service;
    char endpoint[128];
    child_broker(&broker, front, back);
    child_endpoint(&broker, "backend=", endpoint, sizeof endpoint);
    child_service(&service, endpoint, "2");
    child_endpoint(&broker, "frontend=", endpoint, sizeof endpoint);
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *reader = lanes_client(runtime, endpoint);
    gate_client_t *other = lanes_client(runtime, endpoint);

    double asleep_ms = child_long() ? 12000 : 2000;
    ledger_t *peace = ledger_new("in peace", 4000000);
    ledger_t *ledger = ledger_new(name, 4000000);
    s_others(other, peace, asleep_ms / 2);
    long kb = child_rss_kb(&broker);
    int64_t n = 30000;
    gate_stream_t *stream = NULL;
    if (gate_client_open(reader, "Demo.gen", &stream, n) != GATE_OK)
        child_die("no stream: %s", gate_error()->text);
    s_others(other, ledger, asleep_ms);
    kb = child_rss_kb(&broker) - kb;
    s_read_all(stream, n);
    gate_stream_destroy(&stream);
    s_others(other, peace, asleep_ms / 2);

    s_compare(name, peace, ledger);
    printf("%s: broker's memory %+ld kB\n", name, kb);
    child_check(kb < MEMORY_KB, "bounded memory");
    ledger_destroy(&peace);
    ledger_destroy(&ledger);
    gate_client_destroy(&reader);
    gate_client_destroy(&other);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
}

int main(int argc, char **argv) {
    char front[128], back[128];
    /* What ASan keeps back of freed memory is none of the broker's. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    s_transport("beside a slow reader, ipc", front, back);
    s_transport("beside a slow reader, tcp", "tcp://127.0.0.1:*",
                "tcp://127.0.0.1:*");
    return child_result();
}
