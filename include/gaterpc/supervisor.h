/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor.h -- keeps children running, in the words of OTP. A child is a
 * start and a stop function, or a service; it dies when its start fails, when
 * its check says so, or when it is reported. It is started again after a while
 * (back-off); more than `intensity` restarts within `period_ms` are too many:
 * the supervisor gives up, stops everybody, and says so to whoever supervises
 * it. What happens inside one process is all it can mend: a handler that
 * crashes takes the process (run it on processes, or see gate serve
 * --supervise).
 *
 * Thread: add and start by one; the rest by any. Callbacks run one at a time on
 * the supervisor's own thread and may block; they must not call gate_supervisor
 * functions other than failed and stats. */
#ifndef GATERPC_SUPERVISOR_H
#define GATERPC_SUPERVISOR_H

#include <gaterpc/service.h>

GATE_BEGIN_DECLS

/* Who is restarted when a child has died. */
typedef enum gate_strategy {
    GATE_ONE_FOR_ONE,  /* the child that died is restarted */
    GATE_REST_FOR_ONE, /* and those that were added after it */
    GATE_ONE_FOR_ALL   /* and all others */
} gate_strategy_t;

/* When a child is started again. */
typedef enum gate_restart {
    GATE_PERMANENT, /* whenever it ends */
    GATE_TRANSIENT, /* when it ends with an error */
    GATE_TEMPORARY  /* never; its death is no restart */
} gate_restart_t;

/* Where in its life a child is. */
typedef enum gate_child_state {
    GATE_CHILD_WAITING, /* for its turn, or for its back-off to end */
    GATE_CHILD_STARTING,
    GATE_CHILD_RUNNING,
    GATE_CHILD_STOPPING,
    GATE_CHILD_ENDED /* for good */
} gate_child_state_t;

/* A child that is a pair of functions. Its ctx is given to each of them. */
typedef struct gate_child {
    const char *name; /* copied; unlike the other children's */
    gate_err_t (*start)(void *ctx);
    /* Asked every check_ms: GATE_OK while it lives,
     * GATE_EOS when it has ended as it should,
     * else what it died of. May be NULL. */
    gate_err_t (*check)(void *ctx);
    void (*stop)(void *ctx); /* after a start that succeeded; or NULL */
    void *ctx;               /* keeps */
    gate_restart_t restart;
} gate_child_t;

/* A service as a child: made, set up and started anew each time. */
typedef struct gate_service_spec {
    const char *name, *description; /* as gate_service_new, _describe; copied */
    const char *backend;            /* NULL: this process alone; copied */
    /* Adds methods; GATE_OK, or an error with gate_error() set. */
    gate_err_t (*init)(gate_runtime_t *rt, gate_service_t *svc, void *ctx);
    void *ctx; /* keeps */
    /* It has died when no broker has had it for so long; 0: it waits. */
    int64_t unreachable_ms;
    gate_restart_t restart;
} gate_service_spec_t;

/* What happened to a child. Borrows until return. */
typedef struct gate_child_event {
    const char *name;
    gate_child_state_t state; /* the new one */
    gate_err_t error;         /* WAITING, ENDED: of what it died; else OK */
    int64_t wait_ms;          /* WAITING: until it is started */
    bool gave_up;             /* that was one too many */
} gate_child_event_t;

/* 0 = the setting: supervise_intensity (which alone can be 0), ... */
typedef struct gate_supervisor_options {
    gate_strategy_t strategy;
    int intensity; /* restarts that are allowed in... */
    int64_t period_ms;
    int64_t backoff_ms; /* before the first restart; doubled by each death
                         * until a child has lived for period_ms */
    int64_t backoff_max_ms;
    int64_t check_ms; /* how often children are looked at */
    void (*event)(void *ctx, const gate_child_event_t *event); /* or NULL */
    void *ctx;                                                 /* keeps */
} gate_supervisor_options_t;

/* NULL options = one for one, and the settings. NULL only for lack of memory.
 */
GATE_API gate_supervisor_t *
gate_supervisor_new(gate_runtime_t *rt,
                    const gate_supervisor_options_t *options);
/* Stops the children, the last one first, and frees. */
GATE_API void gate_supervisor_destroy(gate_supervisor_t **self_p);
/* Before start: one more child, or (add_service) a service that is made anew
 * for each life. The first error sticks and comes out of start. */
GATE_API void gate_supervisor_add(gate_supervisor_t *self,
                                  const gate_child_t *child);
GATE_API void gate_supervisor_add_service(gate_supervisor_t *self,
                                          const gate_service_spec_t *spec);
/* A supervisor below this one: it dies when it gives up. Takes it. */
GATE_API void gate_supervisor_add_supervisor(gate_supervisor_t *self,
                                             const char *name,
                                             gate_supervisor_t **sub_p);
/* Begins to start the children, in order, on its own thread. */
GATE_API gate_err_t gate_supervisor_start(gate_supervisor_t *self) GATE_MUST;
/* Waits until all children run, and services are registered at their brokers.
 * The last child's error when it has given up; GATE_TIMEOUT. */
GATE_API gate_err_t gate_supervisor_ready(gate_supervisor_t *self,
                                          int64_t timeout_ms) GATE_MUST;
/* A child reports that it has died of e (GATE_EOS: ended as it should). */
GATE_API void gate_supervisor_failed(gate_supervisor_t *self, const char *name,
                                     gate_err_t e);
/* GATE_OK, or the error that it gave up with. */
GATE_API gate_err_t gate_supervisor_check(gate_supervisor_t *self);
/* All children have ended for good. */
GATE_API bool gate_supervisor_over(gate_supervisor_t *self);
/* Gives: {state, strategy, intensity, period_ms, restarts, children: {name:
 * {state, restarts, error}}}. NULL only for lack of memory. */
GATE_API gate_value_t *gate_supervisor_stats(gate_supervisor_t *self);
/* "waiting", "starting", "running", "stopping" or "ended". */
GATE_API const char *gate_child_state_text(gate_child_state_t state);

GATE_END_DECLS

#endif
