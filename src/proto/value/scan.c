/* SPDX-License-Identifier: BSD-3-Clause */
/* scan.c -- one pass over the heads, with a stack of "items still to come".
 * Law: a container whose count exceeds the bytes that are left is refused where
 * it stands, so counting objects (gi_scan_count) never exceeds size; and one
 * with which there would be too many objects ends the scan there: what is
 * refused costs no look at the rest. */
#include "value/scan.h"
#include "value/decode.h"
#include "base/err.h"
#include "base/utf8.h"
#include "value/mp.h"
#include "settings/settings.h"

gi_limits_t gi_scan_limits(const gate_settings_t *settings) {
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    return (gi_limits_t){(size_t)s->msgpack_str_max,
                         (size_t)s->msgpack_bin_max,
                         (size_t)s->msgpack_array_max,
                         (size_t)s->msgpack_map_max,
                         (unsigned)s->msgpack_depth_max,
                         (size_t)s->msgpack_objects_max,
                         .utf8 = false};
}

gi_limits_t gi_scan_limits_huge(const gate_settings_t *settings) {
    const gate_settings_t *s = settings ? settings : gi_settings_defaults();
    gi_limits_t limits = gi_scan_limits(s);
    size_t max = (size_t)s->huge_max_bytes;
    limits.huge_str = max >= limits.str_max;
    limits.huge_bin = max >= limits.bin_max;
    limits.str_max = limits.str_max > max ? limits.str_max : max;
    limits.bin_max = limits.bin_max > max ? limits.bin_max : max;
    return limits;
}

static gate_err_t s_bad(const char *what, size_t at) {
    return gi_err(GATE_BADDATA, "msgpack: %s at byte %zu", what, at);
}

static gate_err_t s_check_limits(const gi_mp_t *h, const gi_limits_t *l,
                                 size_t at) {
    static const char *const names[] = {"str", "bin", "ext", "array", "map"};
    static const char *const settings[] = {"str", "bin", "bin", "array", "map"};
    const size_t max[] = {l->str_max, l->bin_max, l->bin_max, l->array_max,
                          l->map_max};
    unsigned i = (unsigned)h->kind - GI_MP_STR;
    if (h->n <= max[i])
        return GATE_OK;
    if (h->kind < GI_MP_ARRAY &&
        (h->kind == GI_MP_STR ? l->huge_str : l->huge_bin))
        return gi_err(GATE_TOOBIG,
                      "msgpack: %s of %u at byte %zu: at most %zu "
                      "(huge_max_bytes)",
                      names[i], h->n, at, max[i]);
    return gi_err(GATE_TOOBIG,
                  "msgpack: %s of %u at byte %zu: at most %zu (msgpack_%s_max)",
                  names[i], h->n, at, max[i], settings[i]);
}

static gate_err_t s_too_many(const gi_limits_t *l, size_t at) {
    return gi_err(GATE_TOOBIG,
                  "msgpack: at byte %zu more than %zu objects in all: "
                  "msgpack_objects_max",
                  at, l->objects_max);
}

gate_err_t gi_scan_count(const void *data, size_t size,
                         const gi_limits_t *limits, size_t *used,
                         size_t *n_objects) {
    const unsigned char *start = data, *p = start;
    uint64_t left[GI_DEPTH_MAX + 1]; /* [depth]: items still to come there */
    unsigned depth = 0;
    size_t count = 0;
    left[0] = 1;
    for (;;) {
        gi_mp_t h;
        size_t room = size - (size_t)(p - start);
        size_t head = gi_mp_head(p, room, &h);
        if (!head)
            return s_bad("cut off", size);
        if (h.kind == GI_MP_RESERVED)
            return s_bad("the reserved byte 0xc1", (size_t)(p - start));
        left[depth]--;
        if (h.kind >= GI_MP_STR) {
            gate_err_t e = s_check_limits(&h, limits, (size_t)(p - start));
            if (e)
                return e;
            uint64_t need = h.kind == GI_MP_MAP ? 2 * (uint64_t)h.n : h.n;
            if (need > room - head)
                return s_bad("cut off: more is announced than there is",
                             (size_t)(p - start));
            if (h.kind >= GI_MP_ARRAY) {
                if (depth >= limits->depth_max || depth >= GI_DEPTH_MAX)
                    return gi_err(GATE_TOOBIG,
                                  "msgpack: deeper than %u levels at byte %zu",
                                  limits->depth_max, (size_t)(p - start));
                left[++depth] = need;
                count += need;
                if (count > limits->objects_max)
                    return s_too_many(limits, (size_t)(p - start));
            } else {
                if (h.kind == GI_MP_STR && limits->utf8 &&
                    !gi_utf8_valid(p + head, h.n))
                    return s_bad("a str that is no UTF-8", (size_t)(p - start));
                p += need;
            }
        }
        p += head;
        while (!left[depth]) {
            if (!depth--) {
                *used = (size_t)(p - start);
                *n_objects = count;
                return GATE_OK;
            }
        }
    }
}

gate_err_t gi_scan_one(const void *data, size_t size, const gi_limits_t *limits,
                       size_t *used) {
    size_t n_objects;
    return gi_scan_count(data, size, limits, used, &n_objects);
}

gate_err_t gi_scan(const void *data, size_t size, const gi_limits_t *limits) {
    size_t used = 0;
    gate_err_t e = gi_scan_one(data, size, limits, &used);
    if (e || used == size)
        return e;
    return gi_err(GATE_BADDATA, "msgpack: %zu bytes after the value's %zu",
                  size - used, used);
}
