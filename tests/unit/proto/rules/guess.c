/* SPDX-License-Identifier: BSD-3-Clause */
/* Buckets by text: how many tries, how they come back, what is forgotten. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "rules/guess.h"

static unsigned s_tries(gi_guess_t *g, const char *key, unsigned n,
                        int64_t now_ms) {
    unsigned looked_at = 0;
    for (unsigned i = 0; i < n; i++)
        if (gi_guess_may(g, key, strlen(key), now_ms)) {
            looked_at++;
            gi_guess_wrong(g, key, strlen(key), now_ms);
        }
    return looked_at;
}

Test(guess, so_many_and_then_slowly) {
    gi_guess_t *g = gi_guess_new(5, 10);
    cr_expect_eq(s_tries(g, "a", 100, 1000), 10);
    cr_expect_eq(s_tries(g, "b", 100, 1000), 10);
    cr_expect_eq(s_tries(g, "a", 100, 2000), 5);
    cr_expect_eq(s_tries(g, "a", 100, 100000), 10);
    gi_guess_destroy(&g);
    cr_expect_null(g);
    gi_guess_destroy(&g);
}

/* Others' entries do not wash one out that is used up. */
Test(guess, a_full_table_forgets_the_innocent) {
    gi_guess_t *g = gi_guess_new(0.001, 10);
    char key[24];
    cr_expect_eq(s_tries(g, "guilty", 100, 1000), 10);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "other %d", i);
        gi_guess_wrong(g, key, strlen(key), 1000);
    }
    cr_expect_not(gi_guess_may(g, "guilty", 6, 1000));
    cr_expect(gi_guess_may(g, "other 5", 7, 1000));
    gi_guess_destroy(&g);
}
