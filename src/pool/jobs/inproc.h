/* SPDX-License-Identifier: BSD-3-Clause */
/* inproc.h -- one job of a pool that runs in this process: what was copied from
 * its request, and how it is run. Room-internal.
 * Thread: new by the submitter; then the one that runs it, which frees it;
 * cancel and credit are safe from any thread while its ticket is good. */
#ifndef GI_LOCAL_H
#define GI_LOCAL_H

#include <stdatomic.h>

#include "mail/credit.h"
#include "jobs/pool.h"

/* What the jobs of a pool share without a lock: how many have ended, and
 * whether they are told to stop. Thread: any. */
#define GI_LOCAL_COUNTERS 8

typedef struct gi_local_state {
    struct {
        atomic_ullong n;
        char behind[56]; /* a cache line: some threads count here alone */
    } ended[GI_LOCAL_COUNTERS];
    atomic_uint stops;   /* times that what ran was told to stop */
    atomic_bool refuses; /* what nobody had begun was told so */
} gi_local_state_t;

/* One has ended. Before its `done`, whose release makes it seen by who waits.
 */
static inline void gi_local_count(gi_local_state_t *self) {
    static atomic_uint threads;
    static _Thread_local unsigned mine; /* 0: not one yet */

    if (!mine)
        mine = 1 + atomic_fetch_add(&threads, 1) % GI_LOCAL_COUNTERS;
    atomic_fetch_add_explicit(&self->ended[mine - 1].n, 1,
                              memory_order_relaxed);
}
static inline uint64_t gi_local_ended(const gi_local_state_t *self) {
    uint64_t n = 0;

    for (size_t i = 0; i < GI_LOCAL_COUNTERS; i++)
        n += atomic_load_explicit(&self->ended[i].n, memory_order_relaxed);
    return n;
}
static inline unsigned gi_local_stops(const gi_local_state_t *self) {
    return atomic_load_explicit(&self->stops, memory_order_acquire);
}
static inline bool gi_local_refuses(const gi_local_state_t *self) {
    return atomic_load_explicit(&self->refuses, memory_order_acquire);
}

typedef struct gi_local gi_local_t;
/* What its jobs look at: it lies first. */
static inline gi_local_state_t *gi_local_state(gi_local_t *self) {
    return (gi_local_state_t *)(void *)self;
}

typedef struct gi_local_job {
    gi_job_t job; /* first: what the pool runs */
    gi_local_t *local;
    gate_pool_t *pool;
    gate_fn *fn;
    const char *name, *user; /* in bytes, or NULL */
    gate_bytes_t args, kwargs, meta;
    unsigned n_inputs;         /* as gi_request_t */
    unsigned n_done, n_failed; /* of them */
    int64_t deadline_ms;
    int64_t soft_ms;       /* 0 = none */
    int64_t soft_until_ns; /* set when it starts; INT64_MAX = none */
    int attempt;
    void *fn_ctx;
    gate_runtime_t *runtime;
    const gi_sink_t *sink;
    void *ctx;
    const void *host;
    atomic_bool cancel, began;
    bool lent;           /* lies in its submitter's memory; has no slot */
    unsigned stops;      /* of the pool, when it began */
    gi_credit_t *credit; /* NULL: it has no window */
    size_t slot;
    char bytes[]; /* credit, args, kwargs, name, user, meta */
} gi_local_job_t;

/* NULL: no memory. soft_ms is the pool's own limit, 0 = none. */
gi_local_job_t *gi_local_job_new(gi_local_t *local, gate_pool_t *pool,
                                 int64_t soft_ms, const gi_request_t *request);
void gi_local_job_free(gi_local_job_t *job);
/* It has run: its ticket is no good any more, e is counted. (inproc.c) */
void gi_local_end(gi_local_job_t *job, gate_err_t e);

#endif
