/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_fill.c -- blocks out of what is fed, or of a source: whole ones, the
 * last, and what there is when a flush is due.
 * Law: a block's dictionary is what stands right before it, of blocks that were
 * fed as of a source; after a flush that may be less than one's whole length. */
#include "bulk/huge_pack_impl.h"
#include "base/err.h"
#include "sync/clock.h"
#include <string.h>

/* ---- opening a block ------------------------------------------------------*/
/* Stored bytes keep a stream that nobody knows the size of below the ratio that
 * its reader bears: each makes up for GI_HUGE_RATIO of them. */
static bool s_must_store(gi_huge_pack_t *self, const gi_block_t *block) {
    uint64_t makes_up = GI_HUGE_RATIO * (uint64_t)block->in.size;
    if (!self->options.bounded)
        return false;
    self->unstored += block->in.size;
    if (self->unstored < (GI_HUGE_RATIO - 1) * (uint64_t)GI_BLOCK_SIZE)
        return false;
    self->unstored -= self->unstored < makes_up ? self->unstored : makes_up;
    return true;
}

/* The block at the tail becomes QUEUED. */
static void s_open(gi_huge_pack_t *self, const gi_block_t *block, bool flush) {
    gi_hslot_t *slot = gi_hpack_slot(self, self->tail);
    slot->b.block = *block;
    slot->b.block.store = !self->codec && (s_must_store(self, block) ||
                                           gi_policy_store(&self->policy));
    slot->b.flush = flush;
    slot->b.err = GATE_OK;
    slot->b.ns = 0;
    slot->ticket = 0;
    slot->queued_ms = gi_clock_ms();
    self->given = block->last;
    gi_monitor_enter(&self->monitor);
    slot->b.piece = (gi_piece_t){
        .seq = self->tail++, .in_size = block->in.size, .last = block->last};
    slot->state = GI_HSLOT_QUEUED;
    gi_monitor_leave(&self->monitor);
    gi_huge_work_submit(self, slot);
}

static bool s_has_room(const gi_huge_pack_t *self) {
    return self->tail - self->head < self->n_slots;
}

/* Opens the block that was being filled; an empty one only ends the stream, or
 * flushes it. */
static void s_open_filled(gi_huge_pack_t *self, bool last, bool flush) {
    unsigned char *data = gi_hpack_slot(self, self->tail)->b.data;
    gi_block_t block = {.last = last};
    if (self->n_fill) {
        block.in = (gate_bytes_t){data + GI_DICT_SIZE, self->n_fill};
        block.dict =
            (gate_bytes_t){data + GI_DICT_SIZE - self->n_dict, self->n_dict};
    }
    self->n_fill = 0;
    s_open(self, &block, flush);
}

static void s_open_rest(gi_huge_pack_t *self) {
    s_open_filled(self, self->finishing, self->flushing);
    self->flushing = self->held = false;
}

void gi_huge_fill_open(gi_huge_pack_t *self) {
    if (self->given || !s_has_room(self))
        return;
    if (self->fed && (self->finishing || self->flushing))
        s_open_rest(self);
    while (!self->fed && !self->given && s_has_room(self)) {
        gi_block_t block =
            gi_block_at(self->source, self->offset, self->primed);
        self->offset += block.in.size;
        s_open(self, &block, false);
    }
}

/* ---- feeding --------------------------------------------------------------*/
/* Puts the end of what the block before has behind it in front of this one. */
static size_t s_look_back(gi_huge_pack_t *self, unsigned char *data) {
    if (!self->tail || !self->primed)
        return 0;
    const gi_huge_block_t *b = &gi_hpack_slot(self, self->tail - 1)->b;
    size_t n_in = b->block.in.size, n = b->block.dict.size + n_in;
    n = n < GI_DICT_SIZE ? n : GI_DICT_SIZE;
    if (n)
        memcpy(data + GI_DICT_SIZE - n, b->data + GI_DICT_SIZE + n_in - n, n);
    return n;
}

/* The buffer of the block that is being filled; NULL without memory. */
static unsigned char *s_fill_data(gi_huge_pack_t *self) {
    gi_huge_block_t *b = &gi_hpack_slot(self, self->tail)->b;
    if (self->n_fill)
        return b->data;
    if (!gi_huge_block_room(b, self->procs && !self->codec ? self->pool : NULL))
        return NULL;
    self->n_dict = s_look_back(self, b->data);
    return b->data;
}

gate_err_t gi_huge_pack_feed(gi_huge_pack_t *self, gate_bytes_t *in) {
    while (in->size && s_has_room(self)) {
        unsigned char *data = s_fill_data(self);
        if (!data)
            return gi_err(GATE_NOMEM, "a block of a huge result");
        if (!self->held)
            self->quiet_ms = gi_clock_ms();
        self->held = true;
        size_t n = GI_BLOCK_SIZE - self->n_fill;
        n = in->size < n ? in->size : n;
        memcpy(data + GI_DICT_SIZE + self->n_fill, in->data, n);
        self->n_fill += n;
        gi_codec_used(in, n);
        if (self->n_fill == GI_BLOCK_SIZE)
            s_open_filled(self, false, false);
    }
    return GATE_OK;
}

/* The block that the head lies in is copied, the others are where they are. */
gate_err_t gi_huge_pack_source(gi_huge_pack_t *self, gate_bytes_t head,
                               gate_bytes_t whole) {
    size_t n = head.size ? GI_BLOCK_SIZE - head.size : 0;
    gate_bytes_t first = {whole.data, n < whole.size ? n : whole.size};
    gate_err_t e = gi_huge_pack_feed(self, &head);
    if (e == GATE_OK)
        e = gi_huge_pack_feed(self, &first);
    self->source = whole;
    self->offset = n;
    self->fed = n && n >= whole.size;
    gi_huge_pack_finish(self);
    return e;
}

void gi_huge_pack_finish(gi_huge_pack_t *self) { self->finishing = self->fed; }

/* ---- what is held ---------------------------------------------------------*/
void gi_huge_pack_flush(gi_huge_pack_t *self) { self->flushing |= self->held; }

int64_t gi_huge_pack_due(const gi_huge_pack_t *self) {
    bool waits =
        self->fed && !self->finishing && self->held && gi_huge_pack_idle(self);
    return waits && self->options.flush_ms
               ? self->quiet_ms + self->options.flush_ms
               : INT64_MAX;
}

bool gi_huge_fill_due(const gi_huge_pack_t *self) {
    int64_t due_ms = gi_huge_pack_due(self);
    return due_ms != INT64_MAX && gi_clock_ms() >= due_ms;
}
