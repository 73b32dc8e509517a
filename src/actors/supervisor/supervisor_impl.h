/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_impl.h -- what the files of a supervisor share. */
#ifndef GI_SUPERVISOR_IMPL_H
#define GI_SUPERVISOR_IMPL_H

#include <gaterpc/supervisor.h>
#include "base/err.h"
#include "sync/keeper.h"
#include "sync/lock.h"
#include "sync/news.h"
#include "runtime/runtime.h"
#include "supervisor/supervisor_core.h"

typedef struct gi_supervised {
    gate_child_t is;          /* name is ours */
    bool (*ready)(void *ctx); /* a running one serves; NULL: it does */
    void (*free)(void *ctx);  /* at the end; NULL: the user's */
    /* under the lock */
    bool ready_seen;
    gate_err_t report; /* reported dead of this; GATE_OK: not */
    gi_error_t error;  /* its last death's */
    bool told; /* that is its own words; else only a code's, of no call here */
} gi_supervised_t;

struct gate_supervisor {
    gate_runtime_t *rt;
    gate_supervisor_options_t options; /* complete */
    gi_error_t stuck;                  /* the setters' first error */
    gi_supervised_t child[GI_SUP_CHILDREN_MAX];
    int64_t look_ms; /* the keeper's */
    bool unready;    /* somebody runs and is not ready yet; the keeper's */
    gi_drainable_t drainable;
    bool started;
    unsigned forks;      /* gi_actor_thread_forks then */
    bool ending;         /* everybody is being stopped; that thread's */
    bool below;          /* another one supervises it */
    gi_news_t news;      /* of its children */
    gi_lock_t lock;      /* of all below */
    gi_keeper_t *keeper; /* NULL before start and once held */
    gi_sup_t core;
    gi_error_t final; /* why it gave up */
};

/* Adds; name is copied. On an error, which sticks, ctx has been freed. */
void gi_supervisor_add(gate_supervisor_t *self, const gi_supervised_t *child,
                       const char *name);
/* Notes a setter's error. */
void gi_supervisor_stick(gate_supervisor_t *self, gate_err_t e);

#endif
