/* SPDX-License-Identifier: BSD-3-Clause */
/* local.c -- pools whose jobs run in this process: our threads, or an executor
 * of the user's. A job is one block of memory holding all it copied; the call
 * that its function sees belongs to the thread and is used again and again.
 *
 * Tickets are slot + 1 and the slot's generation: the slot is given up before
 * the request's `done` is called, so a ticket kept longer finds another
 * generation and does nothing. */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "clock.h"
#include "credit.h"
#include "huge_feed.h"
#include "mem.h"
#include "wait.h"

typedef struct s_local s_local_t;

typedef struct s_job {
    gi_job_t job; /* first: what the pool runs */
    s_local_t *local;
    gate_fn *fn;
    const char *name, *user; /* in bytes, or NULL */
    gate_bytes_t args, kwargs;
    int64_t deadline_ms;
    int64_t soft_ms;       /* 0 = none */
    int64_t soft_until_ns; /* set when it starts; INT64_MAX = none */
    int attempt;
    void *fn_ctx;
    gate_runtime_t *runtime;
    const gi_sink_t *sink;
    void *ctx;
    atomic_bool cancel;
    bool windowed; /* credit is in use */
    gi_credit_t credit;
    size_t slot;
    char bytes[]; /* args, kwargs, name, user */
} s_job_t;

typedef struct s_slot {
    s_job_t *job; /* NULL: free */
    uint32_t generation;
    size_t next_free;
} s_slot_t;

struct s_local {
    gate_pool_t *pool;
    gi_threads_t *threads;  /* or: */
    gate_submit_fn *submit; /* the user's executor */
    void *submit_ctx;
    int64_t soft_ms;
    pthread_mutex_t mutex; /* of everything below */
    pthread_cond_t quiet;  /* custom: unfinished became 0 */
    bool closed;           /* custom: refuses new jobs */
    size_t unfinished;     /* custom: given to submit and not yet run */
    size_t running;        /* custom */
    uint64_t ended, failed, cancelled; /* requests */
    uint64_t raw; /* custom: jobs of gi_pool_run that have run */
    s_slot_t *slots;
    size_t n_slots, first_free; /* n_slots = none free */
};

/* A thread's call, and the job it is used for. */
typedef struct s_holder {
    gate_call_t call; /* first */
    s_job_t *job;     /* NULL: not in use */
} s_holder_t;

/* ---- tickets, with the mutex held ---------------------------------------- */
static bool s_more_slots(s_local_t *self) {
    size_t n = self->n_slots ? 2 * self->n_slots : 64, i;
    s_slot_t *slots = gi_mem_realloc(self->slots, n * sizeof *slots);

    if (!slots)
        return false;
    for (i = self->n_slots; i < n; i++)
        slots[i] = (s_slot_t){NULL, 1, i + 1};
    self->slots = slots;
    self->first_free = self->n_slots;
    self->n_slots = n;
    return true;
}

static bool s_take_slot(s_local_t *self, s_job_t *job, gi_ticket_t *ticket) {
    s_slot_t *slot;

    if (self->first_free == self->n_slots && !s_more_slots(self))
        return false;
    job->slot = self->first_free;
    slot = &self->slots[job->slot];
    self->first_free = slot->next_free;
    slot->job = job;
    *ticket = (gi_ticket_t)slot->generation << 32 | (job->slot + 1);
    return true;
}

static void s_free_slot(s_local_t *self, s_job_t *job) {
    s_slot_t *slot = &self->slots[job->slot];

    slot->job = NULL;
    slot->generation++;
    slot->next_free = self->first_free;
    self->first_free = job->slot;
}

static s_job_t *s_find(s_local_t *self, gi_ticket_t ticket) {
    size_t i = (uint32_t)ticket;

    if (i == 0 || i > self->n_slots ||
        self->slots[i - 1].generation != (uint32_t)(ticket >> 32))
        return NULL;
    return self->slots[i - 1].job;
}

/* ---- what a job can do (gi_call_ops) ------------------------------------- */
static s_job_t *s_job_of(gate_call_t *call) {
    return ((s_holder_t *)call)->job;
}

static bool s_is_cancelled(const s_job_t *job) {
    return atomic_load_explicit(&job->cancel, memory_order_acquire);
}

static bool s_cancelled(gate_call_t *call) {
    const s_job_t *job = s_job_of(call);

    return s_is_cancelled(job) || (job->soft_until_ns != INT64_MAX &&
                                   gi_clock_ns() >= job->soft_until_ns);
}

static gate_err_t s_yield(gate_call_t *call) {
    s_job_t *job = s_job_of(call);

    if (!job->sink->item)
        return gi_err(GATE_BADARG, "%s: its caller wants one result, no stream",
                      gate_call_method(call));
    if (s_is_cancelled(job) ||
        (job->windowed &&
         gi_credit_take(&job->credit, call->out.size) != GATE_OK))
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
static void s_lend(s_holder_t *holder, s_job_t *job) {
    gate_call_t *call = &holder->call;

    holder->job = job;
    call->ops = job->sink->huge ? &s_huge_ops : &s_call_ops;
    call->settings = job->local->pool->settings;
    call->runtime = job->runtime;
    call->args_packed = job->args;
    call->kwargs_packed = job->kwargs;
    call->method = job->name ? job->name : "job";
    call->user = job->user;
    call->ctx = job->fn_ctx;
    call->deadline_ms = job->deadline_ms;
    call->attempt = job->attempt;
}

/* GATE_OK: it may start. */
static gate_err_t s_may_start(const s_job_t *job, gi_error_t *error) {
    if (s_is_cancelled(job)) {
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

static void s_end(s_job_t *job, gate_err_t e) {
    s_local_t *self = job->local;

    pthread_mutex_lock(&self->mutex);
    s_free_slot(self, job);
    self->ended++;
    if (e == GATE_CANCELLED)
        self->cancelled++;
    else if (e != GATE_OK)
        self->failed++;
    pthread_mutex_unlock(&self->mutex);
}

static void s_deliver(s_job_t *job, const gate_call_t *call, gate_err_t e) {
    static const gate_error_t eos = {GATE_EOS, "StopIteration", "", ""};

    if (e != GATE_OK)
        job->sink->done(job->ctx, NULL, 0, &call->error.story);
    else if (call->streamed)
        job->sink->done(job->ctx, NULL, 0, &eos);
    else
        job->sink->done(job->ctx, call->out.data, call->out.size, NULL);
}

static void s_free_job(s_job_t *job) {
    if (job->windowed)
        gi_credit_fini(&job->credit);
    gi_mem_free(job);
}

static void s_run_with(s_holder_t *holder, s_job_t *job) {
    gate_call_t *call = &holder->call;
    gate_err_t e;

    s_lend(holder, job);
    if (job->soft_ms)
        job->soft_until_ns = gi_clock_ns() + job->soft_ms * 1000000;
    e = s_may_start(job, &call->error);
    if (e == GATE_OK)
        e = gi_call_invoke(call, job->fn);
    if (e == GATE_KEPT) { /* it kept nothing: there is no way to */
        gi_error_story(&call->error, GATE_BADARG, NULL,
                       "a job returned GATE_KEPT", NULL);
        e = GATE_BADARG;
    }
    s_end(job, e);
    s_deliver(job, call, e);
    holder->job = NULL;
    gi_call_reset(call);
    s_free_job(job);
}

static void s_run(gi_job_t *base) {
    s_job_t *job = (s_job_t *)base;
    s_holder_t *holder = s_thread_holder(), local;

    if (holder) {
        s_run_with(holder, job);
        return;
    }
    gi_call_init(&local.call, &s_call_ops, NULL, NULL);
    s_run_with(&local, job);
    gi_call_fini(&local.call);
}

/* ---- the user's executor ------------------------------------------------- */
typedef struct s_ticket_job { /* one run(arg) that we owe */
    s_local_t *local;
    gi_job_t *job;
    bool request; /* an s_job_t: counted elsewhere */
} s_ticket_job_t;

static void s_custom_run(void *arg) {
    s_ticket_job_t *owed = arg;
    s_local_t *self = owed->local;

    pthread_mutex_lock(&self->mutex);
    self->running++;
    pthread_mutex_unlock(&self->mutex);
    owed->job->run(owed->job);
    pthread_mutex_lock(&self->mutex);
    self->running--;
    self->raw += !owed->request;
    if (--self->unfinished == 0)
        pthread_cond_broadcast(&self->quiet);
    pthread_mutex_unlock(&self->mutex);
    gi_mem_free(owed);
}

static gate_err_t s_custom_start(s_local_t *self, gi_job_t *job, bool request) {
    s_ticket_job_t *owed = gi_mem_alloc(sizeof *owed);
    gate_err_t e;

    if (!owed)
        return GATE_NOMEM;
    *owed = (s_ticket_job_t){self, job, request};
    pthread_mutex_lock(&self->mutex);
    e = self->closed ? GATE_CLOSED : GATE_OK;
    if (e == GATE_OK)
        self->unfinished++;
    pthread_mutex_unlock(&self->mutex);
    if (e == GATE_OK &&
        (e = self->submit(self->submit_ctx, s_custom_run, owed)) != GATE_OK) {
        pthread_mutex_lock(&self->mutex);
        if (--self->unfinished == 0)
            pthread_cond_broadcast(&self->quiet);
        pthread_mutex_unlock(&self->mutex);
    }
    if (e != GATE_OK)
        gi_mem_free(owed);
    return e;
}

static gate_err_t s_start(s_local_t *self, gi_job_t *job, bool request) {
    return self->threads ? gi_threads_submit(self->threads, job)
                         : s_custom_start(self, job, request);
}

/* ---- submit -------------------------------------------------------------- */
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

static s_job_t *s_job_new(s_local_t *self, const gi_request_t *r) {
    size_t name = s_text_size(r->name), user = s_text_size(r->user);
    s_job_t *job =
        gi_mem_alloc(sizeof *job + r->args.size + r->kwargs.size + name + user);
    char *at;

    if (!job)
        return NULL;
    at = job->bytes;
    job->job.run = s_run;
    job->local = self;
    job->fn = r->fn;
    job->args.data = s_copy(&at, r->args.data, r->args.size);
    job->args.size = r->args.size;
    job->kwargs.data = s_copy(&at, r->kwargs.data, r->kwargs.size);
    job->kwargs.size = r->kwargs.size;
    job->name = name ? s_copy(&at, r->name, name) : gi_pool_fn_name(r->fn);
    job->user = user ? s_copy(&at, r->user, user) : NULL;
    job->deadline_ms = r->deadline_ms;
    job->soft_ms = r->options.soft_ms ? r->options.soft_ms : self->soft_ms;
    job->soft_until_ns = INT64_MAX;
    job->attempt = r->attempt ? r->attempt : 1;
    job->fn_ctx = r->fn_ctx;
    job->runtime = r->runtime ? r->runtime : self->pool->runtime;
    job->sink = r->sink;
    job->ctx = r->ctx;
    atomic_init(&job->cancel, false);
    job->windowed = r->credit_items || r->credit_bytes;
    if (job->windowed)
        gi_credit_init(
            &job->credit,
            r->credit_items ? (int64_t)r->credit_items : GI_CREDIT_FREE,
            r->credit_bytes ? (int64_t)r->credit_bytes : GI_CREDIT_FREE);
    return job;
}

static gate_err_t s_refused(const s_local_t *self, gate_err_t e) {
    const char *kind = self->pool->ops->kind;

    if (e == GATE_BUSY)
        return gi_err(e, "the queue of a pool of %s is full", kind);
    if (e == GATE_CLOSED)
        return gi_err(e, "a pool of %s takes no more jobs", kind);
    return gi_err(e, "a pool of %s: %s", kind, gate_err_text(e));
}

static gate_err_t s_submit(gate_pool_t *pool, const gi_request_t *request,
                           gi_ticket_t *ticket) {
    s_local_t *self = pool->impl;
    s_job_t *job = s_job_new(self, request);
    gi_ticket_t made = 0;
    gate_err_t e;

    if (!job)
        return s_refused(self, GATE_NOMEM);
    pthread_mutex_lock(&self->mutex);
    e = s_take_slot(self, job, &made) ? GATE_OK : GATE_NOMEM;
    pthread_mutex_unlock(&self->mutex);
    if (e == GATE_OK && (e = s_start(self, &job->job, true)) != GATE_OK) {
        pthread_mutex_lock(&self->mutex);
        s_free_slot(self, job);
        pthread_mutex_unlock(&self->mutex);
    }
    if (e != GATE_OK) {
        s_free_job(job);
        return s_refused(self, e);
    }
    if (ticket)
        *ticket = made;
    return GATE_OK;
}

static gate_err_t s_run_job(gate_pool_t *pool, gi_job_t *job) {
    return s_start(pool->impl, job, false);
}

static void s_cancel(gate_pool_t *pool, gi_ticket_t ticket) {
    s_local_t *self = pool->impl;
    s_job_t *job;

    pthread_mutex_lock(&self->mutex);
    job = s_find(self, ticket);
    if (job) {
        atomic_store_explicit(&job->cancel, true, memory_order_release);
        if (job->windowed)
            gi_credit_cancel(&job->credit);
    }
    pthread_mutex_unlock(&self->mutex);
}

static void s_credit(gate_pool_t *pool, gi_ticket_t ticket, size_t items,
                     size_t bytes) {
    s_local_t *self = pool->impl;
    s_job_t *job;

    pthread_mutex_lock(&self->mutex);
    job = s_find(self, ticket);
    if (job && job->windowed)
        gi_credit_give(&job->credit, (int64_t)items, (int64_t)bytes);
    pthread_mutex_unlock(&self->mutex);
}

/* ---- life ---------------------------------------------------------------- */
static gate_err_t s_drain(gate_pool_t *pool, int64_t timeout_ms) {
    s_local_t *self = pool->impl;
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    bool in_time = true;
    size_t left;

    if (self->threads)
        return gi_threads_drain(self->threads, timeout_ms);
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    while (self->unfinished && in_time)
        in_time = gi_wait_cond(&self->quiet, &self->mutex, deadline_ns);
    left = self->unfinished;
    pthread_mutex_unlock(&self->mutex);
    return left ? gi_err(GATE_TIMEOUT, "custom pool: %zu jobs left", left)
                : GATE_OK;
}

/* Jobs that wait for a reader would never end. */
static void s_cancel_credit(s_local_t *self) {
    size_t i;

    pthread_mutex_lock(&self->mutex);
    for (i = 0; i < self->n_slots; i++)
        if (self->slots[i].job && self->slots[i].job->windowed)
            gi_credit_cancel(&self->slots[i].job->credit);
    pthread_mutex_unlock(&self->mutex);
}

static void s_free_local(s_local_t *self) {
    pthread_cond_destroy(&self->quiet);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self->slots);
    gi_mem_free(self);
}

static void s_destroy(gate_pool_t *pool) {
    s_local_t *self = pool->impl;

    s_cancel_credit(self);
    if (self->threads)
        gi_threads_destroy(&self->threads);
    else
        (void)!s_drain(pool, -1);
    s_free_local(self);
}

static gate_err_t s_resize(gate_pool_t *pool, int workers) {
    s_local_t *self = pool->impl;

    if (self->threads)
        return gi_threads_resize(self->threads, workers);
    return gi_err(GATE_NOTIMPL, "a custom pool has no workers of ours");
}

static gate_value_t *s_stats(gate_pool_t *pool) {
    s_local_t *self = pool->impl;
    gi_pool_numbers_t n = {.kind = pool->ops->kind, .state = "running"};
    gi_threads_stats_t threads = {0};
    uint64_t all;

    if (self->threads)
        gi_threads_stats(self->threads, &threads);
    pthread_mutex_lock(&self->mutex);
    if (!self->threads) {
        threads.running = self->running;
        threads.queued = self->unfinished - self->running;
    }
    /* A worker reports what it ran when its batch is over. */
    all = self->threads ? threads.done : self->ended + self->raw;
    if (all < self->ended)
        all = self->ended;
    n.failed = self->failed;
    n.cancelled = self->cancelled;
    n.done = all - n.failed - n.cancelled;
    pthread_mutex_unlock(&self->mutex);
    n.workers = threads.workers;
    n.queued = threads.queued;
    n.running = threads.running;
    n.oldest_ms = threads.oldest_ms;
    return gi_pool_numbers_value(&n);
}

#define S_OPS(its_kind)                                             \
    {                                                               \
        .kind = its_kind, .destroy = s_destroy, .drain = s_drain,   \
        .resize = s_resize, .stats = s_stats, .run = s_run_job,     \
        .submit = s_submit, .cancel = s_cancel, .credit = s_credit, \
    }
static const gi_pool_ops_t s_threads_ops = S_OPS("threads");
static const gi_pool_ops_t s_custom_ops = S_OPS("custom");

static s_local_t *s_local_new(const gi_pool_base_t *base,
                              const gi_pool_ops_t *ops) {
    s_local_t *self = gi_mem_calloc(1, sizeof *self);

    if (!self) {
        gi_err(GATE_NOMEM, "a pool");
        return NULL;
    }
    self->pool = gi_pool_make(base, ops, self);
    if (!self->pool) {
        gi_mem_free(self);
        return NULL;
    }
    pthread_mutex_init(&self->mutex, NULL);
    gi_wait_cond_init(&self->quiet);
    return self;
}

static int s_default_workers(const gate_settings_t *settings) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (settings->threads > 0)
        return (int)settings->threads;
    return cores > 4 ? (int)cores : 4;
}

gate_pool_t *gi_pool_threads(const gi_pool_base_t *base,
                             const gate_pool_options_t *options) {
    static const gate_pool_options_t defaults;
    const gate_pool_options_t *o = options ? options : &defaults;
    s_local_t *self = s_local_new(base, &s_threads_ops);
    const gate_settings_t *settings;
    gate_pool_t *pool;

    if (!self)
        return NULL;
    pool = self->pool;
    settings = pool->settings;
    self->soft_ms = o->soft_ms;
    if (gi_threads_new(o->name ? o->name : "threads",
                       o->workers > 0 ? o->workers
                                      : s_default_workers(settings),
                       (size_t)(o->queue_max > 0 ? o->queue_max
                                                 : settings->threads_queue_max),
                       &self->threads) == GATE_OK)
        return pool;
    pool->release_owner = NULL; /* kept on success only */
    gate_pool_destroy(&pool);
    return NULL;
}

gate_pool_t *gi_pool_custom(const gi_pool_base_t *base, gate_submit_fn *submit,
                            void *ctx) {
    s_local_t *self;

    if (!submit) {
        gi_err(GATE_BADARG, "a custom pool without a submit function");
        return NULL;
    }
    self = s_local_new(base, &s_custom_ops);
    if (!self)
        return NULL;
    self->submit = submit;
    self->submit_ctx = ctx;
    return self->pool;
}
