/* SPDX-License-Identifier: BSD-3-Clause */
/* json_arg.c -- JSON to msgpack, by jansson. Integers that jansson cannot hold but
 * msgpack can (2^63 .. 2^64-1) are taken when they are a word of their own. */
#include "cli/json_arg.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- base64 -------------------------------------------------------------- */

static int s_digit(char c) {
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(set, c) : NULL;
    return at ? (int)(at - set) : -1;
}

/* Decodes n characters into out (room for n / 4 * 3); false if not base64. */
static bool s_base64(const char *text, size_t n, unsigned char *out,
                     size_t *out_size) {
    size_t pad = 0, size = 0;
    if (n % 4)
        return false;
    while (pad < 2 && pad < n && text[n - 1 - pad] == '=')
        pad++;
    unsigned bits = 0;
    for (size_t i = 0; i < n - pad; i++) {
        int d = s_digit(text[i]);
        if (d < 0)
            return false;
        bits = (bits << 6) | (unsigned)d;
        if (i % 4)
            out[size++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    *out_size = size;
    return true;
}

/* ---- packing ------------------------------------------------------------- */

typedef struct s_pack {
    msgpack_packer to;
    char *why;
    size_t why_size;
} s_pack_t;

static bool s_value(s_pack_t *p, json_t *v);

static bool s_fail(s_pack_t *p, const char *why) {
    snprintf(p->why, p->why_size, "%s", why);
    return false;
}

static bool s_string(s_pack_t *p, const char *text, size_t size) {
    if (size > UINT32_MAX)
        return s_fail(p, "string too long");
    return !msgpack_pack_str(&p->to, size) &&
           !msgpack_pack_str_body(&p->to, text, size);
}

static bool s_bin(s_pack_t *p, const json_t *text) {
    size_t n = json_string_length(text), size = 0;
    unsigned char *bytes = malloc(n / 4 * 3 + 3);
    bool ok = bytes && s_base64(json_string_value(text), n, bytes, &size);
    if (ok)
        ok = !msgpack_pack_bin(&p->to, size) &&
             !msgpack_pack_bin_body(&p->to, bytes, size);
    else
        s_fail(p, "the string of $bin is not base64");
    free(bytes);
    return ok;
}

static bool s_object(s_pack_t *p, json_t *v) {
    const json_t *bin = json_object_get(v, "$bin");
    if (json_object_size(v) == 1 && json_is_string(bin))
        return s_bin(p, bin);
    if (msgpack_pack_map(&p->to, json_object_size(v)))
        return s_fail(p, "no memory");
    for (void *i = json_object_iter(v); i; i = json_object_iter_next(v, i))
        if (!s_string(p, json_object_iter_key(i),
                      json_object_iter_key_len(i)) ||
            !s_value(p, json_object_iter_value(i)))
            return false;
    return true;
}

static bool s_array(s_pack_t *p, json_t *v) {
    if (msgpack_pack_array(&p->to, json_array_size(v)))
        return s_fail(p, "no memory");
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!s_value(p, json_array_get(v, i)))
            return false;
    return true;
}

static bool s_value(s_pack_t *p, json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return s_object(p, v);
    case JSON_ARRAY:
        return s_array(p, v);
    case JSON_STRING:
        return s_string(p, json_string_value(v), json_string_length(v));
    case JSON_INTEGER:
        return !msgpack_pack_int64(&p->to, json_integer_value(v));
    case JSON_REAL:
        return !msgpack_pack_double(&p->to, json_real_value(v));
    case JSON_TRUE:
        return !msgpack_pack_true(&p->to);
    case JSON_FALSE:
        return !msgpack_pack_false(&p->to);
    case JSON_NULL:
        return !msgpack_pack_nil(&p->to);
    }
    return s_fail(p, "not a JSON value");
}

/* A number that jansson refused: unsigned 64-bit, or out of range. */
static bool s_unsigned(s_pack_t *p, const char *word) {
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(word, &end, 10);
    if (errno || *word == '-' || end == word || *end)
        return s_fail(p, "a number does not fit into 64 bits");
    return !msgpack_pack_uint64(&p->to, n);
}

/* Not JSON: the word itself is the string. */
static bool s_plain(s_pack_t *p, const char *word) {
    json_t *text = json_string(word); /* NULL unless it is UTF-8 */
    if (!text)
        return s_fail(p, "not UTF-8; bytes go as {\"$bin\": \"base64\"}");
    json_decref(text);
    return s_string(p, word, strlen(word));
}

bool gi_json_pack(const char *word, msgpack_sbuffer *out, char *why,
                  size_t why_size) {
    s_pack_t p = {.why = why, .why_size = why_size};
    snprintf(why, why_size, "no memory");
    msgpack_packer_init(&p.to, out, msgpack_sbuffer_write);
    json_error_t error;
    json_t *v = json_loads(word, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!v)
        return json_error_code(&error) == json_error_numeric_overflow
                   ? s_unsigned(&p, word)
                   : s_plain(&p, word);
    bool ok = s_value(&p, v);
    json_decref(v);
    return ok;
}

const msgpack_object *gi_json_get(const msgpack_object *map, const char *key) {
    size_t size = strlen(key);
    if (map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == size &&
            !memcmp(k->via.str.ptr, key, size))
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}
