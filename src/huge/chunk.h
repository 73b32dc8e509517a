/* SPDX-License-Identifier: BSD-3-Clause */
/* chunk.h -- cuts a compressed stream into frames that every peer reads right.
 * Thread: one at a time.
 * Law: no chunk is empty; all but the last few, and those that the caller makes
 * itself and in front of them, are of the size asked for, less one where a trap
 * lies (wire.md 7.2): none is or ends with HugeDataEND, nor
 * does one of the 1000-byte slices that Python's client cuts it into; none
 * equals another of the tags that end a stream. The first holds the gzip header
 * and data. */
#ifndef GI_CHUNK_H
#define GI_CHUNK_H

#include "base/buf.h"

#define GI_CHUNK_SLICE 1000 /* HUGE_DATA_SIZEOF, where Python re-slices */
#define GI_CHUNK_MIN 64     /* smaller sizes are taken as this */

typedef struct gi_chunker {
    gi_buf_t buf;  /* bytes not given yet, from start on */
    size_t start;  /* offset in buf of the first of them */
    size_t target; /* bytes per chunk */
} gi_chunker_t;

void gi_chunker_init(gi_chunker_t *self, size_t chunk_bytes);
void gi_chunker_fini(gi_chunker_t *self);
/* Copies. */
gate_err_t gi_chunker_add(gi_chunker_t *self, const void *data,
                          size_t size) GATE_MUST;
/* True: *chunk is the next frame, borrowed until the next add. all: no more
 * will be added, so that less than a whole one is given too. */
bool gi_chunker_next(gi_chunker_t *self, bool all, gate_bytes_t *chunk);
/* The memory that the chunk lies in (gi_mem_free); NULL: it cannot be had, so
 * copy the chunk. Once after each next. */
void *gi_chunker_take(gi_chunker_t *self);
/* True: these bytes are a good chunk as they are. */
bool gi_chunker_whole(const gi_chunker_t *self, const void *data, size_t size);
/* Bytes waiting. */
size_t gi_chunker_size(const gi_chunker_t *self);

#endif
