/* SPDX-License-Identifier: BSD-3-Clause */
/* traced.h -- `gate bench echo --trace`. Thread: main. */
#ifndef GI_TRACED_H
#define GI_TRACED_H

#include "bench/bench.h"

int gi_traced_run(const gi_bench_args_t *args); /* the exit code */

#endif
