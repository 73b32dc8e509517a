/* SPDX-License-Identifier: BSD-3-Clause */
/* link_world.h -- two halves of a link over a carrier in memory that loses,
 * doubles, delays and reorders by seed, and a clock that only this turns. What
 * is put in on one side is numbered; what comes out is checked. */
#ifndef GI_TEST_LINK_WORLD_H
#define GI_TEST_LINK_WORLD_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "link/link_core.h"

#define W_FLIGHT 4096

typedef struct w_message {
    int64_t due_ms;
    uint64_t order;
    int to;
    size_t size;
    unsigned char *data;
} w_message_t;

typedef struct w_world w_world_t;

typedef struct w_half {
    w_world_t *world;
    int me;
    gi_link_core_t *link;
    bool up;
    uint32_t life;
    uint64_t put, given_back, next_out, next_in, lives, losses;
    unsigned unused; /* batches that came and are not used yet */
    size_t unused_bytes;
    uint32_t expects; /* the life whose records come, by their first number */
} w_half_t;

struct w_world {
    w_half_t half[2];
    w_message_t flight[W_FLIGHT];
    size_t n_flight;
    int64_t now_ms;
    uint64_t seed, order;
    unsigned loss, twice, slow; /* percent */
    int64_t delay_ms;
    size_t most; /* bytes of a message; 0: any */
    bool cut[2]; /* nothing comes out that way */
    bool full;
};

static inline uint64_t w_random(w_world_t *w, uint64_t below) {
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (w->seed >> 33) % below;
}

static inline bool w_ready(void *ctx) {
    return ((w_half_t *)ctx)->world->n_flight < W_FLIGHT - 8;
}

static inline void w_throw(w_world_t *w, int to, const unsigned char *data,
                           size_t size) {
    if (w->n_flight == W_FLIGHT || w_random(w, 100) < w->loss || w->cut[to])
        return;
    int64_t late = w_random(w, 100) < w->slow
                       ? (int64_t)w_random(w, (uint64_t)w->delay_ms + 1)
                       : 0;
    unsigned char *copy = malloc(size);
    assert(copy);
    memcpy(copy, data, size);
    w->flight[w->n_flight++] =
        (w_message_t){w->now_ms + 1 + late, w->order++, to, size, copy};
}

static inline void w_send(void *ctx, const unsigned char *data, size_t size) {
    w_half_t *half = ctx;
    assert(half->world->most == 0 || size <= half->world->most);
    w_throw(half->world, !half->me, data, size);
    if (w_random(half->world, 100) < half->world->twice)
        w_throw(half->world, !half->me, data, size);
}

static inline void w_up(void *ctx, uint32_t life) {
    w_half_t *half = ctx;
    half->up = true;
    half->life = life;
    half->lives++;
    half->next_out = half->next_in = 0;
    half->unused = 0;
    half->unused_bytes = 0;
}

static inline void w_lost(void *ctx, const char *why) {
    w_half_t *half = ctx;
    assert(why);
    half->up = false;
    half->losses++;
    assert(half->put == half->given_back); /* each, once */
}

/* Records are 8 byte numbers, then filling. */
static inline void w_data(void *ctx, gate_bytes_t records, int64_t age_ms,
                          uint32_t life) {
    w_half_t *half = ctx;
    assert(life == half->life);
    gate_bytes_t rest = records;
    assert(age_ms >= 0);
    while (rest.size) {
        gi_link_record_t record;
        gate_bytes_t f[2];
        unsigned n;
        uint64_t number;
        gate_err_t e = gi_link_record_next(&rest, &record);
        assert(!e);
        e = gi_link_record_frames(record.body, 2, f, &n);
        assert(!e && n == 2 && f[0].size == sizeof number);
        memcpy(&number, f[0].data, sizeof number);
        assert(number == half->next_in); /* in order, none lost, none twice */
        half->next_in++;
    }
    half->unused++;
    half->unused_bytes += records.size;
}

static inline void w_done(void *ctx, gi_link_block_t *block) {
    w_half_t *half = ctx;
    half->given_back += block->credit;
    gi_link_block_free(block);
}

static const gi_link_effects_t w_effects = {.ready = w_ready,
                                            .send = w_send,
                                            .up = w_up,
                                            .lost = w_lost,
                                            .data = w_data,
                                            .done = w_done};

static inline void w_init(w_world_t *w, uint64_t seed) {
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->now_ms = 1000000;
    w->delay_ms = 50;
    for (int i = 0; i < 2; i++) {
        unsigned char me[8] = {(unsigned char)i, 1}, node[8] = {!i, 1};
        w->half[i] = (w_half_t){.world = w, .me = i};
        w->half[i].link =
            gi_link_core_new(me, node, 1000, seed * 2 + (uint64_t)i, &w_effects,
                             &w->half[i], w->now_ms);
        assert(w->half[i].link);
        gi_link_core_carrier(w->half[i].link, true, w->now_ms);
    }
}

static inline void w_fini(w_world_t *w) {
    for (int i = 0; i < 2; i++) {
        gi_link_core_destroy(&w->half[i].link);
        assert(w->half[i].put == w->half[i].given_back);
    }
    while (w->n_flight)
        free(w->flight[--w->n_flight].data);
}

/* A block of some records; size of each one's filling. */
static inline void w_put(w_world_t *w, int from, unsigned records,
                         size_t size) {
    w_half_t *half = &w->half[from];
    static const unsigned char filling[70000];
    assert(size <= sizeof filling);
    gate_bytes_t f[2] = {{NULL, 8}, {filling, size}};
    gi_link_block_t *b = gi_link_block_new(records * gi_link_record_size(f, 2));
    assert(b);
    unsigned char *at = gi_link_block_bytes(b);
    for (unsigned i = 0; i < records; i++) {
        uint64_t number = half->up ? half->next_out++ : 0;
        f[0].data = &number;
        at = gi_link_record_write(GI_LINK_REPLY, 0, f, 2, at);
    }
    b->size = (size_t)(at - gi_link_block_bytes(b));
    b->life = half->life;
    b->at_ms = w->now_ms;
    b->credit = 1;
    half->put++;
    gi_link_core_put(half->link, b);
}

/* Up to n batches that came are used. */
static inline void w_use(w_world_t *w, int at, unsigned n) {
    w_half_t *half = &w->half[at];
    n = n < half->unused ? n : half->unused;
    size_t bytes = n ? half->unused_bytes / half->unused * n : 0;
    if (n == half->unused)
        bytes = half->unused_bytes;
    half->unused -= n;
    half->unused_bytes -= bytes;
    if (n)
        gi_link_core_used(half->link, half->life, n, bytes);
}

/* The next message that is due, by time, then order. */
static inline bool w_deliver(w_world_t *w) {
    size_t best = w->n_flight;
    for (size_t i = 0; i < w->n_flight; i++) {
        w_message_t *m = &w->flight[i];
        if (m->due_ms <= w->now_ms &&
            (best == w->n_flight || m->due_ms < w->flight[best].due_ms ||
             (m->due_ms == w->flight[best].due_ms &&
              m->order < w->flight[best].order)))
            best = i;
    }
    if (best == w->n_flight)
        return false;
    w_message_t m = w->flight[best];
    w->flight[best] = w->flight[--w->n_flight];
    gi_link_head_t head;
    gate_bytes_t rest;
    if (gi_link_head_parse((gate_bytes_t){m.data, m.size}, &head, &rest) ==
        GATE_OK)
        gi_link_core_message(w->half[m.to].link, &head, rest, w->now_ms);
    free(m.data);
    return true;
}

static inline void w_pass(w_world_t *w, int64_t ms) {
    w->now_ms += ms;
    while (w_deliver(w))
        continue;
    for (int i = 0; i < 2; i++) {
        gi_link_core_tick(w->half[i].link, w->now_ms);
        gi_link_core_pump(w->half[i].link, w->now_ms);
        assert(gi_link_core_valid(w->half[i].link));
    }
}

/* From now on the carrier is well: everything that was put comes out. */
static inline bool w_settle(w_world_t *w) {
    w->loss = w->twice = w->slow = 0;
    w->cut[0] = w->cut[1] = false;
    for (int i = 0; i < 40000; i++) {
        w_pass(w, 5);
        w_use(w, 0, 1000);
        w_use(w, 1, 1000);
        if (w->half[0].up && w->half[1].up &&
            w->half[0].put == w->half[0].given_back &&
            w->half[1].put == w->half[1].given_back)
            return w->half[0].next_out == w->half[1].next_in &&
                   w->half[1].next_out == w->half[0].next_in;
    }
    return false;
}

/* Another server, which takes messages of so many bytes. */
static inline void w_server(w_world_t *w, size_t most) {
    w->most = most;
    for (int i = 0; i < 2; i++) {
        gi_link_core_bound(w->half[i].link, most);
        gi_link_core_carrier(w->half[i].link, true, w->now_ms);
    }
}

/* One step by two bytes: what happens, and how much. */
static inline void w_step(w_world_t *w, unsigned op, unsigned n) {
    switch (op % 10) {
    case 0:
    case 1:
    case 2:
        w_put(w, (int)(n & 1), 1 + n % 7, n * 37 % 3000);
        break;
    case 3:
        w_put(w, (int)(n & 1), 1, 60000);
        break;
    case 4:
    case 5:
        w_use(w, (int)(n & 1), n);
        break;
    case 6:
        w_pass(w, n % 50);
        break;
    case 7:
        w_pass(w, n * 8); /* up to two seconds */
        break;
    case 8:
        gi_link_core_carrier(w->half[n & 1].link, n & 2, w->now_ms);
        if (n & 64)
            w_server(w, n & 32 ? 0 : 61000 + n % 32 * 200);
        break;
    default:
        w->cut[n & 1] = n & 2 && n & 4;
        w->loss = n & 8 ? n % 50 : 0;
        w->twice = n & 16 ? n % 40 : 0;
        w->slow = n & 32 ? n % 60 : 0;
        w->delay_ms = n;
        break;
    }
    w_pass(w, 1);
}

static inline void w_heal(w_world_t *w) {
    gi_link_core_carrier(w->half[0].link, true, w->now_ms);
    gi_link_core_carrier(w->half[1].link, true, w->now_ms);
    bool well = w_settle(w);
    if (!well)
        fprintf(stderr, "not settled: up %d %d put %llu %llu back %llu %llu\n",
                w->half[0].up, w->half[1].up,
                (unsigned long long)w->half[0].put,
                (unsigned long long)w->half[1].put,
                (unsigned long long)w->half[0].given_back,
                (unsigned long long)w->half[1].given_back);
    assert(well);
}

#endif
