/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_far.h -- other brokers, joined to this one: their workers are far
 * workers here, their callers far clients. Both are peers of two sockets that
 * are no sockets: what is sent there goes to the other broker, and what comes
 * from it arrives by the functions of broker_core.h. So neither side has a table
 * of calls beyond its own.
 * Law: a far client's call is given to local workers alone, so no call crosses
 * two links. */
#ifndef GI_BROKER_FAR_H
#define GI_BROKER_FAR_H

#include "broker/far/broker_far_calls.h"
#include "broker/core/broker_state.h"

#define GI_FAR_NODE_SIZE 8
#define GI_FAR_BOUNCES_MAX 3

/* Another broker that is there. Gives and takes calls. */
struct gi_broker_node {
    gi_list_t place; /* in core->far.nodes */
    gi_list_t workers;
    gi_list_t uses; /* of our services, the last one first */
    unsigned char id[GI_FAR_NODE_SIZE];
    bool same_zone, lost;
    char name[GI_ID_MAX + 1];
};

/* What a far worker is beyond a worker. */
struct gi_broker_far_worker {
    gi_list_t of_node; /* in node->workers */
    gi_broker_node_t *node;
    gi_broker_worker_t *worker;
    uint32_t index; /* what that broker calls its service */
    bool listed, gone;
};

/* NULL: not known; no memory. */
gi_broker_node_t *gi_broker_far_node(gi_broker_core_t *core,
                                     const unsigned char *id);
gi_broker_node_t *gi_broker_far_node_new(gi_broker_core_t *core,
                                         const unsigned char *id);
/* A far worker has left, without a word. */
void gi_broker_far_leave(gi_broker_core_t *core, gi_broker_worker_t *worker);

/* ---- broker_far_share.c -------------------------------------------------- */
/* A link has called our service of that name. */
void gi_broker_far_used(gi_broker_core_t *core, gi_broker_node_t *node,
                        gate_bytes_t name);
/* It uses that service no more; NULL: none. */
void gi_broker_far_unused(gi_broker_node_t *node,
                          const gi_broker_service_t *service);
/* Its timer: shares. */
void gi_broker_far_due(gi_broker_core_t *core);

#endif
