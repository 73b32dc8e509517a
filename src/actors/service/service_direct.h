/* SPDX-License-Identifier: BSD-3-Clause */
/* service_direct.h -- the door for calls from this process: from the caller's
 * thread straight into the service's mailbox, the answer straight into the
 * future or stream. Thread: any. Blocks: never,
 * but where a call says that it waits. */
#ifndef GI_SERVICE_LOCAL_H
#define GI_SERVICE_LOCAL_H

#include <gaterpc/service.h>
#include "async/future.h"
#include "wire/rpc.h"
#include "async/stream.h"

typedef struct gi_local_ask {
    const unsigned char *packed; /* func, args, kwargs; copied */
    const gi_rpc_request_t *request;
    int64_t deadline_ms; /* of a call */
    int64_t timeout_ms;  /* of a call as well, or for each item */
    bool waits;          /* for room, to the deadline: there is no other way */
} gi_local_ask_t;

/* Gives the future, or the stream. GATE_BUSY: local_max calls are in flight;
 * GATE_CLOSED: it stops; GATE_NOMEM; GATE_REFUSED. Sets the story. */
gate_err_t gi_service_call_local(gate_service_t *self,
                                 const gi_local_ask_t *ask,
                                 gate_future_t **future) GATE_MUST;
gate_err_t gi_service_open_local(gate_service_t *self,
                                 const gi_local_ask_t *ask,
                                 gate_stream_t **stream) GATE_MUST;

gate_service_t *gi_service_share(gate_service_t *self);
void gi_service_release(gate_service_t *self); /* NULL: nothing */
bool gi_service_is(const gate_service_t *self, gate_bytes_t name);
/* For how long no broker has had it (0: one has, or there is none to have it);
 * an error: its actor does not run. */
gate_err_t gi_service_away(gate_service_t *self, int64_t *ms) GATE_MUST;

#endif
