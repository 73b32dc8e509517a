/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_state.h -- the broker core's structures, seen by broker_*.c alone.
 *
 *   socket --peers--> peer --worker--> worker --calls--> call
 *                       `---calls (a client's)----------->'
 *   services --> service --workers--> worker;  --queue--> call (waiting)
 *
 * A call is in its client's list, in the table of calls, and either in its
 * service's queue (worker NULL) or in its worker's list. */
#ifndef GI_BROKER_STATE_H
#define GI_BROKER_STATE_H

#include "rules/access.h"
#include "broker/core/broker_core.h"
#include "broker/core/broker_table.h"
#include "rules/bucket.h"
#include "rules/guess.h"
#include "wire/mdp.h"
#include "wire/rpc.h"
#include "settings/settings.h"
#include "sync/wheel.h"

#define GI_ID_MAX 255
#define GI_REQUEST_ID_INLINE 32
#define GI_BUCKETS 256
/* What a peer's queue takes beyond its bound: final messages and errors. */
#define GI_RESERVE_MESSAGES 256
#define GI_RESERVE_BYTES (1024 * 1024)
/* Peers that are remembered, clients and workers together. */
#define GI_PEERS_MAX (1u << 20)
#define GI_SERVICES_MAX 65536

/* Which timer of the wheel fired. */
typedef enum gi_broker_due {
    GI_DUE_CALL,    /* a queued call's deadline */
    GI_DUE_BEAT,    /* a worker's heartbeat or expiry */
    GI_DUE_PEER,    /* nobody heard of this peer for long */
    GI_DUE_ASK,     /* the authentication service has not answered */
    GI_DUE_SERVICE, /* a service without workers for long */
    GI_DUE_EXPECT   /* workers that were to come have not */
} gi_broker_due_t;

typedef struct gi_broker_timer {
    gi_timer_t timer; /* first: the wheel gives it back */
    gi_broker_due_t due;
} gi_broker_timer_t;

typedef struct gi_broker_peer gi_broker_peer_t;
typedef struct gi_broker_worker gi_broker_worker_t;
typedef struct gi_broker_service gi_broker_service_t;
typedef struct gi_broker_call gi_broker_call_t;
typedef struct gi_broker_trust gi_broker_trust_t; /* broker_auth.c's own */

/* Somebody authenticated. Counted; kept for a while when nobody is. */
typedef struct gi_broker_user {
    gi_node_t node; /* in core->users */
    gi_link_t idle; /* in core->idle_users while refs is 0 */
    unsigned refs;
    gi_bucket_t bucket; /* rate_limit_user */
    size_t size;
    char name[]; /* NUL-terminated */
} gi_broker_user_t;

/* A message that waits for its peer, or a request for a worker. */
typedef struct gi_broker_message {
    gi_link_t link;         /* in the peer's queue */
    gi_broker_call_t *call; /* the request it is; NULL = another message */
    size_t bytes;
    unsigned n, room;
    zmq_msg_t f[];
} gi_broker_message_t;

struct gi_broker_peer {
    gi_node_t node;             /* in its socket's table */
    gi_link_t ring;             /* in core->blocked while queue is not empty */
    gi_link_t doomed;           /* in core->doomed once it is gone */
    gi_link_t queue;            /* messages that wait for it */
    gi_link_t calls;            /* a client's calls */
    gi_broker_timer_t idle;     /* forgets it */
    gi_broker_worker_t *worker; /* NULL: a client, or not registered */
    gi_broker_user_t *user;     /* by the transport; NULL = nobody */
    gi_broker_trust_t *trust;   /* in-band credentials; NULL = none yet */
    gi_bucket_t rate;           /* rate_limit_peer */
    size_t n_queued, queued_bytes, n_calls;
    int64_t seen_ms;    /* last message from it */
    int64_t scolded_ms; /* since when n_scolded DISCONNECTs went to it for
                           not being registered */
    int srcfd;          /* its connection; -1 not known */
    uint8_t socket, id_size, n_scolded;
    bool gone;   /* EHOSTUNREACH; true until it speaks again */
    bool asked;  /* a client: for Gate.info, on this connection */
    bool told;   /* and was told to go to another broker */
    bool packed; /* its last message was: so are ours */
    unsigned char id[GI_ID_MAX];
};

struct gi_broker_worker {
    gi_broker_peer_t *peer; /* NULL once lost */
    gi_broker_service_t *service;
    gi_broker_user_t *user; /* who registered it; NULL = nobody */
    gi_link_t place;        /* in a bucket of service, if placed */
    gi_link_t of_service;   /* in service->workers */
    gi_link_t calls;        /* what it runs */
    gi_link_t lost;         /* in core->lost once it is lost */
    gi_broker_timer_t beat;
    int64_t in_flight, max;
    int64_t sent_ms;    /* last message to it */
    int64_t suspect_ms; /* its connection closed: probed until then; 0 = no */
    int64_t probe_ms;   /* wait before the next probe */
    int64_t epoch;      /* which life of this identity it is; -1 not known */
    const char *why;    /* lost: the reason, a static text */
    char *idempotent; /* its methods that may run again: "a,b=5"; NULL: none */
    unsigned bucket;  /* valid while placed */
    bool placed, ext, draining;
    bool takes_args; /* arguments in chunks */
};

struct gi_broker_service {
    gi_node_t node;    /* in core->services */
    gi_link_t order;   /* in core->order, by registration */
    gi_link_t pump;    /* in core->pumps: a worker may have got credit */
    gi_link_t queue;   /* calls that wait for a worker, oldest first, but urgent
                          ones before others */
    gi_link_t *urgent; /* the last of those; NULL: none */
    gi_link_t workers;
    gi_broker_timer_t idle; /* forgets it */
    size_t n_queued, n_workers;
    uint64_t n_calls, n_errors;
    char *name, *description; /* one block; NUL-terminated */
    size_t name_size, description_size;
    bool ruled;   /* some access rule is about it */
    bool guessed; /* a name that a client used: no worker of it yet */
    uint64_t busy[GI_BUCKETS / 64]; /* which buckets are not empty */
    gi_link_t buckets[GI_BUCKETS];  /* workers with credit, by load */
};

struct gi_broker_call {
    gi_node_t node;      /* in core->calls */
    gi_link_t of_client; /* in client->calls */
    gi_link_t of_owner;  /* in service->queue, worker->calls or core->redo */
    gi_broker_timer_t deadline; /* armed while it is queued */
    gi_broker_peer_t *client;
    gi_broker_service_t *service;
    gi_broker_user_t *user;       /* whose call it is; NULL = nobody's */
    gi_broker_worker_t *worker;   /* NULL: queued */
    gi_broker_message_t *request; /* queued: owned; else in the worker's peer's
                                     queue, not sent yet; else NULL */
    gi_broker_message_t *again;   /* what was sent, to be sent once more; NULL:
                                     it does not run again */
    int64_t ext_ms;               /* when its extension frame's "t" was true */
    int attempt;                  /* which run it is: 1, 2, ... */
    int64_t queued_ms, deadline_ms; /* 0: it never waited */
    int64_t args_size; /* of arguments that come in chunks; -1: plain ones */
    bool queued;       /* in service->queue */
    bool urgent;       /* and before those that are not */
    bool tagged;       /* its worker knows it by its id and the run's number */
    bool muted; /* cancelled, orphaned or overflowed: nothing more goes out */
    bool streaming, huge; /* which tag its client has seen */
    uint8_t id_size;
    unsigned char *id; /* id_inline, or a block of its own */
    unsigned char id_inline[GI_REQUEST_ID_INLINE];
};

typedef struct gi_broker_socket {
    gi_table_t peers;
    gi_broker_peer_t *last;   /* the peer that spoke last: skips a look-up */
    gi_broker_peer_t **by_fd; /* the peer behind a connection; may be NULL */
    size_t n_by_fd;
    bool backend;
} gi_broker_socket_t;

typedef struct gi_broker_counters {
#define GI_C(name, doc) uint64_t name;
#include "broker/core/broker_counters.def"
#undef GI_C
} gi_broker_counters_t;

typedef struct gi_broker_function {
    struct gi_broker_function *next;
    const gate_method_t *method;
    void *ctx;
    gate_runtime_t *runtime;
} gi_broker_function_t;

/* user, NUL, password; wiped when forgotten. */
typedef struct gi_broker_secret {
    size_t size, user_size;
    unsigned char *data; /* NULL: none */
} gi_broker_secret_t;

struct gi_broker_core {
    const gate_settings_t *settings;
    const gi_broker_effects_t *effects;
    void *ctx;
    unsigned char id[GI_ID_SIZE];
    gate_bytes_t internal; /* the internal service's name */
    int64_t now_ms, beat_ms, silence_ms, forget_ms, timeout_ms;
    int64_t tick_ms;  /* the last look at the clock */
    int64_t awake_ms; /* the end of the last time that we were stopped: nobody's
                         silence counts from before it */
    uint64_t seed;
    gi_broker_socket_t sockets[GI_BROKER_SOCKETS_MAX];
    unsigned n_sockets;
    size_t queued_bytes; /* weight of all messages that wait or are kept */
    size_t n_peers, n_calls, n_workers, n_services, n_queued;
    gi_table_t calls, services;
    gi_link_t order;   /* services */
    gi_link_t blocked; /* peers with a queue */
    gi_link_t doomed;  /* peers found gone; settled after each event */
    gi_link_t lost;    /* workers found lost; settled after each event */
    gi_link_t pumps;   /* services with a queue and credit; settled too */
    gi_link_t redo;    /* calls whose request never left; settled too */
    gi_wheel_t *wheel;
    gi_free_t free_calls, free_peers, free_small, free_large;
    gi_frames_t out;   /* the message being made */
    gi_buf_t body;     /* a body being packed */
    gi_buf_t hello;    /* the extension frame of our heartbeats */
    gi_buf_t farewell; /* the same to a draining worker: nothing new comes */
    gi_broker_counters_t count;
    gi_broker_function_t *functions; /* user's, of the internal service */
    void *host; /* broker_gate.c: their call; made with the first */
    bool zap, draining;
    bool moving;              /* another broker has our listeners */
    gi_broker_timer_t expect; /* armed: workers are to come */
    /* who is who */
    gi_broker_user_t *user;       /* of the message that is handled */
    gi_broker_user_t *local_user; /* of the broker's own client */
    gi_table_t users;
    gi_link_t idle_users; /* longest idle first */
    size_t n_idle_users;
    const gi_access_t *access; /* NULL: no rules */
    bool gate_ruled;           /* some rule is about the internal service */
    const char *zap_domain;
    gi_broker_secret_t inside; /* what our own client says */
    gi_table_t asks;           /* questions under way, by key */
    gi_guesses_t *guesses;     /* wrong credentials; with zap alone */
    gi_link_t believed;        /* verdicts that are, oldest first */
    gi_link_t judged;          /* whose messages may go on; settled too */
    size_t n_believed, n_waiting, waiting_bytes;
    gi_frames_t late; /* the message that goes on */
};

/* ---- broker_auth.c: in-band credentials ---------------------------------- */
/* Admits the message, refuses it, or keeps it until there is a verdict. */
void gi_broker_auth_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames);
void gi_broker_auth_verdict(gi_broker_core_t *core, gi_frames_t *frames);
void gi_broker_auth_due(gi_broker_core_t *core, gi_broker_timer_t *timer);
void gi_broker_auth_go(gi_broker_core_t *core, gi_broker_trust_t *trust);
/* The first in core->judged. */
gi_broker_trust_t *gi_broker_auth_judged(gi_broker_core_t *core);
/* A message of it waits for a verdict: it is not to be forgotten. */
bool gi_broker_auth_waits(const gi_broker_peer_t *peer);
void gi_broker_auth_forget(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_auth_fini(gi_broker_core_t *core);
/* The peer's part of the law; adds to the sums. */
bool gi_broker_auth_valid(const gi_broker_peer_t *peer, size_t *n_waiting,
                          size_t *n_believed, size_t *n_asking);

/* ---- broker_secret.c ----------------------------------------------------- */
bool gi_broker_secret_is(const gi_broker_secret_t *self, gate_bytes_t user,
                         gate_bytes_t password);
bool gi_broker_secret_equal(const gi_broker_secret_t *a,
                            const gi_broker_secret_t *b);
/* Replaces what was there; false: no memory, it is empty. */
bool gi_broker_secret_set(gi_broker_secret_t *self, gate_bytes_t user,
                          gate_bytes_t password);
void gi_broker_secret_forget(gi_broker_secret_t *self);

/* ---- broker_rules.c: users, what they may do, how often ------------------ */
/* Gives a reference; NULL: no memory. */
gi_broker_user_t *gi_broker_user_of(gi_broker_core_t *core, gate_bytes_t name);
gi_broker_user_t *gi_broker_user_share(gi_broker_user_t *user); /* or NULL */
void gi_broker_user_drop(gi_broker_core_t *core, gi_broker_user_t *user);
void gi_broker_users_fini(gi_broker_core_t *core);
/* Borrows: whom the transport takes the peer for; NULL = nobody. */
gi_broker_user_t *gi_broker_transport_user(gi_broker_core_t *core,
                                           gi_broker_peer_t *peer,
                                           zmq_msg_t *frame);
/* False: core->user may not call func there; the client has been told. */
bool gi_broker_may(gi_broker_core_t *core, gi_broker_peer_t *client,
                   gate_bytes_t service, gate_bytes_t id, gate_bytes_t func);
/* False: too many calls; the client has been told. */
bool gi_broker_rate(gi_broker_core_t *core, gi_broker_peer_t *client,
                    gate_bytes_t service, gate_bytes_t id);

/* ---- broker_core.c ------------------------------------------------------- */
void gi_broker_arm(gi_broker_core_t *core, gi_broker_timer_t *timer,
                   int64_t due_ms);
void gi_broker_disarm(gi_broker_core_t *core, gi_broker_timer_t *timer);
/* Deals with what was found dead during an event. */
void gi_broker_settle(gi_broker_core_t *core);
/* Handles a message of core->user. */
void gi_broker_admit(gi_broker_core_t *core, gi_broker_peer_t *peer,
                     gi_frames_t *frames);

/* ---- broker_peers.c: who is there, and what waits for them --------------- */
typedef enum gi_broker_sent {
    GI_SENT,
    GI_QUEUED,
    GI_OVERFLOW, /* the peer's queue is at its bound; frames unchanged */
    GI_GONE      /* the peer is gone and doomed; frames unchanged */
} gi_broker_sent_t;

/* Finds or makes it and notes that it spoke. NULL: table full, no memory. */
gi_broker_peer_t *gi_broker_peer_heard(gi_broker_core_t *core, unsigned socket,
                                       gate_bytes_t id);
/* Notes its connection; true when it was another one before. */
bool gi_broker_peer_moved(gi_broker_core_t *core, gi_broker_peer_t *peer,
                          int srcfd);
/* Sends core->out, whose frame 0 is the peer's id, behind what waits for that
 * peer. reserve: may use the queue's reserve. call: the request it is; *call
 * learns its message when that waits. */
gi_broker_sent_t gi_broker_peer_send(gi_broker_core_t *core,
                                     gi_broker_peer_t *peer, bool reserve,
                                     gi_broker_call_t *call);
/* Sends what waits until the peer is full again. */
void gi_broker_peer_flush(gi_broker_core_t *core, gi_broker_peer_t *peer);
bool gi_broker_peer_has_room(const gi_broker_core_t *core,
                             const gi_broker_peer_t *peer);
void gi_broker_peer_gone(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* After peer_gone: forgets its queue, orphans its calls, maybe frees it. */
void gi_broker_peer_settle(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_peer_idle(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_peer_free(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* The queues of all together are not at their bound. */
bool gi_broker_has_room(const gi_broker_core_t *core);
/* What it takes to keep it, with the call that it may be. */
size_t gi_broker_message_weight(const gi_broker_message_t *message);
/* Moves core->out into a message; NULL: no memory, core->out unchanged. */
gi_broker_message_t *gi_broker_message_keep(gi_broker_core_t *core);
/* Moves it back into core->out and frees it. */
void gi_broker_message_restore(gi_broker_core_t *core,
                               gi_broker_message_t *message);
/* core->out once more, its bodies shared; NULL: no memory. */
gi_broker_message_t *gi_broker_message_copy(gi_broker_core_t *core);
void gi_broker_message_free(gi_broker_core_t *core,
                            gi_broker_message_t *message);
/* Takes it out of the queue of peer. */
void gi_broker_message_unqueue(gi_broker_core_t *core, gi_broker_peer_t *peer,
                               gi_broker_message_t *message);

/* ---- broker_services.c: services, load, queues --------------------------- */
gi_broker_service_t *gi_broker_service_find(gi_broker_core_t *core,
                                            gate_bytes_t name);
/* Finds or makes it. NULL: too many, no memory. */
gi_broker_service_t *gi_broker_service_make(gi_broker_core_t *core,
                                            gate_bytes_t name,
                                            gate_bytes_t description);
void gi_broker_service_idle(gi_broker_core_t *core,
                            gi_broker_service_t *service);
void gi_broker_service_free(gi_broker_core_t *core,
                            gi_broker_service_t *service);
/* Puts the worker where its load belongs, or nowhere without credit. */
void gi_broker_worker_place(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* core->out is call's REQUEST: sends it to the least loaded worker, or queues
 * it, or answers with an error and frees the call. */
void gi_broker_dispatch(gi_broker_core_t *core, gi_broker_call_t *call);
/* Notes that a worker may have got credit: pumped after the event. */
void gi_broker_service_wake(gi_broker_core_t *core,
                            gi_broker_service_t *service);
/* Gives queued calls to workers that have credit. */
void gi_broker_service_pump(gi_broker_core_t *core,
                            gi_broker_service_t *service);
/* Its last worker is gone. */
void gi_broker_service_empty(gi_broker_core_t *core,
                             gi_broker_service_t *service);
/* Answers every queued call: no worker is left. */
void gi_broker_service_abandon(gi_broker_core_t *core,
                               gi_broker_service_t *service);
void gi_broker_unqueue(gi_broker_core_t *core, gi_broker_call_t *call);

/* ---- broker_workers.c: their life ---------------------------------------- */
void gi_broker_worker_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                              gi_frames_t *frames);
void gi_broker_worker_beat(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* A heartbeat, at once. */
void gi_broker_worker_greet(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* Its connection may be closed: probe it. */
void gi_broker_worker_suspect(gi_broker_core_t *core,
                              gi_broker_worker_t *worker);
/* Takes it out of service at once; the rest is settled after the event. */
void gi_broker_worker_lose(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const char *why);
/* It gets nothing new, and is told so. False: it would not understand. */
bool gi_broker_worker_drain(gi_broker_core_t *core, gi_broker_worker_t *worker);
void gi_broker_worker_settle(gi_broker_core_t *core,
                             gi_broker_worker_t *worker);
void gi_broker_worker_disconnect(gi_broker_core_t *core,
                                 gi_broker_peer_t *peer);
/* The same, a few times per heartbeat: it is not registered. */
void gi_broker_worker_scold(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* Begins a message to a worker in core->out: id "" MDPW01 command. */
bool gi_broker_to_worker(gi_broker_core_t *core, gate_bytes_t id, int command);

/* ---- broker_calls.c: calls in flight, answers ---------------------------- */
gi_broker_call_t *gi_broker_call_find(gi_broker_core_t *core,
                                      gate_bytes_t client, gate_bytes_t id);
/* NULL: no memory. */
gi_broker_call_t *gi_broker_call_new(gi_broker_core_t *core,
                                     gi_broker_peer_t *client,
                                     gi_broker_service_t *service,
                                     gate_bytes_t id);
/* Gives its worker the credit back and forgets it. */
void gi_broker_call_free(gi_broker_core_t *core, gi_broker_call_t *call);
/* Answers with an error, in the form that fits what its client has seen, unless
 * it is muted; then frees it. */
void gi_broker_call_fail(gi_broker_core_t *core, gi_broker_call_t *call,
                         const char *cls, const char *text);
/* Nobody reads the answer any more: takes it out of the queue, or tells an
 * extended worker and waits for the final message. */
void gi_broker_call_mute(gi_broker_core_t *core, gi_broker_call_t *call);
/* Tells its client why, drops what still comes, cancels it at its worker. */
void gi_broker_call_give_up(gi_broker_core_t *core, gi_broker_call_t *call,
                            const char *cls, const char *text);
/* EXT with "x", if the worker understands. */
void gi_broker_tell_cancel(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t client, gate_bytes_t id);
/* A worker's REPLY; f views its frames from the second on. */
void gi_broker_reply(gi_broker_core_t *core, gi_broker_worker_t *worker,
                     gi_frames_t *frames, const gate_bytes_t *f,
                     const gi_mdp_worker_t *at);
/* A client's control message. */
void gi_broker_control(gi_broker_core_t *core, gi_broker_peer_t *client,
                       gate_bytes_t id, gate_bytes_t ext);
/* Begins a message to a client in core->out. */
bool gi_broker_to_client(gi_broker_core_t *core, const gi_broker_peer_t *client,
                         gate_bytes_t service, gate_bytes_t id);
/* A name that anybody may have made up, for an error's text: cut at GI_ID_MAX,
 * and repaired where it is no UTF-8, or Python could not decode the answer. */
void gi_broker_text(char to[GI_ID_MAX + 1], gate_bytes_t name);
/* Answers a request that is not in the table. */
void gi_broker_refuse(gi_broker_core_t *core, gi_broker_peer_t *client,
                      gate_bytes_t service, gate_bytes_t id, const char *cls,
                      const char *text);

/* ---- broker_args.c: arguments in chunks ---------------------------------- */
/* What a request announces; -1: its arguments are in it. */
int64_t gi_broker_args_size(const gate_bytes_t *body, unsigned n_body);
/* The least loaded that takes them; NULL: none with credit. */
gi_broker_worker_t *gi_broker_args_pick(gi_broker_service_t *service);
/* room: some worker has credit. */
bool gi_broker_args_may_wait(gi_broker_service_t *service, bool room);
void gi_broker_args_refuse(gi_broker_core_t *core, gi_broker_call_t *call);
/* A client's message is a chunk; it is handed on. */
bool gi_broker_args_is(const gate_bytes_t *body, unsigned n_body);
void gi_broker_args_chunk(gi_broker_core_t *core, gi_broker_peer_t *client,
                          gi_frames_t *frames, const gate_bytes_t *f,
                          const gi_mdp_request_t *at);
/* A worker's EXT. */
void gi_broker_args_credit(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const gate_bytes_t *f, const gi_mdp_worker_t *at);

/* ---- broker_again.c: calls that run again -------------------------------- */
void gi_broker_again_learn(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t names);
/* core->out is call's REQUEST for worker: says which run it is and what time is
 * left, and keeps a copy if it may run again. False: no memory. */
bool gi_broker_again_prepare(gi_broker_core_t *core, gi_broker_call_t *call,
                             gi_broker_worker_t *worker);
/* What its worker knows the call by; the size. */
size_t gi_broker_again_id(const gi_broker_call_t *call,
                          unsigned char id[GI_ID_MAX]);
/* The tagged call that a worker means by id; NULL: none, or another run of it.
 */
gi_broker_call_t *gi_broker_again_find(gi_broker_core_t *core,
                                       gate_bytes_t client, gate_bytes_t id);
void gi_broker_again_forget(gi_broker_core_t *core, gi_broker_call_t *call);
/* Its worker is lost: gives it to another one. False: it must not. */
bool gi_broker_again(gi_broker_core_t *core, gi_broker_call_t *call);
/* core->out is call's REQUEST: its caller has given up. */
bool gi_broker_expired(gi_broker_core_t *core, const gi_broker_call_t *call);

/* ---- broker_gate.c: the internal service --------------------------------- */
void gi_broker_gate(gi_broker_core_t *core, gi_broker_peer_t *client,
                    gate_bytes_t service, gate_bytes_t id,
                    const gate_bytes_t *body, size_t n_body);
void gi_broker_gate_fini(gi_broker_core_t *core);

/* ---- broker_move.c: a broker that is replaced, one that replaces --------- */
void gi_broker_move_tell(gi_broker_core_t *core, gi_broker_peer_t *client);
bool gi_broker_expects(const gi_broker_core_t *core);
/* The service that a client named, to wait for its workers; NULL: none. */
gi_broker_service_t *gi_broker_expected(gi_broker_core_t *core,
                                        gate_bytes_t name);
void gi_broker_expect_due(gi_broker_core_t *core);

/* ---- broker_stats.c ------------------------------------------------------ */
int64_t gi_broker_service_credit(const gi_broker_service_t *service);

#endif
