/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_link_codec.c -- what anybody may publish on a cluster's subjects: heads,
 * records, fragments, announcements. What parses is written to the same again,
 * and nothing is believed before its length was looked at. */
#include "input.h"

#include <string.h>

#include "base/mem.h"
#include "link/link_codec.h"
#include "link/link_news.h"
#include "link/link_parts.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void s_same(const gi_link_record_t *record, const gate_bytes_t *f,
                   unsigned n) {
    gate_bytes_t again[GI_LINK_FRAMES_MAX];
    gi_link_record_t out;
    unsigned m = 0;
    size_t size = gi_link_record_size(f, n);
    unsigned char *to = malloc(size);
    if (to == NULL)
        return;
    unsigned char *end =
        gi_link_record_write(record->type, record->flags, f, n, to);
    gate_bytes_t rest = {to, (size_t)(end - to)};
    fuzz_must(rest.size == size);
    gate_err_t e = gi_link_record_next(&rest, &out);
    fuzz_must(!e && rest.size == 0 && out.type == record->type);
    e = gi_link_record_frames(out.body, GI_LINK_FRAMES_MAX, again, &m);
    fuzz_must(!e && m == n);
    for (unsigned i = 0; i < n; i++)
        fuzz_must(f[i].size == again[i].size &&
                  !memcmp(f[i].data, again[i].data, f[i].size));
    free(to);
}

static void s_records(gate_bytes_t rest) {
    gi_link_parts_t parts = {0};
    gi_link_record_t record;
    while (rest.size && gi_link_record_next(&rest, &record) == GATE_OK) {
        gate_bytes_t f[GI_LINK_FRAMES_MAX];
        unsigned n = 0;
        unsigned char *whole = NULL;
        size_t size = 0;
        gate_err_t e =
            gi_link_record_frames(record.body, GI_LINK_FRAMES_MAX, f, &n);
        if (!e)
            s_same(&record, f, n);
        if (record.type == GI_LINK_FRAGMENT &&
            gi_link_parts_take(&parts, &record, 1 << 16, &whole, &size) ==
                GATE_OK)
            gi_mem_free(whole);
    }
    gi_link_parts_fini(&parts);
}

static void s_news(gate_bytes_t packed) {
    static gate_settings_t *settings;
    gi_link_news_t news;
    msgpack_zone zone;
    if (settings == NULL)
        settings = gate_settings_new();
    if (settings == NULL || !msgpack_zone_init(&zone, 1024))
        return;
    if (gi_link_news_parse(packed, &zone, settings, &news) == GATE_OK)
        for (size_t i = 0; i < news.n_offers; i++)
            fuzz_must(news.offers[i].name.size > 0 && news.offers[i].max >= 0);
    msgpack_zone_destroy(&zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gi_link_head_t head;
    gate_bytes_t rest, all = {data, size};
    if (gi_link_head_parse(all, &head, &rest) == GATE_OK) {
        unsigned char to[GI_LINK_HEAD];
        gi_link_head_write(&head, to);
        fuzz_must(memcmp(to, data, sizeof to) == 0);
        s_records(rest);
    }
    if (size == 0)
        return 0;
    gate_bytes_t body = {data + 1, size - 1};
    if (data[0] & 1)
        s_records(body);
    else
        s_news(body);
    return 0;
}
