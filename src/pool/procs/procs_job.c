/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_job.c -- jobs: memory that is reused, tickets with generations, two
 * queues, one end. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "sync/clock.h"
#include "sync/fd.h"
#include "base/mem.h"
#include "base/origin.h"
#include "procs/procs_core.h"
#include "shared/queue.h"

#define LOCKED_MAX 1024
#define JOBS_KEPT 1024 /* of a burst, when nothing is to be done */
#define FDS_MAX 64     /* payloads with a descriptor of their own */
#define PARK_MS 20     /* until it is tried again */

gi_ticket_t gi_pjob_ticket(const gi_pjob_t *job) {
    return (uint64_t)job->generation << 32 | (job->index + 1u);
}

gi_pjob_t *gi_pjob_find(gi_procs_t *p, gi_ticket_t ticket) {
    uint32_t index = (uint32_t)ticket - 1u;
    if (ticket == 0 || index >= p->n_all)
        return NULL;
    gi_pjob_t *job = p->jobs[index];
    bool live = job->state == GI_J_QUEUED || job->state == GI_J_SENT;
    return live && gi_pjob_ticket(job) == ticket ? job : NULL;
}

/* ---- memory -------------------------------------------------------------- */

static bool s_grow(gi_procs_t *p) {
    if (p->n_all < p->room_all)
        return true;
    size_t room = p->room_all ? 2 * p->room_all : 256;
    gi_pjob_t **jobs = gi_mem_realloc(p->jobs, room * sizeof *jobs);
    if (!jobs)
        return false;
    p->jobs = jobs;
    p->room_all = room;
    return true;
}

/* The next job to be reused: the dispatcher had it last. */
static void s_prefetch(const gi_pjob_t *job) {
    const char *at = (const char *)job;
    for (size_t i = 0; job && i < sizeof *job; i += 64)
        gi_shm_prefetch(at + i);
}

static gi_pjob_t *s_alloc(gi_procs_t *p) {
    gi_pjob_t *job = p->free;
    if (job) {
        p->free = job->next;
        s_prefetch(p->free);
        return job;
    }
    if (!s_grow(p))
        return NULL;
    job = gi_mem_calloc(1, sizeof *job);
    if (!job)
        return NULL;
    gi_error_init(&job->error);
    job->fd = -1;
    job->generation = p->n_tickets++;
    job->index = (uint32_t)p->n_all;
    p->jobs[p->n_all++] = job;
    return job;
}

void gi_job_unload(gi_procs_t *p, gi_pjob_t *job) {
    if (job->data != job->small)
        gi_mem_free(job->data);
    job->data = job->small;
    if (job->fd < 0)
        return;
    gi_fd_close(&job->fd);
    atomic_fetch_sub(&p->n_fds, 1);
}

void gi_pjob_free(gi_procs_t *p, gi_pjob_t *job) {
    gi_job_unload(p, job);
    for (size_t i = 0; i < job->n_queues; i++)
        gi_queue_detach(job->queues[i], 0, false); /* it never ran */
    job->n_queues = 0;
    while (job->n_runs > 0)
        gi_run_release(job->runs[--job->n_runs]);
    if (job->error.story.code)
        gi_error_fini(&job->error);
    job->generation = p->n_tickets++;
    job->state = GI_J_FREE;
    job->next = p->free;
    p->free = job;
    if (--p->n_jobs == 0)
        pthread_cond_broadcast(&p->idle);
}

void gi_job_free_all(gi_procs_t *p, gi_pjob_t *list) {
    for (gi_pjob_t *job = list, *next; job; job = next) {
        next = job->next;
        gi_pjob_free(p, job);
    }
}

static void s_fini(gi_pjob_t **jobs, size_t n) {
    for (size_t i = 0; i < n; i++)
        gi_mem_free(jobs[i]);
    gi_mem_free(jobs);
}

void gi_pjob_fini_all(gi_procs_t *p) { s_fini(p->jobs, p->n_all); }

/* Tickets of theirs are older than all that come. */
void gi_job_shrink(gi_procs_t *p) {
    pthread_mutex_lock(&p->lock);
    gi_pjob_t **jobs = p->jobs;
    size_t n = p->n_all;
    bool many = p->n_jobs == 0 && n > JOBS_KEPT;
    if (many) {
        p->jobs = NULL;
        p->free = NULL;
        p->n_all = p->room_all = 0;
    }
    pthread_mutex_unlock(&p->lock);
    if (many)
        s_fini(jobs, n);
}

/* ---- from a request ------------------------------------------------------ */

/* The function as workers know it; lock held, for the cache. */
static gate_err_t s_refer(gi_procs_t *p, const gi_request_t *r, uintptr_t fn,
                          gi_fn_known_t *out) {
    gi_fn_known_t *known = &p->known[(fn >> 4) % 64];
    if (known->fn != fn ||
        (!known->stays && known->unloads != gi_fn_unloads())) {
        gi_fn_ref_t ref;
        gate_err_t e =
            gi_fn_refer(fn, r->name ? r->name : "the function", &ref);
        if (e)
            return e;
        gi_fn_ref_t *kept = NULL;
        if (ref.object[0]) {
            kept = gi_mem_alloc(sizeof *kept);
            if (!kept)
                return gi_err(GATE_NOMEM, "no memory for a job");
            *kept = ref;
        }
        gi_mem_free(known->ref);
        *known = (gi_fn_known_t){fn, kept, ref.stays, gi_fn_unloads()};
    }
    *out = *known;
    return GATE_OK;
}

static unsigned char *s_put(unsigned char *to, const void *data, size_t size) {
    if (size)
        memcpy(to, data, size);
    return to + size;
}

static size_t s_string_size(const char *s) {
    return s && *s ? strlen(s) + 1 : 0;
}

static gate_err_t s_lengths(gi_pjob_t *job, const gi_request_t *r,
                            const gi_fn_ref_t *ref) {
    size_t name = s_string_size(r->name), user = s_string_size(r->user);
    size_t object = ref ? s_string_size(ref->object) : 0;
    if (name > UINT16_MAX || user > UINT16_MAX || r->meta.size > UINT16_MAX ||
        r->args.size > UINT32_MAX || r->kwargs.size > UINT32_MAX)
        return gi_err(GATE_TOOBIG, "a job's arguments are limited to 4 GiB, "
                                   "names to 64 KiB");
    job->name_len = (uint16_t)name;
    job->user_len = (uint16_t)user;
    job->meta_len = (uint16_t)r->meta.size;
    job->object_len = (uint16_t)object;
    job->args_len = (uint32_t)r->args.size;
    job->kwargs_len = (uint32_t)r->kwargs.size;
    job->size = name + user + r->meta.size + object + r->args.size +
                r->kwargs.size + r->n_runs * sizeof *r->run_refs;
    return GATE_OK;
}

/* Where its payload is written: what no lane takes goes into the memory that
 * the worker will map, at once and without the lock; unless there are many, or
 * no descriptor can be had now: then it is copied when it is sent. */
static unsigned char *s_room(gi_procs_t *p, gi_pjob_t *job) {
    void *base;
    job->data = job->small;
    if (job->size <= sizeof job->small)
        return job->small;
    if (job->size > p->config.lane_bytes / 2 &&
        atomic_fetch_add(&p->n_fds, 1) < FDS_MAX &&
        !gi_shm_memfd("gate-payload", job->size, &job->fd, &base))
        return base;
    if (job->size > p->config.lane_bytes / 2)
        atomic_fetch_sub(&p->n_fds, 1);
    job->fd = -1;
    unsigned char *data = gi_mem_alloc(job->size);
    if (data)
        job->data = data;
    return data;
}

static gate_err_t s_payload(gi_procs_t *p, gi_pjob_t *job,
                            const gi_request_t *r, const gi_fn_ref_t *ref) {
    gate_err_t e = s_lengths(job, r, ref);
    if (e)
        return e;
    if (job->size > p->config.lane_bytes / 2 && !gi_shm_fits(job->size))
        return gi_err(GATE_NOMEM,
                      "a job of %zu bytes: there is less shared memory left",
                      job->size);
    unsigned char *to = s_room(p, job), *base = to;
    if (!to)
        return gi_err(GATE_NOMEM, "no memory for a job of %zu bytes",
                      job->size);
    to = s_put(to, r->name, job->name_len);
    to = s_put(to, r->user, job->user_len);
    to = s_put(to, r->meta.data, job->meta_len);
    to = s_put(to, ref ? ref->object : NULL, job->object_len);
    to = s_put(to, r->args.data, r->args.size);
    to = s_put(to, r->kwargs.data, r->kwargs.size);
    s_put(to, r->run_refs, r->n_runs * sizeof *r->run_refs);
    if (job->fd >= 0)
        munmap(base, job->size);
    return GATE_OK;
}

/* 0: the pool's; none is 0 from here on. */
static int64_t s_limit(int64_t own, int64_t of_pool) {
    int64_t limit = own ? own : of_pool;
    return gi_time_none(limit) ? 0 : limit;
}

static void s_fields(gi_procs_t *p, gi_pjob_t *job, const gi_request_t *r) {
    const char *name = r->name && *r->name ? r->name : "job";
    size_t n = job->name_len ? job->name_len : sizeof "job";
    n = n < sizeof job->name ? n : sizeof job->name;
    memcpy(job->name, name, n);
    job->name[n - 1] = 0;
    job->options = r->options;
    job->options.soft_ms = s_limit(r->options.soft_ms, p->options.soft_ms);
    job->options.hard_ms = s_limit(r->options.hard_ms, p->options.hard_ms);
    if (job->options.max_attempts <= 0)
        job->options.max_attempts = 3;
    job->deadline_ms = r->deadline_ms ? r->deadline_ms : INT64_MAX;
    if (job->deadline_ms < p->deadline_ms)
        p->deadline_ms = job->deadline_ms;
    job->attempt = r->attempt > 0 ? r->attempt : 1;
    job->kills = job->doubts = 0;
    job->n_inputs = r->n_inputs;
    job->n_parts = 0;
    job->plain = r->plain;
    job->streamed = job->soft_passed = job->cancel_asked = false;
    job->parked = false;
    job->parked_ms = 0;
    job->kill_ms = INT64_MAX;
    job->items = job->bytes = 0;
    job->credit_items = r->credit_items;
    job->credit_bytes = r->credit_bytes;
    job->sink = r->sink;
    job->ctx = r->ctx;
    job->n_runs = r->n_runs;
    for (size_t i = 0; i < r->n_runs; i++)
        job->runs[i] = gi_run_share(r->runs[i]);
    job->n_queues = r->n_queues;
    for (size_t i = 0; i < r->n_queues; i++) {
        job->queues[i] = r->queues[i];
        gi_queue_attach(job->queues[i]);
    }
}

/* Admission, then a job that is nobody's yet. */
static gate_err_t s_admit(gi_procs_t *p, const gi_request_t *r, uintptr_t fn,
                          gi_pjob_t **out, gi_fn_known_t *known) {
    if (p->closed)
        return gi_err(GATE_CLOSED, "the process pool %s is closed", p->name);
    if (p->lost)
        return gi_err(GATE_CLOSED,
                      "the process pool %s has lost its zygote: "
                      "no worker can be started",
                      p->name);
    if (p->births.broken)
        return gi_err(GATE_BUSY,
                      "it did not run: no worker of the process pool %s comes "
                      "up; the last one %s",
                      p->name, p->births.why);
    if (gi_pjob_waiting(p) >= (size_t)p->options.queue_max)
        return gi_err(GATE_BUSY,
                      "the process pool %s has %d jobs waiting, "
                      "its queue_max",
                      p->name, p->options.queue_max);
    gate_err_t e = s_refer(p, r, fn, known);
    if (!e)
        e = gi_poison_ask(p, fn, r->name);
    if (e)
        return e;
    gi_pjob_t *job = s_alloc(p);
    if (!job)
        return gi_err(GATE_NOMEM, "no memory for a job");
    p->n_jobs++;
    *out = job;
    return GATE_OK;
}

/* Large payloads are copied without the lock. */
static gate_err_t s_copy(gi_procs_t *p, gi_pjob_t *job, const gi_request_t *r,
                         const gi_fn_known_t *known) {
    bool small = r->args.size + r->kwargs.size <= LOCKED_MAX;
    job->fn_at = known->ref ? known->ref->at : known->fn;
    if (small)
        return s_payload(p, job, r, known->ref);
    gi_fn_ref_t ref = {0};
    if (known->ref)
        ref = *known->ref; /* the cache may change once we let go */
    pthread_mutex_unlock(&p->lock);
    gate_err_t e = s_payload(p, job, r, known->ref ? &ref : NULL);
    pthread_mutex_lock(&p->lock);
    return e;
}

gate_err_t gi_pjob_new(gi_procs_t *p, const gi_request_t *r, gi_pjob_t **out) {
    gi_fn_known_t known = {0};
    gi_pjob_t *job = NULL;
    uintptr_t fn;
    memcpy(&fn, &r->fn, sizeof fn);
    if (r->n_queues > GI_WORKER_FDS - 1)
        return gi_err(GATE_BADARG, "a job takes at most %d queues",
                      GI_WORKER_FDS - 1);
    if (r->options.soft_ms < -1 || r->options.hard_ms < -1)
        return gi_err(GATE_BADARG,
                      "soft_ms %lld, hard_ms %lld: a time in ms, 0 for the "
                      "pool's, or -1 for none",
                      (long long)r->options.soft_ms,
                      (long long)r->options.hard_ms);
    gate_err_t e = s_admit(p, r, fn, &job, &known);
    if (!e)
        e = s_copy(p, job, r, &known);
    if (e) {
        if (job)
            gi_pjob_free(p, job);
        return e;
    }
    job->fn_here = fn;
    s_fields(p, job, r);
    *out = job;
    return GATE_OK;
}

/* ---- queues -------------------------------------------------------------- */

static void s_append(gi_jobq_t *q, gi_pjob_t *job) {
    job->next = NULL;
    job->prev = q->last;
    *(q->last ? &q->last->next : &q->first) = job;
    q->last = job;
    q->n++;
}

static void s_prepend(gi_jobq_t *q, gi_pjob_t *job) {
    job->prev = NULL;
    job->next = q->first;
    *(q->first ? &q->first->prev : &q->last) = job;
    q->first = job;
    q->n++;
}

static void s_remove(gi_jobq_t *q, gi_pjob_t *job) {
    *(job->prev ? &job->prev->next : &q->first) = job->next;
    *(job->next ? &job->next->prev : &q->last) = job->prev;
    job->next = job->prev = NULL;
    q->n--;
}

static gi_jobq_t *s_queue_of(gi_procs_t *p, const gi_pjob_t *job) {
    return &p->queue[job->parked                          ? 2
                     : job->options.priority == GATE_HIGH ? 0
                                                          : 1];
}

/* What it had of a run is over: limits are each attempt's own. */
void gi_pjob_queue(gi_procs_t *p, gi_pjob_t *job, bool first) {
    job->state = GI_J_QUEUED;
    job->slot = NULL;
    job->parked = job->soft_passed = false;
    job->kill_ms = INT64_MAX;
    if (!first)
        job->queued_ms = gi_clock_ms();
    (first ? s_prepend : s_append)(s_queue_of(p, job), job);
}

void gi_pjob_park(gi_procs_t *p, gi_pjob_t *job, int error) {
    int64_t now = gi_clock_ms();
    job->state = GI_J_QUEUED;
    job->slot = NULL;
    job->parked = true;
    job->park_error = error;
    if (!job->parked_ms)
        job->parked_ms = now;
    if (!p->queue[2].first)
        p->unpark_ms = now + PARK_MS;
    s_append(&p->queue[2], job);
}

size_t gi_pjob_waiting(const gi_procs_t *p) {
    return p->queue[0].n + p->queue[1].n + p->queue[2].n;
}

gi_pjob_t *gi_pjob_next(gi_procs_t *p) {
    return p->queue[0].first ? p->queue[0].first : p->queue[1].first;
}

void gi_pjob_unqueue(gi_procs_t *p, gi_pjob_t *job) {
    s_remove(s_queue_of(p, job), job);
    if (p->room_wanted)
        pthread_cond_broadcast(&p->idle);
}

void gi_pjob_fail(gi_procs_t *p, gi_pjob_t *job, gate_err_t code,
                  const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    bool unrun = code == GATE_BUSY && job->attempt == 1 && job->kills == 0 &&
                 job->doubts == 0;
    gi_error_story(&job->error, code, NULL, text, unrun ? GI_UNRUN : NULL);
    job->state = GI_J_ENDED;
    s_append(&p->ended, job);
}
