/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink.h -- the actor beside a broker that speaks with other brokers: it has a
 * carrier, a link to each of them, and knows who is there. Broker and uplink
 * exchange blocks (link_block.h) by their mailboxes; a block goes back to its
 * maker when it is used up, and that is the acknowledgement.
 * Thread: new, start, stop and destroy: one. Blocks: start, up to
 * uplink_wait_ms; destroy. */
#ifndef GI_UPLINK_H
#define GI_UPLINK_H

#include "link/link_block.h"
#include "mail/mailbox.h"
#include <gaterpc/settings.h>

typedef struct gi_uplink gi_uplink_t;

/* What a block is. */
typedef enum gi_uplink_what {
    GI_UPLINK_HELLO,  /* uplink: it runs, its mailbox may be used */
    GI_UPLINK_UP,     /* uplink: a life of the link to that node begins */
    GI_UPLINK_DATA,   /* records for a node, or from it: at_ms is their age */
    GI_UPLINK_DONE,   /* uplink: a block of the broker's, used there or lost */
    GI_UPLINK_USED,   /* broker: a block of the uplink's */
    GI_UPLINK_BAD,    /* broker: what came from that node is none; the same */
    GI_UPLINK_OFFERS, /* broker: announcements of revision seq, each behind its
                         length (4 bytes); bulk: it takes nothing new */
    GI_UPLINK_NEWS,   /* uplink: announcements of a node that is up, the same */
    GI_UPLINK_LOST,   /* uplink: the node's link ended; the text why */
    GI_UPLINK_STATE   /* uplink: gi_uplink_state_t and its nodes */
} gi_uplink_what_t;

#define GI_UPLINK_NAME 256

typedef struct gi_uplink_node {
    unsigned char id[GI_LINK_NODE_SIZE];
    bool up;
    char name[GI_UPLINK_NAME], zone[GI_UPLINK_NAME];
    int64_t round_us, since_ms; /* up or down since then */
    size_t kept_bytes;
    uint64_t resent, lost, stalled_ms;
} gi_uplink_node_t;

/* How it stands, told now and then. */
typedef struct gi_uplink_state {
    bool up;
    char server[GI_UPLINK_NAME], why[GI_UPLINK_NAME];
    size_t message_max; /* bytes that the carrier takes at once */
    uint64_t reconnects, links_lost, records_bytes_out, records_bytes_in,
        batches_out, batches_in, resent, stale, gaps, malformed, stalled_ms;
    size_t n_nodes;
    gi_uplink_node_t nodes[];
} gi_uplink_state_t;

/* ---- uplink_actor.c ------------------------------------------------------ */
/* Finds the carrier's library and looks at the settings, which it borrows until
 * destroy, urls too. GATE_BADARG, GATE_NOTIMPL: no such library. */
gate_err_t gi_uplink_new(const gate_settings_t *settings, const char *urls,
                         gi_uplink_t **out) GATE_MUST;
/* Starts its thread; blocks go to that mailbox, which outlives it. */
gate_err_t gi_uplink_start(gi_uplink_t *self, gi_mailbox_t *broker) GATE_MUST;
/* Says goodbye; its mailbox is closed then, but there until destroy. */
void gi_uplink_stop(gi_uplink_t *self);
void gi_uplink_destroy(gi_uplink_t **self_p);

/* Once it has said HELLO. */
gi_mailbox_t *gi_uplink_mailbox(gi_uplink_t *self);
const char *gi_uplink_name(const gi_uplink_t *self);
const char *gi_uplink_cluster(const gi_uplink_t *self);

#endif
