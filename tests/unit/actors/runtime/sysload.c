/* SPDX-License-Identifier: BSD-3-Clause */
/* What a busy program gets, of lines of /proc/loadavg. */
#include <criterion/criterion.h>
#include "runtime/sysload.h"

static double s_of(gi_sysload_t *load, const char *line) {
    return gi_sysload_of(load, line, 2);
}

Test(sysload, a_calm_machine_gives_all) {
    gi_sysload_t load = {0};
    for (int i = 0; i < 20; i++)
        cr_expect_eq(s_of(&load, "1.90 9.00 9.00 2/300 77\n"), 1);
}

Test(sysload, the_average_counts_and_what_runs_now) {
    gi_sysload_t load = {0};
    cr_expect_float_eq(s_of(&load, "20.00 0.10 0.10 1/300 77\n"), 0.1, 0.001);
    for (int i = 0; i < 20; i++) /* a load that has just begun */
        (void)s_of(&load, "0.50 0.10 0.10 40/300 77\n");
    double busy = s_of(&load, "0.50 0.10 0.10 40/300 77\n");
    cr_expect(busy < 0.06 && busy > 0.04, "%f", busy);
    cr_expect(s_of(&load, "0.50 0.10 0.10 1/300 77\n") < 0.1);
    for (int i = 0; i < 40; i++)
        busy = s_of(&load, "0.50 0.10 0.10 1/300 77\n");
    cr_expect_eq(busy, 1);
}

Test(sysload, what_cannot_be_read_is_no_load) {
    gi_sysload_t load = {0};
    cr_expect_eq(s_of(&load, ""), 1);
    cr_expect_eq(s_of(&load, "much"), 1);
    cr_expect_eq(gi_sysload_of(&load, "20.00 0 0 9/9 1\n", 0), 1);
    double share = gi_sysload_share(&load, 0);
    cr_expect(share > 0 && share <= 1);
    cr_expect_eq(gi_sysload_share(&load, 1), share); /* as it was */
}
