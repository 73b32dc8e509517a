/* SPDX-License-Identifier: BSD-3-Clause */
/* zap.h -- the in-band authentication service that brokers ask, ours or a
 * Python peer's broker alike. An actor. Thread: setters before start. */
#ifndef GATERPC_ZAP_H
#define GATERPC_ZAP_H

#include <gaterpc/error.h>

GATE_BEGIN_DECLS

/* Who asks to be let in. Borrowed. */
typedef struct gate_zap_request {
    const char *domain, *user, *password;
    gate_bytes_t address, identity; /* a gate-rpc broker sends the peer's
                                       routing id as both */
} gate_zap_request_t;
/* GATE_OK lets it in, GATE_REFUSED does not; anything else is a failure of the
 * service, which nobody remembers. Runs on the actor: must be short. */
typedef gate_err_t gate_zap_check_fn(void *ctx,
                                     const gate_zap_request_t *request);

/* NULL endpoint = setting zap_addr. Setting zap_users names a users file. */
GATE_API gate_zap_t *gate_zap_new(gate_runtime_t *rt, const char *endpoint);
/* Ends and frees. */
GATE_API void gate_zap_destroy(gate_zap_t **self_p);
/* domain "*" = every domain; repeat to add users. */
GATE_API void gate_zap_plain(gate_zap_t *self, const char *domain,
                             const char *user, const char *password);
/* Users from lines "user:hash" or "user:hash:domain", the hash as crypt(3)
 * makes it; '#' begins a comment. Read at start and whenever it changes. */
GATE_API void gate_zap_plain_file(gate_zap_t *self, const char *file);
/* Asked about users that neither the table nor the file knows. Keeps ctx. */
GATE_API void gate_zap_check(gate_zap_t *self, gate_zap_check_fn *fn,
                             void *ctx);
/* Allow and deny lists by IP address or identity (hex), nothing else is taken;
 * allow, once used, refuses everybody else. */
GATE_API void gate_zap_allow(gate_zap_t *self, const char *address);
GATE_API void gate_zap_deny(gate_zap_t *self, const char *address);
/* The first error that stuck, or binds and begins. */
GATE_API gate_err_t gate_zap_start(gate_zap_t *self) GATE_MUST;
/* Borrows: the endpoint with its real port. */
GATE_API const char *gate_zap_endpoint(const gate_zap_t *self);
/* Gives: counters by name. NULL when it does not run. */
GATE_API gate_value_t *gate_zap_stats(gate_zap_t *self);
/* A line's hash for the users file: 74 bytes of room do; GATE_TOOBIG. */
GATE_API gate_err_t gate_zap_hash(const char *password, char *out,
                                  size_t room) GATE_MUST;

GATE_END_DECLS

#endif
