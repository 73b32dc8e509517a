/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_pack_impl.h -- a pack's insides, for the files that it is made of:
 *
 *   huge_fill.c -> blocks -> huge_work.c -> compressed -> huge_pack.c -> frames
 *
 * A ring of blocks between a source and the joiner.
 *
 *   FREE -> QUEUED -> RUNNING -> DONE -> FREE
 *
 * QUEUED -> RUNNING is a claim, made under the monitor by whoever is first: a
 * worker, or the owner where it may. A job that comes too late finds its block
 * claimed, or another in its place, and drops its reference.
 * Law: a block's bytes are touched by its claimer alone until DONE; the ring
 * holds blocks head .. tail - 1; everything but states, n_active and the flags
 * is the owner's. The source is not read by anyone after destroy. */
#ifndef GI_HUGE_PACK_IMPL_H
#define GI_HUGE_PACK_IMPL_H

#include "bulk/huge_frames.h"
#include "bulk/huge_pack.h"
#include "huge/codec.h"
#include "sync/ref.h"
#include "sync/waitpoint.h"

#define GI_HUGE_SLOTS_MAX 32

typedef enum gi_hslot_state {
    GI_HSLOT_FREE,
    GI_HSLOT_QUEUED,
    GI_HSLOT_RUNNING,
    GI_HSLOT_DONE
} gi_hslot_state_t;

typedef struct gi_hslot {
    gi_hslot_state_t state;
    gi_ticket_t ticket; /* of a process's job */
    int64_t queued_ms;
    gi_huge_block_t b;
    bool here; /* no pool has it: the owner compresses it */
} gi_hslot_t;

struct gi_huge_pack {
    gi_monitor_t monitor; /* of states, n_active, closed, cancelled, alone */
    gi_ref_t ref;         /* the owner's, and one for each job */
    int n_active;         /* claimed by workers, until they have called ready */
    bool closed, cancelled;
    bool alone; /* the owner was first, and no worker since */
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
    size_t n_dict;       /* what lies in front of them, of the block before */
    bool held;           /* bytes were fed that no flush has followed */
    bool flushing;       /* one is to follow as soon as there is room */
    int64_t quiet_ms;    /* when something was given last, or held first */
    uint64_t unstored;   /* bytes compressed that no stored block made up for */
    uint64_t head, tail; /* blocks to be joined next; to be opened next */
    size_t n_slots;      /* blocks at once */
    gi_error_t failed;   /* stays */
    bool ended;          /* the last block is joined */
    /* one more than there may be blocks: the data of the one before the head's
     * is a dictionary still */
    gi_hslot_t slots[GI_HUGE_SLOTS_MAX + 1];
};

static inline gi_hslot_t *gi_hpack_slot(gi_huge_pack_t *self, uint64_t seq) {
    return &self->slots[seq % (self->n_slots + 1)];
}
/* Nothing of it is compressed: it ends a gzip stream, or only lets go out what
 * waits to make up a frame. */
static inline bool gi_hpack_bare(const gi_huge_pack_t *self,
                                 const gi_huge_block_t *block) {
    return !self->codec && !block->block.in.size;
}

/* ---- huge_fill.c ---------------------------------------------------------- */
/* Opens the blocks that there is something and room for. */
void gi_huge_fill_open(gi_huge_pack_t *self);
/* What is held has been so for long enough, and nothing else is under way. */
bool gi_huge_fill_due(const gi_huge_pack_t *self);

/* ---- huge_work.c ---------------------------------------------------------- */
/* Gives the block to the pool; what that does not take is marked here. */
void gi_huge_work_submit(gi_huge_pack_t *self, gi_hslot_t *slot);
/* By the claimer, outside the monitor. */
void gi_huge_work_compress(gi_huge_pack_t *self, gi_hslot_t *slot);
/* Gives up a reference; the last frees it. */
void gi_huge_work_drop(gi_huge_pack_t *self);

#endif
