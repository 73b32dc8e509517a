/* SPDX-License-Identifier: BSD-3-Clause */
/* shared.c -- the public face of a pool's inbox: a run is a gate_shared. */
#include <gaterpc/shared.h>
#include "base/err.h"
#include "shared/exchange.h"
#include "jobs/pool.h"

gate_shared_t *gate_shared_new(gate_pool_t *pool, size_t size) {
    if (gi_err_null(pool, "gate_shared_new"))
        return NULL;
    gate_shared_t *self = NULL;
    if (!gi_pool_is_procs(pool))
        gi_err(GATE_BADARG, "shared memory belongs to a process pool");
    else if (gi_pool_take(pool, size, &self) != GATE_OK)
        return NULL;
    return self;
}

void gate_shared_destroy(gate_shared_t **self_p) {
    gate_shared_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    gi_run_release(self);
}

void *gate_shared_data(gate_shared_t *self) {
    if (gi_err_null(self, "gate_shared_data"))
        return NULL;
    return gi_run_data(self);
}

gate_arg_t gate_shared_arg(gate_shared_t *self) {
    if (gi_err_null(self, "gate_shared_arg"))
        return gate_null(NULL);
    return gate_bin(gi_run_data(self), gi_run_size(self));
}
