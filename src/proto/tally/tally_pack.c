/* SPDX-License-Identifier: BSD-3-Clause */
/* tally_pack.c -- a tally as others get to see it. */
#include "tally/tally.h"

#include <string.h>
#include "base/pack.h"
#include "base/utf8.h"

#define S_TEXT_MAX 256

void gi_tally_pack_text(msgpack_packer *pk, const char *text, size_t size) {
    char safe[S_TEXT_MAX];
    size_t n = size < sizeof safe ? size : sizeof safe;
    memcpy(safe, text, n);
    for (size_t i = 0, step; i < n; i += step) {
        unsigned char *p = (unsigned char *)safe + i;
        step = *p < ' ' || *p == 0x7f ? 0 : gi_utf8_next(p, n - i);
        if (step == 0) {
            *p = '?';
            step = 1;
        }
    }
    msgpack_pack_str_with_body(pk, safe, n);
}

static void s_outcomes(msgpack_packer *pk, const uint64_t *outcome) {
    msgpack_pack_map(pk, GI_OUTCOMES);
    for (unsigned i = 0; i < GI_OUTCOMES; i++) {
        gi_pack_text(pk, gi_tally_outcomes[i]);
        msgpack_pack_uint64(pk, outcome[i]);
    }
}

void gi_tally_pack_lat(const gi_lat_t *lat, msgpack_packer *pk) {
    uint8_t at[GI_LAT_SLOTS + 2]; /* those that are not 0: a few */
    size_t n = 0;
    for (unsigned i = 0; i < GI_LAT_SLOTS + 2; i++)
        if (lat->slot[i])
            at[n++] = (uint8_t)i;
    msgpack_pack_map(pk, 5);
    gi_pack_uint(pk, "n", lat->n);
    gi_pack_uint(pk, "p50_us", (uint64_t)gi_lat_quantile_ns(lat, .5) / 1000);
    gi_pack_uint(pk, "p99_us", (uint64_t)gi_lat_quantile_ns(lat, .99) / 1000);
    gi_pack_uint(pk, "sum_us", lat->sum_ns / 1000);
    gi_pack_text(pk, "slots");
    msgpack_pack_array(pk, 2 * n);
    for (size_t i = 0; i < n; i++) {
        msgpack_pack_uint64(pk, at[i]);
        msgpack_pack_uint64(pk, lat->slot[at[i]]);
    }
}

static void s_class(const gi_tally_class_t *c, msgpack_packer *pk,
                    int64_t now_ms) {
    msgpack_pack_map(pk, 4);
    gi_pack_text(pk, "name");
    gi_tally_pack_text(pk, c->name, strlen(c->name));
    gi_pack_uint(pk, "n", c->n);
    gi_pack_int(pk, "ago_ms", now_ms - c->last_ms);
    gi_pack_text(pk, "text");
    gi_tally_pack_text(pk, c->text, strlen(c->text));
}

static void s_method(const gi_tally_method_t *m, msgpack_packer *pk) {
    msgpack_pack_map(pk, 3);
    gi_pack_text(pk, "name");
    gi_tally_pack_text(pk, m->name.text, strlen(m->name.text));
    gi_pack_text(pk, "outcomes");
    s_outcomes(pk, m->outcome);
    gi_pack_text(pk, "run");
    gi_tally_pack_lat(&m->run, pk);
}

static bool s_has_other(const gi_tally_t *self) {
    for (unsigned i = 0; i < GI_OUTCOMES; i++)
        if (self->other[i])
            return true;
    return false;
}

static void s_methods(const gi_tally_t *self, msgpack_packer *pk) {
    bool other = s_has_other(self);
    msgpack_pack_array(pk, self->n_methods + other);
    for (unsigned i = 0; i < self->n_methods; i++)
        s_method(self->methods[i], pk);
    if (!other)
        return;
    msgpack_pack_map(pk, 2);
    gi_pack_text(pk, "name");
    gi_pack_text(pk, "_other");
    gi_pack_text(pk, "outcomes");
    s_outcomes(pk, self->other);
}

void gi_tally_pack(const gi_tally_t *self, msgpack_packer *pk, int64_t now_ms) {
    gi_pack_text(pk, "outcomes");
    s_outcomes(pk, self->outcome);
    gi_pack_text(pk, "total");
    gi_tally_pack_lat(&self->total, pk);
    gi_pack_text(pk, "wait");
    gi_tally_pack_lat(&self->wait, pk);
    gi_pack_text(pk, "classes");
    msgpack_pack_array(pk, self->n_classes);
    for (const gi_tally_class_t *c = self->classes; c; c = c->next)
        s_class(c, pk, now_ms);
    gi_pack_text(pk, "methods");
    s_methods(self, pk);
}
