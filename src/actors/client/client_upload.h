/* SPDX-License-Identifier: BSD-3-Clause */
/* client_upload.h -- huge arguments on their way out: see client_upload.c. */
#ifndef GI_CLIENT_UPLOAD_H
#define GI_CLIENT_UPLOAD_H

#include "client/client_actor.h"

/* ---- the caller ---------------------------------------------------------- */
/* Takes what packed holds; shares what is in its holes. */
gate_err_t gi_client_upload_new(gi_pending_t *p, gi_buf_t *packed,
                                const gi_rpc_holes_t *holes) GATE_MUST;
/* Holes are filled where what is in them is at hand and the whole is no more
 * than max bytes; else they stay. */
gate_err_t gi_client_upload_fill(gi_buf_t *packed, gi_rpc_request_t *request,
                                 gi_rpc_holes_t *holes, uint64_t max) GATE_MUST;
void gi_client_upload_free(gi_pending_t *p); /* with the pending; any thread */

/* ---- the actor ----------------------------------------------------------- */
/* The core's effect: its worker has room. */
gate_err_t gi_client_upload_start(void *ctx, gi_ccall_t *call);
bool gi_client_upload_pull(gi_client_actor_t *self);
int64_t gi_client_upload_next(const gi_client_actor_t *self, int64_t now_ms);
void gi_client_upload_awake(
    gate_client_t *self);                    /* mail: look at what is ready */
void gi_client_upload_stop(gi_pending_t *p); /* the call has ended */

#endif
