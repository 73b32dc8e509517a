/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_broker_core.c -- sequences of events at the broker's core: each byte
 * pair is one. After each the core's law must hold; at the end, when all
 * workers have fallen silent and all queues are drained, every request that was
 * taken must have had exactly one final message, unless its client cancelled or
 * vanished. */
#include <errno.h>
#include <gaterpc/log.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/broker_core.h"
#include "broker/gate/broker_gate.h"
#include "mail/logring.h"
#include "wire/rpc.h"
#include "settings/settings.h"
#include "input.h"

enum { FRONT, BACK, CLIENTS = 3, WORKERS = 4, IDS = 6, PEERS = 7, FDS = 8 };
/* Peers whose routing id the socket made: gone with their connection. */
enum { FLEETING_CLIENT = 2, FLEETING_WORKER = 6, FLEETING_SIZE = 5 };

/* What is owed for one (client, id). */
typedef struct s_account {
    unsigned taken, final, excused;
} s_account_t;

typedef struct s_world {
    gi_broker_core_t *core;
    int64_t now;
    s_account_t accounts[CLIENTS][IDS];
    unsigned char mood[PEERS];      /* 0 fine, 1 full, 2 gone */
    uint64_t open[FDS];             /* connections; 0: closed */
    uint64_t cancelled, duplicates; /* as counted last */
    fuzz_input_t in;
} s_world_t;

static bool s_fleeting(unsigned peer) {
    return peer == FLEETING_CLIENT || peer == FLEETING_WORKER;
}

static size_t s_id(unsigned peer, char id[FLEETING_SIZE]) {
    size_t n = s_fleeting(peer) ? FLEETING_SIZE : 1;
    memset(id, 0, n);
    id[n - 1] = (char)('a' + peer);
    return n;
}

/* ---- what the core sends ------------------------------------------------- */
static void s_excuse(s_world_t *w, unsigned client) {
    for (unsigned i = 0; i < IDS; i++) {
        s_account_t *a = &w->accounts[client][i];
        a->excused = a->taken - a->final;
    }
}

static void s_book(s_world_t *w, unsigned client, const gate_bytes_t *f,
                   unsigned n) {
    fuzz_must(n >= 6);
    unsigned id =
        f[4].size == 1 ? *(const unsigned char *)f[4].data - 'A' : IDS;
    if (id >= IDS)
        return;
    s_account_t *a = &w->accounts[client][id];
    if (gi_body_is_final(gi_rpc_body_kind(f + 5, n - 5)))
        a->final++;
    fuzz_must(a->final <= a->taken);
}

static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    s_world_t *w = ctx;
    gate_bytes_t f[GI_FRAMES_MAX];
    gi_frames_view(frames, 0, f);
    unsigned peer =
        ((const unsigned char *)f[0].data)[f[0].size - 1] - (unsigned)'a';
    fuzz_must(peer < PEERS && (socket == BACK) == (peer >= CLIENTS));
    if (w->mood[peer] == 1)
        return EAGAIN;
    if (w->mood[peer] == 2) {
        if (socket == FRONT)
            s_excuse(w, peer);
        return EHOSTUNREACH;
    }
    if (socket == FRONT)
        s_book(w, peer, f, frames->n);
    gi_frames_close(frames);
    return 0;
}

static uint64_t s_connection(void *ctx, int fd) {
    return ((s_world_t *)ctx)->open[fd % FDS];
}

static bool s_strict(void *ctx, zmq_msg_t *frame) {
    (void)ctx;
    return *(const char *)zmq_msg_data(frame) == 'b';
}

static const gi_broker_effects_t s_effects = {.gate = &gi_broker_internal_ops,
                                              .send = s_send,
                                              .connection = s_connection,
                                              .strict = s_strict};

/* ---- what peers say ------------------------------------------------------ */
#define ADD(m, text) gi_frames_add(m, text, sizeof text - 1)

static void s_start(gi_frames_t *m, unsigned peer, const char *tag) {
    char id[FLEETING_SIZE];
    m->n = 0;
    gi_frames_add(m, id, s_id(peer, id));
    gi_frames_add(m, NULL, 0);
    gi_frames_add(m, tag, 6);
}

static void s_hear(s_world_t *w, unsigned socket, gi_frames_t *m, unsigned fd) {
    gi_broker_core_message(w->core, socket, m, fd ? (int)fd : -1, w->now);
    fuzz_must(m->n == 0);
}

static uint64_t s_count(const s_world_t *w, const char *name) {
    return gi_broker_core_count(w->core, name);
}

/* How far a counter has come since the last time. */
static unsigned s_news(const s_world_t *w, const char *name, uint64_t *last) {
    uint64_t now = s_count(w, name), news = now - *last;
    *last = now;
    return (unsigned)news;
}

static void s_add_ext(s_world_t *w, gi_frames_t *m) {
    switch (fuzz_byte(&w->in) % 5) {
    case 0:
        ADD(m, GI_EXT_MAGIC "\x80");
        break;
    case 1:
        ADD(m, GI_EXT_MAGIC "\x81\xa2"
                            "ci\x05");
        break;
    case 2:
        ADD(m, GI_EXT_MAGIC "\x81\xa1x\xc3");
        break;
    case 3:
        ADD(m, GI_EXT_MAGIC "\x82\xa1t\x30\xa1u\xa4root");
        break;
    default:
        ADD(m, GI_EXT_MAGIC "\x81");
    }
}

static void s_request(s_world_t *w, unsigned how) {
    static const char *const names[] = {"S", "T", "Gate", "X"};
    gi_frames_t m;
    unsigned client = how % CLIENTS, b = fuzz_byte(&w->in), n = b / 64,
             fd = how / 16 % 4;
    char id = (char)('A' + b % IDS);
    const char *name = names[how / 4 % 4];
    s_start(&m, client, GI_MDP_CLIENT);
    gi_frames_add(&m, name, strlen(name));
    gi_frames_add(&m, &id, 1);
    if (how & 128) { /* a control message */
        s_add_ext(w, &m);
        s_hear(w, FRONT, &m, fd);
        w->accounts[client][b % IDS].excused +=
            s_news(w, "cancelled", &w->cancelled);
        return;
    }
    ADD(&m, "\xa4info");
    if (n > 0)
        ADD(&m, "\x90");
    if (n > 1)
        ADD(&m, "\x80");
    if (n > 2)
        s_add_ext(w, &m);
    w->accounts[client][b % IDS].taken++; /* the answer may come at once */
    s_hear(w, FRONT, &m, fd);
    w->accounts[client][b % IDS].taken -=
        s_news(w, "duplicate_ids", &w->duplicates);
}

static void s_worker(s_world_t *w, unsigned how) {
    static const char *const lines[] = {"S:d:1",    "S:d:3", "T:d:0", "T",
                                        "Gate:d:1", "S:x",   "T:d:9", ""};
    gi_frames_t m;
    unsigned b = fuzz_byte(&w->in), worker = CLIENTS + how % WORKERS;
    const char *line = lines[b % 8];
    s_start(&m, worker, GI_MDP_WORKER);
    switch (how / 4 % 4) {
    case 0:
        ADD(&m, "\1");
        gi_frames_add(&m, line, strlen(line));
        break;
    case 1:
        ADD(&m, "\5");
        break;
    default:
        ADD(&m, "\4");
        if (b & 1)
            s_add_ext(w, &m);
    }
    s_hear(w, BACK, &m, b / 64);
}

static void s_reply(s_world_t *w, unsigned how) {
    gi_frames_t m;
    unsigned b = fuzz_byte(&w->in);
    char client[FLEETING_SIZE], id = (char)('A' + b / 4 % 8);
    s_start(&m, CLIENTS + how % WORKERS, GI_MDP_WORKER);
    ADD(&m, "\3");
    gi_frames_add(&m, client, s_id(b % 4, client));
    gi_frames_add(&m, NULL, 0);
    gi_frames_add(&m, &id, 1);
    switch (how / 4 % 8) {
    case 0:
        ADD(&m, GI_STREAM_TAG);
        ADD(&m, GI_STREAM_END);
        break;
    case 1:
        ADD(&m, GI_STREAM_TAG);
        ADD(&m, GI_STREAM_EXCEPTION);
        ADD(&m, "\xc0");
        break;
    case 2:
    case 3:
        ADD(&m, GI_STREAM_TAG);
        ADD(&m, "\x01");
        break;
    case 4:
        ADD(&m, GI_HUGE_TAG);
        ADD(&m, "chunk");
        break;
    case 5:
        ADD(&m, "no");
        ADD(&m, "tag");
        break;
    case 6:
        break;
    default:
        ADD(&m, "\xc0");
    }
    s_hear(w, BACK, &m, how / 32 % 4);
}

/* Frames of the fuzzer's own choice. */
static void s_anything(s_world_t *w, unsigned how) {
    gi_frames_t m;
    unsigned back = how & 1, n = how / 2 % 16;
    s_start(&m, back ? CLIENTS : 0, back ? GI_MDP_WORKER : GI_MDP_CLIENT);
    while (n-- > 0) {
        gate_bytes_t some = fuzz_some(&w->in, 8);
        gi_frames_add(&m, some.data, some.size);
    }
    /* it may be a request: what is owed for it is not followed */
    memset(w->accounts[0], 0, sizeof w->accounts[0]);
    for (unsigned i = 0; i < IDS; i++)
        w->accounts[0][i].taken = w->accounts[0][i].excused = 1000000;
    s_hear(w, back ? BACK : FRONT, &m, 0);
    s_news(w, "duplicate_ids", &w->duplicates);
    s_news(w, "cancelled", &w->cancelled);
}

/* what 0: an old event, 1: there is another connection, 2: there is none. */
static void s_closed(s_world_t *w, unsigned socket, unsigned fd,
                     unsigned what) {
    if (what)
        w->open[fd] = what == 1 ? w->open[fd] + 8 : 0;
    gi_broker_core_closed(w->core, socket, (int)fd, w->now);
}

static void s_step(s_world_t *w) {
    unsigned op = fuzz_byte(&w->in), how = fuzz_byte(&w->in);
    switch (op % 10) {
    case 0:
    case 1:
        s_request(w, how);
        break;
    case 2:
        s_worker(w, how);
        break;
    case 3:
    case 4:
        s_reply(w, how);
        break;
    case 5:
        w->mood[how % PEERS] = (unsigned char)(how / PEERS % 3);
        break;
    case 6:
        w->now += how * how;
        gi_broker_core_tick(w->core, w->now);
        break;
    case 7:
        gi_broker_core_retry(w->core, how % 4, w->now);
        break;
    case 8:
        s_closed(w, how & 1, how / 2 % 4, how / 8 % 3);
        break;
    default:
        s_anything(w, how);
    }
    fuzz_must(gi_broker_core_valid(w->core));
}

static void s_end(s_world_t *w) {
    memset(w->mood, 0, sizeof w->mood);
    for (int i = 0; i < 1000 && !gi_broker_core_idle(w->core); i++) {
        w->now += 50;
        gi_broker_core_tick(w->core, w->now);
        gi_broker_core_retry(w->core, 64, w->now);
    }
    fuzz_must(gi_broker_core_valid(w->core) && gi_broker_core_idle(w->core));
    if (s_count(w, "dropped_full") || s_count(w, "no_memory"))
        return;
    for (unsigned c = 0; c < CLIENTS; c++) {
        if (c == FLEETING_CLIENT &&
            (s_count(w, "orphaned") || s_count(w, "dropped_gone")))
            continue; /* gone for good with a connection, without a send */
        for (unsigned i = 0; i < IDS; i++) {
            s_account_t *a = &w->accounts[c][i];
            fuzz_must(a->taken - a->final <= a->excused);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static gate_settings_t *settings;
    s_world_t w = {.now = 1000000, .in = {data, size}};
    unsigned number;
    for (unsigned i = 0; i < FDS; i++)
        w.open[i] = i + 1;
    if (settings == NULL) {
        gi_log_levels(GATE_SILENT, "");
        settings = gate_settings_new();
        settings->mdp_heartbeat_interval = 1000;
        settings->timeout = 5;
        settings->queue_max = 4;
        settings->peer_queue_max = 8;
    }
    w.core =
        gi_broker_core_new(settings, (const unsigned char *)"0123456789abcdef",
                           &s_effects, &w, w.now);
    fuzz_must(w.core && !gi_broker_core_socket(w.core, false, &number) &&
              !gi_broker_core_socket(w.core, true, &number));
    while (w.in.size)
        s_step(&w);
    s_end(&w);
    gi_broker_core_destroy(&w.core);
    return 0;
}
