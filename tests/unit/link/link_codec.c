/* SPDX-License-Identifier: BSD-3-Clause */
/* Heads, records, fragments and announcements: there and back, and what is
 * none is refused. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "link/link_codec.h"
#include "link/link_news.h"
#include "link/link_parts.h"
#include "settings/settings.h"

Test(link_codec, a_head_comes_back_and_a_wrong_one_does_not) {
    unsigned char bytes[GI_LINK_HEAD + 3] = {0};
    gi_link_head_t out, head = {.kind = GI_LINK_DATA,
                                .flags = 1,
                                .node = "12345678",
                                .gen = 0xdeadbeef,
                                .peer_gen = 7,
                                .seq = UINT64_MAX,
                                .ack = 1,
                                .grant = (uint64_t)1 << 40,
                                .age_ms = 5,
                                .size = 3};
    gate_bytes_t rest, message = {bytes, sizeof bytes};
    gi_link_head_write(&head, bytes);
    cr_assert_eq(gi_link_head_parse(message, &out, &rest), GATE_OK);
    cr_expect_eq(out.gen, head.gen);
    cr_expect_eq(out.seq, head.seq);
    cr_expect_eq(out.grant, head.grant);
    cr_expect_eq(rest.size, 3u);
    cr_expect_arr_eq(out.node, head.node, 8);
    for (size_t n = 0; n < sizeof bytes; n++)
        cr_expect_neq(gi_link_head_parse((gate_bytes_t){bytes, n}, &out, &rest),
                      GATE_OK);
    bytes[4] = 2;
    cr_expect_eq(gi_link_head_parse(message, &out, &rest), GATE_NOTIMPL);
    bytes[4] = 1;
    bytes[5] = 'X';
    cr_expect_eq(gi_link_head_parse(message, &out, &rest), GATE_BADDATA);
    bytes[5] = 0;
    cr_expect_eq(gi_link_head_parse(message, &out, &rest), GATE_BADDATA);
}

Test(link_codec, a_node_is_thirteen_characters) {
    char text[GI_LINK_NODE_TEXT + 1];
    gi_link_node_text((const unsigned char *)"\0\0\0\0\0\0\0\1", text);
    cr_expect_str_eq(text, "0000000000001");
    gi_link_node_text((const unsigned char *)"\xff\xff\xff\xff\xff\xff\xff\xff",
                      text);
    cr_expect_str_eq(text, "fvvvvvvvvvvvv");
}

Test(link_codec, records_of_any_frames_come_back) {
    static unsigned char large[70000];
    gate_bytes_t f[4] = {{"", 0},
                         {large, 253},
                         {large, 254},
                         {large, sizeof large}},
                 out[4];
    size_t size = gi_link_record_size(f, 4);
    unsigned char *to = malloc(2 * size);
    unsigned n;
    gi_link_record_t record;
    unsigned char *end = gi_link_record_write(GI_LINK_REPLY, 2, f, 4, to);
    cr_assert_eq((size_t)(end - to), size);
    end = gi_link_record_write(GI_LINK_REQUEST, 0, f, 1, end);
    gate_bytes_t rest = {to, (size_t)(end - to)};
    cr_assert_eq(gi_link_record_next(&rest, &record), GATE_OK);
    cr_expect(record.type == GI_LINK_REPLY && record.flags == 2);
    cr_assert_eq(gi_link_record_frames(record.body, 4, out, &n), GATE_OK);
    cr_assert_eq(n, 4u);
    for (unsigned i = 0; i < n; i++)
        cr_expect_eq(out[i].size, f[i].size);
    cr_expect_eq(gi_link_record_frames(record.body, 3, out, &n), GATE_BADDATA);
    cr_assert_eq(gi_link_record_next(&rest, &record), GATE_OK);
    cr_expect_eq(rest.size, 0u);
    for (size_t cut = 0; cut < size; cut += cut < 300 ? 1 : 997) {
        rest = (gate_bytes_t){to, cut};
        cr_expect_neq(gi_link_record_next(&rest, &record), GATE_OK);
    }
    to[0] = 'Z';
    rest = (gate_bytes_t){to, size};
    cr_expect_eq(gi_link_record_next(&rest, &record), GATE_BADDATA);
    free(to);
}

static gate_err_t s_take(gi_link_parts_t *parts, unsigned char *from,
                         unsigned char *end, size_t max, unsigned char **whole,
                         size_t *size) {
    gi_link_record_t record;
    gate_bytes_t rest = {from, (size_t)(end - from)};
    cr_assert_eq(gi_link_record_next(&rest, &record), GATE_OK);
    return gi_link_parts_take(parts, &record, max, whole, size);
}

Test(link_codec, fragments_of_several_records_interleave) {
    gi_link_parts_t parts = {0};
    unsigned char text[2][1000], to[200], *end, *whole = NULL;
    size_t at[2] = {0}, size = 0;
    unsigned done = 0;
    memset(text[0], 'a', sizeof text[0]);
    memset(text[1], 'b', sizeof text[1]);
    for (unsigned i = 0; done < 2; i++) {
        unsigned w = i & 1;
        end = gi_link_parts_write(w + 1, (gate_bytes_t){text[w], 1000}, 99,
                                  &at[w], to);
        cr_assert_eq(s_take(&parts, to, end, 1000, &whole, &size), GATE_OK);
        if (whole == NULL)
            continue;
        cr_assert_eq(size, 1000u);
        cr_expect_arr_eq(whole, text[w], 1000);
        gi_mem_free(whole);
        done++;
    }
    at[0] = 0;
    end = gi_link_parts_write(9, (gate_bytes_t){text[0], 1000}, 99, &at[0], to);
    cr_expect_eq(s_take(&parts, to, end, 98, &whole, &size), GATE_TOOBIG);
    at[0] = 0;
    end = gi_link_parts_write(0, (gate_bytes_t){text[0], 1000}, 99, &at[0], to);
    cr_expect_eq(s_take(&parts, to, end, 1000, &whole, &size), GATE_BADDATA);
    gi_link_parts_fini(&parts);
}

Test(link_codec, no_more_than_sixteen_are_open) {
    gi_link_parts_t parts = {0};
    unsigned char text[200] = {0}, to[200], *whole = NULL;
    size_t size = 0;
    for (uint32_t id = 1; id <= GI_LINK_PARTS_MAX + 1; id++) {
        size_t at = 0;
        unsigned char *end =
            gi_link_parts_write(id, (gate_bytes_t){text, 200}, 50, &at, to);
        cr_expect_eq(s_take(&parts, to, end, 1000, &whole, &size),
                     id <= GI_LINK_PARTS_MAX ? GATE_OK : GATE_TOOBIG);
    }
    gi_link_parts_fini(&parts);
}

Test(link_codec, an_announcement_comes_back) {
    gate_settings_t *settings = gate_settings_new();
    gi_link_offer_t offers[2] = {{.index = 3,
                                  .name = {"S", 1},
                                  .description = {"what", 4},
                                  .idempotent = {"a,b=2", 5},
                                  .workers = 2,
                                  .max = 9,
                                  .takes_args = true},
                                 {.index = 4, .name = {"T", 1}}};
    gi_link_news_t out, news = {.name = {"me", 2},
                                .zone = {"z", 1},
                                .rev = 12,
                                .beat_ms = 1000,
                                .draining = true,
                                .part = 1,
                                .parts = 2,
                                .offers = offers,
                                .n_offers = 2};
    gi_buf_t buf = {0};
    msgpack_zone zone;
    cr_assert(msgpack_zone_init(&zone, 1024));
    cr_assert_eq(gi_link_news_pack(&buf, &news), GATE_OK);
    cr_assert_eq(gi_link_news_parse((gate_bytes_t){buf.data, buf.size}, &zone,
                                    settings, &out),
                 GATE_OK);
    cr_expect(out.rev == 12 && out.draining && !out.asks &&
              out.beat_ms == 1000);
    cr_assert_eq(out.n_offers, 2u);
    cr_expect_eq(out.offers[0].index, 3u);
    cr_expect(out.offers[0].takes_args && !out.offers[1].takes_args);
    cr_expect_eq(out.offers[0].idempotent.size, 5u);
    for (size_t n = 0; n < buf.size; n++)
        cr_expect_neq(gi_link_news_parse((gate_bytes_t){buf.data, n}, &zone,
                                         settings, &out),
                      GATE_OK);
    gi_buf_fini(&buf);
    msgpack_zone_destroy(&zone);
    gate_settings_destroy(&settings);
}
