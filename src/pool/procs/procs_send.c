/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_send.c -- jobs into a worker's ring and, when it has not begun them,
 * back out. A worker gets as many jobs as it does in DEPTH_NS, which is where
 * throughput comes from. Two are the least: else it would wait for the
 * dispatcher, who needs a CPU that other workers have; what then waits behind a
 * longer one while another worker is idle is stolen back. Of those that take
 * LONG_NS it has one: that wait is nothing to them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sync/clock.h"
#include "shared/lane.h"
#include "procs/procs_core.h"
#include "shared/rights.h"
#include "shared/queue.h"

#define DEPTH_NS 500000
#define DEPTH_MIN 2
#define LONG_NS 5000000
#define STEAL_NS 500000
#define PILE_NS 25000

static gi_pjob_t **s_place(gi_slot_t *slot, uint32_t seq) {
    return &slot->jobs[seq & (slot->shm.cells - 1)];
}

/* depth: how many jobs a worker has at most. pile: of short jobs one worker
 * that is awake gets so many before another one is woken: a wake-up costs more
 * than they do. Computed here, since each submission looks at them. */
void gi_send_pace(gi_procs_t *p, int64_t run_ns) {
    int64_t depth = DEPTH_NS / (run_ns > 0 ? run_ns : 1);
    int64_t max = p->config.cells / 2;
    p->run_ns = run_ns;
    if (depth > max)
        depth = max;
    if (depth < DEPTH_MIN)
        depth = run_ns < LONG_NS ? DEPTH_MIN : 1;
    p->depth = (int)depth;
    p->pile = run_ns > PILE_NS ? 0 : (int)(PILE_NS / (run_ns + 1));
}

/* One long job among short ones, or a worker that lost its CPU for a while,
 * must not end the sending ahead; sixteen in a row do. */
void gi_send_note(gi_procs_t *p, int64_t run_ns) {
    int64_t most = 2 * p->run_ns + 50000;
    int64_t step = ((run_ns < most ? run_ns : most) - p->run_ns) / 8;
    if (step)
        gi_send_pace(p, p->run_ns + step);
}

gi_slot_t *gi_send_pick(gi_procs_t *p) {
    gi_slot_t *best = NULL;
    int depth = p->depth, pile = p->pile;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state != GI_S_UP || s->quitting || s->doomed || s->stuck ||
            s->in_flight >= depth)
            continue;
        if (p->options.max_jobs &&
            s->n_done + (uint64_t)s->in_flight >= (uint64_t)p->options.max_jobs)
            continue;
        if (s->in_flight > 0 && s->in_flight < pile)
            return s;
        if (!best || s->in_flight < best->in_flight)
            best = s;
        if (s->in_flight == 0 && pile == 0)
            break;
    }
    return best;
}

bool gi_send_refresh(gi_slot_t *slot) {
    uint32_t head = atomic_load(&slot->shm.own->req_head);
    if (head - slot->head > slot->tail - slot->head)
        return false;
    if (head != slot->head) {
        slot->head = head;
        slot->lane_free = slot->lane_end[(head - 1) & (slot->shm.cells - 1)];
        if (head == slot->tail)
            slot->stuck = false;
    }
    return true;
}

/* ---- sending ------------------------------------------------------------- */

/* The payload as a descriptor: for what is larger than half of the lane. */
static int s_payload_fd(const gi_pjob_t *job) {
    int fd;
    void *base;
    if (job->fd >= 0)
        return job->fd;
    if (gi_shm_memfd("gate-payload", job->size, &fd, &base))
        return -1;
    memcpy(base, job->data, job->size);
    munmap(base, job->size);
    return fd;
}

static bool s_send_fds(gi_slot_t *slot, const gi_pjob_t *job, uint64_t id,
                       bool payload) {
    int fds[GI_WORKER_FDS], n = 0;
    if (payload && (fds[n++] = s_payload_fd(job)) < 0) {
        slot->pool->send_error = errno ? errno : ENOMEM;
        return false;
    }
    for (size_t i = 0; i < job->n_queues; i++)
        fds[n++] = gi_queue_fd(job->queues[i]);
    bool sent =
        gi_rights_send(slot->ctl_fd, &id, sizeof id, fds, n, MSG_DONTWAIT);
    if (!sent && errno != EAGAIN)
        slot->pool->send_error = errno;
    if (payload && fds[0] != job->fd)
        close(fds[0]);
    return sent;
}

static void s_fill_cell(gi_req_cell_t *c, const gi_pjob_t *job) {
    atomic_store_explicit(&c->items,
                          job->credit_items ? job->credit_items : UINT64_MAX,
                          memory_order_relaxed);
    atomic_store_explicit(&c->bytes,
                          job->credit_bytes ? job->credit_bytes : UINT64_MAX,
                          memory_order_relaxed);
    atomic_store_explicit(&c->cancel, 0, memory_order_relaxed);
    c->takes = (uint8_t)((job->sink->huge ? GI_TAKES_HUGE : 0) |
                         (job->plain ? GI_TAKES_PLAIN : 0));
    c->n_inputs = (uint8_t)job->n_inputs;
    c->attempt = (uint32_t)(job->attempt + job->kills + job->doubts);
    c->deadline_ms = job->deadline_ms;
    c->args_len = job->args_len;
    c->kwargs_len = job->kwargs_len;
    c->name_len = job->name_len;
    c->user_len = job->user_len;
    c->meta_len = job->meta_len;
    c->object_len = job->object_len;
    c->n_queues = (uint16_t)job->n_queues;
    c->n_runs = (uint16_t)job->n_runs;
    c->fn = job->fn_at;
}

/* What the worker has left is looked at when it is needed: the word lies in its
 * cache. */
static bool s_lane_take(gi_slot_t *slot, size_t size, uint64_t *at) {
    uint64_t lane = slot->shm.lane_bytes;
    return gi_lane_take(lane, &slot->lane_tail, slot->lane_free, size, at) ||
           (gi_send_refresh(slot) &&
            gi_lane_take(lane, &slot->lane_tail, slot->lane_free, size, at));
}

/* Where the payload goes; false: no room now. */
static bool s_fill_payload(gi_slot_t *slot, gi_req_cell_t *c,
                           const gi_pjob_t *job, uint64_t id) {
    uint64_t lane = slot->shm.lane_bytes, at = 0, tail = slot->lane_tail;
    bool as_fd = job->size > lane / 2;
    c->where = as_fd ? GI_FD : job->size <= GI_REQ_INLINE ? GI_INLINE : GI_LANE;
    c->at = job->size;
    if (c->where == GI_LANE && !s_lane_take(slot, job->size, &at))
        return false;
    /* last of what can fail: a message that is on its way cannot be taken
     * back, and its id would be another job's */
    if ((as_fd || job->n_queues) && !s_send_fds(slot, job, id, as_fd)) {
        slot->lane_tail = tail;
        return false;
    }
    if (c->where == GI_INLINE)
        memcpy(c->data, job->data, job->size);
    if (c->where == GI_LANE) {
        memcpy(slot->shm.req_lane + at % lane, job->data, job->size);
        c->at = at % lane;
    }
    return true;
}

/* A cell is free when its answer was read and the worker has left it. */
static bool s_full(gi_slot_t *slot) {
    uint32_t cells = slot->shm.cells;
    gi_send_front(slot);
    if (slot->tail - slot->front >= cells)
        return true;
    return slot->tail - slot->head >= cells &&
           (!gi_send_refresh(slot) || slot->tail - slot->head >= cells);
}

/* The next cell: the worker has read it a round ago. */
static void s_prefetch(const gi_slot_t *slot) {
    const char *cell = (const char *)gi_shm_request(&slot->shm, slot->tail);
    for (size_t i = 0; i < sizeof(gi_req_cell_t); i += 64)
        gi_shm_prefetch(cell + i);
    gi_shm_prefetch(gi_shm_claim(&slot->shm, slot->tail));
}

bool gi_send(gi_slot_t *slot, gi_pjob_t *job) {
    gi_procs_t *p = slot->pool;
    gi_req_cell_t *c = gi_shm_request(&slot->shm, slot->tail);
    uint64_t id = p->next_id;
    p->send_error = 0;
    if (s_full(slot) || !s_fill_payload(slot, c, job, id))
        return false;
    s_fill_cell(c, job);
    c->id = id;
    p->next_id++;
    job->id = id;
    job->state = GI_J_SENT;
    job->slot = slot;
    job->seq = slot->tail;
    *s_place(slot, slot->tail) = job;
    slot->lane_end[slot->tail & (slot->shm.cells - 1)] = slot->lane_tail;
    if (slot->in_flight++ == 0)
        slot->front_ns = gi_clock_ns();
    atomic_store_explicit(gi_shm_claim(&slot->shm, job->seq),
                          GI_CLAIM(id, GI_READY),
                          memory_order_relaxed); /* published by the tail */
    atomic_store(&slot->shm.ctl->req_tail, ++slot->tail);
    s_prefetch(slot);
    return true;
}

/* ---- taking out ---------------------------------------------------------- */

gi_pjob_t *gi_send_front(gi_slot_t *slot) {
    if (slot->in_flight == 0)
        return NULL;
    while (!*s_place(slot, slot->front))
        slot->front++;
    return *s_place(slot, slot->front);
}

static void s_detach_queues(gi_slot_t *slot, gi_pjob_t *job, bool died) {
    for (size_t i = 0; i < job->n_queues; i++)
        gi_queue_detach(job->queues[i], slot->pid, died);
    job->n_queues = 0;
}

static void s_take_out(gi_slot_t *slot, gi_pjob_t *job) {
    *s_place(slot, job->seq) = NULL;
    job->slot = NULL;
    if (--slot->in_flight == 0)
        slot->front = slot->tail;
}

void gi_send_leave(gi_slot_t *slot, gi_pjob_t *job, bool worker_died,
                   int64_t now_ns) {
    s_detach_queues(slot, job, worker_died);
    s_take_out(slot, job);
    slot->front_ns = now_ns;
}

bool gi_send_begun(const gi_slot_t *slot, const gi_pjob_t *job) {
    return atomic_load(gi_shm_claim(&slot->shm, job->seq)) !=
           GI_CLAIM(job->id, GI_READY);
}

/* A worker takes claims from READY to RUNNING to DONE, answers, and only then
 * moves its head on. */
const char *gi_send_doubt(gi_slot_t *slot) {
    const gi_pjob_t *job = gi_send_front(slot);
    if (!job)
        return NULL;
    if ((int32_t)(slot->head - job->seq) > 0)
        return "a job left without an answer";
    uint64_t claim = atomic_load(gi_shm_claim(&slot->shm, job->seq));
    bool can_be = claim == GI_CLAIM(job->id, GI_READY) ||
                  claim == GI_CLAIM(job->id, GI_RUNNING) ||
                  claim == GI_CLAIM(job->id, GI_DONE);
    return can_be ? NULL : "a claim that cannot be";
}

bool gi_send_revoke(gi_slot_t *slot, gi_pjob_t *job) {
    uint64_t ready = GI_CLAIM(job->id, GI_READY);
    if (!atomic_compare_exchange_strong(gi_shm_claim(&slot->shm, job->seq),
                                        &ready, GI_CLAIM(job->id, GI_REVOKED)))
        return false;
    if (gi_send_front(slot) == job)
        slot->front_ns = gi_clock_ns(); /* whoever is behind it begins now */
    s_take_out(slot, job);
    return true;
}

/* ---- policy -------------------------------------------------------------- */

void gi_send_fill(gi_procs_t *p) {
    gi_pjob_t *job;
    while ((job = gi_pjob_next(p)) != NULL) {
        gi_slot_t *slot = gi_send_pick(p);
        if (!slot)
            return;
        gi_pjob_unqueue(p, job);
        if (gi_send(slot, job)) {
            gi_shm_wake(&slot->shm, GI_SLEEP_WORK);
        } else if (p->send_error) {
            gi_pjob_park(p, job, p->send_error);
        } else {
            gi_pjob_queue(p, job, true);
            return; /* its next response makes room */
        }
    }
}

static bool s_idle(const gi_slot_t *s) {
    return s->state == GI_S_UP && !s->quitting && !s->doomed && !s->stuck &&
           s->in_flight == 0;
}

/* What it was given and has not begun, all but the front when that runs, at
 * most max; the last first, so that the queue gets them back in order. */
static void s_steal_from(gi_slot_t *slot, int max) {
    for (uint32_t seq = slot->tail; seq != slot->front && max > 0;) {
        gi_pjob_t *job = *s_place(slot, --seq);
        if (!job)
            continue;
        if (!gi_send_revoke(slot, job))
            return;
        max--;
        gi_pjob_queue(slot->pool, job, true);
    }
    if (slot->in_flight == 0)
        slot->stuck = true;
}

gi_slot_t *gi_send_clear(gi_procs_t *p) {
    gi_slot_t *best = NULL;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        if (s->state == GI_S_UP && !s->quitting && !s->doomed && !s->stuck &&
            (!best || s->in_flight < best->in_flight))
            best = s;
    }
    /* as it is now: what empties the slot moves its front */
    uint32_t front = best ? best->front : 0;
    for (uint32_t seq = best ? best->tail : 0; seq != front;) {
        gi_pjob_t *job = *s_place(best, --seq);
        if (!job || job->options.priority == GATE_HIGH)
            continue;
        if (!gi_send_revoke(best, job))
            break;
        gi_pjob_queue(p, job, true);
    }
    return best;
}

void gi_send_steal(gi_procs_t *p, int64_t now_ns) {
    int idle = 0;
    for (int i = 0; i < p->n_slots; i++)
        idle += s_idle(p->slots[i]);
    if (idle == 0 || gi_pjob_next(p))
        return;
    for (int i = 0; i < p->n_slots; i++) {
        gi_slot_t *s = p->slots[i];
        gi_pjob_t *front = gi_send_front(s);
        if (!front || s->state != GI_S_UP || now_ns - s->front_ns < STEAL_NS)
            continue;
        bool begun = gi_send_begun(s, front);
        if (s->in_flight > begun)
            s_steal_from(s, begun ? (s->in_flight + 1) / 2 : s->in_flight);
    }
    gi_send_fill(p);
}
