/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.h -- a bounded queue in shared memory between a handler and a job in a
 * worker process, while the job runs. One producer and one consumer, each end
 * claimed by the process that first uses it so; for fan-in and fan-out use
 * several. The death of either end is an error at the other, never a hang. */
#ifndef GATERPC_QUEUE_H
#define GATERPC_QUEUE_H

#include <gaterpc/value.h>

GATE_BEGIN_DECLS

/* Room for n_items items and size_bytes of packed items in all. NULL with
 * gate_error() set when the memory cannot be had. */
GATE_API gate_queue_t *gate_queue_new(gate_runtime_t *rt, size_t n_items,
                                      size_t size_bytes);
/* Lets go of it; the last one that had it in a process closes its end. */
GATE_API void gate_queue_destroy(gate_queue_t **self_p);
/* Waits up to timeout_ms (0: not, -1: for ever) for room. GATE_BUSY none,
 * GATE_CLOSED closed, GATE_WORKERLOST the other end died, GATE_TOOBIG an item
 * larger than the queue. */
GATE_API gate_err_t gate_queue_put_(gate_queue_t *self, gate_arg_t item,
                                    int64_t timeout_ms) GATE_MUST;
/* Waits up to timeout_ms for an item, then GATE_TIMEOUT. What was put before a
 * close or a death is still delivered; then GATE_EOS after a close,
 * GATE_WORKERLOST after a death. GATE_CLOSED when we closed our own end before
 * the producer did. Strings live until the next get. */
GATE_API gate_err_t gate_queue_get_(gate_queue_t *self, gate_slot_t to,
                                    int64_t timeout_ms) GATE_MUST;
/* Says that no more will be put, or, at the consumer, that none will be taken.
 */
GATE_API void gate_queue_close(gate_queue_t *self);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_queue_put(q, item, 1000) */
#define gate_queue_put(q, x, ms) gate_queue_put_(q, GATE_ARG(x), ms)
/* gate_queue_get(q, &item, 1000) */
#define gate_queue_get(q, p, ms) gate_queue_get_(q, GATE_SLOT(p), ms)
#endif

#endif
