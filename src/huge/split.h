/* SPDX-License-Identifier: BSD-3-Clause */
/* split.h -- one gzip member out of blocks that are compressed apart from each
 * other, in any order, anywhere (wire.md 7.1: the only parallel shape that
 * Python's client takes).
 *
 *   header(10, flags 0) block block ... final block  crc32  isize
 *
 * A block is raw deflate that starts and ends on a byte; it may look back into
 * the 32 KiB of original data before it. A block that does not shrink is
 * stored. The last has deflate's final bit.
 * Thread: a deflater is one thread's at a time. Law: the bytes depend on the
 * blocks, engine and level alone, never on who compressed them or when. */
#ifndef GI_SPLIT_H
#define GI_SPLIT_H

#include <gaterpc/error.h>

#define GI_BLOCK_SIZE ((size_t)128 << 10)
#define GI_DICT_SIZE ((size_t)32 << 10)
#define GI_GZIP_HEAD_SIZE 10
#define GI_GZIP_TAIL_SIZE 8
/* A final block without data: ends a member whose last block was not final. */
#define GI_GZIP_EMPTY_FINAL "\x03\x00"
#define GI_GZIP_EMPTY_FINAL_SIZE 2

typedef enum gi_engine {
    GI_ENGINE_AUTO, /* ISA-L for levels 1..3 where it is built in, else zlib */
    GI_ENGINE_ZLIB,
    GI_ENGINE_ISAL
} gi_engine_t;
bool gi_engine_has(gi_engine_t engine);

typedef struct gi_block {
    gate_bytes_t in; /* at most GI_BLOCK_SIZE */
    gate_bytes_t
        dict; /* the data before it, at most GI_DICT_SIZE; may be empty */
    bool last;
    bool store; /* do not try to compress */
} gi_block_t;

/* Scratch memory for one block at a time, reused from block to block. */
typedef struct gi_deflater gi_deflater_t;
/* level 0 = 1. NULL only for lack of memory; an engine that is not built in
 * is zlib. */
gi_deflater_t *gi_deflater_new(gi_engine_t engine, int level);
void gi_deflater_destroy(gi_deflater_t **self_p);
/* Room that any block of size bytes fits into. */
size_t gi_block_bound(size_t size);
/* Writes the block to out (gi_block_bound bytes of room), its length and the
 * CRC-32 of its input. GATE_NOMEM. */
gate_err_t gi_deflater_block(gi_deflater_t *self, const gi_block_t *block,
                             void *out, size_t *out_size,
                             uint32_t *crc) GATE_MUST;
/* The same with scratch memory of its own. */
gate_err_t gi_gzip_block(gi_engine_t engine, int level, const gi_block_t *block,
                         void *out, size_t *out_size, uint32_t *crc) GATE_MUST;
/* Whether blocks look back at this level. At level 1, where speed is asked for,
 * a dictionary costs 13 % of it for 1.5 % of json's ratio (bench/huge.c). */
bool gi_block_primed(int level);
/* The block at offset of a whole buffer, with a dictionary if primed. */
gi_block_t gi_block_at(gate_bytes_t whole, size_t offset, bool primed);
/* How many blocks a buffer makes: at least one. */
size_t gi_block_count(size_t size);

/* CRC and length of a member while its blocks come by in order. */
typedef struct gi_member {
    uint32_t crc;
    uint64_t size; /* original bytes so far */
} gi_member_t;
extern const unsigned char gi_gzip_head[GI_GZIP_HEAD_SIZE];
void gi_member_add(gi_member_t *self, uint32_t crc, size_t size);
void gi_member_tail(const gi_member_t *self,
                    unsigned char out[GI_GZIP_TAIL_SIZE]);
/* CRC-32 by the quickest means there is. */
uint32_t gi_crc32(uint32_t crc, const void *data, size_t size);

#endif
