/* SPDX-License-Identifier: BSD-3-Clause */
/* arg.c -- gate_arg_t: made from C values, packed to msgpack. */
#include "base/utf8.h"
#include "value/decode.h"
#include "value/mp.h"
#include "value/value.h"

/* ---- making -------------------------------------------------------------- */
gate_arg_t gate_null(const void *ignored) {
    (void)ignored;
    return (gate_arg_t){.type = GATE_A_NIL};
}

gate_arg_t gate_bool(bool v) {
    return (gate_arg_t){.type = GATE_A_BOOL, .as.b = v};
}

gate_arg_t gate_int(int64_t v) {
    return (gate_arg_t){.type = GATE_A_INT, .as.i = v};
}

gate_arg_t gate_uint(uint64_t v) {
    return (gate_arg_t){.type = GATE_A_UINT, .as.u = v};
}

gate_arg_t gate_f64(double v) {
    return (gate_arg_t){.type = GATE_A_F64, .as.d = v};
}

static gate_arg_t s_run(gate_arg_type_t type, const void *p, size_t n) {
    return (gate_arg_t){.type = type, .n = n, .as.p = p};
}

gate_arg_t gate_str(const char *v) {
    return v ? gate_strn(v, strlen(v)) : gate_null(NULL);
}

gate_arg_t gate_strn(const char *v, size_t size) {
    return s_run(GATE_A_STR, v, size);
}

gate_arg_t gate_bin(const void *data, size_t size) {
    return s_run(GATE_A_BIN, data, size);
}

gate_arg_t gate_bytes(gate_bytes_t v) { return gate_bin(v.data, v.size); }

gate_arg_t gate_obj(const msgpack_object *v) {
    return v ? s_run(GATE_A_OBJ, v, 0) : gate_null(NULL);
}

gate_arg_t gate_val(const gate_value_t *v) {
    if (!v)
        return gate_null(NULL);
    gate_bytes_t packed = gate_value_bytes(v);
    return packed.size ? gate_raw(packed.data, packed.size)
                       : gate_obj(gate_value_object(v));
}

gate_arg_t gate_raw(const void *msgpack, size_t size) {
    return s_run(GATE_A_RAW, msgpack, size);
}

gate_arg_t gate_spread(const void *msgpack, size_t size) {
    return s_run(GATE_A_SPREAD, msgpack, size);
}

gate_arg_t gate_ext(int8_t type, const void *user_object) {
    return s_run(GATE_A_EXT, user_object, (size_t)type);
}

gate_arg_t gate_queue_arg(gate_queue_t *q) { return s_run(GATE_A_QUEUE, q, 0); }

gate_arg_t gate_huge_arg(const gate_huge_t *huge) {
    const gi_huge_head_t *h = (const void *)huge;
    return h ? s_run(GATE_A_HUGE, h, (size_t)h->size) : gate_null(NULL);
}

gate_arg_t gate_same(gate_arg_t v) { return v; }

gate_arg_t gate_kw_(const char *name, gate_arg_t v) {
    v.kw = name;
    return v;
}

gate_arg_t gate_list_(const gate_arg_t *items, size_t n) {
    return s_run(GATE_A_LIST, items, n);
}

gate_arg_t gate_map_(const gate_arg_t *entries, size_t n) {
    return s_run(GATE_A_MAP, entries, n);
}

/* ---- lists whose memory may die before they are packed ------------------- */
/* Above the count, n has a sum of the items that is never 0; 0: nobody looked.
 * What a sum cannot be made of counts as too long. */
#define S_COUNT_MAX (UINT32_MAX - 1)
#define S_SUM_SHIFT 32

static uint64_t s_mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t s_payload(const gate_arg_t *arg) {
    return arg->type == GATE_A_NIL    ? 0
           : arg->type == GATE_A_BOOL ? arg->as.b
                                      : arg->as.u;
}

static uint64_t s_sum(const gate_arg_t *items, size_t n) {
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = s_mix(h, items[i].type);
        h = s_mix(h, (uintptr_t)items[i].kw);
        h = s_mix(h, items[i].n);
        h = s_mix(h, s_payload(&items[i]));
    }
    h >>= S_SUM_SHIFT;
    return h ? h : 1;
}

static gate_arg_t s_here(gate_arg_t v) {
    if (v.as.p && v.n <= S_COUNT_MAX)
        v.n |= s_sum(v.as.p, v.n) << S_SUM_SHIFT;
    return v;
}

gate_arg_t gate_list_here_(const gate_arg_t *items, size_t n) {
    return s_here(gate_list_(items, n));
}

gate_arg_t gate_map_here_(const gate_arg_t *entries, size_t n) {
    return s_here(gate_map_(entries, n));
}

static gate_err_t s_nowhere(size_t n, const char *what) {
    return gi_err(GATE_BADARG, "%s of %zu, and where it is: it is NULL", what,
                  n);
}

gate_err_t gi_arg_items(const gate_arg_t *arg, const gate_arg_t **items,
                        size_t *n) {
    const char *what = arg->type == GATE_A_LIST ? "list" : "map";
    uint64_t sum = arg->n >> S_SUM_SHIFT;
    *items = arg->as.p;
    *n = arg->n & UINT32_MAX;
    if (*n > S_COUNT_MAX)
        return gi_err(GATE_TOOBIG, "a %s is longer than msgpack's 4 GiB", what);
    if (!*items && *n)
        return s_nowhere(*n, what);
    if (sum && s_sum(*items, *n) != sum)
        return gi_err(GATE_BADARG,
                      "a gate_%s has died: what it is made of lives until the "
                      "end of its block only; collect such in gate_items_t",
                      what);
    return GATE_OK;
}

gate_arg_t gate_timeout_ms(int64_t ms) {
    return (gate_arg_t){.type = GATE_A_TIMEOUT, .as.i = ms};
}

gate_arg_t gate_retry(int times) {
    return (gate_arg_t){.type = GATE_A_RETRY, .as.i = times};
}

gate_arg_t gate_meta(const char *key, const char *value) {
    return (gate_arg_t){
        .type = GATE_A_META, .kw = key ? key : "", .as.p = value};
}

/* ---- packing ------------------------------------------------------------- */
/* Deeper than this no peer of ours decodes; it also ends a list that holds
 * itself. */
enum { S_DEPTH_MAX = GI_DEPTH_MAX };

typedef struct s_pack {
    gi_buf_t *out;
    const gate_settings_t *settings;
} s_pack_t;

static gate_err_t s_too_deep(void) {
    return gi_err(GATE_BADARG, "an argument is nested deeper than %d levels",
                  S_DEPTH_MAX);
}

static gate_err_t s_too_long(const char *what) {
    return gi_err(GATE_TOOBIG, "a %s is longer than msgpack's 4 GiB", what);
}

static gate_err_t s_pack_arg(const s_pack_t *self, const gate_arg_t *arg,
                             unsigned depth);

/* Python's peers cannot decode a str that is no UTF-8: it must not leave. */
gate_err_t gi_arg_pack_str(gi_buf_t *out, const void *data, size_t n) {
    if (n > UINT32_MAX)
        return s_too_long("str");
    if (!data && n)
        return s_nowhere(n, "a str");
    if (!gi_utf8_valid(data, n))
        return gi_err(GATE_BADARG,
                      "a str is no UTF-8 at its byte %zu: bytes are given by "
                      "gate_bin",
                      gi_utf8_prefix(data, n));
    gi_mp_put_str(out, data, n);
    return GATE_OK;
}

static gate_err_t s_pack_list(const s_pack_t *self, const gate_arg_t *list,
                              unsigned depth) {
    const gate_arg_t *items;
    size_t n;
    if (depth >= S_DEPTH_MAX)
        return s_too_deep();
    gate_err_t e = gi_arg_items(list, &items, &n);
    if (e)
        return e;
    gi_mp_put_array(self->out, n);
    for (size_t i = 0; i < n && !e; i++)
        e = s_pack_arg(self, &items[i], depth + 1);
    return e;
}

static gate_err_t s_pack_map(const s_pack_t *self, const gate_arg_t *map,
                             unsigned depth) {
    const gate_arg_t *entries;
    size_t n;
    if (depth >= S_DEPTH_MAX)
        return s_too_deep();
    gate_err_t e = gi_arg_items(map, &entries, &n);
    if (e)
        return e;
    gi_mp_put_map(self->out, n);
    for (size_t i = 0; i < n && !e; i++) {
        const char *key = entries[i].kw;
        if (!key)
            return gi_err(GATE_BADARG,
                          "entry %zu of a map has no name: use gate_kw", i);
        e = gi_arg_pack_str(self->out, key, strlen(key));
        if (!e)
            e = s_pack_arg(self, &entries[i], depth + 1);
    }
    return e;
}

/* Scalars keep msgpack-c's view; containers recurse no deeper than above. */
static gate_err_t s_pack_object(gi_buf_t *out, const msgpack_object *o,
                                unsigned depth) {
    bool nests =
        o->type == MSGPACK_OBJECT_ARRAY || o->type == MSGPACK_OBJECT_MAP;
    gate_err_t e = GATE_OK;
    if (nests && depth >= S_DEPTH_MAX)
        return s_too_deep();
    if (o->type == MSGPACK_OBJECT_ARRAY) {
        gi_mp_put_array(out, o->via.array.size);
        for (uint32_t i = 0; i < o->via.array.size && !e; i++)
            e = s_pack_object(out, &o->via.array.ptr[i], depth + 1);
    } else if (o->type == MSGPACK_OBJECT_MAP) {
        gi_mp_put_map(out, o->via.map.size);
        for (uint32_t i = 0; i < o->via.map.size && !e; i++) {
            e = s_pack_object(out, &o->via.map.ptr[i].key, depth + 1);
            if (!e)
                e = s_pack_object(out, &o->via.map.ptr[i].val, depth + 1);
        }
    } else if (o->type == MSGPACK_OBJECT_STR) {
        e = gi_arg_pack_str(out, o->via.str.ptr, o->via.str.size);
    } else {
        msgpack_packer pk;
        msgpack_packer_init(&pk, out, gi_buf_write);
        if (msgpack_pack_object(&pk, *o) && !out->failed)
            e = gi_err(GATE_BADARG, "an object of unknown type %d",
                       (int)o->type);
    }
    return e;
}

static const gi_limits_t s_no_limits = {SIZE_MAX,    SIZE_MAX,     SIZE_MAX,
                                        SIZE_MAX,    GI_DEPTH_MAX, SIZE_MAX,
                                        .utf8 = true};

static gate_err_t s_pack_bin(gi_buf_t *out, const void *data, size_t n) {
    if (n > UINT32_MAX)
        return s_too_long("bin");
    if (!data && n)
        return s_nowhere(n, "a bin");
    gi_mp_put_bin(out, data, n);
    return GATE_OK;
}

static gate_err_t s_pack_raw(gi_buf_t *out, const void *data, size_t size) {
    if (!data && size)
        return s_nowhere(size, "msgpack");
    if (gi_scan(data, size, &s_no_limits))
        return gi_err(GATE_BADARG, "raw argument: %s", gate_error()->text);
    gi_buf_append(out, data, size);
    return GATE_OK;
}

gate_err_t gi_arg_spread(const gate_arg_t *arg, bool *named, size_t *n,
                         gate_bytes_t *items) {
    gi_mp_t h;
    if (!arg->as.p && arg->n)
        return s_nowhere(arg->n, "msgpack");
    if (gi_scan(arg->as.p, arg->n, &s_no_limits))
        return gi_err(GATE_BADARG, "gate_spread: %s", gate_error()->text);
    size_t head = gi_mp_head(arg->as.p, arg->n, &h);
    if (h.kind != GI_MP_ARRAY && h.kind != GI_MP_MAP)
        return gi_err(GATE_BADARG, "gate_spread: a msgpack array (arguments by "
                                   "position) or map (by keyword) is wanted");
    *named = h.kind == GI_MP_MAP;
    *n = h.n;
    *items = (gate_bytes_t){(const char *)arg->as.p + head, arg->n - head};
    return GATE_OK;
}

/* The hook must have written exactly one value. */
static gate_err_t s_pack_ext(const s_pack_t *self, const gate_arg_t *arg) {
    const gate_hooks_t *hooks = &self->settings->hooks;
    gi_buf_t *out = self->out;
    if (!hooks->prepare_pack)
        return gi_err(GATE_BADARG, "gate_ext: there is no prepare_pack hook");
    msgpack_packer pk;
    size_t before = out->size;
    msgpack_packer_init(&pk, out, gi_buf_write);
    gate_err_t e =
        hooks->prepare_pack(hooks->ctx, (int8_t)arg->n, arg->as.p, &pk);
    if (out->failed)
        return GATE_OK; /* reported once, at the end */
    if (e)
        return gi_err(e, "the prepare_pack hook failed: %s",
                      gate_error()->code == e ? gate_error()->text
                                              : gate_err_text(e));
    if (gi_scan(out->data + before, out->size - before, &s_no_limits))
        return gi_err(GATE_BADARG,
                      "the prepare_pack hook must write one value: %s",
                      gate_error()->text);
    return GATE_OK;
}

static gate_err_t s_pack_arg(const s_pack_t *self, const gate_arg_t *arg,
                             unsigned depth) {
    gi_buf_t *out = self->out;
    switch (arg->type) {
    case GATE_A_NIL:
        gi_mp_put_nil(out);
        return GATE_OK;
    case GATE_A_BOOL:
        gi_mp_put_bool(out, arg->as.b);
        return GATE_OK;
    case GATE_A_INT:
        gi_mp_put_int(out, arg->as.i);
        return GATE_OK;
    case GATE_A_UINT:
        gi_mp_put_uint(out, arg->as.u);
        return GATE_OK;
    case GATE_A_F64:
        gi_mp_put_f64(out, arg->as.d);
        return GATE_OK;
    case GATE_A_STR:
        return gi_arg_pack_str(out, arg->as.p, arg->n);
    case GATE_A_BIN:
        return s_pack_bin(out, arg->as.p, arg->n);
    case GATE_A_LIST:
        return s_pack_list(self, arg, depth);
    case GATE_A_MAP:
        return s_pack_map(self, arg, depth);
    case GATE_A_OBJ:
        return s_pack_object(out, arg->as.p, depth);
    case GATE_A_RAW:
        return s_pack_raw(out, arg->as.p, arg->n);
    case GATE_A_EXT:
        return s_pack_ext(self, arg);
    case GATE_A_QUEUE:
        return gi_err(GATE_BADARG,
                      "a queue goes to jobs of process pools only");
    case GATE_A_HUGE:
        return gi_err(GATE_BADARG, "a huge value (gate_huge_arg) is an "
                                   "argument of a client's call itself, not a "
                                   "part of another value");
    case GATE_A_SPREAD:
        return gi_err(GATE_BADARG, "gate_spread stands in a call's own "
                                   "arguments only");
    case GATE_A_TIMEOUT:
        return gi_err(GATE_BADARG,
                      "gate_timeout_ms stands in a call's own arguments only");
    case GATE_A_META:
    case GATE_A_RETRY:
    case GATE_A_TRACE:
        return gi_err(GATE_BADARG, "gate_meta, gate_retry and gate_trace_arg "
                                   "stand in a call's own arguments only");
    }
    return gi_err(GATE_BADARG, "an argument of unknown type %d",
                  (int)arg->type);
}

gate_err_t gi_arg_pack(gi_buf_t *out, const gate_arg_t *arg,
                       const gate_settings_t *settings) {
    s_pack_t self = {out, settings ? settings : gi_settings_defaults()};
    gate_err_t e = s_pack_arg(&self, arg, 0);
    if (!e && out->failed)
        return gi_err(GATE_NOMEM, "packing an argument");
    return e;
}
