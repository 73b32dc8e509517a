/* SPDX-License-Identifier: BSD-3-Clause */
/* faults.h -- runs an operation once for every allocation it makes, with that
 * one (then: all from it on) failing, until it gets through untouched. Leaks
 * show under ASan. */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <criterion/criterion.h>
#include "base/err.h"
#include "base/mem.h"

/* Returns what the operation came to; frees whatever it got. */
typedef gate_err_t test_op_fn(void *ctx);

/* want: the outcome without faults. With one, GATE_NOMEM or want. Returns how
 * many allocations could fail. */
static inline long test_every_fault(test_op_fn *op, void *ctx,
                                    gate_err_t want) {
    long n_faults = 0;
    for (int forever = 0; forever < 2; forever++) {
        for (long n = 1;; n++) {
            gi_mem_fail_at(n, forever != 0);
            gate_err_t e = op(ctx);
            long asked = gi_mem_asked();
            gi_mem_fail_at(0, false);
            if (asked < n) {
                cr_assert_eq(e, want, "without a fault: %s %s",
                             gate_err_name(e), gate_error()->text);
                n_faults = n - 1;
                break;
            }
            cr_assert(e == GATE_NOMEM || e == want, "fault %ld gave %s", n,
                      gate_err_name(e));
            cr_assert_lt(n, 10000);
        }
    }
    return n_faults;
}

#endif
