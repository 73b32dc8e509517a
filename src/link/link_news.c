/* SPDX-License-Identifier: BSD-3-Clause */
/* link_news.c -- announcements as msgpack: a map with short keys; unknown ones
 * are skipped, so that later brokers may say more. */
#include "link/link_news.h"

#include <string.h>
#include "base/bytes.h"
#include "base/err.h"
#include "base/pack.h"
#include "base/utf8.h"
#include "value/value.h"

#define S_OFFER_FIELDS 7 /* of an offer; more are skipped */

/* ---- writing ------------------------------------------------------------- */
static void s_text(msgpack_packer *pk, gate_bytes_t text) {
    msgpack_pack_str(pk, text.size);
    msgpack_pack_str_body(pk, text.data ? text.data : "", text.size);
}

static void s_offer(msgpack_packer *pk, const gi_link_offer_t *offer) {
    msgpack_pack_array(pk, S_OFFER_FIELDS);
    msgpack_pack_uint32(pk, offer->index);
    s_text(pk, offer->name);
    s_text(pk, offer->description);
    msgpack_pack_int64(pk, offer->workers);
    msgpack_pack_int64(pk, offer->max);
    s_text(pk, offer->idempotent);
    msgpack_pack_uint8(pk, offer->takes_args);
}

gate_err_t gi_link_news_pack(gi_buf_t *out, const gi_link_news_t *news) {
    msgpack_packer pk;
    bool offers = news->parts > 0;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, 6 + (offers ? 3 : 0));
    gi_pack_text(&pk, "n");
    s_text(&pk, news->name);
    gi_pack_text(&pk, "z");
    s_text(&pk, news->zone);
    gi_pack_uint(&pk, "rev", news->rev);
    gi_pack_uint(&pk, "hb", (uint64_t)news->beat_ms);
    gi_pack_bool(&pk, "d", news->draining);
    gi_pack_bool(&pk, "ask", news->asks);
    if (offers) {
        gi_pack_uint(&pk, "part", news->part);
        gi_pack_uint(&pk, "parts", news->parts);
        gi_pack_text(&pk, "s");
        msgpack_pack_array(&pk, news->n_offers);
        for (size_t i = 0; i < news->n_offers; i++)
            s_offer(&pk, &news->offers[i]);
    }
    return out->failed ? gi_err(GATE_NOMEM, "no memory for an announcement")
                       : GATE_OK;
}

/* ---- reading ------------------------------------------------------------- */
static gate_err_t s_bad(const char *what) {
    return gi_err(GATE_BADDATA, "an announcement: %s", what);
}

static bool s_is_text(const msgpack_object *o, size_t max) {
    return o->type == MSGPACK_OBJECT_STR && o->via.str.size <= max &&
           !memchr(o->via.str.ptr, 0, o->via.str.size) &&
           gi_utf8_valid(o->via.str.ptr, o->via.str.size);
}

static bool s_is_count(const msgpack_object *o) {
    return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           o->via.u64 <= INT64_MAX;
}

static gate_bytes_t s_view(const msgpack_object *o) {
    return (gate_bytes_t){o->via.str.ptr, o->via.str.size};
}

static gate_err_t s_take_offer(const msgpack_object *o, gi_link_offer_t *to) {
    const msgpack_object *f = o->via.array.ptr;
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size < S_OFFER_FIELDS)
        return s_bad("an offer of too few fields");
    if (!s_is_count(&f[0]) || f[0].via.u64 > UINT32_MAX || !s_is_count(&f[3]) ||
        !s_is_count(&f[4]) || !s_is_count(&f[6]))
        return s_bad("an offer without its numbers");
    if (!s_is_text(&f[1], GI_LINK_NAME_MAX) || f[1].via.str.size == 0 ||
        !s_is_text(&f[2], 65536) || !s_is_text(&f[5], 65536))
        return s_bad("an offer without its names");
    *to = (gi_link_offer_t){.index = (uint32_t)f[0].via.u64,
                            .name = s_view(&f[1]),
                            .description = s_view(&f[2]),
                            .workers = f[3].via.i64,
                            .max = f[4].via.i64,
                            .idempotent = s_view(&f[5]),
                            .takes_args = f[6].via.u64 & 1};
    return GATE_OK;
}

static gate_err_t s_take_offers(const msgpack_object *o, msgpack_zone *zone,
                                gi_link_news_t *out) {
    if (o->type != MSGPACK_OBJECT_ARRAY ||
        o->via.array.size > GI_LINK_OFFERS_MAX)
        return s_bad("no list of offers");
    size_t n = o->via.array.size;
    gate_err_t e = GATE_OK;
    out->offers = msgpack_zone_malloc(zone, (n + 1) * sizeof *out->offers);
    if (out->offers == NULL)
        return gi_err(GATE_NOMEM, "no memory for an announcement");
    for (size_t i = 0; i < n && !e; i++)
        e = s_take_offer(&o->via.array.ptr[i], &out->offers[i]);
    out->n_offers = n;
    return e;
}

static gate_err_t s_count(const msgpack_object *o, uint64_t max,
                          uint64_t *out) {
    if (!s_is_count(o) || o->via.u64 > max)
        return s_bad("a number that is none");
    *out = o->via.u64;
    return GATE_OK;
}

/* People see it in logs and lists: nothing in it is obeyed by a terminal. */
bool gi_link_name_valid(const void *name, size_t size) {
    const unsigned char *p = name;
    for (size_t i = 0; i < size; i++)
        if (p[i] < 32 || p[i] == 127 ||
            (p[i] == 0xc2 && i + 1 < size && p[i + 1] < 0xa0))
            return false;
    return gi_utf8_valid(name, size);
}

static gate_err_t s_name(const msgpack_object *o, gate_bytes_t *out) {
    if (!s_is_text(o, GI_LINK_NAME_MAX) ||
        !gi_link_name_valid(o->via.str.ptr, o->via.str.size))
        return s_bad("a name that is none");
    *out = s_view(o);
    return GATE_OK;
}

static gate_err_t s_take(const char *key, const msgpack_object *o,
                         msgpack_zone *zone, gi_link_news_t *out) {
    uint64_t count = 0;
    gate_err_t e = GATE_OK;
    if (strcmp(key, "n") == 0)
        return s_name(o, &out->name);
    if (strcmp(key, "z") == 0)
        return s_name(o, &out->zone);
    if (strcmp(key, "rev") == 0)
        return s_count(o, INT64_MAX, &out->rev);
    if (strcmp(key, "s") == 0)
        return s_take_offers(o, zone, out);
    if (strcmp(key, "d") == 0)
        out->draining = o->type == MSGPACK_OBJECT_BOOLEAN && o->via.boolean;
    else if (strcmp(key, "ask") == 0)
        out->asks = o->type == MSGPACK_OBJECT_BOOLEAN && o->via.boolean;
    else if (strcmp(key, "hb") == 0)
        e = s_count(o, 3600000, (uint64_t *)&out->beat_ms);
    else if (strcmp(key, "part") == 0 && !(e = s_count(o, 65535, &count)))
        out->part = (unsigned)count;
    else if (strcmp(key, "parts") == 0 && !(e = s_count(o, 65535, &count)))
        out->parts = (unsigned)count;
    return e;
}

gate_err_t gi_link_news_parse(gate_bytes_t packed, msgpack_zone *zone,
                              const gate_settings_t *settings,
                              gi_link_news_t *out) {
    msgpack_object map;
    char key[16];
    gate_err_t e =
        gi_value_decode_into(packed.data, packed.size, zone, settings, &map);
    memset(out, 0, sizeof *out);
    if (!e && map.type != MSGPACK_OBJECT_MAP)
        e = s_bad("no map");
    for (uint32_t i = 0; !e && i < map.via.map.size; i++) {
        const msgpack_object_kv *kv = &map.via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR &&
            gi_bytes_text(s_view(&kv->key), key, sizeof key))
            e = s_take(key, &kv->val, zone, out);
    }
    if (!e && (out->n_offers > 0 || out->parts > 0) && out->part >= out->parts)
        e = s_bad("a part of none");
    return e;
}
