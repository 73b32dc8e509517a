/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_huge_split.c -- round trip: whatever is split, compressed out of order,
 * gathered and cut comes back by the receiver.
 * byte 0: engine, stored blocks, window; byte 1: level, chunk size; byte 2: how
 * often the rest is repeated. */
#include "gather.h"
#include "join.h"
#include "mem.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void s_must(bool ok) {
    if (!ok)
        abort();
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
            s_must(gi_join_step(join, &chunk, buf, &n) == GATE_OK);
            s_must(n <= whole.size - done);
            s_must(!n || !memcmp(buf, (const char *)whole.data + done, n));
            done += n;
        } while (chunk.size || n == sizeof buf);
    }
    return done;
}

static void s_roundtrip(gate_bytes_t whole, const uint8_t *how) {
    gi_engine_t engine = how[0] & 1 ? GI_ENGINE_ZLIB : GI_ENGINE_AUTO;
    size_t window = 1 + (how[0] >> 2) % 8, chunk = 64 + (how[1] >> 3) * 4096u;
    gi_gather_t gather;
    gi_join_t *join;
    gi_join_options_t options = {NULL, whole.size, 0, 0};
    uint64_t n = gi_block_count(whole.size);
    size_t done = 0;
    s_must(gi_gather_init(&gather, chunk, window) == GATE_OK);
    s_must(gi_join_new(&options, &join) == GATE_OK);
    while (gather.next < n) { /* a window at a time, its last block first */
        uint64_t from = gather.next;
        uint64_t stop = n - from < window ? n : from + window;
        for (uint64_t seq = stop; seq-- > from;) {
            gi_block_t block =
                gi_block_at(whole, seq * GI_BLOCK_SIZE, how[0] & 32);
            block.store = (how[0] & 2) && seq % 2;
            gi_piece_t piece = {
                .seq = seq,
                .in_size = block.in.size,
                .last = block.last,
                .data = gi_mem_alloc(gi_block_bound(block.in.size))};
            s_must(gi_gzip_block(engine, how[1] % 8, &block, piece.data,
                                 &piece.size, &piece.crc) == GATE_OK);
            s_must(piece.size <= gi_block_bound(block.in.size));
            s_must(gi_gather_put(&gather, &piece) == GATE_OK);
        }
        done = s_pump(&gather, join, whole, done);
    }
    s_must(gi_gather_done(&gather) && done == whole.size);
    size_t none = 1;
    char byte;
    s_must(gi_join_end(join, &byte, &none) == GATE_EOS && !none);
    gi_join_destroy(&join);
    gi_gather_fini(&gather);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    size_t part = size - 3, times = 1 + data[2] * (size_t)4;
    if (part * times > 1 << 20)
        times = 1 + (1 << 20) / part;
    unsigned char *whole = malloc(part * times + 1);
    for (size_t i = 0; whole && i < times; i++) {
        memcpy(whole + i * part, data + 3, part);
        if (part)
            whole[i * part] ^= (unsigned char)i;
    }
    if (whole)
        s_roundtrip((gate_bytes_t){whole, part * times}, data);
    free(whole);
    return 0;
}
