/* SPDX-License-Identifier: BSD-3-Clause */
/* cpus.h -- lists of CPUs as taskset has them: "2", "0-1,3". One reading for the
 * setting cpus and for a pool's option. Pure. */
#ifndef GI_CPUS_H
#define GI_CPUS_H

#include <gaterpc/error.h>
#include <stdbool.h>
#include <stdint.h>

#define GI_CPUS_MAX 1024
typedef struct gi_cpus {
    uint64_t bits[GI_CPUS_MAX / 64];
} gi_cpus_t;

/* Errors: GATE_BADARG, it is no list. */
gate_err_t gi_cpus_read(const char *text, gi_cpus_t *out) GATE_MUST;
static inline bool gi_cpus_has(const gi_cpus_t *self, unsigned cpu) {
    return self->bits[cpu / 64] >> (cpu % 64) & 1;
}
/* The error when the system gives this process none of them. */
gate_err_t gi_cpus_none(const char *text);

#endif
