/* SPDX-License-Identifier: BSD-3-Clause */
/* service_local.h -- the door for calls from this process: from the caller's
 * thread straight into the service's mailbox, the answer straight into the
 * future or stream. Thread: any. Blocks: never. */
#ifndef GI_SERVICE_LOCAL_H
#define GI_SERVICE_LOCAL_H

#include <gaterpc/service.h>
#include "future.h"
#include "rpc.h"
#include "stream.h"

/* Takes packed (func, args, kwargs; gi_mem_free) on GATE_OK and gives the
 * future, or the stream when that is not NULL (item_timeout_ms for each item).
 * GATE_BUSY: local_max calls are in flight; GATE_CLOSED: it stops; GATE_NOMEM.
 * Sets the story. */
gate_err_t gi_service_call_local(gate_service_t *self, unsigned char *packed,
                                 const gi_rpc_request_t *request,
                                 int64_t deadline_ms, int64_t item_timeout_ms,
                                 gate_future_t **future,
                                 gate_stream_t **stream) GATE_MUST;

gate_service_t *gi_service_share(gate_service_t *self);
void gi_service_release(gate_service_t *self);
bool gi_service_is(const gate_service_t *self, gate_bytes_t name);
const void *gi_service_broker(const gate_service_t *self);

#endif
