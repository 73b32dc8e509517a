/* SPDX-License-Identifier: BSD-3-Clause */
#include "tally/slow.h"

#include <string.h>
#include "base/pack.h"

#define S_MINUTE_MS 60000
#define S_ENTRIES 11

/* Of this minute's; they are the last ones before next. */
static gi_slow_t *s_fastest(gi_slow_list_t *self) {
    gi_slow_t *least = NULL;
    for (unsigned i = 1; i <= self->n_minute; i++) {
        gi_slow_t *one =
            &self->call[(self->next + GI_SLOW_MAX - i) % GI_SLOW_MAX];
        if (least == NULL || one->total_ns < least->total_ns)
            least = one;
    }
    return least;
}

gi_slow_t *gi_slow_add(gi_slow_list_t *self, int64_t now_ms, int64_t total_ns) {
    gi_slow_t *slot;
    if (now_ms / S_MINUTE_MS != self->minute) {
        self->minute = now_ms / S_MINUTE_MS;
        self->n_minute = 0;
    }
    if (self->n_minute == GI_SLOW_MINUTE) {
        slot = s_fastest(self);
        if (slot->total_ns >= total_ns)
            return NULL;
    } else {
        slot = &self->call[self->next];
        self->next = (self->next + 1) % GI_SLOW_MAX;
        self->n += self->n < GI_SLOW_MAX;
        self->n_minute++;
    }
    memset(slot, 0, sizeof *slot);
    slot->seq = ++self->seq;
    slot->at_ms = now_ms;
    slot->total_ns = total_ns;
    return slot;
}

static void s_text(msgpack_packer *pk, const char *key, const char *text) {
    gi_pack_text(pk, key);
    gi_tally_pack_text(pk, text, strlen(text));
}

static void s_one(const gi_slow_t *call, msgpack_packer *pk, int64_t now_ms) {
    msgpack_pack_map(pk, S_ENTRIES);
    gi_pack_int(pk, "seq", (int64_t)call->seq);
    gi_pack_int(pk, "ago_ms", now_ms - call->at_ms);
    s_text(pk, "service", call->service);
    s_text(pk, "method", call->method.text);
    s_text(pk, "user", call->user);
    s_text(pk, "outcome", gi_tally_outcomes[call->outcome]);
    gi_pack_int(pk, "total_us", call->total_ns / 1000);
    gi_pack_int(pk, "queue_us", call->wait_ns / 1000);
    gi_pack_int(pk, "stood_us", call->stood_ns / 1000);
    gi_pack_int(pk, "attempt", call->attempt);
    s_text(pk, "trace", call->trace);
}

void gi_slow_pack(const gi_slow_list_t *self, msgpack_packer *pk,
                  uint64_t since, int64_t now_ms) {
    unsigned n = 0;
    for (unsigned i = 0; i < self->n; i++)
        n += self->call[i].seq > since;
    msgpack_pack_array(pk, n);
    unsigned first = self->next + GI_SLOW_MAX - self->n;
    for (unsigned i = 0; i < self->n; i++) {
        const gi_slow_t *call = &self->call[(first + i) % GI_SLOW_MAX];
        if (call->seq > since)
            s_one(call, pk, now_ms);
    }
}
