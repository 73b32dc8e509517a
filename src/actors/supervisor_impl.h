/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_impl.h -- what the files of a supervisor share. */
#ifndef GI_SUPERVISOR_IMPL_H
#define GI_SUPERVISOR_IMPL_H

#include <gaterpc/supervisor.h>
#include "err.h"

typedef struct gi_supervised {
    gate_child_t is;          /* name is ours */
    bool (*ready)(void *ctx); /* a running one serves; NULL: it does */
    void (*free)(void *ctx);  /* at the end; NULL: the user's */
    /* under the lock */
    bool ready_seen;
    gate_err_t report; /* reported dead of this; GATE_OK: not */
    gi_error_t error;  /* its last death's */
} gi_supervised_t;

/* Adds; name is copied. On an error, which sticks, ctx has been freed. */
void gi_supervisor_add(gate_supervisor_t *self, const gi_supervised_t *child,
                       const char *name);
/* Notes a setter's error. */
void gi_supervisor_stick(gate_supervisor_t *self, gate_err_t e);
/* Everybody is being stopped by destroy: what is under way is not waited for.
 */
bool gi_supervisor_is_ending(gate_supervisor_t *self);
gate_runtime_t *gi_supervisor_runtime(const gate_supervisor_t *self);

#endif
