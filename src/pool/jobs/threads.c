/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.c -- what the measurements chose: one mutex, one ring, one condition.
 *
 * Wake throttling. `waking` is true from the moment somebody decides to wake a
 * worker until a worker has come out of its wait. While it is true nobody
 * signals; the woken one looks at what is left and wakes the next. All of it is
 * under the mutex, so no wake-up can be lost.
 *
 * Batches. A worker takes min(n/2, 16) jobs at once and runs them from its own
 * batch without the mutex. So that a job which blocks does not hold the rest of
 * its batch, an idle worker steals from batches before it sleeps:
 *   - refill and steal happen under the mutex, only the owner's own take does
 *     not: both claim a job by an RMW of batch_next, so each index is claimed
 *     once, and items are never overwritten while somebody may read them;
 *   - whoever leaves work behind (in the ring or in a batch) while somebody is
 *     idle wakes one, and that one does the same.
 * Law: work that nobody has begun and an idle worker exist together only while
 * a wake-up is on its way. */
#include "jobs/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "sync/wait.h"

#define S_BATCH_MAX 16
#define S_RING_MIN 64

typedef struct s_worker {
    gi_threads_t *pool;
    struct s_worker *next; /* in pool->workers, then in pool->gone */
    pthread_t thread;
    unsigned finished;      /* jobs run since it last held the mutex */
    bool spread;            /* counted in pool->spread */
    atomic_uint batch_next; /* next index of batch to claim */
    unsigned batch_size;    /* changed under the mutex by the owner */
    gi_job_t *batch[S_BATCH_MAX];
} s_worker_t;

struct gi_threads {
    gi_thread_wait_t blocked; /* first: workers that wait for answers */
    pthread_mutex_t mutex;    /* of everything below */
    pthread_cond_t work;      /* for idle workers */
    pthread_cond_t quiet;     /* unfinished became 0, or a worker has gone */
    pthread_cond_t space; /* the queue has shrunk, for room_wanted threads */
    unsigned room_wanted;
    gi_job_t **ring;
    size_t room, head, count;        /* room is a power of two */
    gi_job_t *urgent, **last_urgent; /* wait before those in the ring */
    size_t n_urgent;
    size_t queue_max;  /* of both */
    size_t unfinished; /* submitted and not yet reported as run */
    uint64_t done;
    unsigned idle;   /* workers inside their wait */
    unsigned spread; /* workers whose last batch had more than one job */
    bool waking;
    bool closed;
    int target, live; /* workers wanted; workers running */
    int started;      /* ever, for names */
    s_worker_t *workers;
    s_worker_t *gone; /* have left their loop, to be joined */
    char name[12];
};

/* ---- under the mutex ----------------------------------------------------- */
/* Decides to wake a worker if one is idle; true: signal after the unlock. */
static bool s_wants_wake(gi_threads_t *self) {
    if (!self->idle || self->waking)
        return false;
    self->waking = true;
    return true;
}

static void s_report(s_worker_t *worker) {
    gi_threads_t *self = worker->pool;

    self->unfinished -= worker->finished;
    self->done += worker->finished;
    worker->finished = 0;
    if (worker->spread) {
        worker->spread = false;
        self->spread--;
    }
    if (!self->unfinished)
        pthread_cond_broadcast(&self->quiet);
}

static size_t s_waiting(const gi_threads_t *self) {
    return self->n_urgent + self->count;
}

static void s_look(gi_thread_wait_t *blocked) {
    gi_threads_t *self = (gi_threads_t *)(void *)blocked;
    pthread_mutex_lock(&self->mutex);
    size_t jobs = s_waiting(self), live = (size_t)self->live;
    pthread_mutex_unlock(&self->mutex);
    gi_thread_wait_look(blocked, self->name, live, jobs);
}

/* The next of those that wait. */
static gi_job_t *s_take(gi_threads_t *self) {
    gi_job_t *job = self->urgent;

    if (!job) {
        self->count--;
        return self->ring[self->head++ & (self->room - 1)];
    }
    self->urgent = job->next;
    if (!job->next)
        self->last_urgent = &self->urgent;
    self->n_urgent--;
    return job;
}

static void s_put_urgent(gi_threads_t *self, gi_job_t *job) {
    job->next = NULL;
    *self->last_urgent = job;
    self->last_urgent = &job->next;
    self->n_urgent++;
}

/* Fills the worker's batch from the ring; false when the ring is empty. */
static bool s_refill(s_worker_t *worker) {
    gi_threads_t *self = worker->pool;
    size_t n = s_waiting(self) / 2, i;

    if (!s_waiting(self))
        return false;
    if (n > S_BATCH_MAX)
        n = S_BATCH_MAX;
    if (n < 1)
        n = 1;
    for (i = 0; i < n; i++)
        worker->batch[i] = s_take(self);
    worker->batch_size = (unsigned)n;
    if (n > 1) {
        worker->spread = true;
        self->spread++;
    }
    if (self->room_wanted)
        pthread_cond_broadcast(&self->space);
    /* Thieves look under the mutex, so relaxed is enough. */
    atomic_store_explicit(&worker->batch_next, 0, memory_order_relaxed);
    return true;
}

/* The owner may be claiming from the same batch without the mutex. */
static gi_job_t *s_claim(s_worker_t *worker) {
    unsigned i =
        atomic_fetch_add_explicit(&worker->batch_next, 1, memory_order_relaxed);

    return i < worker->batch_size ? worker->batch[i] : NULL;
}

static unsigned s_unclaimed(const s_worker_t *worker) {
    unsigned next =
        atomic_load_explicit(&worker->batch_next, memory_order_relaxed);

    return next < worker->batch_size ? worker->batch_size - next : 0;
}

static bool s_steal(s_worker_t *thief) {
    gi_threads_t *self = thief->pool;
    s_worker_t *worker;
    gi_job_t *job = NULL;

    for (worker = self->workers; worker && !job; worker = worker->next)
        if (worker != thief && s_unclaimed(worker))
            job = s_claim(worker);
    if (!job)
        return false;
    thief->batch[0] = job;
    thief->batch_size = 1;
    atomic_store_explicit(&thief->batch_next, 0, memory_order_relaxed);
    return true;
}

/* True when idle workers would find something. */
static bool s_leaves_work(const gi_threads_t *self) {
    const s_worker_t *worker;

    if (s_waiting(self))
        return true;
    if (!self->spread || !self->idle)
        return false;
    for (worker = self->workers; worker; worker = worker->next)
        if (worker->spread && s_unclaimed(worker) > 0)
            return true;
    return false;
}

/* ---- a worker ------------------------------------------------------------ */
/* Waits for work; false: leave. */
static bool s_get_work(s_worker_t *worker) {
    gi_threads_t *self = worker->pool;

    for (;;) {
        if (self->live > self->target)
            return false;
        if (s_refill(worker) || (self->spread && s_steal(worker)))
            return true;
        self->idle++;
        pthread_cond_wait(&self->work, &self->mutex);
        self->idle--;
        self->waking = false;
    }
}

static void s_leave(s_worker_t *worker) {
    gi_threads_t *self = worker->pool;
    s_worker_t **at = &self->workers;

    while (*at != worker)
        at = &(*at)->next;
    *at = worker->next;
    worker->next = self->gone;
    self->gone = worker;
    self->live--;
    pthread_cond_broadcast(&self->quiet);
    if (s_leaves_work(self) && s_wants_wake(self))
        pthread_cond_signal(&self->work);
}

static void *s_work(void *arg) {
    s_worker_t *worker = arg;
    gi_threads_t *self = worker->pool;
    gi_job_t *job;
    bool wake;

    gi_thread_mark();
    gi_thread_wait_mark(&self->blocked);
    pthread_mutex_lock(&self->mutex);
    while (s_get_work(worker)) {
        wake = s_leaves_work(self) && s_wants_wake(self);
        pthread_mutex_unlock(&self->mutex);
        if (wake)
            pthread_cond_signal(&self->work);
        while ((job = s_claim(worker))) {
            job->run(job);
            worker->finished++;
        }
        pthread_mutex_lock(&self->mutex);
        s_report(worker);
    }
    s_leave(worker);
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

static gate_err_t s_start_worker(gi_threads_t *self) {
    s_worker_t *worker = gi_mem_calloc(1, sizeof *worker);
    sigset_t all, before;
    char name[16];
    int error;

    if (!worker)
        return gi_err(GATE_NOMEM, "a worker of thread pool %s", self->name);
    worker->pool = self;
    gi_thread_signals(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&self->mutex);
    error = pthread_create(&worker->thread, NULL, s_work, worker);
    if (error) {
        pthread_mutex_unlock(&self->mutex);
    } else {
        snprintf(name, sizeof name, "%s/%d", self->name, self->started++);
        pthread_setname_np(worker->thread, name);
        worker->next = self->workers;
        self->workers = worker;
        self->live++;
        pthread_mutex_unlock(&self->mutex);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        return GATE_OK;
    gi_mem_free(worker);
    return gi_err(GATE_SYSTEM, "thread pool %s: pthread_create: %s", self->name,
                  strerror(error));
}

/* ---- life ---------------------------------------------------------------- */
gate_err_t gi_threads_new(const char *name, int workers, size_t queue_max,
                          gi_threads_t **out) {
    gi_threads_t *self = gi_mem_calloc(1, sizeof *self);
    gate_err_t e;

    if (!self)
        return gi_err(GATE_NOMEM, "a thread pool");
    self->room = S_RING_MIN;
    self->last_urgent = &self->urgent;
    self->ring = gi_mem_alloc(self->room * sizeof *self->ring);
    if (!self->ring) {
        gi_mem_free(self);
        return gi_err(GATE_NOMEM, "a thread pool");
    }
    self->queue_max = queue_max ? queue_max : 1;
    self->blocked.told = s_look;
    snprintf(self->name, sizeof self->name, "%s", name ? name : "pool");
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->work, NULL);
    gi_wait_cond_init(&self->quiet);
    gi_wait_cond_init(&self->space);
    e = gi_threads_resize(self, workers);
    if (e != GATE_OK) {
        gi_threads_destroy(&self);
        return e;
    }
    *out = self;
    return GATE_OK;
}

/* Joins those that have left; called without the mutex. */
static void s_join_gone(gi_threads_t *self) {
    s_worker_t *gone, *next;

    pthread_mutex_lock(&self->mutex);
    gone = self->gone;
    self->gone = NULL;
    pthread_mutex_unlock(&self->mutex);
    for (; gone; gone = next) {
        next = gone->next;
        pthread_join(gone->thread, NULL);
        gi_mem_free(gone);
    }
}

void gi_threads_destroy(gi_threads_t **self_p) {
    gi_threads_t *self = *self_p;

    if (!self)
        return;
    *self_p = NULL;
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    pthread_cond_broadcast(&self->space);
    while (self->unfinished)
        pthread_cond_wait(&self->quiet, &self->mutex);
    self->target = 0;
    pthread_cond_broadcast(&self->work);
    while (self->live)
        pthread_cond_wait(&self->quiet, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    s_join_gone(self);
    pthread_cond_destroy(&self->space);
    pthread_cond_destroy(&self->quiet);
    pthread_cond_destroy(&self->work);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self->ring);
    gi_mem_free(self);
}

gate_err_t gi_threads_resize(gi_threads_t *self, int workers) {
    gate_err_t e = GATE_OK;
    int missing;

    if (workers < 1 || workers > GI_THREADS_MAX)
        return gi_err(GATE_BADARG, "thread pool %s: %d workers: 1 to %d",
                      self->name, workers, GI_THREADS_MAX);
    s_join_gone(self);
    pthread_mutex_lock(&self->mutex);
    self->target = workers;
    missing = workers - self->live;
    pthread_cond_broadcast(&self->work); /* those too many leave */
    pthread_mutex_unlock(&self->mutex);
    while (missing-- > 0 && e == GATE_OK)
        e = s_start_worker(self);
    return e;
}

gate_err_t gi_threads_drain(gi_threads_t *self, int64_t timeout_ms) {
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    bool in_time = true;
    size_t left;

    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    pthread_cond_broadcast(&self->space);
    while (self->unfinished && in_time)
        in_time = gi_wait_cond(&self->quiet, &self->mutex, deadline_ns);
    left = self->unfinished;
    pthread_mutex_unlock(&self->mutex);
    return left ? gi_err(GATE_TIMEOUT, "thread pool %s: %zu jobs left",
                         self->name, left)
                : GATE_OK;
}

gate_err_t gi_threads_room(gi_threads_t *self, int64_t timeout_ms) {
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    bool in_time = true, room, closed;

    pthread_mutex_lock(&self->mutex);
    self->room_wanted++;
    while (s_waiting(self) >= self->queue_max && !self->closed && in_time)
        in_time = gi_wait_cond(&self->space, &self->mutex, deadline_ns);
    self->room_wanted--;
    room = s_waiting(self) < self->queue_max;
    closed = self->closed;
    pthread_mutex_unlock(&self->mutex);
    if (closed)
        return gi_err(GATE_CLOSED, "a pool of threads takes no more jobs");
    return room
               ? GATE_OK
               : gi_err(GATE_TIMEOUT, "the queue of a pool of threads is full");
}

/* ---- submit -------------------------------------------------------------- */
static bool s_grow(gi_threads_t *self) {
    gi_job_t **ring = gi_mem_alloc(2 * self->room * sizeof *ring);
    size_t i;

    if (!ring)
        return false;
    for (i = 0; i < self->count; i++)
        ring[i] = self->ring[(self->head + i) & (self->room - 1)];
    gi_mem_free(self->ring);
    self->ring = ring;
    self->head = 0;
    self->room *= 2;
    return true;
}

/* Under the mutex. */
static gate_err_t s_append(gi_threads_t *self, gi_job_t *job) {
    if (self->closed)
        return GATE_CLOSED;
    if (s_waiting(self) >= self->queue_max)
        return GATE_BUSY;
    if (!job->urgent && self->count == self->room && !s_grow(self))
        return GATE_NOMEM;
    if (job->urgent)
        s_put_urgent(self, job);
    else
        self->ring[(self->head + self->count++) & (self->room - 1)] = job;
    self->unfinished++;
    return GATE_OK;
}

size_t gi_threads_submit_many(gi_threads_t *self, gi_job_t *const *jobs,
                              size_t n, gate_err_t *e) {
    int64_t now_ns = gi_clock_coarse_ns();
    size_t taken = 0;
    bool wake;

    *e = GATE_OK;
    for (size_t i = 0; i < n; i++)
        jobs[i]->queued_ns = now_ns;
    pthread_mutex_lock(&self->mutex);
    while (taken < n && (*e = s_append(self, jobs[taken])) == GATE_OK)
        taken++;
    wake = taken && s_wants_wake(self);
    pthread_mutex_unlock(&self->mutex);
    if (wake)
        pthread_cond_signal(&self->work);
    if (atomic_load(&self->blocked.n))
        s_look(&self->blocked);
    return taken;
}

gate_err_t gi_threads_submit(gi_threads_t *self, gi_job_t *job) {
    gate_err_t e;

    gi_threads_submit_many(self, &job, 1, &e);
    return e;
}

void gi_threads_stats(gi_threads_t *self, gi_threads_stats_t *out) {
    const s_worker_t *worker;
    int64_t age_ns = 0;

    pthread_mutex_lock(&self->mutex);
    out->workers = self->target;
    out->queued = s_waiting(self);
    for (worker = self->workers; worker; worker = worker->next)
        out->queued += s_unclaimed(worker);
    out->running = (size_t)self->live - self->idle;
    out->done = self->done;
    if (self->count)
        age_ns = gi_clock_coarse_ns() -
                 self->ring[self->head & (self->room - 1)]->queued_ns;
    pthread_mutex_unlock(&self->mutex);
    out->oldest_ms = age_ns / 1000000;
}
