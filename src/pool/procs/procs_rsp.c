/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_rsp.c -- every number that the worker wrote is checked against one that
 * only we know: the ring's size, the place the lane's next run must have, the
 * largest result. */
#include "procs/procs_rsp.h"
#include <string.h>
#include "shared/lane.h"
#include "shared/rsp_sum.h"

void gi_rsp_reset(gi_rsp_reader_t *self, gi_shm_t *shm, gi_exchange_t *outbox,
                  size_t result_max) {
    self->shm = shm;
    self->outbox = outbox;
    self->head = 0;
    self->lane_tail = 0;
    self->result_max = result_max;
    gi_buf_reset(&self->batch, GI_RSP_BATCH_BYTES * 2);
    gi_buf_reset(&self->partial, GI_RSP_BATCH_BYTES * 2);
    self->partial_kind = 0;
    self->partial_given = false;
    self->lie = NULL;
    self->n = 0;
}

void gi_rsp_fini(gi_rsp_reader_t *self) {
    gi_buf_fini(&self->batch);
    gi_buf_fini(&self->partial);
}

static const char *s_check(const gi_rsp_reader_t *self,
                           const gi_rsp_cell_t *c) {
    if (c->sum != gi_rsp_sum(c))
        return "a response that was written over";
    if (c->kind < GI_RSP_DONE || c->kind > GI_RSP_FAULT)
        return "a response of no known kind";
    if (c->flags == GI_RSP_LENT && c->kind == GI_RSP_DONE &&
        !self->partial_kind && self->outbox)
        return c->size > self->result_max ? "a lent result that is too large"
                                          : NULL;
    if (c->flags & ~(GI_RSP_IN_LANE | GI_RSP_MORE))
        return "a response with unknown flags";
    if (self->partial_kind &&
        (c->kind != self->partial_kind || c->id != self->partial_id))
        return "a response among another's chunks";
    if (!(c->flags & GI_RSP_IN_LANE))
        return c->size > GI_RSP_INLINE ? "a response larger than its cell"
                                       : NULL;
    if (c->size == 0 || c->size > self->shm->lane_bytes / 4)
        return "a response of an impossible size";
    uint64_t lane = self->shm->lane_bytes;
    uint64_t at = gi_lane_place(lane, self->lane_tail, c->size);
    if ((uint64_t)c->at * GI_LANE_ALIGN != at % lane)
        return "a response outside its place";
    return NULL;
}

/* The payload in the worker's memory or in our copy of its cell. */
static const unsigned char *s_source(gi_rsp_reader_t *self,
                                     const gi_rsp_cell_t *c) {
    if (!(c->flags & GI_RSP_IN_LANE))
        return c->data;
    uint64_t lane = self->shm->lane_bytes;
    uint64_t at = gi_lane_place(lane, self->lane_tail, c->size);
    self->lane_tail = at + gi_lane_round(c->size);
    return self->shm->rsp_lane + at % lane;
}

static void s_emit(gi_rsp_reader_t *self, const gi_rsp_cell_t *c, size_t at,
                   size_t size, bool no_memory) {
    gi_rsp_rec_t *rec = &self->recs[self->n++];
    rec->id = c->id;
    rec->kind = (gi_rsp_kind_t)c->kind;
    rec->run_ns = c->run_ns;
    rec->no_memory = no_memory;
    rec->too_big = false;
    rec->run = NULL;
    rec->size = size;
    /* buffers may still move: an offset until the batch is complete */
    rec->data = (const unsigned char *)(uintptr_t)at;
}

static bool s_lent(gi_rsp_reader_t *self, const gi_rsp_cell_t *c) {
    gi_run_t *run = gi_exchange_lend(self->outbox, c->at, c->size);
    if (!run) {
        self->lie = "a result in memory that it does not have";
        return false;
    }
    s_emit(self, c, 0, c->size, false);
    self->recs[self->n - 1].run = run;
    return true;
}

/* One cell; false after a lie. */
static bool s_take(gi_rsp_reader_t *self, const gi_rsp_cell_t *c) {
    self->lie = s_check(self, c);
    if (self->lie)
        return false;
    if (c->flags & GI_RSP_LENT)
        return s_lent(self, c);
    const unsigned char *from = s_source(self, c);
    if (!self->partial_kind && !(c->flags & GI_RSP_MORE)) {
        size_t at = self->batch.size;
        bool ok = gi_buf_append(&self->batch, from, c->size);
        self->batch.failed = false;
        s_emit(self, c, at, ok ? c->size : 0, !ok);
        return true;
    }
    if (c->size > self->result_max - self->partial.size) {
        self->lie = "a result without end";
        return false;
    }
    gi_buf_append(&self->partial, from, c->size);
    self->partial_kind = c->kind;
    self->partial_id = c->id;
    if (c->flags & GI_RSP_MORE)
        return true;
    self->partial_kind = 0;
    self->partial_given = true;
    bool failed = self->partial.failed;
    s_emit(self, c, SIZE_MAX, failed ? 0 : self->partial.size, failed);
    return true;
}

static void s_begin(gi_rsp_reader_t *self) {
    self->n = 0;
    self->batch.size = 0;
    if (self->partial_given)
        gi_buf_reset(&self->partial, GI_RSP_BATCH_BYTES * 2);
    self->partial_given = false;
}

static void s_end(gi_rsp_reader_t *self) {
    static const unsigned char none[1];
    for (size_t i = 0; i < self->n; i++) {
        gi_rsp_rec_t *rec = &self->recs[i];
        uintptr_t at = (uintptr_t)rec->data;
        rec->data = at == SIZE_MAX     ? self->partial.data
                    : self->batch.data ? self->batch.data + at
                                       : none;
        if (!rec->data)
            rec->data = none;
    }
}

bool gi_rsp_read(gi_rsp_reader_t *self) {
    gi_shm_ctl_t *ctl = self->shm->ctl;
    uint32_t waiting = atomic_load(&self->shm->own->rsp_tail) - self->head;
    s_begin(self);
    if (waiting == 0 || self->lie)
        return false;
    if (waiting > self->shm->cells) {
        self->lie = "more responses than its ring holds";
        return false;
    }
    while (waiting > 0 && self->n < GI_RSP_BATCH && !self->partial_given &&
           self->batch.size < GI_RSP_BATCH_BYTES) {
        gi_rsp_cell_t cell;
        memcpy(&cell, &self->shm->rsp[self->head & (self->shm->cells - 1)],
               sizeof cell);
        if (!s_take(self, &cell))
            break;
        self->head++;
        waiting--;
    }
    atomic_store(&ctl->rsp_free, self->lane_tail);
    atomic_store(&ctl->rsp_head, self->head);
    gi_shm_wake(self->shm, GI_SLEEP_ROOM);
    s_end(self);
    return waiting > 0 && !self->lie;
}

void *gi_rsp_take(gi_rsp_reader_t *self, const gi_rsp_rec_t *rec) {
    size_t size;
    if (!self->partial_given || rec->data != self->partial.data)
        return NULL;
    return gi_buf_take(&self->partial, &size);
}
