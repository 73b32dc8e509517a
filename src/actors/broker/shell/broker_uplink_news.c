/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_uplink_news.c -- what we offer other brokers, and they us, by the
 * patterns of uplink_export and uplink_import; and what can be told of it
 * all. */
#include "broker/shell/broker_uplink_impl.h"

#include <fnmatch.h>
#include <string.h>
#include "base/bytes.h"
#include "base/err.h"
#include "base/pack.h"
#include "link/link_dir.h"

#define S_OFFER_MS 20         /* between two announcements */
#define S_OFFER_LARGE_MS 1000 /* of long lists */
#define S_LARGE ((size_t)64 << 10)
#define S_PART_BYTES ((size_t)48 << 10) /* of an announcement */
#define S_IDEMPOTENT_MAX 16384
#define S_PATTERN_MAX 256

/* ---- patterns ------------------------------------------------------------ */
static bool s_listed(const char *patterns, gate_bytes_t service) {
    char name[GI_LINK_NAME_MAX + 1], pattern[S_PATTERN_MAX];
    if (strcmp(patterns, "*") == 0)
        return true;
    if (!gi_bytes_text(service, name, sizeof name))
        return false;
    for (const char *p = patterns; *p; p += *p == ',') {
        p += strspn(p, " ,");
        size_t n = strcspn(p, ",");
        size_t size = n;
        while (size && p[size - 1] == ' ')
            size--;
        if (size && size < sizeof pattern) {
            memcpy(pattern, p, size);
            pattern[size] = 0;
            if (fnmatch(pattern, name, 0) == 0)
                return true;
        }
        p += n;
    }
    return false;
}

/* ---- ours ---------------------------------------------------------------- */
/* The offers of one revision, as announcements of some KiB each. */
typedef struct s_list {
    const gi_broker_uplink_t *self;
    gi_link_offer_t *offers;
    size_t n, room;
    bool failed;
} s_list_t;

static void s_each(void *ctx, const gi_link_offer_t *offer) {
    s_list_t *list = ctx;
    if (!s_listed(list->self->settings->uplink_export, offer->name))
        return;
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        gi_link_offer_t *more =
            gi_mem_realloc(list->offers, room * sizeof *more);
        list->failed |= more == NULL;
        if (more == NULL)
            return;
        list->offers = more;
        list->room = room;
    }
    list->offers[list->n] = *offer;
    if (offer->idempotent.size > S_IDEMPOTENT_MAX) /* they run once */
        list->offers[list->n].idempotent = (gate_bytes_t){"", 0};
    list->n++;
}

static size_t s_weight(const gi_link_offer_t *offer) {
    return 64 + offer->name.size + offer->description.size +
           offer->idempotent.size;
}

/* How many of them go into one announcement, one at least. */
static size_t s_part(const s_list_t *list, size_t from) {
    size_t n = 0, bytes = 0;
    for (; from + n < list->n; n++) {
        bytes += s_weight(&list->offers[from + n]);
        if (n > 0 && bytes > S_PART_BYTES)
            break;
    }
    return n;
}

static unsigned s_parts(const s_list_t *list) {
    unsigned parts = 0;
    for (size_t at = 0; at < list->n; parts++)
        at += s_part(list, at);
    return parts ? parts : 1;
}

static bool s_pack(gi_broker_uplink_t *self, const s_list_t *list) {
    const gate_settings_t *s = self->settings;
    const char *name = gi_uplink_name(self->uplink);
    gi_link_news_t news = {.name = {name, strlen(name)},
                           .zone = {s->uplink_zone, strlen(s->uplink_zone)},
                           .rev = self->offered,
                           .beat_ms = s->uplink_heartbeat_ms,
                           .draining = self->offered_drain,
                           .parts = s_parts(list)};
    gi_buf_t *body = &self->body;
    gi_buf_reset(body, 65536);
    for (size_t at = 0; news.part < news.parts; news.part++) {
        size_t begin = body->size;
        news.offers = list->n ? list->offers + at : NULL;
        news.n_offers = s_part(list, at);
        if (!gi_buf_append(body, "\0\0\0\0", 4) ||
            gi_link_news_pack(body, &news) != GATE_OK)
            return false;
        gi_link_put32(body->data + begin, (uint32_t)(body->size - begin - 4));
        at += news.n_offers;
    }
    return true;
}

bool gi_broker_uplink_offered(const gi_broker_uplink_t *self) {
    return !self->runs ||
           (self->offered == gi_broker_core_far_rev(self->core) &&
            self->offered_drain == gi_broker_core_far_draining(self->core));
}

void gi_broker_uplink_offer(gi_broker_uplink_t *self, int64_t now_ms) {
    s_list_t list = {.self = self};
    if (gi_broker_uplink_offered(self) || now_ms < self->offer_ms)
        return;
    uint64_t before = self->offered;
    self->offered_drain = gi_broker_core_far_draining(self->core);
    self->offered = gi_broker_core_far_rev(self->core);
    gi_broker_core_far_offers(self->core, s_each, &list);
    bool ok = !list.failed && s_pack(self, &list);
    gi_link_block_t *block = ok ? gi_link_block_new(self->body.size) : NULL;
    if (block) {
        block->what = GI_UPLINK_OFFERS;
        block->bulk = self->offered_drain;
        block->seq = self->offered;
        block->size = self->body.size;
        memcpy(gi_link_block_bytes(block), self->body.data, self->body.size);
        gi_broker_uplink_give(self, block);
    } else {
        self->offered = before; /* no memory: tried again */
    }
    self->offer_ms =
        now_ms + (self->body.size > S_LARGE ? S_OFFER_LARGE_MS : S_OFFER_MS);
    gi_mem_free(list.offers);
}

/* ---- theirs -------------------------------------------------------------- */
/* Only what we want to have. */
static bool s_gather(s_list_t *list, const gi_link_news_t *news) {
    const char *patterns = list->self->settings->uplink_import;
    gi_link_offer_t *more = gi_mem_realloc(
        list->offers, (list->n + news->n_offers + 1) * sizeof *more);
    if (more == NULL)
        return false;
    list->offers = more;
    for (size_t i = 0; i < news->n_offers; i++)
        if (s_listed(patterns, news->offers[i].name))
            list->offers[list->n++] = news->offers[i];
    return true;
}

void gi_broker_uplink_news(gi_broker_uplink_t *self, gi_link_block_t *block,
                           int64_t now_ms) {
    gate_bytes_t rest = {gi_link_block_bytes(block), block->size}, packed;
    s_list_t list = {.self = self};
    gi_link_news_t news = {.rev = 0};
    msgpack_zone zone;
    if (!msgpack_zone_init(&zone, 8192))
        return;
    bool ok = true;
    while (ok && gi_link_dir_next(&rest, &packed))
        ok = gi_link_news_parse(packed, &zone, self->settings, &news) ==
                 GATE_OK &&
             s_gather(&list, &news);
    const char *zone_name = self->settings->uplink_zone;
    gi_broker_far_news_t far = {.name = news.name,
                                .same_zone = *zone_name &&
                                             gi_bytes_is(news.zone, zone_name),
                                .draining = block->bulk,
                                .offers = list.offers,
                                .n_offers = list.n};
    if (ok && gi_broker_uplink_link(self, block->node))
        gi_broker_core_far_news(self->core, block->node, &far, now_ms);
    gi_mem_free(list.offers);
    msgpack_zone_destroy(&zone);
}

/* ---- what can be told ---------------------------------------------------- */
static const gi_uplink_state_t *s_state(const gi_broker_uplink_t *self) {
    return self->state ? (const void *)self->state->own : NULL;
}

static void s_broker(gi_broker_uplink_t *self, msgpack_packer *pk,
                     const gi_uplink_node_t *node, int64_t now_ms) {
    char id[GI_LINK_NODE_TEXT + 1];
    int64_t to, from;
    size_t services;
    gi_broker_core_far_load(self->core, node->id, &to, &from, &services);
    gi_link_node_text(node->id, id);
    msgpack_pack_map(pk, 13);
    gi_pack_str(pk, "name", node->name);
    gi_pack_str(pk, "node", id);
    gi_pack_str(pk, "state", node->up ? "up" : "down");
    gi_pack_str(pk, "zone", node->zone);
    gi_pack_uint(pk, "rtt_ms", (uint64_t)node->round_us / 1000);
    gi_pack_uint(pk, "rtt_us", (uint64_t)node->round_us);
    gi_pack_uint(pk, "services", services);
    gi_pack_uint(pk, "to", (uint64_t)to);
    gi_pack_uint(pk, "from", (uint64_t)from);
    gi_pack_uint(pk, "kept_bytes", node->kept_bytes);
    gi_pack_uint(pk, "resent", node->resent);
    gi_pack_uint(pk, "stalled_ms", node->stalled_ms);
    int64_t age = now_ms - node->since_ms;
    gi_pack_uint(pk, "age_ms", age > 0 ? (uint64_t)age : 0);
}

void gi_broker_uplink_brokers(gi_broker_uplink_t *self, gi_buf_t *out,
                              int64_t now_ms) {
    const gi_uplink_state_t *state = s_state(self);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    size_t n = state ? state->n_nodes : 0;
    msgpack_pack_array(&pk, n);
    for (size_t i = 0; i < n; i++)
        s_broker(self, &pk, &state->nodes[i], now_ms);
}

static size_t s_links_up(const gi_uplink_state_t *state) {
    size_t n = 0;
    for (size_t i = 0; i < state->n_nodes; i++)
        n += state->nodes[i].up;
    return n;
}

void gi_broker_uplink_stats(gi_broker_uplink_t *self, gi_buf_t *out) {
    static const gi_uplink_state_t none;
    const gi_uplink_state_t *s = s_state(self);
    msgpack_packer pk;
    s = s ? s : &none;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, 23);
    gi_pack_str(&pk, "name", self->name);
    gi_pack_uint(&pk, "up", s->up);
    gi_pack_str(&pk, "server", s->server);
    gi_pack_str(&pk, "why", s->why);
    gi_pack_uint(&pk, "reconnects", s->reconnects);
    gi_pack_uint(&pk, "nodes", s->n_nodes);
    gi_pack_uint(&pk, "links_up", s_links_up(s));
    gi_pack_uint(&pk, "links_lost", s->links_lost);
    gi_pack_uint(&pk, "requests_out", self->requests_out);
    gi_pack_uint(&pk, "replies_out", self->replies_out);
    gi_pack_uint(&pk, "records_out", self->records_out);
    gi_pack_uint(&pk, "records_in", self->records_in);
    gi_pack_uint(&pk, "batches_out", s->batches_out);
    gi_pack_uint(&pk, "batches_in", s->batches_in);
    gi_pack_uint(&pk, "bytes_out", s->records_bytes_out);
    gi_pack_uint(&pk, "bytes_in", s->records_bytes_in);
    gi_pack_uint(&pk, "resent_batches", s->resent);
    gi_pack_uint(&pk, "stale_batches", s->stale);
    gi_pack_uint(&pk, "gaps", s->gaps);
    gi_pack_uint(&pk, "stalled_ms", s->stalled_ms);
    gi_pack_uint(&pk, "fragments_in", self->fragments);
    gi_pack_uint(&pk, "malformed", s->malformed + self->malformed);
    size_t kept = 0;
    for (size_t i = 0; i < s->n_nodes; i++)
        kept += s->nodes[i].kept_bytes;
    gi_pack_uint(&pk, "kept_bytes", kept);
}
