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

/* Bytes of the submitter's that the job could lie in; 0: it takes its own, as
 * the pool wants none or it copies much: that goes when the job ends. */
size_t gi_submit_room(const gate_pool_t *pool, const gi_request_t *request);
/* Of who wants one result. */
extern const gate_error_t gi_submit_a_stream;

#endif
