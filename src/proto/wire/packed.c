/* SPDX-License-Identifier: BSD-3-Clause */
/* packed.c -- magic, number of frames, then each frame's length, then their
 * bytes without gaps. A length is one byte up to 253; 254 and four bytes, most
 * significant first; 255: that frame follows outside. */
#include "wire/packed.h"

#include <string.h>
#include "base/err.h"
#include "value/mp.h"

enum { S_LONG = 254, S_OUTSIDE = 255, S_MAGIC = GI_PACKED_HEAD - 1 };

bool gi_packed_is(gate_bytes_t frame) {
    return frame.size >= GI_PACKED_HEAD &&
           memcmp(frame.data, GI_PACKED_MAGIC, S_MAGIC) == 0;
}

size_t gi_packed_size(const gate_bytes_t *f, unsigned n, uint64_t *outside) {
    size_t size = GI_PACKED_HEAD + n;
    *outside = 0;
    for (unsigned i = 0; i < n; i++) {
        size_t more = f[i].size + (f[i].size < S_LONG ? 0 : 4);
        if (f[i].size < GI_PACKED_MAX && size + more <= GI_PACKED_MAX)
            size += more;
        else
            *outside |= (uint64_t)1 << i;
    }
    return size;
}

size_t gi_packed_whole(const gate_bytes_t *f, unsigned n) {
    size_t size = GI_PACKED_HEAD + n;
    for (unsigned i = 0; i < n; i++)
        size += f[i].size + (f[i].size < S_LONG ? 0 : 4);
    return size;
}

static unsigned char *s_put_length(unsigned char *to, size_t size) {
    if (size < S_LONG) {
        *to++ = (unsigned char)size;
        return to;
    }
    *to++ = S_LONG;
    for (int k = 24; k >= 0; k -= 8)
        *to++ = (unsigned char)(size >> k);
    return to;
}

/* Lengths and bytes at once, as most messages have it: each length is a byte.
 * False: one is not. */
static bool s_write_short(const gate_bytes_t *f, unsigned n,
                          unsigned char *lengths) {
    unsigned char *to = lengths + n;
    for (unsigned i = 0; i < n; i++) {
        if (f[i].size >= S_LONG)
            return false;
        lengths[i] = (unsigned char)f[i].size;
        gi_copy_short(to, f[i].data, f[i].size);
        to += f[i].size;
    }
    return true;
}

void gi_packed_write(const gate_bytes_t *f, unsigned n, uint64_t outside,
                     unsigned char *to) {
    memcpy(to, GI_PACKED_MAGIC, S_MAGIC);
    to[S_MAGIC] = (unsigned char)n;
    to += GI_PACKED_HEAD;
    if (!outside && s_write_short(f, n, to))
        return;
    for (unsigned i = 0; i < n; i++)
        if (outside >> i & 1)
            *to++ = S_OUTSIDE;
        else
            to = s_put_length(to, f[i].size);
    for (unsigned i = 0; i < n; i++)
        if (!(outside >> i & 1)) {
            gi_copy_short(to, f[i].data, f[i].size);
            to += f[i].size;
        }
}

static gate_err_t s_short(void) {
    return gi_err(GATE_BADDATA, "a packed message ends too early");
}

/* The lengths; *p is behind them afterwards. */
static gate_err_t s_lengths(const unsigned char **p, const unsigned char *end,
                            unsigned n, gate_bytes_t *out,
                            unsigned *n_outside) {
    for (unsigned i = 0; i < n; i++) {
        size_t left = (size_t)(end - *p);
        if (left < 1 || (**p == S_LONG && left < 5))
            return s_short();
        unsigned first = *(*p)++;
        out[i] = (gate_bytes_t){NULL, first};
        if (first == S_LONG) {
            out[i].size = gi_mp_be(*p, 4);
            *p += 4;
        } else if (first == S_OUTSIDE) {
            out[i].size = SIZE_MAX;
            ++*n_outside;
        }
    }
    return GATE_OK;
}

/* The same of reading: false, it is to be looked at closer. */
static bool s_parse_short(const unsigned char *p, size_t size, unsigned n,
                          gate_bytes_t *out) {
    size_t at = n;
    if (size < n)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (p[i] >= S_LONG || p[i] > size - at)
            return false;
        out[i] = (gate_bytes_t){p + at, p[i]};
        at += p[i];
    }
    return at == size;
}

gate_err_t gi_packed_parse(gate_bytes_t frame, unsigned max, gate_bytes_t *out,
                           unsigned *n, unsigned *n_outside) {
    const unsigned char *p = frame.data, *end = p + frame.size;
    unsigned outside = 0;
    if (!gi_packed_is(frame))
        return gi_err(GATE_BADDATA, "not a packed message");
    unsigned count = p[S_MAGIC];
    if (count > max)
        return gi_err(GATE_BADDATA, "%u frames in a packed message: at most %u",
                      count, max);
    p += GI_PACKED_HEAD;
    *n = count;
    *n_outside = 0;
    if (s_parse_short(p, (size_t)(end - p), count, out))
        return GATE_OK;
    gate_err_t e = s_lengths(&p, end, count, out, &outside);
    for (unsigned i = 0; i < count && !e; i++) {
        if (out[i].size == SIZE_MAX)
            continue;
        if (out[i].size > (size_t)(end - p))
            return s_short();
        out[i].data = p;
        p += out[i].size;
    }
    if (!e && p != end)
        e = gi_err(GATE_BADDATA, "a packed message with %zu bytes behind it",
                   (size_t)(end - p));
    *n_outside = outside;
    return e;
}
