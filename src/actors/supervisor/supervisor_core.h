/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_core.h -- what a supervisor decides: deaths and the time go in,
 * what to do next comes out. Knows no thread, so tests drive it with a clock of
 * their own.
 *
 *   WAITING --start--> STARTING --ok--> RUNNING --died--> STOPPING
 *      ^                  | failed                            |
 *      +------------------+-----------------------------------+--> ENDED
 *
 * Children start in their order and stop in the reverse one.
 * Law: at most `intensity` restarts in any `period_ms`; with one more it gives
 * up: everybody is stopped and nobody is started any more. */
#ifndef GI_SUPERVISOR_CORE_H
#define GI_SUPERVISOR_CORE_H

#include <gaterpc/supervisor.h>
#include <stddef.h>

#define GI_SUP_CHILDREN_MAX 256

typedef struct gi_sup_child {
    gate_restart_t restart;
    gate_child_state_t state;
    bool doomed;        /* is to be stopped */
    bool again;         /* and is to be started then */
    int64_t due_ms;     /* WAITING: when to start */
    int64_t since_ms;   /* RUNNING */
    int64_t backoff_ms; /* the wait before the next restart */
    uint64_t restarts;
    gate_err_t last; /* of what it died last */
} gi_sup_child_t;

typedef struct gi_sup {
    gate_strategy_t strategy;
    int intensity;
    int64_t period_ms, backoff_ms, backoff_max_ms;
    size_t n;
    gi_sup_child_t child[GI_SUP_CHILDREN_MAX];
    int64_t *times; /* of the last intensity + 1 restarts, a ring */
    size_t n_times;
    bool stopping, gave_up;
} gi_sup_t;

typedef enum gi_sup_do {
    GI_SUP_NOTHING,
    GI_SUP_START, /* then tell gi_sup_started */
    GI_SUP_STOP   /* then tell gi_sup_stopped */
} gi_sup_do_t;

/* GATE_NOMEM. options are complete: no zeros. */
gate_err_t gi_sup_init(gi_sup_t *self,
                       const gate_supervisor_options_t *options) GATE_MUST;
void gi_sup_fini(gi_sup_t *self);
/* At the end; it is to be started. False: too many. */
bool gi_sup_add(gi_sup_t *self, gate_restart_t restart, int64_t now_ms);
/* What to do next, and about whom. */
gi_sup_do_t gi_sup_next(gi_sup_t *self, int64_t now_ms, size_t *child);
/* When there may be something to do; INT64_MAX: nothing is planned. */
int64_t gi_sup_due(const gi_sup_t *self);
void gi_sup_started(gi_sup_t *self, size_t child, gate_err_t e, int64_t now_ms);
void gi_sup_stopped(gi_sup_t *self, size_t child, int64_t now_ms);
/* A running child has ended, GATE_OK: as it should. Others: no matter. */
void gi_sup_died(gi_sup_t *self, size_t child, gate_err_t e, int64_t now_ms);
/* Everybody is to stop, for good. */
void gi_sup_stop(gi_sup_t *self);
/* Nobody runs and nobody will. */
bool gi_sup_over(const gi_sup_t *self);
bool gi_sup_valid(const gi_sup_t *self);

#endif
