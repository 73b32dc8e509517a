/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.h -- what a call's trace is told (gaterpc/trace.h). Thread: whoever has
 * the call; the user reads at any time. */
#ifndef GI_TRACE_H
#define GI_TRACE_H

#include <gaterpc/trace.h>
#include "wire/rpc.h"

/* NULL stays NULL. */
gate_trace_t *gi_trace_share(gate_trace_t *self);
void gi_trace_drop(gate_trace_t *self);
/* The call begins now; once. */
void gi_trace_begin(gate_trace_t *self);
/* What the last answer's extension frame says. */
void gi_trace_told(gate_trace_t *self, const gi_times_t *times);
/* It has ended: before whoever waits for it is told. The first word holds. */
void gi_trace_end(gate_trace_t *self);

#endif
