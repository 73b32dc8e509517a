/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_limits.c -- what time and size do to jobs and workers. Only the front
 * job of a slot can run, so only it is looked at. A kill is decided on the
 * job's claim word: RUNNING(id) -> DOOMED(id) succeeds only while this job, and
 * no other, is what the worker runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "sync/clock.h"
#include "procs/procs_core.h"

#define ANSWER_MS 10000 /* from "done" to the answer of a slow copier */
#define LEAVE_MS 2000   /* from the wish to quit to SIGKILL */
#define RSS_MS 500
#define KILL_AGAIN_MS 20
#define PARK_MS 20         /* between two tries to send what could not be */
#define PARKED_MAX_MS 2000 /* then it ends */

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
    int64_t kill_ms = gi_time_add(now, s->pool->options.grace_ms);
    if (kill_ms < job->kill_ms) {
        job->kill_ms = kill_ms;
        job->kill_code = GATE_TIMEOUT;
    }
}

/* It has used up its credit, and waits for a reader. */
static bool s_starved(const gi_pjob_t *job) {
    return job->sink->item &&
           ((job->credit_items && job->items >= job->credit_items) ||
            (job->credit_bytes && job->bytes >= job->credit_bytes));
}

/* Whoever destroys the pool may be the one who would have read. */
static void s_leave_reader(gi_slot_t *s, gi_pjob_t *job, int64_t now) {
    job->cancel_asked = true;
    atomic_store(&gi_shm_request(&s->shm, job->seq)->cancel, 1);
    gi_shm_wake(&s->shm, GI_SLEEP_CREDIT);
    job->kill_ms = gi_time_add(now, s->pool->options.grace_ms);
    job->kill_code = GATE_CANCELLED;
}

static int64_t s_job(gi_slot_t *s, gi_pjob_t *job, int64_t now) {
    int64_t next = INT64_MAX, since = s->front_ns / 1000000;
    const gate_job_options_t *o = &job->options;
    int64_t soft_ms = gi_time_add(since, o->soft_ms ? o->soft_ms : -1);
    int64_t hard_ms = gi_time_add(since, o->hard_ms ? o->hard_ms : -1);
    if (s->pool->ending && s_starved(job) && !job->cancel_asked)
        s_leave_reader(s, job, now);
    if (!job->soft_passed) {
        if (now >= soft_ms)
            s_soft(s, job, now);
        else
            s_sooner(&next, soft_ms);
    }
    if (hard_ms < job->kill_ms) {
        job->kill_ms = hard_ms;
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
        int64_t due = gi_time_add(s->spawned_ms, o->max_age_ms);
        if (now >= due)
            gi_slot_quit(s, GI_R_AGE);
        else
            s_sooner(&next, due);
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

/* One that had nothing to do for a while leaves, but for the first ones. */
static int64_t s_rest(gi_slot_t *s, int64_t now) {
    gi_procs_t *p = s->pool;
    int64_t since = s->front_ns / 1000000, due;
    if (p->more.idle_ms == INT64_MAX || s->in_flight > 0 ||
        s->index < p->more.idle_workers)
        return INT64_MAX;
    if (since < s->ready_ms)
        since = s->ready_ms;
    due = gi_time_add(since, p->more.idle_ms);
    if (now < due || gi_pjob_next(p))
        return due > now ? due : INT64_MAX;
    s->resting = true;
    gi_slot_quit(s, GI_R_IDLE);
    return INT64_MAX;
}

/* As many come back as jobs wait. */
static void s_rouse(gi_procs_t *p) {
    size_t waiting = gi_pjob_waiting(p);
    for (int i = 0; i < p->n_slots && waiting > 0; i++)
        if (p->slots[i]->resting) {
            p->slots[i]->resting = false;
            waiting--;
        }
}

/* An init that does not end keeps all from working. */
static int64_t s_unready(gi_slot_t *s, int64_t now) {
    int64_t due = gi_time_add(s->spawned_ms, s->pool->init_ms);
    if (now < due)
        return due;
    gate_log(GATE_ERROR, "pool",
             "%s: worker %d is killed: its init has not "
             "ended in %lld ms",
             s->pool->name, (int)s->pid, (long long)s->pool->init_ms);
    gi_slot_kill(s, GI_R_INIT);
    return INT64_MAX;
}

static int64_t s_up(gi_slot_t *s, int64_t now) {
    int64_t next = INT64_MAX;
    if (!s->wanted || s->pool->stopping)
        gi_slot_quit(s, GI_R_RESIZE);
    if (s->kill_again) {
        s->kill_again = false;
        gi_slot_kill(s, s->reason);
        if (s->kill_again)
            s_sooner(&next, now + KILL_AGAIN_MS);
    }
    if (!s->quitting)
        s_sooner(&next,
                 s->state == GI_S_UP ? s_recycle(s, now) : s_unready(s, now));
    if (!s->quitting && s->state == GI_S_UP)
        s_sooner(&next, s_rest(s, now));
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

/* ---- deadlines ----------------------------------------------------------- */

/* Of what waits, here or in a ring, what is late ends; gives the first deadline
 * of the others. */
static void s_late(gi_procs_t *p, gi_pjob_t *job) {
    gi_pjob_fail(p, job, GATE_TIMEOUT,
                 "%s waited in the process pool %s until its deadline",
                 job->name, p->name);
    p->failed++;
}

static int64_t s_late_queued(gi_procs_t *p, int64_t now) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < 3; i++)
        for (gi_pjob_t *job = p->queue[i].first, *after; job; job = after) {
            after = job->next;
            if (now < job->deadline_ms) {
                s_sooner(&next, job->deadline_ms);
                continue;
            }
            gi_pjob_unqueue(p, job);
            s_late(p, job);
        }
    return next;
}

/* Sent ahead, not begun. */
static int64_t s_late_sent(gi_slot_t *s, int64_t now) {
    int64_t next = INT64_MAX;
    if (s->in_flight == 0)
        return next;
    for (uint32_t seq = s->front; seq != s->tail; seq++) {
        gi_pjob_t *job = s->jobs[seq & (s->shm.cells - 1)];
        if (!job || gi_send_begun(s, job))
            continue;
        if (now < job->deadline_ms)
            s_sooner(&next, job->deadline_ms);
        else if (gi_send_revoke(s, job))
            s_late(s->pool, job);
        if (s->in_flight == 0)
            break;
    }
    return next;
}

static void s_deadlines(gi_procs_t *p, int64_t now) {
    int64_t next = s_late_queued(p, now);
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i]->state == GI_S_UP && !p->slots[i]->doomed)
            s_sooner(&next, s_late_sent(p->slots[i], now));
    p->deadline_ms = next;
}

/* ---- what could not be sent ---------------------------------------------- */

static void s_unpark(gi_procs_t *p, int64_t now) {
    gi_pjob_t *job = p->queue[2].last, *before;
    for (; job; job = before) { /* the last first: in order to the front */
        before = job->prev;
        gi_pjob_unqueue(p, job);
        if (now < job->parked_ms + PARKED_MAX_MS)
            gi_pjob_queue(p, job, true);
        else
            gi_pjob_fail(p, job,
                         job->park_error == ENOMEM ? GATE_NOMEM : GATE_SYSTEM,
                         "%s could not be given to a worker for %d ms: %s",
                         job->name, PARKED_MAX_MS, strerror(job->park_error));
    }
    p->unpark_ms = now + PARK_MS;
}

/* ---- all ----------------------------------------------------------------- */

static int64_t s_slot(gi_slot_t *s, int64_t now) {
    gi_procs_t *p = s->pool;
    int64_t next = INT64_MAX;
    if (s->state == GI_S_EMPTY && s->wanted && !s->resting && !p->stopping &&
        !p->lost)
        gi_slot_spawn(s);
    if (s->state == GI_S_WAITING && (!s->wanted || p->stopping))
        s->state = GI_S_EMPTY;
    if (s->state == GI_S_WAITING && now >= s->retry_ms)
        gi_slot_spawn(s);
    if (s->state == GI_S_WAITING && s->retry_ms)
        s_sooner(&next, s->retry_ms);
    if (s->held_ms && s->state != GI_S_DYING)
        (void)gi_slot_output(s, false);
    if (s->state == GI_S_UP || s->state == GI_S_BORN)
        s_sooner(&next, s_up(s, now));
    return next;
}

int64_t gi_limits_check(gi_procs_t *p, int64_t now) {
    int64_t next = INT64_MAX;
    if (p->more.idle_ms != INT64_MAX)
        s_rouse(p);
    for (int i = 0; i < p->n_slots; i++)
        s_sooner(&next, s_slot(p->slots[i], now));
    s_sooner(&next, gi_births_check(p, now));
    if (now >= p->deadline_ms)
        s_deadlines(p, now);
    s_sooner(&next, p->deadline_ms);
    if (p->queue[2].first && now >= p->unpark_ms)
        s_unpark(p, now);
    if (p->queue[2].first)
        s_sooner(&next, p->unpark_ms);
    return next;
}

/* After a while without anything to do memory goes back. The inbox stays: its
 * seal keeps workers from writing to it, and us from punching holes. */
void gi_limits_tidy(gi_procs_t *p) {
    if (gi_clock_ns() < p->tidy_ns)
        return;
    gi_job_shrink(p);
    p->tidy_ns = INT64_MAX;
}
