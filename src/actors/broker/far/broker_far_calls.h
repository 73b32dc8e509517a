/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_far_calls.h -- the core and other brokers, as the shell sees it: what
 * they offer and send goes in, what is for them leaves through effects->send to
 * two sockets that are none. */
#ifndef GI_BROKER_FAR_CALLS_H
#define GI_BROKER_FAR_CALLS_H

#include "broker/core/broker_core.h"
#include "link/link_news.h"

/* ---- other brokers (broker_far.c); a node is 8 bytes ---------------------- */
/* What is known of one. */
typedef struct gi_broker_far_news {
    gate_bytes_t name;
    bool same_zone, draining;
    const gi_link_offer_t *offers;
    size_t n_offers;
} gi_broker_far_news_t;

/* Makes the sockets that are no sockets: send gets messages for far workers,
 * whose id is node and index, and far clients, whose id is node and client's
 * id; of these the second frame is GI_LINK_UNRUN and GI_LINK_LOST, or empty.
 * believe: users that links name. */
gate_err_t gi_broker_core_far(gi_broker_core_t *self, bool believe,
                              unsigned *workers, unsigned *clients) GATE_MUST;
/* What that node offers now, all of it. */
void gi_broker_core_far_news(gi_broker_core_t *self, const unsigned char *node,
                             const gi_broker_far_news_t *news, int64_t now_ms);
/* It cannot be reached any more: its workers are lost, its clients gone. */
void gi_broker_core_far_lost(gi_broker_core_t *self, const unsigned char *node,
                             int64_t now_ms);
/* It takes so many more calls of its service. */
void gi_broker_core_far_share(gi_broker_core_t *self, const unsigned char *node,
                              uint32_t index, uint32_t share, int64_t now_ms);
/* What it sent, as the frames of a record (link_codec.h); borrowed. False: they
 * are none of that type. age_ms: how long ago it was sent. */
/* ---- broker_far_calls.c -------------------------------------------------- */
bool gi_broker_core_far_request(gi_broker_core_t *self,
                                const unsigned char *node,
                                const gate_bytes_t *f, unsigned n,
                                int64_t age_ms, int64_t now_ms);
bool gi_broker_core_far_control(gi_broker_core_t *self,
                                const unsigned char *node,
                                const gate_bytes_t *f, unsigned n,
                                int64_t now_ms);
bool gi_broker_core_far_reply(gi_broker_core_t *self, const unsigned char *node,
                              unsigned flags, const gate_bytes_t *f, unsigned n,
                              int64_t now_ms);
bool gi_broker_core_far_credit(gi_broker_core_t *self,
                               const unsigned char *node, const gate_bytes_t *f,
                               unsigned n, int64_t now_ms);
/* ---- broker_far.c -------------------------------------------------------- */
/* Rises with each change of what we offer: services with local workers. */
uint64_t gi_broker_core_far_rev(const gi_broker_core_t *self);
bool gi_broker_core_far_draining(const gi_broker_core_t *self);
void gi_broker_core_far_offers(gi_broker_core_t *self,
                               void (*each)(void *ctx,
                                            const gi_link_offer_t *offer),
                               void *ctx);
/* Borrows: the service of the far worker with that id; size 0: none. */
gate_bytes_t gi_broker_core_far_name(gi_broker_core_t *self, gate_bytes_t id);
/* Calls under way to that node and from it, and its services. */
void gi_broker_core_far_load(const gi_broker_core_t *self,
                             const unsigned char *node, int64_t *to,
                             int64_t *from, size_t *services);

#endif
