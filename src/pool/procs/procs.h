/* SPDX-License-Identifier: BSD-3-Clause */
/* procs.h (private) -- the maker of process pools, and the zygote they need. */
#ifndef GI_PROCS_H
#define GI_PROCS_H

#include "jobs/pool.h"

/* NULL with gate_error() set. */
gate_pool_t *gi_pool_procs(const gi_pool_base_t *base,
                           const gate_pool_options_t *options);
/* True once gate_process_init() has succeeded (or a fork was allowed). */
bool gi_zygote_alive(void);

#endif
