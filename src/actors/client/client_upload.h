/* SPDX-License-Identifier: BSD-3-Clause */
/* client_upload.h -- huge arguments on their way out: see client_upload.c. */
#ifndef GI_CLIENT_UPLOAD_H
#define GI_CLIENT_UPLOAD_H

#include "client/client_impl.h"

/* Takes what packed holds; shares what is in its holes. */
gate_err_t gi_cargs_new(gi_pending_t *p, gi_buf_t *packed,
                        const gi_rpc_holes_t *holes) GATE_MUST;
/* Holes are filled where what is in them is at hand and the whole is no more
 * than max bytes; else they stay. */
gate_err_t gi_cargs_fill(gi_buf_t *packed, gi_rpc_request_t *request,
                         gi_rpc_holes_t *holes, uint64_t max) GATE_MUST;
void gi_cargs_announce(const gi_pending_t *p, gi_ext_t *ext);
/* The error of a broker that takes none; never GATE_OK. */
gate_err_t gi_cargs_refuse(const gi_pending_t *p);
/* An extension frame about the call came. May end it. */
void gi_cargs_credit(gi_pending_t *p, gate_bytes_t frame);
bool gi_cargs_pull(gate_client_t *self);
int64_t gi_cargs_next(const gate_client_t *self, int64_t now_ms);
bool gi_cargs_begun(const gi_pending_t *p); /* chunks went out */
void gi_cargs_awake(gate_client_t *self);   /* mail: look at what is ready */
void gi_cargs_stop(gi_pending_t *p);        /* the actor: the call has ended */
void gi_cargs_free(gi_pending_t *p);        /* with the pending; any thread */

#endif
