/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_impl.h -- what the broker's public face and its actor share.
 * Law: the core and the sockets are touched by the actor's thread alone; the
 * lists of endpoints and methods do not change once it has started. */
#ifndef GI_BROKER_IMPL_H
#define GI_BROKER_IMPL_H

#include "net/actor.h"
#include "security/zap_transport.h"
#include "broker/core/broker_core.h"
#include "net/guard.h"
#include "broker/shell/broker_handover.h"
#include "broker/shell/broker_rings.h"
#include "broker/shell/broker_uplink.h"
#include "net/curve.h"
#include "base/err.h"
#include "sync/lock.h"
#include "sync/news.h"
#include "runtime/runtime.h"
#include "runtime/sysload.h"
#include "net/sock.h"

#define GI_BROKER_SELF "gate-broker" /* our own client in band */
#define GI_BROKER_SIDES 2
#define GI_BROKER_ENDPOINT_MAX 256
#define GI_BROKER_CLOSED_MAX 256

typedef enum gi_broker_side_name { GI_FRONT, GI_BACK } gi_broker_side_name_t;

/* Where one side is to be bound, and where it is. */
typedef struct gi_broker_endpoint {
    struct gi_broker_endpoint *next;
    gi_listener_t listener;
    char asked[GI_BROKER_ENDPOINT_MAX], bound[GI_BROKER_ENDPOINT_MAX];
} gi_broker_endpoint_t;

typedef struct gi_broker_side {
    gi_sock_t sock;
    unsigned number; /* the core's */
    gi_broker_endpoint_t *endpoints;
    int closed[GI_BROKER_CLOSED_MAX]; /* connections that went while messages
                                         waited */
    unsigned n_closed;
    unsigned n_open; /* its connections */
} gi_broker_side_t;

typedef struct gi_broker_methods {
    struct gi_broker_methods *next;
    const gate_method_t *table;
    void *ctx;
} gi_broker_methods_t;

struct gate_broker {
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_broker_side_t sides[GI_BROKER_SIDES];
    gi_broker_methods_t *methods; /* in order */
    gi_error_t stuck;             /* the setters' first error */
    gi_actor_t *actor;            /* NULL before start and after destroy */
    gi_broker_core_t *core;
    gi_frames_t in; /* the message being received */
    gi_drainable_t drainable;
    gi_news_t news;                   /* of whether a drained one is idle */
    bool drained, idle;               /* the actor's: told to, and told so */
    gi_lock_t lock;                   /* of client alone */
    gate_client_t *client;            /* made on first use */
    char *curve_cert, *curve_allowed; /* NULL: no CURVE */
    char *plain_users;                /* NULL: no PLAIN by the transport */
    char *zap, *zap_domain;           /* NULL: nobody is asked */
    char password[33];                /* what our own client says in band */
    gi_sock_t zap_sock;
    bool zap_ipc;          /* who answers there is looked at */
    const char *zap_watch; /* its path, in zap; NULL: nobody can take it */
    int64_t zap_told_ms;   /* when it is logged again who is there */
    int64_t start_ms;      /* by the monotonic clock */
    unsigned n_connections;
    int64_t newcomer_ms; /* when it should have said who it is; 0: nobody */
    int64_t doubted_ms;  /* when workers were last asked who they are */
    gi_guard_t guard;
    gi_sysload_t load;
    gi_authority_t *authority; /* says who may connect; NULL: everybody */
    gi_handover_t handover;
    gi_broker_rings_t *rings;   /* NULL: no lanes */
    gi_broker_uplink_t *uplink; /* NULL: no other brokers */
    char *urls;                 /* of NATS servers; NULL: the setting uplink */
    gi_broker_effects_t effects;
    char inside[64];   /* its endpoint */
    bool inside_bound; /* the actor's thread only */
};

extern const gi_actor_ops_t gi_broker_actor_ops;

/* ---- broker_effects.c ---------------------------------------------------- */
/* Without a transport that knows users nobody is asked per message. */
const gi_broker_effects_t *gi_broker_effects_of(gate_broker_t *self);
/* The ZAP service is somebody else's: said once a minute. */
void gi_broker_effects_stranger(gate_broker_t *self);

/* ---- broker.c ------------------------------------------------------------ */
/* One endpoint more, at the end. Before the sides are bound. */
gate_err_t gi_broker_add_endpoint(gate_broker_t *self, unsigned side,
                                  const char *asked,
                                  gi_broker_endpoint_t **out) GATE_MUST;

#endif
