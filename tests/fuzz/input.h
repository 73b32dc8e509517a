/* SPDX-License-Identifier: BSD-3-Clause */
/* input.h -- fuzz input that is read byte by byte: each decides what is done
 * next. At its end it gives zeros. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <gaterpc/base.h>

typedef struct fuzz_input {
    const uint8_t *data;
    size_t size;
} fuzz_input_t;

/* What does not hold is named in the target's log. */
#define fuzz_must(holds) \
    ((holds) ? (void)0 : fuzz_fails(#holds, __FILE__, __LINE__))

static inline void fuzz_fails(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: must hold: %s\n", file, line, what);
    abort();
}

static inline unsigned fuzz_byte(fuzz_input_t *in) {
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

/* A byte says how many follow, of max at most; borrowed. */
static inline gate_bytes_t fuzz_some(fuzz_input_t *in, size_t max) {
    size_t n = fuzz_byte(in) % (max + 1);
    if (n > in->size)
        n = in->size;
    gate_bytes_t some = {in->data, n};
    in->data += n;
    in->size -= n;
    return some;
}

#endif
