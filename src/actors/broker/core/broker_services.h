/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_services.h -- services: which workers have how much to do, and the
 * calls that wait for one. Owns: its queue and its name; workers come and go. */
#ifndef GI_BROKER_SERVICES_H
#define GI_BROKER_SERVICES_H

#include "broker/core/broker_state.h"

struct gi_broker_service {
    gi_node_t node;    /* in core->services */
    gi_list_t order;   /* in core->order, by registration */
    gi_list_t pump;    /* in core->work.pumps: a worker may have got credit */
    gi_list_t queue;   /* calls that wait for a worker: those that run again, */
    gi_fair_t urgent;  /* then urgent ones, */
    gi_fair_t waiting; /* then the others: clients take turns */
    gi_list_t workers;
    gi_broker_timer_t idle; /* forgets it; armed while it has no workers */
    gi_list_t parked;       /* in core->parked then */
    uint64_t maker;         /* who registered its first worker; 0: nobody */
    size_t n_queued, n_workers;
    size_t n_far;             /* of the workers, other brokers' */
    size_t n_behind;          /* of our own, those that read first */
    int64_t relief_ms;        /* broker_stall.c: when it is looked at again */
    uint32_t index;           /* what other brokers call it */
    uint64_t n_calls;         /* given to workers */
    gi_tally_t *tally;        /* made with its first end; NULL: the core's */
    char *name, *description; /* one block; NUL-terminated */
    size_t name_size, description_size;
    bool ruled;    /* some access rule is about it */
    bool guessed;  /* a name that a client used: no worker of it yet */
    bool labelled; /* it has labels of its own in metrics */
    bool left;     /* the last worker that went said goodbye, or was draining */
    uint64_t busy[GI_BUCKETS / 64]; /* which buckets are not empty */
    gi_list_t far;                  /* far workers with credit */
    gi_list_t buckets[GI_BUCKETS];  /* our own with credit, by load */
};

gi_broker_service_t *gi_broker_service_find(gi_broker_core_t *core,
                                            gate_bytes_t name);
/* It is that of the broker's own service: no worker's, near or far. */
bool gi_broker_service_reserved(const gi_broker_core_t *core,
                                gate_bytes_t name);
/* Finds or makes it; of a long description the first KiB is kept. maker: who
 * wants it, 0: nobody in particular. NULL: too many, no memory. */
gi_broker_service_t *gi_broker_service_make(gi_broker_core_t *core,
                                            gate_bytes_t name,
                                            gate_bytes_t description,
                                            uint64_t maker);
/* A worker has come. */
void gi_broker_service_unpark(gi_broker_core_t *core,
                              gi_broker_service_t *service);
/* What a name costs. */
size_t gi_broker_service_weight(const gi_broker_service_t *service);
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
static inline void gi_broker_service_wake(gi_broker_core_t *core,
                                          gi_broker_service_t *service) {
    if (service->n_queued > 0 && gi_list_empty(&service->pump))
        gi_list_append(&core->work.pumps, &service->pump);
}
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

/* ---- broker_messages.c: calls that wait, and whose turn it is ------------ */
/* It has its request, which says what it costs. False: no memory. */
bool gi_broker_waiting_add(gi_broker_call_t *call);
void gi_broker_waiting_leave(gi_broker_call_t *call);
/* NULL: none waits. */
gi_broker_call_t *gi_broker_waiting_first(gi_broker_service_t *service);
/* Its turn has come. */
void gi_broker_waiting_pay(gi_broker_call_t *call);
/* Those that wait, in the order of their turns, nearly; NULL: begins, and is the
 * end. */
gi_broker_call_t *gi_broker_waiting_next(const gi_broker_service_t *service,
                                         const gi_broker_call_t *call);

/* How many local workers it has. */
static inline size_t
gi_broker_service_local(const gi_broker_service_t *service) {
    return service->n_workers - service->n_far;
}

/* ---- broker_move.c: a broker that is replaced, one that replaces --------- */
void gi_broker_move_tell(gi_broker_core_t *core, gi_broker_peer_t *client);
bool gi_broker_expects(const gi_broker_core_t *core);
/* The service that a client named, to wait for its workers; NULL: none. */
gi_broker_service_t *gi_broker_expected(gi_broker_core_t *core,
                                        gate_bytes_t name);
void gi_broker_expect_due(gi_broker_core_t *core);

/* ---- broker_stall.c: what nobody reads while others wait ------------------- */
/* What its request says about credit. */
void gi_broker_stall_begin(gi_broker_call_t *call, const gi_ext_t *ext);
/* Its client gives more. */
void gi_broker_stall_credit(gi_broker_core_t *core, gi_broker_call_t *call,
                            const gi_ext_t *ext);
/* An item, a row of them or a chunk went to it. */
void gi_broker_stall_spend(gi_broker_core_t *core, gi_broker_call_t *call,
                           gi_body_kind_t kind, gate_bytes_t payload);
/* A client speaks over another connection than before: streams that it was sent
 * end; of one of ours huge answers, too. */
void gi_broker_stall_torn(gi_broker_core_t *core, gi_broker_peer_t *client,
                          bool ours);
/* Calls wait and no worker has a slot: ends streams of whoever holds more than
 * its share with streams that stand still. */
void gi_broker_relieve(gi_broker_core_t *core, gi_broker_service_t *service);
/* True: its client has been told so lately, and still has as many; the call is
 * answered with an error and gone. */
bool gi_broker_is_slow(gi_broker_core_t *core, gi_broker_call_t *call);

#endif
