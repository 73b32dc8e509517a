/* SPDX-License-Identifier: BSD-3-Clause */
/* link_impl.h -- a link, seen by link_core.c (lives, what comes, time) and
 * link_send.c (what goes) alone. */
#ifndef GI_LINK_IMPL_H
#define GI_LINK_IMPL_H

#include "link/link_core.h"

/* So long an acknowledgement waits for data that it may go with: the answer to
 * what it is for, mostly. */
#define GI_LINK_OWES_MS 2

typedef enum gi_link_state {
    GI_LINK_NEW,
    GI_LINK_UP,
    GI_LINK_LOST_ONCE
} gi_link_state_t;

struct gi_link_core {
    const gi_link_effects_t *effects;
    void *ctx;
    unsigned char me[GI_LINK_NODE_SIZE], node[GI_LINK_NODE_SIZE];
    gi_link_state_t state;
    uint64_t seed;
    uint32_t gen, peer_gen, life;
    bool carrier;
    size_t records_max; /* bytes of a batch that the carrier takes */
    int64_t now_ms, tick_ms;
    int64_t beat_ms, silence_ms; /* of the slower of both */
    int64_t awake_ms;            /* nobody's silence counts from before it */
    int64_t heard_ms;            /* the last word of any kind */
    int64_t progress_ms;         /* the other side took something */
    int64_t said_ms;             /* the last message of this link */
    int64_t busy_ms;             /* the last data, in or out */
    int64_t hello_ms, hello_wait_ms; /* NEW: when the next HELLO is due */
    int64_t answer_ms, resume_ms;    /* the last ones, for S_PAUSE_MS */
    int64_t retry_ms;                /* LOST: when it is NEW again */
    /* sending */
    gi_list_t kept;          /* sent, not acknowledged, in order */
    gi_list_t waiting, bulk; /* not sent yet; they take turns */
    gi_list_t *again;        /* of kept: the next to be sent again, or NULL */
    size_t n_kept, kept_bytes, waiting_bytes;
    uint64_t next_seq, sent_bytes, granted;
    uint64_t resumed;   /* the number of the last RESUME that was obeyed */
    int64_t resumed_ms; /* and when */
    uint64_t probe_seq; /* a batch that tells the round trip; 0: none */
    int64_t probe_us, round_us;
    bool stalled;      /* something waited at the end of the last pass */
    int64_t pumped_ms; /* which was then */
    int64_t asked_ms;
    uint64_t n_put;
    bool bulk_turn;
    /* receiving */
    uint64_t expected, used_seq, used_bytes, got_bytes, grant, share;
    uint64_t acked_bytes; /* used_bytes when it was last said */
    bool owes;            /* used_seq or the grant has risen unsaid */
    int64_t owes_ms;      /* since then */
    gi_link_counts_t count;
};

/* ---- link_core.c --------------------------------------------------------- */
int64_t gi_link_core_now_us(const gi_link_core_t *self);

/* ---- link_send.c --------------------------------------------------------- */
void gi_link_send_head(gi_link_core_t *self, gi_link_kind_t kind,
                       unsigned char *to, uint64_t seq, int64_t age_ms,
                       size_t size, unsigned flags);
/* A whole message. */
void gi_link_send_out(gi_link_core_t *self, const unsigned char *message,
                      size_t size);
/* A head alone; nothing without a carrier. */
void gi_link_send_word(gi_link_core_t *self, gi_link_kind_t kind,
                       unsigned flags);

#endif
