/* SPDX-License-Identifier: BSD-3-Clause */
/* Histograms: every edge, quantiles against sorted lists. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tally/lat.h"

Test(lat, each_slot_begins_at_its_edge) {
    for (unsigned i = 0; i < GI_LAT_SLOTS; i++) {
        cr_assert_eq(gi_lat_slot(gi_lat_edge(i)), i, "slot %u", i);
        if (i)
            cr_assert_eq(gi_lat_slot(gi_lat_edge(i) - 1), i - 1, "slot %u", i);
        cr_assert(gi_lat_edge(i + 1) - gi_lat_edge(i) <=
                  gi_lat_edge(i) / 8 + 1);
    }
    cr_expect_eq(gi_lat_slot(999), GI_LAT_UNDER);
    cr_expect_eq(gi_lat_slot(0), GI_LAT_UNDER);
    cr_expect_eq(gi_lat_slot(gi_lat_edge(GI_LAT_SLOTS)), GI_LAT_OVER);
    cr_expect_eq(gi_lat_slot(UINT64_MAX), GI_LAT_OVER);
    cr_expect_eq(gi_lat_edge(GI_LAT_SLOTS), UINT64_C(1000) << GI_LAT_OCTAVES);
}

Test(lat, octaves_are_exact) {
    gi_lat_t lat = {0};
    for (unsigned k = 0; k < GI_LAT_OCTAVES; k++) {
        gi_lat_add(&lat, (INT64_C(1000) << k) - 1);
        gi_lat_add(&lat, INT64_C(1000) << k);
    }
    for (unsigned k = 0; k < GI_LAT_OCTAVES; k++)
        cr_expect_eq(gi_lat_below(&lat, k), 2 * k + 1, "octave %u", k);
    cr_expect_eq(lat.n, 2 * GI_LAT_OCTAVES);
}

Test(lat, what_cannot_be_is_none_of_it) {
    gi_lat_t lat = {0};
    gi_lat_add(&lat, -5); /* a clock that went back */
    cr_expect_eq(lat.sum_ns, 0);
    cr_expect_eq(lat.slot[GI_LAT_UNDER], 1);
    gi_lat_add(&lat, INT64_MAX);
    cr_expect_eq(lat.slot[GI_LAT_OVER], 1);
    gi_lat_t empty = {0};
    cr_expect_eq(gi_lat_quantile_ns(&empty, .5), 0);
}

static int s_order(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

Test(lat, quantiles_are_within_a_step_of_the_sorted_list) {
    enum { N = 5000 };
    static int64_t all[N];
    const double shares[] = {.01, .5, .9, .99, .999};
    for (unsigned round = 0; round < 8; round++) {
        gi_lat_t lat = {0};
        srand(round);
        for (int i = 0; i < N; i++) {
            int octave = rand() % (4 + 3 * (int)round);
            all[i] = (INT64_C(1000) << octave) + rand() % (1000 << octave % 15);
            gi_lat_add(&lat, all[i]);
        }
        qsort(all, N, sizeof *all, s_order);
        for (unsigned i = 0; i < sizeof shares / sizeof *shares; i++) {
            double is = (double)all[(int)(shares[i] * N)];
            double said = gi_lat_quantile_ns(&lat, shares[i]);
            double next =
                (double)gi_lat_edge(gi_lat_slot((uint64_t)is) + 2 < GI_LAT_SLOTS
                                        ? gi_lat_slot((uint64_t)is) + 2
                                        : GI_LAT_SLOTS);
            cr_expect(said <= next && said >= is * (1 - .25),
                      "%g of round %u: %g, said %g", shares[i], round, is,
                      said);
        }
    }
}
