/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch/top.h"

#include <poll.h>
#include <string.h>

#define S_WAIT_MS 3000
#define S_LOOKS 10 /* for reports, so many ms apart: */
#define S_LOOK_MS 50

const msgpack_object *gi_top_look_get(const msgpack_object *map,
                                      const char *key) {
    size_t n = strlen(key);
    for (uint32_t i = 0;
         map && map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object *k = &map->via.map.ptr[i].key;
        if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == n &&
            memcmp(k->via.str.ptr, key, n) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

int64_t gi_top_look_number(const msgpack_object *map, const char *key) {
    const msgpack_object *v = gi_top_look_get(map, key);
    if (v && v->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return v->via.u64 < INT64_MAX ? (int64_t)v->via.u64 : INT64_MAX;
    return v && v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER ? v->via.i64 : 0;
}

uint32_t gi_top_look_size(const msgpack_object *list) {
    return list && list->type == MSGPACK_OBJECT_ARRAY ? list->via.array.size
                                                      : 0;
}

/* ---- asking -------------------------------------------------------------- */
static gate_err_t s_observe(gate_client_t *client, gate_value_t **out) {
    return gate_client_call(client, "Gate.observe", out,
                            gate_list("workers", "clients", "slow", "reports"),
                            gate_timeout_ms(S_WAIT_MS));
}

/* A report of each service that has workers of ours. */
static bool s_all_told(const gate_value_t *value) {
    const msgpack_object *all = gate_value_object(value);
    const msgpack_object *services = gi_top_look_get(all, "services");
    const msgpack_object *reports = gi_top_look_get(all, "reports");
    int64_t n = 0;
    for (uint32_t i = 0; i < gi_top_look_size(services); i++) {
        const msgpack_object *s = &services->via.array.ptr[i];
        n += gi_top_look_number(s, "workers") > gi_top_look_number(s, "plain");
    }
    return !reports || gi_top_look_number(reports, "total") >= n;
}

gate_err_t gi_top_look_ask(gate_client_t *client, bool first,
                           gate_value_t **out) {
    gate_err_t e = s_observe(client, out);
    for (int i = 0; first && !e && i < S_LOOKS && !s_all_told(*out); i++) {
        poll(NULL, 0, S_LOOK_MS);
        gate_value_destroy(out);
        e = s_observe(client, out);
    }
    return e;
}

const msgpack_object *gi_top_look_report(const gi_top_look_t *look,
                                         uint32_t n) {
    const msgpack_object *list = gi_top_look_get(
        gi_top_look_get(look->value ? gate_value_object(look->value) : NULL,
                        "reports"),
        "reports");
    return n < gi_top_look_size(list) ? &list->via.array.ptr[n] : NULL;
}

void gi_top_look_set(gi_top_look_t *self, gate_value_t **value) {
    gi_top_look_fini(self);
    self->value = *value;
    *value = NULL;
    const msgpack_object *all = gate_value_object(self->value);
    self->broker = gi_top_look_get(all, "broker");
    self->services = gi_top_look_get(all, "services");
    self->at_ms = gi_top_look_number(self->broker, "monotonic_ms");
    self->start_ms = gi_top_look_number(
        gi_top_look_get(self->broker, "process"), "start_ms");
    self->limited = gi_top_look_get(self->broker, "limited") != NULL;
}

void gi_top_look_fini(gi_top_look_t *self) {
    gate_value_destroy(&self->value);
    *self = (gi_top_look_t){0};
}

static bool s_equal(const msgpack_object *a, const msgpack_object *b) {
    return a && b && a->type == MSGPACK_OBJECT_STR &&
           b->type == MSGPACK_OBJECT_STR &&
           a->via.str.size == b->via.str.size &&
           memcmp(a->via.str.ptr, b->via.str.ptr, a->via.str.size) == 0;
}

const msgpack_object *gi_top_look_same(const msgpack_object *list,
                                       const msgpack_object *item,
                                       const char *key) {
    const msgpack_object *name = gi_top_look_get(item, key);
    for (uint32_t i = 0; i < gi_top_look_size(list); i++)
        if (s_equal(gi_top_look_get(&list->via.array.ptr[i], key), name))
            return &list->via.array.ptr[i];
    return NULL;
}

int64_t gi_top_look_ended(const msgpack_object *item, int64_t *bad) {
    const msgpack_object *outcomes = gi_top_look_get(item, "outcomes");
    int64_t n = 0, ok = gi_top_look_number(outcomes, "ok");
    for (uint32_t i = 0; outcomes && outcomes->type == MSGPACK_OBJECT_MAP &&
                         i < outcomes->via.map.size;
         i++)
        if (outcomes->via.map.ptr[i].val.type ==
            MSGPACK_OBJECT_POSITIVE_INTEGER)
            n += outcomes->via.map.ptr[i].val.via.i64;
    *bad = n - ok;
    return n;
}

/* ---- histograms ---------------------------------------------------------- */
static double s_edge_us(unsigned slot) {
    return (double)(8 + slot % 8) / 8 * (double)(UINT64_C(1) << slot / 8);
}

void gi_top_look_add(const msgpack_object *lat, double sign,
                     double slot[GI_TOP_SLOTS]) {
    const msgpack_object *slots = gi_top_look_get(lat, "slots");
    for (uint32_t i = 0; i + 1 < gi_top_look_size(slots); i += 2) {
        const msgpack_object *at = &slots->via.array.ptr[i];
        if (at[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            at[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
            at[0].via.u64 < GI_TOP_SLOTS)
            slot[at[0].via.u64] += sign * (double)at[1].via.u64;
    }
}

double gi_top_look_quantile(const msgpack_object *now,
                            const msgpack_object *before, double share) {
    double slot[GI_TOP_SLOTS] = {0};
    gi_top_look_add(now, 1, slot);
    gi_top_look_add(before, -1, slot);
    return gi_top_look_share(slot, share);
}

double gi_top_look_share(const double slot[GI_TOP_SLOTS], double share) {
    const unsigned under = GI_TOP_SLOTS - 2;
    double all = 0;
    for (unsigned i = 0; i < GI_TOP_SLOTS; i++)
        all += slot[i];
    if (all <= 0)
        return -1;
    double want = share * all, sum = slot[under];
    if (want <= sum)
        return want / sum;
    for (unsigned i = 0; i < under; i++) {
        if (slot[i] > 0 && want <= sum + slot[i])
            return s_edge_us(i) +
                   (s_edge_us(i + 1) - s_edge_us(i)) * (want - sum) / slot[i];
        sum += slot[i];
    }
    return s_edge_us(under);
}
