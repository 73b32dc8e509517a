/* SPDX-License-Identifier: BSD-3-Clause */
/* service.h -- named methods behind one or more brokers, or behind none, for
 * this process alone. A service is an actor; handlers run where the table says.
 * Thread: setters before start, by one thread; then any. */
#ifndef GATERPC_SERVICE_H
#define GATERPC_SERVICE_H

#include <gaterpc/call.h>

GATE_BEGIN_DECLS

/* Where a method runs. */
typedef enum gate_runs {
    GATE_DEFAULT, /* gate_service_default_runs; inline unless changed */
    GATE_INLINE,  /* on the service's actor: must be short */
    GATE_THREAD,
    GATE_PROCESS,
    GATE_CUSTOM /* on .pool */
} gate_runs_t;

/* A line of a method table: GATE_METHOD makes one, GATE_END is behind the last. */
typedef struct gate_method {
    const char *name;
    gate_fn *fn;
    gate_runs_t runs;
    const char *signature; /* "(a, b)"; shown by inspect and get_interfaces */
    const char *doc;
    bool idempotent;          /* may run again when its worker dies */
    int max_attempts;         /* with idempotent; 0 = 3 */
    int64_t soft_ms, hard_ms; /* 0 = none */
    gate_pool_t *pool; /* for GATE_CUSTOM, or instead of the default; keeps */
} gate_method_t;

/* GATE_METHOD(fib, .runs = GATE_PROCESS): the seed's @interface("process"). */
#define GATE_METHOD(...) \
    { GATE_METHOD_(__VA_ARGS__, ) }
#define GATE_METHOD_(f, ...) .name = #f, .fn = f, __VA_ARGS__
#define GATE_END \
    { .name = NULL }

/* NULL name = setting service_default_name. No ':' in it. */
GATE_API gate_service_t *gate_service_new(gate_runtime_t *rt, const char *name);
/* Says DISCONNECT to its brokers, ends what is in flight with an error, frees. In
 * a handler or job of its own it would wait for itself: then it does nothing but
 * to log that (GATE_WOULDBLOCK).
 * For a clean end drain first. */
GATE_API void gate_service_destroy(gate_service_t **self_p);
/* Before start: what it is, as brokers tell it on (Gate.observe). Copies; no
 * ':' in it. */
GATE_API void gate_service_describe(gate_service_t *self, const char *text);
/* Keeps both. Ends at GATE_END; may be called again for more. */
GATE_API void gate_service_methods(gate_service_t *self,
                                   const gate_method_t *table, void *ctx);
/* Before start: where methods run whose table does not say. pool: in which one,
 * NULL = the runtime's; GATE_CUSTOM needs it. */
GATE_API void gate_service_default_runs(gate_service_t *self, gate_runs_t runs,
                                        gate_pool_t *pool);
/* How many calls it takes at once (announced to the broker); 0 = message_max.
 */
GATE_API void gate_service_limit(gate_service_t *self, int max_calls);
/* How many workers it shows to each broker; 1 by default. */
GATE_API void gate_service_workers(gate_service_t *self, int n);
/* The name its identities are made from; by default a fresh one. */
GATE_API void gate_service_identity(gate_service_t *self, const char *name);
/* In-band PLAIN credentials for its brokers. */
GATE_API void gate_service_plain(gate_service_t *self, const char *user,
                                 const char *password);
/* CURVE: a certificate file of ours, the server's public certificate file. */
GATE_API void gate_service_curve(gate_service_t *self, const char *cert_file,
                                 const char *server_cert_file);
/* PLAIN by the transport (gate_broker_plain). */
GATE_API void gate_service_plain_transport(gate_service_t *self,
                                           const char *user,
                                           const char *password);
/* The first error that stuck, or begins to serve: backend is a broker's backend
 * endpoint, NULL = registry only. Returns once READY is sent or waits for a
 * broker to come; reconnects by itself from then on. */
GATE_API gate_err_t gate_service_start(gate_service_t *self,
                                       const char *backend) GATE_MUST;
/* One more broker, while running. */
GATE_API gate_err_t gate_service_attach(gate_service_t *self,
                                        const char *backend) GATE_MUST;
/* Waits until every broker has registered it (its first heartbeat came). */
GATE_API gate_err_t gate_service_ready(gate_service_t *self,
                                       int64_t timeout_ms) GATE_MUST;
/* Takes no new calls, finishes those it has, says DISCONNECT. GATE_WOULDBLOCK in
 * a handler or job of its own. */
GATE_API gate_err_t gate_service_drain(gate_service_t *self,
                                       int64_t timeout_ms) GATE_MUST;
/* Borrows: the name that it serves. */
GATE_API const char *gate_service_name(const gate_service_t *self);
/* Gives: counters by name. NULL when it does not run. */
GATE_API gate_value_t *gate_service_stats(gate_service_t *self);

/* ---- modules: what `gate serve FILE.so` loads ---------------------------- */
#define GATE_MODULE_ABI 1
/* What a module's function gate_module gives (GATE_MODULE_SYMBOL). */
typedef struct gate_module {
    int abi;          /* GATE_MODULE_ABI */
    const char *name; /* the service's name; NULL = the default */
    const char *description;
    /* Adds methods to svc; GATE_OK or an error with gate_error() set. */
    gate_err_t (*init)(gate_runtime_t *rt, gate_service_t *svc);
} gate_module_t;
/* A module exports this one function. */
typedef const gate_module_t *gate_module_fn(void);
#define GATE_MODULE_SYMBOL "gate_module"
#define GATE_MODULE_EXPORT __attribute__((visibility("default")))

GATE_END_DECLS

#endif
