/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_pack.h -- compresses one huge value over a pool, frames in order.
 *
 *   source, or feed ... finish  ->  blocks on the pool  ->  next ... EOS
 *
 * Pull: nothing runs ahead of the frames taken but the blocks in flight, so
 * whoever has no credit just does not call next. gzip runs in parallel; other
 * codecs one block after the other.
 * Thread: one at a time each, but cancel: any. Blocks: wait does (it compresses
 * a block itself that no worker has begun, so a busy or absent pool delays
 * nothing for ever), and destroy, for blocks that are being compressed. next
 * neither waits nor compresses: actors call it, with a pool whose threads run
 * nothing but such work (gi_runtime_helpers). What such a pool does not take
 * for want of memory or threads is compressed in next, a block a call.
 * Owns: its buffers; a source is kept (borrowed until destroy).
 * Survives: a full pool and a lost worker (such blocks are compressed here). */
#ifndef GI_HUGE_POOL_H
#define GI_HUGE_POOL_H

#include <zmq.h>
#include "huge/policy.h"
#include "jobs/pool.h"

/* Original : compressed of a bounded pack; less than huge_ratio_max. */
#define GI_HUGE_RATIO 256

/* What calls' values wait for, at most, to fill a frame. */
#define GI_HUGE_FLUSH_MS 500

typedef struct gi_huge_pack gi_huge_pack_t;

typedef struct gi_huge_pack_options {
    const char *codec;     /* NULL = gzip */
    int level;             /* 0 = the codec's default */
    size_t chunk_bytes;    /* frame size; 0 = 128 KiB */
    gi_policy_mode_t mode; /* a zeroed one is adaptive; gzip only */
    bool bounded;          /* nobody says how large it is: gzip is kept below
                            * GI_HUGE_RATIO, by blocks that are stored */
    int in_flight;         /* blocks at once; 0 = twice the pool's workers */
    int64_t flush_ms;      /* fed bytes are flushed once nothing was given for
                            * so long; 0 = never */
    /* A frame, the end or an error may wait in next: called on any thread,
     * with no lock held, must not block nor call back. May be NULL. */
    void (*ready)(void *ctx);
    void *ctx;
} gi_huge_pack_options_t;

/* pool NULL: everything is compressed by who calls. A zeroed options is fine.
 * GATE_NOTIMPL: no such codec; GATE_NOMEM. */
gate_err_t gi_huge_pack_new(gate_pool_t *pool,
                            const gi_huge_pack_options_t *options,
                            gi_huge_pack_t **out) GATE_MUST;
/* Cancels what is under way. ready is not called any more afterwards. */
void gi_huge_pack_destroy(gi_huge_pack_t **self_p);

/* ---- huge_fill.c ---------------------------------------------------------- */
/* Keeps whole: all of the data, behind a short head. Once, instead of feed and
 * finish. GATE_NOMEM. */
gate_err_t gi_huge_pack_source(gi_huge_pack_t *self, gate_bytes_t head,
                               gate_bytes_t whole) GATE_MUST;
/* Copies from *in, advancing it, as much as there is room for. */
gate_err_t gi_huge_pack_feed(gi_huge_pack_t *self, gate_bytes_t *in) GATE_MUST;
void gi_huge_pack_finish(gi_huge_pack_t *self);
/* All that was fed goes out with what next gives from now on, in a frame that
 * is not full if need be (as far as the codec can: gi_codec_flush). */
void gi_huge_pack_flush(gi_huge_pack_t *self);
/* When next will flush by itself; INT64_MAX: it will not. */
int64_t gi_huge_pack_due(const gi_huge_pack_t *self);

/* ---- huge_pack.c ---------------------------------------------------------- */
/* No block is under way: without more food nothing comes of it. */
bool gi_huge_pack_idle(const gi_huge_pack_t *self);

/* The next frame, borrowed until the next call. GATE_WOULDBLOCK: none yet
 * (ready will be called, or feed more); GATE_EOS: that was all (send END);
 * GATE_CANCELLED; any other error stays. */
gate_err_t gi_huge_pack_next(gi_huge_pack_t *self,
                             gate_bytes_t *chunk) GATE_MUST;
/* The memory that the frame given last lies in; false: copy it. Once. */
bool gi_huge_pack_take(gi_huge_pack_t *self, zmq_free_fn **release,
                       void **hint);
/* The same, waiting. GATE_WOULDBLOCK only when it has nothing to work on:
 * feed more or finish. */
gate_err_t gi_huge_pack_wait(gi_huge_pack_t *self,
                             gate_bytes_t *chunk) GATE_MUST;
/* Tells the adaptive policy what the link took. */
void gi_huge_pack_sent(gi_huge_pack_t *self, size_t bytes, int64_t ns);
/* next gives GATE_CANCELLED from now on. */
void gi_huge_pack_cancel(gi_huge_pack_t *self);

/* ---- huge_compress.c ------------------------------------------------------ */
/* All at once, on the calling thread and the pool: emit gets each frame and may
 * block; its error ends the run and is returned. */
typedef gate_err_t gi_huge_emit_fn(void *ctx, const void *data, size_t size);
gate_err_t gi_huge_pool_compress(gate_pool_t *pool,
                                 const gi_huge_pack_options_t *options,
                                 gate_bytes_t in, gi_huge_emit_fn *emit,
                                 void *ctx) GATE_MUST;

#endif
