/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_block.h -- one block of a huge result: where its bytes lie and what came
 * out. Blocks for worker processes lie in memory that those read in place; what
 * they answer is read in place too.
 * Thread: its claimer's (huge_work.c, huge_pack.c). Owns: all that it points to, but the
 * bytes of a source that was kept. */
#ifndef GI_HUGE_BLOCK_H
#define GI_HUGE_BLOCK_H

#include "base/err.h"
#include "huge/codec.h"
#include "huge/gather.h"
#include "jobs/pool.h"

typedef struct gi_huge_block {
    gi_block_t block;
    gi_piece_t piece; /* seq, and the result once it is compressed */
    gate_err_t err;   /* or why not, in words in error */
    gi_error_t error;
    bool flush;              /* a frame ends behind it, whatever its size */
    int64_t ns;              /* what compressing took */
    gi_deflater_t *deflater; /* made when first needed */
    void *out;               /* a result's room, kept from block to block */
    gi_run_t *run;           /* shared memory; NULL: data is own */
    unsigned char *data;     /* GI_BLOCK_ROOM bytes: dictionary, block */
    unsigned char *own;
} gi_huge_block_t;

#define GI_BLOCK_ROOM (GI_DICT_SIZE + GI_BLOCK_SIZE)

void gi_huge_block_fini(gi_huge_block_t *self);
/* Fresh room for its bytes in data; the pool's worker processes can read it
 * (pool NULL, or none left: nobody else can). False: no memory. */
bool gi_huge_block_room(gi_huge_block_t *self, gate_pool_t *pool);
/* Sees to it that worker processes can read the block, where it lies or copied
 * once. False: they cannot. */
bool gi_huge_block_share(gi_huge_block_t *self, gate_pool_t *pool);
/* Compresses it here. */
gate_err_t gi_huge_block_deflate(gi_huge_block_t *self, int level) GATE_MUST;
/* The same by another codec, of which it is the next block. */
gate_err_t gi_huge_block_codec(gi_huge_block_t *self,
                               gi_codec_t *codec) GATE_MUST;
/* Its result is not needed any more. */
void gi_huge_block_done(gi_huge_block_t *self);

#endif
