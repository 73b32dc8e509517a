/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.h -- the reading end of a streamed answer, or of a pool's map: items
 * in order, none lost, nil is an item. Thread: one reader at a time.
 * Destroying it early stops the producer. */
#ifndef GATERPC_STREAM_H
#define GATERPC_STREAM_H

#include <gaterpc/value.h>

GATE_BEGIN_DECLS

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
/* After GATE_OK: which input of a map the item answers; else items before it. */
GATE_API size_t gate_stream_index(const gate_stream_t *self);
/* True when the answer was one plain result, given as the only item. Known
 * after the first next. */
GATE_API bool gate_stream_single(const gate_stream_t *self);
GATE_API const gate_error_t *gate_stream_error(const gate_stream_t *self);

GATE_END_DECLS

#ifndef __cplusplus
#define gate_stream_next(s, p) gate_stream_next_(s, GATE_SLOT(p))
#define gate_stream_try(s, p) gate_stream_try_(s, GATE_SLOT(p))
#endif

#endif
