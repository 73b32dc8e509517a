/* SPDX-License-Identifier: BSD-3-Clause */
/* runtime.h (private) -- what children of a runtime need of it. Shared: each
 * child holds one reference, so destroying in the wrong order is safe. */
#ifndef GI_RUNTIME_H
#define GI_RUNTIME_H

#include <gaterpc/runtime.h>
#include "rules/access.h"
#include "jobs/pool.h"

gate_runtime_t *gi_runtime_share(gate_runtime_t *self);
void gi_runtime_release(gate_runtime_t *self);
/* Borrows: threads of the library's own, which compress and inflate and run no
 * user's code but codecs, and so are always there whatever handlers do; made on
 * first use. NULL with gate_error() set. */
gate_pool_t *gi_runtime_helpers(gate_runtime_t *rt);
static inline const gate_settings_t *
gi_runtime_settings(const gate_runtime_t *self) {
    return gate_runtime_settings(self);
}
/* Borrows, for as long as the runtime lives: the rules of setting access that
 * hold now; NULL: none. After start. */
const gi_access_t *gi_runtime_access(gate_runtime_t *self);
/* There were rules at some time; without a lock. */
bool gi_runtime_ruled(const gate_runtime_t *self);
/* A call that came without a socket: false (GATE_BUSY) above rate_limit_user.
 */
bool gi_runtime_rate(gate_runtime_t *self, int64_t now_ms);
/* Brokers and services that gate_runtime_wait drains, at a signal or once all
 * were told to: begin is asked once, idle until it says true. */
struct gi_actor;
typedef struct gi_drainable {
    struct gi_drainable *next;
    void *self;
    void (*begin)(void *self);
    bool (*idle)(void *self);
    void (*reload)(void *self); /* the rules are others; NULL: it looks */
    bool (*told)(void *self); /* its peers told it to end; NULL: they do not */
    /* Supervisors: nothing changes any more from then on; NULL: not one. */
    void (*hold)(void *self);
    gate_err_t (*failed)(void *self); /* it gave up; may be NULL */
    const struct gi_actor *actor;     /* whose loop must go on; NULL: none */
} gi_drainable_t;
void gi_runtime_add(gate_runtime_t *self, gi_drainable_t *d);
void gi_runtime_remove(gate_runtime_t *self, gi_drainable_t *d);

#endif
