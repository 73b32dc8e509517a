/* SPDX-License-Identifier: BSD-3-Clause */
/* shared.h -- large bytes to and from worker processes without a copy: built in
 * place by one side, read in place by the other.
 *
 *   gate_shared_t *s = gate_shared_new(pool, 1 << 20);
 *   render(gate_shared_data(s));
 *   gate_future_t *f = gate_submit(pool, job, gate_shared_arg(s));
 *   gate_shared_destroy(&s);              the job keeps what it needs
 *
 * The job reads it as a gate_bytes_t, and cannot write to it. Where nothing is
 * shared (threads, RPC) it is copied as any other bytes.
 * Survives: a worker's death; its memory is given back by this process alone.
 */
#ifndef GATERPC_SHARED_H
#define GATERPC_SHARED_H

#include <gaterpc/pool.h>

GATE_BEGIN_DECLS

/* Memory that the workers of a process pool can read; its content is whatever
 * was there. May outlive the pool. NULL with gate_error() set: GATE_BADARG (not
 * a process pool, size 0), GATE_BUSY (1 GiB of the pool's are in use),
 * GATE_NOMEM. */
GATE_API gate_shared_t *gate_shared_new(gate_pool_t *pool, size_t size);
/* Reused once no job has it any more. */
GATE_API void gate_shared_destroy(gate_shared_t **self_p);
/* Borrows: write it before it is submitted. */
GATE_API void *gate_shared_data(gate_shared_t *self);
/* The whole of it as an argument; for a part of it pass a gate_bytes_t that
 * lies inside. Top-level arguments of jobs of the same pool go without a copy.
 */
GATE_API gate_arg_t gate_shared_arg(gate_shared_t *self);

/* In a job: the result is size bytes, to be written to *data before the job
 * returns; not initialized. Whoever waits reads them where they are
 * (gate_bytes_t, until the future or value is destroyed). GATE_BADARG after
 * yields, GATE_NOMEM. */
GATE_API gate_err_t gate_return_shared(gate_call_t *call, size_t size,
                                       void **data) GATE_MUST;

GATE_END_DECLS

#endif
