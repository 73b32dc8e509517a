/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_block.c -- a block's memory, and compressing it. */
#include "bulk/huge_block.h"
#include <string.h>
#include "base/buf.h"
#include "base/mem.h"

void gi_huge_block_done(gi_huge_block_t *self) {
    if (self->piece.data == self->out)
        self->piece.data = NULL;
    gi_piece_drop(&self->piece);
}

static void s_unshare(gi_huge_block_t *self) {
    if (self->run)
        gi_run_release(self->run);
    self->run = NULL;
}

void gi_huge_block_fini(gi_huge_block_t *self) {
    gi_huge_block_done(self);
    s_unshare(self);
    gi_mem_free(self->own);
    gi_mem_free(self->out);
    gi_deflater_destroy(&self->deflater);
    gi_error_fini(&self->error);
}

/* ---- where its bytes lie --------------------------------------------------*/
bool gi_huge_block_room(gi_huge_block_t *self, gate_pool_t *pool) {
    s_unshare(self); /* a late job has its own share */
    if (pool && gi_pool_take(pool, GI_BLOCK_ROOM, &self->run) == GATE_OK) {
        self->data = gi_run_data(self->run);
        return true;
    }
    self->run = NULL;
    if (!self->own)
        self->own = gi_mem_alloc(GI_BLOCK_ROOM);
    self->data = self->own;
    return self->own != NULL;
}

/* The bytes from the dictionary's first on. */
static gate_bytes_t s_whole(const gi_block_t *block) {
    if (!block->dict.size)
        return block->in;
    return (gate_bytes_t){block->dict.data, block->dict.size + block->in.size};
}

bool gi_huge_block_share(gi_huge_block_t *self, gate_pool_t *pool) {
    gi_block_t *block = &self->block;
    gate_bytes_t whole = s_whole(block);
    if (self->run && block->in.data == self->data + GI_DICT_SIZE)
        return true; /* it was fed into it */
    s_unshare(self);
    self->run = gi_pool_run_of(pool, whole.data, whole.size);
    if (self->run)
        return true; /* its maker built it there */
    if (!gi_huge_block_room(self, pool) || !self->run)
        return false;
    block->in.data = self->data + GI_DICT_SIZE;
    block->dict.data = self->data + GI_DICT_SIZE - block->dict.size;
    memcpy(self->data + GI_DICT_SIZE - block->dict.size, whole.data,
           whole.size);
    return true;
}

/* ---- compressing ----------------------------------------------------------*/
gate_err_t gi_huge_block_deflate(gi_huge_block_t *self, int level) {
    gi_piece_t *piece = &self->piece;
    gi_huge_block_done(self); /* of an attempt that failed */
    if (!self->out)
        self->out = gi_mem_alloc(gi_block_bound(GI_BLOCK_SIZE));
    if (!self->deflater)
        self->deflater = gi_deflater_new(GI_ENGINE_AUTO, level);
    if (!self->out || !self->deflater)
        return gi_err(GATE_NOMEM, "no memory for a block");
    piece->data = self->out;
    return gi_deflater_block(self->deflater, &self->block, piece->data,
                             &piece->size, &piece->crc);
}

/* A step, or a flush, into out; *filled: it has more to say. */
static gate_err_t s_codec_turn(gi_codec_t *codec, gate_bytes_t *in, bool last,
                               bool flush, gi_buf_t *out, bool *filled) {
    if (!gi_buf_reserve(out, GI_BLOCK_SIZE))
        return gi_err(GATE_NOMEM, "no memory for a block");
    size_t room = out->room - out->size, n = room;
    gate_err_t e =
        flush ? gi_codec_flush(codec, out->data + out->size, &n)
              : gi_codec_step(codec, in, out->data + out->size, &n, last);
    out->size += n;
    *filled = n == room;
    return e;
}

gate_err_t gi_huge_block_codec(gi_huge_block_t *self, gi_codec_t *codec) {
    gi_buf_t out = {0};
    gate_bytes_t in = self->block.in;
    bool last = self->block.last, filled = false;
    gate_err_t e = GATE_OK;
    gi_huge_block_done(self);
    while (e == GATE_OK && (in.size || filled || last))
        e = s_codec_turn(codec, &in, last, false, &out, &filled);
    filled = self->flush;
    while (e == GATE_OK && filled)
        e = s_codec_turn(codec, &in, last, true, &out, &filled);
    self->piece.data = gi_buf_take(&out, &self->piece.size);
    return e == GATE_EOS ? GATE_OK : e;
}
