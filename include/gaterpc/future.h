/* SPDX-License-Identifier: BSD-3-Clause */
/* future.h -- one answer that will come, and the queue that collects many.
 * A future is never NULL: it carries its own failure. */
#ifndef GATERPC_FUTURE_H
#define GATERPC_FUTURE_H

#include <gaterpc/value.h>

GATE_BEGIN_DECLS

/* Forgets: the work goes on, its answer is dropped. */
GATE_API void gate_future_destroy(gate_future_t **self_p);
/* Waits up to timeout_ms (-1: until the call's own deadline decides) and stores
 * the result. GATE_TIMEOUT leaves the future usable; any other error is the
 * call's. May be called again. GATE_WOULDBLOCK on an actor's thread. Strings
 * stored by it live as long as the future. */
GATE_API gate_err_t gate_future_wait_(gate_future_t *self, int64_t timeout_ms,
                                      gate_slot_t out) GATE_MUST;
/* True when a wait would not wait. */
GATE_API bool gate_future_ready(const gate_future_t *self);
/* Asks for the work to stop; the future ends with GATE_CANCELLED unless its
 * answer was already there. */
GATE_API void gate_future_cancel(gate_future_t *self);
/* The failure's story, or code GATE_OK. Valid as long as the future. */
GATE_API const gate_error_t *gate_future_error(const gate_future_t *self);

/* value is NULL on failure; gate_error() then tells the story. */
typedef void gate_done_fn(void *ctx, gate_err_t e, const gate_value_t *value);
/* Takes the future; done runs once, inside gate_cq_dispatch on the thread that
 * calls it, or with cq NULL on the thread that completes (it must not block),
 * at once if the answer is there. */
GATE_API void gate_future_then(gate_future_t **self_p, gate_cq_t *cq,
                               gate_done_fn *done, void *ctx);

/* ---- completion queue ---------------------------------------------------- */
/* NULL only for lack of memory or descriptors. */
GATE_API gate_cq_t *gate_cq_new(void);
/* Completions not dispatched are dropped with their values; futures still
 * under way may complete into it later without harm. */
GATE_API void gate_cq_destroy(gate_cq_t **self_p);
/* Borrows: readable while completions wait (an eventfd; only poll it). */
GATE_API int gate_cq_fd(const gate_cq_t *self);
/* Runs up to max callbacks here; never blocks; returns how many ran. */
GATE_API size_t gate_cq_dispatch(gate_cq_t *self, size_t max);
/* Waits up to timeout_ms (-1: for ever) for a completion, then dispatches. 0 at
 * once, with gate_error() set: GATE_WOULDBLOCK on an actor's thread; GATE_CLOSED
 * in a child of fork(), as of the other verbs, when the parent made it: what it
 * has under way ends there alone. */
GATE_API size_t gate_cq_wait(gate_cq_t *self, size_t max, int64_t timeout_ms);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_future_wait(f, 500, &result), NULL for a result that is not wanted */
#define gate_future_wait(f, ms, p) gate_future_wait_(f, ms, GATE_SLOT(p))
#endif

#endif
