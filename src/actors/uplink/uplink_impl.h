/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_impl.h -- what the files of the uplink share. All of it is the actor's
 * own once it runs. */
#ifndef GI_UPLINK_IMPL_H
#define GI_UPLINK_IMPL_H

#include "link/carrier.h"
#include "link/link_core.h"
#include "link/link_dir.h"
#include "net/actor.h"
#include "base/table.h"
#include "settings/settings.h"
#include "uplink/uplink.h"

#define GI_UPLINK_SUBJECT 96

/* Another broker. */
typedef struct gi_uplink_peer {
    gi_list_t place; /* in self->peers */
    gi_uplink_t *uplink;
    gi_link_core_t *link;
    unsigned char id[GI_LINK_NODE_SIZE];
    char subject[GI_UPLINK_SUBJECT];
    gi_link_dir_t dir; /* what it says of itself */
    int64_t heard_ms, since_ms;
} gi_uplink_peer_t;

struct gi_uplink {
    const gate_settings_t *settings;
    const char *urls;
    gi_actor_t *actor;
    gi_mailbox_t *broker;
    gi_list_t outbox; /* blocks that the broker's mailbox had no room for */
    /* the carrier */
    void *library;
    const gi_carrier_ops_t *ops;
    gi_carrier_t *carrier; /* NULL: none is open */
    gi_carrier_wish_t wish;
    char *password;
    char nkey[GI_CARRIER_NKEY + 1]; /* the public one */
    bool readable, was_up;
    int64_t open_ms, open_wait_ms; /* when the next try is due */
    char why[GI_CARRIER_TEXT], told_why[GI_CARRIER_TEXT];
    uint64_t reconnects, n_ups;
    /* ourselves */
    unsigned char me[GI_LINK_NODE_SIZE];
    char name[GI_UPLINK_NAME], cluster[40], prefix[40];
    char all[GI_UPLINK_SUBJECT], mine[GI_UPLINK_SUBJECT];
    gi_link_block_t *offers; /* what we announce; NULL: nothing yet */
    bool draining;
    int64_t beat_at_ms, full_at_ms, state_at_ms;
    /* the others */
    gi_list_t peers;
    size_t n_peers;
    uint64_t seed, malformed, links_lost;
    gi_link_counts_t past; /* of links that are no more */
    gi_buf_t body;
    bool changed; /* the state should be told now */
    bool version_told, full_told;
    bool ends; /* we do: nobody else is lost */
};

/* ---- uplink_carrier.c ---------------------------------------------------- */
gate_err_t gi_uplink_carrier_find(gi_uplink_t *self) GATE_MUST;
/* Tries to open it when that is due; notes that it is up or down. */
bool gi_uplink_carrier_work(gi_uplink_t *self, int64_t now_ms);
/* Tries until it is open or so long is over. */
gate_err_t gi_uplink_carrier_await(gi_uplink_t *self,
                                   int64_t timeout_ms) GATE_MUST;
void gi_uplink_carrier_close(gi_uplink_t *self);
bool gi_uplink_carrier_up(const gi_uplink_t *self);
/* A word of a callback, as mail: its lowest bit is set, a block's never. */
void *gi_uplink_carrier_mail(gi_carrier_word_t word);
bool gi_uplink_carrier_told(gi_uplink_t *self, void *mail);
void gi_uplink_carrier_fini(gi_uplink_t *self);

/* ---- uplink_peers.c ------------------------------------------------------ */
/* A message that the carrier brought. */
void gi_uplink_message(gi_uplink_t *self, gate_bytes_t message, int64_t now_ms);
gi_uplink_peer_t *gi_uplink_peer_of(gi_uplink_t *self, const unsigned char *id);
void gi_uplink_peers_carrier(gi_uplink_t *self, bool up, int64_t now_ms);
/* Announcements, heartbeats, who is silent; what links have to send. */
bool gi_uplink_peers_work(gi_uplink_t *self, int64_t now_ms);
int64_t gi_uplink_peers_next(const gi_uplink_t *self);
void gi_uplink_peers_end(gi_uplink_t *self, const char *why, int64_t now_ms);
/* Publishes an announcement: all of it, or the revision alone. */
void gi_uplink_announce(gi_uplink_t *self, const char *subject, bool all);

/* ---- uplink_actor.c ------------------------------------------------------ */
/* Gives a block to the broker. */
void gi_uplink_tell(gi_uplink_t *self, gi_link_block_t *block);

#endif
