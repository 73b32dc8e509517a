/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_calls.h -- calls and their answers. A call is in its client's list, in
 * the table of calls, and either in its service's queue (worker NULL) or in its
 * worker's list. */
#ifndef GI_BROKER_CALLS_H
#define GI_BROKER_CALLS_H

#include "broker/core/broker_state.h"
#include "wire/rpc.h"

struct gi_broker_call {
    gi_node_t node;      /* in core->calls */
    gi_list_t of_client; /* in client->calls */
    gi_list_t
        of_owner; /* in service->queue, worker->calls or core->work.redo */
    gi_fair_item_t turn;        /* in service->urgent or ->waiting */
    gi_broker_timer_t deadline; /* armed while it is queued, or shaken */
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
    int64_t args_size;    /* of arguments that come in chunks; -1: plain ones */
    int64_t items, bytes; /* credit that its client gave and nothing used */
    int64_t moved_ms;     /* given to its worker; last credit, item or chunk */
    bool credited;        /* its request gave some: see broker_stall.c */
    bool queued;          /* it waits for a worker, in its service */
    bool urgent;          /* and before those that are not */
    bool tagged; /* its worker knows it by its id and the run's number */
    bool muted;  /* cancelled, orphaned or overflowed: nothing more goes out */
    bool streaming, huge; /* which tag its client has seen */
    bool paced; /* its client gives no credit: items go at stream_plain_rate */
    int64_t n_items; /* of its stream, of a paced one */
    bool hushed;     /* its far caller waits for the end alone */
    bool reruns; /* again may run when its worker is lost, and not only when it
                    did not run */
    uint8_t bounces; /* how often it came back unrun */
    bool shaken;     /* its (plain) worker's connection was cut meanwhile */
    uint8_t id_size;
    unsigned char *id;          /* id_inline, or a block of its own */
    bool counted;               /* its end is in its service's tally */
    bool traced;                /* its client asks where its time goes */
    int64_t begun_ns, given_ns; /* taken; given to its (last) worker */
    int64_t stood_ms;           /* the clock's, when it was given */
    gi_tally_name_t method;
    unsigned char id_inline[GI_REQUEST_ID_INLINE];
};

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
/* core->out is its REQUEST, and more than worker takes: answered so. */
bool gi_broker_call_exceeds(gi_broker_core_t *core, gi_broker_call_t *call,
                            const gi_broker_worker_t *worker);
/* Nobody reads the answer any more: takes it out of the queue, or tells an
 * extended worker and waits for the final message. */
void gi_broker_call_mute(gi_broker_core_t *core, gi_broker_call_t *call);
/* Tells its client why, drops what still comes, cancels it at its worker. */
void gi_broker_call_give_up(gi_broker_core_t *core, gi_broker_call_t *call,
                            const char *cls, const char *text);
/* A muted one, at its worker: told, or given a bound where it cannot be. */
void gi_broker_call_cancel(gi_broker_core_t *core, gi_broker_call_t *call);
/* EXT with "x", if the worker understands. */
void gi_broker_tell_cancel(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t client, gate_bytes_t id);
/* A worker's REPLY; f views its frames from the second on; at is spent. */
void gi_broker_reply(gi_broker_core_t *core, gi_broker_worker_t *worker,
                     gi_frames_t *frames, const gate_bytes_t *f,
                     gi_mdp_worker_t *at);
/* A client's control message. */
void gi_broker_control(gi_broker_core_t *core, gi_broker_peer_t *client,
                       gate_bytes_t id, gate_bytes_t ext);
/* Begins a message to a client in core->out. */
bool gi_broker_to_client(gi_broker_core_t *core, const gi_broker_peer_t *client,
                         gate_bytes_t service, gate_bytes_t id);
/* A name that anybody may have made up, for an error's text: cut at GI_ID_MAX,
 * and repaired where it is no UTF-8, or Python could not decode the answer. */
void gi_broker_text(char to[GI_ID_MAX + 1], gate_bytes_t name);
/* Answers a request that is not in the table: it did not run. */
void gi_broker_refuse(gi_broker_core_t *core, gi_broker_peer_t *client,
                      gate_bytes_t service, gate_bytes_t id, const char *cls,
                      const char *text);
/* The same, with the story's own traceback. */
void gi_broker_answer_error(gi_broker_core_t *core, gi_broker_peer_t *client,
                            gate_bytes_t service, gate_bytes_t id,
                            const gate_error_t *story);

/* ---- broker_rerun.c: calls that run again when their worker is lost ------ */
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

/* ---- broker_seen.c: how calls end, and how long they took ----------------- */
/* False: no memory. */
bool gi_broker_seen_init(gi_broker_core_t *core);
void gi_broker_seen_fini(gi_broker_core_t *core);
/* Something happens: what time it is, and whether we ran until now. */
void gi_broker_seen_time(gi_broker_core_t *core, int64_t now_ms);
/* The time by which calls are measured. Of a pass with many messages every
 * fourth reading looks at the clock: it is late by the handling of two calls at
 * most (some us), and never goes back. */
int64_t gi_broker_seen_now(gi_broker_core_t *core);
/* Its name is told as it is: no two that look alike differ. */
bool gi_broker_seen_plain(const gi_broker_service_t *service);
/* It is forgotten. */
void gi_broker_seen_gone(gi_broker_core_t *core, gi_broker_service_t *service);
/* A call is taken: its request's func frame. */
void gi_broker_seen_begin(gi_broker_core_t *core, gi_broker_call_t *call,
                          gate_bytes_t func);
/* It ends so; what comes later of it does not count. cls and text: of an error;
 * NULL: none. */
void gi_broker_seen_end(gi_broker_core_t *core, gi_broker_call_t *call,
                        gi_outcome_t outcome, const char *cls,
                        const char *text);
/* The same by its worker's final message. */
void gi_broker_seen_reply(gi_broker_core_t *core, gi_broker_call_t *call,
                          gi_body_kind_t kind, const gate_bytes_t *body,
                          size_t n_body);
/* A call that broker's rules refused before it was one. */
void gi_broker_seen_refused(gi_broker_core_t *core,
                            gi_broker_service_t *service, const char *cls);
/* A traced call's last answer: what its worker says there of times is taken off
 * *n_body, and told with ours. */
void gi_broker_seen_take(const gate_bytes_t *body, unsigned *n_body,
                         gi_times_t *times);
/* Adds them to core->out. False: no memory. */
bool gi_broker_seen_tell(gi_broker_core_t *core, const gi_broker_call_t *call,
                         const gi_times_t *times);
void gi_broker_seen_pack_slow(const gi_broker_core_t *core, msgpack_packer *pk,
                              uint64_t since);

/* ---- broker_upload.c: arguments in chunks --------------------------------- */
/* What its request announces: arguments, credit. */
void gi_broker_args_note(gi_broker_call_t *call, const gate_bytes_t *body,
                         unsigned n_body);
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

#endif
