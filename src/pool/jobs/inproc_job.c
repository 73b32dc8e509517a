/* SPDX-License-Identifier: BSD-3-Clause */
/* inproc_job.c -- a job is one block of memory holding all it copied; the call
 * that its function sees belongs to the thread and is used again and again. */
#include "jobs/inproc.h"

#include <pthread.h>
#include <string.h>

#include "jobs/call.h"
#include "sync/clock.h"
#include "sync/wait.h"
#include "jobs/huge_feed.h"
#include "base/mem.h"

#define S_PARTS_NS 100000 /* of inputs that were thought to take half of it */

/* A thread's call, and the job it is used for. */
typedef struct s_holder {
    gate_call_t call;    /* first */
    gi_local_job_t *job; /* NULL: not in use */
} s_holder_t;

/* ---- what a job can do (gi_call_ops) ------------------------------------- */
static gi_local_job_t *s_job_of(gate_call_t *call) {
    return ((s_holder_t *)call)->job;
}

static bool s_is_cancelled(const gi_local_job_t *job) {
    return atomic_load_explicit(&job->cancel, memory_order_acquire) ||
           gi_local_stops(gi_local_state(job->local)) != job->stops;
}

static bool s_cancelled(gate_call_t *call) {
    const gi_local_job_t *job = s_job_of(call);

    return s_is_cancelled(job) || (job->soft_until_ns != INT64_MAX &&
                                   gi_clock_ns() >= job->soft_until_ns);
}

static gate_err_t s_yield(gate_call_t *call) {
    gi_local_job_t *job = s_job_of(call);

    if (!job->sink->item)
        return gi_err(GATE_BADARG, "%s: its caller wants one result, no stream",
                      gate_call_method(call));
    if (s_is_cancelled(job) ||
        (job->credit && gi_credit_take(job->credit, call->out.size) != GATE_OK))
        return gi_err(GATE_CANCELLED, "%s: the reader has left",
                      gate_call_method(call));
    job->sink->item(job->ctx, call->out.data, call->out.size);
    return GATE_OK;
}

/* On a thread of its own a pulled stream is simply pulled. */
static gate_err_t s_generate(gate_call_t *call,
                             gate_err_t (*next)(gate_call_t *, void *),
                             void *state, void (*done)(void *)) {
    gate_err_t e = GATE_OK;

    while (e == GATE_OK && !s_is_cancelled(s_job_of(call)))
        e = next(call, state);
    if (e == GATE_OK)
        e = gi_err(GATE_CANCELLED, "%s: the reader has left",
                   gate_call_method(call));
    if (done)
        done(state);
    return e;
}

static const gi_call_ops_t s_call_ops = {
    .yield = s_yield,
    .generate = s_generate,
    .cancelled = s_cancelled,
};

/* Of a job whose caller takes parts of a huge result. */
static const gi_call_ops_t s_huge_ops = {
    .yield = s_yield,
    .generate = s_generate,
    .cancelled = s_cancelled,
    .huge = &gi_huge_by_items,
};

/* ---- a thread's call ----------------------------------------------------- */
static pthread_key_t s_key;
static bool s_key_made;
static pthread_once_t s_key_once = PTHREAD_ONCE_INIT;

static void s_free_holder(void *holder) {
    gi_call_fini(&((s_holder_t *)holder)->call);
    gi_mem_free(holder);
}

static void s_make_key(void) {
    s_key_made = pthread_key_create(&s_key, s_free_holder) == 0;
}

/* This thread's holder; NULL when it is in use further up the stack or cannot
 * be had. */
static s_holder_t *s_thread_holder(void) {
    s_holder_t *holder;

    pthread_once(&s_key_once, s_make_key);
    if (!s_key_made)
        return NULL;
    holder = pthread_getspecific(s_key);
    if (holder)
        return holder->job ? NULL : holder;
    holder = gi_mem_calloc(1, sizeof *holder);
    if (!holder)
        return NULL;
    gi_call_init(&holder->call, &s_call_ops, NULL, NULL);
    if (pthread_setspecific(s_key, holder) == 0)
        return holder;
    gi_mem_free(holder);
    return NULL;
}

/* ---- running ------------------------------------------------------------- */
static void s_lend(s_holder_t *holder, gi_local_job_t *job) {
    gate_call_t *call = &holder->call;

    holder->job = job;
    call->ops = job->sink->huge ? &s_huge_ops : &s_call_ops;
    call->settings = job->pool->settings;
    call->runtime = job->runtime;
    call->args_packed = job->args;
    call->kwargs_packed = job->kwargs;
    call->args_huge = true; /* this program's: none is plain */
    call->method = job->name ? job->name : "job";
    call->user = job->user;
    call->meta = job->meta;
    call->ctx = job->fn_ctx;
    call->deadline_ms = job->deadline_ms;
    call->attempt = job->attempt;
}

/* GATE_OK: it may start. */
static gate_err_t s_may_start(const gi_local_job_t *job, gi_error_t *error) {
    if (s_is_cancelled(job) || gi_local_refuses(gi_local_state(job->local))) {
        gi_error_story(error, GATE_CANCELLED, NULL, "cancelled while queued",
                       NULL);
        return GATE_CANCELLED;
    }
    if (job->deadline_ms != INT64_MAX && gi_clock_ms() >= job->deadline_ms) {
        gi_error_story(error, GATE_TIMEOUT, NULL,
                       "no thread was free before the deadline", NULL);
        return GATE_TIMEOUT;
    }
    return GATE_OK;
}

/* What it answers, once it has run. */
static gate_err_t s_invoke(gate_call_t *call, gi_local_job_t *job) {
    const void *before = gi_call_work_for(job->host);
    gate_err_t e = gi_call_invoke(call, job->fn);

    gi_call_work_for(before);
    if (e == GATE_KEPT) { /* it kept nothing: there is no way to */
        gi_error_story(&call->error, GATE_BADARG, NULL,
                       "a job returned GATE_KEPT", NULL);
        e = GATE_BADARG;
    }
    return e;
}

/* One of several inputs, which answers for itself. */
static void s_part(gi_local_job_t *job, gate_call_t *call) {
    static const gate_error_t a_stream = {
        GATE_BADARG, "TypeError", "a mapped function must not yield", ""};
    gate_err_t e = s_invoke(call, job);
    const gate_error_t *story = e != GATE_OK     ? &call->error.story
                                : call->streamed ? &a_stream
                                                 : NULL;

    job->n_done++;
    job->n_failed += story != NULL;
    job->sink->part(job->ctx, story ? NULL : call->out.data,
                    story ? 0 : call->out.size, story);
}

/* What is left after a while, since some took longer than was thought, is given
 * back: others may be idle. */
static gate_err_t s_run_parts(s_holder_t *holder, gi_local_job_t *job) {
    gate_call_t *call = &holder->call;
    int64_t began = gi_clock_ns(), now = began;
    uint32_t from = 0, to;

    while (job->n_done < job->n_inputs && now - began < S_PARTS_NS) {
        if (s_is_cancelled(job)) {
            gi_error_story(&call->error, GATE_CANCELLED, NULL, "cancelled",
                           NULL);
            return GATE_CANCELLED;
        }
        memcpy(&to, (const char *)job->kwargs.data + 4 * job->n_done, 4);
        gi_call_reset(call);
        s_lend(holder, job);
        call->kwargs_packed.size = 0;
        call->args_packed.data = (const char *)job->args.data + from;
        call->args_packed.size = to - from;
        s_part(job, call);
        from = to;
        now = gi_clock_ns();
    }
    gi_call_reset(call);
    call->streamed = true;
    job->sink->took(job->ctx, now - began);
    return GATE_OK;
}

static void s_deliver(gi_local_job_t *job, const gate_call_t *call,
                      gate_err_t e) {
    static const gate_error_t eos = {GATE_EOS, "StopIteration", "", ""};

    if (e != GATE_OK)
        job->sink->done(job->ctx, NULL, 0, &call->error.story);
    else if (call->streamed)
        job->sink->done(job->ctx, NULL, 0, &eos);
    else
        job->sink->done(job->ctx, call->out.data, call->out.size, NULL);
}

void gi_local_job_free(gi_local_job_t *job) {
    if (job->credit)
        gi_credit_fini(job->credit);
    if (!job->lent)
        gi_mem_free(job);
}

static void s_run_with(s_holder_t *holder, gi_local_job_t *job) {
    gate_call_t *call = &holder->call;
    gate_err_t e;

    bool lent = job->lent; /* then it is gone once it has delivered */

    s_lend(holder, job);
    job->stops = gi_local_stops(gi_local_state(job->local));
    atomic_store_explicit(&job->began, true, memory_order_relaxed);
    if (job->soft_ms)
        job->soft_until_ns = gi_wait_deadline(job->soft_ms);
    e = s_may_start(job, &call->error);
    if (e == GATE_OK)
        e = job->n_inputs ? s_run_parts(holder, job) : s_invoke(call, job);
    gi_local_end(job, e);
    s_deliver(job, call, e);
    holder->job = NULL;
    gi_call_reset(call);
    if (!lent)
        gi_local_job_free(job);
}

static void s_run(gi_job_t *base) {
    gi_local_job_t *job = (gi_local_job_t *)base;
    s_holder_t *holder = s_thread_holder(), local;

    if (holder) {
        s_run_with(holder, job);
        return;
    }
    gi_call_init(&local.call, &s_call_ops, NULL, NULL);
    s_run_with(&local, job);
    gi_call_fini(&local.call);
}

/* ---- life ---------------------------------------------------------------- */
static const char *s_copy(char **at, const void *data, size_t size) {
    char *copy = *at;

    if (size)
        memcpy(copy, data, size);
    *at += size;
    return copy;
}

static size_t s_text_size(const char *text) {
    return text ? strlen(text) + 1 : 0;
}

gi_local_job_t *gi_local_job_new(gi_local_t *local, gate_pool_t *pool,
                                 int64_t soft_ms, const gi_request_t *r) {
    size_t name = s_text_size(r->name), user = s_text_size(r->user);
    size_t credit =
        r->credit_items || r->credit_bytes ? sizeof(gi_credit_t) : 0;
    size_t size = sizeof(gi_local_job_t) + credit + r->args.size +
                  r->kwargs.size + user + r->meta.size;
    bool lent = r->room && !credit && size <= r->room_bytes;
    gi_local_job_t *job = lent ? r->room : gi_mem_alloc(size + name);
    char *at;

    if (!job)
        return NULL;
    at = job->bytes;
    job->lent = lent;
    job->credit = credit ? (gi_credit_t *)(void *)at : NULL;
    at += credit;
    job->job.run = s_run;
    job->local = local;
    job->pool = pool;
    job->fn = r->fn;
    job->args.data = s_copy(&at, r->args.data, r->args.size);
    job->args.size = r->args.size;
    job->kwargs.data = s_copy(&at, r->kwargs.data, r->kwargs.size);
    job->kwargs.size = r->kwargs.size;
    job->name = lent   ? r->name
                : name ? s_copy(&at, r->name, name)
                       : gi_pool_fn_name(r->fn);
    job->user = user ? s_copy(&at, r->user, user) : NULL;
    job->meta.data = s_copy(&at, r->meta.data, r->meta.size);
    job->meta.size = r->meta.size;
    job->n_inputs = r->n_inputs;
    job->n_done = job->n_failed = 0;
    job->deadline_ms = r->deadline_ms;
    job->soft_ms = r->options.soft_ms ? r->options.soft_ms : soft_ms;
    job->soft_until_ns = INT64_MAX;
    job->attempt = r->attempt ? r->attempt : 1;
    job->fn_ctx = r->fn_ctx;
    job->runtime = r->runtime ? r->runtime : pool->runtime;
    job->sink = r->sink;
    job->ctx = r->ctx;
    job->host = r->host;
    atomic_init(&job->cancel, false);
    atomic_init(&job->began, false);
    if (credit)
        gi_credit_init(
            job->credit,
            r->credit_items ? (int64_t)r->credit_items : GI_CREDIT_FREE,
            r->credit_bytes ? (int64_t)r->credit_bytes : GI_CREDIT_FREE);
    return job;
}
