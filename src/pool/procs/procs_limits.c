/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_limits.c -- what time and size do to jobs and workers. Only the front
 * job of a slot can run, so only it is looked at. A kill is decided on the
 * job's claim word: RUNNING(id) -> DOOMED(id) succeeds only while this job, and
 * no other, is what the worker runs. */
#include <stdio.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "sync/clock.h"
#include "procs/procs_core.h"

#define ANSWER_MS 10000 /* from "done" to the answer of a slow copier */
#define LEAVE_MS 2000   /* from the wish to quit to SIGKILL */
#define RSS_MS 500
#define DEADLINES_MS 100

static void s_sooner(int64_t *next, int64_t due) {
    if (due < *next)
        *next = due;
}

/* ---- kills --------------------------------------------------------------- */

static void s_doom(gi_slot_t *s, gi_pjob_t *job) {
    gi_procs_t *p = s->pool;
    bool limit = job->kill_code == GATE_TIMEOUT;
    gi_send_leave(s, job, true, gi_clock_ns());
    s->doomed = true;
    gi_slot_kill(s, limit ? GI_R_LIMIT : GI_R_CANCEL);
    if (limit)
        gi_pjob_fail(p, job, GATE_TIMEOUT,
                     "%s ran into its limit (soft %lld ms, hard %lld ms); "
                     "worker %d was killed",
                     job->name, (long long)job->options.soft_ms,
                     (long long)job->options.hard_ms, (int)s->pid);
    else
        gi_pjob_fail(p, job, GATE_CANCELLED,
                     "cancelled; worker %d was killed after its grace",
                     (int)s->pid);
    p->cancelled += !limit;
    p->failed += limit;
}

static void s_unbegun(gi_slot_t *s, gi_pjob_t *job) {
    if (!gi_send_revoke(s, job))
        return; /* begun this moment: the next look dooms it */
    if (s->in_flight == 0)
        s->stuck = true;
    job->kill_ms = INT64_MAX;
    if (job->cancel_asked)
        gi_pjob_fail(s->pool, job, GATE_CANCELLED, "cancelled");
    else
        gi_pjob_queue(s->pool, job, true);
}

/* When to look again. */
static int64_t s_kill_front(gi_slot_t *s, gi_pjob_t *job, int64_t now) {
    _Atomic uint64_t *word = gi_shm_claim(&s->shm, job->seq);
    uint64_t claim = atomic_load(word);
    if (claim == GI_CLAIM(job->id, GI_READY)) {
        s_unbegun(s, job);
        return now;
    }
    if (claim == GI_CLAIM(job->id, GI_RUNNING)) {
        if (atomic_compare_exchange_strong(word, &claim,
                                           GI_CLAIM(job->id, GI_DOOMED)))
            s_doom(s, job);
        return now;
    }
    if (claim == GI_CLAIM(job->id, GI_DONE) && now < job->kill_ms + ANSWER_MS)
        return job->kill_ms + ANSWER_MS;
    s->reader.lie = "a claim that cannot be";
    gi_slot_kill(s, GI_R_CORRUPT);
    return INT64_MAX;
}

/* ---- a running job ------------------------------------------------------- */

static void s_soft(gi_slot_t *s, gi_pjob_t *job, int64_t now) {
    job->soft_passed = true;
    atomic_store(&gi_shm_request(&s->shm, job->seq)->cancel, 1);
    gi_shm_wake(&s->shm, GI_SLEEP_CREDIT);
    if (now + s->pool->options.grace_ms < job->kill_ms) {
        job->kill_ms = now + s->pool->options.grace_ms;
        job->kill_code = GATE_TIMEOUT;
    }
}

static int64_t s_job(gi_slot_t *s, gi_pjob_t *job, int64_t now) {
    int64_t next = INT64_MAX, since = s->front_ns / 1000000;
    const gate_job_options_t *o = &job->options;
    if (o->soft_ms && !job->soft_passed) {
        if (now >= since + o->soft_ms)
            s_soft(s, job, now);
        else
            s_sooner(&next, since + o->soft_ms);
    }
    if (o->hard_ms && since + o->hard_ms < job->kill_ms) {
        job->kill_ms = since + o->hard_ms;
        job->kill_code = GATE_TIMEOUT;
    }
    s_sooner(&next,
             now >= job->kill_ms ? s_kill_front(s, job, now) : job->kill_ms);
    return next;
}

/* ---- a worker ------------------------------------------------------------ */

static int64_t s_rss_bytes(pid_t pid) {
    char path[64];
    long long size = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    if (fscanf(f, "%lld %lld", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static int64_t s_recycle(gi_slot_t *s, int64_t now) {
    int64_t next = INT64_MAX;
    const gate_pool_options_t *o = &s->pool->options;
    if (o->max_jobs && s->n_done >= (uint64_t)o->max_jobs)
        gi_slot_quit(s, GI_R_JOBS);
    if (o->max_age_ms) {
        if (now >= s->spawned_ms + o->max_age_ms)
            gi_slot_quit(s, GI_R_AGE);
        else
            s_sooner(&next, s->spawned_ms + o->max_age_ms);
    }
    if (o->max_rss_bytes && s->n_done != s->rss_done &&
        now >= s->rss_ms + RSS_MS) {
        s->rss_ms = now;
        s->rss_done = s->n_done;
        if (s_rss_bytes(s->pid) > o->max_rss_bytes)
            gi_slot_quit(s, GI_R_RSS);
    }
    if (o->max_rss_bytes && s->n_done != s->rss_done)
        s_sooner(&next, s->rss_ms + RSS_MS);
    return next;
}

static int64_t s_up(gi_slot_t *s, int64_t now) {
    int64_t next = INT64_MAX;
    if (!s->wanted || s->pool->stopping)
        gi_slot_quit(s, GI_R_RESIZE);
    if (!s->quitting)
        next = s_recycle(s, now);
    if (s->quitting && s->in_flight == 0 && s->quit_ms == 0)
        s->quit_ms = now;
    if (s->quit_ms && now >= s->quit_ms + LEAVE_MS)
        gi_slot_kill(s, s->reason);
    else if (s->quit_ms)
        s_sooner(&next, s->quit_ms + LEAVE_MS);
    gi_pjob_t *job = s->doomed ? NULL : gi_send_front(s);
    if (job)
        s_sooner(&next, s_job(s, job, now));
    return next;
}

/* ---- the queue ----------------------------------------------------------- */

static void s_deadlines(gi_procs_t *p, int64_t now) {
    for (int i = 0; i < 2; i++)
        for (gi_pjob_t *job = p->queue[i].first, *next; job; job = next) {
            next = job->next;
            if (now < job->deadline_ms)
                continue;
            gi_pjob_unqueue(p, job);
            gi_pjob_fail(p, job, GATE_TIMEOUT,
                         "%s waited in the process pool %s until its deadline",
                         job->name, p->name);
            p->failed++;
        }
}

static void s_recover(gi_procs_t *p, int64_t now, int64_t *next) {
    size_t max = (size_t)p->options.restart_max;
    int64_t well =
        p->deaths[(p->n_deaths - 1) % max] + p->options.restart_period_ms;
    if (now < well + p->backoff_ms) {
        s_sooner(next, well + p->backoff_ms);
        return;
    }
    p->degraded = false;
    p->backoff_ms = 0;
    gate_log(GATE_INFO, "pool", "%s: workers live again", p->name);
}

int64_t gi_limits_check(gi_procs_t *p, int64_t now) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state == GI_S_EMPTY && s->wanted && !p->stopping && !p->lost)
            gi_slot_spawn(s);
        if (s->state == GI_S_WAITING && (!s->wanted || p->stopping))
            s->state = GI_S_EMPTY;
        if (s->state == GI_S_WAITING && now >= s->retry_ms)
            gi_slot_spawn(s);
        if (s->state == GI_S_WAITING)
            s_sooner(&next, s->retry_ms);
        if (s->state == GI_S_UP)
            s_sooner(&next, s_up(s, now));
    }
    if (p->degraded)
        s_recover(p, now, &next);
    if (p->n_deadlines && now >= p->deadlines_ms + DEADLINES_MS) {
        p->deadlines_ms = now;
        s_deadlines(p, now);
    }
    if (p->n_deadlines)
        s_sooner(&next, p->deadlines_ms + DEADLINES_MS);
    return next;
}
