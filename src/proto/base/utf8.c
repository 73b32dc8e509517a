/* SPDX-License-Identifier: BSD-3-Clause */
/* utf8.c -- RFC 3629: no overlong forms, no surrogates, up to U+10FFFF. */
#include "base/utf8.h"
#include <string.h>

size_t gi_utf8_next(const unsigned char *p, size_t left) {
    size_t n = *p < 0x80   ? 1
               : *p < 0xc2 ? 0
               : *p < 0xe0 ? 2
               : *p < 0xf0 ? 3
               : *p < 0xf5 ? 4
                           : 0;
    if (n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
        (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* Nearly all text is ASCII: looked at eight bytes at a time, the last ones once
 * more, or four, two and one of a short one. */
static bool s_plain8(const unsigned char *p) {
    uint64_t eight;
    memcpy(&eight, p, sizeof eight);
    return !(eight & 0x8080808080808080u);
}

static bool s_plain(const unsigned char *p, size_t size) {
    uint32_t four = 0;
    uint16_t two = 0;
    size_t at = 0;
    if (size >= 8) {
        while (size - at > 8 && s_plain8(p + at))
            at += 8;
        return size - at <= 8 && s_plain8(p + size - 8);
    }
    if (size & 4)
        memcpy(&four, p, 4), at = 4;
    if (size & 2)
        memcpy(&two, p + at, 2), at += 2;
    return !((four | two | (size & 1 ? p[at] : 0u)) & 0x80808080u);
}

/* How many bytes from p on are ASCII, at least: all of a run but its end. */
static size_t s_ascii(const unsigned char *p, size_t size) {
    size_t n = 0;
    while (size - n >= 8 && s_plain8(p + n))
        n += 8;
    return n;
}

size_t gi_utf8_prefix(const void *data, size_t size) {
    const unsigned char *p = data;
    size_t at = s_ascii(p, size);
    while (at < size) {
        size_t n = gi_utf8_next(p + at, size - at);
        if (!n)
            return at;
        at += n;
        if (n > 1)
            continue;
        at += s_ascii(p + at, size - at);
    }
    return at;
}

bool gi_utf8_valid(const void *data, size_t size) {
    return s_plain(data, size) || gi_utf8_prefix(data, size) == size;
}

size_t gi_utf8_put(uint32_t c, unsigned char out[4]) {
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(first[n] | c);
    return n;
}
