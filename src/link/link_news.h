/* SPDX-License-Identifier: BSD-3-Clause */
/* link_news.h -- what a broker announces about itself: its name, its state and
 * the services that it has workers of (docs/extensions.md, GXL). Thread: any.
 * Blocks: never. Survives: any bytes. */
#ifndef GI_LINK_NEWS_H
#define GI_LINK_NEWS_H

#include <gaterpc/settings.h>
#include <msgpack.h>
#include "base/buf.h"
#include "link/link_codec.h"

#define GI_LINK_NAME_MAX 255
#define GI_LINK_OFFERS_MAX 65536
/* Bytes of offers in one announcement; there are more of them then. */
#define GI_LINK_NEWS_BYTES ((size_t)256 << 10)

/* A service of a broker. */
typedef struct gi_link_offer {
    uint32_t index; /* what that broker knows it by */
    gate_bytes_t name, description, idempotent;
    int64_t workers, max; /* calls that they take together */
    bool takes_args;      /* some of them take arguments in chunks */
} gi_link_offer_t;

typedef struct gi_link_news {
    gate_bytes_t name, zone;
    uint64_t rev; /* of the offers; 0: there were none yet */
    int64_t beat_ms;
    bool draining;
    bool asks; /* tell me all of it */
    unsigned part,
        parts; /* of the offers of this rev; parts 0: no offers here */
    gi_link_offer_t *offers;
    size_t n_offers;
} gi_link_news_t;

/* A broker's name, or its zone's: UTF-8 without control characters. */
bool gi_link_name_valid(const void *name, size_t size);
gate_err_t gi_link_news_pack(gi_buf_t *out,
                             const gi_link_news_t *news) GATE_MUST;
/* Views borrow from packed, the offers' array from zone. */
gate_err_t gi_link_news_parse(gate_bytes_t packed, msgpack_zone *zone,
                              const gate_settings_t *settings,
                              gi_link_news_t *out) GATE_MUST;

#endif
