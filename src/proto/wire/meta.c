/* SPDX-License-Identifier: BSD-3-Clause */
/* meta.c -- see meta.h. */
#include "wire/meta.h"

#include <string.h>
#include "base/err.h"
#include "value/mp.h"
#include "base/utf8.h"

typedef struct s_pair {
    gate_bytes_t key, value;
} s_pair_t;

typedef struct s_pairs {
    size_t n;
    s_pair_t at[GI_META_PAIRS_MAX];
} s_pairs_t;

/* ---- from arguments ------------------------------------------------------ */
static bool s_is_text(gate_bytes_t b) {
    return gi_utf8_valid(b.data, b.size) && !memchr(b.data, 0, b.size);
}

static gate_err_t s_check(gate_bytes_t key, gate_bytes_t value) {
    if (!key.size || key.size > GI_META_KEY_MAX || !s_is_text(key))
        return gi_err(GATE_BADARG,
                      "metadata: a key is UTF-8 text of 1 to %d bytes",
                      GI_META_KEY_MAX);
    if (!s_is_text(value))
        return gi_err(GATE_BADARG, "metadata: the value of '%.*s' is no UTF-8",
                      (int)key.size, (const char *)key.data);
    if (value.size > GI_META_VALUE_MAX)
        return gi_err(GATE_TOOBIG,
                      "metadata: the value of '%.*s' has %zu bytes; at most "
                      "%d go along with a call",
                      (int)key.size, (const char *)key.data, value.size,
                      GI_META_VALUE_MAX);
    return GATE_OK;
}

static s_pair_t *s_find(s_pairs_t *self, gate_bytes_t key) {
    for (size_t i = 0; i < self->n; i++)
        if (self->at[i].key.size == key.size &&
            memcmp(self->at[i].key.data, key.data, key.size) == 0)
            return &self->at[i];
    return NULL;
}

static gate_err_t s_put(s_pairs_t *self, const char *k, const char *v) {
    gate_bytes_t key = {k ? k : "", k ? strlen(k) : 0};
    gate_bytes_t value = {v ? v : "", v ? strlen(v) : 0};
    gate_err_t e = s_check(key, value);
    s_pair_t *old = e ? NULL : s_find(self, key);
    if (e)
        return e;
    if (!v) {
        if (old)
            *old = self->at[--self->n];
        return GATE_OK;
    }
    if (!old && self->n == GI_META_PAIRS_MAX)
        return gi_err(GATE_TOOBIG,
                      "metadata: at most %d keys go along with a "
                      "call",
                      GI_META_PAIRS_MAX);
    *(old ? old : &self->at[self->n++]) = (s_pair_t){key, value};
    return GATE_OK;
}

/* gate_meta: kw is the key, as.p the value; gate_meta_of: as.p is flat;
 * gate_trace_arg: kw is the value. */
static gate_err_t s_gather(s_pairs_t *self, const gate_arg_t *arg) {
    gate_err_t e = GATE_OK;
    if (arg->type == GATE_A_TRACE)
        return arg->as.p ? s_put(self, "traceparent", arg->kw) : GATE_OK;
    if (arg->kw)
        return s_put(self, arg->kw, arg->as.p);
    gate_bytes_t flat = {arg->as.p, arg->n};
    const char *key, *value;
    for (size_t i = 0; !e && (key = gi_meta_at(flat, i, &value)); i++)
        e = s_put(self, key, value);
    return e;
}

gate_err_t gi_meta_pack(gi_buf_t *out, const gate_arg_t *args, size_t n) {
    size_t start = out->size;
    s_pairs_t pairs;
    gate_err_t e = GATE_OK;
    pairs.n = 0;
    for (size_t i = 0; i < n && !e; i++)
        if (args[i].type == GATE_A_META || args[i].type == GATE_A_TRACE)
            e = s_gather(&pairs, &args[i]);
    if (e || !pairs.n)
        return e;
    gi_mp_put_map(out, pairs.n);
    for (size_t i = 0; i < pairs.n; i++) {
        gi_mp_put_str(out, pairs.at[i].key.data, pairs.at[i].key.size);
        gi_mp_put_str(out, pairs.at[i].value.data, pairs.at[i].value.size);
    }
    if (out->failed)
        e = gi_err(GATE_NOMEM, "packing a call's metadata");
    else if (out->size - start > GI_META_BYTES_MAX)
        e = gi_err(GATE_TOOBIG,
                   "metadata: %zu bytes; at most %d go along with "
                   "a call",
                   out->size - start, GI_META_BYTES_MAX);
    if (e)
        out->size = start;
    return e;
}

/* ---- from the wire ------------------------------------------------------- */
/* A str of at most max bytes at *p; false: something else. */
static bool s_take(const unsigned char **p, size_t *left, size_t max,
                   gate_bytes_t *out) {
    gi_mp_t h;
    size_t head = gi_mp_head(*p, *left, &h);
    if (!head || h.kind != GI_MP_STR || h.n > max || h.n > *left - head)
        return false;
    *out = (gate_bytes_t){*p + head, h.n};
    *p += head + h.n;
    *left -= head + h.n;
    return s_is_text(*out);
}

static bool s_parse(gate_bytes_t packed, s_pairs_t *out) {
    const unsigned char *p = packed.data;
    size_t left = packed.size;
    gi_mp_t map;
    out->n = 0;
    size_t head = left <= GI_META_BYTES_MAX ? gi_mp_head(p, left, &map) : 0;
    if (!head || map.kind != GI_MP_MAP || map.n > GI_META_PAIRS_MAX)
        return false;
    p += head;
    left -= head;
    for (; out->n < map.n; out->n++) {
        s_pair_t *pair = &out->at[out->n];
        if (!s_take(&p, &left, GI_META_KEY_MAX, &pair->key) ||
            !pair->key.size ||
            !s_take(&p, &left, GI_META_VALUE_MAX, &pair->value))
            return false;
    }
    return left == 0;
}

static char *s_copy(char *to, gate_bytes_t text) {
    if (text.size)
        memcpy(to, text.data, text.size);
    to[text.size] = 0;
    return to + text.size + 1;
}

size_t gi_meta_flatten(gate_bytes_t packed, char *to) {
    s_pairs_t pairs;
    char *at = to;
    if (!s_parse(packed, &pairs))
        return 0;
    for (size_t i = 0; i < pairs.n; i++)
        at = s_copy(s_copy(at, pairs.at[i].key), pairs.at[i].value);
    return (size_t)(at - to);
}

bool gi_meta_urgent(gate_bytes_t packed) {
    static const gate_bytes_t key = {GI_META_PRIORITY,
                                     sizeof GI_META_PRIORITY - 1};
    s_pairs_t pairs;
    s_pair_t *pair =
        packed.size && s_parse(packed, &pairs) ? s_find(&pairs, key) : NULL;
    return pair && pair->value.size == sizeof GI_META_HIGH - 1 &&
           memcmp(pair->value.data, GI_META_HIGH, pair->value.size) == 0;
}

/* ---- the flat form ------------------------------------------------------- */
const char *gi_meta_at(gate_bytes_t flat, size_t i, const char **value) {
    const char *p = flat.data, *end = p + flat.size;
    while (p < end) {
        const char *v = p + strlen(p) + 1;
        if (i-- == 0) {
            if (value)
                *value = v;
            return p;
        }
        p = v + strlen(v) + 1;
    }
    return NULL;
}

const char *gi_meta_find(gate_bytes_t flat, const char *key) {
    const char *value, *k;
    for (size_t i = 0; (k = gi_meta_at(flat, i, &value)); i++)
        if (strcmp(k, key) == 0)
            return value;
    return NULL;
}
