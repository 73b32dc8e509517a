/* SPDX-License-Identifier: BSD-3-Clause */
/* threads_work.c -- what the measurements chose: one mutex, one ring, one condition.
 *
 * Wake throttling. `waking` is true from the moment somebody decides to wake a
 * worker until a worker has come out of its wait. While it is true nobody
 * signals; the woken one looks at what is left and wakes the next. All of it is
 * under the mutex, so no wake-up can be lost.
 *
 * A worker that looks on before it sleeps (`looking`) stands for a wake-up too:
 * it has not slept yet, and takes the mutex once more before it does.
 *
 * Batches. A worker takes min(n/2, 16) jobs at once and runs them from its own
 * batch without the mutex. So that a job which blocks does not hold the rest of
 * its batch, an idle worker steals from batches before it sleeps:
 *   - refill and steal happen under the mutex, only the owner's own take does
 *     not: both claim a job by exchanging its place for NULL, so each is claimed
 *     once, and places are filled again by the owner alone, under the mutex;
 *   - who waits for one of the pool's jobs on a worker claims that very one,
 *     wherever it is: in a batch as a thief, in the ring it leaves a hole;
 *   - whoever leaves work behind (in the ring or in a batch) while somebody is
 *     idle wakes one, and that one does the same.
 * Law: work that nobody has begun and an idle worker exist together only while
 * a wake-up is on its way, or a worker looks. */
#include "jobs/threads_core.h"

/* ---- under the mutex ----------------------------------------------------- */
static void s_report(gi_threads_worker_t *worker) {
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

/* The next of those that wait. */
static gi_job_t *s_take(gi_threads_t *self) {
    gi_job_t *job = self->urgent;

    if (!job) {
        self->count--;
        job = self->ring[self->head++ & (self->room - 1)];
        self->holes -= !job;
        return job;
    }
    self->urgent = job->next;
    if (!job->next)
        self->last_urgent = &self->urgent;
    self->n_urgent--;
    return job;
}

/* Fills the worker's batch from the ring; false when the ring is empty. */
static bool s_refill(gi_threads_worker_t *worker) {
    gi_threads_t *self = worker->pool;
    size_t n = gi_threads_waiting(self) / 2, i;

    if (!gi_threads_waiting(self))
        return false;
    if (n > GI_THREADS_BATCH)
        n = GI_THREADS_BATCH;
    if (n < 1)
        n = 1;
    for (i = 0; i < n; i++)
        atomic_store_explicit(&worker->batch[i], s_take(self),
                              memory_order_relaxed);
    worker->batch_size = (unsigned)n;
    worker->batch_next = 0;
    if (n > 1) {
        worker->spread = true;
        self->spread++;
    }
    if (self->room_wanted)
        pthread_cond_broadcast(&self->space);
    return true;
}

/* What a job holds was published under the mutex: relaxed is enough. */
static gi_job_t *s_claim_at(gi_threads_worker_t *worker, unsigned i) {
    return atomic_exchange_explicit(&worker->batch[i], NULL,
                                    memory_order_relaxed);
}

/* By the owner, without the mutex. */
static gi_job_t *s_claim(gi_threads_worker_t *worker) {
    gi_job_t *job = NULL;

    while (!job && worker->batch_next < worker->batch_size)
        job = s_claim_at(worker, worker->batch_next++);
    return job;
}

static gi_job_t *s_unclaimed_at(const gi_threads_worker_t *worker, unsigned i) {
    return atomic_load_explicit(&worker->batch[i], memory_order_relaxed);
}

unsigned gi_threads_unclaimed(const gi_threads_worker_t *worker) {
    unsigned n = 0;

    for (unsigned i = 0; i < worker->batch_size; i++)
        n += s_unclaimed_at(worker, i) != NULL;
    return n;
}

/* By another than the owner. */
static gi_job_t *s_claim_from(gi_threads_worker_t *worker) {
    gi_job_t *job = NULL;

    for (unsigned i = 0; i < worker->batch_size && !job; i++)
        if (s_unclaimed_at(worker, i))
            job = s_claim_at(worker, i);
    return job;
}

static bool s_steal(gi_threads_worker_t *thief) {
    gi_threads_t *self = thief->pool;
    gi_threads_worker_t *worker;
    gi_job_t *job = NULL;

    for (worker = self->workers; worker && !job; worker = worker->next)
        if (worker != thief)
            job = s_claim_from(worker);
    if (!job)
        return false;
    atomic_store_explicit(&thief->batch[0], job, memory_order_relaxed);
    thief->batch_size = 1;
    thief->batch_next = 0;
    return true;
}

/* True when idle workers would find something. */
static bool s_leaves_work(const gi_threads_t *self) {
    const gi_threads_worker_t *worker;

    if (gi_threads_waiting(self))
        return true;
    if (!self->spread || !self->idle)
        return false;
    for (worker = self->workers; worker; worker = worker->next)
        if (worker->spread && gi_threads_unclaimed(worker) > 0)
            return true;
    return false;
}

/* ---- who waits for a job ------------------------------------------------- */
static bool s_claim_urgent(gi_threads_t *self, const gi_job_t *job) {
    gi_job_t **at = &self->urgent;

    while (*at && *at != job)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = job->next;
    if (!*at)
        self->last_urgent = at;
    self->n_urgent--;
    return true;
}

static bool s_claim_waiting(gi_threads_t *self, const gi_job_t *job) {
    gi_job_t **at = &self->ring[job->at & (self->room - 1)];

    if (job->at - self->head >= self->count || *at != job)
        return false;
    *at = NULL;
    self->holes++;
    return true;
}

static bool s_claim_batched(gi_threads_t *self, const gi_job_t *job) {
    for (gi_threads_worker_t *w = self->workers; w; w = w->next)
        for (unsigned i = 0; i < w->batch_size; i++) {
            gi_job_t *there = (gi_job_t *)(uintptr_t)job;
            if (s_unclaimed_at(w, i) == job)
                return atomic_compare_exchange_strong(&w->batch[i], &there,
                                                      NULL);
        }
    return false;
}

void gi_threads_help(gi_threads_t *self, gi_job_t *job, bool always) {
    bool mine = false;

    pthread_mutex_lock(&self->mutex);
    if (always || !self->idle)
        mine = (job->urgent ? s_claim_urgent(self, job)
                            : s_claim_waiting(self, job)) ||
               s_claim_batched(self, job);
    if (mine && self->room_wanted)
        pthread_cond_broadcast(&self->space);
    pthread_mutex_unlock(&self->mutex);
    if (!mine)
        return;
    job->run(job);
    pthread_mutex_lock(&self->mutex);
    self->done++;
    if (--self->unfinished == 0)
        pthread_cond_broadcast(&self->quiet);
    pthread_mutex_unlock(&self->mutex);
}

/* ---- a worker ------------------------------------------------------------ */
/* Submissions come close together as a rule, and a wake-up costs more than a
 * job: one worker looks for a few microseconds before it sleeps. Without the
 * mutex meanwhile; whatever came, it looks at everything again afterwards. */
static bool s_look_on(gi_threads_worker_t *worker) {
    gi_threads_t *self = worker->pool;
    gi_linger_t linger = gi_luck_begin(&worker->luck);
    unsigned seen = atomic_load_explicit(&self->news, memory_order_relaxed);
    bool came = false;

    if (self->looking || !linger.left)
        return false;
    self->looking = true;
    pthread_mutex_unlock(&self->mutex);
    while (!came && gi_linger(&linger))
        came = atomic_load_explicit(&self->news, memory_order_relaxed) != seen;
    pthread_mutex_lock(&self->mutex);
    self->looking = false;
    gi_luck_end(&worker->luck, &linger, came);
    return true;
}

/* Waits for work; false: leave. */
static bool s_get_work(gi_threads_worker_t *worker) {
    gi_threads_t *self = worker->pool;

    for (bool looked = false;; looked = false) {
        do {
            if (self->live > self->target)
                return false;
            if (s_refill(worker) || (self->spread && s_steal(worker)))
                return true;
        } while (!looked && (looked = s_look_on(worker)));
        self->idle++;
        pthread_cond_wait(&self->work, &self->mutex);
        self->idle--;
        self->waking = false;
    }
}

static void s_leave(gi_threads_worker_t *worker) {
    gi_threads_t *self = worker->pool;
    gi_threads_worker_t **at = &self->workers;

    while (*at != worker)
        at = &(*at)->next;
    *at = worker->next;
    worker->next = self->gone;
    self->gone = worker;
    self->live--;
    pthread_cond_broadcast(&self->quiet);
    if (s_leaves_work(self) && gi_threads_wants_wake(self))
        pthread_cond_signal(&self->work);
}

void *gi_threads_work(void *arg) {
    gi_threads_worker_t *worker = arg;
    gi_threads_t *self = worker->pool;
    gi_thread_in_t in;
    gi_job_t *job;
    bool wake;

    gi_thread_mark();
    gi_thread_wait_mark(&self->blocked);
    gi_thread_enter(&in, &self->blocked);
    pthread_mutex_lock(&self->mutex);
    while (s_get_work(worker)) {
        wake = s_leaves_work(self) && gi_threads_wants_wake(self);
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
