/* SPDX-License-Identifier: BSD-3-Clause */
/* client.h -- calls services. An actor; use it from any number of threads.
 * It reconnects by itself: a broker's outage fails the calls it cut, nothing
 * else. Methods are named "Service.method", split at the last dot; a name
 * without a dot goes to the setting service_default_name. */
#ifndef GATERPC_CLIENT_H
#define GATERPC_CLIENT_H

#include <gaterpc/future.h>
#include <gaterpc/stream.h>

GATE_BEGIN_DECLS

/* Gives a client that is not connected. NULL: no memory. */
GATE_API gate_client_t *gate_client_new(gate_runtime_t *rt);
/* Calls in flight end with GATE_CLOSED and are cancelled. In a callback on the
 * client's own thread it ends when the callback has returned. In the child of a
 * fork() it does nothing: the client is the parent's. */
GATE_API void gate_client_destroy(gate_client_t **self_p);
/* Before connect: in-band PLAIN credentials. */
GATE_API void gate_client_plain(gate_client_t *self, const char *user,
                                const char *password);
/* Before connect: CURVE, our certificate file and the server's public one. */
GATE_API void gate_client_curve(gate_client_t *self, const char *cert_file,
                                const char *server_cert_file);
/* PLAIN by the transport, where the broker has it (gate_broker_plain). */
GATE_API void gate_client_plain_transport(gate_client_t *self, const char *user,
                                          const char *password);
/* Before connect: the name that its identity is made from. */
GATE_API void gate_client_identity(gate_client_t *self, const char *name);
/* Begins to connect to a broker's frontend and returns; NULL = services of this
 * runtime only. Calls may be made at once: they wait for the connection within
 * their deadline, and then say why there is none. A broker that does not let us
 * in ends them with GATE_REFUSED as soon as it is known. */
GATE_API gate_err_t gate_client_connect(gate_client_t *self,
                                        const char *frontend) GATE_MUST;
/* Waits until the broker has answered once, at most timeout_ms (-1: for ever).
 * GATE_TIMEOUT: nobody there, or nobody who answers: the text says which.
 * GATE_REFUSED: it does not let us in. */
GATE_API gate_err_t gate_client_ready(gate_client_t *self,
                                      int64_t timeout_ms) GATE_MUST;

/* Waits for the answer, at most the setting reply_timeout or the argument
 * gate_timeout_ms(n). The slot may be gate_onone: the result is not wanted.
 * Strings stored by gate_ostr or gate_obytes live until this thread's next
 * synchronous call. GATE_WOULDBLOCK on an actor's thread, at once. GATE_BADARG:
 * no client, no method, a negative timeout. */
GATE_API gate_err_t gate_client_call_(gate_client_t *self, const char *method,
                                      gate_slot_t out, const gate_arg_t *args,
                                      size_t n) GATE_MUST;
/* Gives, never NULL. Blocks: not; GATE_BUSY in the future when message_max
 * calls are in flight. */
GATE_API gate_future_t *gate_client_start_(gate_client_t *self,
                                           const char *method,
                                           const gate_arg_t *args, size_t n);
/* Gives the reading end of a streamed answer (any method; a plain result is
 * its only item). Returns once the request is on its way. */
GATE_API gate_err_t gate_client_open_(gate_client_t *self, const char *method,
                                      gate_stream_t **stream,
                                      const gate_arg_t *args,
                                      size_t n) GATE_MUST;
/* Gives: the names of the services as a list of str, asked of the broker, or of
 * this runtime where there is none; gate_value_destroy it. Waits as a call. */
GATE_API gate_err_t gate_client_services(gate_client_t *self,
                                         gate_value_t **names) GATE_MUST;
/* Gives: counters by name. NULL when it does not run. */
GATE_API gate_value_t *gate_client_stats(gate_client_t *self);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_client_call(cli, "Service.method", &result or NULL, args...,
 *                  gate_kw("k", v)..., gate_timeout_ms(n)) */
#define gate_client_call(cli, method, ...)                            \
    gate_client_call_(cli, method, GATE_SLOT(GATE_1(__VA_ARGS__, 0)), \
                      GATE_TAIL(__VA_ARGS__))
/* gate_client_start(cli, "Service.method", args...) */
#define gate_client_start(cli, ...) \
    gate_client_start_(cli, GATE_1(__VA_ARGS__, 0), GATE_TAIL(__VA_ARGS__))
/* gate_client_open(cli, "Service.method", &stream, args...) */
#define gate_client_open(cli, method, ...)                 \
    gate_client_open_(cli, method, GATE_1(__VA_ARGS__, 0), \
                      GATE_TAIL(__VA_ARGS__))
#endif

#endif
