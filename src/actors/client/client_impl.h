/* SPDX-License-Identifier: BSD-3-Clause */
/* client_impl.h -- what the files of a client share.
 *
 *   client.c          public face: life
 *   client_call.c     the caller's half of a call
 *   client_actor.c    the shell: mail, socket, timers, connection
 *   client_pending.c  calls under way: the actor's half
 *   client_answer.c   what the broker answers
 *   client_trouble.c  why it does not
 *   client_huge.c     huge answers: chunks to whoever inflates them
 *   client_upload.c   huge arguments: chunks while there is credit
 *
 * Request ids are 8 random bytes, a slot and a generation: the answer finds its
 * call by index, and an answer to an earlier user of the slot does not. */
#ifndef GI_CLIENT_IMPL_H
#define GI_CLIENT_IMPL_H

#include <gaterpc/client.h>
#include "net/actor.h"
#include "net/frames.h"
#include "async/future.h"
#include "sync/gauge.h"
#include "bulk/huge_unpack.h"
#include "sync/latch.h"
#include "sync/lock.h"
#include "wire/mdp.h"
#include "sync/mine.h"
#include "sync/news.h"
#include "sync/ref.h"
#include "runtime/registry.h"
#include "wire/rpc.h"
#include "runtime/runtime.h"
#include "service/service_direct.h"
#include "net/reach.h"
#include "net/sock.h"
#include "async/stream.h"
#include "sync/wheel.h"

#define GI_RETRIES_FREE 10 /* tries that the budget always has at first */

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
    GI_PENDING_PAUSE, /* it was turned away and will be sent again */
    GI_PENDING_DONE
} gi_pending_state_t;

typedef struct gi_cargs gi_cargs_t;

typedef struct gi_pending {
    gi_cmail_t mail;
    gi_ref_t refs; /* the client's, and one for each control mail */
    gate_client_t *client;
    gi_timer_t timer;
    struct gi_pending *prev, *next; /* in the list of its state */
    gi_pending_state_t state;
    gi_asks_t asks;
    bool cut;       /* the connection went away after it was sent */
    bool unheard;   /* and the broker had not said a word on it */
    uint8_t former; /* on which connection: 0 the current, n: formers[n - 1] */
    bool deadline_travels;
    unsigned slot;
    unsigned char id[GI_ID_SIZE];
    int64_t deadline_ms; /* of a future; of a stream: next look */
    int64_t timeout_ms;
    int retries;                   /* further tries that it may have */
    int64_t pause_ms;              /* before the next one */
    gate_future_t *future;         /* the completer's reference */
    gate_stream_t *stream;         /* the producer's reference */
    bool chunks;                   /* a huge answer is coming in */
    bool triple_follows;           /* HugeDataException came (wire.md 7) */
    gi_huge_unpack_t *unpack;      /* its receiver, for a future */
    gi_cmail_t huge_mail;          /* and that one's news */
    gi_cargs_t *args;              /* huge ones; NULL: they are in data */
    size_t owed_items, owed_bytes; /* credit the socket would not take */
    size_t service_size;
    gi_rpc_request_t request;
    unsigned char data[]; /* service, func, args, kwargs, metadata; huge: no
                           * args and kwargs */
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
        local, reconnects, moves, retries, retries_denied;
} gi_cstats_t;

/* What keeps the broker from answering. */
typedef enum gi_trouble {
    GI_TROUBLE_NONE,
    GI_TROUBLE_AWAY,   /* it was never reached */
    GI_TROUBLE_LOST,   /* it was, and is not now */
    GI_TROUBLE_SILENT, /* it is there and has not said a word */
    GI_TROUBLE_REFUSED /* it does not let us in */
} gi_trouble_t;

/* A connection to a broker that was replaced: kept for what is under way. */
typedef struct gi_cformer {
    gi_sock_t sock; /* raw NULL: none */
    size_t n;       /* calls that wait for their answer on it */
} gi_cformer_t;

#define GI_CFORMERS_MAX 4

struct gate_client {
    gi_ref_t refs; /* the user's, futures' and streams' (for the settings) */
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_error_t stuck;
    char *identity, *user, *password, *curve_cert, *curve_server, *endpoint;
    char *plain_user, *plain_password; /* of the transport */
    const void *broker; /* of this runtime; itself: elsewhere; NULL: none */
    enum { GI_ROUTE_AUTO, GI_ROUTE_BROKER, GI_ROUTE_LOCAL } route;
    gi_actor_t *actor;
    gi_mailbox_t *mailbox;
    /* the service of this runtime asked last, as long as none comes or goes;
     * of the first thread that calls */
    gi_mine_t bound_mine;
    gate_service_t *bound; /* shared */
    uint64_t bound_version;
    int64_t reply_timeout_ms; /* of calls that name none */
    gi_gauge_t in_flight;
    gi_gauge_t local_calls;
    gi_latch_t inflating;   /* jobs that inflate for us */
    bool connected;         /* gate_client_connect was called */
    gi_news_t news;         /* of ready, refused */
    gi_lock_t trouble_lock; /* of: */
    char trouble_text[300]; /* "" or why nothing is answered, for people */
    /* the actor's own */
    gi_sock_t sock;
    gi_cformer_t formers[GI_CFORMERS_MAX];
    unsigned n_formers; /* that are there */
    uint8_t hearing;    /* whose message is handled: as pending.former */
    bool watched;       /* the transport reports connections */
    bool up;            /* the transport is there */
    bool ready;         /* the broker has answered on this connection */
    gi_trouble_t trouble;
    bool reached; /* it has answered once */
    gi_reach_t reach;
    gi_error_t refused; /* why it does not let us in; empty: it does */
    bool informed;      /* Gate.info was answered, or will not be */
    bool known;         /* it was answered for good: no need to ask again */
    int64_t asked_ms;   /* when it was asked last */
    bool ext;           /* it announced GX1 */
    bool ext_args;      /* and HA1 */
    bool packs;         /* and that it reads packed messages */
    bool blocked;       /* the socket refused the last send */
    bool fresh_id;      /* next connection under a fresh identity */
    int64_t heard_ms, sent_ms, now_ms;
    unsigned char id_prefix[8];
    gi_cslot_t *slots;
    unsigned n_slots, free_slot; /* n_slots = none */
    gi_pending_t *unsent, *unsent_last, *sent;
    gi_wheel_t *wheel;
    char codecs[256];    /* that it reads: what it announces */
    unsigned n_requests; /* since ext was learnt: who is told when */
    unsigned n_huge;     /* huge answers coming in to futures */
    gi_cargs_t *args;    /* huge arguments going out */
    gi_cmail_t ready_mail;
    gi_lock_t ready_lock; /* of: */
    bool args_ready;      /* ready_mail is under way */
    double retry_budget;  /* further tries that are left */
    gi_frames_t in, out;
    gi_buf_t scratch;
    gi_cstats_t stats;
};

/* ---- client.c ------------------------------------------------------------ */
gate_client_t *gi_client_share(gate_client_t *self);
void gi_client_release(void *self);
/* The error of a client that is NULL or not connected; never GATE_OK. */
gate_err_t gi_client_not_connected(const gate_client_t *self);

/* ---- client_call.c ------------------------------------------------------- */
/* A pending with room for its data; NULL: no memory. Any thread. */
gi_pending_t *gi_pending_new(gate_client_t *self, gate_bytes_t service,
                             const gi_rpc_request_t *request,
                             const void *packed);
/* The same for huge arguments, whose buffer it takes. */
gi_pending_t *gi_pending_new_huge(gate_client_t *self, gate_bytes_t service,
                                  const gi_rpc_request_t *request,
                                  gi_buf_t *packed,
                                  const gi_rpc_holes_t *holes);
void gi_pending_drop(gi_pending_t *p); /* a reference; any thread */

/* ---- client_actor.c ------------------------------------------------------ */
extern const gi_actor_ops_t gi_client_ops;
/* Begins "" MDPC01 service {zap} in client->out. */
gi_frames_t *gi_client_begin(gate_client_t *self, const void *service,
                             size_t size);
/* Sends client->out: 0 or errno; frames stay on an errno. */
int gi_client_send(gate_client_t *self);
/* The same on the connection of a call under way. */
int gi_client_send_on(gate_client_t *self, uint8_t former);
/* The broker has given its listeners to another one: new calls go there. */
void gi_client_move(gate_client_t *self);

/* ---- client_trouble.c ---------------------------------------------------- */
/* The actor: it is so from now on; whoever waits is told. */
void gi_client_trouble(gate_client_t *self, gi_trouble_t trouble);
/* Any thread: "" or what it is. */
void gi_client_trouble_text(gate_client_t *self, char *text, size_t room);
/* What a call whose time is over waited for in vain. */
void gi_client_late_text(const gi_pending_t *p, char *text, size_t room);

/* ---- client_pending.c ---------------------------------------------------- */
void gi_pending_start(gi_pending_t *p);
/* The broker's own functions, asked by the actor itself. */
void gi_pending_ask(gate_client_t *self, gi_asks_t asks);
void gi_pending_cancel(gi_pending_t *p);
gi_pending_t *gi_pending_find(gate_client_t *self, gate_bytes_t id);
/* Ends it: with an error, which is told; as answered. */
void gi_pending_fail(gi_pending_t *p, const gate_error_t *story);
void gi_pending_fail_text(gi_pending_t *p, gate_err_t code, const char *text);
void gi_pending_done(gi_pending_t *p);
/* Fails it by this thread's story and tells its producer to stop. */
void gi_pending_abort(gi_pending_t *p);
/* Tells whoever works on it that nobody waits any more. */
void gi_pending_tell_cancel(gi_pending_t *p);
/* It was turned away unrun: sent again then. */
void gi_pending_pause(gi_pending_t *p, int64_t until_ms);
/* Adds the frame to the message that goes out. */
void gi_client_add_ext(gate_client_t *self, const gi_ext_t *ext);
/* Something came: what waits for the next thing waits anew. */
void gi_pending_alive(gi_pending_t *p);
void gi_pending_credit(gi_pending_t *p, size_t items, size_t bytes);
bool gi_pending_flush(gate_client_t *self);
bool gi_pending_expire(gate_client_t *self);
/* Those that were not sent end with that. */
void gi_pending_refuse_unsent(gate_client_t *self, const gate_error_t *story);
/* That connection is gone; 0: the current one. */
void gi_pending_cut_all(gate_client_t *self, uint8_t former);
/* What is under way on the current connection stays with that former one; how
 * many they are. */
size_t gi_pending_leave(gate_client_t *self, uint8_t former);
/* All of them, which are cancelled at the broker; true: it was told. */
bool gi_pending_fail_all(gate_client_t *self, gate_err_t code,
                         const char *text);

/* ---- client_answer.c ----------------------------------------------------- */
void gi_pending_answer(gate_client_t *self); /* client->in holds a message */
/* Ends it as a remote exception. */
void gi_pending_exception(gi_pending_t *p, gate_bytes_t triple);
/* The bytes of a frame for somebody who outlives it; NULL: no memory. */
void *gi_pending_own(zmq_msg_t *frame, size_t *size, gi_release_fn **release,
                     void **hint);
/* An item or chunk to its stream. */
void gi_pending_push(gi_pending_t *p, zmq_msg_t *frame);

/* ---- client_huge.c ------------------------------------------------------- */
/* What it reads, for requests: h, hc. */
void gi_chuge_announce(const gate_client_t *self, gi_ext_t *ext);
/* A huge message: its frames, and views of them. */
void gi_chuge_message(gi_pending_t *p, zmq_msg_t *frames,
                      const gate_bytes_t *body, size_t n);
/* Mail from its receiver. */
void gi_chuge_mail(gi_cmail_t *mail);
/* The pending is done with it, whether it has ended or not. */
void gi_chuge_leave(gi_pending_t *p);

#endif
