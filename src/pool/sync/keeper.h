/* SPDX-License-Identifier: BSD-3-Clause */
/* keeper.h -- a thread that calls one function: at the times that the function
 * asks for, and whenever somebody pokes it. For work that may block, which an
 * actor's thread must not.
 * Thread: poke from any; the rest by one. Blocks: destroy, until the function
 * has returned. */
#ifndef GI_KEEPER_H
#define GI_KEEPER_H

#include <gaterpc/error.h>
#include <stdint.h>

typedef struct gi_keeper gi_keeper_t;
/* Returns when to be called again, by the monotonic clock; INT64_MAX: only when
 * poked. */
typedef int64_t gi_keeper_fn(void *ctx, int64_t now_ms);

/* Calls it for the first time at once, inside of ctx (gi_thread_is_in).
 * GATE_NOMEM; GATE_SYSTEM: no thread. */
gate_err_t gi_keeper_new(const char *name, gi_keeper_fn *fn, void *ctx,
                         gi_keeper_t **out) GATE_MUST;
void gi_keeper_poke(gi_keeper_t *self);
/* Waits for the function, ends the thread, frees. Not from the function. */
void gi_keeper_destroy(gi_keeper_t **self_p);

#endif
