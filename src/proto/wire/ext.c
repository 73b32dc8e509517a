/* SPDX-License-Identifier: BSD-3-Clause */
/* ext.c -- the extension frame (docs/extensions.md): magic and a map. One table
 * of keys serves reading and writing. */
#include "value/mp.h"
#include "wire/rpc.h"
#include "value/scan.h"

#include <limits.h>
#include <string.h>

enum { S_FRAME_MAX = 65536 };

static const gi_limits_t s_limits = {S_FRAME_MAX, S_FRAME_MAX,  1024, 1024, 16,
                                     4096,        .utf8 = false};

typedef enum s_type { S_COUNT, S_RUN, S_FLAG, S_STR, S_MAP } s_type_t;

static const struct {
    char key[3];
    s_type_t type;
    size_t offset;
} s_keys[] = {
    {"ci", S_COUNT, offsetof(gi_ext_t, credit_items)},
    {"cb", S_COUNT, offsetof(gi_ext_t, credit_bytes)},
    {"x", S_FLAG, offsetof(gi_ext_t, cancel)},
    {"t", S_COUNT, offsetof(gi_ext_t, timeout_ms)},
    {"a", S_RUN, offsetof(gi_ext_t, attempt)},
    {"d", S_FLAG, offsetof(gi_ext_t, drain)},
    {"mv", S_FLAG, offsetof(gi_ext_t, moved)},
    {"h", S_FLAG, offsetof(gi_ext_t, huge)},
    {"hc", S_STR, offsetof(gi_ext_t, codecs)},
    {"hs", S_COUNT, offsetof(gi_ext_t, huge_size)},
    {"ha", S_COUNT, offsetof(gi_ext_t, args_size)},
    {"hk", S_COUNT, offsetof(gi_ext_t, kwargs_size)},
    {"ac", S_STR, offsetof(gi_ext_t, args_codec)},
    {"im", S_STR, offsetof(gi_ext_t, idempotent)},
    {"p", S_FLAG, offsetof(gi_ext_t, packed)},
    {"pb", S_FLAG, offsetof(gi_ext_t, batches)},
    {"ir", S_FLAG, offsetof(gi_ext_t, rows)},
    {"u", S_STR, offsetof(gi_ext_t, user)},
    {"m", S_MAP, offsetof(gi_ext_t, meta)},
    {"e", S_COUNT, offsetof(gi_ext_t, epoch)},
    {"mb", S_COUNT, offsetof(gi_ext_t, frame_max)},
    {"tr", S_FLAG, offsetof(gi_ext_t, traced)},
    {"tb", S_COUNT, offsetof(gi_ext_t, times.broker_us)},
    {"tq", S_COUNT, offsetof(gi_ext_t, times.broker_queue_us)},
    {"ts", S_COUNT, offsetof(gi_ext_t, times.service_queue_us)},
    {"tp", S_COUNT, offsetof(gi_ext_t, times.pool_wait_us)},
    {"th", S_COUNT, offsetof(gi_ext_t, times.handler_us)},
    {"tn", S_RUN, offsetof(gi_ext_t, times.run)},
    {"tw", S_STR, offsetof(gi_ext_t, times.worker)},
    {"l", S_STR, offsetof(gi_ext_t, lane)},
    {"o", S_COUNT, offsetof(gi_ext_t, look_ms)},
    {"or", S_MAP, offsetof(gi_ext_t, report)},
};
enum { S_KEYS = sizeof s_keys / sizeof *s_keys };

void gi_ext_init(gi_ext_t *self) {
    *self = (gi_ext_t){.credit_items = -1,
                       .credit_bytes = -1,
                       .timeout_ms = -1,
                       .huge_size = -1,
                       .args_size = -1,
                       .kwargs_size = -1,
                       .epoch = -1,
                       .frame_max = -1,
                       .look_ms = -1,
                       .times = {-1, -1, -1, -1, -1, 0, {NULL, 0}}};
}

bool gi_ext_is(gate_bytes_t frame) {
    return frame.size >= GI_EXT_MAGIC_SIZE &&
           !memcmp(frame.data, GI_EXT_MAGIC, GI_EXT_MAGIC_SIZE);
}

/* ---- reading ------------------------------------------------------------- */
/* Stores a value whose head is h and whose whole is packed; false when it is of
 * another type or out of range. */
static bool s_store(gi_ext_t *out, size_t i, const gi_mp_t *h,
                    gate_bytes_t packed) {
    char *field = (char *)out + s_keys[i].offset;
    switch (s_keys[i].type) {
    case S_COUNT:
        *(int64_t *)(void *)field = (int64_t)h->bits;
        return h->kind == GI_MP_UINT && h->bits <= INT64_MAX;
    case S_RUN:
        *(int *)(void *)field = (int)(h->bits & INT_MAX);
        return h->kind == GI_MP_UINT && h->bits <= INT_MAX;
    case S_FLAG:
        *(bool *)field = h->bits != 0;
        return h->kind == GI_MP_BOOL;
    case S_STR:
        *(gate_bytes_t *)(void *)field = (gate_bytes_t){
            (const char *)packed.data + packed.size - h->n, h->n};
        return h->kind == GI_MP_STR;
    case S_MAP:
        *(gate_bytes_t *)(void *)field = packed;
        return h->kind == GI_MP_MAP;
    }
    return false;
}

/* Keys have one byte or two; all are looked at for each that comes, so without
 * a call of strlen and memcmp. */
static inline bool s_is(const char key[3], const unsigned char *name,
                        size_t n) {
    return n == 1u + (key[1] != 0) && key[0] == (char)name[0] &&
           (n == 1 || key[1] == (char)name[1]);
}

/* One pair at *p; unknown keys are skipped. */
static gate_err_t s_parse_pair(const unsigned char **p, size_t *left,
                               gi_ext_t *out) {
    gi_mp_t key, value;
    size_t head = gi_mp_head(*p, *left, &key), size = head + key.n;
    const unsigned char *name = *p + head;
    if (key.kind != GI_MP_STR)
        return gi_err(GATE_BADDATA, "extension: a key that is no str");
    *p += size;
    *left -= size;
    gate_err_t e = gi_scan_one(*p, *left, &s_limits, &size);
    if (e)
        return e;
    gi_mp_head(*p, *left, &value);
    for (size_t i = 0; i < S_KEYS; i++)
        if (s_is(s_keys[i].key, name, key.n) &&
            !s_store(out, i, &value, (gate_bytes_t){*p, size}))
            return gi_err(GATE_BADDATA, "extension: bad value of '%s'",
                          s_keys[i].key);
    *p += size;
    *left -= size;
    return GATE_OK;
}

gate_err_t gi_ext_parse(gate_bytes_t frame, gi_ext_t *out) {
    if (!gi_ext_is(frame) || frame.size > S_FRAME_MAX)
        return gi_err(GATE_BADDATA, "not an extension frame of up to 64 KiB");
    const unsigned char *p =
        (const unsigned char *)frame.data + GI_EXT_MAGIC_SIZE;
    size_t left = frame.size - GI_EXT_MAGIC_SIZE;
    if (gi_scan(p, left, &s_limits))
        return gi_err(GATE_BADDATA, "extension: %s", gate_error()->text);
    gi_mp_t map;
    gi_ext_t made;
    gi_ext_init(&made);
    size_t head = gi_mp_head(p, left, &map);
    if (map.kind != GI_MP_MAP)
        return gi_err(GATE_BADDATA, "extension: not a map");
    p += head;
    left -= head;
    gate_err_t e = GATE_OK;
    for (uint32_t i = 0; i < map.n && !e; i++)
        e = s_parse_pair(&p, &left, &made);
    if (!e)
        *out = made;
    return e;
}

/* ---- writing ------------------------------------------------------------- */
static bool s_present(const gi_ext_t *ext, size_t i) {
    const char *field = (const char *)ext + s_keys[i].offset;
    switch (s_keys[i].type) {
    case S_COUNT:
        return *(const int64_t *)(const void *)field >= 0;
    case S_RUN:
        return *(const int *)(const void *)field > 0;
    case S_FLAG:
        return *(const bool *)field;
    case S_STR:
    case S_MAP:
        return ((const gate_bytes_t *)(const void *)field)->size > 0;
    }
    return false;
}

static void s_put(gi_buf_t *out, const gi_ext_t *ext, size_t i) {
    const void *field = (const char *)ext + s_keys[i].offset;
    const int64_t *count = field;
    const int *run = field;
    const gate_bytes_t *bytes = field;
    gi_mp_put_str(out, s_keys[i].key, strlen(s_keys[i].key));
    switch (s_keys[i].type) {
    case S_COUNT:
        gi_mp_put_int(out, *count);
        break;
    case S_RUN:
        gi_mp_put_int(out, *run);
        break;
    case S_FLAG:
        gi_mp_put_bool(out, true);
        break;
    case S_STR:
        gi_mp_put_str(out, bytes->data, bytes->size);
        break;
    case S_MAP:
        gi_buf_append(out, bytes->data, bytes->size);
        break;
    }
}

gate_err_t gi_ext_pack(gi_buf_t *out, const gi_ext_t *ext) {
    size_t start = out->size, n = 0;
    for (size_t i = 0; i < S_KEYS; i++)
        n += s_present(ext, i);
    gi_buf_append(out, GI_EXT_MAGIC, GI_EXT_MAGIC_SIZE);
    gi_mp_put_map(out, n);
    for (size_t i = 0; i < S_KEYS; i++)
        if (s_present(ext, i))
            s_put(out, ext, i);
    gate_err_t e = out->failed ? gi_err(GATE_NOMEM, "packing an extension")
                   : out->size - start > S_FRAME_MAX
                       ? gi_err(GATE_TOOBIG, "an extension frame has at most "
                                             "64 KiB")
                       : GATE_OK;
    if (e)
        out->size = start;
    return e;
}
