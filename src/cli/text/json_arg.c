/* SPDX-License-Identifier: BSD-3-Clause */
/* json_arg.c -- a word of the command line: JSON, a number or a plain string;
 * what JSON lacks is said as gate_object_json says it. */
#include "text/json_arg.h"
#include "text/json_read.h"

#include <ctype.h>
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

/* ---- what JSON lacks ------------------------------------------------------ */
static bool s_is(const msgpack_object *o, const char *text) {
    return o->type == MSGPACK_OBJECT_STR && o->via.str.size == strlen(text) &&
           !memcmp(o->via.str.ptr, text, o->via.str.size);
}

/* False: it is not base64, or there is no memory. */
static bool s_bytes(const msgpack_object *text, msgpack_packer *to, int ext) {
    size_t n = text->via.str.size, size = 0;
    unsigned char *bytes = malloc(n / 4 * 3 + 3);
    bool ok = bytes && s_base64(text->via.str.ptr, n, bytes, &size);
    if (ok && ext > INT8_MAX)
        ok = !msgpack_pack_bin_with_body(to, bytes, size);
    else if (ok)
        ok = !msgpack_pack_ext_with_body(to, bytes, size, (int8_t)ext);
    free(bytes);
    return ok;
}

static bool s_float(const msgpack_object *word, msgpack_packer *to) {
    static const char *const words[] = {"nan", "inf", "-inf"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (s_is(word, words[i]))
            return !msgpack_pack_double(to, strtod(words[i], NULL));
    return false;
}

static bool s_is_pairs(const msgpack_object *o) {
    for (uint32_t i = 0; i < o->via.array.size; i++)
        if (o->via.array.ptr[i].type != MSGPACK_OBJECT_ARRAY ||
            o->via.array.ptr[i].via.array.size != 2)
            return false;
    return true;
}

static bool s_pairs(const msgpack_object *o, msgpack_packer *to) {
    bool ok = !msgpack_pack_map(to, o->via.array.size);
    for (uint32_t i = 0; i < o->via.array.size && ok; i++) {
        const msgpack_object *pair = o->via.array.ptr[i].via.array.ptr;
        ok = !msgpack_pack_object(to, pair[0]) &&
             !msgpack_pack_object(to, pair[1]);
    }
    return ok;
}

/* An [int8, str] that stands for an ext; ints beyond are none. */
static bool s_is_ext(const msgpack_object *o) {
    const msgpack_object *p = o->via.array.ptr;
    return o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size == 2 &&
           (p[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
            p[0].type == MSGPACK_OBJECT_NEGATIVE_INTEGER) &&
           p[0].via.i64 >= INT8_MIN && p[0].via.i64 <= INT8_MAX &&
           p[1].type == MSGPACK_OBJECT_STR;
}

const char *gi_json_special(const msgpack_object_kv *kv, msgpack_packer *to,
                            bool *is) {
    const msgpack_object *v = &kv->val;
    *is = true;
    if (s_is(&kv->key, "$bin") && v->type == MSGPACK_OBJECT_STR)
        return s_bytes(v, to, INT8_MAX + 1)
                   ? NULL
                   : "the string of $bin is not base64";
    if (s_is(&kv->key, "$ext") && s_is_ext(v))
        return s_bytes(&v->via.array.ptr[1], to,
                       (int)v->via.array.ptr[0].via.i64)
                   ? NULL
                   : "the string of $ext is not base64";
    if (s_is(&kv->key, "$float") && v->type == MSGPACK_OBJECT_STR)
        return s_float(v, to) ? NULL : "$float is nan, inf or -inf";
    if (s_is(&kv->key, "$map") && v->type == MSGPACK_OBJECT_ARRAY &&
        s_is_pairs(v))
        return s_pairs(v, to) ? NULL : "no memory";
    *is = false;
    return NULL;
}

/* ---- packing ------------------------------------------------------------- */
/* It begins as JSON that is no number: a slip rather than a string. */
static bool s_means_json(const char *word) {
    while (isspace((unsigned char)*word))
        word++;
    return *word == '{' || *word == '[' || *word == '"';
}

bool gi_json_pack(const char *word, msgpack_sbuffer *out, char *why,
                  size_t why_size) {
    size_t start = out->size;
    gi_json_result_t result = gi_json_read(word, out, why, why_size);
    if (result == GI_JSON_OK)
        return true;
    if (result == GI_JSON_BAD || s_means_json(word))
        return false;
    out->size = start;
    if (!gi_json_text(word, strlen(word))) {
        snprintf(why, why_size,
                 "not UTF-8; bytes go as {\"$bin\": \"base64\"}");
        return false;
    }
    msgpack_packer to;
    msgpack_packer_init(&to, out, msgpack_sbuffer_write);
    snprintf(why, why_size, "no memory");
    return !msgpack_pack_str_with_body(&to, word, strlen(word));
}

bool gi_json_print(const msgpack_object *value) {
    char *json = gate_object_json(value);
    bool ok = json && puts(json) >= 0;
    free(json);
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

void gi_json_put(const char *text) {
    GATE_OWN(gate_value) value = gate_value_new_(gate_str(text));
    char *json = value ? gate_value_json(value) : NULL;
    fputs(json ? json : "\"\"", stdout);
    free(json);
}

bool gi_json_lists(const msgpack_object *list, const char *text, size_t size) {
    for (uint32_t i = 0;
         list->type == MSGPACK_OBJECT_ARRAY && i < list->via.array.size; i++) {
        const msgpack_object *o = &list->via.array.ptr[i];
        if (o->type == MSGPACK_OBJECT_STR && o->via.str.size == size &&
            memcmp(o->via.str.ptr, text, size) == 0)
            return true;
    }
    return false;
}
