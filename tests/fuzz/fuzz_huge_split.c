/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_huge_split.c -- round trip: whatever is split, compressed out of order,
 * gathered and cut comes back by the receiver.
 * byte 0: engine, stored blocks, window; byte 1: level, chunk size; byte 2: how
 * often the rest is repeated; byte 3: block size (gather and receiver know
 * none), so that a few KiB are many blocks. Bytes 2 and 3 all ones: a block
 * that is more than one stored block of deflate. */
#include "big.h"
#include "huge/gather.h"
#include "huge/join.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "input.h"

enum { S_HEAD = 4, S_WHOLE_MAX = 4096, S_BLOCKS_MAX = 32 };
enum { S_TALL_BLOCK = 66000, S_TALL_WHOLE = 66100 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool s_tall(const uint8_t *how) {
    return how[2] == 255 && how[3] == 255;
}

/* Feeds every frame there is to the receiver; compares what comes out. */
static size_t s_pump(gi_gather_t *gather, gi_join_t *join, gate_bytes_t whole,
                     size_t done) {
    static char buf[50000];
    gate_bytes_t chunk;
    while (gi_gather_next(gather, &chunk)) {
        size_t n;
        do {
            n = sizeof buf;
            fuzz_must(gi_join_step(join, &chunk, buf, &n) == GATE_OK);
            fuzz_must(n <= whole.size - done);
            fuzz_must(!n || !memcmp(buf, (const char *)whole.data + done, n));
            done += n;
        } while (chunk.size || n == sizeof buf);
    }
    return done;
}

/* As gi_block_at, with blocks of any size. */
static gi_block_t s_block(gate_bytes_t whole, size_t offset, size_t size,
                          bool primed) {
    size_t left = whole.size - offset;
    size_t dict = offset < GI_DICT_SIZE ? offset : GI_DICT_SIZE;
    const char *data = whole.data;
    if (!primed)
        dict = 0;
    return (gi_block_t){.in = {data + offset, left < size ? left : size},
                        .dict = {data + offset - dict, dict},
                        .last = left <= size};
}

/* One for each kind, from block to block and input to input. */
static gi_deflater_t *s_deflater(const uint8_t *how) {
    static gi_deflater_t *all[2][10];
    unsigned level = how[1] % 8 + (how[0] >> 6); /* 0..10 */
    gi_deflater_t **one = &all[how[0] & 1][level > 9 ? 9 : level];
    if (!*one)
        *one = gi_deflater_new(how[0] & 1 ? GI_ENGINE_ZLIB : GI_ENGINE_AUTO,
                               (int)level);
    fuzz_must(*one);
    return *one;
}

static gi_piece_t s_piece(gate_bytes_t whole, const uint8_t *how, uint64_t seq,
                          size_t size) {
    gi_block_t block = s_block(whole, seq * size, size, how[0] & 32);
    gi_piece_t piece = {.seq = seq,
                        .in_size = block.in.size,
                        .last = block.last,
                        .data = gi_mem_alloc(gi_block_bound(block.in.size))};
    block.store = s_tall(how) || ((how[0] & 2) && seq % 2);
    fuzz_must(gi_deflater_block(s_deflater(how), &block, piece.data,
                                &piece.size, &piece.crc) == GATE_OK);
    fuzz_must(piece.size <= gi_block_bound(block.in.size));
    return piece;
}

static void s_roundtrip(gate_bytes_t whole, const uint8_t *how, size_t size) {
    size_t window = 1 + (how[0] >> 2) % 8, chunk = 64 + (how[1] >> 3) * 97u;
    if (s_tall(how))
        chunk *= 40;
    gi_gather_t gather;
    gi_join_t *join;
    gi_join_options_t options = {NULL, whole.size, 0, 0};
    uint64_t n = whole.size ? (whole.size + size - 1) / size : 1;
    size_t done = 0;
    fuzz_must(gi_gather_init(&gather, chunk, window) == GATE_OK);
    fuzz_must(gi_join_new(&options, &join) == GATE_OK);
    while (gather.next < n) { /* a window at a time, its last block first */
        uint64_t from = gather.next;
        uint64_t stop = n - from < window ? n : from + window;
        for (uint64_t seq = stop; seq-- > from;) {
            gi_piece_t piece = s_piece(whole, how, seq, size);
            fuzz_must(gi_gather_put(&gather, &piece) == GATE_OK);
        }
        done = s_pump(&gather, join, whole, done);
    }
    fuzz_must(gi_gather_done(&gather) && done == whole.size);
    size_t none = 1;
    char byte;
    fuzz_must(gi_join_end(join, &byte, &none) == GATE_EOS && !none);
    gi_join_destroy(&join);
    gi_gather_fini(&gather);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < S_HEAD)
        return 0;
    bool tall = s_tall(data);
    size_t part = size - S_HEAD, times = 1 + data[2];
    size_t limit = tall ? S_TALL_WHOLE : S_WHOLE_MAX;
    if (part && (tall || part * times > limit))
        times = limit / part + 1;
    unsigned char *whole = gi_mem_alloc(part * times);
    for (size_t i = 0; whole && i < times; i++) {
        memcpy(whole + i * part, data + S_HEAD, part);
        if (part)
            whole[i * part] ^= (unsigned char)i;
    }
    size_t block = tall ? S_TALL_BLOCK : 1 + (size_t)data[3] * 32;
    if (block < part * times / S_BLOCKS_MAX)
        block = part * times / S_BLOCKS_MAX + 1;
    if (whole)
        s_roundtrip((gate_bytes_t){whole, part * times}, data, block);
    gi_mem_free(whole);
    return 0;
}
