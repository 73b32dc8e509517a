/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_kit.h -- a process pool without a runtime. The zygote is forked by a
 * constructor: Criterion's test bodies already have two threads. */
#ifndef PROCS_KIT_H
#define PROCS_KIT_H

#include <criterion/criterion.h>
#include <gaterpc.h>
#include "jobs/pool.h"
#include "settings/settings.h"

__attribute__((constructor)) static void s_zygote(void) {
    if (gate_process_init() != GATE_OK)
        abort();
}

static inline gate_pool_t *s_pool_with(const gate_pool_options_t *o) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_t *pool = gi_pool_procs(&base, o);
    cr_assert(pool, "%s", gate_error()->text);
    return pool;
}

static inline gate_pool_t *s_pool(int workers) {
    return s_pool_with(&(gate_pool_options_t){.name = "t", .workers = workers});
}

#define ok(call)                                                          \
    do {                                                                  \
        gate_err_t e_ = (call);                                           \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s", #call, gate_err_name(e_), \
                     gate_error()->text);                                 \
    } while (0)
#define fails(call, code)                                              \
    do {                                                               \
        gate_err_t e_ = (call);                                        \
        cr_assert_eq(e_, code, "%s: %s: %s", #call, gate_err_name(e_), \
                     gate_error()->text);                              \
    } while (0)

#endif
