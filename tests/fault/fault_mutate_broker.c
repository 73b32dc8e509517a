/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_mutate_broker.c -- clients and workers whose messages are changed at
 * random, at a broker that serves honest ones beside: it stays, it stays small,
 * and no honest caller gets a wrong answer. */
#include "child.h"
#include "lanes.h"
#include "mutate.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEERS 4   /* mutants of a kind */
#define LIFE 4096 /* messages until a mutant comes anew */
#define MEMORY_KB (24 * 1024)

typedef struct world {
    char front[128], back[128];
    void *client[PEERS], *worker[PEERS]; /* sockets */
    mutate_t *requests, *replies;        /* what those say */
    size_t answered;                     /* requests that mutants got */
} world_t;

/* ---- what they start from ------------------------------------------------ */
#define FRAME(text) \
    { text, sizeof text - 1 }
#define MESSAGE(...)                                                    \
    &(message_t) {                                                      \
        sizeof((gate_bytes_t[]){__VA_ARGS__}) / sizeof(gate_bytes_t), { \
            __VA_ARGS__                                                 \
        }                                                               \
    }

#define CLIENT(service) \
    FRAME(""), FRAME("MDPC01"), FRAME(service), FRAME("0123456789abcdef")
#define WORKER(command) FRAME(""), FRAME("MDPW01"), FRAME(command)

/* Metadata, and arguments in chunks: head, chunk, end, credit. */
static void s_more(world_t *w) {
    mutate_add(w->requests,
               MESSAGE(CLIENT("GateRPC"),
                       FRAME("\xa3"
                             "add"),
                       FRAME("\x92\x01\x02"), FRAME("\x80"),
                       FRAME("\xc1GX1\x81\xa1m\x82\xabtraceparent\xa5"
                             "00-ab\xa8priority\xa4high")));
    mutate_add(w->requests,
               MESSAGE(CLIENT("GateRPC"),
                       FRAME("\xa4"
                             "blob"),
                       FRAME("\x90"), FRAME("\x80"),
                       FRAME("\xc1GX1\x83\xa2ha\xcd\x01\x00\xa2hk\x01\xa2"
                             "ac\xa4gzip")));
    for (int i = 0; i < 2; i++)
        mutate_add(w->requests,
                   MESSAGE(CLIENT("GateRPC"), FRAME("GateStreamHugData"),
                           FRAME("\x1f\x8b\x08\0\0\0\0\0\0\xff\x63\x60")));
    mutate_add(w->requests,
               MESSAGE(CLIENT("GateRPC"), FRAME("GateStreamHugData"),
                       FRAME("HugeDataEND")));
    mutate_add(w->replies, MESSAGE(WORKER("\x06"), FRAME("client"), FRAME(""),
                                   FRAME("0123456789abcdef"),
                                   FRAME("\xc1GX1\x81\xa2"
                                         "cb\xce\0\x10\0\0")));
    mutate_add(w->replies,
               MESSAGE(WORKER("\x04"), FRAME("\xc1GX1\x83\xa1h\xc3\xa1p\xc3\xa1"
                                             "e\x07")));
}

/* Our own extensions, which no Python peer sends. */
static void s_ours(world_t *w) {
    s_more(w);
    mutate_add(w->requests,
               MESSAGE(FRAME(""), FRAME("MDPC01"), FRAME("GateRPC"),
                       FRAME("0123456789abcdef"), FRAME("\xa3gen"),
                       FRAME("\x91\x03"), FRAME("\x80"),
                       FRAME("\xc1GX1\x83\xa1t\xcd\x03\xe8\xa2"
                             "ci\x04\xa1h\xc3")));
    mutate_add(w->requests, MESSAGE(FRAME(""), FRAME("MDPC01"),
                                    FRAME("GateRPC"), FRAME("0123456789abcdef"),
                                    FRAME("\xc1GX1\x81\xa1x\xc3")));
    mutate_add(w->requests, MESSAGE(FRAME(""), FRAME("MDPC01"), FRAME("Gate"),
                                    FRAME("0123456789abcdef"),
                                    FRAME("\xa5stats"), FRAME("\x90")));
    mutate_add(w->replies, MESSAGE(FRAME(""), FRAME("MDPW01"), FRAME("\x04"),
                                   FRAME("\xc1GX1\x81\xa2"
                                         "im\xa3"
                                         "add")));
    mutate_add(w->replies, MESSAGE(FRAME(""), FRAME("MDPW01"), FRAME("\x04"),
                                   FRAME("\xc1GX1\x81\xa1"
                                         "d\xc3")));
    mutate_add(w->replies, MESSAGE(FRAME(""), FRAME("MDPW01"), FRAME("\x01"),
                                   FRAME("GateRPC:mutant:100")));
}

/* ---- mutants ------------------------------------------------------------- */
/* A client's: every other one to the service that is really there. */
static void s_client_says(world_t *w, size_t n) {
    static const gate_bytes_t demo = {"Demo", 4};
    message_t m = *mutate_pick(w->requests);
    if (n % 2 && m.n > 2 && m.frame[2].size == 7)
        m.frame[2] = demo;
    void **socket = &w->client[n % PEERS];
    raw_send(*socket, mutate_packed(w->requests, &m));
    raw_drop(*socket);
    if (mutate_random(w->requests, LIFE) == 0) {
        raw_close(socket);
        *socket = raw_dealer(w->front);
    }
}

/* Answers a request with its own caller and id, and a changed rest. */
static void s_worker_answers(world_t *w, void *socket,
                             const message_t *request) {
    message_t m = *mutate_pick(w->replies);
    w->answered++;
    if (m.n >= 6 && m.frame[2].size == 1 &&
        *(const char *)m.frame[2].data == 3) {
        m.frame[3] = request->frame[3];
        m.frame[5] = request->frame[5];
    }
    raw_send(socket, mutate_packed(w->replies, &m));
}

static void s_worker_says(world_t *w, size_t n) {
    void **socket = &w->worker[n % PEERS];
    raw_message_t got;
    while (raw_take(*socket, 0, &got)) {
        if (got.m.n >= 6 && got.m.frame[2].size == 1 &&
            *(const char *)got.m.frame[2].data == 2)
            s_worker_answers(w, *socket, &got.m);
        raw_free(&got);
    }
    raw_send(*socket, mutate_packed(w->replies, mutate_pick(w->replies)));
    if (mutate_random(w->replies, LIFE) == 0) {
        raw_close(socket);
        *socket = raw_dealer(w->back);
    }
}

static size_t s_sent(const world_t *w) {
    return mutate_count(w->requests) + mutate_count(w->replies);
}

/* So many, and more until the broker has taken one of them for a worker. */
static void s_mutants(world_t *w, size_t until) {
    size_t most = 100 * until;
    for (size_t n = 0; s_sent(w) < (w->answered ? until : most); n++) {
        s_client_says(w, n);
        s_worker_says(w, n);
    }
}

static void s_begin(world_t *w, uint64_t seed) {
    w->requests = mutate_new("client->broker", seed);
    w->replies = mutate_new("worker->broker", seed + 1);
    w->answered = 0;
    s_ours(w);
    for (int i = 0; i < PEERS; i++) {
        w->client[i] = raw_dealer(w->front);
        w->worker[i] = raw_dealer(w->back);
    }
}

static void s_end(world_t *w) {
    for (int i = 0; i < PEERS; i++) {
        raw_close(&w->client[i]);
        raw_close(&w->worker[i]);
    }
    mutate_destroy(&w->requests);
    mutate_destroy(&w->replies);
    raw_over();
}

static void s_test(world_t *w, gate_client_t *client, const child_t *broker,
                   const child_t *service) {
    size_t all = child_long() ? 1000000 : child_scaled(120000, 2000);
    ledger_t *ledger = ledger_new("honest beside mutants", 8000000);
    lanes_t *lanes = lanes_start(client, ledger, 4, 20000, 0.5);
    s_mutants(w, all / 4);
    long kb = child_rss_kb(broker), its_kb = child_rss_kb(service);
    s_mutants(w, all);
    kb = child_rss_kb(broker) - kb;
    its_kb = child_rss_kb(service) - its_kb;
    double back = lanes_all_back(lanes, 20000 * child_slow());
    lanes_stop(&lanes);
    printf("mutants: %zu messages, %zu requests came to them; memory broker "
           "%+ld kB service %+ld kB\n",
           s_sent(w), w->answered, kb, its_kb);
    child_check(back >= 0, "served after it all");
    child_check(ledger_close(ledger), "the honest ledger");
    child_check(ledger_longest_ms(ledger) < 10000 * child_slow(),
                "no honest call hung");
    long most = (long)(MEMORY_KB * child_slow());
    child_check(kb < most && its_kb < most, "memory stays flat");
    child_check(w->answered > 0, "mutants were taken for workers");
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    child_t broker, service;
    world_t w;
    uint64_t seed = mutate_seed();
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    setenv("GATE_LOG_LEVEL", "error", 1); /* a line a message, else */
    /* What ASan keeps back of freed memory is none of the broker's. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 1);
    child_init(argc, argv);
    child_broker(&broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&broker, "frontend=", w.front, sizeof w.front);
    child_endpoint(&broker, "backend=", w.back, sizeof w.back);
    child_service(&service, w.back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, w.front);
    s_begin(&w, seed);
    s_test(&w, client, &broker, &service);
    s_end(&w);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
