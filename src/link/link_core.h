/* SPDX-License-Identifier: BSD-3-Clause */
/* link_core.h -- one broker's half of the link to another one, over a carrier
 * that may lose, double, delay and reorder: messages and time go in, messages
 * and whole records in order come out (docs/extensions.md, GXL).
 *
 *   NEW --both have echoed the other's gen--> UP --silence, bye, another gen,
 *    ^                                              nothing taken--> LOST
 *    `----------------half a heartbeat---------------------------------'
 *
 * Each life of a link has a random number on each side, its gen; nothing of one
 * life is ever taken for another's. Batches are numbered from 1 and kept until
 * the other side has used them; it takes them in order alone, and says which
 * one it misses.
 * Thread: one. Blocks: never. Units: ms on the caller's clock. Owns: the blocks
 * that were put, until they are given back.
 * Law: gi_link_core_valid. Bytes sent and not acknowledged are at most what was
 * granted and one batch; batches at most GI_LINK_KEPT_MAX; what is delivered is
 * a prefix of what was put, nothing twice; each block is given back once.
 * Survives: any head from any node; no memory. */
#ifndef GI_LINK_CORE_H
#define GI_LINK_CORE_H

#include "link/link_block.h"

#define GI_LINK_KEPT_MAX 4096
#define GI_LINK_ENDS \
    "the broker ends"       /* the reason of a life that was to end */
#define GI_LINK_BATCH 65536 /* a batch is not made larger by joining */

typedef struct gi_link_core gi_link_core_t;

typedef struct gi_link_effects {
    /* The carrier takes something now. */
    bool (*ready)(void *ctx);
    /* A whole message, head and all; borrowed. */
    void (*send)(void *ctx, const unsigned char *message, size_t size);
    void (*up)(void *ctx, uint32_t life);
    /* Everything that was put has been given back. why: a static text. */
    void (*lost)(void *ctx, const char *why);
    /* Records of this life, in order; borrowed. gi_link_core_used follows some time.
     * age_ms: how old they were when they were sent. */
    void (*data)(void *ctx, gate_bytes_t records, int64_t age_ms,
                 uint32_t life);
    /* Gives it back. */
    void (*done)(void *ctx, gi_link_block_t *block);
    /* A finer clock, for round trips; NULL: the ms that come. */
    int64_t (*now_us)(void *ctx);
} gi_link_effects_t;

typedef struct gi_link_core_counts {
    uint64_t batches_out, batches_in, bytes_out, bytes_in, resent, stale, gaps,
        malformed, lost,
        stalled_ms; /* the last: something waited for a grant */
} gi_link_counts_t;

/* seed: for gens. NULL: no memory. */
gi_link_core_t *gi_link_core_new(const unsigned char me[GI_LINK_NODE_SIZE],
                                 const unsigned char node[GI_LINK_NODE_SIZE],
                                 int64_t beat_ms, uint64_t seed,
                                 const gi_link_effects_t *effects, void *ctx,
                                 int64_t now_ms);
/* Gives back what it has; says nothing to anybody. */
void gi_link_core_destroy(gi_link_core_t **self_p);

/* A message of that node, of any kind but ANNOUNCE. */
void gi_link_core_message(gi_link_core_t *self, const gi_link_head_t *head,
                          gate_bytes_t rest, int64_t now_ms);
/* It was heard of otherwise; its heartbeat interval, 0: not known. */
void gi_link_core_heard(gi_link_core_t *self, int64_t beat_ms, int64_t now_ms);
/* ---- link_send.c --------------------------------------------------------- */
/* Takes a block of records of that life; a stale one is given back at once. A
 * bulk one stays behind what was put before it, later ones may overtake it. */
void gi_link_core_put(gi_link_core_t *self, gi_link_block_t *block);
/* ---- link_core.c --------------------------------------------------------- */
/* Whoever got data has used it: n batches of so many bytes, of that life. */
void gi_link_core_used(gi_link_core_t *self, uint32_t life, unsigned n,
                       size_t bytes);
/* The carrier takes messages of so many bytes, head and all; 0: any. What is kept
 * and larger, from another server's time, ends this life. */
void gi_link_core_bound(gi_link_core_t *self, size_t message_max);
/* So many bytes may wait here unused. */
void gi_link_core_share(gi_link_core_t *self, size_t bytes);
/* The carrier is there (again), or away. */
void gi_link_core_carrier(gi_link_core_t *self, bool up, int64_t now_ms);
/* Ends this life; why is a static text, told to the other side. */
void gi_link_core_end(gi_link_core_t *self, const char *why, int64_t now_ms);
/* What is due: heartbeats, questions, silence. */
void gi_link_core_tick(gi_link_core_t *self, int64_t now_ms);
/* When to tick again. */
int64_t gi_link_core_next(const gi_link_core_t *self);
/* Data went to it or came from it lately. */
bool gi_link_core_is_active(const gi_link_core_t *self, int64_t now_ms);
/* ---- link_send.c --------------------------------------------------------- */
/* Sends what may go. Once at the end of a pass. True: something went. */
bool gi_link_core_pump(gi_link_core_t *self, int64_t now_ms);

bool gi_link_core_is_up(const gi_link_core_t *self);
size_t
gi_link_core_kept_bytes(const gi_link_core_t *self); /* sent, and not yet */
int64_t
gi_link_core_round_us(const gi_link_core_t *self); /* smoothed round trip */
const gi_link_counts_t *gi_link_core_counts(const gi_link_core_t *self);
bool gi_link_core_valid(const gi_link_core_t *self);

#endif
