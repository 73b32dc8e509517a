/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.h -- a broker, a service and a client in one runtime, over the transport
 * that a test asks for; and the four ways that every suite runs over. */
#ifndef RIG_H
#define RIG_H

#include <gaterpc.h>
#include "nats_server.h"

/* A loop over megabytes of a test's own, which TSan need not watch byte by byte:
 * what moves them in the library it does watch. */
#ifdef __SANITIZE_THREAD__
#define RIG_UNWATCHED __attribute__((no_sanitize_thread))
#else
#define RIG_UNWATCHED
#endif

typedef enum rig_way {
    RIG_INPROC,
    RIG_IPC,
    RIG_TCP,
    RIG_REGISTRY,
    RIG_WAYS,
    RIG_UPLINK = RIG_WAYS /* the client at one broker, the service at another */
} rig_way_t;

typedef struct rig {
    gate_runtime_t *rt;
    gate_broker_t *broker; /* the client's; NULL over the registry */
    gate_broker_t *far;    /* the service's, over the uplink */
    gate_service_t *service;
    gate_client_t *client;
    nats_server_t nats;
    char dir[64]; /* of ipc sockets; removed at the end */
} rig_t;

/* Name for messages: "inproc", "ipc", "tcp", "registry", "uplink". */
const char *rig_name(rig_way_t way);
/* How many ways there are here: with the uplink or, with a line that says why,
 * without it. */
int rig_ways(void);
/* Settings in which a test's clock is fast: heartbeats of 500 ms. Gives. */
gate_settings_t *rig_settings(void);
/* Brings everything up; table is the service "Test"'s. settings may be NULL
 * (rig_settings). Aborts the test when something fails. */
void rig_up(rig_t *self, rig_way_t way, const gate_settings_t *settings,
            const gate_method_t *table, void *ctx);
void rig_down(rig_t *self);
/* Open descriptors of this process. */
int rig_fds(void);

#endif
