/* SPDX-License-Identifier: BSD-3-Clause */
/* zap.h -- the in-band authentication service that brokers ask, ours or a
 * Python peer's broker alike. An actor. Thread: setters before start. */
#ifndef GATERPC_ZAP_H
#define GATERPC_ZAP_H

#include <gaterpc/error.h>

GATE_BEGIN_DECLS

/* NULL endpoint = setting zap_addr. */
GATE_API gate_zap_t *gate_zap_new(gate_runtime_t *rt, const char *endpoint);
GATE_API void gate_zap_destroy(gate_zap_t **self_p);
/* domain "*" = every domain; repeat to add users. */
GATE_API void gate_zap_plain(gate_zap_t *self, const char *domain,
                             const char *user, const char *password);
/* Allow and deny lists by address or identity (hex); allow, once used, refuses
 * everybody else. */
GATE_API void gate_zap_allow(gate_zap_t *self, const char *address);
GATE_API void gate_zap_deny(gate_zap_t *self, const char *address);
GATE_API gate_err_t gate_zap_start(gate_zap_t *self) GATE_MUST;
/* Borrows: the endpoint with its real port. */
GATE_API const char *gate_zap_endpoint(const gate_zap_t *self);

GATE_END_DECLS

#endif
