/* SPDX-License-Identifier: BSD-3-Clause */
/* utf8.c -- one sequence at a time, by the table of RFC 3629 section 4. */
#include "utf8.h"

/* Bytes of the sequence at p; 0: none. */
static size_t s_sequence(const unsigned char *p, size_t left) {
    unsigned char lo = 0x80, hi = 0xbf;
    size_t n;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if ((p[0] & 0xf0) == 0xe0)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (n > left)
        return 0;
    if (p[0] == 0xe0)
        lo = 0xa0;
    else if (p[0] == 0xed)
        hi = 0x9f;
    else if (p[0] == 0xf0)
        lo = 0x90;
    else if (p[0] == 0xf4)
        hi = 0x8f;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool gi_utf8_valid(const void *data, size_t size) {
    const unsigned char *p = data, *end = p + size;
    while (p < end) {
        size_t n = s_sequence(p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

void gi_utf8_repair(char *data, size_t size) {
    unsigned char *p = (unsigned char *)data, *end = p + size;
    while (p < end) {
        size_t n = *p ? s_sequence(p, (size_t)(end - p)) : 0;
        if (n == 0) {
            *p = '?';
            n = 1;
        }
        p += n;
    }
}
