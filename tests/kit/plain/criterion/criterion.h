/* SPDX-License-Identifier: BSD-3-Clause */
/* criterion.h -- as much of Criterion as the tests use, for builds that Criterion
 * does not run in (ThreadSanitizer): the same test files become plain programs,
 * each test in a process of its own (runner.c). An assertion that fails names
 * its condition; it does not print the values as Criterion does. */
#ifndef PLAIN_CRITERION_H
#define PLAIN_CRITERION_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct plain_options {
    void (*init)(void), (*fini)(void);
    double timeout; /* s; stretched as the build is slow; 0: the runner's */
    int exit_code;
    bool disabled;
    const char *description;
} plain_options_t;

typedef struct plain_test {
    const char *suite, *name; /* name NULL: the suite's own options */
    void (*run)(void);
    const plain_options_t *options;
    struct plain_test *next;
} plain_test_t;

void plain_add(plain_test_t *test); /* before main; keeps */
/* Says what did not hold; fatal: and ends the test there. */
__attribute__((format(printf, 5, 6))) void
plain_failed(bool fatal, const char *file, int line, const char *what,
             const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void
plain_skip(const char *format, ...);

#define PLAIN_ADD(id, suite_, name_, run_, ...)                                \
    static const plain_options_t id##_options = {__VA_ARGS__};                 \
    __attribute__((constructor)) static void id##_add(void) {                  \
        static plain_test_t test = {suite_, name_, run_, &id##_options, NULL}; \
        plain_add(&test);                                                      \
    }
#define Test(suite, name, ...)                                     \
    static void suite##_##name##_run(void);                        \
    PLAIN_ADD(suite##_##name, #suite, #name, suite##_##name##_run, \
              __VA_ARGS__)                                         \
    static void suite##_##name##_run(void)
#define TestSuite(suite, ...)                                 \
    PLAIN_ADD(suite##_suite, #suite, NULL, NULL, __VA_ARGS__) \
    struct plain_test

#define PLAIN_CHECK(fatal, cond, what, ...) \
    ((cond) ? (void)0                       \
            : plain_failed(fatal, __FILE__, __LINE__, what, " " __VA_ARGS__))
#define PLAIN_OP(fatal, a, op, b, ...) \
    PLAIN_CHECK(fatal, (a)op(b), #a " " #op " " #b, __VA_ARGS__)

#define cr_assert(c, ...) PLAIN_CHECK(true, c, #c, __VA_ARGS__)
#define cr_assert_not(c, ...) PLAIN_CHECK(true, !(c), "not " #c, __VA_ARGS__)
#define cr_assert_null(p, ...) PLAIN_OP(true, p, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) PLAIN_OP(true, p, !=, NULL, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) PLAIN_OP(true, a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) PLAIN_OP(true, a, !=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) PLAIN_OP(true, a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) PLAIN_OP(true, a, >=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) PLAIN_OP(true, a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) PLAIN_OP(true, a, <=, b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) \
    PLAIN_CHECK(true, strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) \
    PLAIN_CHECK(true, strcmp(a, b) != 0, #a " is not " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) \
    PLAIN_CHECK(true, memcmp(a, b, size) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...)                                    \
    PLAIN_CHECK(true, fabs((double)(a) - (double)(b)) <= (e), #a " is " #b, \
                __VA_ARGS__)
#define cr_assert_fail(...) PLAIN_CHECK(true, false, "reached", __VA_ARGS__)

#define cr_expect(c, ...) PLAIN_CHECK(false, c, #c, __VA_ARGS__)
#define cr_expect_not(c, ...) PLAIN_CHECK(false, !(c), "not " #c, __VA_ARGS__)
#define cr_expect_null(p, ...) PLAIN_OP(false, p, ==, NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...) PLAIN_OP(false, p, !=, NULL, __VA_ARGS__)
#define cr_expect_eq(a, b, ...) PLAIN_OP(false, a, ==, b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...) PLAIN_OP(false, a, !=, b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...) PLAIN_OP(false, a, >, b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...) PLAIN_OP(false, a, >=, b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...) PLAIN_OP(false, a, <, b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...) PLAIN_OP(false, a, <=, b, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) \
    PLAIN_CHECK(false, strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)

#define cr_skip_test(...) plain_skip(__VA_ARGS__)
#define cr_log_info(...) fprintf(stderr, __VA_ARGS__)

#endif
