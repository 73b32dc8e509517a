/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_uplink_impl.h -- what the two halves of the broker's uplink share: out
 * (broker_uplink.c) and in (broker_uplink_in.c). */
#ifndef GI_BROKER_UPLINK_IMPL_H
#define GI_BROKER_UPLINK_IMPL_H

#include "broker/shell/broker_uplink.h"
#include "base/table.h"
#include "settings/settings.h"
#include "link/link_parts.h"
#include "wire/mdp.h"
#include "wire/rpc.h"

#define GI_BROKER_BULK_MAX 64

/* A client that has large records under way, and how many blocks of them. */
typedef struct gi_broker_bulk {
    uint64_t key;
    unsigned n;
} gi_broker_bulk_t;

/* A node whose link is up. */
typedef struct gi_broker_link {
    gi_list_t place;
    unsigned char node[GI_LINK_NODE_SIZE];
    uint32_t life, fragment;
    gi_link_block_t *open; /* what is written in this pass; NULL: nothing */
    size_t under_way;      /* bytes that have not come back */
    gi_broker_bulk_t bulk[GI_BROKER_BULK_MAX];
    unsigned n_bulk;
    gi_link_parts_t parts;
    bool bad; /* what it sends cannot be read: its end is on the way */
} gi_broker_link_t;

typedef struct gi_broker_record {
    gi_link_type_t type;
    unsigned flags, n;
    uint64_t key; /* its client */
    gate_bytes_t f[GI_FRAMES_MAX];
} gi_broker_record_t;

struct gi_broker_uplink {
    const gate_settings_t *settings;
    gi_uplink_t *uplink;
    gi_broker_core_t *core;
    unsigned workers, clients; /* the core's sockets that are none */
    bool runs;                 /* its mailbox may be used */
    gi_list_t outbox, links;
    gi_list_t used; /* blocks of others: they go with ours, or a little later */
    size_t used_bytes;
    int64_t used_ms;        /* since then the first of them waits */
    gi_broker_link_t *last; /* looked up */
    size_t whole_max;       /* a larger record goes in fragments */
    uint64_t offered;       /* the revision that was announced */
    bool offered_drain;
    int64_t offer_ms;       /* not before */
    gi_link_block_t *state; /* what the uplink said of itself; NULL */
    uint64_t requests_out, replies_out, records_out, records_in, fragments,
        malformed;
    gi_buf_t body;
    char name[600];
};

/* ---- broker_uplink.c ----------------------------------------------------- */
gi_broker_link_t *gi_broker_uplink_link(gi_broker_uplink_t *self,
                                        const unsigned char *node);
void gi_broker_uplink_drop_link(gi_broker_uplink_t *self,
                                gi_broker_link_t *link);
void gi_broker_uplink_give(gi_broker_uplink_t *self, gi_link_block_t *block);
/* A block of another broker's is used up. */
void gi_broker_uplink_used(gi_broker_uplink_t *self, gi_link_block_t *block,
                           int64_t now_ms);
/* A block of ours is back. */
void gi_broker_uplink_done(gi_broker_uplink_t *self, gi_link_block_t *block);
/* The carrier takes so much at once. */
void gi_broker_uplink_bound(gi_broker_uplink_t *self, size_t message_max);

/* ---- broker_uplink_news.c ------------------------------------------------ */
/* Announces what we offer, when that has changed and it is time. */
void gi_broker_uplink_offer(gi_broker_uplink_t *self, int64_t now_ms);
bool gi_broker_uplink_offered(const gi_broker_uplink_t *self);
/* What a node announces becomes far workers. */
void gi_broker_uplink_news(gi_broker_uplink_t *self, gi_link_block_t *block,
                           int64_t now_ms);

#endif
