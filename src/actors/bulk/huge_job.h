/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_job.h -- one block of a huge result as a job of a worker process:
 * (block, dictionary, level, last) -> CRC-32, nanoseconds, bytes.
 * Thread: any. */
#ifndef GI_HUGE_JOB_H
#define GI_HUGE_JOB_H

#include "bulk/huge_block.h"

/* Submits a block that is shared; ticket and sink as gi_pool_submit's. */
gate_err_t gi_huge_job_submit(gate_pool_t *pool, const gi_huge_block_t *block,
                              int level, const gi_sink_t *sink, void *ctx,
                              gi_ticket_t *ticket) GATE_MUST;
/* Reads its packed result: copies it. GATE_BADDATA, GATE_NOMEM. */
gate_err_t gi_huge_job_result(gi_huge_block_t *block, const void *packed,
                              size_t size) GATE_MUST;
/* The same where it lies. Takes run. */
gate_err_t gi_huge_job_lent(gi_huge_block_t *block, gi_run_t *run) GATE_MUST;

#endif
