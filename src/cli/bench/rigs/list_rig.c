/* SPDX-License-Identifier: BSD-3-Clause */
/* list_rig.c -- a thread pool as one writes it in an hour: a list behind a
 * mutex and a condition, signalled for each task; one more of the same for what
 * is done. The reference of `gate bench threads`. */
#include "bench/rigs/rig.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { S_THREADS = 64, S_BATCH = 256 };

typedef struct s_task {
    uint64_t stamp;
    struct s_task *next;
} s_task_t;

typedef struct s_list {
    pthread_mutex_t lock;
    pthread_cond_t some;
    s_task_t *first, **last;
    bool ending;
} s_list_t;

typedef struct s_pool {
    s_list_t todo, done;
    pthread_t threads[S_THREADS];
    int n;
} s_pool_t;

static void s_init(s_list_t *self) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->some, &attr);
    pthread_condattr_destroy(&attr);
    self->last = &self->first;
}

static void s_push(s_list_t *self, s_task_t *task) {
    task->next = NULL;
    pthread_mutex_lock(&self->lock);
    *self->last = task;
    self->last = &task->next;
    pthread_cond_signal(&self->some);
    pthread_mutex_unlock(&self->lock);
}

/* NULL: ending, or none within wait_ns. */
static s_task_t *s_pop(s_list_t *self, int64_t wait_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += wait_ns % 1000000000;
    until.tv_sec += wait_ns / 1000000000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&self->lock);
    while (!self->first && !self->ending && wait_ns)
        if (pthread_cond_timedwait(&self->some, &self->lock, &until))
            break;
    s_task_t *task = self->first;
    if (task)
        self->first = task->next;
    if (!self->first)
        self->last = &self->first;
    pthread_mutex_unlock(&self->lock);
    return task;
}

static void *s_work(void *arg) {
    s_pool_t *self = arg;
    s_task_t *task;
    while ((task = s_pop(&self->todo, 1000000000)) || !self->todo.ending)
        if (task)
            s_push(&self->done, task);
    return NULL;
}

/* ---- a lane -------------------------------------------------------------- */
static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_task_t *task = malloc(sizeof *task);
    if (!task)
        return false;
    task->stamp = stamp;
    s_push(&((s_pool_t *)lane->self)->todo, task);
    return true;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_pool_t *self = lane->self;
    for (int i = 0; i < S_BATCH; i++) {
        s_task_t *task = s_pop(&self->done, i ? 0 : wait_ns);
        if (!task)
            return;
        uint64_t stamp = task->stamp;
        free(task);
        gi_lane_done(lane, stamp, true);
    }
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    *lane = (gi_lane_t){.self = rig, .send = s_send, .reap = s_reap};
    return i == 0; /* one submitter */
}

/* ---- life ---------------------------------------------------------------- */
static void s_down(void *arg) {
    s_pool_t *self = arg;
    pthread_mutex_lock(&self->todo.lock);
    self->todo.ending = true;
    pthread_cond_broadcast(&self->todo.some);
    pthread_mutex_unlock(&self->todo.lock);
    for (int i = 0; i < self->n; i++)
        pthread_join(self->threads[i], NULL);
    free(self);
}

static void *s_up(gi_spec_t *spec) {
    s_pool_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    s_init(&self->todo);
    s_init(&self->done);
    for (; self->n < spec->pool && self->n < S_THREADS; self->n++)
        if (pthread_create(&self->threads[self->n], NULL, s_work, self))
            break;
    if (self->n)
        return self;
    s_down(self);
    return NULL;
}

const gi_kind_t gi_kind_list = {"mutex-list", GI_CLIENT, s_up, s_make, s_down};
