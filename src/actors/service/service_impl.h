/* SPDX-License-Identifier: BSD-3-Clause */
/* service_impl.h -- what the files of a service's shell share. What a call may
 * do next is decided in core/ (life.c); here is what it is made of:
 *
 *   service.c, service_methods.c   public face, life; methods
 *   service_actor.c    mail, sockets, timers in; what the core wants done out
 *   service_link.c     one connection to one broker; service_link_send.c
 *   service_call.c     a broker's request becomes a call; service_direct.c: one
 *                      of this process does
 *   service_upload.c   its arguments in chunks
 *   service_run.c, service_job.c   where its handler runs, and its job
 *   service_stream.c, service_huge.c (feed, codecs)   what it sends
 *   service_answer.c   how it is answered
 *   service_table.c    calls as objects; found by id
 *
 * Who owns a call: the actor; a pool, a keeper, a feeder has a reference while
 * it has the call, and gives it back by mail. When the mailbox is closed (the
 * service is gone) the giver drops it. */
#ifndef GI_SERVICE_IMPL_H
#define GI_SERVICE_IMPL_H

#include <gaterpc/service.h>
#include "net/actor.h"
#include "jobs/call.h"
#include "mail/credit.h"
#include "async/future.h"
#include "net/frames.h"
#include "jobs/huge_feed.h"
#include "bulk/huge_pack.h"
#include "bulk/huge_unpack.h"
#include "sync/lock.h"
#include "sync/gauge.h"
#include "sync/latch.h"
#include "sync/news.h"
#include "sync/ref.h"
#include "runtime/registry.h"
#include "wire/rpc.h"
#include "runtime/builder.h"
#include "net/login.h"
#include "runtime/runtime.h"
#include "service/service_direct.h"
#include "service/service_huge.h"
#include "service/service_link.h"
#include "net/sock.h"
#include "async/stream.h"
#include "async/trace.h"
#include "sync/wheel.h"
#include "service/core/arrivals.h"
#include "service/core/service_core.h"

typedef struct gi_scall gi_scall_t;
typedef struct gi_readers gi_readers_t;
typedef struct gi_sargs gi_sargs_t;

/* ---- methods ------------------------------------------------------------- */
typedef struct gi_smethod {
    const gate_method_t *m;
    size_t name_size;
    void *ctx;
    gate_runs_t runs;  /* resolved: never GATE_DEFAULT */
    gate_pool_t *pool; /* where, unless inline; NULL: the runtime's default */
    unsigned quick; /* inline: runs in a row that took no time, up to a bound */
    gi_life_counts_t counts;
} gi_smethod_t;

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
    gi_smail_t mail;                        /* OPEN, then RETURNED */
    gi_smail_t finish_mail;                 /* FINISHED */
    gi_smail_t cancel_mail;                 /* CANCEL, once */
    gi_smail_t credit_mail;                 /* CREDIT, by a local reader */
    gi_smail_t lost_mail;                   /* LOST, by the pool's thread */
    gi_smail_t args_mail;                   /* ARGS */
    atomic_bool credit_pending;             /* credit_mail is under way */
    _Atomic int64_t owed_items, owed_bytes; /* what it is about */
    gi_shand_t hand;
    /* where it came from: a link, or this process */
    gi_link_t *link;
    unsigned epoch;
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

#define GI_SJOB_QUEUES 16

/* The job of gate_call_run, and what becomes of it. */
typedef struct gi_sjob {
    gi_smail_t mail;
    gi_scall_t *call;
    gate_pool_t *pool;
    gate_fn *fn;
    gate_then_fn *then;
    gi_buf_t args;
    gate_queue_t *queues[GI_SJOB_QUEUES]; /* that args refer to; shared */
    size_t n_queues;
    gi_buf_t result;
    gi_error_t error;
} gi_sjob_t;

#define GI_SCALL_FEW 64 /* lists of calls by id, at first; power of two */

typedef struct gi_sstats {
    uint64_t dropped, huge, chunks;
} gi_sstats_t;

#define GI_SERVICE_JOBS 64

struct gate_service {
    gi_ref_t refs; /* the user's, kept calls', the registry's finders' */
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_builder_t builder;
    gi_login_t login;
    char *name, *description;
    size_t name_size;
    int64_t limit; /* calls under way */
    int64_t life;  /* random: what tells it from one under the same identity */
    unsigned n_workers;
    gate_runs_t default_runs;
    gate_pool_t *default_pool;
    gi_smethod_t *methods;
    size_t n_methods, methods_room;
    uint32_t *method_hash; /* index + 1, 0 = empty */
    size_t method_hash_size;
    char *idempotent; /* names, comma separated; "" */
    gi_actor_t *actor;
    gi_mailbox_t *mailbox;
    gi_gauge_t local_refused; /* local calls refused; only grows */
    gi_gauge_t local;         /* local calls in flight */
    gi_gauge_t told;          /* brokers that told it to drain */
    gi_news_t news;           /* of whether it is ready, or idle */
    gi_latch_t away;          /* calls running on pools */
    gi_drainable_t drainable;
    bool registered;
    const void *broker; /* of this runtime that the first link belongs to */
    /* the actor's own */
    gi_service_core_t core;
    gi_link_t *links;
    size_t n_links;
    gi_scall_t *free_calls;
    size_t n_free;
    gi_job_t *jobs[GI_SERVICE_JOBS]; /* on their way to threads */
    size_t n_jobs;
    gate_pool_t *jobs_pool; /* theirs */
    size_t n_left;     /* local calls that ended and are still in gauge local */
    gi_shuge_t *huges; /* under way */
    gi_readers_t *readers;  /* callers that read huge results; NULL: none yet */
    gi_arrivals_t arrivals; /* the huge arguments under way */
    gi_smail_t ready_mail;
    gi_lock_t ready_lock;        /* of: */
    bool ready;                  /* ready_mail is under way */
    pthread_t thread;            /* the actor's */
    gi_smail_t *own, **own_last; /* mail of the actor to itself */
    gi_scall_t **lists; /* of calls of brokers, by hash; few until they grow */
    size_t n_lists, n_listed;
    gi_scall_t *few[GI_SCALL_FEW];
    gi_buf_t scratch;
    int64_t reached_ms, worked_ms; /* some broker had us; we looked last */
    bool idle;                     /* drained, and told so */
    gi_sstats_t stats;
    gi_frames_t in, out; /* last: who has no broker touches neither */
};

/* ---- service_methods.c --------------------------------------------------- */
extern const gate_method_t gi_service_builtin[];
gate_err_t gi_service_build_table(gate_service_t *self) GATE_MUST;
gi_smethod_t *gi_service_method(gate_service_t *self, gate_bytes_t name);
/* How often a call of it may run in all. */
int gi_service_runs(const gate_service_t *self, const gate_method_t *m);

/* ---- service_actor.c ----------------------------------------------------- */
/* Any thread. The actor's own never waits for itself: its mail is read in the
 * same pass. Sets no story. */
gate_err_t gi_service_post(gate_service_t *self, gi_smail_t *mail,
                           int64_t timeout_ms) GATE_MUST;
bool gi_service_on_actor(const gate_service_t *self);
extern const gi_actor_ops_t gi_service_ops;

void gi_service_drain(gate_service_t *self); /* takes nothing new */
/* A connection more to the broker behind the link's listener. */
gate_err_t gi_service_follow(gi_link_t *link) GATE_MUST;

#define GI_SCALL_KEEP_BYTES 16384 /* larger buffers are not kept for reuse */

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

/* ---- service_run.c ------------------------------------------------------- */
extern const gi_call_ops_t gi_scall_ops;
gate_err_t gi_service_begin_processes(gate_service_t *self) GATE_MUST;
void gi_run_call(gi_life_t *life); /* of the core */
/* Hands over the calls gathered for threads. */
void gi_run_to_threads(gate_service_t *self);
/* Its handler has come back with said. */
void gi_run_back(gi_scall_t *c, gate_err_t said);
/* GATE_EOS for a handler that yielded, or said so itself. */
gate_err_t gi_run_said(const gi_scall_t *c, gate_err_t said);
void gi_run_returned(gi_scall_t *c);  /* mail */
size_t gi_run_window(int64_t credit); /* a pool's window: 0 = not limited */

/* ---- service_job.c ------------------------------------------------------- */
gate_err_t gi_sjob_run(gate_call_t *call, gate_pool_t *pool, gate_fn *fn,
                       gate_arg_t args, gate_then_fn *then) GATE_MUST;
gate_err_t gi_sjob_submit(gi_life_t *life); /* of the core */
void gi_sjob_done(gi_sjob_t *job);          /* mail */
void gi_sjob_free(gi_sjob_t *job);

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

/* ---- service_stream.c ---------------------------------------------------- */
void gi_sstream_item(gi_sitem_t *item);
/* From a pool's thread: one packed item, paid for. What is lost fails it. */
void gi_sstream_sink(gi_scall_t *c, const void *data, size_t size);
void gi_sstream_lost(gi_scall_t *c); /* mail */
gate_err_t gi_sstream_yield(gate_call_t *call);
gate_err_t gi_service_stream_yield_now(gate_call_t *call);
gate_err_t gi_sstream_generate(gate_call_t *call,
                               gate_err_t (*next)(gate_call_t *, void *),
                               void *state, void (*done)(void *));
void gi_sstream_credit(gi_scall_t *c, int64_t items, int64_t bytes);
void gi_sstream_owed(gi_scall_t *c); /* mail */
/* END, or the exception that story tells. */
void gi_sstream_end(gi_scall_t *c, const gate_error_t *story);
/* Of the core. */
gate_err_t gi_sstream_send(gi_life_t *life, const void *data, size_t size,
                           bool *queued);
gate_err_t gi_sstream_pull(gi_life_t *life);
bool gi_sstream_may_pull(gi_life_t *life);
void gi_sstream_unpull(gi_life_t *life);

/* ---- service_direct.c ---------------------------------------------------- */
void gi_scall_open(gi_scall_t *c);       /* mail */
void gi_scall_local(gi_slocal_t *local); /* mail */
/* Of the core. */
int64_t gi_direct_idle(const gi_life_t *life, int64_t now_ms);

/* ---- service_upload.c ---------------------------------------------------- */
/* The request says that its arguments come in chunks. GATE_TOOBIG,
 * GATE_NOTIMPL, GATE_NOMEM. */
gate_err_t gi_sargs_expect(gi_scall_t *c, const gi_ext_t *ext) GATE_MUST;
void gi_sargs_start(gi_life_t *life); /* of the core: asks for them */
void gi_sargs_chunk(gi_scall_t *c, gate_bytes_t tag, gi_frames_t *in,
                    unsigned at);
void gi_sargs_news(gi_scall_t *c);   /* mail; drops its reference */
void gi_sargs_look(gi_life_t *life); /* of the core: its timer */
void gi_sargs_leave(gi_scall_t *c);  /* idempotent */

#endif
