/* SPDX-License-Identifier: BSD-3-Clause */
#include "huge/policy.h"
#include <criterion/criterion.h>

/* The decision after a while with a compressor of c MB/s a worker and ratio
 * 1:r, and a link of l MB/s; how many of the last 320 blocks were stored. */
static int s_stored(gi_policy_t *p, double c, double r, double l) {
    int stored = 0;
    for (int i = 0; i < 640; i++) {
        uint64_t size = 131072, sent = size;
        bool store = gi_policy_store(p);
        if (!store) {
            sent = (uint64_t)((double)size / r);
            gi_policy_compressed(p, size, sent,
                                 (uint64_t)((double)size * 1e3 / c));
        }
        gi_policy_sent(p, sent, (uint64_t)((double)sent * 1e3 / l));
        stored += i >= 320 && store;
    }
    return stored;
}

Test(policy, slow_links_are_compressed_for) {
    gi_policy_t p;
    gi_policy_init(&p, GI_POLICY_ADAPTIVE, 1);
    cr_assert_eq(s_stored(&p, 160, 4.3, 12), 0);
}

Test(policy, fast_links_are_not) {
    gi_policy_t p;
    gi_policy_init(&p, GI_POLICY_ADAPTIVE, 2);
    cr_assert_eq(s_stored(&p, 160, 4.3, 1400), 310); /* less the probes */
    gi_policy_init(&p, GI_POLICY_ADAPTIVE, 2);
    cr_assert_eq(s_stored(&p, 700, 4.4, 1100), 0); /* 1400 MB/s made */
}

Test(policy, what_does_not_shrink_is_stored) {
    gi_policy_t p;
    gi_policy_init(&p, GI_POLICY_ADAPTIVE, 1);
    cr_assert_eq(s_stored(&p, 57, 1.0, 100), 310);
}

Test(policy, changes_its_mind) {
    gi_policy_t p;
    gi_policy_init(&p, GI_POLICY_ADAPTIVE, 1);
    cr_assert_eq(s_stored(&p, 160, 4.3, 1400), 310);
    cr_assert_eq(s_stored(&p, 160, 4.3, 10), 0);
    cr_assert_eq(s_stored(&p, 160, 4.3, 1400), 310);
}

Test(policy, can_be_forced) {
    gi_policy_t p;
    gi_policy_init(&p, gi_policy_mode("store"), 1);
    cr_assert_eq(s_stored(&p, 160, 4.3, 1), 320);
    gi_policy_init(&p, gi_policy_mode("compress"), 0);
    cr_assert_eq(s_stored(&p, 1, 1, 9000), 0);
    cr_assert_eq(gi_policy_mode("adaptive"), GI_POLICY_ADAPTIVE);
    cr_assert_eq(gi_policy_mode(NULL), GI_POLICY_ADAPTIVE);
}

Test(policy, knows_nothing_at_first_and_compresses) {
    gi_policy_t p;
    gi_policy_init(&p, GI_POLICY_ADAPTIVE, 1);
    cr_assert_not(gi_policy_store(&p));
    gi_policy_sent(&p, 1000, 0);
    cr_assert_not(gi_policy_store(&p));
}
