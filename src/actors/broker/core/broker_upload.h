/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_upload.h -- arguments in chunks: who takes them, and their chunks and
 * credit on the way. */
#ifndef GI_BROKER_UPLOAD_H
#define GI_BROKER_UPLOAD_H

#include "broker/core/broker_state.h"

/* What a request announces; -1: its arguments are in it. */
int64_t gi_broker_args_size(const gate_bytes_t *body, unsigned n_body);
/* The least loaded that takes them; NULL: none with credit. */
gi_broker_worker_t *gi_broker_args_pick(gi_broker_service_t *service);
/* room: some worker has credit. */
bool gi_broker_args_may_wait(gi_broker_service_t *service, bool room);
void gi_broker_args_refuse(gi_broker_core_t *core, gi_broker_call_t *call);
/* A client's message is a chunk; it is handed on. */
bool gi_broker_args_is(const gate_bytes_t *body, unsigned n_body);
void gi_broker_args_chunk(gi_broker_core_t *core, gi_broker_peer_t *client,
                          gi_frames_t *frames, const gate_bytes_t *f,
                          const gi_mdp_request_t *at);
/* A worker's EXT. */
void gi_broker_args_credit(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const gate_bytes_t *f, const gi_mdp_worker_t *at);

#endif
