/* SPDX-License-Identifier: BSD-3-Clause */
/* threads_core.h -- what the two files of the thread pool share.
 *   threads.c       life, submitting, numbers
 *   threads_work.c  its workers, and who waits for a job; the rules */
#ifndef GI_THREADS_CORE_H
#define GI_THREADS_CORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "jobs/threads.h"
#include "sync/actor_thread.h"
#include "sync/luck.h"

#define GI_THREADS_BATCH 16

typedef struct gi_threads_worker {
    gi_threads_t *pool;
    struct gi_threads_worker *next; /* in pool->workers, then in pool->gone */
    pthread_t thread;
    unsigned finished;   /* jobs run since it last held the mutex */
    gi_luck_t luck;      /* of looking for work before it sleeps */
    bool spread;         /* counted in pool->spread */
    unsigned batch_next; /* next index of batch to claim; the owner's */
    unsigned batch_size; /* changed under the mutex by the owner */
    _Atomic(gi_job_t *) batch[GI_THREADS_BATCH]; /* NULL: claimed */
} gi_threads_worker_t;

struct gi_threads {
    gi_thread_wait_t blocked; /* first: workers that wait for answers */
    pthread_mutex_t mutex;    /* of everything below */
    pthread_cond_t work;      /* for idle workers */
    pthread_cond_t quiet;     /* unfinished became 0, or a worker has gone */
    pthread_cond_t space; /* the queue has shrunk, for room_wanted threads */
    unsigned room_wanted;
    gi_job_t **ring;
    size_t room, head, count;        /* room is a power of two */
    size_t holes;                    /* of count: claimed by who waits */
    gi_job_t *urgent, **last_urgent; /* wait before those in the ring */
    size_t n_urgent;
    size_t queue_max;  /* of both */
    size_t unfinished; /* submitted and not yet reported as run */
    uint64_t done;
    unsigned idle;   /* workers inside their wait */
    unsigned spread; /* workers whose last batch had more than one job */
    bool waking;
    bool looking;     /* a worker looks at news before it sleeps */
    atomic_uint news; /* changes with each submission */
    bool closed;
    int target, live; /* workers wanted; workers running */
    int started;      /* ever, for names */
    gi_threads_worker_t *workers;
    gi_threads_worker_t *gone; /* have left their loop, to be joined */
    char name[12];
};

/* ---- under the mutex ----------------------------------------------------- */
/* Decides to wake a worker if one is idle; true: signal after the unlock. */
static inline bool gi_threads_wants_wake(gi_threads_t *self) {
    if (!self->idle || self->waking || self->looking)
        return false;
    self->waking = true;
    return true;
}

static inline size_t gi_threads_waiting(const gi_threads_t *self) {
    return self->n_urgent + self->count;
}

/* ---- threads_work.c ------------------------------------------------------ */
/* Jobs of its batch that nobody has claimed; under the mutex. */
unsigned gi_threads_unclaimed(const gi_threads_worker_t *worker);
/* A worker's thread. */
void *gi_threads_work(void *worker);

#endif
