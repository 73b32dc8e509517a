/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.h -- the reading end of a streamed answer, or of a pool's map: items
 * in order, none lost, nil is an item. Thread: one reader at a time.
 * Destroying it early stops the producer. */
#ifndef GATERPC_STREAM_H
#define GATERPC_STREAM_H

#include <gaterpc/value.h>

GATE_BEGIN_DECLS

/* Frees; a producer that is not done is told to stop. */
GATE_API void gate_stream_destroy(gate_stream_t **self_p);
/* Waits for the next item, at most the stream's timeout (reply_timeout, or
 * gate_timeout_ms of the call), each item anew. GATE_OK an item, GATE_EOS the
 * end, else the producer's error or GATE_TIMEOUT. Strings stored by it live
 * until the next call on the stream. */
GATE_API gate_err_t gate_stream_next_(gate_stream_t *self,
                                      gate_slot_t out) GATE_MUST;
/* The same without waiting: GATE_BUSY when nothing is there yet. */
GATE_API gate_err_t gate_stream_try_(gate_stream_t *self,
                                     gate_slot_t out) GATE_MUST;
/* Borrows: readable while an item, the end or an error waits. Made on first
 * use; -1 when no descriptor can be had. */
GATE_API int gate_stream_fd(gate_stream_t *self);
/* After GATE_OK: which input of a map the item answers; else items before it.
 */
GATE_API size_t gate_stream_index(const gate_stream_t *self);
/* True when the answer was one plain result, given as the only item. Known
 * after the first next. */
GATE_API bool gate_stream_single(const gate_stream_t *self);
/* ---- an answer as bytes, however large -------------------------------------
 * Of a str or bin its content, of any other value its msgpack bytes; without
 * the cap huge_max_bytes, which holds for gate_stream_next. Use one or the
 * other; a read with a room of 0, to see what comes, leaves both open. */
/* Gives the next bytes: *size in: room, out: how many. Waits as next does.
 * GATE_EOS: all of them came and were checked; GATE_BADARG: it is a stream of
 * items; else the error, also after bytes (GATE_BADDATA: they are not to be
 * trusted). A room of 0 waits until it is known what comes. */
GATE_API gate_err_t gate_stream_read(gate_stream_t *self, void *buf,
                                     size_t *size) GATE_MUST;
/* Gets the next bytes, borrowed; its error ends the reading. */
typedef gate_err_t gate_piece_fn(void *ctx, const void *data, size_t size);
/* All of them to fn, whose error ends it and is returned. GATE_OK at the end.
 */
GATE_API gate_err_t gate_stream_to_fn(gate_stream_t *self, gate_piece_fn *fn,
                                      void *ctx) GATE_MUST;
/* All of them to a descriptor; GATE_SYSTEM when it does not take them. */
GATE_API gate_err_t gate_stream_to_fd(gate_stream_t *self, int fd) GATE_MUST;

/* What an answer turned out to be. */
typedef enum gate_stream_kind {
    GATE_STREAM_UNKNOWN, /* nothing came yet */
    GATE_STREAM_ITEMS,
    GATE_STREAM_PLAIN, /* one plain result */
    GATE_STREAM_HUGE   /* one huge result, in chunks */
} gate_stream_kind_t;
/* How far the reading of an answer has come. */
typedef struct gate_progress {
    gate_stream_kind_t kind;
    bool content;   /* of a str or bin; known after the first read */
    uint64_t done;  /* bytes that read has given */
    uint64_t total; /* of all; UINT64_MAX = not known (yet) */
    uint64_t wire;  /* bytes that came, compressed */
} gate_progress_t;
/* Waits for nothing. */
GATE_API void gate_stream_progress(const gate_stream_t *self,
                                   gate_progress_t *out);
/* Borrows until the next call on the stream: why it ended, or, after
 * GATE_TIMEOUT, what was waited for in vain; else code GATE_OK. */
GATE_API const gate_error_t *gate_stream_error(const gate_stream_t *self);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_stream_next(s, &item) */
#define gate_stream_next(s, p) gate_stream_next_(s, GATE_SLOT(p))
/* gate_stream_try(s, &item) */
#define gate_stream_try(s, p) gate_stream_try_(s, GATE_SLOT(p))
#endif

#endif
