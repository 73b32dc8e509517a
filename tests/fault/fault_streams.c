/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_streams.c -- streams side by side, each whole and in order; streams
 * that are left early free what they held; a worker killed in the middle of
 * them ends each with a named error. */
#include "child.h"
#include "lanes.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define READERS 16
#define LEFT 40 /* more than the service takes at once */

typedef struct reader {
    gate_client_t *client;
    ledger_t *ledger;
    const char *method;
    int64_t n, pause_ms; /* items; of slow_gen */
    int rounds;
    atomic_int *started;
    pthread_t thread;
} reader_t;

/* How many items came in order; the error that ended them in *e. */
static int64_t s_read(reader_t *self, gate_err_t *e) {
    gate_stream_t *stream = NULL;
    int64_t item = -1, want = 0;
    *e = self->pause_ms
             ? gate_client_open(self->client, self->method, &stream, self->n,
                                self->pause_ms, gate_timeout_ms(20000))
             : gate_client_open(self->client, self->method, &stream, self->n,
                                gate_timeout_ms(20000));
    while (!*e && (*e = gate_stream_next(stream, &item)) == GATE_OK) {
        if (item != want++)
            *e = GATE_BADDATA;
        if (want == 1 && self->started)
            atomic_fetch_add(self->started, 1);
    }
    gate_stream_destroy(&stream);
    return want;
}

static void *s_reader(void *arg) {
    reader_t *self = arg;
    for (int i = 0; i < self->rounds; i++) {
        size_t id = ledger_open(self->ledger, self->n);
        gate_err_t e = GATE_OK;
        int64_t got = s_read(self, &e);
        ledger_final(self->ledger, id, e == GATE_EOS ? GATE_OK : e, got);
    }
    return NULL;
}

static void s_start(reader_t *readers, const reader_t *model) {
    for (int i = 0; i < READERS; i++) {
        readers[i] = *model;
        if (pthread_create(&readers[i].thread, NULL, s_reader, &readers[i]))
            child_die("no thread");
    }
}

static void s_join(reader_t *readers) {
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
}

static void s_side_by_side(gate_client_t *client) {
    reader_t readers[READERS];
    ledger_t *ledger = ledger_new("streams side by side", 10000);
    int64_t n = (int64_t)child_scaled(40000, 500);
    s_start(readers, &(reader_t){.client = client,
                                 .ledger = ledger,
                                 .method = "Demo.gen",
                                 .n = n,
                                 .rounds = 5});
    s_join(readers);
    child_check(ledger_close(ledger), "every stream whole");
    ledger_destroy(&ledger);
}

/* Endless streams are opened and left: the service, which takes 32 calls at
 * once, must get its room back. */
static void s_left_early(gate_client_t *client) {
    for (int i = 0; i < LEFT; i++) {
        gate_stream_t *stream = NULL;
        int64_t item = -1;
        const char *method = i % 2 ? "Demo.gen" : "Demo.slow_gen";
        gate_err_t e =
            i % 2 ? gate_client_open(client, method, &stream, 1000000000)
                  : gate_client_open(client, method, &stream, 1000000000, 1);
        for (int k = 0; !e && k < i % 7; k++)
            e = gate_stream_next(stream, &item);
        if (e)
            child_fail("stream %d: %s: %s", i, gate_err_name(e),
                       gate_error()->text);
        gate_stream_destroy(&stream);
    }
    ledger_t *ledger = ledger_new("after streams left early", 64);
    for (int i = 0; i < 64; i++) {
        int64_t sum = -1;
        size_t id = ledger_open(ledger, i + 1);
        gate_err_t e = gate_client_call(client, "Demo.add", &sum, i, 1,
                                        gate_timeout_ms(10000));
        ledger_final(ledger, id, e, sum);
    }
    child_check(ledger_close(ledger), "room after streams left early");
    child_check(ledger_longest_ms(ledger) < 2000 * child_slow(), "at once");
    ledger_destroy(&ledger);
}

static void s_killed(gate_client_t *client, child_t *service) {
    reader_t readers[READERS];
    atomic_int started = 0;
    ledger_t *ledger = ledger_new("streams of a killed worker", READERS);
    ledger_allow(ledger, GATE_WORKERLOST);
    s_start(readers, &(reader_t){.client = client,
                                 .ledger = ledger,
                                 .method = "Demo.gen",
                                 .n = 1000000000,
                                 .rounds = 1,
                                 .started = &started});
    double limit = child_now_ms() + 10000;
    while (atomic_load(&started) < READERS && child_now_ms() < limit)
        child_sleep_ms(1);
    child_kill(service);
    double begin = child_now_ms();
    s_join(readers);
    double ms = child_now_ms() - begin;
    child_check(ledger_close(ledger), "a named error each");
    printf("streams of a killed worker: all ended after %.0f ms\n", ms);
    child_check(ms < 5000 * child_slow(), "in time");
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    child_init(argc, argv);
    child_ipc("f", front, sizeof front);
    child_ipc("b", back, sizeof back);
    child_broker(&broker, front, back);
    setenv("GATE_MESSAGE_MAX", "32", 1); /* of the service alone */
    child_service(&service, back, "4");
    unsetenv("GATE_MESSAGE_MAX");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    s_side_by_side(client);
    s_left_early(client);
    s_killed(client, &service);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&broker);
    return child_result();
}
