/* SPDX-License-Identifier: BSD-3-Clause */
/* mp.h -- msgpack by the byte: reading one head, writing one item. Inline,
 * since every call passes here several times. */
#ifndef GI_MP_H
#define GI_MP_H

#include "base/buf.h"

#include <string.h>

/* ---- reading ------------------------------------------------------------- */
typedef enum gi_mp_kind {
    GI_MP_NIL,
    GI_MP_BOOL,
    GI_MP_UINT,
    GI_MP_INT, /* negative */
    GI_MP_F32,
    GI_MP_F64,
    GI_MP_STR, /* from here on n counts */
    GI_MP_BIN,
    GI_MP_EXT,
    GI_MP_ARRAY,
    GI_MP_MAP,
    GI_MP_RESERVED /* 0xc1 */
} gi_mp_kind_t;

typedef struct gi_mp {
    gi_mp_kind_t kind;
    int8_t ext;    /* type of an ext */
    uint32_t n;    /* bytes of a body, items, or pairs */
    uint64_t bits; /* a scalar */
} gi_mp_t;

/* n bytes, most significant first */
static inline uint64_t gi_mp_be(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static inline uint64_t gi_mp_sign(uint64_t v, size_t bytes) {
    unsigned shift = 64 - 8 * (unsigned)bytes;
    return (uint64_t)((int64_t)(v << shift) >> shift);
}

/* Reads the head at p; its length, or 0 when left is too short for it. */
static inline size_t gi_mp_head(const unsigned char *p, size_t left,
                                gi_mp_t *h) {
    /* for 0xc0..0xdf: kind, bytes of number behind the first byte, fixed n */
    static const struct {
        unsigned char kind, width, n;
    } rows[32] = {
        {GI_MP_NIL, 0, 0},  {GI_MP_RESERVED, 0, 0}, {GI_MP_BOOL, 0, 0},
        {GI_MP_BOOL, 0, 0}, {GI_MP_BIN, 1, 0},      {GI_MP_BIN, 2, 0},
        {GI_MP_BIN, 4, 0},  {GI_MP_EXT, 1, 0},      {GI_MP_EXT, 2, 0},
        {GI_MP_EXT, 4, 0},  {GI_MP_F32, 4, 0},      {GI_MP_F64, 8, 0},
        {GI_MP_UINT, 1, 0}, {GI_MP_UINT, 2, 0},     {GI_MP_UINT, 4, 0},
        {GI_MP_UINT, 8, 0}, {GI_MP_INT, 1, 0},      {GI_MP_INT, 2, 0},
        {GI_MP_INT, 4, 0},  {GI_MP_INT, 8, 0},      {GI_MP_EXT, 0, 1},
        {GI_MP_EXT, 0, 2},  {GI_MP_EXT, 0, 4},      {GI_MP_EXT, 0, 8},
        {GI_MP_EXT, 0, 16}, {GI_MP_STR, 1, 0},      {GI_MP_STR, 2, 0},
        {GI_MP_STR, 4, 0},  {GI_MP_ARRAY, 2, 0},    {GI_MP_ARRAY, 4, 0},
        {GI_MP_MAP, 2, 0},  {GI_MP_MAP, 4, 0},
    };
    *h = (gi_mp_t){0};
    if (!left)
        return 0;
    unsigned b = *p;
    if (b < 0x80 || b >= 0xe0) { /* fixints */
        h->kind = b < 0x80 ? GI_MP_UINT : GI_MP_INT;
        h->bits = b < 0x80 ? b : gi_mp_sign(b, 1);
        return 1;
    }
    if (b < 0xc0) { /* fixmap, fixarray, fixstr */
        h->kind = b < 0x90 ? GI_MP_MAP : b < 0xa0 ? GI_MP_ARRAY : GI_MP_STR;
        h->n = b & (b < 0xa0 ? 0x0f : 0x1f);
        return 1;
    }
    unsigned width = rows[b - 0xc0].width;
    bool is_ext = rows[b - 0xc0].kind == GI_MP_EXT;
    size_t size = 1 + width + is_ext;
    if (left < size)
        return 0;
    h->kind = (gi_mp_kind_t)rows[b - 0xc0].kind;
    uint64_t v = gi_mp_be(p + 1, width);
    if (h->kind >= GI_MP_STR)
        h->n = width ? (uint32_t)v : rows[b - 0xc0].n;
    else if (h->kind == GI_MP_INT)
        h->bits = gi_mp_sign(v, width);
    else
        h->bits = h->kind == GI_MP_BOOL ? b == 0xc3 : v;
    if (is_ext)
        h->ext = (int8_t)p[1 + width];
    return size;
}

/* ---- writing: failures stay in buf->failed ------------------------------- */
static inline void gi_mp_put_be(gi_buf_t *to, unsigned first, uint64_t v,
                                unsigned width) {
    if (!gi_buf_reserve(to, 9))
        return;
    unsigned char *p = to->data + to->size;
    *p++ = (unsigned char)first;
    for (unsigned i = width; i-- > 0;)
        *p++ = (unsigned char)(v >> (8 * i));
    to->size += 1 + width;
}

static inline void gi_mp_put_byte(gi_buf_t *to, unsigned byte) {
    gi_mp_put_be(to, byte, 0, 0);
}

static inline void gi_mp_put_nil(gi_buf_t *to) { gi_mp_put_byte(to, 0xc0); }

static inline void gi_mp_put_bool(gi_buf_t *to, bool v) {
    gi_mp_put_byte(to, v ? 0xc3 : 0xc2);
}

static inline void gi_mp_put_uint(gi_buf_t *to, uint64_t v) {
    if (v < 0x80)
        gi_mp_put_byte(to, (unsigned)v);
    else if (v <= UINT8_MAX)
        gi_mp_put_be(to, 0xcc, v, 1);
    else if (v <= UINT16_MAX)
        gi_mp_put_be(to, 0xcd, v, 2);
    else if (v <= UINT32_MAX)
        gi_mp_put_be(to, 0xce, v, 4);
    else
        gi_mp_put_be(to, 0xcf, v, 8);
}

static inline void gi_mp_put_int(gi_buf_t *to, int64_t v) {
    if (v >= 0)
        gi_mp_put_uint(to, (uint64_t)v);
    else if (v >= -32)
        gi_mp_put_byte(to, (unsigned)v & 0xff);
    else if (v >= INT8_MIN)
        gi_mp_put_be(to, 0xd0, (uint64_t)v, 1);
    else if (v >= INT16_MIN)
        gi_mp_put_be(to, 0xd1, (uint64_t)v, 2);
    else if (v >= INT32_MIN)
        gi_mp_put_be(to, 0xd2, (uint64_t)v, 4);
    else
        gi_mp_put_be(to, 0xd3, (uint64_t)v, 8);
}

static inline void gi_mp_put_f64(gi_buf_t *to, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    gi_mp_put_be(to, 0xcb, bits, 8);
}

/* A str of n bytes; n fits 32 bits. */
static inline void gi_mp_put_str(gi_buf_t *to, const void *data, size_t n) {
    if (n < 32)
        gi_mp_put_byte(to, 0xa0 | (unsigned)n);
    else if (n <= UINT8_MAX)
        gi_mp_put_be(to, 0xd9, n, 1);
    else if (n <= UINT16_MAX)
        gi_mp_put_be(to, 0xda, n, 2);
    else
        gi_mp_put_be(to, 0xdb, n, 4);
    gi_buf_append(to, data, n);
}

static inline void gi_mp_put_bin_head(gi_buf_t *to, size_t n) {
    if (n <= UINT8_MAX)
        gi_mp_put_be(to, 0xc4, n, 1);
    else if (n <= UINT16_MAX)
        gi_mp_put_be(to, 0xc5, n, 2);
    else
        gi_mp_put_be(to, 0xc6, n, 4);
}

static inline void gi_mp_put_bin(gi_buf_t *to, const void *data, size_t n) {
    gi_mp_put_bin_head(to, n);
    gi_buf_append(to, data, n);
}

static inline void gi_mp_put_array(gi_buf_t *to, size_t n) {
    if (n < 16)
        gi_mp_put_byte(to, 0x90 | (unsigned)n);
    else if (n <= UINT16_MAX)
        gi_mp_put_be(to, 0xdc, n, 2);
    else
        gi_mp_put_be(to, 0xdd, n, 4);
}

static inline void gi_mp_put_map(gi_buf_t *to, size_t n) {
    if (n < 16)
        gi_mp_put_byte(to, 0x80 | (unsigned)n);
    else if (n <= UINT16_MAX)
        gi_mp_put_be(to, 0xde, n, 2);
    else
        gi_mp_put_be(to, 0xdf, n, 4);
}

#endif
