/* SPDX-License-Identifier: BSD-3-Clause */
/* The histogram of gate bench: exact below 64 ns, 1.6 % above. */
#include "bench/rigs/hist.h"

#include <criterion/criterion.h>

static gi_hist_t s_hist;

static void s_clear(void) { s_hist = (gi_hist_t){0}; }

TestSuite(hist, .init = s_clear);

Test(hist, nothing_was_counted) {
    cr_assert_eq(gi_hist_at(&s_hist, 0.5), 0);
    cr_assert_eq(gi_hist_at(&s_hist, 1), 0);
    cr_assert_eq(gi_hist_mean(&s_hist), 0);
}

Test(hist, small_values_are_exact) {
    for (uint64_t v = 0; v < 64; v++)
        gi_hist_add(&s_hist, v);
    for (uint64_t v = 0; v < 64; v++)
        cr_assert_eq(gi_hist_at(&s_hist, (double)(v + 1) / 64), v);
}

Test(hist, any_value_is_known_to_one_part_in_64) {
    for (uint64_t v = 1; v < 1ull << 41; v += v / 7 + 1) {
        s_clear();
        gi_hist_add(&s_hist, v);
        gi_hist_add(&s_hist, v << 1); /* so that max does not tell v */
        uint64_t got = gi_hist_at(&s_hist, 0.5);
        cr_assert(got >= v && got <= v + v / 64, "%lu became %lu", v, got);
    }
}

Test(hist, slots_follow_each_other) {
    uint64_t last = 0;
    for (uint64_t v = 1; v < 100000; v++) {
        s_clear();
        gi_hist_add(&s_hist, v);
        gi_hist_add(&s_hist, 1ull << 40);
        uint64_t got = gi_hist_at(&s_hist, 0.5);
        cr_assert(got >= last, "%lu: %lu after %lu", v, got, last);
        last = got;
    }
}

Test(hist, percentiles_of_a_ramp) {
    for (uint64_t v = 1; v <= 100000; v++)
        gi_hist_add(&s_hist, v);
    cr_assert(gi_hist_at(&s_hist, 0.5) >= 50000);
    cr_assert(gi_hist_at(&s_hist, 0.5) <= 50000 + 50000 / 64 + 1);
    cr_assert(gi_hist_at(&s_hist, 0.99) >= 99000);
    cr_assert_eq(gi_hist_at(&s_hist, 1), 100000);
    cr_assert_float_eq(gi_hist_mean(&s_hist), 50000.5, 0.01);
}

Test(hist, beyond_the_range_counts_as_the_largest) {
    gi_hist_add(&s_hist, UINT64_MAX);
    cr_assert_eq(s_hist.slots[GI_HIST_SLOTS - 1], 1);
    cr_assert_eq(s_hist.n, 1);
}

Test(hist, merging_is_counting_together) {
    static gi_hist_t other, both;
    for (uint64_t v = 1; v < 5000; v++) {
        gi_hist_add(v % 3 ? &s_hist : &other, v * v);
        gi_hist_add(&both, v * v);
    }
    gi_hist_merge(&s_hist, &other);
    cr_assert_eq(s_hist.n, both.n);
    cr_assert_eq(s_hist.sum, both.sum);
    cr_assert_eq(s_hist.max, both.max);
    cr_assert_arr_eq(s_hist.slots, both.slots, sizeof both.slots);
}
