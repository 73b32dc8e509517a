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

typedef struct gi_local gi_local_t;

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
    bool windowed; /* credit is in use */
    gi_credit_t credit;
    size_t slot;
    char bytes[]; /* args, kwargs, name, user, meta */
} gi_local_job_t;

/* NULL: no memory. soft_ms is the pool's own limit, 0 = none. */
gi_local_job_t *gi_local_job_new(gi_local_t *local, gate_pool_t *pool,
                                 int64_t soft_ms, const gi_request_t *request);
void gi_local_job_free(gi_local_job_t *job);
/* It has run: its ticket is no good any more, e is counted. (local.c) */
void gi_local_end(gi_local_job_t *job, gate_err_t e);

#endif
