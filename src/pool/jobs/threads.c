/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.c -- one mutex, one ring, one condition: its life, and how jobs come
 * in. What its workers do with them, and the law, is in threads_work.c. */
#include "jobs/threads_core.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "shared/cgroup.h"
#include "sync/wait.h"

#define S_RING_MIN 64

static void s_look(gi_thread_wait_t *blocked) {
    gi_threads_t *self = (gi_threads_t *)(void *)blocked;
    pthread_mutex_lock(&self->mutex);
    size_t jobs = gi_threads_waiting(self) - self->holes,
           live = (size_t)self->live;
    pthread_mutex_unlock(&self->mutex);
    gi_thread_wait_look(blocked, self->name, live, jobs);
}

static gate_err_t s_start_worker(gi_threads_t *self) {
    gi_threads_worker_t *worker = gi_mem_calloc(1, sizeof *worker);
    sigset_t all, before;
    char name[16], whose[64];
    int error;

    if (!worker)
        return gi_err(GATE_NOMEM, "a worker of thread pool %s", self->name);
    worker->pool = self;
    gi_thread_signals(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&self->mutex);
    error = pthread_create(&worker->thread, NULL, gi_threads_work, worker);
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
    snprintf(whose, sizeof whose, "thread pool %s", self->name);
    return gi_thread_refused(error, whose);
}

int gi_threads_usual(int64_t setting) {
    int cores = gi_cgroup_cpus();

    return setting > 0 ? (int)setting : cores > 4 ? cores : 4;
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
    gi_threads_worker_t *gone, *next;

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
    while (gi_threads_waiting(self) >= self->queue_max && !self->closed &&
           in_time)
        in_time = gi_wait_cond(&self->space, &self->mutex, deadline_ns);
    self->room_wanted--;
    room = gi_threads_waiting(self) < self->queue_max;
    closed = self->closed;
    pthread_mutex_unlock(&self->mutex);
    if (closed)
        return gi_err(GATE_CLOSED, "a pool of threads takes no more jobs");
    return room
               ? GATE_OK
               : gi_err(GATE_TIMEOUT, "the queue of a pool of threads is full");
}

/* ---- submit -------------------------------------------------------------- */
static void s_put_urgent(gi_threads_t *self, gi_job_t *job) {
    job->next = NULL;
    *self->last_urgent = job;
    self->last_urgent = &job->next;
    self->n_urgent++;
}

static bool s_grow(gi_threads_t *self) {
    gi_job_t **ring = gi_mem_alloc(2 * self->room * sizeof *ring);
    size_t i;

    if (!ring)
        return false;
    for (i = 0; i < self->count; i++) {
        ring[i] = self->ring[(self->head + i) & (self->room - 1)];
        if (ring[i])
            ring[i]->at = i;
    }
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
    if (gi_threads_waiting(self) >= self->queue_max)
        return GATE_BUSY;
    if (!job->urgent && self->count == self->room && !s_grow(self))
        return GATE_NOMEM;
    if (job->urgent)
        s_put_urgent(self, job);
    else {
        job->at = self->head + self->count++;
        self->ring[job->at & (self->room - 1)] = job;
    }
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
    if (self->looking)
        atomic_fetch_add_explicit(&self->news, 1, memory_order_relaxed);
    wake = taken && gi_threads_wants_wake(self);
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

/* Of the ring; NULL: none. */
static const gi_job_t *s_oldest(const gi_threads_t *self) {
    const gi_job_t *job = NULL;

    for (size_t i = 0; i < self->count && !job; i++)
        job = self->ring[(self->head + i) & (self->room - 1)];
    return job;
}

void gi_threads_stats(gi_threads_t *self, gi_threads_stats_t *out) {
    const gi_threads_worker_t *worker;
    int64_t age_ns = 0;

    pthread_mutex_lock(&self->mutex);
    out->workers = self->target;
    out->queued = gi_threads_waiting(self) - self->holes;
    for (worker = self->workers; worker; worker = worker->next)
        out->queued += gi_threads_unclaimed(worker);
    out->running = (size_t)self->live - self->idle;
    out->done = self->done;
    if (s_oldest(self))
        age_ns = gi_clock_coarse_ns() - s_oldest(self)->queued_ns;
    pthread_mutex_unlock(&self->mutex);
    out->oldest_ms = age_ns / 1000000;
}

const void *gi_threads_group(const gi_threads_t *self) {
    return &self->blocked;
}
