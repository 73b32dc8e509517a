/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_credentials.h -- in-band credentials: a message is admitted, refused,
 * or kept until the authentication service has judged. */
#ifndef GI_BROKER_CREDENTIALS_H
#define GI_BROKER_CREDENTIALS_H

#include "broker/core/broker_state.h"

/* Admits the message, refuses it, or keeps it until there is a verdict. */
void gi_broker_auth_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames);
void gi_broker_auth_verdict(gi_broker_core_t *core, gi_frames_t *frames);
void gi_broker_auth_due(gi_broker_core_t *core, gi_broker_timer_t *timer);
void gi_broker_auth_go(gi_broker_core_t *core, gi_broker_trust_t *trust);
/* The first in core->work.judged. */
gi_broker_trust_t *gi_broker_auth_judged(gi_broker_core_t *core);
/* A message of it waits for a verdict: it is not to be forgotten. */
bool gi_broker_auth_waits(const gi_broker_peer_t *peer);
void gi_broker_auth_forget(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_auth_fini(gi_broker_core_t *core);
/* The peer's part of the law; adds to the sums. */
bool gi_broker_auth_valid(const gi_broker_peer_t *peer, size_t *n_waiting,
                          size_t *n_believed, size_t *n_asking);

#endif
