/* SPDX-License-Identifier: BSD-3-Clause */
/* submit.h -- how the public functions turn arguments into requests;
 * room-internal. */
#ifndef GI_SUBMIT_H
#define GI_SUBMIT_H

#include "jobs/pool.h"

#define GI_SUBMIT_QUEUES_MAX 16

/* A request; what it borrows lives in the thread's scratch (scratch.h) until it
 * was submitted. */
typedef struct gi_submit {
    gi_request_t request;
    int64_t timeout_ms; /* gate_timeout_ms of the arguments; -1 = none */
    gate_queue_t *queues[GI_SUBMIT_QUEUES_MAX];
    gi_run_t *runs[GI_JOB_RUNS]; /* shared */
    gi_run_ref_t run_refs[GI_JOB_RUNS];
} gi_submit_t;

/* Packs. Sets the story. Fini it in every case. */
gate_err_t gi_submit_init(gi_submit_t *self, gate_pool_t *pool, gate_fn *fn,
                          const gate_arg_t *args, size_t n) GATE_MUST;
void gi_submit_fini(gi_submit_t *self);

#endif
