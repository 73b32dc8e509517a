/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.h -- takes compressed blocks in any order within a window and gives
 * the one gzip member that they make, in frames.
 * Thread: one at a time. Owns: the pieces it was given.
 * Law: memory is bounded by window pieces and the chunks not taken yet. */
#ifndef GI_GATHER_H
#define GI_GATHER_H

#include "huge/chunk.h"
#include "huge/split.h"

#define GI_GATHER_WINDOW_MAX 256

/* A finished block. */
typedef struct gi_piece {
    uint64_t seq; /* 0, 1, 2, ... */
    void *data;   /* gi_mem memory, unless release says otherwise; taken */
    size_t size;
    uint32_t crc;   /* of the original bytes */
    size_t in_size; /* how many they were */
    bool last;
    void (*release)(void *hint); /* NULL: gi_mem_free(data) */
    void *hint;
} gi_piece_t;

/* Frees its data. */
void gi_piece_drop(gi_piece_t *self);

typedef struct gi_gather {
    gi_chunker_t chunker;
    gi_member_t member;
    gi_piece_t *window; /* ring by seq; data NULL = not there */
    size_t n_window;
    uint64_t next; /* the block to be joined next */
    bool ended;    /* the trailer is in the chunker */
} gi_gather_t;

/* GATE_NOMEM. */
gate_err_t gi_gather_init(gi_gather_t *self, size_t chunk_bytes,
                          size_t window) GATE_MUST;
void gi_gather_fini(gi_gather_t *self);
/* Takes piece->data on GATE_OK. GATE_BADARG: behind, beyond the window, there
 * already, or after the end. */
gate_err_t gi_gather_put(gi_gather_t *self, gi_piece_t *piece) GATE_MUST;
/* The next piece, copied: it stays the caller's. GATE_BADARG: another is. */
gate_err_t gi_gather_add(gi_gather_t *self, const gi_piece_t *piece) GATE_MUST;
/* True: it was the next piece, and its bytes make a frame by themselves, behind
 * all that waits here and in front of what is added later. */
bool gi_gather_pass(gi_gather_t *self, const gi_piece_t *piece);
/* True: *chunk is the next frame, borrowed until the next put. */
bool gi_gather_next(gi_gather_t *self, gate_bytes_t *chunk);
/* Everything has been joined and given. */
bool gi_gather_done(const gi_gather_t *self);
bool gi_gather_valid(const gi_gather_t *self);

#endif
