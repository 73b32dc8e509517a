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

static gate_bytes_t s_text(const char *text) {
    return (gate_bytes_t){text, strlen(text)};
}

/* Who was right from there is looked at; wrong ones cost the address's tries. */
Test(guesses, the_right_ones_are_remembered_for_a_while) {
    gi_guesses_t *g = gi_guesses_new();
    gate_bytes_t here = s_text("10.0.0.1"), bob = s_text("bob");
    cr_assert(g);
    gi_guess_right(g, here, bob, s_text("good"), 1000);
    for (int i = 0; i < 10; i++)
        gi_guesses_wrong(g, here, bob, 1000);
    cr_expect_not(gi_guesses_may(g, here, bob, 1000));
    cr_expect(gi_guess_was_right(g, here, bob, s_text("good"), 1000));
    cr_expect_not(gi_guess_was_right(g, here, bob, s_text("bad"), 1000));
    cr_expect_not(
        gi_guess_was_right(g, here, s_text("eve"), s_text("good"), 1000));
    cr_expect_not(
        gi_guess_was_right(g, s_text("::2"), bob, s_text("good"), 1000));
    int64_t later = 1000 + 16 * 60 * 1000;
    cr_expect_not(gi_guess_was_right(g, here, bob, s_text("good"), later));
    int looked = 0;
    for (int i = 0; i < 1000; i++) {
        gi_guess_right(g, here, bob, s_text("good"), later);
        looked += gi_guess_was_right(g, here, bob, s_text("bad"), later);
    }
    cr_expect_eq(looked, 0);
    cr_expect_not(gi_guess_was_right(g, here, bob, s_text("good"), later),
                  "who guesses at that learns little");
    gi_guesses_destroy(&g);
}
