/* SPDX-License-Identifier: BSD-3-Clause */
/* foreign.h -- calls for other languages (python/gate): arguments and results
 * as packed msgpack, many answers taken at once, nothing called back. A binding
 * decodes a batch with its own msgpack and looks at a descriptor meanwhile.
 *
 * A caller makes calls of a client, an answerer has the calls of a service's
 * methods. What waits is taken as one msgpack array, an entry each.
 * Thread: a caller is one thread's at a time; an answerer's functions are any
 * thread's, but for take: one at a time. */
#ifndef GATERPC_FOREIGN_H
#define GATERPC_FOREIGN_H

#include <gaterpc/client.h>
#include <gaterpc/service.h>

GATE_BEGIN_DECLS

/* Calls that are under way at a client, and their answers by the batch. */
typedef struct gate_caller gate_caller_t;
/* Methods of a service whose calls are taken and answered by the batch. */
typedef struct gate_answerer gate_answerer_t;
/* A call under way. Of a caller: valid until the first take after the one that
 * had its answer. Of an answerer: until it is answered. Its address, as a
 * number, names it in entries. */
typedef struct gate_ticket gate_ticket_t;

/* ---- calls --------------------------------------------------------------- */
/* Keeps client. NULL: no memory or no descriptor. */
GATE_API gate_caller_t *gate_caller_new(gate_client_t *client);
/* Before the client. Calls under way are forgotten. */
GATE_API void gate_caller_destroy(gate_caller_t **self_p);
/* Borrows: readable while answers wait; only poll it. */
GATE_API int gate_caller_fd(const gate_caller_t *self);
/* Starts a call: args is a packed array, kwargs a packed map, either may be of
 * size 0 for none; timeout_ms < 0: the setting reply_timeout; more: n further
 * arguments and options (gate_meta, gate_huge_arg), behind args. Blocks: not.
 * NULL only for lack of memory: any other failure is its answer. */
GATE_API gate_ticket_t *
gate_caller_start(gate_caller_t *self, const char *method, const void *args,
                  size_t args_size, const void *kwargs, size_t kwargs_size,
                  int64_t timeout_ms, const gate_arg_t *more, size_t n);
/* Asks for it to stop; its answer comes all the same. */
GATE_API void gate_caller_cancel(gate_caller_t *self, gate_ticket_t *ticket);
/* Waits up to timeout_ms (-1: for ever) and gives what came, at most 256
 * answers, borrowed until the next take: an array of [ticket, 0, result] and
 * [ticket, code, [class, text, traceback]]. Returns how many. */
GATE_API size_t gate_caller_take(gate_caller_t *self, int64_t timeout_ms,
                                 gate_bytes_t *answers);
/* A synchronous call with the same arguments: gate_client_call. *result borrows
 * until the next call or take. Waits as that does. */
GATE_API gate_err_t gate_caller_call(gate_caller_t *self, const char *method,
                                     const void *args, size_t args_size,
                                     const void *kwargs, size_t kwargs_size,
                                     int64_t timeout_ms, const gate_arg_t *more,
                                     size_t n, gate_bytes_t *result) GATE_MUST;
/* gate_client_open with the same arguments; gives the stream. */
GATE_API gate_err_t gate_caller_open(gate_caller_t *self, const char *method,
                                     const void *args, size_t args_size,
                                     const void *kwargs, size_t kwargs_size,
                                     int64_t timeout_ms, const gate_arg_t *more,
                                     size_t n,
                                     gate_stream_t **stream) GATE_MUST;
/* Gives the items that wait, at most max, as an array that is borrowed until
 * the next take or items. wait: for the first one, as gate_stream_next does;
 * else GATE_BUSY when there is none. GATE_EOS and errors come when the items
 * before them were given: gate_stream_error. */
GATE_API gate_err_t gate_caller_items(gate_caller_t *self,
                                      gate_stream_t *stream, bool wait,
                                      size_t max,
                                      gate_bytes_t *items) GATE_MUST;

/* ---- methods ------------------------------------------------------------- */
/* NULL: no memory or no descriptor. */
GATE_API gate_answerer_t *gate_answerer_new(void);
/* After the service, whose method table it has. Calls not answered yet end with
 * RuntimeError. */
GATE_API void gate_answerer_destroy(gate_answerer_t **self_p);
/* Adds a method, before gate_service_start, whose calls are taken here. Copies
 * the texts; signature and doc may be NULL. */
GATE_API gate_err_t gate_answerer_method(gate_answerer_t *self,
                                         gate_service_t *service,
                                         const char *name,
                                         const char *signature,
                                         const char *doc) GATE_MUST;
/* Borrows: readable while calls wait; only poll it. */
GATE_API int gate_answerer_fd(const gate_answerer_t *self);
/* Gives what waits, at most 256 calls, borrowed until the next take: an array
 * of [ticket, method, args, kwargs, user, metadata, ms left or nil], and of
 * [ticket] for each that was taken before and whose caller has left since (it is
 * to be answered all the same). Returns how many. Blocks: not. */
GATE_API size_t gate_answerer_take(gate_answerer_t *self, gate_bytes_t *calls);
/* Ends a call with a packed result. */
GATE_API void gate_answerer_return(gate_answerer_t *self, gate_ticket_t *ticket,
                                   const void *msgpack, size_t size);
/* Ends a call, or its stream, with an exception. */
GATE_API void gate_answerer_raise(gate_answerer_t *self, gate_ticket_t *ticket,
                                  const char *cls, const char *text,
                                  const char *traceback);
/* One item of a stream: gate_yield_now. */
GATE_API gate_err_t gate_answerer_yield(gate_answerer_t *self,
                                        gate_ticket_t *ticket,
                                        const void *msgpack,
                                        size_t size) GATE_MUST;
/* Ends a stream. */
GATE_API void gate_answerer_end(gate_answerer_t *self, gate_ticket_t *ticket);

GATE_END_DECLS

#endif
