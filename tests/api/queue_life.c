/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue holds the runtime it was made by: the user's handle may go first. */
#include <criterion/criterion.h>
#include <gaterpc.h>

Test(queue_life, outlives_the_runtimes_handle) {
    gate_runtime_t *rt = gate_runtime_new(NULL);
    GATE_OWN(gate_queue) q = gate_queue_new(rt, 4, 1024);
    cr_assert(q);
    gate_runtime_destroy(&rt);
    long x = 0;
    cr_assert_eq(gate_queue_put(q, 41, 1000), GATE_OK);
    cr_assert_eq(gate_queue_get(q, &x, 1000), GATE_OK);
    cr_assert_eq(x, 41);
}

Test(queue_life, a_refused_one_keeps_nothing) {
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    cr_assert_null(gate_queue_new(rt, 0, 0));
    cr_assert_eq(gate_error()->code, GATE_BADARG);
}
