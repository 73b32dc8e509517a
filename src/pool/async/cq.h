/* SPDX-License-Identifier: BSD-3-Clause */
/* cq.h -- between futures and completion queues; room-internal. A queue lives
 * until its user has destroyed it and no future refers to it any more. */
#ifndef GI_CQ_H
#define GI_CQ_H

#include <gaterpc/future.h>

/* For a future that will be pushed; gi_cq_push gives the reference up. */
void gi_cq_share(gate_cq_t *self);
/* Takes n completed futures, linked from first to last; drops them when the
 * queue was destroyed. */
void gi_cq_push(gate_cq_t *self, gate_future_t *first, gate_future_t *last,
                size_t n);

/* What the queue needs of a future (future_done.c). */
gate_future_t **gi_future_link(gate_future_t *self);
void gi_future_run_then(gate_future_t *self);
void gi_future_drop_then(gate_future_t *self);

#endif
