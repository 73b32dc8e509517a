/* SPDX-License-Identifier: BSD-3-Clause */
/* worker_out.c -- what a worker says and how it waits. While more requests are
 * there the doorbell is rung for 16 responses or 50 us at once: a parent that
 * has given us two jobs looks by itself every millisecond, so a long job behind
 * a short one does not keep the short one's answer. */
#include <string.h>
#include <unistd.h>
#include "clock.h"
#include "futex.h"
#include "lane.h"
#include "worker.h"

#define UNREPORTED_MAX 16
#define UNREPORTED_NS 50000

static void s_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

void gi_worker_ring(gi_worker_t *self) {
    static const uint64_t one = 1;
    if (self->unreported == 0)
        return;
    self->unreported = 0;
    if (atomic_load(&self->shm.own->parent_sleeping) &&
        atomic_exchange(&self->shm.own->parent_sleeping, 0))
        if (write(self->bell_fd, &one, sizeof one) < 0)
            return; /* the parent looks again at its next tick */
}

void gi_worker_wait(gi_worker_t *self, gi_worker_ready_fn *ready,
                    gi_sleep_t what) {
    gi_shm_ctl_t *c = self->shm.ctl;
    gi_shm_own_t *own = self->shm.own;
    if (ready(self))
        return;
    gi_worker_ring(self);
    self->ended_ns = 0;
    if (self->config.spin_ns) {
        int64_t until = gi_clock_ns() + self->config.spin_ns;
        do {
            for (int i = 0; i < 50; i++, s_relax())
                if (ready(self))
                    return;
        } while (gi_clock_ns() < until);
    }
    while (!ready(self)) {
        uint32_t seen = atomic_load(&c->bell);
        atomic_store(&own->sleeping, (uint32_t)what);
        if (!ready(self))
            gi_futex_wait(&c->bell, seen, -1);
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

static void s_publish(gi_worker_t *self) {
    self->rsp_tail++;
    atomic_store(&self->shm.own->rsp_tail, self->rsp_tail);
    if (self->unreported++ == 0)
        self->unreported_ns = self->ended_ns;
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
                _exit(126); /* cannot be: chunks are a quarter of the lane */
        }
        memcpy(self->shm.rsp_lane + at % lane, data, size);
        cell->at = (uint32_t)(at % lane / GI_LANE_ALIGN);
        flags |= GI_RSP_IN_LANE;
    }
    cell->id = self->id;
    cell->kind = (uint8_t)kind;
    cell->flags = (uint8_t)flags;
    cell->size = (uint32_t)size;
    self->ended_ns = gi_clock_ns();
    int64_t ran = self->ended_ns - self->began_ns;
    cell->run_ns = ran > UINT32_MAX ? UINT32_MAX : (uint32_t)ran;
    s_publish(self);
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
    bool more = atomic_load(&self->shm.ctl->req_tail) != self->req_head + 1;
    if (!more || self->unreported >= UNREPORTED_MAX ||
        self->ended_ns - self->unreported_ns > UNREPORTED_NS)
        gi_worker_ring(self);
}
