/* SPDX-License-Identifier: BSD-3-Clause */
/* json_read.c -- see json_read.h. One pass writes msgpack; the head of a list or
 * map, whose length is known at its end, is put in then. */
#include "text/json_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S_DEPTH_MAX 500
#define S_HEAD 5 /* bytes kept for a head until its length is known */

typedef struct s_reader {
    const char *begin, *at;
    msgpack_sbuffer *out;
    msgpack_packer to;
    unsigned depth;
    char *why;
    size_t why_size;
    gi_json_result_t result;
} s_reader_t;

static bool s_value(s_reader_t *r);

static bool s_fail(s_reader_t *r, gi_json_result_t result, const char *what) {
    snprintf(r->why, r->why_size, "%s, at byte %td", what, r->at - r->begin);
    r->result = result;
    return false;
}

static bool s_none(s_reader_t *r, const char *what) {
    return s_fail(r, GI_JSON_NONE, what);
}

static bool s_bad(s_reader_t *r, const char *what) {
    return s_fail(r, GI_JSON_BAD, what);
}

static void s_space(s_reader_t *r) { r->at += strspn(r->at, " \t\n\r"); }

/* ---- text ---------------------------------------------------------------- */
/* Bytes of the UTF-8 character at p, of which left are there; 0: none. */
static size_t s_char(const unsigned char *p, size_t left) {
    size_t n = *p < 0x80    ? 1
               : *p < 0xc2  ? 0
               : *p < 0xe0  ? 2
               : *p < 0xf0  ? 3
               : *p <= 0xf4 ? 4
                            : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool odd = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
               (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f);
    return odd ? 0 : n;
}

bool gi_json_text(const char *text, size_t size) {
    for (size_t n; size; text += n, size -= n)
        if ((n = s_char((const unsigned char *)text, size)) == 0)
            return false;
    return true;
}

/* Four digits; -1. */
static long s_hex4(const char *p) {
    char digits[5] = "", *end;
    memcpy(digits, p, strnlen(p, 4));
    if (strspn(digits, "0123456789abcdefABCDEF") != 4)
        return -1;
    return strtol(digits, &end, 16);
}

/* \uXXXX, or a pair of them, behind the u; -1. */
static long s_code(s_reader_t *r) {
    long code = s_hex4(r->at);
    if (code >= 0)
        r->at += 4;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    if (code > 0xdbff || r->at[0] != '\\' || r->at[1] != 'u')
        return -1;
    long low = s_hex4(r->at + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    r->at += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static size_t s_utf8(long c, char *to) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(first[n] | c);
    return n;
}

/* What stands behind a backslash; its bytes, 0 after an error. */
static size_t s_escape(s_reader_t *r, char *to) {
    static const char names[] = "\"\\/bfnrt", is[] = "\"\\/\b\f\n\r\t";
    const char *name = strchr(names, *r->at);
    if (!*r->at) {
        s_none(r, "a string that does not end");
        return 0;
    }
    if (name) {
        r->at++;
        *to = is[name - names];
        return 1;
    }
    bool unicode = *r->at++ == 'u';
    long code = unicode ? s_code(r) : -1;
    if (code >= 0)
        return s_utf8(code, to);
    s_none(r, "no such escape");
    return 0;
}

/* The string whose opening quote was read, malloc'ed; NULL after an error. */
static char *s_string(s_reader_t *r, size_t *size) {
    char *text = malloc(strlen(r->at) + 1);
    *size = 0;
    if (!text)
        s_bad(r, "no memory");
    while (text && *r->at != '"') {
        size_t n = s_char((const unsigned char *)r->at, strlen(r->at));
        size_t made = 0;
        if (!*r->at)
            s_none(r, "a string that does not end");
        else if (!n)
            s_bad(r, "not UTF-8; bytes go as {\"$bin\": \"base64\"}");
        else if ((unsigned char)*r->at < ' ')
            s_none(r, "a control character in a string");
        else if (*r->at == '\\' && ++r->at)
            made = s_escape(r, text + *size);
        else {
            memcpy(text + *size, r->at, n);
            made = n;
            r->at += n;
        }
        *size += made;
        if (!made) {
            free(text);
            text = NULL;
        }
    }
    if (text)
        r->at++;
    return text;
}

static bool s_put_string(s_reader_t *r) {
    size_t size;
    r->at++;
    char *text = s_string(r, &size);
    if (!text)
        return false;
    bool ok = !msgpack_pack_str_with_body(&r->to, text, size);
    free(text);
    return ok || s_bad(r, "no memory");
}

/* ---- numbers ------------------------------------------------------------- */
static const char *s_digits(const char *p) {
    return p + strspn(p, "0123456789");
}

/* The end of the number at p, NULL: none; *real: it has more than digits. */
static const char *s_number_end(const char *p, bool *real) {
    p += *p == '-';
    const char *end = *p == '0' ? p + 1 : s_digits(p);
    if (end == p)
        return NULL;
    *real = false;
    if (*end == '.') {
        const char *more = s_digits(end + 1);
        if (more == end + 1)
            return NULL;
        end = more;
        *real = true;
    }
    if (*end == 'e' || *end == 'E') {
        const char *sign = end + 1 + (end[1] == '+' || end[1] == '-');
        end = s_digits(sign);
        *real = true;
        if (end == sign)
            return NULL;
    }
    return end;
}

static bool s_integer(s_reader_t *r) {
    errno = 0;
    if (*r->at == '-') {
        long long n = strtoll(r->at, NULL, 10);
        if (errno)
            return s_bad(r, "a number does not fit into 64 bits");
        return !msgpack_pack_int64(&r->to, n);
    }
    unsigned long long n = strtoull(r->at, NULL, 10);
    if (errno)
        return s_bad(r, "a number does not fit into 64 bits");
    return !msgpack_pack_uint64(&r->to, n);
}

static bool s_number(s_reader_t *r) {
    bool real = false;
    const char *end = s_number_end(r->at, &real);
    if (!end || (*end && !strchr(" \t\n\r,]}", *end)))
        return s_none(r, "no number");
    double d = real ? strtod(r->at, NULL) : 0;
    if (d - d != 0)
        return s_bad(r, "a number beyond a double's range");
    bool ok = real ? !msgpack_pack_double(&r->to, d) : s_integer(r);
    r->at = end;
    if (!ok && r->result == GI_JSON_OK)
        s_bad(r, "no memory");
    return ok;
}

/* ---- lists --------------------------------------------------------------- */
/* The head at of what ends here gets its length. */
static bool s_close(s_reader_t *r, size_t at, size_t n, bool map) {
    msgpack_sbuffer head;
    msgpack_packer to;
    msgpack_sbuffer_init(&head);
    msgpack_packer_init(&to, &head, msgpack_sbuffer_write);
    bool ok = !(map ? msgpack_pack_map(&to, n) : msgpack_pack_array(&to, n));
    if (ok) {
        char *p = r->out->data + at;
        memcpy(p, head.data, head.size);
        memmove(p + head.size, p + S_HEAD, r->out->size - at - S_HEAD);
        r->out->size -= S_HEAD - head.size;
    }
    msgpack_sbuffer_destroy(&head);
    return ok || s_bad(r, "no memory");
}

static bool s_open(s_reader_t *r, size_t *at) {
    *at = r->out->size;
    r->at++;
    s_space(r);
    if (++r->depth > S_DEPTH_MAX)
        return s_bad(r, "nested too deep");
    return !msgpack_sbuffer_write(r->out, "\0\0\0\0\0", S_HEAD) ||
           s_bad(r, "no memory");
}

/* "," or the end; *more tells which. */
static bool s_next(s_reader_t *r, char close, bool *more) {
    s_space(r);
    *more = *r->at == ',';
    if (!*more && *r->at != close)
        return s_none(r, close == ']' ? "\",\" or \"]\" expected"
                                      : "\",\" or \"}\" expected");
    r->at++;
    s_space(r);
    return true;
}

static bool s_array(s_reader_t *r) {
    size_t at, n = 0;
    bool more = true;
    if (!s_open(r, &at))
        return false;
    if (*r->at == ']') {
        r->at++;
        more = false;
    }
    for (; more; n++)
        if (!s_value(r) || !s_next(r, ']', &more))
            return false;
    r->depth--;
    return s_close(r, at, n, false);
}

/* ---- maps ---------------------------------------------------------------- */
/* Where the packed keys of a map lie in what is made. */
typedef struct s_key {
    size_t at, size;
} s_key_t;

typedef struct s_keys {
    s_key_t *all;
    size_t n, room;
} s_keys_t;

static bool s_keys_add(s_reader_t *r, s_keys_t *keys, size_t at) {
    if (keys->n == keys->room) {
        size_t room = keys->room ? 2 * keys->room : 8;
        s_key_t *grown = realloc(keys->all, room * sizeof *grown);
        if (!grown)
            return s_bad(r, "no memory");
        keys->all = grown;
        keys->room = room;
    }
    keys->all[keys->n++] = (s_key_t){at, r->out->size - at};
    return true;
}

static int s_by_key(const void *a, const void *b, void *data) {
    const s_key_t *s = a, *t = b;
    if (s->size != t->size)
        return s->size < t->size ? -1 : 1;
    return memcmp((char *)data + s->at, (char *)data + t->at, s->size);
}

static bool s_keys_differ(s_reader_t *r, s_keys_t *keys) {
    char *data = r->out->data;
    if (keys->n < 2) /* qsort_r takes no NULL */
        return true;
    qsort_r(keys->all, keys->n, sizeof *keys->all, s_by_key, data);
    for (size_t i = 1; i < keys->n; i++)
        if (!s_by_key(&keys->all[i - 1], &keys->all[i], data))
            return s_bad(r, "a key comes twice in the map that ends");
    return true;
}

/* The only pair of the map at may be what JSON lacks. */
static bool s_special(s_reader_t *r, size_t at) {
    gate_value_t *value = NULL;
    msgpack_sbuffer made;
    msgpack_packer to;
    bool is = false;
    if (gate_value_decode(r->out->data + at, r->out->size - at, NULL, &value))
        return s_bad(r, "nested too deep");
    msgpack_sbuffer_init(&made);
    msgpack_packer_init(&to, &made, msgpack_sbuffer_write);
    const char *wrong =
        gi_json_special(&gate_value_object(value)->via.map.ptr[0], &to, &is);
    bool ok = wrong ? s_bad(r, wrong) : true;
    if (ok && is) {
        r->out->size = at;
        ok = !msgpack_sbuffer_write(r->out, made.data, made.size) ||
             s_bad(r, "no memory");
    }
    msgpack_sbuffer_destroy(&made);
    gate_value_destroy(&value);
    return ok;
}

static bool s_pair(s_reader_t *r, s_keys_t *keys, bool *dollar) {
    size_t at = r->out->size;
    if (*r->at != '"')
        return s_none(r, "a key in quotes expected");
    *dollar = r->at[1] == '$';
    if (!s_put_string(r) || !s_keys_add(r, keys, at))
        return false;
    s_space(r);
    if (*r->at != ':')
        return s_none(r, "\":\" expected");
    r->at++;
    s_space(r);
    return s_value(r);
}

static bool s_pairs(s_reader_t *r, s_keys_t *keys, size_t at) {
    bool more = *r->at != '}', dollar = false;
    r->at += !more;
    while (more)
        if (!s_pair(r, keys, &dollar) || !s_next(r, '}', &more))
            return false;
    if (!s_keys_differ(r, keys) || !s_close(r, at, keys->n, true))
        return false;
    return keys->n != 1 || !dollar || s_special(r, at);
}

static bool s_object(s_reader_t *r) {
    size_t at;
    s_keys_t keys = {0};
    if (!s_open(r, &at))
        return false;
    bool ok = s_pairs(r, &keys, at);
    free(keys.all);
    r->depth--;
    return ok;
}

/* ---- values -------------------------------------------------------------- */
static bool s_word(s_reader_t *r) {
    static const struct {
        const char *word;
        int (*pack)(msgpack_packer *);
    } words[] = {{"null", msgpack_pack_nil},
                 {"true", msgpack_pack_true},
                 {"false", msgpack_pack_false}};
    size_t n = strspn(r->at, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (n == strlen(words[i].word) && !memcmp(r->at, words[i].word, n)) {
            r->at += n;
            return !words[i].pack(&r->to) || s_bad(r, "no memory");
        }
    return s_none(r, "a value expected");
}

static bool s_value(s_reader_t *r) {
    switch (*r->at) {
    case '{':
        return s_object(r);
    case '[':
        return s_array(r);
    case '"':
        return s_put_string(r);
    default:
        return *r->at == '-' || (*r->at >= '0' && *r->at <= '9') ? s_number(r)
                                                                 : s_word(r);
    }
}

gi_json_result_t gi_json_read(const char *text, msgpack_sbuffer *out, char *why,
                              size_t why_size) {
    s_reader_t r = {.begin = text,
                    .at = text,
                    .out = out,
                    .why = why,
                    .why_size = why_size};
    msgpack_packer_init(&r.to, out, msgpack_sbuffer_write);
    s_space(&r);
    bool ok = s_value(&r);
    s_space(&r);
    if (ok && *r.at)
        ok = s_none(&r, "something follows the value");
    return ok ? GI_JSON_OK : r.result;
}
