/* SPDX-License-Identifier: BSD-3-Clause */
/* split.c -- blocks of raw deflate that can be put one behind the other. A
 * block ends with a sync flush, which leaves the stream on a byte's border; a
 * stored one does so by itself, and needs no dictionary. */
#include "huge/split.h"
#include "base/err.h"
#include "huge/isal.h"
#include "base/mem.h"
#include <string.h>
#include <zlib.h>
#include "huge/zmem.h"

#define S_STORED_MAX ((size_t)65535) /* in one stored block of deflate */
#define S_STORED_HEAD ((size_t)5)

struct gi_deflater {
    void *isal; /* ISA-L's state; NULL = zlib is used */
    z_stream zlib;
    bool has_zlib; /* zlib is initialised */
};

/* deflate, no flags, no time, fastest, Unix: what Python's header reader
 * skips right (wire.md 7.1). */
const unsigned char gi_gzip_head[GI_GZIP_HEAD_SIZE] = {0x1f, 0x8b, 8, 0, 0,
                                                       0,    0,    0, 0, 3};

bool gi_engine_has(gi_engine_t engine) {
    return engine != GI_ENGINE_ISAL || GI_ISAL_BUILT;
}

static bool s_use_isal(gi_engine_t engine, int level) {
    if (!GI_ISAL_BUILT || engine == GI_ENGINE_ZLIB)
        return false;
    return engine == GI_ENGINE_ISAL || level <= 3;
}

/* ---- zlib ---------------------------------------------------------------- */
static bool s_zlib_init(gi_deflater_t *self, int level) {
    gi_zmem_use(&self->zlib);
    self->has_zlib =
        deflateInit2(&self->zlib, level > 9 ? 9 : level, Z_DEFLATED, -15, 8,
                     Z_DEFAULT_STRATEGY) == Z_OK;
    return self->has_zlib;
}

/* False: the block does not fit into *out_size. */
static bool s_zlib_block(z_stream *z, const gi_block_t *block, void *out,
                         size_t *out_size) {
    (void)deflateReset(z);
    if (block->dict.size)
        (void)deflateSetDictionary(z, block->dict.data, (uInt)block->dict.size);
    z->next_in = (Bytef *)(uintptr_t)block->in.data;
    z->avail_in = (uInt)block->in.size;
    z->next_out = out;
    z->avail_out = (uInt)*out_size;
    int rc = deflate(z, block->last ? Z_FINISH : Z_SYNC_FLUSH);
    *out_size -= z->avail_out;
    return block->last ? rc == Z_STREAM_END : rc == Z_OK && z->avail_out;
}

/* ---- one block ----------------------------------------------------------- */
gi_deflater_t *gi_deflater_new(gi_engine_t engine, int level) {
    gi_deflater_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    int l = level > 0 ? level : 1;
    if (s_use_isal(engine, l))
        self->isal = gi_isal_deflate_new(l);
    else if (s_zlib_init(self, l))
        return self;
    if (self->isal)
        return self;
    gi_mem_free(self);
    return NULL;
}

void gi_deflater_destroy(gi_deflater_t **self_p) {
    gi_deflater_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    if (self->has_zlib)
        (void)deflateEnd(&self->zlib);
    gi_isal_free(self->isal);
    gi_mem_free(self);
}

size_t gi_block_bound(size_t size) {
    size_t n = size ? (size + S_STORED_MAX - 1) / S_STORED_MAX : 1;
    return size + n * S_STORED_HEAD;
}

static size_t s_store(const gi_block_t *block, unsigned char *out) {
    const unsigned char *in = block->in.data;
    size_t left = block->in.size;
    unsigned char *to = out;
    do {
        size_t n = left < S_STORED_MAX ? left : S_STORED_MAX;
        left -= n;
        to[0] = block->last && !left; /* the final bit; type 0 = stored */
        to[1] = (unsigned char)n;
        to[2] = (unsigned char)(n >> 8);
        to[3] = (unsigned char)~to[1];
        to[4] = (unsigned char)~to[2];
        if (n)
            memcpy(to + S_STORED_HEAD, in, n);
        to += S_STORED_HEAD + n;
        in += n;
    } while (left);
    return (size_t)(to - out);
}

static bool s_deflate(gi_deflater_t *self, const gi_block_t *block, void *out,
                      size_t *out_size) {
    return self->isal ? gi_isal_deflate(self->isal, block, out, out_size)
                      : s_zlib_block(&self->zlib, block, out, out_size);
}

gate_err_t gi_deflater_block(gi_deflater_t *self, const gi_block_t *block,
                             void *out, size_t *out_size, uint32_t *crc) {
    size_t stored = gi_block_bound(block->in.size), size = stored;
    *crc = gi_crc32(0, block->in.data, block->in.size);
    if (!block->in.size) { /* nothing, or what ends the stream */
        size = block->last ? GI_GZIP_EMPTY_FINAL_SIZE : 0;
        memcpy(out, GI_GZIP_EMPTY_FINAL, size);
    } else if (block->store || !s_deflate(self, block, out, &size) ||
               size >= stored) {
        size = s_store(block, out);
    }
    *out_size = size;
    return GATE_OK;
}

gate_err_t gi_gzip_block(gi_engine_t engine, int level, const gi_block_t *block,
                         void *out, size_t *out_size, uint32_t *crc) {
    gi_deflater_t *deflater = gi_deflater_new(engine, level);
    if (!deflater)
        return gi_err(GATE_NOMEM, "compressing a block");
    gate_err_t e = gi_deflater_block(deflater, block, out, out_size, crc);
    gi_deflater_destroy(&deflater);
    return e;
}

/* ---- the member ---------------------------------------------------------- */
bool gi_block_primed(int level) { return level > 1; }

gi_block_t gi_block_at(gate_bytes_t whole, size_t offset, bool primed) {
    const char *data = whole.data;
    size_t left = whole.size - offset;
    size_t dict = offset < GI_DICT_SIZE ? offset : GI_DICT_SIZE;
    dict = primed ? dict : 0;
    gi_block_t block = {.last = left <= GI_BLOCK_SIZE};
    block.in.data = offset ? data + offset : data;
    block.in.size = block.last ? left : GI_BLOCK_SIZE;
    block.dict.data = dict ? data + offset - dict : data;
    block.dict.size = dict;
    return block;
}

size_t gi_block_count(size_t size) {
    return size ? (size + GI_BLOCK_SIZE - 1) / GI_BLOCK_SIZE : 1;
}

void gi_member_add(gi_member_t *self, uint32_t crc, size_t size) {
    self->crc = (uint32_t)crc32_combine(self->crc, crc, (z_off_t)size);
    self->size += size;
}

static void s_put_le32(unsigned char *out, uint32_t v) {
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(v >> (8 * i));
}

void gi_member_tail(const gi_member_t *self,
                    unsigned char out[GI_GZIP_TAIL_SIZE]) {
    s_put_le32(out, self->crc);
    s_put_le32(out + 4, (uint32_t)self->size);
}

uint32_t gi_crc32(uint32_t crc, const void *data, size_t size) {
    if (!size)
        return crc;
    if (GI_ISAL_BUILT)
        return gi_isal_crc32(crc, data, size);
    return (uint32_t)crc32_z(crc, data, size);
}
