/* SPDX-License-Identifier: BSD-3-Clause */
/* service_run.c -- where a call's handler runs: here, on threads, in a process;
 * how it comes back, and what it can do meanwhile.
 * Law: a pool has a reference to the call from its hand-over to its RETURNED
 * mail, and writes the call's hand alone. */
#include "service/service_own.h"
#include "service/service_run.h"

#include <string.h>
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/origin.h"
#include <gaterpc/log.h>
#include "procs/zygote.h"

static gi_scall_t *s_of_job(gi_job_t *job) {
    return (gi_scall_t *)(void *)((char *)job - offsetof(gi_scall_t, run));
}

/* ---- coming back --------------------------------------------------------- */
/* A stream's end is the only word of one without items. */
gate_err_t gi_run_said(const gi_scall_t *c, gate_err_t said) {
    return !said && c->call.streamed ? GATE_EOS : said;
}

void gi_run_back(gi_scall_t *c, gate_err_t said) {
    gi_life_state_t then = c->hand.job    ? GI_LIFE_JOB
                           : c->hand.next ? GI_LIFE_PULLED
                                          : GI_LIFE_KEPT;
    gi_life_returned(&c->life, said, then);
}

/* Brings a call back from another thread. */
static void s_bring_back(gi_scall_t *c, gate_err_t said) {
    gate_service_t *self = c->service;
    c->hand.said = said;
    c->mail.kind = GI_SMAIL_RETURNED;
    if (gi_mailbox_push(self->is.mailbox, &c->mail, -1))
        gi_scall_drop(c);
    gi_latch_done(&self->shared.away);
}

void gi_run_returned(gi_scall_t *c) {
    gi_mailbox_linger(c->service->is.mailbox); /* others of its batch follow */
    c->ticket = 0;
    gi_run_back(c, c->hand.said);
    gi_scall_free(c); /* the pool's */
}

/* ---- pools --------------------------------------------------------------- */
static gate_err_t s_pool(gate_service_t *self, gi_smethod_t *method,
                         gate_pool_t **out) {
    if (!method->pool)
        method->pool = method->runs == GATE_PROCESS
                           ? gate_runtime_procs(self->is.rt)
                           : gate_runtime_threads(self->is.rt);
    *out = method->pool;
    return method->pool ? GATE_OK : gate_error()->code;
}

/* Its workers come up while the service does, not with the first call. Where
 * there is no zygote each call says so. */
gate_err_t gi_service_begin_processes(gate_service_t *self) {
    char why[200];
    bool any = false;
    for (size_t i = 0; i < self->is.methods.n; i++)
        any |= self->is.methods.all[i].runs == GATE_PROCESS;
    if (!any || !gi_zygote_pid() || gate_runtime_procs(self->is.rt))
        return GATE_OK;
    snprintf(why, sizeof why, "%s", gate_error()->text);
    return gi_err(gate_error()->code, "service %s: no process pool: %s",
                  self->is.name, why);
}

/* ---- on threads ---------------------------------------------------------- */
static void s_job_run(gi_job_t *job) {
    gi_scall_t *c = s_of_job(job);
    gate_err_t e;
    if (c->call.deadline_ms <= gi_clock_coarse_ns() / 1000000) {
        e = GATE_TIMEOUT;
        gi_error_story(&c->call.error, e, NULL,
                       "its deadline passed before it could run", GI_UNRUN);
    } else if (atomic_load(&c->call.cancel)) {
        e = GATE_CANCELLED;
        gi_error_story(&c->call.error, e, NULL, gate_err_text(e), GI_UNRUN);
    } else {
        const void *before = gi_call_work_for(c->service);
        if (gi_service_trace_on(c))
            gi_service_trace_start(c);
        e = gi_run_said(c, gi_call_invoke(&c->call, c->method->m->fn));
        gi_call_work_for(before);
    }
    s_bring_back(c, e);
}

static void s_refuse_pool(gi_scall_t *c, gate_err_t e, const char *what) {
    char text[200];
    if (e == GATE_BUSY)
        snprintf(text, sizeof text, "The %s of service %s is full.", what,
                 c->service->is.name);
    else
        snprintf(text, sizeof text, "%s", gate_error()->text);
    gi_scall_refuse(c, e, NULL, text);
}

static void s_refused_by_pool(gi_scall_t *c, gate_err_t e) {
    if (e != GATE_BUSY)
        (void)gi_err(e, "the pool of %s refused it: %s", c->method->m->name,
                     gate_err_text(e));
    if (c->life.state == GI_LIFE_RUNNING) /* else it was told already */
        s_refuse_pool(c, e, "thread pool");
    gi_scall_free(c); /* the pool's */
}

/* Calls for threads are gathered while a batch of mail or messages is read: the
 * pool takes them under one lock and wakes one thread. */
void gi_run_to_threads(gate_service_t *self) {
    gi_job_t *jobs[GI_SERVICE_JOBS];
    size_t n = self->own->n_jobs;
    gate_err_t e;
    if (!n)
        return;
    self->own->n_jobs = 0; /* refusing may bring new ones */
    memcpy(jobs, self->own->jobs, n * sizeof *jobs);
    gi_latch_add_n(&self->shared.away, n);
    size_t taken = gi_pool_run_many(self->own->jobs_pool, jobs, n, &e);
    for (; taken < n; taken++) {
        gi_latch_done(&self->shared.away);
        s_refused_by_pool(s_of_job(jobs[taken]), e);
    }
}

static void s_run_thread(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gate_pool_t *pool;
    gate_err_t e = s_pool(self, c->method, &pool);
    if (e) {
        s_refuse_pool(c, e, "thread pool");
        return;
    }
    if (self->own->n_jobs == GI_SERVICE_JOBS || self->own->jobs_pool != pool)
        gi_run_to_threads(self);
    if (gi_service_trace_on(c))
        gi_service_trace_queue(c);
    c->run.run = s_job_run;
    c->run.urgent = c->life.urgent;
    gi_ref_take(&c->refs);
    self->own->jobs_pool = pool;
    self->own->jobs[self->own->n_jobs++] = &c->run;
}

/* ---- in processes -------------------------------------------------------- */
/* From the process pool's thread: the method's own items and end. */
static void s_proc_item(void *ctx, const void *data, size_t size) {
    gi_sstream_sink(ctx, data, size);
}

static void s_proc_done(void *ctx, const void *data, size_t size,
                        const gate_error_t *err) {
    gi_scall_t *c = ctx;
    gate_err_t e = err ? err->code : GATE_OK;
    if (e && e != GATE_EOS) {
        gi_error_set(&c->call.error, err);
    } else if (!e && !gi_buf_append(&c->call.out, data, size)) {
        e = GATE_NOMEM;
    }
    s_bring_back(c, e);
}

static void s_proc_took(void *ctx, int64_t run_ns) {
    gi_scall_t *c = ctx;
    if (gi_service_trace_on(c))
        atomic_store_explicit(&c->trace.started_ns, gi_clock_ns() - run_ns,
                              memory_order_relaxed);
}

static const gi_sink_t s_proc_sink = {.item = s_proc_item,
                                      .done = s_proc_done,
                                      .huge = true,
                                      .took = s_proc_took};

/* A pool's window: 0 = not limited. */
size_t gi_run_window(int64_t credit) {
    return credit == GI_CREDIT_FREE ? 0 : credit > 0 ? (size_t)credit : 1;
}

static gate_err_t s_submit(gi_scall_t *c, gate_pool_t *pool) {
    gate_service_t *self = c->service;
    const gate_method_t *m = c->method->m;
    gi_request_t request = {
        .fn = m->fn,
        .name = m->name,
        .args = c->call.args_packed,
        .kwargs = c->call.kwargs_packed,
        .plain = !c->call.args_huge, /* looked at there, as those of threads */
        .options = {.priority = gate_call_priority(&c->call),
                    .idempotent = m->idempotent,
                    .max_attempts = gi_service_runs(self, m),
                    .soft_ms = m->soft_ms,
                    .hard_ms = m->hard_ms},
        .deadline_ms = c->call.deadline_ms,
        .attempt = c->call.attempt,
        .credit_items = gi_run_window(c->life.credit.items),
        .credit_bytes = gi_run_window(c->life.credit.bytes),
        .user = c->call.user,
        .meta = c->call.meta,
        .sink = &s_proc_sink,
        .ctx = c};
    if (gi_service_trace_on(c))
        gi_service_trace_queue(c);
    c->pool = pool;
    gi_ref_take(&c->refs);
    gi_latch_add(&self->shared.away);
    gate_err_t e = gi_pool_submit(pool, &request, &c->ticket);
    if (!e)
        return GATE_OK;
    gi_latch_done(&self->shared.away);
    c->ticket = 0;
    gi_scall_free(c);
    return e;
}

static void s_run_process(gi_scall_t *c) {
    gate_pool_t *pool = NULL;
    gate_err_t e = s_pool(c->service, c->method, &pool);
    if (!e)
        e = s_submit(c, pool);
    /* it did not run: others may have workers, and so may we later */
    if (e == GATE_CLOSED || e == GATE_BUSY || e == GATE_SYSTEM)
        gi_scall_refuse(c, GATE_BUSY, NULL, gate_error()->text);
    else if (e)
        s_refuse_pool(c, e, "process pool");
}

/* ---- here ---------------------------------------------------------------- */
gate_err_t gi_run_here(gi_scall_t *c, gate_err_t (*fn)(gi_scall_t *),
                       unsigned *quick, unsigned trusted) {
    bool waits = *quick == trusted;
    if (c->link && !waits)
        gi_link_send_all(c->service);
    int64_t before = c->link ? gi_clock_coarse_ns() : 0;
    gate_err_t said = fn(c);
    if (c->link && gi_clock_coarse_ns() != before)
        *quick = 0; /* a tick at least, of 1..4 ms */
    else
        *quick += !waits;
    return said;
}

static gate_err_t s_invoke(gi_scall_t *c) {
    return gi_run_said(c, gi_call_invoke(&c->call, c->method->m->fn));
}

/* ---- all of them --------------------------------------------------------- */
void gi_run_call(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    if (life->in_place) {
        if (gi_service_trace_on(c))
            gi_service_trace_start(c);
        gate_err_t said =
            gi_run_here(c, s_invoke, &c->method->quick, GI_METHOD_QUICK);
        if (said == GATE_KEPT)
            gi_run_back(c, said);
        else
            gi_life_returned(life, said, GI_LIFE_KEPT);
    } else if (c->method->runs == GATE_PROCESS)
        s_run_process(c);
    else
        s_run_thread(c);
}

/* ---- what a handler can do here ------------------------------------------ */
/* Its keeper has a reference, and one to the service. */
static gate_call_t *s_keep(gate_call_t *call) {
    gi_scall_t *c = (gi_scall_t *)call;
    gi_service_share(c->service);
    gi_ref_take(&c->refs);
    return call;
}

static void s_finish_kept(gate_call_t *call) {
    gi_scall_t *c = (gi_scall_t *)call;
    gate_service_t *self = c->service;
    c->finish_mail.kind = GI_SMAIL_FINISHED;
    if (gi_service_post(self, &c->finish_mail, -1))
        gi_scall_drop(c);
    gi_service_release(self);
}

static bool s_cancelled(gate_call_t *call) {
    return atomic_load(&call->cancel);
}

const gi_call_ops_t gi_scall_ops = {.yield = gi_sstream_yield,
                                    .yield_now = gi_service_stream_yield_now,
                                    .keep = s_keep,
                                    .finish = s_finish_kept,
                                    .generate = gi_sstream_generate,
                                    .run = gi_sjob_run,
                                    .huge = &gi_sfeed_ops,
                                    .cancelled = s_cancelled};
