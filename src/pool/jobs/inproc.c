/* SPDX-License-Identifier: BSD-3-Clause */
/* inproc.c -- pools whose jobs run in this process: our threads, or an executor
 * of the user's.
 *
 * Tickets are slot + 1 and the slot's generation: the slot is given up before
 * the request's `done` is called, so a ticket kept longer finds another
 * generation and does nothing. */
#include "jobs/inproc.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "sync/actor_thread.h"
#include "sync/wait.h"

typedef struct s_slot {
    gi_local_job_t *job; /* NULL: free */
    uint32_t generation;
    size_t next_free;
} s_slot_t;

struct gi_local {
    gi_local_state_t state; /* first */
    gate_pool_t *pool;
    gi_threads_t *threads;  /* or: */
    gate_submit_fn *submit; /* the user's executor */
    void *submit_ctx;
    int64_t soft_ms;
    pthread_mutex_t mutex;      /* of everything below */
    pthread_cond_t quiet;       /* custom: unfinished became 0 */
    bool closed;                /* custom: refuses new jobs */
    size_t unfinished;          /* custom: given to submit and not yet run */
    size_t running;             /* custom */
    uint64_t failed, cancelled; /* requests */
    uint64_t parts; /* inputs of jobs that had several, but for the first */
    uint64_t raw;   /* custom: jobs of gi_pool_run that have run */
    s_slot_t *slots;
    size_t n_slots, first_free; /* n_slots = none free */
};

/* ---- tickets, with the mutex held ---------------------------------------- */
static bool s_more_slots(gi_local_t *self) {
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

static bool s_take_slot(gi_local_t *self, gi_local_job_t *job,
                        gi_ticket_t *ticket) {
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

static void s_free_slot(gi_local_t *self, gi_local_job_t *job) {
    s_slot_t *slot = &self->slots[job->slot];

    slot->job = NULL;
    slot->generation++;
    slot->next_free = self->first_free;
    self->first_free = job->slot;
}

static gi_local_job_t *s_find(gi_local_t *self, gi_ticket_t ticket) {
    size_t i = (uint32_t)ticket;

    if (i == 0 || i > self->n_slots ||
        self->slots[i - 1].generation != (uint32_t)(ticket >> 32))
        return NULL;
    return self->slots[i - 1].job;
}

/* ---- jobs end ------------------------------------------------------------ */
/* One that was lent its memory and went well needs no lock: it has no slot. */
void gi_local_end(gi_local_job_t *job, gate_err_t e) {
    gi_local_t *self = job->local;

    gi_local_count(&self->state);
    if (job->lent && e == GATE_OK)
        return;
    pthread_mutex_lock(&self->mutex);
    if (!job->lent)
        s_free_slot(self, job);
    if (job->n_done) {
        self->parts += job->n_done - 1;
        self->failed += job->n_failed;
    }
    if (e == GATE_CANCELLED)
        self->cancelled++;
    else if (e != GATE_OK)
        self->failed++;
    pthread_mutex_unlock(&self->mutex);
}

/* ---- the user's executor ------------------------------------------------- */
typedef struct s_ticket_job { /* one run(arg) that we owe */
    gi_local_t *local;
    gi_job_t *job;
    bool request; /* an gi_local_job_t: counted elsewhere */
} s_ticket_job_t;

/* Under the mutex. */
static void s_one_less(gi_local_t *self) {
    if (--self->unfinished == 0)
        pthread_cond_broadcast(&self->quiet);
}

static void s_custom_run(void *arg) {
    s_ticket_job_t *owed = arg;
    gi_local_t *self = owed->local;
    gi_thread_in_t in;

    pthread_mutex_lock(&self->mutex);
    self->running++;
    pthread_mutex_unlock(&self->mutex);
    gi_thread_enter(&in, self);
    owed->job->run(owed->job);
    gi_thread_leave(&in);
    pthread_mutex_lock(&self->mutex);
    self->running--;
    self->raw += !owed->request;
    s_one_less(self);
    pthread_mutex_unlock(&self->mutex);
    gi_mem_free(owed);
}

static gate_err_t s_custom_start(gi_local_t *self, gi_job_t *job,
                                 bool request) {
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
        s_one_less(self);
        pthread_mutex_unlock(&self->mutex);
    }
    if (e != GATE_OK)
        gi_mem_free(owed);
    return e;
}

static gate_err_t s_start(gi_local_t *self, gi_job_t *job, bool request) {
    return self->threads ? gi_threads_submit(self->threads, job)
                         : s_custom_start(self, job, request);
}

/* ---- submit -------------------------------------------------------------- */
static gate_err_t s_refused(const gi_local_t *self, gate_err_t e) {
    const char *kind = self->pool->ops->kind;

    if (e == GATE_BUSY)
        return gi_err(e, "the queue of a pool of %s is full", kind);
    if (e == GATE_CLOSED)
        return gi_err(e, "a pool of %s takes no more jobs", kind);
    return gi_err(e, "a pool of %s: %s", kind, gate_err_text(e));
}

static gate_err_t s_give_slot(gi_local_t *self, gi_local_job_t *job,
                              gi_ticket_t *ticket) {
    gi_ticket_t made = 0;
    gate_err_t e;

    pthread_mutex_lock(&self->mutex);
    e = s_take_slot(self, job, &made) ? GATE_OK : GATE_NOMEM;
    if (ticket && e == GATE_OK)
        *ticket = made; /* before it starts: it may end at once */
    pthread_mutex_unlock(&self->mutex);
    return e;
}

static gate_err_t s_submit(gate_pool_t *pool, const gi_request_t *request,
                           gi_ticket_t *ticket) {
    gi_local_t *self = pool->impl;
    gi_local_job_t *job;
    bool slot;
    gate_err_t e;

    if (request->options.soft_ms < -1)
        return gi_err(GATE_BADARG,
                      "soft_ms %lld: a time in ms, 0 for the pool's, or -1 for "
                      "none",
                      (long long)request->options.soft_ms);
    job = gi_local_job_new(self, pool, self->soft_ms, request);
    if (!job)
        return s_refused(self, GATE_NOMEM);
    job->job.urgent = request->options.priority == GATE_HIGH;
    slot = !job->lent; /* it may end, and be gone, when it has started */
    e = slot ? s_give_slot(self, job, ticket) : GATE_OK;
    if (e == GATE_OK && (e = s_start(self, &job->job, true)) != GATE_OK &&
        slot) {
        pthread_mutex_lock(&self->mutex);
        s_free_slot(self, job);
        pthread_mutex_unlock(&self->mutex);
    }
    if (e != GATE_OK) {
        gi_local_job_free(job);
        return s_refused(self, e);
    }
    return GATE_OK;
}

static gate_err_t s_run_job(gate_pool_t *pool, gi_job_t *job) {
    return s_start(pool->impl, job, false);
}

static size_t s_run_many(gate_pool_t *pool, gi_job_t *const *jobs, size_t n,
                         gate_err_t *e) {
    gi_local_t *self = pool->impl;

    return gi_threads_submit_many(self->threads, jobs, n, e);
}

static void s_cancel(gate_pool_t *pool, gi_ticket_t ticket) {
    gi_local_t *self = pool->impl;
    gi_local_job_t *job;

    pthread_mutex_lock(&self->mutex);
    job = s_find(self, ticket);
    if (job) {
        atomic_store_explicit(&job->cancel, true, memory_order_release);
        if (job->credit)
            gi_credit_cancel(job->credit);
    }
    pthread_mutex_unlock(&self->mutex);
}

static void s_cancel_room(gate_pool_t *pool, void *room) {
    gi_local_job_t *job = room;

    (void)pool;
    atomic_store_explicit(&job->cancel, true, memory_order_release);
}

static void s_help(gate_pool_t *pool, void *room, bool always) {
    gi_local_t *self = pool->impl;
    gi_local_job_t *job = room;

    gi_threads_help(self->threads, &job->job, always);
}

static const void *s_group(gate_pool_t *pool) {
    gi_local_t *self = pool->impl;

    return self->threads ? gi_threads_group(self->threads) : NULL;
}

static void s_credit(gate_pool_t *pool, gi_ticket_t ticket, size_t items,
                     size_t bytes) {
    gi_local_t *self = pool->impl;
    gi_local_job_t *job;

    pthread_mutex_lock(&self->mutex);
    job = s_find(self, ticket);
    if (job && job->credit)
        gi_credit_give(job->credit, (int64_t)items, (int64_t)bytes);
    pthread_mutex_unlock(&self->mutex);
}

/* ---- life ---------------------------------------------------------------- */
static gate_err_t s_drain(gate_pool_t *pool, int64_t timeout_ms) {
    gi_local_t *self = pool->impl;
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
static void s_cancel_credit(gi_local_t *self) {
    size_t i;

    pthread_mutex_lock(&self->mutex);
    for (i = 0; i < self->n_slots; i++)
        if (self->slots[i].job && self->slots[i].job->credit)
            gi_credit_cancel(self->slots[i].job->credit);
    pthread_mutex_unlock(&self->mutex);
}

static void s_stop(gate_pool_t *pool, unsigned what) {
    gi_local_t *self = pool->impl;
    size_t i;

    if (self->threads)
        (void)!gi_threads_drain(self->threads, 0); /* closes it */
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    if (what & GATE_STOP_QUEUED)
        atomic_store(&self->state.refuses, true);
    if (what & GATE_STOP_RUNNING)
        atomic_fetch_add(&self->state.stops, 1);
    for (i = 0; i < self->n_slots; i++) {
        gi_local_job_t *job = self->slots[i].job;
        unsigned is = job && atomic_load(&job->began) ? GATE_STOP_RUNNING
                                                      : GATE_STOP_QUEUED;

        if (!job || !(what & is))
            continue;
        atomic_store_explicit(&job->cancel, true, memory_order_release);
        if (job->credit)
            gi_credit_cancel(job->credit);
    }
    pthread_mutex_unlock(&self->mutex);
}

static gate_err_t s_room(gate_pool_t *pool, int64_t timeout_ms) {
    gi_local_t *self = pool->impl;

    return self->threads ? gi_threads_room(self->threads, timeout_ms) : GATE_OK;
}

static void s_free_local(gi_local_t *self) {
    pthread_cond_destroy(&self->quiet);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self->slots);
    gi_mem_free(self);
}

static void s_destroy(gate_pool_t *pool) {
    gi_local_t *self = pool->impl;

    /* its last jobs may still submit, and wait: they are refused, or helped */
    gi_threads_t *threads = self->threads;

    s_cancel_credit(self);
    if (threads)
        gi_threads_destroy(&threads);
    else
        (void)!s_drain(pool, -1);
    s_free_local(self);
}

static gate_err_t s_resize(gate_pool_t *pool, int workers) {
    gi_local_t *self = pool->impl;

    if (self->threads)
        return gi_threads_resize(self->threads, workers);
    return gi_err(GATE_NOTIMPL, "a custom pool has no workers of ours");
}

static gate_value_t *s_stats(gate_pool_t *pool) {
    gi_local_t *self = pool->impl;
    gi_pool_numbers_t n = {.kind = pool->ops->kind, .state = "running"};
    gi_threads_stats_t threads = {0};
    uint64_t all, ended = gi_local_ended(&self->state);

    if (self->threads)
        gi_threads_stats(self->threads, &threads);
    pthread_mutex_lock(&self->mutex);
    if (!self->threads) {
        threads.running = self->running;
        threads.queued = self->unfinished - self->running;
    }
    /* A worker reports what it ran when its batch is over. */
    all = self->threads ? threads.done : ended + self->raw;
    if (all < ended)
        all = ended;
    all += self->parts;
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

static bool s_chunks(gate_pool_t *pool) {
    gi_local_t *self = pool->impl;

    return self->soft_ms == 0;
}

#define S_OPS(its_kind, many)                                                 \
    {                                                                         \
        .kind = its_kind, .run_many = many, .destroy = s_destroy,             \
        .room_bytes = sizeof(gi_local_job_t), .cancel_room = s_cancel_room,   \
        .help = s_help, .group = s_group, .drain = s_drain,                   \
        .resize = s_resize, .stats = s_stats, .stop = s_stop, .room = s_room, \
        .run = s_run_job, .submit = s_submit, .cancel = s_cancel,             \
        .credit = s_credit, .chunks = s_chunks,                               \
    }
static const gi_pool_ops_t s_threads_ops = S_OPS("threads", s_run_many);
static const gi_pool_ops_t s_custom_ops = S_OPS("custom", NULL);

static gi_local_t *s_local_new(const gi_pool_base_t *base,
                               const gi_pool_ops_t *ops) {
    gi_local_t *self = gi_mem_calloc(1, sizeof *self);

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

static gate_err_t s_check_options(const gate_pool_options_t *o) {
    if (o->workers < 0 || o->workers > GI_THREADS_MAX)
        return gi_err(GATE_BADARG,
                      "a thread pool has 1 to %d workers (0: the setting's), "
                      "not %d",
                      GI_THREADS_MAX, o->workers);
    if (o->queue_max < 0)
        return gi_err(GATE_BADARG, "queue_max is %d: 0 (the setting's) or more",
                      o->queue_max);
    if (o->soft_ms < -1)
        return gi_err(GATE_BADARG,
                      "soft_ms is %lld: a time in ms, 0 or -1 for none",
                      (long long)o->soft_ms);
    return GATE_OK;
}

gate_pool_t *gi_pool_threads(const gi_pool_base_t *base,
                             const gate_pool_options_t *options) {
    static const gate_pool_options_t defaults;
    const gate_pool_options_t *o = options ? options : &defaults;
    if (s_check_options(o))
        return NULL;
    gi_local_t *self = s_local_new(base, &s_threads_ops);
    const gate_settings_t *settings;
    gate_pool_t *pool;

    if (!self)
        return NULL;
    pool = self->pool;
    settings = pool->settings;
    self->soft_ms = o->soft_ms;
    if (gi_threads_new(o->name ? o->name : "threads",
                       o->workers > 0 ? o->workers
                                      : gi_threads_usual(settings->threads),
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
    gi_local_t *self;

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
