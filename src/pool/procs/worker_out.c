/* SPDX-License-Identifier: BSD-3-Clause */
/* worker_out.c -- what a worker says and how it waits. While more requests are
 * there the doorbell is rung for 64 responses or 50 us at once, and for a job
 * that was no short one: a parent that has given us two jobs looks by itself
 * every millisecond, so a long job behind a short one does not keep the short
 * one's answer. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "sync/clock.h"
#include "sync/futex.h"
#include "shared/lane.h"
#include "shared/rsp_sum.h"
#include "procs/worker.h"

#define UNREPORTED_MAX 64
#define UNREPORTED_NS 50000
#define AT_ONCE_NS 250000 /* its ring is nothing to such a job */
#define ORPHAN_MS 10000   /* between two looks at whether the zygote lives */
#define SPIN_MISSES_MAX 6
#define HOLD_STREAK 4 /* so many jobs without a gap: more are on their way */
#define HOLD_NS 2000
#define UNCLOCKED_MAX 7 /* of short jobs; the clock is a tenth of one */
#define UNCLOCKED_NS 2000

static void s_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Between the store of rsp_tail and the look at parent_sleeping: once a ring,
 * not once a response. ThreadSanitizer knows no fences, an RMW does the same.
 */
static void s_fence(gi_worker_t *self) {
#ifdef __SANITIZE_THREAD__
    atomic_fetch_add(&self->shm.own->parent_sleeping, 0);
#else
    (void)self;
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

void gi_worker_ring(gi_worker_t *self) {
    static const uint64_t one = 1;
    if (self->unreported == 0)
        return;
    self->unreported = 0;
    s_fence(self);
    if (atomic_load_explicit(&self->shm.own->parent_sleeping,
                             memory_order_relaxed) &&
        atomic_exchange(&self->shm.own->parent_sleeping, 0))
        if (write(self->bell_fd, &one, sizeof one) < 0 && errno == EBADF)
            gi_worker_no_bell();
}

/* True when it became ready. In vain it costs spin_ns: after k times in vain
 * the next 2^k - 1 waits sleep at once, so a worker whose jobs come far apart,
 * or whose core others want, all but stops. Whoever else could run does, and
 * may be who brings the job. */
static bool s_spin(gi_worker_t *self, gi_worker_ready_fn *ready) {
    if (self->config.spin_ns == 0)
        return false;
    if (self->spin_skip > 0) {
        self->spin_skip--;
        return false;
    }
    int64_t until = gi_clock_ns() + self->config.spin_ns;
    do {
        for (int i = 0; i < 50; i++, s_relax())
            if (ready(self)) {
                self->spin_misses = 0;
                return true;
            }
        sched_yield();
    } while (gi_clock_ns() < until);
    if (self->spin_misses < SPIN_MISSES_MAX)
        self->spin_misses++;
    self->spin_skip = (1u << self->spin_misses) - 1;
    return false;
}

/* Short jobs came without a gap: whoever submits them is at it. */
static bool s_fed(const gi_worker_t *self) {
    return self->brief && self->streak >= HOLD_STREAK;
}

/* The requests ran out: the answers are held back for a moment more, since a
 * parent that is woken for each of them gets in its own way. */
static bool s_hold(gi_worker_t *self, gi_worker_ready_fn *ready) {
    bool fed = s_fed(self);
    int64_t until = fed ? gi_clock_ns() + HOLD_NS : 0;
    while (fed && !ready(self)) {
        for (int i = 0; i < 8 && !ready(self); i++)
            s_relax();
        fed = gi_clock_ns() < until;
    }
    if (!fed)
        self->streak = 0;
    return fed;
}

void gi_worker_wait(gi_worker_t *self, gi_worker_ready_fn *ready,
                    gi_sleep_t what) {
    gi_shm_ctl_t *c = self->shm.ctl;
    gi_shm_own_t *own = self->shm.own;
    if (ready(self))
        return;
    self->ended_ns = 0;
    self->unclocked = 0;
    if (what == GI_SLEEP_WORK && s_hold(self, ready))
        return;
    gi_worker_ring(self);
    if (what == GI_SLEEP_WORK && s_spin(self, ready))
        return;
    while (!ready(self)) {
        uint32_t seen = atomic_load(&c->bell);
        atomic_store(&own->sleeping, (uint32_t)what);
        if (!ready(self))
            gi_futex_wait(&c->bell, seen, ORPHAN_MS);
        if (self->zygote && getppid() != self->zygote)
            _exit(0); /* a job undid PR_SET_PDEATHSIG */
        atomic_store(&own->sleeping, 0);
    }
}

static bool s_cell_free(const gi_worker_t *self) {
    return self->rsp_tail - atomic_load(&self->shm.ctl->rsp_head) <
           self->shm.cells;
}

/* Room for the largest chunk, or all of the lane free. */
static bool s_lane_free(const gi_worker_t *self) {
    uint64_t tail = self->lane_tail, at;
    return gi_lane_take(self->shm.lane_bytes, &tail,
                        atomic_load(&self->shm.ctl->rsp_free),
                        (size_t)self->shm.lane_bytes / 4, &at);
}

static void s_publish(gi_worker_t *self, gi_rsp_cell_t *cell) {
    cell->sum = gi_rsp_sum(cell);
    self->rsp_tail++;
    atomic_store_explicit(&self->shm.own->rsp_tail, self->rsp_tail,
                          memory_order_release);
    gi_shm_prefetch(&self->shm.rsp[self->rsp_tail & (self->shm.cells - 1)]);
    if (self->unreported++ == 0)
        self->unreported_ns = self->ended_ns;
}

static bool s_more(const gi_worker_t *self) {
    return self->inputs_left > 0 ||
           atomic_load(&self->shm.ctl->req_tail) != self->req_head + 1;
}

/* A mean over the jobs since the clock was last read; 0: not read. */
static uint32_t s_run_ns(gi_worker_t *self) {
    if (self->brief && self->unclocked < UNCLOCKED_MAX && s_more(self)) {
        self->unclocked++;
        return 0;
    }
    self->ended_ns = gi_clock_ns();
    int64_t ran = (self->ended_ns - self->began_ns) / (self->unclocked + 1);
    self->unclocked = 0;
    self->brief = ran < UNCLOCKED_NS;
    return ran > UINT32_MAX ? UINT32_MAX : ran < 1 ? 1 : (uint32_t)ran;
}

static void s_chunk(gi_worker_t *self, gi_rsp_kind_t kind, unsigned flags,
                    const unsigned char *data, size_t size) {
    gi_worker_wait(self, s_cell_free, GI_SLEEP_ROOM);
    gi_rsp_cell_t *cell =
        &self->shm.rsp[self->rsp_tail & (self->shm.cells - 1)];
    if (size <= GI_RSP_INLINE) {
        if (size)
            memcpy(cell->data, data, size);
    } else {
        uint64_t at = 0, lane = self->shm.lane_bytes;
        if (!gi_lane_take(lane, &self->lane_tail,
                          atomic_load(&self->shm.ctl->rsp_free), size, &at)) {
            gi_worker_wait(self, s_lane_free, GI_SLEEP_ROOM);
            if (!gi_lane_take(lane, &self->lane_tail,
                              atomic_load(&self->shm.ctl->rsp_free), size, &at))
                _exit(GI_EXIT_SPOILT); /* chunks are a quarter of the lane */
        }
        memcpy(self->shm.rsp_lane + at % lane, data, size);
        cell->at = (uint32_t)(at % lane / GI_LANE_ALIGN);
        flags |= GI_RSP_IN_LANE;
    }
    cell->id = self->id;
    cell->kind = (uint8_t)kind;
    cell->flags = (uint8_t)flags;
    cell->size = (uint32_t)size;
    cell->run_ns = s_run_ns(self);
    s_publish(self, cell);
}

static void s_told(gi_worker_t *self) {
    self->streak++;
    if ((!s_more(self) && !s_fed(self)) || self->unreported >= UNREPORTED_MAX ||
        self->ended_ns - self->unreported_ns > UNREPORTED_NS ||
        (!self->brief && self->ended_ns - self->began_ns > AT_ONCE_NS))
        gi_worker_ring(self);
}

void gi_worker_respond_lent(gi_worker_t *self, size_t size) {
    gi_worker_wait(self, s_cell_free, GI_SLEEP_ROOM);
    gi_rsp_cell_t *cell =
        &self->shm.rsp[self->rsp_tail & (self->shm.cells - 1)];
    for (uint32_t i = 0; i < self->lent_units; i++)
        self->given[self->lent_at + i]++;
    cell->id = self->id;
    cell->kind = GI_RSP_DONE;
    cell->flags = GI_RSP_LENT;
    cell->size = (uint32_t)size;
    cell->at = self->lent_at;
    cell->run_ns = s_run_ns(self);
    s_publish(self, cell);
    s_told(self);
}

void gi_worker_respond(gi_worker_t *self, gi_rsp_kind_t kind, const void *data,
                       size_t size) {
    const unsigned char *p = data;
    size_t max = (size_t)self->shm.lane_bytes / 4;
    while (size > max) {
        s_chunk(self, kind, GI_RSP_MORE, p, max);
        gi_worker_ring(self); /* it copies while we go on */
        p += max;
        size -= max;
    }
    s_chunk(self, kind, 0, p, size);
    s_told(self);
}
