/* SPDX-License-Identifier: BSD-3-Clause */
/* client_impl.h -- a client, in parts that have one owner each.
 *
 *   client.c         public face: life
 *   client_call.c    the caller's half of a call
 *   client_actor.c   the shell: mail, sockets, poll; what it owns: client_actor.h
 *   client_pending.c what the core decides about a call, done to its future or
 *                    stream
 *   client_huge.c    huge answers: chunks to whoever inflates them
 *   client_upload.c  huge arguments: chunks while there is credit
 *   core/            all decisions
 */
#ifndef GI_CLIENT_IMPL_H
#define GI_CLIENT_IMPL_H

#include <gaterpc/client.h>
#include "net/actor.h"
#include "runtime/builder.h"
#include "async/future.h"
#include "sync/gauge.h"
#include "bulk/huge_unpack.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "client/core/client_core.h"
#include "sync/mine.h"
#include "sync/news.h"
#include "sync/ref.h"
#include "runtime/registry.h"
#include "runtime/runtime.h"
#include "service/service_direct.h"
#include "async/stream.h"
#include "async/trace.h"

/* ---- mail ---------------------------------------------------------------- */
typedef enum gi_cmail_kind {
    GI_CMAIL_CALL,   /* gi_pending */
    GI_CMAIL_CANCEL, /* gi_ccontrol */
    GI_CMAIL_CREDIT, /* gi_ccontrol */
    GI_CMAIL_HUGE,   /* gi_pending: credit, or its huge answer's end */
    GI_CMAIL_READY   /* gate_client: compressed blocks are there */
} gi_cmail_kind_t;

typedef struct gi_cmail {
    gi_cmail_kind_t kind;
} gi_cmail_t;

typedef struct gi_cargs gi_cargs_t;

/* A call on its way: the caller's until it lies in the mailbox, the actor's from
 * then on, but for refs, client and huge_mail. */
typedef struct gi_pending {
    gi_cmail_t mail;
    gi_ref_t refs; /* the actor's, and one for each control mail */
    gate_client_t *client;
    gi_ccall_t call;
    gate_future_t *future;    /* the completer's reference */
    gate_stream_t *stream;    /* the producer's reference */
    gi_huge_unpack_t *unpack; /* of a huge answer to a future */
    gi_cmail_t huge_mail;     /* and its news */
    gi_cargs_t *args;         /* huge ones; NULL: they are in data */
    gate_trace_t *trace;      /* shared; NULL: nobody asked */
    unsigned char data[];     /* service, func, args, kwargs, metadata; huge: no
                               * args and kwargs */
} gi_pending_t;

typedef struct gi_ccontrol {
    gi_cmail_t mail;
    gi_pending_t *pending; /* one reference */
    size_t items, bytes;
} gi_ccontrol_t;

/* ---- the client ---------------------------------------------------------- */
/* Constant once it is connected. */
typedef struct gi_client_config {
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_login_t login;
    char *endpoint;
    const void *broker; /* of this runtime; itself: elsewhere; NULL: none */
    enum { GI_ROUTE_AUTO, GI_ROUTE_BROKER, GI_ROUTE_LOCAL } route;
    int64_t reply_timeout_ms; /* of calls that name none */
    gi_actor_t *actor;        /* NULL: services of this runtime only */
    gi_mailbox_t *mailbox;
} gi_client_config_t;

/* Any thread's. */
typedef struct gi_client_shared {
    gi_gauge_t in_flight;
    gi_gauge_t lane;      /* 1: answers come by a lane, soon */
    gi_latch_t inflating; /* jobs that inflate for us */
    gi_news_t news;       /* of whether it is ready */
    gi_lock_t lock;       /* of: */
    char trouble[400];    /* "" or why nothing is answered, for people */
    bool args_ready;      /* ready_mail is under way */
    gi_cmail_t ready_mail;
} gi_client_shared_t;

/* The service of this runtime asked last, as long as none comes or goes: of the
 * first thread that calls. */
typedef struct gi_client_bound {
    gi_mine_t mine;
    gate_service_t *service; /* shared */
    uint64_t version;
} gi_client_bound_t;

struct gate_client {
    gi_ref_t refs; /* the user's, futures' and streams' (for the settings) */
    gi_builder_t builder;
    bool connected; /* gate_client_connect was called */
    gi_client_config_t is;
    gi_client_shared_t shared;
    gi_client_bound_t bound;
    struct gi_client_actor *own; /* the actor's: client_actor.h */
};

/* ---- client.c ------------------------------------------------------------ */
gate_client_t *gi_client_share(gate_client_t *self);
void gi_client_release(void *self);
/* The error of a client that is NULL or not connected; never GATE_OK. */
gate_err_t gi_client_not_connected(const gate_client_t *self);
/* "" or why nothing is answered. */
void gi_client_trouble_now(gate_client_t *self, char *text, size_t room);

/* ---- client_call.c ------------------------------------------------------- */
void gi_client_call_drop(gi_pending_t *p); /* a reference; any thread */

/* ---- client_actor.c ------------------------------------------------------ */
extern const gi_actor_ops_t gi_client_ops;

#endif
