/* SPDX-License-Identifier: BSD-3-Clause */
/* access.c -- rules: first match wins, wildcards, what holds without a match;
 * and the token bucket. */
#include <criterion/criterion.h>
#include <string.h>
#include "rules/access.h"
#include "rules/bucket.h"
#include "base/mem.h"

static gate_bytes_t s_b(const char *text) {
    return (gate_bytes_t){text, strlen(text)};
}

static bool s_ask(const char *rules, const char *user, const char *service,
                  const char *method) {
    gi_access_t *a = NULL;
    cr_assert_eq(gi_access_parse(rules, &a), GATE_OK, "%s", gate_error()->text);
    bool yes = gi_access_allows(a, user, s_b(service), s_b(method));
    gi_access_destroy(&a);
    return yes;
}

Test(access, first_match_wins) {
    const char *rules = "deny bob Demo.crash; allow bob Demo.*;"
                        "allow admin *; deny * Secret.*;";
    cr_assert(!s_ask(rules, "bob", "Demo", "crash"));
    cr_assert(s_ask(rules, "bob", "Demo", "add"));
    cr_assert(s_ask(rules, "admin", "Secret", "x"));
    cr_assert(!s_ask(rules, "bob", "Secret", "x"));
    cr_assert(!s_ask(rules, "eve", "Demo", "add"));
}

Test(access, without_a_match) {
    cr_assert(s_ask("", "", "Demo", "add"));
    cr_assert(s_ask("deny bob Demo.crash", "bob", "Demo", "add"));
    cr_assert(!s_ask("allow alice Demo.add", "bob", "Demo", "add"));
    cr_assert(!s_ask("allow alice Demo.add", "alice", "Demo", "sub"));
    cr_assert(s_ask("allow alice Demo.add", "bob", "Other", "add"));
}

Test(access, nobody) {
    cr_assert(!s_ask("deny - *.*", "", "Demo", "add"));
    cr_assert(s_ask("deny - *.*", "bob", "Demo", "add"));
    cr_assert(s_ask("allow * *.*", "", "Demo", "add"));
}

Test(access, wildcards) {
    cr_assert(
        s_ask("allow a*b*c D*.get_*; deny * *", "axbyc", "Demo", "get_x"));
    cr_assert(
        !s_ask("allow a*b*c D*.get_*; deny * *", "axbyd", "Demo", "get_x"));
    cr_assert(!s_ask("allow * D*.get_*; deny * *", "a", "Demo", "get"));
    cr_assert(!s_ask("deny * a.b.c", "x", "a.b", "c"), "the last dot splits");
    cr_assert(s_ask("deny * a.b.c", "x", "a", "b.c"));
}

Test(access, concerns) {
    gi_access_t *a = NULL;
    cr_assert_eq(gi_access_parse("deny * Demo.crash", &a), GATE_OK);
    cr_assert(gi_access_concerns(a, s_b("Demo")));
    cr_assert(!gi_access_concerns(a, s_b("Dem")));
    cr_assert(!gi_access_concerns(NULL, s_b("Demo")));
    gi_access_destroy(&a);
}

Test(access, bad_rules) {
    const char *bad[] = {"permit a b.c",
                         "allow a",
                         "deny",
                         "allow a b.c d",
                         "deny a,b c.d",
                         "deny * a.b,a.c",
                         "deny * a.[a-z]*",
                         "deny * a.?",
                         "deny * {a,b}.c",
                         "deny a|b c.d",
                         "allow a b; deny",
                         ";",
                         " \n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gi_access_t *a = (gi_access_t *)1;
        cr_assert_eq(gi_access_parse(bad[i], &a), GATE_BADARG, "%s", bad[i]);
        cr_assert_eq(a, (gi_access_t *)1, "unchanged");
    }
}

Test(access, no_memory) {
    for (long n = 1;; n++) {
        gi_access_t *a = NULL;
        gi_mem_fail_at(n, false);
        gate_err_t e = gi_access_parse("allow a b.c; deny d e", &a);
        gi_mem_fail_at(0, false);
        gi_access_destroy(&a);
        if (!e)
            break;
        cr_assert_eq(e, GATE_NOMEM);
    }
}

Test(bucket, takes_and_grows) {
    gi_bucket_t b = {0};
    for (int i = 0; i < 5; i++)
        cr_assert(gi_bucket_take(&b, 10, 5, 1000));
    cr_assert(!gi_bucket_take(&b, 10, 5, 1000));
    cr_assert(!gi_bucket_take(&b, 10, 5, 1099));
    cr_assert(gi_bucket_take(&b, 10, 5, 1100));
    cr_assert(!gi_bucket_take(&b, 10, 5, 1100));
    for (int i = 0; i < 5; i++)
        cr_assert(gi_bucket_take(&b, 10, 5, 100000), "never above its burst");
    cr_assert(!gi_bucket_take(&b, 10, 5, 100000));
}
