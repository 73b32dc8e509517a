/* SPDX-License-Identifier: BSD-3-Clause */
/* service_job.c -- answers that come later: kept calls, and handlers
 * that go on after a pool job (gate_call_run). */
#include "service/service_impl.h"

#include "base/err.h"
#include "base/mem.h"
#include "shared/queue.h"

/* ---- kept calls ---------------------------------------------------------- */
static gate_call_t *s_keep(gate_call_t *call) {
    gi_service_share(((gi_scall_t *)call)->service);
    ((gi_scall_t *)call)->kept = true;
    return call;
}

static void s_finish_kept(gate_call_t *call) {
    gi_scall_t *c = (gi_scall_t *)call;
    gate_service_t *self = c->service;
    c->finish_mail.kind = GI_SMAIL_FINISHED;
    if (gi_mailbox_push(self->mailbox, &c->finish_mail, -1))
        gi_scall_drop(c);
    gi_service_release(self);
}

void gi_scall_finished(gi_scall_t *c) {
    gate_err_t outcome = c->call.error.story.code;
    if (c->returned) {
        gi_scall_end(c, outcome);
    } else {
        c->finished = true;
        c->outcome = outcome;
    }
}

/* ---- continuing after a pool job ----------------------------------------- */
static void s_job_free(gi_sjob_t *job) {
    gi_buf_fini(&job->result);
    gi_error_fini(&job->error);
    gi_mem_free(job);
}

static void s_sub_item(void *ctx, const void *data, size_t size) {
    gi_sjob_t *job = ctx;
    gate_err_t e = gi_sstream_push(job->call, data, size);
    (void)e;
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
    if (gi_mailbox_push(self->mailbox, &job->mail, -1)) {
        gi_scall_drop(job->call);
        s_job_free(job);
    }
    gi_latch_done(&self->away);
}

static const gi_sink_t s_sub_sink = {
    .item = s_sub_item, .done = s_sub_done, .huge = true};

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

static gate_err_t s_run(gate_call_t *call, gate_pool_t *pool, gate_fn *fn,
                        gate_arg_t args, gate_then_fn *then) {
    gi_scall_t *c = (gi_scall_t *)call;
    gate_service_t *self = c->service;
    gate_queue_t *queues[16];
    gi_buf_t packed = {0};
    bool list = args.type == GATE_A_LIST;
    const gate_arg_t *items = &args;
    size_t n = 1;
    if (list && gi_arg_items(&args, &items, &n))
        return gate_error()->code;
    size_t n_queues = gi_queue_collect(items, n, queues, 16);
    gi_sjob_t *job = gi_mem_calloc(1, sizeof *job);
    gate_err_t e = job ? s_pack_args(&packed, items, n, call->settings)
                       : gi_err(GATE_NOMEM, "no memory for a job");
    if (!e) {
        job->call = c;
        job->then = then;
        gi_request_t request = {
            .fn = fn,
            .args = {packed.data, packed.size},
            .deadline_ms = call->deadline_ms,
            .credit_items = gi_scall_window(c->credit.items),
            .credit_bytes = gi_scall_window(c->credit.bytes),
            .fn_ctx = call->ctx,
            .runtime = call->runtime,
            .user = call->user,
            .meta = call->meta,
            .queues = queues,
            .n_queues = n_queues,
            .sink = &s_sub_sink,
            .ctx = job};
        gi_latch_add(&self->away);
        c->pool = pool;
        e = gi_pool_submit(pool, &request, &c->ticket);
        if (e)
            gi_latch_done(&self->away);
    }
    gi_buf_fini(&packed);
    if (e) {
        c->pool = NULL;
        gi_error_set(&call->error, gate_error());
        if (job)
            s_job_free(job);
    }
    return e ? e : GATE_KEPT;
}

void gi_scall_jobdone(gi_sjob_t *job) {
    gi_scall_t *c = job->call;
    gate_err_t e = job->error.story.code;
    if (!c->returned) {
        c->job_done = job;
        return;
    }
    c->ticket = 0;
    gi_buf_reset(&c->call.out, GI_SCALL_KEEP_BYTES);
    if (job->then) {
        gate_value_t *value = NULL;
        if (!e)
            e = gate_value_decode(job->result.data, job->result.size,
                                  c->call.settings, &value);
        else
            (void)gi_error_publish(&job->error);
        gate_err_t r = job->then(&c->call, e, value);
        gate_value_destroy(&value);
        gi_scall_after(c, gi_call_settle(&c->call, r));
    } else {
        if (e == GATE_EOS)
            c->call.streamed = true;
        else if (e)
            gi_error_set(&c->call.error, &job->error.story);
        else
            gi_buf_append(&c->call.out, job->result.data, job->result.size);
        gi_scall_end(c, e);
    }
    s_job_free(job);
}

/* ---- what a handler can do here ------------------------------------------ */
static bool s_cancelled(gate_call_t *call) {
    return atomic_load(&call->cancel);
}

const gi_call_ops_t gi_scall_ops = {.yield = gi_sstream_yield,
                                    .keep = s_keep,
                                    .finish = s_finish_kept,
                                    .generate = gi_sstream_generate,
                                    .run = s_run,
                                    .huge = &gi_sfeed_ops,
                                    .cancelled = s_cancelled};
