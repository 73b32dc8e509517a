/* SPDX-License-Identifier: BSD-3-Clause */
/* json.c -- decoded objects as one line of JSON. What JSON lacks: bin is
 * {"$bin": base64}, ext is {"$ext": [type, base64]}, NaN and infinities are
 * {"$float": "nan"}, "inf" and "-inf"; bytes that are not UTF-8 become U+FFFD.
 * Keys become strings; a map in which two would be the same, or one is no text
 * at all (a list, say), is {"$map": [[key, value], ...]}, and so is one that
 * looks like one of these forms. */
#include "base/mem.h"
#include "base/utf8.h"
#include "value/value.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decoded values end at 512; this bounds objects that a program made. */
enum { S_DEPTH_MAX = 1024 };

static void s_text(gi_buf_t *out, const char *s) {
    gi_buf_append(out, s, strlen(s));
}

/* What a terminal would obey is told in the other of JSON's two ways: controls,
 * DEL, U+0080..9F, and what turns the direction of writing. 0: nothing of that. */
static unsigned s_trick(const unsigned char *p, size_t n) {
    unsigned c =
        n == 1   ? p[0]
        : n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu)
        : n == 3 ? (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu)
                 : 0;
    bool turns = c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
                 (c >= 0x2066 && c <= 0x2069);
    return c == '"' || c == '\\' || (c >= 0x7f && c < 0xa0) || turns ? c : 0;
}

static void s_escaped(gi_buf_t *out, unsigned c) {
    static const char letters[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
    const char *at = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
    char code[8];
    if (at)
        snprintf(code, sizeof code, "\\%c", names[at - letters]);
    else
        snprintf(code, sizeof code, "\\u%04x", c);
    s_text(out, code);
}

static void s_string(gi_buf_t *out, const char *s, size_t size) {
    const unsigned char *p = (const unsigned char *)s, *end = p + size;
    const unsigned char *plain = p; /* start of the run not yet written */
    gi_buf_append(out, "\"", 1);
    while (p < end) {
        size_t n = gi_utf8_next(p, (size_t)(end - p));
        unsigned trick = n && *p >= 0x20 ? s_trick(p, n) : *p;
        if (n && *p >= 0x20 && !trick) {
            p += n;
            continue;
        }
        gi_buf_append(out, plain, (size_t)(p - plain));
        if (n)
            s_escaped(out, trick);
        else
            s_text(out, "\xef\xbf\xbd");
        p += n ? n : 1;
        plain = p;
    }
    gi_buf_append(out, plain, (size_t)(p - plain));
    gi_buf_append(out, "\"", 1);
}

static void s_base64(gi_buf_t *out, const char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)data;
    gi_buf_append(out, "\"", 1);
    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t v = (uint32_t)p[i] << 16 |
                     (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (n > 2 ? p[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63],
                        n > 1 ? digits[v >> 6 & 63] : '=',
                        n > 2 ? digits[v & 63] : '='};
        gi_buf_append(out, four, 4);
    }
    gi_buf_append(out, "\"", 1);
}

/* The shortest form that reads back as the same number. */
static void s_double(gi_buf_t *out, double v) {
    char text[40];
    if (!isfinite(v)) {
        s_text(out, isnan(v) ? "{\"$float\":\"nan\"}"
                    : v > 0  ? "{\"$float\":\"inf\"}"
                             : "{\"$float\":\"-inf\"}");
        return;
    }
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's static */
    locale_t before = uselocale(c);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) /* NOLINT: equal is meant */
            break;
    }
    uselocale(before);
    freelocale(c);
    s_text(out, text);
    if (!strpbrk(text, ".e"))
        s_text(out, ".0");
}

static void s_object(gi_buf_t *out, const msgpack_object *o, unsigned depth);

/* ---- keys ---------------------------------------------------------------- */
/* It has no text of its own that could be read again. */
static bool s_is_odd(const msgpack_object *key) {
    bool number = key->type == MSGPACK_OBJECT_FLOAT ||
                  key->type == MSGPACK_OBJECT_FLOAT32;
    return key->type == MSGPACK_OBJECT_ARRAY ||
           key->type == MSGPACK_OBJECT_MAP || key->type == MSGPACK_OBJECT_BIN ||
           key->type == MSGPACK_OBJECT_EXT ||
           (number && !isfinite(key->via.f64));
}

static uint64_t s_hash(const void *data, size_t size) {
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h ? h : 1;
}

static uint64_t s_hash_key(gi_buf_t *text, const msgpack_object *key) {
    if (key->type == MSGPACK_OBJECT_STR)
        return s_hash(key->via.str.ptr, key->via.str.size);
    text->size = 0;
    s_object(text, key, 0);
    return s_hash(text->data, text->size);
}

/* Their texts differ. Two of one hash are taken for the same: the other form
 * is right as well. */
static bool s_differ(gi_buf_t *out, const msgpack_object_map *m) {
    size_t room = 8;
    gi_buf_t text = {0};
    bool same = false;
    while (room < 2 * (size_t)m->size)
        room *= 2;
    uint64_t few[64] = {0}, *seen = few;
    if (room > 64)
        seen = gi_mem_calloc(room, sizeof *seen);
    for (uint32_t i = 0; seen && i < m->size && !same; i++) {
        uint64_t h = s_hash_key(&text, &m->ptr[i].key);
        size_t at = h & (room - 1);
        while (seen[at] && seen[at] != h)
            at = (at + 1) & (room - 1);
        same = seen[at] == h;
        seen[at] = h;
    }
    out->failed = out->failed || !seen || text.failed;
    gi_buf_fini(&text);
    if (seen != few)
        gi_mem_free(seen);
    return !same;
}

static bool s_looks_special(const msgpack_object_map *m) {
    static const char *const names[] = {"$bin", "$ext", "$float", "$map"};
    const msgpack_object_str *key = &m->ptr[0].key.via.str;
    if (m->size != 1 || m->ptr[0].key.type != MSGPACK_OBJECT_STR)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (key->size == strlen(names[i]) &&
            !memcmp(key->ptr, names[i], key->size))
            return i > 0 || m->ptr[0].val.type == MSGPACK_OBJECT_STR;
    return false;
}

static bool s_is_json(gi_buf_t *out, const msgpack_object_map *m) {
    for (uint32_t i = 0; i < m->size; i++)
        if (s_is_odd(&m->ptr[i].key))
            return false;
    return m->size == 0 || (!s_looks_special(m) && s_differ(out, m));
}

/* A key that is no string becomes the string of its JSON. */
static void s_key(gi_buf_t *out, const msgpack_object *key) {
    gi_buf_t text = {0};
    if (key->type == MSGPACK_OBJECT_STR) {
        s_string(out, key->via.str.ptr, key->via.str.size);
        return;
    }
    s_object(&text, key, 0);
    s_string(out, (const char *)text.data, text.size);
    out->failed = out->failed || text.failed;
    gi_buf_fini(&text);
}

static void s_array(gi_buf_t *out, const msgpack_object_array *a,
                    unsigned depth) {
    gi_buf_append(out, "[", 1);
    for (uint32_t i = 0; i < a->size && !out->failed; i++) {
        if (i)
            gi_buf_append(out, ",", 1);
        s_object(out, &a->ptr[i], depth);
    }
    gi_buf_append(out, "]", 1);
}

/* {"$map": [[key, value], ...]} */
static void s_pairs(gi_buf_t *out, const msgpack_object_map *m,
                    unsigned depth) {
    s_text(out, "{\"$map\":[");
    for (uint32_t i = 0; i < m->size && !out->failed; i++) {
        s_text(out, i ? ",[" : "[");
        s_object(out, &m->ptr[i].key, depth);
        gi_buf_append(out, ",", 1);
        s_object(out, &m->ptr[i].val, depth);
        gi_buf_append(out, "]", 1);
    }
    s_text(out, "]}");
}

static void s_map(gi_buf_t *out, const msgpack_object_map *m, unsigned depth) {
    if (!s_is_json(out, m)) {
        s_pairs(out, m, depth);
        return;
    }
    gi_buf_append(out, "{", 1);
    for (uint32_t i = 0; i < m->size && !out->failed; i++) {
        if (i)
            gi_buf_append(out, ",", 1);
        s_key(out, &m->ptr[i].key);
        gi_buf_append(out, ":", 1);
        s_object(out, &m->ptr[i].val, depth);
    }
    gi_buf_append(out, "}", 1);
}

static void s_ext(gi_buf_t *out, const msgpack_object_ext *ext) {
    char head[32];
    snprintf(head, sizeof head, "{\"$ext\":[%d,", ext->type);
    s_text(out, head);
    s_base64(out, ext->ptr, ext->size);
    s_text(out, "]}");
}

static void s_object(gi_buf_t *out, const msgpack_object *o, unsigned depth) {
    char number[32];
    switch (depth > S_DEPTH_MAX ? MSGPACK_OBJECT_NIL : o->type) {
    case MSGPACK_OBJECT_NIL:
        s_text(out, "null");
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        s_text(out, o->via.boolean ? "true" : "false");
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        snprintf(number, sizeof number, "%" PRIu64, o->via.u64);
        s_text(out, number);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        snprintf(number, sizeof number, "%" PRId64, o->via.i64);
        s_text(out, number);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        s_double(out, o->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        s_string(out, o->via.str.ptr, o->via.str.size);
        break;
    case MSGPACK_OBJECT_BIN:
        s_text(out, "{\"$bin\":");
        s_base64(out, o->via.bin.ptr, o->via.bin.size);
        s_text(out, "}");
        break;
    case MSGPACK_OBJECT_EXT:
        s_ext(out, &o->via.ext);
        break;
    case MSGPACK_OBJECT_ARRAY:
        s_array(out, &o->via.array, depth + 1);
        break;
    case MSGPACK_OBJECT_MAP:
        s_map(out, &o->via.map, depth + 1);
        break;
    }
}

char *gate_object_json(const msgpack_object *object) {
    gi_buf_t out = {0};
    char *text = NULL;
    if (!object) {
        (void)gi_err(GATE_BADARG, "JSON of no value: it is NULL");
        return NULL;
    }
    s_object(&out, object, 0);
    if (!out.failed && (text = malloc(out.size + 1))) { /* the user frees it */
        memcpy(text, out.data, out.size);
        text[out.size] = '\0';
    } else {
        (void)gi_err(GATE_NOMEM, "JSON of a value");
    }
    gi_buf_fini(&out);
    return text;
}

char *gate_value_json(const gate_value_t *self) {
    return gate_object_json(self ? gate_value_object(self) : NULL);
}
