/* SPDX-License-Identifier: BSD-3-Clause */
/* crumbs.c -- the first head may be at any of the first few hundred bytes, so
 * each is tried. A place that is none ends the walk at once, as a rule: of
 * bytes by chance one in 128 looks like a head with MORE, and none of them 65
 * times in a row. What does is a body of nothing but ones, which is why the
 * guard asks only when memory has grown as well. */
#include "wire/crumbs.h"

#include <stdint.h>

#define S_MORE 1
#define S_MORE_LARGE 3
#define S_HEADS (2 + 255) /* places where the first head may be */

/* Bytes of the frame at p, its head included; 0: it is not whole, or has no
 * MORE. */
static size_t s_frame(const unsigned char *p, size_t left) {
    uint64_t size = 0;
    if (left < 2)
        return 0;
    if (p[0] == S_MORE)
        return p[1] <= left - 2 ? 2u + p[1] : 0;
    if (p[0] != S_MORE_LARGE || left < 9)
        return 0;
    for (unsigned i = 1; i < 9; i++)
        size = size << 8 | p[i];
    return size <= left - 9 ? 9 + (size_t)size : 0;
}

static bool s_chain(const unsigned char *p, size_t left, unsigned max) {
    for (unsigned n = 0; n <= max; n++) {
        size_t size = s_frame(p, left);
        if (size == 0)
            return false;
        p += size;
        left -= size;
    }
    return true;
}

bool gi_crumbs(const void *data, size_t size, unsigned max) {
    const unsigned char *p = data;
    for (size_t at = 0; at < size && at < S_HEADS; at++)
        if (s_chain(p + at, size - at, max))
            return true;
    return false;
}
