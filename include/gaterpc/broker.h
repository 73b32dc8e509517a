/* SPDX-License-Identifier: BSD-3-Clause */
/* broker.h -- the Majordomo broker: clients on frontends, workers on backends.
 * An actor; it never runs user code except functions registered here, which
 * must be short. Thread: setters before start, by one thread; then any. */
#ifndef GATERPC_BROKER_H
#define GATERPC_BROKER_H

#include <gaterpc/service.h>

GATE_BEGIN_DECLS

/* Gives a broker without endpoints: bind, then start. NULL: no memory. */
GATE_API gate_broker_t *gate_broker_new(gate_runtime_t *rt);
/* Says DISCONNECT to its workers, answers what is in flight with an error. */
GATE_API void gate_broker_destroy(gate_broker_t **self_p);
/* Before start: an endpoint for clients (bind), for workers (bind_backend). They
 * are bound at start, in order; any number of each. "tcp://host:*" picks a
 * port. */
GATE_API void gate_broker_bind(gate_broker_t *self, const char *frontend);
GATE_API void gate_broker_bind_backend(gate_broker_t *self,
                                       const char *backend);
/* Functions of the internal service "Gate" beside its own; keeps both. They run
 * inline whatever the table says. */
GATE_API void gate_broker_methods(gate_broker_t *self,
                                  const gate_method_t *table, void *ctx);
/* In-band authentication: asks this ZAP service about every peer. */
GATE_API void gate_broker_use_zap(gate_broker_t *self, const char *zap_endpoint,
                                  const char *domain);
/* CURVE server: a certificate file, and a directory of allowed keys or "*". NULL
 * or "" for either, or for gate_broker_plain's file, is an error of start. */
GATE_API void gate_broker_curve(gate_broker_t *self, const char *cert_file,
                                const char *allowed_dir);
/* PLAIN by the transport, instead of CURVE: a users file as gate_zap_plain_file
 * takes it; read again when it changes. */
GATE_API void gate_broker_plain(gate_broker_t *self, const char *users_file);
/* Hot restart, by a socket file at this path (mode 0600, our own user and root
 * only): start takes the listeners of the broker that answers there, if one
 * does, and answers there from then on itself. NULL: no (the default). */
GATE_API void gate_broker_hand_over(gate_broker_t *self, const char *path);
/* Joins it with the brokers of other machines over these NATS servers (comma
 * separated; docs/uplink.md), instead of those of the setting uplink; NULL or
 * "": with none. Start does not wait for them, unless uplink_wait_ms says so;
 * without the carrier's library it gives GATE_NOTIMPL. */
GATE_API void gate_broker_uplink(gate_broker_t *self, const char *urls);
/* Borrows: "NAME@CLUSTER", as other brokers know it; NULL without uplink. After
 * start. */
GATE_API const char *gate_broker_uplink_name(const gate_broker_t *self);
/* Binds everything and begins; GATE_SYSTEM names the endpoint that failed. */
GATE_API gate_err_t gate_broker_start(gate_broker_t *self) GATE_MUST;
/* Borrows: the i-th endpoint of frontend or backend with its real port, NULL
 * past the end. */
GATE_API const char *gate_broker_frontend(const gate_broker_t *self, size_t i);
GATE_API const char *gate_broker_backend(const gate_broker_t *self, size_t i);
/* Borrows: a client whose calls come from the broker itself. */
GATE_API gate_client_t *gate_broker_client(gate_broker_t *self);
/* Takes no new calls, waits for those in flight, says DISCONNECT to workers. */
GATE_API gate_err_t gate_broker_drain(gate_broker_t *self,
                                      int64_t timeout_ms) GATE_MUST;
/* Another broker has its listeners, and all its peers have left or
 * drain_timeout_ms is over: destroy it (gate_runtime_wait ends by itself). */
GATE_API bool gate_broker_is_replaced(const gate_broker_t *self);
/* Gives: {services: {name: {...}}, counters}. NULL when it does not run. */
GATE_API gate_value_t *gate_broker_stats(gate_broker_t *self);

GATE_END_DECLS

#endif
