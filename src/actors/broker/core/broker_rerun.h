/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rerun.h -- calls that run again when their worker is lost. */
#ifndef GI_BROKER_RERUN_H
#define GI_BROKER_RERUN_H

#include "broker/core/broker_state.h"

void gi_broker_again_learn(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t names);
/* core->out is call's REQUEST for worker: says which run it is and what time is
 * left, and keeps a copy if it may run again. False: no memory. */
bool gi_broker_again_prepare(gi_broker_core_t *core, gi_broker_call_t *call,
                             gi_broker_worker_t *worker);
/* What its worker knows the call by; the size. */
size_t gi_broker_again_id(const gi_broker_call_t *call,
                          unsigned char id[GI_ID_MAX]);
/* The tagged call that a worker means by id; NULL: none, or another run of it.
 */
gi_broker_call_t *gi_broker_again_find(gi_broker_core_t *core,
                                       gate_bytes_t client, gate_bytes_t id);
void gi_broker_again_forget(gi_broker_core_t *core, gi_broker_call_t *call);
/* Its worker is lost: gives it to another one. False: it must not. */
bool gi_broker_again(gi_broker_core_t *core, gi_broker_call_t *call);
/* core->out is call's REQUEST: its caller has given up. */
bool gi_broker_expired(gi_broker_core_t *core, const gi_broker_call_t *call);

#endif
