/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_work.c -- who compresses a block: a thread of the pool, or one of its
 * worker processes (gzip alone, whose blocks need nothing but their bytes).
 * Blocks go before the pool's own jobs: somebody waits for each. */
#include "bulk/huge_pack_impl.h"
#include "base/err.h"
#include "base/mem.h"
#include "bulk/huge_job.h"
#include "sync/clock.h"

/* A block on its way to a worker. */
typedef struct s_job {
    gi_job_t job;
    gi_huge_pack_t *pack; /* shares */
    uint64_t seq;
} s_job_t;

void gi_huge_work_compress(gi_huge_pack_t *self, gi_hslot_t *slot) {
    gi_huge_block_t *b = &slot->b;
    int64_t begun = gi_clock_ns();
    b->err = self->codec ? gi_huge_block_codec(b, self->codec)
                         : gi_huge_block_deflate(b, self->options.level);
    b->ns = gi_clock_ns() - begun;
    if (b->err)
        gi_error_set(&b->error, gate_error());
}

/* ---- the pack's memory ----------------------------------------------------*/
void gi_huge_work_drop(gi_huge_pack_t *self) {
    if (!gi_ref_drop(&self->ref))
        return;
    for (size_t i = 0; i <= GI_HUGE_SLOTS_MAX; i++)
        gi_huge_block_fini(&self->slots[i].b);
    gi_codec_close(&self->codec);
    gi_huge_frames_fini(&self->frames);
    gi_error_fini(&self->failed);
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
    gi_huge_work_drop(job->pack);
    gi_mem_free(job);
}

/* ---- workers --------------------------------------------------------------*/
/* True: the block is the caller's to compress. */
static bool s_claim(gi_huge_pack_t *self, uint64_t seq) {
    gi_hslot_t *slot = gi_hpack_slot(self, seq);
    gi_monitor_enter(&self->monitor);
    bool mine = !self->closed && slot->b.piece.seq == seq &&
                slot->state == GI_HSLOT_QUEUED;
    if (mine) {
        slot->state = GI_HSLOT_RUNNING;
        self->n_active++;
        self->alone = false;
    }
    gi_monitor_leave(&self->monitor);
    return mine;
}

/* The claimed block is compressed, or has failed. */
static void s_deliver(gi_huge_pack_t *self, uint64_t seq) {
    gi_monitor_enter(&self->monitor);
    gi_hpack_slot(self, seq)->state = GI_HSLOT_DONE;
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
        gi_huge_work_compress(job->pack, gi_hpack_slot(job->pack, job->seq));
        s_deliver(job->pack, job->seq);
    }
    s_job_free(job);
}

/* ---- worker processes -----------------------------------------------------*/
/* A worker process has had the claimed block. */
static void s_process_end(s_job_t *job, gate_err_t e) {
    gi_hslot_t *slot = gi_hpack_slot(job->pack, job->seq);
    slot->here = e != GATE_OK; /* a lost worker loses nothing */
    s_deliver(job->pack, job->seq);
}

static void s_process_done(void *ctx, const void *data, size_t size,
                           const gate_error_t *err) {
    s_job_t *job = ctx;
    gi_huge_block_t *b = &gi_hpack_slot(job->pack, job->seq)->b;
    if (s_claim(job->pack, job->seq))
        s_process_end(job, err ? err->code : gi_huge_job_result(b, data, size));
    s_job_free(job);
}

static void s_process_lent(void *ctx, gi_run_t *run) {
    s_job_t *job = ctx;
    gi_huge_block_t *b = &gi_hpack_slot(job->pack, job->seq)->b;
    if (s_claim(job->pack, job->seq))
        s_process_end(job, gi_huge_job_lent(b, run));
    else
        gi_run_release(run);
    s_job_free(job);
}

static const gi_sink_t s_process_sink = {.done = s_process_done,
                                         .lent = s_process_lent};

/* ---- handing out ----------------------------------------------------------*/
static bool s_may_leave(gi_huge_pack_t *self, gi_huge_block_t *b) {
    if (!self->pool || gi_hpack_bare(self, b))
        return false;
    return !self->procs || (!self->codec && !b->block.store &&
                            gi_huge_block_share(b, self->pool));
}

void gi_huge_work_submit(gi_huge_pack_t *self, gi_hslot_t *slot) {
    gi_huge_block_t *b = &slot->b;
    s_job_t *job = s_may_leave(self, b) ? s_job_new(self, b->piece.seq) : NULL;
    slot->here = !job;
    if (!job)
        return;
    job->job = (gi_job_t){.run = s_run, .urgent = true};
    gate_err_t e = self->procs
                       ? gi_huge_job_submit(self->pool, b, self->options.level,
                                            &s_process_sink, job, &slot->ticket)
                       : gi_pool_run(self->pool, &job->job);
    if (e == GATE_OK)
        return;
    s_job_free(job);
    slot->here = true;
}
