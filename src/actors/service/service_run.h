/* SPDX-License-Identifier: BSD-3-Clause */
/* service_run.h -- where a call's handler runs, what it is given and what it
 * sends. */
#ifndef GI_SERVICE_RUN_H
#define GI_SERVICE_RUN_H

#include "service/service_call.h"

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

/* ---- service_run.c ------------------------------------------------------- */
extern const gi_call_ops_t gi_scall_ops;
void gi_run_call(gi_life_t *life); /* of the core */
/* Hands over the calls gathered for threads. */
void gi_run_to_threads(gate_service_t *self);
/* Its handler has come back with said. */
void gi_run_back(gi_scall_t *c, gate_err_t said);
/* GATE_EOS for a handler that yielded, or said so itself. */
gate_err_t gi_run_said(const gi_scall_t *c, gate_err_t said);
/* Runs fn on the actor. What is gathered for the wire may wait for it, but for
 * nothing that takes long: such is what lately did, and everything at first.
 * quick counts runs in a row that took no time, up to trusted, from where on
 * they are waited for. */
gate_err_t gi_run_here(gi_scall_t *c, gate_err_t (*fn)(gi_scall_t *),
                       unsigned *quick, unsigned trusted);
void gi_run_returned(gi_scall_t *c);  /* mail */
size_t gi_run_window(int64_t credit); /* a pool's window: 0 = not limited */

/* ---- service_job.c ------------------------------------------------------- */
gate_err_t gi_sjob_run(gate_call_t *call, gate_pool_t *pool, gate_fn *fn,
                       gate_arg_t args, gate_then_fn *then) GATE_MUST;
gate_err_t gi_sjob_submit(gi_life_t *life); /* of the core */
void gi_sjob_done(gi_sjob_t *job);          /* mail */
void gi_sjob_free(gi_sjob_t *job);

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
