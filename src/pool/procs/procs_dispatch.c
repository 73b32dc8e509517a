/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_dispatch.c -- the pool's one thread: reads what workers answer, tells
 * the sinks, fills the rings, buries the dead.
 *
 * Law: it declares sleep (its doorbell, then each worker's parent_sleeping),
 * looks at everything once more, and only then sleeps; whoever gives it work
 * publishes that first and looks at the declaration afterwards. */
#include <assert.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "async/future.h"
#include "jobs/huge_feed.h"
#include "value/mp.h"
#include "procs/procs_core.h"
#include "value/scan.h"

#define STATUS_MS 100   /* how long a dead worker's exit status is waited for */
#define TICK_BUSY_MS 1  /* somebody has more than one job */
#define TICK_WARM_MS 10 /* something happened a moment ago */
#define TICK_WORK_MS 1000 /* a worker may have lost its way to the doorbell */
#define WARM_NS 50000000
#define STOP_MS 3000 /* then the channel's end kills what is left */

bool gi_dispatch_watch(gi_procs_t *p, int fd, int kind, int slot) {
    struct epoll_event e = {.events = EPOLLIN |
                                      (kind == GI_EP_SLOTBELL ? EPOLLET : 0u),
                            .data.u64 = (uint64_t)kind << 32 | (uint32_t)slot};
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* ---- answers ------------------------------------------------------------- */
typedef struct s_event {
    gi_pjob_t *job;
    const gi_rsp_rec_t *rec;
} s_event_t;

static bool s_final(const gi_rsp_rec_t *rec) { return rec->kind < GI_RSP_ITEM; }

/* More than it has credit for. */
static bool s_greedy(gi_pjob_t *job, size_t size) {
    bool greedy = (job->credit_items && job->items >= job->credit_items) ||
                  (job->credit_bytes && job->bytes >= job->credit_bytes);
    job->items++;
    job->bytes += size;
    return greedy;
}

/* One outcome more of a job with several inputs. */
static bool s_apply_part(gi_slot_t *s, gi_pjob_t *job,
                         const gi_rsp_rec_t *rec) {
    gi_procs_t *p = s->pool;
    job->streamed = true;
    if (p->n_poison)
        gi_poison_clear(p, job->fn_here);
    if (rec->kind == GI_RSP_FAULT)
        p->failed++;
    else
        p->done++;
    return ++job->n_parts <= job->n_inputs;
}

/* An answer that a job with, or without, several inputs cannot have. */
static bool s_impossible(const gi_pjob_t *job, const gi_rsp_rec_t *rec) {
    if (!job->n_inputs)
        return rec->kind >= GI_RSP_PART;
    return rec->kind == GI_RSP_DONE || rec->kind == GI_RSP_ITEM ||
           (rec->kind == GI_RSP_EOS && !job->n_parts);
}

/* The job that rec answers; NULL: a lie. */
static gi_pjob_t *s_apply(gi_slot_t *s, const gi_rsp_rec_t *rec,
                          int64_t now_ns) {
    gi_procs_t *p = s->pool;
    gi_pjob_t *job = gi_send_front(s);
    if (!job || job->id != rec->id || s_impossible(job, rec))
        return NULL;
    if (rec->kind >= GI_RSP_PART)
        return s_apply_part(s, job, rec) ? job : NULL;
    if (rec->kind == GI_RSP_ITEM) {
        job->streamed = true;
        if (!job->sink->item || rec->too_big) { /* nobody asked for a stream */
            atomic_store(&gi_shm_request(&s->shm, job->seq)->cancel, 1);
            gi_shm_wake(&s->shm, GI_SLEEP_CREDIT);
        }
        return s_greedy(job, rec->size) ? NULL : job;
    }
    gi_send_leave(s, job, false, now_ns);
    job->state = GI_J_ENDED;
    s->n_done++;
    if (p->n_poison)
        gi_poison_clear(p, job->fn_here);
    if (rec->run_ns) /* 0: not measured */
        gi_send_note(p, rec->run_ns);
    if (rec->kind == GI_RSP_ERROR)
        p->failed++;
    else
        p->done += !job->n_inputs;
    return job;
}

static void s_tell_error(gi_pjob_t *job, gate_err_t code, const char *text) {
    gate_error_t story = {code, gi_err_class(code), text, ""};
    job->sink->done(job->ctx, NULL, 0, &story);
}

static void s_tell_lent(gi_procs_t *p, gi_pjob_t *job, gi_run_t *run) {
    gi_buf_t *packed = &p->packed;
    if (job->sink->lent) {
        job->sink->lent(job->ctx, run);
        return;
    }
    gi_buf_reset(packed, GI_RSP_BATCH_BYTES);
    gi_mp_put_bin(packed, gi_run_data(run), gi_run_size(run));
    gi_run_release(run);
    if (packed->failed)
        s_tell_error(job, GATE_NOMEM, "no memory for the result");
    else
        job->sink->done(job->ctx, packed->data, packed->size, NULL);
}

/* Which limits a record is held to: parts of a huge result have their own. */
static const gi_limits_t *s_limits(const gi_procs_t *p,
                                   const gi_rsp_rec_t *rec) {
    gate_bytes_t part;
    if (rec->kind != GI_RSP_ITEM)
        return &p->limits;
    return gi_huge_item(rec->data, rec->size, &part) ? &p->part_limits
                                                     : &p->item_limits;
}

/* What its worker gave is too large: that is how the job ends. */
static void s_refuse(gi_procs_t *p, gi_pjob_t *job, const gi_rsp_rec_t *rec) {
    gate_err_t e = gi_scan(rec->data, rec->size, s_limits(p, rec));
    assert(e != GATE_OK);
    pthread_mutex_lock(&p->lock);
    gi_error_set(&job->error, gate_error());
    pthread_mutex_unlock(&p->lock);
}

static void s_tell_part(const gi_procs_t *p, gi_pjob_t *job,
                        const gi_rsp_rec_t *rec) {
    static const char no_memory[] = "no memory for the result";
    static const char nonsense[] = "its worker wrote nonsense into its memory";
    gate_error_t story = {GATE_WORKERLOST, gi_err_class(GATE_WORKERLOST),
                          nonsense, ""};
    if (rec->no_memory)
        story =
            (gate_error_t){GATE_NOMEM, gi_err_class(GATE_NOMEM), no_memory, ""};
    else if (rec->too_big) {
        gate_err_t e = gi_scan(rec->data, rec->size, s_limits(p, rec));
        assert(e != GATE_OK);
        story = *gate_error();
    } else if (rec->kind == GI_RSP_PART) {
        job->sink->part(job->ctx, rec->data, rec->size, NULL);
        return;
    } else if (!gi_shm_error_read(rec->data, rec->size, &story))
        story.code = GATE_WORKERLOST;
    job->sink->part(job->ctx, NULL, 0, &story);
}

static void s_tell(gi_slot_t *s, const s_event_t *e) {
    gi_procs_t *p = s->pool;
    gi_pjob_t *job = e->job;
    const gi_rsp_rec_t *rec = e->rec;
    gate_error_t story;
    void *whole;
    if (rec->kind >= GI_RSP_PART) {
        s_tell_part(p, job, rec);
        return;
    }
    if (rec->too_big && !job->error.story.code)
        s_refuse(p, job, rec);
    bool refused = job->error.story.code != GATE_OK;
    if (rec->run && job->items == 0) {
        s_tell_lent(p, job, rec->run);
        return;
    }
    if (rec->run)
        gi_run_release(rec->run);
    if (job->sink->took && (rec->kind == GI_RSP_EOS ||
                            (rec->kind != GI_RSP_ITEM && !job->n_inputs)))
        job->sink->took(job->ctx, rec->run_ns);
    if (rec->kind != GI_RSP_ITEM && job->items > 0 && !job->sink->item)
        s_tell_error(job, GATE_NOTIMPL,
                     "it yields: submit it with gate_submit_stream");
    else if (refused && rec->kind != GI_RSP_ITEM)
        job->sink->done(job->ctx, NULL, 0, &job->error.story);
    else if (rec->no_memory && rec->kind != GI_RSP_ITEM)
        s_tell_error(job, GATE_NOMEM, "no memory for the result");
    else if (rec->kind == GI_RSP_DONE && rec->run)
        s_tell_error(job, GATE_BADDATA, "a result after yielded items");
    else if (rec->kind == GI_RSP_DONE && job->sink->taken &&
             (whole = gi_rsp_take(&s->reader, rec)))
        job->sink->taken(job->ctx, whole, rec->size);
    else if (rec->kind == GI_RSP_DONE)
        job->sink->done(job->ctx, rec->data, rec->size, NULL);
    else if (rec->kind == GI_RSP_EOS)
        s_tell_error(job, GATE_EOS, "");
    else if (rec->kind == GI_RSP_ITEM) {
        if (job->sink->item && !refused)
            job->sink->item(job->ctx, rec->data, rec->size);
    } else if (gi_shm_error_read(rec->data, rec->size, &story))
        job->sink->done(job->ctx, NULL, 0, &story);
    else
        s_tell_error(job, GATE_WORKERLOST,
                     "its worker wrote nonsense into its memory");
}

/* Packed bytes go on to others as they are: they must be one whole value. One
 * beyond a limit is refused, as a thread's is; a handler made it, which is no
 * lie of its worker's. */
static bool s_whole(const gi_procs_t *p, gi_rsp_rec_t *rec) {
    if (rec->no_memory || rec->run || rec->kind == GI_RSP_ERROR ||
        rec->kind == GI_RSP_FAULT || rec->kind == GI_RSP_EOS)
        return true;
    gate_err_t e = gi_scan(rec->data, rec->size, s_limits(p, rec));
    rec->too_big = e == GATE_TOOBIG;
    return e == GATE_OK || rec->too_big;
}

/* Pages for results in place, once the worker has one to put there. */
static void s_feed_outbox(gi_slot_t *s) {
    uint32_t wanted = atomic_load(&s->shm.own->out_wanted);
    uint32_t has = atomic_load(&s->shm.ctl->out_units);
    if (wanted <= has || s->outbox_stuck)
        return;
    uint32_t got = gi_exchange_grow(s->outbox, wanted);
    s->outbox_stuck = got == has;
    atomic_store(&s->shm.ctl->out_units, got);
}

static bool s_batch(gi_slot_t *s) {
    s_event_t events[GI_RSP_BATCH];
    size_t n = 0;
    gi_procs_t *p = s->pool;
    const char *lie = NULL;
    if (s->reader.lie)
        return false;
    gi_rsp_read(&s->reader);
    if (s->reader.n == 0 && !s->reader.lie)
        return false;
    size_t n_read = s->reader.n;
    for (size_t i = 0; i < s->reader.n && !lie; i++)
        if (!s_whole(p, &s->reader.recs[i])) {
            lie = "a result that is not msgpack";
            s->reader.n = i;
        }
    pthread_mutex_lock(&p->lock);
    int64_t now_ns = gi_clock_ns(); /* after all that was sent so far */
    for (size_t i = 0; i < s->reader.n; i++) {
        gi_pjob_t *job = s_apply(s, &s->reader.recs[i], now_ns);
        if (!job) {
            lie = "an answer to a job it does not have";
            break;
        }
        events[n++] = (s_event_t){job, &s->reader.recs[i]};
    }
    if (!lie)
        lie = s->reader.lie;
    if (!gi_send_refresh(s) && !lie)
        lie = "a ring position that cannot be";
    if (lie && s->reason != GI_R_CORRUPT)
        gi_health_condemn(s, lie);
    if (p->options.max_jobs && s->n_done >= (uint64_t)p->options.max_jobs)
        gi_slot_quit(s, GI_R_JOBS);
    gi_send_fill(p);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = n; i < n_read; i++)
        if (s->reader.recs[i].run)
            gi_run_release(s->reader.recs[i].run);
    s_feed_outbox(s);
    gi_future_batch_t batch;
    gi_future_batch_begin(&batch, 0);
    for (size_t i = 0; i < n; i++) {
        s_tell(s, &events[i]);
        if (s_final(events[i].rec))
            gi_job_unload(p, events[i].job);
    }
    gi_future_batch_end(&batch);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++)
        if (events[i].job->state == GI_J_ENDED && s_final(events[i].rec))
            gi_pjob_free(p, events[i].job);
    pthread_mutex_unlock(&p->lock);
    return n > 0;
}

static bool s_ended(gi_procs_t *p) {
    pthread_mutex_lock(&p->lock);
    gi_pjob_t *list = p->ended.first;
    memset(&p->ended, 0, sizeof p->ended);
    pthread_mutex_unlock(&p->lock);
    for (gi_pjob_t *job = list; job; job = job->next) {
        job->sink->done(job->ctx, NULL, 0, &job->error.story);
        gi_job_unload(p, job);
    }
    pthread_mutex_lock(&p->lock);
    gi_job_free_all(p, list);
    pthread_mutex_unlock(&p->lock);
    return list != NULL;
}

/* ---- deaths -------------------------------------------------------------- */

/* Reads what is left of a dead worker, then buries it. */
static bool s_funeral(gi_slot_t *s) {
    gi_procs_t *p = s->pool;
    bool known = s->status >= 0 || p->channel < 0 || s->reason == GI_R_ZYGOTE ||
                 gi_clock_ms() >= s->dying_ms + STATUS_MS;
    while (!s->doomed && s_batch(s))
        ;
    if (!known || !gi_slot_output(s, true))
        return false;
    pthread_mutex_lock(&p->lock);
    gi_slot_bury(s);
    gi_send_fill(p);
    pthread_mutex_unlock(&p->lock);
    return true;
}

/* ---- the loop ------------------------------------------------------------ */

static void s_events(gi_procs_t *p, int timeout_ms) {
    struct epoll_event events[64];
    int n = epoll_wait(p->epoll_fd, events, 64, timeout_ms);
    for (int i = 0; i < n; i++) {
        int kind = (int)(events[i].data.u64 >> 32);
        gi_slot_t *s = p->slots[(uint32_t)events[i].data.u64];
        if (kind == GI_EP_CHANNEL)
            gi_channel_read(p);
        else if (kind == GI_EP_OUT)
            (void)gi_slot_output(s, false);
        else if (kind == GI_EP_PIDFD) {
            pthread_mutex_lock(&p->lock);
            gi_channel_dead(s);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void s_ready(gi_slot_t *s) {
    pthread_mutex_lock(&s->pool->lock);
    gi_slot_ready(s);
    gi_send_fill(s->pool);
    pthread_mutex_unlock(&s->pool->lock);
}

static bool s_round(gi_procs_t *p) {
    bool moved = false;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state == GI_S_BORN && atomic_load(&s->shm.own->ready))
            s_ready(s);
        if (s->state == GI_S_UP && !s->doomed)
            moved |= s_batch(s);
        else if (s->state == GI_S_DYING)
            moved |= s_funeral(s);
    }
    return moved | s_ended(p);
}

static bool s_all_empty(const gi_procs_t *p) {
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i]->state != GI_S_EMPTY)
            return false;
    return true;
}

/* A worker may hold back its doorbell, or not take its job. */
static bool s_busy(gi_procs_t *p) {
    bool idle = false, waiting = false;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state != GI_S_UP)
            continue;
        gi_pjob_t *front = s->doomed ? NULL : gi_send_front(s);
        if (s->in_flight > 1 || (front && front->n_inputs > 1))
            return true;
        idle |= s->in_flight == 0 && !s->stuck && !s->quitting;
        waiting |= front && !gi_send_begun(s, front);
    }
    return idle && waiting;
}

static int64_t s_tick(gi_procs_t *p, int64_t now_ns) {
    bool working = false;
    if (s_busy(p))
        return TICK_BUSY_MS;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state == GI_S_DYING || s->held_ms ||
            (s->stuck && gi_pjob_next(p)))
            return TICK_WARM_MS;
        working |= s->in_flight > 0;
    }
    if (now_ns - p->active_ns < WARM_NS)
        return TICK_WARM_MS;
    return working                   ? TICK_WORK_MS
           : p->tidy_ns == INT64_MAX ? INT64_MAX
                                     : GI_TIDY_MS;
}

/* The policy under the lock; how long to sleep, 0 when there is more to do. */
static int64_t s_decide(gi_procs_t *p) {
    int64_t now_ns = gi_clock_ns();
    pthread_mutex_lock(&p->lock);
    int64_t next = gi_limits_check(p, now_ns / 1000000);
    for (int i = 0; i < p->n_slots; i++)
        gi_health_judge(p->slots[i]);
    gi_send_fill(p);
    gi_send_steal(p, now_ns);
    if (p->lost && !gi_births_any_up(p))
        gi_health_refuse(p, GATE_BUSY,
                         "the zygote died, no worker can be "
                         "started any more");
    else if (p->births.broken)
        gi_health_refuse(p, GATE_BUSY, p->births.why);
    if (p->queue[2].first && p->unpark_ms < next)
        next = p->unpark_ms; /* parked by the filling just now */
    int64_t sleep_ms = next == INT64_MAX ? next : next - now_ns / 1000000 + 1;
    int64_t tick = s_tick(p, now_ns);
    if (tick < sleep_ms)
        sleep_ms = tick;
    if ((p->stopping || p->ending) && sleep_ms > TICK_WARM_MS)
        sleep_ms = TICK_WARM_MS; /* the end is looked for when awake */
    if (p->ended.n || sleep_ms < 0)
        sleep_ms = 0;
    p->tick_ms = sleep_ms;
    pthread_mutex_unlock(&p->lock);
    return sleep_ms;
}

static bool s_answers_wait(gi_procs_t *p) {
    bool any = false;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state != GI_S_UP || s->doomed || s->reader.lie)
            continue;
        atomic_store(&s->shm.own->parent_sleeping, 1);
        any |= atomic_load(&s->shm.own->rsp_tail) != s->reader.head;
    }
    return any;
}

static void s_awake(gi_procs_t *p) {
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i]->state == GI_S_UP)
            atomic_store(&p->slots[i]->shm.own->parent_sleeping, 0);
    gi_doorbell_wake(&p->bell);
    pthread_mutex_lock(&p->lock);
    p->tick_ms = 0;
    pthread_mutex_unlock(&p->lock);
}

static void s_sleep(gi_procs_t *p) {
    gi_doorbell_sleep(&p->bell);
    int64_t sleep_ms = s_decide(p);
    if (sleep_ms > 0 && s_answers_wait(p))
        sleep_ms = 0;
    s_events(p, sleep_ms > INT32_MAX ? -1 : (int)sleep_ms);
    s_awake(p);
}

static bool s_over(gi_procs_t *p, int64_t *stop_ms) {
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping && p->n_jobs == 0;
    if (stopping && *stop_ms == 0)
        *stop_ms = gi_clock_ms() + STOP_MS;
    bool over = stopping && (s_all_empty(p) || gi_clock_ms() >= *stop_ms);
    pthread_mutex_unlock(&p->lock);
    return over;
}

void *gi_dispatch_main(void *pool) {
    gi_procs_t *p = pool;
    int64_t stop_ms = 0, rounds = 0;
    gi_thread_in_t in;
    prctl(PR_SET_NAME, "gate-procs");
    gi_actor_thread_mark("process pool"); /* who waits here waits for itself */
    gi_thread_enter(&in, p);
    while (!s_over(p, &stop_ms)) {
        if (s_round(p)) {
            p->active_ns = gi_clock_ns();
            p->tidy_ns = p->active_ns + GI_TIDY_NS;
            if (++rounds % 64 == 0) {
                s_decide(p);
                s_events(p, 0);
            }
            continue;
        }
        s_sleep(p);
        gi_limits_tidy(p);
    }
    return NULL;
}
