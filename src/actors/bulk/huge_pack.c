/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_pack.c -- a ring of blocks between a source and the joiner.
 *
 *   FREE -> QUEUED -> RUNNING -> DONE -> FREE
 *
 * QUEUED -> RUNNING is a claim, made under the monitor by whoever is first: a
 * worker, or the owner when no worker came in time. A job that comes too late
 * finds its block claimed, or another in its place, and drops its reference.
 * Law: a block's bytes are touched by its claimer alone until DONE; the ring
 * holds blocks head .. tail - 1; everything but states, n_active and the flags
 * is the owner's. The source is not read by anyone after destroy. */
#include "bulk/huge_pack.h"
#include "sync/clock.h"
#include "huge/codec.h"
#include "base/err.h"
#include "bulk/huge_frames.h"
#include "bulk/huge_job.h"
#include "base/mem.h"
#include "sync/waitpoint.h"
#include "sync/ref.h"
#include <string.h>

#define S_CHUNK_BYTES ((size_t)128 << 10)
#define S_SLOTS_MAX 32
/* How long the owner leaves the head to a worker before it helps itself: a
 * thread begins at once or is busy; a process needs its pool's turn. */
#define S_LATE_MS 50
#define S_LATE_WAITING_MS 5

typedef enum s_state { S_FREE, S_QUEUED, S_RUNNING, S_DONE } s_state_t;

typedef struct s_slot {
    s_state_t state;
    gi_ticket_t ticket; /* of a process's job */
    int64_t queued_ms;
    gi_huge_block_t b;
    bool here; /* no pool has it: the owner compresses it */
} s_slot_t;

struct gi_huge_pack {
    gi_monitor_t monitor; /* of states, n_active, closed, cancelled */
    gi_ref_t ref;         /* the owner's, and one for each job */
    int n_active;         /* claimed by workers, until they have called ready */
    bool closed, cancelled;
    gi_huge_pack_options_t options;
    gate_pool_t *pool;
    bool procs;
    gi_codec_t *codec; /* NULL: gzip, in parallel */
    gi_huge_frames_t frames;
    gi_policy_t policy;
    bool primed; /* blocks look back */
    gate_bytes_t source;
    size_t offset;       /* of the source: given to blocks so far */
    bool fed, finishing; /* there is no source; no more will be fed */
    bool given;          /* all data is in blocks */
    size_t n_fill;       /* fed bytes in the block that is being filled */
    uint64_t head, tail; /* blocks to be joined next; to be opened next */
    size_t n_slots;      /* blocks at once */
    gate_err_t failed;   /* stays */
    bool ended;          /* the last block is joined */
    /* one more than there may be blocks: the data of the one before the head's
     * is a dictionary still */
    s_slot_t slots[S_SLOTS_MAX + 1];
};

/* A block on its way to a worker. */
typedef struct s_job {
    gi_job_t job;
    gi_huge_pack_t *pack; /* shares */
    uint64_t seq;
} s_job_t;

/* ---- compressing one block ------------------------------------------------*/
static s_slot_t *s_slot(gi_huge_pack_t *self, uint64_t seq) {
    return &self->slots[seq % (self->n_slots + 1)];
}

/* By the claimer, outside the monitor. */
static void s_compress(gi_huge_pack_t *self, s_slot_t *slot) {
    int64_t begun = gi_clock_ns();
    slot->b.err = self->codec
                      ? gi_huge_block_codec(&slot->b, self->codec)
                      : gi_huge_block_deflate(&slot->b, self->options.level);
    slot->b.ns = gi_clock_ns() - begun;
}

/* ---- the pack's memory ----------------------------------------------------*/
static void s_drop(gi_huge_pack_t *self) {
    if (!gi_ref_drop(&self->ref))
        return;
    for (size_t i = 0; i <= S_SLOTS_MAX; i++)
        gi_huge_block_fini(&self->slots[i].b);
    gi_codec_close(&self->codec);
    gi_huge_frames_fini(&self->frames);
    gi_monitor_fini(&self->monitor);
    gi_mem_free(self);
}

static s_job_t *s_job_new(gi_huge_pack_t *self, uint64_t seq) {
    s_job_t *job = gi_mem_calloc(1, sizeof *job);
    if (!job)
        return NULL;
    gi_ref_take(&self->ref);
    job->pack = self;
    job->seq = seq;
    return job;
}

static void s_job_free(s_job_t *job) {
    s_drop(job->pack);
    gi_mem_free(job);
}

/* ---- workers --------------------------------------------------------------*/
/* True: the block is the caller's to compress. */
static bool s_claim(gi_huge_pack_t *self, uint64_t seq) {
    s_slot_t *slot = s_slot(self, seq);
    gi_monitor_enter(&self->monitor);
    bool mine =
        !self->closed && slot->b.piece.seq == seq && slot->state == S_QUEUED;
    if (mine) {
        slot->state = S_RUNNING;
        self->n_active++;
    }
    gi_monitor_leave(&self->monitor);
    return mine;
}

/* The claimed block is compressed, or has failed. */
static void s_deliver(gi_huge_pack_t *self, uint64_t seq) {
    gi_monitor_enter(&self->monitor);
    s_slot(self, seq)->state = S_DONE;
    bool tell = self->head == seq && !self->closed && self->options.ready;
    gi_monitor_notify(&self->monitor);
    gi_monitor_leave(&self->monitor);
    if (tell)
        self->options.ready(self->options.ctx);
    gi_monitor_enter(&self->monitor);
    self->n_active--;
    gi_monitor_notify(&self->monitor);
    gi_monitor_leave(&self->monitor);
}

static void s_run(gi_job_t *gi_job) {
    s_job_t *job = (s_job_t *)gi_job;
    if (s_claim(job->pack, job->seq)) {
        s_compress(job->pack, s_slot(job->pack, job->seq));
        s_deliver(job->pack, job->seq);
    }
    s_job_free(job);
}

/* ---- worker processes -----------------------------------------------------*/
/* A worker process has had the claimed block. */
static void s_process_end(s_job_t *job, gate_err_t e) {
    s_slot_t *slot = s_slot(job->pack, job->seq);
    slot->b.err = e;
    slot->here = e != GATE_OK; /* a lost worker loses nothing */
    s_deliver(job->pack, job->seq);
}

static void s_process_done(void *ctx, const void *data, size_t size,
                           const gate_error_t *err) {
    s_job_t *job = ctx;
    if (s_claim(job->pack, job->seq))
        s_process_end(job,
                      err ? err->code
                          : gi_huge_job_result(&s_slot(job->pack, job->seq)->b,
                                               data, size));
    s_job_free(job);
}

static void s_process_lent(void *ctx, gi_run_t *run) {
    s_job_t *job = ctx;
    if (s_claim(job->pack, job->seq))
        s_process_end(job,
                      gi_huge_job_lent(&s_slot(job->pack, job->seq)->b, run));
    else
        gi_run_release(run);
    s_job_free(job);
}

static const gi_sink_t s_process_sink = {.done = s_process_done,
                                         .lent = s_process_lent};

/* ---- handing out ----------------------------------------------------------*/
/* Gives the block to the pool; what the pool does not take stays here. */
static void s_submit(gi_huge_pack_t *self, s_slot_t *slot) {
    gi_huge_block_t *b = &slot->b;
    s_job_t *job = NULL;
    bool away = self->pool && b->block.in.size;
    if (away && self->procs)
        away = !self->codec && !b->block.store &&
               gi_huge_block_share(b, self->pool);
    if (away)
        job = s_job_new(self, b->piece.seq);
    slot->here = !job;
    if (!job)
        return;
    job->job = (gi_job_t){.run = s_run};
    gate_err_t e = self->procs
                       ? gi_huge_job_submit(self->pool, b, self->options.level,
                                            &s_process_sink, job, &slot->ticket)
                       : gi_pool_run(self->pool, &job->job);
    if (e == GATE_OK)
        return;
    s_job_free(job);
    slot->here = true;
}

/* Every so many block, from the second on; nothing else is known in time. */
static bool s_must_store(const gi_huge_pack_t *self) {
    return self->options.bounded && self->tail % GI_HUGE_RATIO == 1;
}

/* Opens the block at the tail: it becomes QUEUED. */
static void s_open(gi_huge_pack_t *self, const gi_block_t *block) {
    s_slot_t *slot = s_slot(self, self->tail);
    slot->b.block = *block;
    slot->b.block.store =
        !self->codec && (s_must_store(self) || gi_policy_store(&self->policy));
    slot->b.err = GATE_OK;
    slot->b.ns = 0;
    slot->ticket = 0;
    slot->queued_ms = gi_clock_ms();
    self->given = block->last;
    gi_monitor_enter(&self->monitor);
    slot->b.piece = (gi_piece_t){
        .seq = self->tail++, .in_size = block->in.size, .last = block->last};
    slot->state = S_QUEUED;
    gi_monitor_leave(&self->monitor);
    s_submit(self, slot);
}

static bool s_has_room(const gi_huge_pack_t *self) {
    return self->tail - self->head < self->n_slots;
}

/* Opens the block that was being filled; an empty one only ends the stream. */
static void s_open_fed(gi_huge_pack_t *self, bool last) {
    unsigned char *data = s_slot(self, self->tail)->b.data;
    gi_block_t block = {.last = last};
    if (self->n_fill) {
        block.in = (gate_bytes_t){data + GI_DICT_SIZE, self->n_fill};
        block.dict =
            (gate_bytes_t){data, self->primed && self->tail ? GI_DICT_SIZE : 0};
    }
    self->n_fill = 0;
    s_open(self, &block);
}

static void s_refill(gi_huge_pack_t *self) {
    if (self->finishing && !self->given && s_has_room(self))
        s_open_fed(self, true);
    while (!self->fed && !self->given && s_has_room(self)) {
        gi_block_t block =
            gi_block_at(self->source, self->offset, self->primed);
        self->offset += block.in.size;
        s_open(self, &block);
    }
}

/* ---- taking in ------------------------------------------------------------*/
static gate_err_t s_join(gi_huge_pack_t *self, s_slot_t *slot) {
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

/* True: the head is DONE, or the owner has made it so; false: a worker has it.
 * Waits late_ms for a worker to begin. */
static bool s_head_done(gi_huge_pack_t *self, int64_t late_ms) {
    s_slot_t *slot = s_slot(self, self->head);
    gi_monitor_enter(&self->monitor);
    bool mine = slot->state == S_QUEUED &&
                (slot->here || gi_clock_ms() - slot->queued_ms >= late_ms);
    if (mine)
        slot->state = S_RUNNING;
    bool done = slot->state == S_DONE;
    gi_monitor_leave(&self->monitor);
    if (!mine && !(done && slot->here))
        return done;
    if (mine && slot->ticket)
        gi_pool_cancel(self->pool, slot->ticket);
    s_compress(self, slot);
    return true;
}

/* Joins the head: GATE_WOULDBLOCK when it is not compressed yet. */
static gate_err_t s_collect(gi_huge_pack_t *self, int64_t late_ms) {
    if (self->head == self->tail || !s_head_done(self, late_ms))
        return GATE_WOULDBLOCK;
    s_slot_t *slot = s_slot(self, self->head);
    gate_err_t e = slot->b.err == GATE_OK
                       ? s_join(self, slot)
                       : gi_err(slot->b.err, "compressing a huge result");
    gi_monitor_enter(&self->monitor);
    slot->state = S_FREE;
    self->head++;
    gi_monitor_leave(&self->monitor);
    return e;
}

static bool s_cancelled(gi_huge_pack_t *self) {
    gi_monitor_enter(&self->monitor);
    bool cancelled = self->cancelled;
    gi_monitor_leave(&self->monitor);
    return cancelled;
}

static gate_err_t s_next(gi_huge_pack_t *self, gate_bytes_t *chunk,
                         int64_t late_ms) {
    if (self->failed != GATE_OK)
        return gi_err(self->failed, "the huge result has failed already");
    for (;;) {
        if (s_cancelled(self))
            return gi_err(GATE_CANCELLED, "the huge result was cancelled");
        s_refill(self);
        if (gi_huge_frames_next(&self->frames, self->ended, chunk))
            return GATE_OK;
        if (self->ended)
            return GATE_EOS;
        gate_err_t e = s_collect(self, late_ms);
        if (e == GATE_WOULDBLOCK)
            return e;
        self->failed = e;
        if (e != GATE_OK)
            return e;
    }
}

gate_err_t gi_huge_pack_next(gi_huge_pack_t *self, gate_bytes_t *chunk) {
    return s_next(self, chunk, S_LATE_MS);
}

gate_err_t gi_huge_pack_wait(gi_huge_pack_t *self, gate_bytes_t *chunk) {
    int64_t late_ms = self->procs ? S_LATE_MS : S_LATE_WAITING_MS;
    for (;;) {
        gate_err_t e = s_next(self, chunk, late_ms);
        if (e != GATE_WOULDBLOCK || self->head == self->tail)
            return e;
        gi_monitor_enter(&self->monitor);
        s_slot_t *slot = s_slot(self, self->head);
        if (slot->state != S_DONE && !self->cancelled)
            gi_monitor_wait(&self->monitor, late_ms);
        gi_monitor_leave(&self->monitor);
    }
}

bool gi_huge_pack_take(gi_huge_pack_t *self, zmq_free_fn **release,
                       void **hint) {
    return gi_huge_frames_take(&self->frames, release, hint);
}

/* ---- input ----------------------------------------------------------------*/
/* The buffer of the block that is being filled, with the dictionary in front of
 * it; NULL without memory. */
static unsigned char *s_fill_data(gi_huge_pack_t *self) {
    gi_huge_block_t *b = &s_slot(self, self->tail)->b;
    if (self->n_fill)
        return b->data;
    if (!gi_huge_block_room(b, self->procs && !self->codec ? self->pool : NULL))
        return NULL;
    /* the block before it was whole: its end is this one's dictionary */
    if (self->tail && self->primed)
        memcpy(b->data, s_slot(self, self->tail - 1)->b.data + GI_BLOCK_SIZE,
               GI_DICT_SIZE);
    return b->data;
}

gate_err_t gi_huge_pack_feed(gi_huge_pack_t *self, gate_bytes_t *in) {
    while (in->size && s_has_room(self)) {
        unsigned char *data = s_fill_data(self);
        if (!data)
            return gi_err(GATE_NOMEM, "a block of a huge result");
        size_t n = GI_BLOCK_SIZE - self->n_fill;
        n = in->size < n ? in->size : n;
        memcpy(data + GI_DICT_SIZE + self->n_fill, in->data, n);
        self->n_fill += n;
        gi_codec_used(in, n);
        if (self->n_fill == GI_BLOCK_SIZE)
            s_open_fed(self, false);
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
    self->n_slots = slots < S_SLOTS_MAX ? (size_t)slots : S_SLOTS_MAX;
    self->primed = gi_block_primed(self->options.level);
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
    gi_ref_init(&self->ref);
    self->options = *options;
    self->pool = pool;
    self->procs = pool && gi_pool_is_procs(pool);
    self->fed = true;
    gate_err_t e = s_init(self);
    if (e == GATE_OK)
        *out = self;
    else
        s_drop(self);
    return e;
}

static void s_cancel_jobs(gi_huge_pack_t *self) {
    for (uint64_t seq = self->head; self->procs && seq < self->tail; seq++)
        if (s_slot(self, seq)->ticket)
            gi_pool_cancel(self->pool, s_slot(self, seq)->ticket);
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
    s_drop(self);
}
