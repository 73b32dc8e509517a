/* SPDX-License-Identifier: BSD-3-Clause */
/* service_call.h -- a call, as the service's shell has it; what it may do next is
 * decided in core/ (life.c).
 *
 * Who owns a call: the actor; a pool, a keeper, a feeder has a reference while
 * it has the call, and gives it back by mail. When the mailbox is closed (the
 * service is gone) the giver drops it. */
#ifndef GI_SERVICE_CALL_H
#define GI_SERVICE_CALL_H

#include "service/service_impl.h"

typedef struct gi_sargs gi_sargs_t;

/* ---- a call -------------------------------------------------------------- */
/* A call of this process on its way, behind its future in one block. The actor
 * runs it in a gi_scall of its own, so that the caller's thread makes nothing
 * else. It lives as long as the future; the completer's reference is the
 * actor's. */
typedef struct gi_slocal {
    gi_smail_t mail;
    gate_service_t *service; /* alive as long as this is unanswered */
    gi_scall_t *call;        /* the actor's: what runs it; NULL: nothing */
    gate_future_t *future;
    int64_t deadline_ms, timeout_ms;
    size_t func_size, args_size, kwargs_size, meta_size;
    gate_trace_t *trace;    /* shared, until it is the call's; NULL: none */
    unsigned char packed[]; /* func, args, kwargs, metadata */
} gi_slocal_t;

typedef struct gi_sleft {
    gi_smail_t mail;
    gi_slocal_t *local; /* one reference to its future */
} gi_sleft_t;

/* What its handler leaves: its thread writes it and nothing else of the call;
 * handed over by RETURNED. */
typedef struct gi_shand {
    gate_err_t said;
    struct gi_sjob *job; /* of gate_call_run */
    gate_err_t (*next)(gate_call_t *, void *);
    void *state; /* of a generator */
    void (*done)(void *);
    gi_shuge_t *feeding; /* a huge result, as whoever feeds it knows it */
    bool lost;           /* an item of its pool's job */
} gi_shand_t;

/* Where the time of a call goes whose caller asked. */
typedef struct gi_strace {
    int64_t taken_ns;           /* 0: nobody asked */
    int64_t queued_ns;          /* given to a pool; 0: no pool */
    _Atomic int64_t started_ns; /* by whose thread it runs on; 0: not yet */
    gate_trace_t *told;         /* of a caller in this process; shared */
} gi_strace_t;

/* What credit_mail is about. */
typedef struct gi_sowed {
    atomic_bool pending; /* it is under way */
    _Atomic int64_t items, bytes;
} gi_sowed_t;

#define GI_SCALL_QUICK 16
#define GI_SCALL_KEPT 192 /* bytes of a request that need no memory */
#define GI_SCALL_LARGE 4  /* client_id, request_id, args, kwargs */

struct gi_scall {
    gate_call_t call; /* first: the handler's view */
    gi_life_t life;   /* what the core knows; the actor's */
    gi_job_t run;     /* on threads */
    gate_service_t *service;
    gi_smethod_t *method;
    gi_scall_t *free_next, *hash_next;
    uint64_t hash; /* of its id, while it is listed */
    bool left;     /* local: no longer counted as in flight */
    /* by mail, each from one who then waits for nothing */
    gi_smail_t mail;        /* OPEN, then RETURNED */
    gi_smail_t finish_mail; /* FINISHED */
    gi_smail_t cancel_mail; /* CANCEL, once */
    gi_smail_t credit_mail; /* CREDIT, by a local reader */
    gi_smail_t lost_mail;   /* LOST, by the pool's thread */
    gi_smail_t args_mail;   /* ARGS */
    gi_sowed_t owed;
    gi_shand_t hand;
    /* where it came from: a link, or this process */
    gi_link_t *link;
    unsigned epoch;
    bool rows;      /* its reader takes several items in a message */
    unsigned quick; /* its generator's steps: gi_run_here, GI_SCALL_QUICK */
    gate_bytes_t client_id, request_id; /* in kept, or of large */
    unsigned n_kept, n_large;
    unsigned char kept[GI_SCALL_KEPT];
    zmq_msg_t large[GI_SCALL_LARGE]; /* frames that did not fit there */
    char method_name[128];
    unsigned char *packed;   /* stream: func, args, kwargs; huge: args, kwargs;
                              * gi_mem_free */
    gi_sargs_t *args_coming; /* NULL: they are there */
    gate_bytes_t local_func;
    gi_slocal_t *local;    /* where future came from; NULL: none */
    gate_future_t *future; /* local; the completer's reference */
    gate_future_t *held;   /* once it was completed: the arguments' */
    gate_stream_t *stream; /* local; the producer's reference */
    /* the core's until it is over; a pool's, a keeper's, a feeder's while they
     * have it; one for each control mail */
    gi_ref_t refs;
    /* huge results */
    int64_t early;    /* bytes of credit that came before any item */
    gi_shuge_t *huge; /* the actor's */
    /* elsewhere; the actor's */
    gate_pool_t *pool; /* of a ticket */
    gi_ticket_t ticket;
    gi_strace_t trace;
};

/* ---- service_table.c ----------------------------------------------------- */
static inline gi_scall_t *gi_scall_of(gi_life_t *life) {
    return (gi_scall_t *)(void *)((char *)life - offsetof(gi_scall_t, life));
}
gi_scall_t *
gi_scall_alloc(gate_service_t *self); /* any thread; NULL: no memory */
gi_scall_t *gi_scall_new(gate_service_t *self); /* NULL: no memory */
void gi_scall_free(gi_scall_t *c); /* drops a reference; the actor only */
void gi_scall_drop(gi_scall_t *c); /* the same, any thread */
void gi_scall_free_all(gate_service_t *self);
gi_scall_t *gi_scall_find(gi_link_t *link, gate_bytes_t client,
                          gate_bytes_t request);
void gi_scall_list(gi_life_t *life, bool on); /* of the core */

/* ---- service_call.c ------------------------------------------------------ */
void gi_scall_request(gi_link_t *link, const gate_bytes_t *view,
                      unsigned client_id, unsigned request_id, unsigned body,
                      unsigned n_body);
/* What the caller sent along, packed. */
void gi_scall_meta(gi_scall_t *c, gate_bytes_t packed);
/* Finds the method; the packed arguments are in place. */
void gi_scall_dispatch(gi_scall_t *c, gate_bytes_t func_frame);
void gi_scall_refuse(gi_scall_t *c, gate_err_t code, const char *cls,
                     const char *text);

/* ---- service_answer.c ---------------------------------------------------- */
/* Of the core. */
void gi_scall_answer_outcome(gi_life_t *life, gate_err_t outcome, bool streams);
void gi_scall_answer_cut(gi_life_t *life, const gate_error_t *story,
                         bool streams);
/* The answer's first frames in service->out; NULL: nobody to answer. */
gi_frames_t *gi_scall_answer(gi_scall_t *c);
/* The same of a control message to the caller. */
gi_frames_t *gi_scall_control(gi_scall_t *c);
/* Its connection is the one that it came by. */
static inline bool gi_scall_has_caller(const gi_scall_t *c) {
    return c->link && c->epoch == c->link->epoch;
}
void gi_scall_answer_error(gi_scall_t *c, const gate_error_t *story);
/* A local caller gets what a remote one would: the code of the class. */
gate_error_t gi_scall_as_remote(const gate_error_t *story);
/* The future, to be completed now; its block is kept while c lives. NULL: it
 * has been. */
gate_future_t *gi_scall_take_future(gi_scall_t *c);
/* Its future is about to get bytes that are read later. */
void gi_scall_own_future(gi_scall_t *c);
/* The story of a failed outcome: the call's own, or the code's. */
gate_error_t gi_scall_story(gi_scall_t *c, gate_err_t outcome);

/* ---- service_trace.c ----------------------------------------------------- */
/* Its caller asks where its time goes. */
void gi_service_trace_begin(gi_scall_t *c, gate_trace_t *told);
static inline bool gi_service_trace_on(const gi_scall_t *c) {
    return c->trace.taken_ns != 0;
}
/* Its handler starts, on this thread. */
void gi_service_trace_start(gi_scall_t *c);
/* A pool has it. */
void gi_service_trace_queue(gi_scall_t *c);
/* Behind the frames of its last answer. */
void gi_service_trace_add(gi_scall_t *c, gi_frames_t *out);
/* The same to a caller in this process, before its answer. */
void gi_service_trace_tell(gi_scall_t *c);

#endif
