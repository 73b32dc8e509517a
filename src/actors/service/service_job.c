/* SPDX-License-Identifier: BSD-3-Clause */
/* service_job.c -- handlers that go on after a pool job (gate_call_run). */
#include "service/service_own.h"
#include "service/service_run.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/origin.h"
#include "shared/queue.h"

void gi_sjob_free(gi_sjob_t *job) {
    if (!job)
        return;
    while (job->n_queues)
        gate_queue_destroy(&job->queues[--job->n_queues]);
    gi_buf_fini(&job->args);
    gi_buf_fini(&job->result);
    gi_error_fini(&job->error);
    gi_mem_free(job);
}

/* ---- the job's side ------------------------------------------------------ */
static void s_sub_item(void *ctx, const void *data, size_t size) {
    gi_sjob_t *job = ctx;
    gi_sstream_sink(job->call, data, size);
}

static void s_sub_done(void *ctx, const void *data, size_t size,
                       const gate_error_t *err) {
    gi_sjob_t *job = ctx;
    gate_service_t *self = job->call->service;
    if (err)
        gi_error_set(&job->error, err);
    else if (!gi_buf_append(&job->result, data, size))
        gi_error_story(&job->error, GATE_NOMEM, NULL, "no memory for a result",
                       NULL);
    job->mail.kind = GI_SMAIL_JOBDONE;
    if (gi_mailbox_push(self->is.mailbox, &job->mail, -1)) {
        gi_scall_drop(job->call);
        gi_sjob_free(job);
    }
    gi_latch_done(&self->shared.away);
}

static const gi_sink_t s_sub_sink = {
    .item = s_sub_item, .done = s_sub_done, .huge = true};

/* ---- the handler's side -------------------------------------------------- */
/* An array of the arguments; queues become references, in order. */
static gate_err_t s_pack_args(gi_buf_t *out, const gate_arg_t *args, size_t n,
                              const gate_settings_t *settings) {
    size_t n_queues = 0;
    gate_err_t e = GATE_OK;
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_array(&pk, n);
    for (size_t i = 0; i < n && !e; i++)
        e = args[i].type == GATE_A_QUEUE ? gi_queue_pack_ref(out, n_queues++)
                                         : gi_arg_pack(out, &args[i], settings);
    if (!e && out->failed)
        e = gi_err(GATE_NOMEM, "no memory for a job's arguments");
    return e;
}

/* Only made here: the actor submits it when the handler has returned, so that
 * its ticket and credit are known to one thread. */
gate_err_t gi_sjob_run(gate_call_t *call, gate_pool_t *pool, gate_fn *fn,
                       gate_arg_t args, gate_then_fn *then) {
    gi_scall_t *c = (gi_scall_t *)call;
    bool list = args.type == GATE_A_LIST;
    const gate_arg_t *items = &args;
    size_t n = 1;
    if (!pool || !fn)
        return gi_err(GATE_BADARG, "%s: gate_call_run without a %s",
                      call->method, pool ? "job" : "pool");
    if (list && gi_arg_items(&args, &items, &n))
        return gate_error()->code;
    gi_sjob_t *job = gi_mem_calloc(1, sizeof *job);
    if (!job)
        return gi_err(GATE_NOMEM, "no memory for a job");
    job->n_queues = gi_queue_collect(items, n, job->queues, GI_SJOB_QUEUES);
    for (size_t i = 0; i < job->n_queues; i++)
        gi_queue_share(job->queues[i]);
    job->call = c;
    job->pool = pool;
    job->fn = fn;
    job->then = then;
    gate_err_t e = s_pack_args(&job->args, items, n, call->settings);
    if (e) {
        gi_sjob_free(job);
        return e;
    }
    c->hand.job = job;
    return GATE_KEPT;
}

/* ---- the actor's side ---------------------------------------------------- */
static gate_err_t s_submit(gi_scall_t *c, gi_sjob_t *job) {
    gate_call_t *call = &c->call;
    gate_service_t *self = c->service;
    int64_t items, bytes;
    gi_credit_look(&c->life.credit, &items, &bytes);
    gi_request_t request = {.fn = job->fn,
                            .args = {job->args.data, job->args.size},
                            .deadline_ms = call->deadline_ms,
                            .credit_items = gi_run_window(items),
                            .credit_bytes = gi_run_window(bytes),
                            .fn_ctx = call->ctx,
                            .runtime = call->runtime,
                            .user = call->user,
                            .meta = call->meta,
                            .queues = job->queues,
                            .n_queues = job->n_queues,
                            .sink = &s_sub_sink,
                            .ctx = job,
                            .host = self};
    c->pool = job->pool;
    gi_ref_take(&c->refs);
    gi_latch_add(&self->shared.away);
    gate_err_t e = gi_pool_submit(job->pool, &request, &c->ticket);
    if (!e)
        return GATE_OK;
    gi_latch_done(&self->shared.away);
    c->ticket = 0;
    gi_scall_free(c);
    gi_error_set(&call->error, gate_error());
    return e;
}

gate_err_t gi_sjob_submit(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    gi_sjob_t *job = c->hand.job;
    c->hand.job = NULL;
    gate_err_t e = s_submit(c, job);
    if (e)
        gi_sjob_free(job);
    return e;
}

static gate_err_t s_then(gi_scall_t *c, gi_sjob_t *job) {
    gate_err_t e = job->error.story.code;
    gate_value_t *value = NULL;
    if (!e)
        e = gate_value_decode(job->result.data, job->result.size,
                              c->call.settings, &value);
    else
        (void)gi_error_publish(&job->error);
    c->call.promise = GI_PROMISE_NONE;
    c->call.answered = c->call.packed = false;
    gate_err_t said = job->then(&c->call, e, value);
    gate_value_destroy(&value);
    return gi_run_said(c, gi_call_settle(&c->call, said));
}

/* Its own result or error is the call's. */
static gate_err_t s_take(gi_scall_t *c, gi_sjob_t *job) {
    gate_err_t e = job->error.story.code;
    if (e && e != GATE_EOS) {
        gi_error_set(&c->call.error, &job->error.story);
        if (gi_origin_of(job->error.story.traceback) == GI_ORIGIN_UNRUN)
            gi_call_raised(&c->call, &c->call.error); /* its handler ran */
    } else if (!e && !gi_buf_append(&c->call.out, job->result.data,
                                    job->result.size)) {
        e = GATE_NOMEM;
        gi_error_story(&c->call.error, e, NULL, "no memory for a result", NULL);
    }
    return e;
}

void gi_sjob_done(gi_sjob_t *job) {
    gi_scall_t *c = job->call;
    c->ticket = 0;
    if (gi_life_job_back(&c->life)) {
        gi_buf_reset(&c->call.out, GI_SCALL_KEEP_BYTES);
        gi_run_back(c, job->then ? s_then(c, job) : s_take(c, job));
    }
    gi_scall_free(c); /* the pool's */
    gi_sjob_free(job);
}
