/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_job.h -- one block of a huge result as a job of a worker process:
 * (block, dictionary, level, last) -> CRC-32, nanoseconds, bytes.
 * Thread: any. */
#ifndef GI_HUGE_JOB_H
#define GI_HUGE_JOB_H

#include "gather.h"
#include "pool.h"

/* Submits it; ticket and sink as gi_pool_submit's. Copies the block. */
gate_err_t gi_huge_job_submit(gate_pool_t *pool, const gi_block_t *block,
                              int level, const gi_sink_t *sink, void *ctx,
                              gi_ticket_t *ticket) GATE_MUST;
/* Reads its packed result: data, size and crc of piece (gi_mem memory), and how
 * long it took. GATE_BADDATA, GATE_NOMEM. */
gate_err_t gi_huge_job_result(const void *packed, size_t size,
                              gi_piece_t *piece, int64_t *ns) GATE_MUST;

#endif
