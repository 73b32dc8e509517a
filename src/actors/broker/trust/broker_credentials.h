/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_credentials.h -- in-band credentials. They stand above the core and see
 * all of it; the core knows them as auth.ops. Thread, units: as the core. */
#ifndef GI_BROKER_CREDENTIALS_H
#define GI_BROKER_CREDENTIALS_H

#include "broker/core/broker_state.h"

/* In-band credentials are expected in every envelope and asked about in domain
 * (keeps). With user and password a peer is taken for ourselves, unasked. */
gate_err_t gi_broker_core_zap(gi_broker_core_t *self, const char *domain,
                              const char *user, const char *password) GATE_MUST;
/* Borrows: who it is, by its last credentials or by the transport; NULL =
 * nobody. */
const gi_broker_user_t *gi_broker_auth_user(const gi_broker_peer_t *peer);

#endif
