/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_mutate_client.c -- a broker whose answers are changed at random, at one
 * client: honest calls beside get their right answers, the others end with
 * something, and in time. */
#include "child.h"
#include "lanes.h"
#include "mutate.h"
#include "raw.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 12 /* changed messages before each honest one */
#define VICTIMS 3
#define VICTIM_MS 300
#define RIDS 32
#define MEMORY_KB (24 * 1024)

#define FRAME(text) \
    { text, sizeof text - 1 }

typedef struct world {
    void *router;
    mutate_t *mutate;
    char rid[RIDS][16]; /* of the victims' last calls */
    size_t n_rids;
    bool packs; /* the client packs what it says */
    size_t cancels, packed,
        chunks; /* messages of its that came so; of arguments */
    atomic_size_t sent;
    atomic_bool over;
    pthread_t thread;
} world_t;

static const message_t s_credit = {5,
                                   {FRAME(""), FRAME("MDPC01"),
                                    FRAME("GateRPC"), FRAME("0123456789abcdef"),
                                    FRAME("\xc1GX1\x81\xa2"
                                          "cb\xce\0\x10\0\0")}};

/* ---- the broker ---------------------------------------------------------- */
/* For arguments in chunks, as it should be: what is changed comes behind it. */
static void s_give_credit(world_t *w, const message_t *head) {
    message_t m = s_credit;
    m.frame[3] = head->frame[4];
    if (head->n == 9 && head->frame[5].size == 5 &&
        memcmp(head->frame[5].data, "\xa4size", 5) == 0)
        raw_send_to(w->router, head->frame[0], &m);
}

/* In kind: packed to who packs. */
static void s_reply(world_t *w, const message_t *request, gate_bytes_t body) {
    message_t m = {5,
                   {FRAME(""), FRAME("MDPC01"), request->frame[3],
                    request->frame[4], body}};
    raw_send_to(w->router, request->frame[0],
                w->packs ? mutate_pack(w->mutate, &m) : &m);
}

/* info, keepalive and the rest get what each understands. */
static void s_gate(world_t *w, const message_t *request) {
    static const gate_bytes_t info =
        FRAME("\x82\xa6result\x83\xa5my_id\xc4\x10"
              "0123456789abcdef\xa8services\x91\xa4"
              "Demo\xa3"
              "ext\x93\xa3GX1\xa3HA1\xa3GXP\xa9"
              "exception\xc0");
    static const gate_bytes_t alive = FRAME("\x82\xa6result\xc4\x03"
                                            "200\xa9"
                                            "exception\xc0");
    bool wants_info =
        request->n > 5 && request->frame[5].size == 5 &&
        memcmp((const char *)request->frame[5].data + 1, "info", 4) == 0;
    s_reply(w, request, wants_info ? info : alive);
}

/* Somewhere in it there is one that is nearly this. */
static bool s_is_near(gate_bytes_t frame, const char *rid) {
    const char *data = frame.data;
    for (size_t at = 0; at + 16 <= frame.size; at++) {
        size_t differ = 0;
        for (size_t i = 0; i < 16; i++)
            differ += data[at + i] != rid[i];
        if (differ > 0 && differ <= 8)
            return true;
    }
    return false;
}

/* A changed id may be another call's: clients count. A broker that answers that
 * one so is no mutant but a liar. Packed, or with a frame more or less, it may
 * stand anywhere. */
static bool s_lies(const message_t *m, const char *rid) {
    for (size_t i = 0; i < m->n; i++)
        if (s_is_near(m->frame[i], rid))
            return true;
    return false;
}

/* Changed ones, for the victims' calls. */
static void s_mutants(world_t *w, gate_bytes_t peer, int n) {
    while (n-- > 0 && w->n_rids) {
        message_t m = *mutate_pick(w->mutate);
        const char *rid = w->rid[mutate_random(w->mutate, RIDS) % w->n_rids];
        if (m.n > 3)
            m.frame[3] = (gate_bytes_t){rid, 16};
        const message_t *changed = w->packs ? mutate_packed(w->mutate, &m)
                                            : mutate_change(w->mutate, &m);
        if (!s_lies(changed, rid))
            raw_send_to(w->router, peer, changed);
    }
    atomic_store(&w->sent, mutate_count(w->mutate));
}

static int64_t s_at(const msgpack_object *args, size_t i) {
    return args->type == MSGPACK_OBJECT_ARRAY && args->via.array.size > i
               ? args->via.array.ptr[i].via.i64
               : -1;
}

static void s_add(world_t *w, const message_t *request) {
    unsigned char body[] = "\x82\xa6result\xd3"
                           "01234567\xa9"
                           "exception\xc0";
    gate_value_t *args = NULL;
    if (request->n < 7 ||
        gate_value_decode(request->frame[6].data, request->frame[6].size, NULL,
                          &args))
        child_die("an honest request of %zu frames, the last %.24s", request->n,
                  (const char *)request->frame[request->n - 1].data);
    const msgpack_object *o = gate_value_object(args);
    uint64_t sum = (uint64_t)(s_at(o, 0) + s_at(o, 1));
    gate_value_destroy(&args);
    for (int i = 0; i < 8; i++)
        body[9 + i] = (unsigned char)(sum >> (56 - 8 * i));
    s_reply(w, request, (gate_bytes_t){body, sizeof body - 1});
}

static void s_request(world_t *w, const raw_message_t *got) {
    const message_t *m = &got->m;
    w->packs = got->packed;
    w->packed += got->packed;
    if (m->n < 5)
        return;
    w->chunks += m->n == 7 && m->frame[5].size == 17;
    gate_bytes_t service = m->frame[3];
    if (service.size == 4 && memcmp(service.data, "Gate", 4) == 0) {
        s_gate(w, m);
    } else if (service.size == 4 && m->n == 6) {
        w->cancels++; /* it was given credit for what nobody waits for */
    } else if (service.size == 4) { /* Demo */
        s_mutants(w, m->frame[0], BATCH);
        s_add(w, m);
    } else if (m->frame[4].size == 16) {
        memcpy(w->rid[w->n_rids++ % RIDS], m->frame[4].data, 16);
        s_give_credit(w, m);
        s_mutants(w, m->frame[0], 3);
    }
}

static void *s_broker(void *arg) {
    world_t *w = arg;
    raw_message_t got;
    while (!atomic_load(&w->over))
        if (raw_take(w->router, 50, &got)) {
            s_request(w, &got);
            raw_free(&got);
        }
    raw_close(&w->router);
    return NULL;
}

/* ---- those who get what is changed --------------------------------------- */
typedef struct victim {
    world_t *w;
    gate_client_t *client;
    size_t calls;
    double longest;
    pthread_t thread;
} victim_t;

static void s_stream(gate_client_t *client) {
    gate_stream_t *stream = NULL;
    gate_value_t *item = NULL;
    gate_err_t e = gate_client_open(client, "GateRPC.gen", &stream, 3,
                                    gate_timeout_ms(VICTIM_MS));
    for (int i = 0; !e && i < 100; i++) {
        e = gate_stream_next(stream, &item);
        gate_value_destroy(&item);
    }
    gate_stream_destroy(&stream);
}

/* Arguments in chunks, when the broker's credit is not changed too much. */
static void s_huge(gate_client_t *client) {
    static const char zeros[300000];
    gate_err_t e = gate_client_call(
        client, "GateRPC.size", (void *)NULL, gate_bin(zeros, sizeof zeros),
        gate_meta("traceparent", "00-ab"), gate_timeout_ms(VICTIM_MS));
    (void)e; /* any will do */
}

static void *s_victim(void *arg) {
    victim_t *self = arg;
    while (!atomic_load(&self->w->over)) {
        double begin = child_now_ms();
        size_t n = self->calls++;
        if (n % 2) {
            s_stream(self->client);
        } else if (n % 8 == 0) {
            s_huge(self->client);
        } else {
            gate_value_t *value = NULL;
            gate_err_t e = gate_client_call(self->client, "GateRPC.echo",
                                            &value, gate_timeout_ms(VICTIM_MS));
            (void)e; /* any will do */
            gate_value_destroy(&value);
        }
        double ms = child_now_ms() - begin;
        self->longest = ms > self->longest ? ms : self->longest;
    }
    return NULL;
}

/* ---- the test ------------------------------------------------------------ */
static void s_until(world_t *w, size_t n) {
    double quiet = child_now_ms();
    size_t seen = 0;
    while (atomic_load(&w->sent) < n) {
        child_sleep_ms(5);
        if (atomic_load(&w->sent) != seen)
            quiet = child_now_ms();
        seen = atomic_load(&w->sent);
        if (child_now_ms() - quiet > 30000 * child_slow())
            child_die("nothing goes on after %zu messages", seen);
    }
}

static void s_test(world_t *w, gate_client_t *client) {
    size_t all = child_long() ? 500000 : child_scaled(60000, 2000);
    victim_t victim[VICTIMS];
    child_t self = {.pid = getpid()};
    ledger_t *ledger = ledger_new("honest beside mutants", 8000000);
    lanes_t *lanes = lanes_start(client, ledger, 4, 30000, 0);
    for (int i = 0; i < VICTIMS; i++) {
        victim[i] = (victim_t){.w = w, .client = client};
        if (pthread_create(&victim[i].thread, NULL, s_victim, &victim[i]))
            child_die("no thread");
    }
    s_until(w, all / 4);
    long kb = child_rss_kb(&self);
    s_until(w, all);
    kb = child_rss_kb(&self) - kb;
    lanes_stop(&lanes);
    atomic_store(&w->over, true);
    size_t calls = 0;
    double longest = 0;
    for (int i = 0; i < VICTIMS; i++) {
        pthread_join(victim[i].thread, NULL);
        calls += victim[i].calls;
        longest = victim[i].longest > longest ? victim[i].longest : longest;
    }
    printf("mutants: %zu messages at a client; %zu calls got them, the longest "
           "%.0f ms; %zu messages came packed, %zu chunks, %zu cancels; "
           "memory %+ld kB\n",
           atomic_load(&w->sent), calls, longest, w->packed, w->chunks,
           w->cancels, kb);
    child_check(w->packed > 0 && w->chunks > 0,
                "the client packs, and sends arguments in chunks");
    child_check(ledger_close(ledger), "the honest ledger");
    /* a stream of 100 items may take so long for each */
    child_check(longest < 101 * VICTIM_MS * child_slow(), "each call ended");
    child_check(kb < MEMORY_KB * child_slow(), "memory stays flat");
    ledger_destroy(&ledger);
}

int main(int argc, char **argv) {
    char endpoint[128];
    world_t w = {.mutate = mutate_new("broker->client", mutate_seed())};
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    setenv("GATE_MSGPACK_BIN_MAX", "65536", 1); /* more is huge */
    child_init(argc, argv);
    for (int i = 0; i < 8; i++) /* credit for arguments in chunks */
        mutate_add(w.mutate, &s_credit);
    w.router = raw_router(endpoint, sizeof endpoint);
    if (pthread_create(&w.thread, NULL, s_broker, &w))
        child_die("no thread");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, endpoint);
    s_test(&w, client);
    pthread_join(w.thread, NULL);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    raw_over();
    mutate_destroy(&w.mutate);
    return child_result();
}
