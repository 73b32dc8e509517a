/* SPDX-License-Identifier: BSD-3-Clause */
/* procs.h (private) -- the zygote and the shared-memory queues that jobs get.
 * The pool itself is gi_pool_procs in pool.h. */
#ifndef GI_PROCS_H
#define GI_PROCS_H

#include <gaterpc/queue.h>
#include "pool.h"

/* True once gate_process_init() has succeeded (or a fork was allowed). */
bool gi_zygote_alive(void);

/* The maker behind gate_queue_new. NULL with gate_error() set. */
gate_queue_t *gi_queue_new(const gi_pool_base_t *base, size_t n_items,
                           size_t size_bytes);
/* A queue as an argument: packs a reference (msgpack ext type GI_EXT_QUEUE, the
 * index among the request's queues). */
#define GI_EXT_QUEUE 0x51
/* The same for bytes in the pool's inbox. */
#define GI_EXT_RUN 0x52
/* The maker behind gate_shared_new. */
gate_err_t gi_procs_take(gate_pool_t *pool, size_t size,
                         gi_run_t **out) GATE_MUST;
/* Cheap: whether an address may be in gi_procs_run. */
bool gi_procs_in_inbox(gate_pool_t *pool, const void *data);
/* The run of this process pool that the bytes lie in, shared; NULL: none. */
gi_run_t *gi_procs_run(gate_pool_t *pool, const void *data, size_t size);
/* Collects the queues among args in order; at most max; returns how many. */
size_t gi_queue_collect(const gate_arg_t *args, size_t n, gate_queue_t **out,
                        size_t max);
gate_err_t gi_queue_pack_ref(gi_buf_t *out, size_t index) GATE_MUST;

#endif
