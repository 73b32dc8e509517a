/* SPDX-License-Identifier: BSD-3-Clause */
/* procs.c -- the process pool's face: what gi_pool_ops_t asks for. A submitter
 * whose job finds a worker with room writes it into that worker's ring itself,
 * so that a call costs two thread switches and not three. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "sync/fd.h"
#include "sync/futex.h"
#include "base/mem.h"
#include "procs/procs_core.h"
#include "shared/queue.h"
#include "sync/wait.h"

#define DIRECT_MAX 65536     /* larger payloads are copied by the dispatcher */
#define INIT_MS 60000        /* a worker's init has so long */
#define FIRST_RUN_NS 1000000 /* what a job is thought to take */

static gi_procs_t *s_of(gate_pool_t *pool) { return pool->impl; }

/* ---- jobs ---------------------------------------------------------------- */

/* Who must be woken for it. */
typedef struct s_wake {
    gi_slot_t *slot;
    bool dispatcher;
} s_wake_t;

static s_wake_t s_place(gi_procs_t *p, gi_pjob_t *job) {
    s_wake_t wake = {NULL, false};
    bool high = job->options.priority == GATE_HIGH;
    bool direct = job->size <= DIRECT_MAX &&
                  (high ? !p->queue[0].first : !gi_pjob_next(p));
    gi_slot_t *slot = direct ? gi_send_pick(p) : NULL;
    if (direct && high && (!slot || slot->in_flight > 0))
        slot = gi_send_clear(p);
    if (slot && gi_send(slot, job)) {
        int64_t need = slot->in_flight > 1 || job->n_inputs > 1 ? 1 : 10;
        wake.slot = slot;
        wake.dispatcher = p->tick_ms > need || job->options.soft_ms ||
                          job->options.hard_ms ||
                          (job->deadline_ms != INT64_MAX &&
                           job->deadline_ms == p->deadline_ms);
        return wake;
    }
    gi_pjob_queue(p, job, false);
    wake.dispatcher = job->size > DIRECT_MAX || p->tick_ms > 10;
    return wake;
}

static gate_err_t s_submit(gate_pool_t *self, const gi_request_t *request,
                           gi_ticket_t *ticket) {
    gi_procs_t *p = s_of(self);
    gi_pjob_t *job;
    s_wake_t wake = {NULL, false};
    pthread_mutex_lock(&p->lock);
    gate_err_t e = gi_pjob_new(p, request, &job);
    if (!e && ticket)
        *ticket = gi_pjob_ticket(job);
    if (!e)
        wake = s_place(p, job);
    pthread_mutex_unlock(&p->lock);
    if (wake.slot)
        gi_shm_wake(&wake.slot->shm, GI_SLEEP_WORK);
    if (wake.dispatcher)
        gi_doorbell_ring(&p->bell);
    return e;
}

static void s_cancel_sent(gi_procs_t *p, gi_pjob_t *job) {
    gi_slot_t *slot = job->slot;
    if (gi_send_revoke(slot, job)) {
        gi_pjob_fail(p, job, GATE_CANCELLED, "cancelled");
        p->cancelled++;
        return;
    }
    int64_t kill_ms = gi_time_add(gi_clock_ms(), p->options.grace_ms);
    atomic_store(&gi_shm_request(&slot->shm, job->seq)->cancel, 1);
    gi_shm_wake(&slot->shm, GI_SLEEP_CREDIT);
    if (kill_ms < job->kill_ms) {
        job->kill_ms = kill_ms;
        job->kill_code = GATE_CANCELLED;
    }
}

static void s_cancel(gate_pool_t *self, gi_ticket_t ticket) {
    gi_procs_t *p = s_of(self);
    pthread_mutex_lock(&p->lock);
    gi_pjob_t *job = gi_pjob_find(p, ticket);
    bool first = job && !job->cancel_asked;
    if (first) {
        job->cancel_asked = true;
        if (job->state == GI_J_SENT)
            s_cancel_sent(p, job);
        else {
            gi_pjob_unqueue(p, job);
            gi_pjob_fail(p, job, GATE_CANCELLED, "cancelled");
            p->cancelled++;
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (first)
        gi_doorbell_ring(&p->bell);
}

static void s_credit(gate_pool_t *self, gi_ticket_t ticket, size_t items,
                     size_t bytes) {
    gi_procs_t *p = s_of(self);
    pthread_mutex_lock(&p->lock);
    gi_pjob_t *job = gi_pjob_find(p, ticket);
    if (job && job->credit_items)
        job->credit_items += items;
    if (job && job->credit_bytes)
        job->credit_bytes += bytes;
    if (job && job->state == GI_J_SENT) {
        gi_shm_t *shm = &job->slot->shm;
        gi_req_cell_t *c = gi_shm_request(shm, job->seq);
        if (job->credit_items)
            atomic_store(&c->items, job->credit_items);
        if (job->credit_bytes)
            atomic_store(&c->bytes, job->credit_bytes);
        gi_shm_wake(shm, GI_SLEEP_CREDIT);
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- the pool ------------------------------------------------------------ */

static gate_err_t s_drain(gate_pool_t *self, int64_t timeout_ms) {
    gi_procs_t *p = s_of(self);
    int64_t deadline = gi_wait_deadline(timeout_ms);
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_cond_broadcast(&p->idle); /* whoever waits for room */
    bool more = true;
    while (p->n_jobs > 0 && more)
        more = gi_wait_cond(&p->idle, &p->lock, deadline);
    size_t left = p->n_jobs;
    pthread_mutex_unlock(&p->lock);
    if (left)
        return gi_err(GATE_TIMEOUT,
                      "%zu jobs of the process pool %s are "
                      "still under way",
                      left, p->name);
    return GATE_OK;
}

/* ---- stop, ready, room --------------------------------------------------- */

static void s_stop_running(gi_procs_t *p, gi_pjob_t *job) {
    job->cancel_asked = true;
    atomic_store(&gi_shm_request(&job->slot->shm, job->seq)->cancel, 1);
    job->kill_ms = gi_clock_ms();
    job->kill_code = GATE_CANCELLED;
    (void)p;
}

static void s_stop_jobs(gate_pool_t *self, unsigned what) {
    gi_procs_t *p = s_of(self);
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    for (size_t i = 0; i < p->n_all; i++) {
        gi_pjob_t *job = p->jobs[i];
        bool sent = job->state == GI_J_SENT;
        if (sent && (what & GATE_STOP_QUEUED) && gi_send_revoke(job->slot, job))
            gi_pjob_fail(p, job, GATE_CANCELLED, "cancelled: its pool stops");
        else if (sent && (what & GATE_STOP_RUNNING) &&
                 gi_send_begun(job->slot, job))
            s_stop_running(p, job);
        else if (job->state == GI_J_QUEUED && (what & GATE_STOP_QUEUED)) {
            gi_pjob_unqueue(p, job);
            gi_pjob_fail(p, job, GATE_CANCELLED, "cancelled: its pool stops");
        } else
            continue;
        p->cancelled += job->state == GI_J_ENDED;
    }
    pthread_mutex_unlock(&p->lock);
    gi_doorbell_ring(&p->bell);
}

/* A worker is up, or would be if there were jobs. */
static bool s_any(const gi_procs_t *p) {
    for (int i = 0; i < p->n_slots; i++)
        if (p->slots[i]->resting && !p->lost)
            return true;
    return gi_births_any_up(p);
}

static gate_err_t s_ready(gate_pool_t *self, int64_t timeout_ms) {
    gi_procs_t *p = s_of(self);
    int64_t deadline = gi_wait_deadline(timeout_ms);
    gate_err_t e = GATE_OK;
    bool more = true;
    pthread_mutex_lock(&p->lock);
    while (!s_any(p) && !p->births.broken && !p->lost && more)
        more = gi_wait_cond(&p->idle, &p->lock, deadline);
    if (s_any(p))
        e = GATE_OK;
    else if (p->lost)
        e = gi_err(GATE_CLOSED,
                   "the process pool %s has lost its zygote: no "
                   "worker can be started",
                   p->name);
    else if (p->births.broken)
        e = gi_err(GATE_BUSY,
                   "no worker of the process pool %s comes up; the last one %s",
                   p->name, p->births.why);
    else
        e = gi_err(GATE_TIMEOUT,
                   "no worker of the process pool %s is ready yet", p->name);
    pthread_mutex_unlock(&p->lock);
    return e;
}

static gate_err_t s_room(gate_pool_t *self, int64_t timeout_ms) {
    gi_procs_t *p = s_of(self);
    int64_t deadline = gi_wait_deadline(timeout_ms);
    bool more = true;
    pthread_mutex_lock(&p->lock);
    p->room_wanted++;
    while (gi_pjob_waiting(p) >= (size_t)p->options.queue_max && !p->closed &&
           more)
        more = gi_wait_cond(&p->idle, &p->lock, deadline);
    p->room_wanted--;
    bool room = gi_pjob_waiting(p) < (size_t)p->options.queue_max;
    bool closed = p->closed;
    pthread_mutex_unlock(&p->lock);
    if (closed)
        return gi_err(GATE_CLOSED, "the process pool %s is closed", p->name);
    return room ? GATE_OK
                : gi_err(GATE_TIMEOUT,
                         "the process pool %s has %d jobs waiting, its "
                         "queue_max",
                         p->name, p->options.queue_max);
}

static gate_err_t s_add_slot(gi_procs_t *p) {
    gi_slot_t *slot;
    int index = p->n_slots;
    gate_err_t e = gi_slot_new(p, &slot);
    if (e)
        return e;
    slot->index = index;
    if (!gi_dispatch_watch(p, slot->bell_fd, GI_EP_SLOTBELL, index)) {
        e = gi_err_errno("epoll of a worker's doorbell");
        gi_slot_free(slot);
        return e;
    }
    pthread_mutex_lock(&p->lock);
    p->slots[index] = slot;
    p->n_slots = index + 1;
    pthread_mutex_unlock(&p->lock);
    return GATE_OK;
}

static gate_err_t s_resize(gate_pool_t *self, int workers) {
    gi_procs_t *p = s_of(self);
    gate_err_t e = GATE_OK;
    if (workers < 1 || workers > GI_WORKERS_MAX)
        return gi_err(GATE_BADARG, "a process pool has 1 to %d workers",
                      GI_WORKERS_MAX);
    pthread_mutex_lock(&p->resizing);
    while (!e && p->n_slots < workers)
        e = s_add_slot(p);
    pthread_mutex_lock(&p->lock);
    if (!e)
        p->workers = workers;
    for (int i = 0; i < p->n_slots; i++)
        p->slots[i]->wanted = i < p->workers;
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->resizing);
    gi_doorbell_ring(&p->bell);
    return e;
}

static const char *const s_reasons[GI_R_COUNT] = {
    [GI_R_CRASH] = "crash",     [GI_R_EXIT] = "exit",
    [GI_R_LIMIT] = "limit",     [GI_R_CANCEL] = "cancel",
    [GI_R_CORRUPT] = "corrupt", [GI_R_JOBS] = "jobs",
    [GI_R_AGE] = "age",         [GI_R_RSS] = "rss",
    [GI_R_RESIZE] = "resize",   [GI_R_IDLE] = "idle",
    [GI_R_SPAWN] = "spawn",     [GI_R_INIT] = "init",
    [GI_R_ZYGOTE] = "zygote"};

static int64_t s_oldest_ms(gi_procs_t *p) {
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < 3; i++)
        if (p->queue[i].first && p->queue[i].first->queued_ms < oldest)
            oldest = p->queue[i].first->queued_ms;
    return oldest == INT64_MAX ? 0 : gi_clock_ms() - oldest;
}

static gate_value_t *s_stats(gate_pool_t *self) {
    gi_procs_t *p = s_of(self);
    gate_arg_t restarts[GI_R_COUNT];
    gi_health_each_t each;
    size_t n = 0, ahead = 0;
    int alive = 0, starting = 0, running = 0;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < GI_R_COUNT; i++)
        if (p->restarts[i])
            restarts[n++] = gate_kw_(s_reasons[i], gate_uint(p->restarts[i]));
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        gi_pjob_t *front = s->doomed ? NULL : gi_send_front(s);
        bool runs = front && gi_send_begun(s, front);
        alive += s->state == GI_S_UP;
        starting += s->state == GI_S_STARTING || s->state == GI_S_BORN;
        running += runs;
        ahead += (size_t)(s->in_flight - runs);
    }
    gate_arg_t entries[] = {
        gate_kw_("kind", gate_str("processes")),
        gate_kw_("workers", gate_int(p->workers)),
        gate_kw_("alive", gate_int(alive)),
        gate_kw_("starting", gate_int(starting)),
        gate_kw_("queued", gate_uint(gi_pjob_waiting(p) + ahead)),
        gate_kw_("oldest_ms", gate_int(s_oldest_ms(p))),
        gate_kw_("running", gate_int(running)),
        gate_kw_("done", gate_uint(p->done)),
        gate_kw_("failed", gate_uint(p->failed)),
        gate_kw_("lost", gate_uint(p->worker_lost)),
        gate_kw_("cancelled", gate_uint(p->cancelled)),
        gate_kw_("restarts", gate_map_(restarts, n)),
        gate_kw_("state", gate_str(gi_health_state(p))),
        gate_kw_("each", gate_list_(each.all, gi_health_each(p, &each)))};
    pthread_mutex_unlock(&p->lock);
    return gate_value_new_(
        gate_map_(entries, sizeof entries / sizeof entries[0]));
}

/* ---- life ---------------------------------------------------------------- */

static void s_free(gi_procs_t *p) {
    for (int i = 0; i < p->n_slots; i++)
        gi_slot_free(p->slots[i]);
    gi_mem_free(p->slots);
    gi_exchange_release(&p->inbox);
    gi_buf_fini(&p->packed);
    if (p->channel >= 0)
        close(p->channel);
    if (p->epoll_fd >= 0)
        close(p->epoll_fd);
    gi_doorbell_fini(&p->bell);
    gi_pjob_fini_all(p);
    for (int i = 0; i < 64; i++)
        gi_mem_free(p->known[i].ref);
    gi_mem_free(p->births.times);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->resizing);
    gi_mem_free(p);
}

static void s_stop(gi_procs_t *p) {
    pthread_mutex_lock(&p->lock);
    p->closed = p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    gi_doorbell_ring(&p->bell);
    pthread_join(p->thread, NULL);
}

static void s_destroy(gate_pool_t *self) {
    gi_procs_t *p = s_of(self);
    pthread_mutex_lock(&p->lock);
    p->ending = p->closed = true;
    pthread_mutex_unlock(&p->lock);
    gi_doorbell_ring(&p->bell);
    if (s_drain(self, -1))
        return; /* cannot be: it waits for ever */
    s_stop(p);
    s_free(p);
}

/* In a forked child: descriptors and memory that are the parent's too. */
static void s_abandon(gate_pool_t *self) {
    gi_procs_t *p = s_of(self);
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        gi_fd_close(&s->pidfd);
        gi_fd_close(&s->out_fd);
        gi_fd_close(&s->ctl_fd);
        gi_fd_close(&s->bell_fd);
        gi_shm_fini(&s->shm);
    }
    gi_fd_close(&p->channel);
    gi_fd_close(&p->epoll_fd);
}

static bool s_chunks(gate_pool_t *self) {
    const gate_pool_options_t *o = &s_of(self)->options;
    return gi_time_none(o->soft_ms ? o->soft_ms : -1) &&
           gi_time_none(o->hard_ms ? o->hard_ms : -1) && !o->max_jobs;
}

static gi_exchange_t *s_inbox(gate_pool_t *self) { return s_of(self)->inbox; }

static const gi_pool_ops_t s_ops = {.kind = "processes",
                                    .processes = true,
                                    .chunks = s_chunks,
                                    .destroy = s_destroy,
                                    .drain = s_drain,
                                    .stop = s_stop_jobs,
                                    .ready = s_ready,
                                    .room = s_room,
                                    .abandon = s_abandon,
                                    .resize = s_resize,
                                    .stats = s_stats,
                                    .submit = s_submit,
                                    .cancel = s_cancel,
                                    .credit = s_credit,
                                    .inbox = s_inbox};

static gate_err_t s_thread(gi_procs_t *p) {
    sigset_t all, old;
    gi_thread_signals(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&p->thread, NULL, gi_dispatch_main, p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc ? gi_thread_refused(rc, "the process pool") : GATE_OK;
}

static gate_err_t s_open(gi_procs_t *p) {
    gate_err_t e =
        gi_zygote_attach(p->settings->process_late_fork, &p->channel);
    if (!e)
        e = gi_doorbell_init(&p->bell);
    if (e)
        return e;
    p->inbox = gi_exchange_new("gate-inbox", GI_INBOX_UNITS);
    if (!p->inbox)
        return gate_error()->code;
    p->epoll_fd = gi_fd_high(epoll_create1(EPOLL_CLOEXEC));
    p->slots = gi_mem_calloc(GI_WORKERS_MAX, sizeof *p->slots);
    p->births.times =
        gi_mem_calloc((size_t)p->options.restart_max, sizeof *p->births.times);
    if (!p->slots || !p->births.times)
        return gi_err(GATE_NOMEM, "no memory for a process pool");
    if (p->epoll_fd < 0 || !gi_dispatch_watch(p, p->bell.fd, GI_EP_BELL, 0) ||
        !gi_dispatch_watch(p, p->channel, GI_EP_CHANNEL, 0))
        return gi_err_errno("epoll for a process pool");
    e = gi_options_config(p);
    gi_send_pace(p, FIRST_RUN_NS);
    while (!e && p->n_slots < p->options.workers)
        e = s_add_slot(p);
    p->workers = p->n_slots;
    return e ? e : s_thread(p);
}

gate_pool_t *gi_pool_procs(const gi_pool_base_t *base,
                           const gate_pool_options_t *options) {
    return gi_pool_procs_more(base, options, NULL);
}

gate_pool_t *gi_pool_procs_more(const gi_pool_base_t *base,
                                const gate_pool_options_t *options,
                                const gate_pool_more_t *more) {
    gi_procs_t *p = gi_mem_calloc(1, sizeof *p);
    if (!p) {
        gi_err(GATE_NOMEM, "no memory for a process pool");
        return NULL;
    }
    p->settings = base->settings;
    p->epoll_fd = p->channel = p->bell.fd = -1;
    p->next_id = 1;
    p->deadline_ms = INT64_MAX;
    gi_wait_mutex_init(&p->lock);
    pthread_mutex_init(&p->resizing, NULL);
    gi_wait_cond_init(&p->idle);
    if (gi_options_take(p, options, more) || s_open(p)) {
        s_free(p);
        return NULL;
    }
    gate_pool_t *self = gi_pool_make(base, &s_ops, p);
    if (!self) {
        s_stop(p);
        s_free(p);
    }
    return self;
}
