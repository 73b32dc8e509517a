/* SPDX-License-Identifier: BSD-3-Clause */
/* check.h -- a check of a program without Criterion: what did not hold, where,
 * and what was seen; then it aborts. */
#ifndef STRESS_CHECK_H
#define STRESS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(cond, ...)                                               \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond); \
            fprintf(stderr, __VA_ARGS__);                              \
            fputc('\n', stderr);                                       \
            abort();                                                   \
        }                                                              \
    } while (0)

#endif
