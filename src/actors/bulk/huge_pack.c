/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_pack.c -- the owner's side: blocks are taken in as they come in order,
 * joined, and given as frames. */
#include "bulk/huge_pack_impl.h"
#include "base/err.h"
#include "base/mem.h"
#include "sync/clock.h"

#define S_CHUNK_BYTES ((size_t)128 << 10)
/* How long an owner that waits leaves the head to a worker before it helps
 * itself: a thread begins at once or is busy; a process needs its pool's turn.
 * Once it has, no time is lost until a worker comes again. */
#define S_LATE_PROCS_MS 50
#define S_LATE_THREADS_MS 5

/* ---- taking in ------------------------------------------------------------*/
static gate_err_t s_join(gi_huge_pack_t *self, gi_hslot_t *slot) {
    gi_piece_t *piece = &slot->b.piece;
    bool last = piece->last;
    if (!slot->b.block.store && !self->codec && piece->in_size &&
        slot->b.ns > 0)
        gi_policy_compressed(&self->policy, piece->in_size, piece->size,
                             (uint64_t)slot->b.ns);
    gate_err_t e = gi_huge_frames_add(&self->frames, &slot->b);
    gi_huge_block_done(&slot->b);
    self->ended = last;
    return e;
}

/* Inside. What a waiting owner leaves to the workers. */
static int64_t s_late_ms(const gi_huge_pack_t *self) {
    if (self->alone)
        return 0;
    return self->procs ? S_LATE_PROCS_MS : S_LATE_THREADS_MS;
}

/* Who has the head? */
typedef enum s_head { S_ELSEWHERE, S_COMPRESSED, S_OURS } s_head_t;

/* Ours: nobody else has it, or (helps) nobody else began it in time. */
static s_head_t s_head(gi_huge_pack_t *self, gi_hslot_t *slot, bool helps) {
    s_head_t head = S_ELSEWHERE;
    gi_monitor_enter(&self->monitor);
    bool late = helps && gi_clock_ms() - slot->queued_ms >= s_late_ms(self);
    if (slot->state == GI_HSLOT_DONE) {
        head = slot->here ? S_OURS : S_COMPRESSED;
    } else if (slot->state == GI_HSLOT_QUEUED && (slot->here || late)) {
        self->alone |= !slot->here;
        slot->state = GI_HSLOT_RUNNING;
        head = S_OURS;
    }
    gi_monitor_leave(&self->monitor);
    return head;
}

static gate_err_t s_take_in(gi_huge_pack_t *self, gi_hslot_t *slot) {
    gate_err_t e = slot->b.err;
    e = e ? gi_err(e, "compressing a huge value: %s", slot->b.error.story.text)
          : s_join(self, slot);
    gi_monitor_enter(&self->monitor);
    slot->state = GI_HSLOT_FREE;
    self->head++;
    gi_monitor_leave(&self->monitor);
    return e;
}

/* Joins the head: GATE_WOULDBLOCK when it is not compressed yet. *worked: the
 * owner did that itself. */
static gate_err_t s_collect(gi_huge_pack_t *self, bool helps, bool *worked) {
    gi_hslot_t *slot = gi_hpack_slot(self, self->head);
    s_head_t head =
        gi_huge_pack_idle(self) ? S_ELSEWHERE : s_head(self, slot, helps);
    if (head == S_ELSEWHERE)
        return GATE_WOULDBLOCK;
    if (head == S_OURS) {
        *worked = !gi_hpack_bare(self, &slot->b);
        if (slot->ticket)
            gi_pool_cancel(self->pool, slot->ticket);
        gi_huge_work_compress(self, slot);
    }
    return s_take_in(self, slot);
}

static bool s_cancelled(gi_huge_pack_t *self) {
    gi_monitor_enter(&self->monitor);
    bool cancelled = self->cancelled;
    gi_monitor_leave(&self->monitor);
    return cancelled;
}

static gate_err_t s_fail(gi_huge_pack_t *self, gate_err_t e) {
    gi_error_set(&self->failed, gate_error());
    return e;
}

/* One frame, if there is one now; *again: something changed, so look again. */
static gate_err_t s_look(gi_huge_pack_t *self, gate_bytes_t *chunk, bool helps,
                         bool *worked, bool *again) {
    *again = false;
    if (s_cancelled(self))
        return gi_err(GATE_CANCELLED, "the huge result was cancelled");
    gi_huge_fill_open(self);
    if (gi_huge_frames_next(&self->frames, self->ended, chunk)) {
        self->quiet_ms = gi_clock_ms();
        return GATE_OK;
    }
    if (self->ended)
        return GATE_EOS;
    gate_err_t e = s_collect(self, helps, worked);
    *again = e == GATE_OK;
    if (e == GATE_WOULDBLOCK && gi_huge_fill_due(self)) {
        gi_huge_pack_flush(self);
        *again = true;
    }
    return e == GATE_OK || e == GATE_WOULDBLOCK ? e : s_fail(self, e);
}

gate_err_t gi_huge_pack_next(gi_huge_pack_t *self, gate_bytes_t *chunk) {
    bool again = true, worked = false;
    gate_err_t e = GATE_OK;
    if (self->failed.story.code)
        return gi_error_publish(&self->failed);
    while (again && !worked)
        e = s_look(self, chunk, false, &worked, &again);
    if (!again)
        return e;
    /* no thread was to be had: a block at a time, and others have their turn */
    if (self->options.ready)
        self->options.ready(self->options.ctx);
    return GATE_WOULDBLOCK;
}

gate_err_t gi_huge_pack_wait(gi_huge_pack_t *self, gate_bytes_t *chunk) {
    bool again, worked = false;
    if (self->failed.story.code)
        return gi_error_publish(&self->failed);
    for (;;) {
        gate_err_t e = s_look(self, chunk, true, &worked, &again);
        if (again)
            continue;
        if (e != GATE_WOULDBLOCK || gi_huge_pack_idle(self))
            return e;
        gi_hslot_t *slot = gi_hpack_slot(self, self->head);
        gi_monitor_enter(&self->monitor);
        if (slot->state != GI_HSLOT_DONE && !self->cancelled)
            gi_monitor_wait(&self->monitor, s_late_ms(self));
        gi_monitor_leave(&self->monitor);
    }
}

bool gi_huge_pack_take(gi_huge_pack_t *self, zmq_free_fn **release,
                       void **hint) {
    return gi_huge_frames_take(&self->frames, release, hint);
}

bool gi_huge_pack_idle(const gi_huge_pack_t *self) {
    return self->head == self->tail;
}

void gi_huge_pack_sent(gi_huge_pack_t *self, size_t bytes, int64_t ns) {
    gi_policy_sent(&self->policy, bytes, ns > 0 ? (uint64_t)ns : 0);
}

void gi_huge_pack_cancel(gi_huge_pack_t *self) {
    gi_monitor_enter(&self->monitor);
    self->cancelled = true;
    gi_monitor_notify(&self->monitor);
    gi_monitor_leave(&self->monitor);
}

/* ---- life -----------------------------------------------------------------*/
static int s_workers(gate_pool_t *pool) {
    int workers = 1;
    gate_value_t *stats = pool ? gate_pool_stats(pool) : NULL;
    if (stats &&
        gate_value_read_(stats, "workers", gate_oint(&workers)) != GATE_OK)
        workers = 2;
    gate_value_destroy(&stats);
    return workers > 0 ? workers : 1;
}

static gate_err_t s_init(gi_huge_pack_t *self) {
    size_t chunk = self->options.chunk_bytes;
    const char *codec = self->options.codec;
    int workers = s_workers(self->pool);
    int slots = self->options.in_flight;
    chunk = chunk ? chunk : S_CHUNK_BYTES;
    slots = slots > 0 ? slots : 2 * workers;
    self->n_slots =
        slots < GI_HUGE_SLOTS_MAX ? (size_t)slots : GI_HUGE_SLOTS_MAX;
    self->primed = gi_block_primed(self->options.level);
    /* the second block is the first stored: before it nothing is known in time */
    self->unstored = (GI_HUGE_RATIO - 3) * (uint64_t)GI_BLOCK_SIZE;
    gi_policy_init(&self->policy, self->options.mode, workers);
    bool gzip = gi_codec_find(codec) == &gi_codec_gzip;
    gate_err_t e = gi_huge_frames_init(&self->frames, gzip, chunk);
    if (gzip || e != GATE_OK)
        return e;
    self->n_slots = 1;
    return gi_codec_open(codec, true, self->options.level, &self->codec);
}

gate_err_t gi_huge_pack_new(gate_pool_t *pool,
                            const gi_huge_pack_options_t *options,
                            gi_huge_pack_t **out) {
    gi_huge_pack_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return gi_err(GATE_NOMEM, "a huge result");
    gi_monitor_init(&self->monitor);
    gi_error_init(&self->failed);
    gi_ref_init(&self->ref);
    self->options = *options;
    self->pool = pool;
    self->procs = pool && gi_pool_is_procs(pool);
    self->fed = true;
    gate_err_t e = s_init(self);
    if (e == GATE_OK)
        *out = self;
    else
        gi_huge_work_drop(self);
    return e;
}

static void s_cancel_jobs(gi_huge_pack_t *self) {
    for (uint64_t seq = self->head; self->procs && seq < self->tail; seq++)
        if (gi_hpack_slot(self, seq)->ticket)
            gi_pool_cancel(self->pool, gi_hpack_slot(self, seq)->ticket);
}

void gi_huge_pack_destroy(gi_huge_pack_t **self_p) {
    gi_huge_pack_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_monitor_enter(&self->monitor);
    self->closed = true; /* blocks not claimed yet never will be */
    while (self->n_active)
        gi_monitor_wait(&self->monitor, -1);
    gi_monitor_leave(&self->monitor);
    s_cancel_jobs(self);
    gi_huge_work_drop(self);
}
