/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_stall.h -- streams and huge results that nobody reads while others
 * wait for their worker. */
#ifndef GI_BROKER_STALL_H
#define GI_BROKER_STALL_H

#include "broker/core/broker_state.h"
#include "wire/rpc.h"

/* What its request says about credit. */
void gi_broker_stall_begin(gi_broker_call_t *call, const gi_ext_t *ext);
/* Its client gives more. */
void gi_broker_stall_credit(gi_broker_core_t *core, gi_broker_call_t *call,
                            const gi_ext_t *ext);
/* An item or chunk of so many bytes went to it. */
void gi_broker_stall_item(gi_broker_core_t *core, gi_broker_call_t *call,
                          size_t size);
/* Calls wait and no worker has a slot: ends streams of whoever holds more than
 * its share with streams that stand still. */
void gi_broker_relieve(gi_broker_core_t *core, gi_broker_service_t *service);
/* True: its client has been told so lately, and still has as many; the call is
 * answered with an error and gone. */
bool gi_broker_is_slow(gi_broker_core_t *core, gi_broker_call_t *call);

#endif
