/* SPDX-License-Identifier: BSD-3-Clause */
/* client_impl.h -- what the files of a client share.
 *
 *   client.c          public face; the caller's half of a call
 *   client_actor.c    the shell: mail, socket, timers, connection
 *   client_pending.c  calls under way: the actor's half
 *
 * Request ids are 8 random bytes, a slot and a generation: the answer finds its
 * call by index, and an answer to an earlier user of the slot does not. */
#ifndef GI_CLIENT_IMPL_H
#define GI_CLIENT_IMPL_H

#include <gaterpc/client.h>
#include "actor.h"
#include "frames.h"
#include "future.h"
#include "gauge.h"
#include "mdp.h"
#include "ref.h"
#include "registry.h"
#include "rpc.h"
#include "runtime.h"
#include "service_local.h"
#include "sock.h"
#include "stream.h"
#include "wheel.h"

typedef enum gi_cmail_kind {
    GI_CMAIL_CALL,   /* gi_pending */
    GI_CMAIL_CANCEL, /* gi_ccontrol */
    GI_CMAIL_CREDIT  /* gi_ccontrol */
} gi_cmail_kind_t;

typedef struct gi_cmail {
    gi_cmail_kind_t kind;
} gi_cmail_t;

/* What an answer is for. */
typedef enum gi_asks {
    GI_ASKS_USER,     /* a future or a stream waits */
    GI_ASKS_INFO,     /* Gate.info: what the broker is */
    GI_ASKS_SERVICES, /* Gate.get_services: that it is there at all */
    GI_ASKS_ALIVE     /* Gate.keepalive */
} gi_asks_t;

typedef enum gi_pending_state {
    GI_PENDING_NEW,
    GI_PENDING_UNSENT, /* the socket would not take it yet */
    GI_PENDING_SENT,
    GI_PENDING_DONE
} gi_pending_state_t;

typedef struct gi_chuge gi_chuge_t;

typedef struct gi_pending {
    gi_cmail_t mail;
    gi_ref_t refs; /* the client's, and one for each control mail */
    gate_client_t *client;
    gi_timer_t timer;
    struct gi_pending *prev, *next; /* in the list of its state */
    gi_pending_state_t state;
    gi_asks_t asks;
    bool cut; /* the connection went away after it was sent */
    bool deadline_travels;
    unsigned slot;
    unsigned char id[GI_ID_SIZE];
    int64_t deadline_ms; /* of a future; of a stream: next look */
    int64_t timeout_ms;
    gate_future_t *future;         /* the completer's reference */
    gate_stream_t *stream;         /* the producer's reference */
    gi_chuge_t *huge;              /* a huge reply that is coming in */
    size_t owed_items, owed_bytes; /* credit the socket would not take */
    size_t service_size;
    gi_rpc_request_t request;
    unsigned char data[]; /* service, func, args, kwargs */
} gi_pending_t;

typedef struct gi_ccontrol {
    gi_cmail_t mail;
    gi_pending_t *pending; /* one reference */
    size_t items, bytes;
} gi_ccontrol_t;

typedef struct gi_cslot {
    gi_pending_t *pending; /* NULL: free */
    uint32_t generation;
    unsigned next_free;
} gi_cslot_t;

typedef struct gi_cstats {
    uint64_t calls, answers, errors, timeouts, lost, late, dropped, items,
        local, reconnects;
} gi_cstats_t;

struct gate_client {
    gi_ref_t refs; /* the user's, futures' and streams' (for the settings) */
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_error_t stuck;
    char *identity, *user, *password, *curve_cert, *curve_server, *endpoint;
    const void *broker; /* of this runtime; itself: elsewhere; NULL: none */
    enum { GI_ROUTE_AUTO, GI_ROUTE_BROKER, GI_ROUTE_LOCAL } route;
    gi_actor_t *actor;
    gi_mailbox_t *mailbox;
    gi_gauge_t in_flight;
    gi_gauge_t local_calls;
    bool connected; /* gate_client_connect was called */
    /* the actor's own */
    gi_sock_t sock;
    bool watched;       /* the transport reports connections */
    bool up;            /* the transport is there */
    bool ready;         /* the broker has answered on this connection */
    gi_error_t refused; /* why it does not let us in; empty: it does */
    bool ext;           /* it announced GX1 */
    bool blocked;       /* the socket refused the last send */
    bool fresh_id;      /* next connection under a fresh identity */
    int64_t heard_ms, sent_ms, now_ms;
    unsigned char id_prefix[8];
    gi_cslot_t *slots;
    unsigned n_slots, free_slot; /* n_slots = none */
    gi_pending_t *unsent, *unsent_last, *sent;
    gi_wheel_t *wheel;
    gi_frames_t in, out;
    gi_buf_t scratch;
    gi_cstats_t stats;
};

/* ---- client.c
 * ---------------------------------------------------------------- */
gate_client_t *gi_client_share(gate_client_t *self);
void gi_client_release(void *self);
/* A pending with room for its data; NULL: no memory. Any thread. */
gi_pending_t *gi_pending_new(gate_client_t *self, gate_bytes_t service,
                             const gi_rpc_request_t *request,
                             const void *packed);
void gi_pending_drop(gi_pending_t *p); /* a reference; any thread */

/* ---- client_actor.c
 * ---------------------------------------------------------- */
extern const gi_actor_ops_t gi_client_ops;
/* Begins "" MDPC01 service {zap} in client->out. */
gi_frames_t *gi_client_begin(gate_client_t *self, const void *service,
                             size_t size);
/* Sends client->out: 0 or errno; frames stay on an errno. */
int gi_client_send(gate_client_t *self);

/* ---- client_pending.c
 * -------------------------------------------------------- */
void gi_pending_start(gi_pending_t *p);
/* The broker's own functions, asked by the actor itself. */
void gi_pending_ask(gate_client_t *self, gi_asks_t asks);
void gi_pending_answer(gate_client_t *self); /* client->in holds a message */
void gi_pending_cancel(gi_pending_t *p);
/* Ends it: with an error, which is told; as a remote exception; as answered. */
void gi_pending_fail(gi_pending_t *p, const gate_error_t *story);
void gi_pending_exception(gi_pending_t *p, gate_bytes_t triple);
void gi_pending_done(gi_pending_t *p);
/* A huge message's body (client_huge.c). */
void gi_chuge_destroy(gi_chuge_t **self_p);
void gi_pending_huge(gi_pending_t *p, const gate_bytes_t *body, size_t n);
void gi_pending_credit(gi_pending_t *p, size_t items, size_t bytes);
bool gi_pending_flush(gate_client_t *self);
bool gi_pending_expire(gate_client_t *self);
void gi_pending_cut_all(gate_client_t *self);
void gi_pending_fail_all(gate_client_t *self, gate_err_t code,
                         const char *text);

#endif
