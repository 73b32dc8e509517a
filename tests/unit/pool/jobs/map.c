/* SPDX-License-Identifier: BSD-3-Clause */
/* What a map keeps is bounded in bytes: results that wait for the reader, and
 * those that wait for the first in order. Submission pauses, nothing fails. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gaterpc/call.h>

#include "sync/clock.h"
#include "jobs/pool.h"

enum { INPUTS = 200, SIZE = 1 << 20, KEPT = 64 };

static atomic_int s_begun;
static atomic_bool s_hold;

/* Its number, then zeros. The first one waits as long as it is held. */
static gate_err_t s_large(gate_call_t *call) {
    static const char zeros[SIZE];
    int64_t n;
    gate_err_t e = gate_args(call, &n);

    atomic_fetch_add(&s_begun, 1);
    while (n == 0 && atomic_load(&s_hold))
        usleep(1000);
    if (e != GATE_OK)
        return e;
    return gate_return(call, ((gate_bytes_t){zeros, SIZE - (size_t)n % 2}));
}

/* How many were begun, once that no longer changes. */
static int s_settled(void) {
    int64_t until = gi_clock_ms() + 20000;
    int seen = -1, now;

    while ((now = atomic_load(&s_begun)) != seen || now < 16) {
        cr_assert_lt(gi_clock_ms(), until);
        seen = now;
        usleep(200000);
    }
    return now;
}

static void s_bounded(bool ordered, bool hold) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = 4};
    gate_pool_t *pool = gi_pool_threads(&base, &options);
    gate_arg_t inputs[INPUTS];
    gate_stream_t *s;
    gate_bytes_t bytes;
    size_t got = 0;

    for (int i = 0; i < INPUTS; i++)
        inputs[i] = gate_int(i);
    s_begun = 0;
    s_hold = hold;
    cr_assert_eq(gate_pool_map(pool, s_large, inputs, INPUTS, ordered, &s),
                 GATE_OK);
    cr_assert_leq(s_settled(), KEPT);
    s_hold = false;
    for (; gate_stream_next(s, &bytes) == GATE_OK; got++) {
        size_t index = gate_stream_index(s);

        cr_assert(!ordered || index == got);
        cr_assert_eq(bytes.size, SIZE - index % 2);
    }
    cr_assert_eq(got, INPUTS);
    gate_stream_destroy(&s);
    gate_pool_destroy(&pool);
}

Test(map_bytes, a_reader_that_is_slow, .timeout = 60) {
    s_bounded(true, false);
    s_bounded(false, false);
}

Test(map_bytes, a_first_one_that_is_slow, .timeout = 60) {
    s_bounded(true, true);
}
