/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.c -- requests, single replies, and which kind of message a body is
 * (wire.md 2, 6, 7). Exceptions: exception.c. Extensions: ext.c. */
#include "wire/rpc.h"
#include "base/bytes.h"
#include "value/decode.h"
#include "wire/exception.h"
#include "wire/meta.h"
#include "wire/row.h"
#include "value/mp.h"

#include <string.h>

const unsigned char gi_rpc_ok_prefix[8] = "\x82\xa6"
                                          "result";
const unsigned char gi_rpc_ok_suffix[11] = "\xa9"
                                           "exception\xc0";

/* ---- requests ------------------------------------------------------------ */
/* It stands among the arguments but is none. */
static bool s_is_option(const gate_arg_t *arg) {
    return arg->type == GATE_A_TIMEOUT || arg->type == GATE_A_META ||
           arg->type == GATE_A_RETRY || arg->type == GATE_A_TRACE;
}

typedef struct s_packing {
    gi_buf_t *out;
    const gate_arg_t *args;
    size_t n, start; /* of args in out */
    bool in_kwargs;
    const gate_settings_t *settings;
    gi_rpc_holes_t *holes; /* NULL: there may be none */
} s_packing_t;

static gate_err_t s_pack_hole(const s_packing_t *self,
                              const gi_huge_head_t *huge) {
    gi_rpc_holes_t *holes = self->holes;
    if (holes->n == GI_RPC_HOLES_MAX)
        return gi_err(GATE_BADARG, "more than %d huge arguments in a call",
                      GI_RPC_HOLES_MAX);
    gi_buf_append(self->out, huge->head, huge->n_head);
    holes->hole[holes->n++] =
        (gi_rpc_hole_t){self->out->size - self->start, self->in_kwargs, huge};
    return GATE_OK;
}

static gate_err_t s_pack_one(const s_packing_t *self, const gate_arg_t *arg) {
    if (arg->type == GATE_A_HUGE && self->holes)
        return s_pack_hole(self, arg->as.p);
    return gi_arg_pack(self->out, arg, self->settings);
}

/* The bytes behind the head, if they are of the kind that is packed now. */
static gate_err_t s_pack_spread(const s_packing_t *self,
                                const gate_arg_t *arg) {
    gate_bytes_t items;
    size_t n;
    bool named;
    gate_err_t e = gi_arg_spread(arg, &named, &n, &items);
    if (!e && named == self->in_kwargs)
        gi_buf_append(self->out, items.data, items.size);
    return e;
}

static gate_err_t s_pack_positional(const s_packing_t *self,
                                    size_t n_positional) {
    gate_err_t e = GATE_OK;
    gi_mp_put_array(self->out, n_positional);
    for (size_t i = 0; i < self->n && !e; i++)
        if (self->args[i].type == GATE_A_SPREAD)
            e = s_pack_spread(self, &self->args[i]);
        else if (!self->args[i].kw && !s_is_option(&self->args[i]))
            e = s_pack_one(self, &self->args[i]);
    return e;
}

static gate_err_t s_pack_keywords(const s_packing_t *self, size_t n_keywords) {
    gate_err_t e = GATE_OK;
    gi_mp_put_map(self->out, n_keywords);
    for (size_t i = 0; n_keywords && i < self->n && !e; i++) {
        const gate_arg_t *arg = &self->args[i];
        if (arg->type == GATE_A_SPREAD)
            e = s_pack_spread(self, arg);
        if (e || !arg->kw || s_is_option(arg) || arg->type == GATE_A_SPREAD)
            continue;
        e = gi_arg_pack_str(self->out, arg->kw, strlen(arg->kw));
        if (!e)
            e = s_pack_one(self, arg);
    }
    return e;
}

static gate_err_t s_count_spread(const gate_arg_t *arg, size_t *n_positional,
                                 size_t *n_keywords) {
    gate_bytes_t items;
    size_t n;
    bool named;
    gate_err_t e = gi_arg_spread(arg, &named, &n, &items);
    if (!e)
        *(named ? n_keywords : n_positional) += n;
    return e;
}

/* What one argument is: an option, or one of those that are counted. */
static gate_err_t s_count(const gate_arg_t *arg, gi_rpc_request_t *made,
                          bool *meta, size_t *n_positional,
                          size_t *n_keywords) {
    if (arg->type == GATE_A_TIMEOUT && arg->as.i < -1)
        return gi_err(GATE_BADARG,
                      "gate_timeout_ms(%lld): 0 or more, or -1 for none "
                      "where that can be",
                      (long long)arg->as.i);
    if (arg->type == GATE_A_SPREAD)
        return s_count_spread(arg, n_positional, n_keywords);
    if (arg->type == GATE_A_TIMEOUT) {
        made->timeout_ms = arg->as.i;
        made->no_timeout = arg->as.i < 0;
    } else if (arg->type == GATE_A_META)
        *meta = true;
    else if (arg->type == GATE_A_TRACE) {
        made->trace = (struct gate_trace *)(uintptr_t)arg->as.p;
        *meta |= arg->as.p != NULL;
    } else if (arg->type == GATE_A_RETRY)
        made->retries = arg->as.i > 0 ? (int)arg->as.i : 0;
    else
        ++*(arg->kw ? n_keywords : n_positional);
    return GATE_OK;
}

gate_err_t gi_rpc_pack_holes(gi_buf_t *out, gate_bytes_t func,
                             const gate_arg_t *args, size_t n,
                             const gate_settings_t *settings,
                             gi_rpc_request_t *req, gi_rpc_holes_t *holes) {
    size_t start = out->size, n_positional = 0, n_keywords = 0;
    gi_rpc_request_t made = {.timeout_ms = -1};
    bool meta = false;
    gate_err_t e = n && gi_err_null(args, "arguments") ? GATE_BADARG : GATE_OK;
    for (size_t i = 0; i < n && !e; i++)
        e = s_count(&args[i], &made, &meta, &n_positional, &n_keywords);
    if (e)
        return e;
    e = gi_arg_pack_str(out, func.data, func.size);
    made.func_size = out->size - start;
    size_t at = out->size;
    s_packing_t packing = {out, args, n, at, false, settings, holes};
    if (!e)
        e = s_pack_positional(&packing, n_positional);
    made.args_size = out->size - at;
    at = out->size;
    packing.in_kwargs = true;
    if (!e)
        e = s_pack_keywords(&packing, n_keywords);
    made.kwargs_size = out->size - at;
    at = out->size;
    if (!e && meta)
        e = gi_meta_pack(out, args, n);
    made.meta_size = out->size - at;
    if (!e && out->failed)
        e = gi_err(GATE_NOMEM, "packing a request");
    if (e)
        out->size = start;
    else
        *req = made;
    return e;
}

gate_err_t gi_rpc_pack_request(gi_buf_t *out, const char *func, size_t func_len,
                               const gate_arg_t *args, size_t n,
                               const gate_settings_t *settings,
                               gi_rpc_request_t *req) {
    return gi_rpc_pack_holes(out, (gate_bytes_t){func, func_len}, args, n,
                             settings, req, NULL);
}

int64_t gi_rpc_plain_max(const gate_settings_t *settings) {
    int64_t frame = settings->message_bytes_max;
    int64_t bin = settings->msgpack_bin_max;
    return frame < bin ? frame : bin;
}

bool gi_rpc_args_huge(const gate_settings_t *settings,
                      const gi_rpc_request_t *req) {
    size_t size =
        req->args_size > req->kwargs_size ? req->args_size : req->kwargs_size;
    return (int64_t)size > gi_rpc_plain_max(settings);
}

gate_err_t gi_rpc_split_name(const char *name, const char *fallback,
                             gate_bytes_t *service, gate_bytes_t *func) {
    const char *dot = strrchr(name, '.');
    const char *method = dot ? dot + 1 : name;
    gate_bytes_t s = {fallback, strlen(fallback)};
    if (dot)
        s = (gate_bytes_t){name, (size_t)(dot - name)};
    if (!*method || !s.size)
        return gi_err(GATE_BADARG, "'%.200s': must be Service.method", name);
    *service = s;
    *func = (gate_bytes_t){method, strlen(method)};
    return GATE_OK;
}

gate_err_t gi_rpc_parse_func(gate_bytes_t frame, gate_bytes_t *func) {
    const unsigned char *p = frame.data;
    if (frame.size > 0 && frame.size == 1 + (size_t)(*p & 0x1f) &&
        (*p & 0xe0) == 0xa0) { /* a fixstr and nothing else */
        *func = (gate_bytes_t){p + 1, frame.size - 1};
        return GATE_OK;
    }
    gi_mp_t h;
    gi_limits_t limits = gi_scan_limits(NULL);
    gate_err_t e = gi_scan(frame.data, frame.size, &limits);
    if (e == GATE_TOOBIG) /* far beyond any name */
        return gi_err(GATE_BADDATA, "%s", gate_error()->text);
    if (e)
        return e;
    size_t head = gi_mp_head(frame.data, frame.size, &h);
    if (h.kind != GI_MP_STR)
        return gi_err(GATE_BADARG, "the method's name must be str");
    *func = (gate_bytes_t){(const char *)frame.data + head, h.n};
    return GATE_OK;
}

/* ---- single replies ------------------------------------------------------ */
typedef struct s_reply {
    gate_bytes_t result, exception; /* packed; size 0 = absent */
} s_reply_t;

static bool s_key_is(const unsigned char *p, const gi_mp_t *h,
                     const char *key) {
    return h->kind == GI_MP_STR && h->n == strlen(key) && !memcmp(p, key, h->n);
}

/* Finds both parts of a scanned map. The last of equal keys holds, as in
 * Python; other keys, and keys that are no str, are skipped. */
static gate_err_t s_find_parts(const unsigned char *p, size_t size,
                               const gi_limits_t *limits, s_reply_t *out) {
    gi_mp_t map, key;
    const unsigned char *end = p + size;
    p += gi_mp_head(p, size, &map);
    if (map.kind != GI_MP_MAP)
        return gi_err(GATE_BADDATA, "a reply must be a map");
    for (uint32_t i = 0; i < map.n; i++) {
        size_t key_size = 0, value_size = 0;
        size_t head = gi_mp_head(p, (size_t)(end - p), &key);
        const unsigned char *name = p + head;
        gate_err_t e = gi_scan_one(p, (size_t)(end - p), limits, &key_size);
        p += key_size;
        if (!e)
            e = gi_scan_one(p, (size_t)(end - p), limits, &value_size);
        if (e)
            return e;
        gate_bytes_t value = {p, value_size};
        if (s_key_is(name, &key, "result"))
            out->result = value;
        else if (s_key_is(name, &key, "exception"))
            out->exception = value;
        p += value_size;
    }
    return GATE_OK;
}

/* Python's idea of false: nil, false, 0, and whatever is empty. */
static bool s_is_false(gate_bytes_t packed) {
    gi_mp_t h;
    if (!packed.size)
        return true;
    gi_mp_head(packed.data, packed.size, &h);
    if (h.kind == GI_MP_F64 || h.kind == GI_MP_F32)
        return !(h.bits << (h.kind == GI_MP_F64 ? 1 : 33)); /* both zeros */
    return h.kind >= GI_MP_STR ? !h.n && h.kind != GI_MP_EXT : !h.bits;
}

/* The map behind any but our own workers' usual form. */
static gate_err_t s_parse_reply(const void *data, size_t size,
                                const gate_settings_t *settings,
                                gate_bytes_t *result) {
    static const unsigned char nil[] = {0xc0};
    gi_limits_t limits = gi_scan_limits(settings);
    s_reply_t parts = {0};
    gate_err_t e = gi_scan(data, size, &limits);
    if (!e)
        e = s_find_parts(data, size, &limits, &parts);
    if (e)
        return e;
    if (!s_is_false(parts.exception))
        return gi_rpc_publish_triple(parts.exception, settings);
    *result = parts.result.size ? parts.result : (gate_bytes_t){nil, 1};
    return GATE_OK;
}

static gate_err_t s_take_reply(const void *data, size_t size,
                               const gate_settings_t *settings,
                               gate_value_t **out) {
    const unsigned char *p = data;
    size_t tail = sizeof gi_rpc_ok_suffix, head = sizeof gi_rpc_ok_prefix;
    if (size > GI_RPC_OK_OVERHEAD && !memcmp(p, gi_rpc_ok_prefix, head) &&
        !memcmp(p + size - tail, gi_rpc_ok_suffix, tail)) {
        /* if what lies between is one value, this was the whole form */
        gate_err_t e = gi_value_take(p + head, size - head - tail, NULL, NULL,
                                     settings, out);
        if (e != GATE_BADDATA)
            return e;
    }
    gate_bytes_t result = {NULL, 0};
    gate_err_t e = s_parse_reply(data, size, settings, &result);
    if (e)
        return e;
    return gi_value_take(result.data, result.size, NULL, NULL, settings, out);
}

gate_err_t gi_rpc_take_reply(const void *data, size_t size,
                             gi_release_fn *release, void *hint,
                             const gate_settings_t *settings,
                             gate_value_t **out) {
    gate_err_t e = s_take_reply(data, size, settings, out);
    if (!e)
        gi_value_keep(*out, release, hint);
    else if (release)
        release(hint);
    return e;
}

/* ---- which kind of message ----------------------------------------------- */
/* wire.md 6: END and EXCEPTION are raw frames, items are packed. */
static gi_body_kind_t s_stream_kind(const gate_bytes_t *body, size_t n) {
    if (gi_bytes_is(body[1], GI_STREAM_END))
        return GI_BODY_END;
    if (gi_bytes_is(body[1], GI_STREAM_EXCEPTION))
        return n > 2 ? GI_BODY_EXCEPTION : GI_BODY_BAD;
    return n == 2 ? GI_BODY_ITEM : GI_BODY_BAD;
}

/* wire.md 7: HugeDataException comes without its triple, from Python brokers */
static gi_body_kind_t s_huge_kind(const gate_bytes_t *body, size_t n) {
    if (gi_bytes_is(body[1], GI_HUGE_END))
        return GI_BODY_HUGE_END;
    if (gi_bytes_is(body[1], GI_HUGE_EXCEPTION) ||
        gi_bytes_is(body[1], GI_STREAM_EXCEPTION))
        return GI_BODY_HUGE_EXCEPTION;
    return n == 2 || (n == 3 && gi_ext_is(body[2])) ? GI_BODY_CHUNK
                                                    : GI_BODY_BAD;
}

static bool s_is_row(const gate_bytes_t *body, size_t n) {
    return n == 2 && body[0].size == GI_ROW_TAG_SIZE &&
           !memcmp(body[0].data, GI_ROW_TAG, GI_ROW_TAG_SIZE) &&
           gi_row_count(body[1]);
}

gi_body_kind_t gi_rpc_body_kind(const gate_bytes_t *body, size_t n) {
    if (n < 2)
        return n ? GI_BODY_SINGLE : GI_BODY_BAD;
    if (gi_bytes_is(body[0], GI_STREAM_TAG))
        return s_stream_kind(body, n);
    if (gi_bytes_is(body[0], GI_HUGE_TAG))
        return s_huge_kind(body, n);
    /* wire.md 5: a generator of a Python broker fails under this tag */
    if (n > 2 && gi_bytes_is(body[0], GI_STREAM_EXCEPTION) &&
        gi_bytes_is(body[1], GI_STREAM_EXCEPTION))
        return GI_BODY_EXCEPTION;
    return s_is_row(body, n) ? GI_BODY_ROW : GI_BODY_BAD;
}

bool gi_body_is_final(gi_body_kind_t kind) {
    return kind == GI_BODY_SINGLE || kind == GI_BODY_END ||
           kind == GI_BODY_EXCEPTION || kind == GI_BODY_HUGE_END ||
           kind == GI_BODY_HUGE_EXCEPTION;
}
