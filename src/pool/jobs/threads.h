/* SPDX-License-Identifier: BSD-3-Clause */
/* threads.h -- the thread pool itself: one mutex, one ring, one condition, wake
 * throttling (at most one wake-up in flight; the woken wakes the next), batches
 * of min(n/2, 16). No thread is ever killed. Thread: any. */
#ifndef GI_THREADS_H
#define GI_THREADS_H

#include <gaterpc/error.h>

/* Embedded in whatever is to run. Owned by the pool from submit to run. */
typedef struct gi_job {
    void (*run)(struct gi_job *self);
    int64_t queued_ns;       /* set by submit, for the oldest-age gauge */
    union {                  /* the pool's: */
        struct gi_job *next; /* of an urgent one */
        size_t at;           /* in the ring, of another */
    };
    bool urgent; /* before all that wait and are not */
} gi_job_t;

typedef struct gi_threads gi_threads_t;
typedef struct gi_threads_stats {
    int workers;
    size_t queued, running;
    uint64_t done;
    int64_t oldest_ms;
} gi_threads_stats_t;

gate_err_t gi_threads_new(const char *name, int workers, size_t queue_max,
                          gi_threads_t **out) GATE_MUST;
/* Waits for all jobs. */
void gi_threads_destroy(gi_threads_t **self_p);
#define GI_THREADS_MAX 4096 /* as the setting threads has it */

/* How many workers a setting of 0 means. */
int gi_threads_usual(int64_t setting);
/* What a worker of it is marked by (gi_thread_wait_mark). */
const void *gi_threads_group(const gi_threads_t *self);

/* GATE_BUSY: full; GATE_CLOSED. Sets no story. */
gate_err_t gi_threads_submit(gi_threads_t *self, gi_job_t *job);
/* The same for many, with one lock and one wake-up: how many it took, from the
 * first on; *e says why not all. */
size_t gi_threads_submit_many(gi_threads_t *self, gi_job_t *const *jobs,
                              size_t n, gate_err_t *e);
gate_err_t gi_threads_resize(gi_threads_t *self, int workers) GATE_MUST;
/* Refuses new jobs; waits up to timeout_ms for those there are. */
gate_err_t gi_threads_drain(gi_threads_t *self, int64_t timeout_ms) GATE_MUST;
/* Waits until the next submission would be taken. */
gate_err_t gi_threads_room(gi_threads_t *self, int64_t timeout_ms) GATE_MUST;
void gi_threads_stats(gi_threads_t *self, gi_threads_stats_t *out);

/* ---- threads_work.c ------------------------------------------------------ */
/* Who waits for a job, on a worker of this pool: runs it here if nobody has
 * begun it, so that workers which wait for their own pool do not wait for each
 * other. Not `always`: only while no worker is idle. job may have ended, its
 * memory must be there. */
void gi_threads_help(gi_threads_t *self, gi_job_t *job, bool always);

#endif
