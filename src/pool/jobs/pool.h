/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.h (private) -- one face for every kind of pool, for services and for the
 * public functions. */
#ifndef GI_POOL_H
#define GI_POOL_H

#include <gaterpc/pool.h>
#include "shared/owner.h"
#include "shared/shm.h"
#include "jobs/threads.h"
#include "value/value.h"

/* What a submitted request reports to. Called on a pool's own thread (in order
 * for one request), must not block. */
typedef struct gi_sink {
    /* One yielded item, packed; borrowed. NULL member: yields are refused. */
    void (*item)(void *ctx, const void *data, size_t size);
    /* Exactly once: a packed result (borrowed) and err NULL; err with code
     * GATE_EOS after yields; else the error. */
    void (*done)(void *ctx, const void *data, size_t size,
                 const gate_error_t *err);
    /* Items may be parts of a huge result (huge_feed.h). */
    bool huge;
    /* Instead of done: a packed result of many bytes, in memory that it takes
     * (gi_mem_free). NULL member: done gets it to copy. */
    void (*taken)(void *ctx, void *data, size_t size);
    /* Instead of done: a result that is a bin and lies in shared memory;
     * shared: release it. NULL member: done gets a packed copy. */
    void (*lent)(void *ctx, gi_run_t *run);
    /* Of a request with n_inputs, which needs both: the outcome of its next
     * input, as done has it; and, before done, how long all of those ran (of
     * any other request took tells how long it ran; NULL member: not). done
     * comes with GATE_EOS, what has no outcome then was not begun; or with the
     * error that ended the input after the last outcome. */
    void (*part)(void *ctx, const void *data, size_t size,
                 const gate_error_t *err);
    void (*took)(void *ctx, int64_t run_ns);
} gi_sink_t;

#define GI_INPUTS_MAX 255

typedef struct gi_request {
    gate_fn *fn;
    const char *name;          /* for errors and statistics; may be NULL */
    gate_bytes_t args, kwargs; /* packed; copied by submit */
    bool plain; /* args are held to a peer's limits where they are read */
    /* 0 = a job as any other. Else args are so many args arrays, one behind the
     * other, kwargs where each of them ends (uint32_t), and fn is called for
     * each. Without limits, retries, queues and runs. */
    unsigned n_inputs;
    gate_job_options_t options;        /* a zeroed one is fine */
    int64_t deadline_ms;               /* on gi_clock_ms; INT64_MAX = none */
    int attempt;                       /* 0 = 1 */
    size_t credit_items, credit_bytes; /* window for yields; 0 = unlimited */
    void *fn_ctx;                      /* gate_call_ctx on threads */
    gate_runtime_t *runtime;           /* gate_call_runtime on threads */
    const char *user;                  /* gate_call_user; copied */
    gate_bytes_t meta;                 /* flat (meta.h); copied */
    struct gate_queue *const *queues;  /* that args refer to (procs.h) */
    size_t n_queues;
    gi_run_t *const *runs; /* that args refer to, and where in them */
    const gi_run_ref_t *run_refs;
    size_t n_runs;
    const gi_sink_t *sink;
    void *ctx;
    const void *host; /* what it is run for (gi_call_works_for), on threads */
    /* The submitter's memory, good until the sink's `done` has returned, or
     * NULL; then name is for ever, too. A job that fits lies there and has no
     * ticket: gi_pool_cancel_room. */
    void *room;
    size_t room_bytes;
} gi_request_t;

/* Identifies a request under way; 0 is none. Stale tickets are harmless. */
typedef uint64_t gi_ticket_t;

typedef struct gi_pool_ops {
    const char *kind;  /* "threads", "processes", "custom" */
    bool processes;    /* jobs leave this process */
    size_t room_bytes; /* that a job needs besides what it copies; 0: none */
    bool (*chunks)(gate_pool_t *self);  /* n_inputs may be more than one */
    void (*destroy)(gate_pool_t *self); /* waits; frees impl */
    gate_err_t (*drain)(gate_pool_t *self, int64_t timeout_ms);
    /* The three that follow may be NULL: nothing to do, or GATE_OK. */
    void (*stop)(gate_pool_t *self, unsigned what); /* gate_stop_t; no wait */
    gate_err_t (*ready)(gate_pool_t *self, int64_t timeout_ms);
    gate_err_t (*room)(gate_pool_t *self, int64_t timeout_ms);
    void (*abandon)(gate_pool_t *self); /* in a forked child; may be NULL */
    gate_err_t (*resize)(gate_pool_t *self, int workers);
    gate_value_t *(*stats)(gate_pool_t *self);
    /* A job of the process's own: threads and custom only, else NULL. */
    gate_err_t (*run)(gate_pool_t *self, gi_job_t *job);
    /* many at once; NULL: one after the other */
    size_t (*run_many)(gate_pool_t *self, gi_job_t *const *jobs, size_t n,
                       gate_err_t *e);
    gate_err_t (*submit)(gate_pool_t *self, const gi_request_t *request,
                         gi_ticket_t *ticket);
    void (*cancel)(gate_pool_t *self, gi_ticket_t ticket);
    /* With room_bytes alone: */
    void (*cancel_room)(gate_pool_t *self, void *room);
    /* Runs a job here that nobody has begun, for a thread of group. */
    void (*help)(gate_pool_t *self, void *room, bool always);
    const void *(*group)(gate_pool_t *self); /* NULL: nobody's */
    void (*credit)(gate_pool_t *self, gi_ticket_t ticket, size_t items,
                   size_t bytes);
    /* Memory that its workers read in place: processes only, else NULL. */
    gi_exchange_t *(*inbox)(gate_pool_t *self);
} gi_pool_ops_t;

struct gate_pool {
    const gi_pool_ops_t *ops;
    uint32_t born; /* gi_born_now of the process that made it */
    void *impl;
    const gate_settings_t *settings;
    gate_runtime_t *runtime;      /* for calls; never looked into here */
    gi_release_fn *release_owner; /* at the end of destroy; may be NULL */
    void *owner;
    struct gi_pool_shared *shared; /* what may outlive the pool */
};

/* Makes the pool's public part, for the makers of each kind; settings are
 * copied. Keeps impl, and the owner, on success only. NULL with gate_error()
 * set. */
gate_pool_t *gi_pool_make(const gi_pool_base_t *base, const gi_pool_ops_t *ops,
                          void *impl);
/* What outlives a pool as long as futures, streams or maps refer to it: its
 * settings, and the knowledge that it has gone. Thread: any. */
typedef struct gi_pool_shared gi_pool_shared_t;
gi_pool_shared_t *gi_pool_share(gate_pool_t *self);
void gi_pool_shared_release(void *shared);
/* The pool, which is not destroyed before leave; NULL when it was. */
gate_pool_t *gi_pool_enter(gi_pool_shared_t *shared);
void gi_pool_leave(gi_pool_shared_t *shared);
/* What gate_fn_register named it; NULL when nobody did. Thread: any. */
const char *gi_pool_fn_name(gate_fn *fn);
/* The value of gate_pool_stats; restarts may be NULL. */
typedef struct gi_pool_numbers {
    const char *kind, *state;
    int workers;
    size_t queued, running;
    int64_t oldest_ms;
    uint64_t done, failed, lost, cancelled;
    const gate_arg_t *restarts; /* entries with kw */
    size_t n_restarts;
} gi_pool_numbers_t;
gate_value_t *gi_pool_numbers_value(const gi_pool_numbers_t *self);

/* The makers behind gate_threads_new and its sisters (which live in actors,
 * where runtimes are known). NULL with gate_error() set. */
gate_pool_t *gi_pool_threads(const gi_pool_base_t *base,
                             const gate_pool_options_t *options);
gate_pool_t *gi_pool_custom(const gi_pool_base_t *base, gate_submit_fn *submit,
                            void *ctx);

/* In room procs, which this one does not see. */
gate_pool_t *gi_pool_procs(const gi_pool_base_t *base,
                           const gate_pool_options_t *options);
gate_pool_t *gi_pool_procs_more(const gi_pool_base_t *base,
                                const gate_pool_options_t *options,
                                const gate_pool_more_t *more);

/* GATE_BUSY: full; GATE_CLOSED; sets the story. */
gate_err_t gi_pool_submit(gate_pool_t *self, const gi_request_t *request,
                          gi_ticket_t *ticket) GATE_MUST;
void gi_pool_cancel(gate_pool_t *self, gi_ticket_t ticket);
/* A job that had no ticket; not after its `done` has returned. */
void gi_pool_cancel_room(gate_pool_t *self, void *room);
void gi_pool_credit(gate_pool_t *self, gi_ticket_t ticket, size_t items,
                    size_t bytes);
/* Runs job->run on the pool; GATE_BUSY, GATE_CLOSED, GATE_BADARG (processes).
 * Sets no story. */
gate_err_t gi_pool_run(gate_pool_t *self, gi_job_t *job);
/* How many of n it took, from the first on; *e: why not all. */
size_t gi_pool_run_many(gate_pool_t *self, gi_job_t *const *jobs, size_t n,
                        gate_err_t *e);
bool gi_pool_is_procs(const gate_pool_t *self);
/* Whether a job's limits and counts allow for several inputs in one. */
bool gi_pool_chunks(gate_pool_t *self);

/* ---- memory that a process pool's workers read in place; none elsewhere --- */
gate_err_t gi_pool_take(gate_pool_t *self, size_t size,
                        gi_run_t **out) GATE_MUST;
/* Cheap: whether an address may be in gi_pool_run_of. */
bool gi_pool_in_inbox(gate_pool_t *self, const void *data);
/* The run that the bytes lie in, shared; NULL: none. */
gi_run_t *gi_pool_run_of(gate_pool_t *self, const void *data, size_t size);

#endif
