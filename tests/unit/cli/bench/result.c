/* SPDX-License-Identifier: BSD-3-Clause */
/* Medians, and ratios to what was measured in turns. */
#include "bench/result.h"

#include <criterion/criterion.h>

static gi_result_t s_result, s_reference;

static void s_rounds(gi_result_t *r, const double *values, int n) {
    *r = (gi_result_t){.system = "x", .n_rounds = n};
    for (int i = 0; i < n; i++)
        r->values[i] = values[i];
}

Test(result, median_of_odd_and_even) {
    s_rounds(&s_result, (const double[]){9, 1, 5}, 3);
    cr_assert_eq(gi_result_median(&s_result), 5);
    cr_assert_eq(gi_result_min(&s_result), 1);
    cr_assert_eq(gi_result_max(&s_result), 9);
    s_rounds(&s_result, (const double[]){9, 1, 5, 6}, 4);
    cr_assert_eq(gi_result_median(&s_result), 5.5);
}

/* A machine that slows down in one round slows both: the ratio stays. */
Test(result, ratios_are_taken_round_by_round) {
    s_rounds(&s_result, (const double[]){90, 9, 180}, 3);
    s_rounds(&s_reference, (const double[]){100, 10, 200}, 3);
    gi_result_relate(&s_result, &s_reference);
    cr_assert_float_eq(s_result.ratio, 0.9, 1e-9);
}

/* The ratio of the medians would be 0.5. */
Test(result, ratios_have_extremes, .timeout = 10) {
    s_rounds(&s_result, (const double[]){100, 30, 40}, 3);
    s_rounds(&s_reference, (const double[]){80, 20, 400}, 3);
    gi_result_relate(&s_result, &s_reference);
    cr_assert_float_eq(s_result.ratio, 1.25, 1e-9);
    cr_assert_float_eq(s_result.ratio_min, 0.1, 1e-9);
    cr_assert_float_eq(s_result.ratio_max, 1.5, 1e-9);
    cr_assert(gi_result_unsteady(&s_reference));
    s_rounds(&s_reference, (const double[]){80, 60, 41}, 3);
    cr_assert_not(gi_result_unsteady(&s_reference));
}

Test(result, cpu_counts_per_100000) {
    s_rounds(&s_result, (const double[]){1}, 1);
    s_result.n = 200000;
    s_result.cpu_s = 3;
    cr_assert_float_eq(gi_result_cpu(&s_result), 1.5, 1e-9);
}
