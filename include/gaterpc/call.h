/* SPDX-License-Identifier: BSD-3-Clause */
/* call.h -- one request inside a handler or job. It belongs to the library
 * until it is kept. Thread: the one the handler runs on; a kept call, any.
 *
 * A handler returns GATE_OK after gate_return (or a result built by hand),
 * GATE_KEPT after gate_call_keep, gate_call_run or gate_generate, GATE_EOS to
 * end a stream (the only way to say an empty one), or else a code: it becomes
 * the exception that gate_raise named, or the code's own. GATE_OK without any
 * answer is nil.
 *
 * Programs that a handler starts. Inline and on threads all signals are blocked,
 * since they are the host's, and a program inherits that: it would not end on
 * SIGTERM. fork() sets it right in the child; posix_spawn() wants
 * POSIX_SPAWN_SETSIGMASK with an empty mask; for system() and popen() run the
 * method on GATE_PROCESS, where nothing is blocked. */
#ifndef GATERPC_CALL_H
#define GATERPC_CALL_H

#include <gaterpc/pool.h>

GATE_BEGIN_DECLS

/* ---- arguments ----------------------------------------------------------- */
/* Stores the positional and keyword arguments; GATE_BADARG (TypeError) for too
 * many, too few, an unknown name or a type that does not fit. */
GATE_API gate_err_t gate_args_(gate_call_t *self, const gate_slot_t *slots,
                               size_t n) GATE_MUST;
/* Borrows: the positional arguments, an array; raw_kwargs: by name, a map. */
GATE_API const msgpack_object *gate_call_raw_args(const gate_call_t *self);
GATE_API const msgpack_object *gate_call_raw_kwargs(const gate_call_t *self);

/* ---- the answer ---------------------------------------------------------- */
/* The call's result. GATE_BADARG for a second one. */
GATE_API gate_err_t gate_return_(gate_call_t *self, gate_arg_t v);
/* Always returns GATE_RAISED. */
GATE_API gate_err_t gate_raise(gate_call_t *self, const char *cls,
                               const char *fmt, ...) GATE_PRINTF(3, 4);
/* Borrows: pack exactly one value into it, then return GATE_OK. */
GATE_API msgpack_packer *gate_call_packer(gate_call_t *self);
/* Sends one item of a stream. On threads and in processes it waits for the
 * reader's credit; GATE_CANCELLED when the reader left. Not in inline handlers
 * (GATE_WOULDBLOCK; use gate_generate) except inside next. */
GATE_API gate_err_t gate_yield_(gate_call_t *self, gate_arg_t v) GATE_MUST;
/* The same without waiting, and of a kept call too, by one thread at a time:
 * GATE_BUSY when the reader has no room now (ask again a little later),
 * GATE_CANCELLED when it has left. A kept call's stream ends by gate_end or
 * gate_fail. */
GATE_API gate_err_t gate_yield_now_(gate_call_t *self, gate_arg_t v) GATE_MUST;
/* Answers with a pulled stream: next yields one item and returns GATE_OK, or
 * returns GATE_EOS or an error; it is called when there is room, on the
 * service's actor, so it must not block. done (may be NULL) frees state, once.
 * Returns what the handler must return. */
GATE_API gate_err_t gate_generate(gate_call_t *self,
                                  gate_err_t (*next)(gate_call_t *call,
                                                     void *state),
                                  void *state, void (*done)(void *state));

/* ---- answering later ----------------------------------------------------- */
/* Gives the call to you; the handler returns GATE_KEPT and nothing else (else
 * that is the answer, and what you say later is dropped). End it exactly once
 * with finish or fail, from any thread, at once or later; a second word is
 * refused and logged. What is never ended is answered TimeoutError at the
 * caller's deadline, or after the setting service_call_max_ms, and logged; it
 * must be ended all the same. NULL where that cannot be (jobs) and for a call
 * that is kept already (GATE_BADARG). */
GATE_API gate_call_t *gate_call_keep(gate_call_t *self);
/* Takes: ends a kept call with that result. */
GATE_API void gate_finish_(gate_call_t **self_p, gate_arg_t v);
/* Takes: ends a kept call, or its stream, with an exception. */
GATE_API void gate_fail(gate_call_t **self_p, const char *cls,
                        const char *text);
/* Takes: ends a kept call's stream, also one without items. */
GATE_API void gate_end(gate_call_t **self_p);
/* Goes on with a call when its job has ended: e, or the job's value. */
typedef gate_err_t gate_then_fn(gate_call_t *call, gate_err_t e,
                                const gate_value_t *value);
/* Runs job on a pool and goes on with then on the service's actor (then NULL:
 * its result or error is the call's). job gets args; a list is spread over its
 * parameters. Return its value from the handler: the job is submitted when that
 * has returned, and a pool that refuses it is the call's error. */
GATE_API gate_err_t gate_call_run(gate_call_t *self, gate_pool_t *pool,
                                  gate_fn *job, gate_arg_t args,
                                  gate_then_fn *then);

/* ---- who, where, how long ------------------------------------------------ */
/* The ctx of the method table; in a process what the pool's init returned. */
GATE_API void *gate_call_ctx(gate_call_t *self);
/* Borrows: the service's runtime; NULL in a worker process. */
GATE_API gate_runtime_t *gate_call_runtime(gate_call_t *self);
/* Borrows: the method's name, without the service's; of a job that of
 * gate_fn_register, or "job". */
GATE_API const char *gate_call_method(const gate_call_t *self);
/* The authenticated user; "" when there is none. */
GATE_API const char *gate_call_user(const gate_call_t *self);
/* The caller's identity (a routing id); empty for jobs and local calls. */
GATE_API gate_bytes_t gate_call_client(const gate_call_t *self);
/* Milliseconds until the caller's deadline; INT64_MAX when not known. */
GATE_API int64_t gate_call_time_left_ms(const gate_call_t *self);
/* True when the caller cancelled or left, or a soft limit has passed. */
GATE_API bool gate_call_cancelled(const gate_call_t *self);
/* 1 for the first run, more when it runs again after a death. */
GATE_API int gate_call_attempt(const gate_call_t *self);
/* Borrows: the caller's metadata under that key (gate_meta); NULL when it sent
 * none. */
GATE_API const char *gate_call_meta(const gate_call_t *self, const char *key);
/* Borrows: the i-th key, its value in *value unless that is NULL; NULL beyond
 * the last. */
GATE_API const char *gate_call_meta_at(const gate_call_t *self, size_t i,
                                       const char **value);
/* What the caller's "priority" says. */
GATE_API gate_priority_t gate_call_priority(const gate_call_t *self);
/* Rides in the argument list of a call that is made from this one's handler:
 * the metadata goes with it; a gate_meta behind it has the last word. Borrows
 * until that call was started. */
GATE_API gate_arg_t gate_meta_of(const gate_call_t *self);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_args(call, &a, &b, gate_opt(&c)) */
#define gate_args(call, ...)                                  \
    gate_args_(call, GATE_ARR(GATE_SLOT, 1, __VA_ARGS__) + 1, \
               GATE_N(__VA_ARGS__))
/* For a handler that takes none: anything else is a TypeError. */
#define gate_no_args(call) gate_args_(call, NULL, 0)
/* gate_return(call, a + b): any C type that is an argument (GATE_ARG) */
#define gate_return(call, x) gate_return_(call, GATE_ARG(x))
/* gate_yield(call, item) */
#define gate_yield(call, x) gate_yield_(call, GATE_ARG(x))
/* gate_yield_now(call, item) */
#define gate_yield_now(call, x) gate_yield_now_(call, GATE_ARG(x))
/* gate_finish(&kept, result) */
#define gate_finish(call_p, x) gate_finish_(call_p, GATE_ARG(x))
#endif

#endif
