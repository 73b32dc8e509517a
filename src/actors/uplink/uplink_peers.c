/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_peers.c -- who is there: announcements, and a link to each broker that
 * announces itself. What it offers is told our broker while the link is up.
 * Everything here is repeated by its owner and forgotten when that falls silent;
 * nobody keeps a registry. */
#include "uplink/uplink_impl.h"

#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "base/err.h"
#include "base/identity.h"
#include "sync/clock.h"

#define S_PART "uplink"
#define S_FULL_MS 30000 /* all that we offer is repeated */
#define S_SILENCES 3
#define S_SHARE_LEAST ((size_t)256 << 10)
#define S_SHARE_MOST ((size_t)16 << 20)

/* ---- links --------------------------------------------------------------- */
static bool s_ready(void *ctx) {
    const gi_uplink_t *self = ((gi_uplink_peer_t *)ctx)->uplink;
    return self->carrier && self->ops->ready(self->carrier);
}

static void s_send(void *ctx, const unsigned char *message, size_t size) {
    gi_uplink_peer_t *peer = ctx;
    gi_uplink_t *self = peer->uplink;
    if (self->carrier)
        self->ops->publish(self->carrier, peer->subject, message, size);
}

/* The broker learns what it offers, or that it is there. */
static void s_tell_news(gi_uplink_peer_t *peer) {
    gi_uplink_t *self = peer->uplink;
    if (!gi_link_core_is_up(peer->link) || peer->dir.have_rev == 0)
        return;
    gi_link_block_t *block = gi_link_block_new(peer->dir.offers.size);
    if (block == NULL)
        return; /* it is repeated */
    block->what = GI_UPLINK_NEWS;
    block->bulk = peer->dir.draining;
    block->size = peer->dir.offers.size;
    memcpy(block->node, peer->id, sizeof block->node);
    memcpy(gi_link_block_bytes(block), peer->dir.offers.data,
           peer->dir.offers.size);
    gi_uplink_tell(self, block);
}

static void s_up(void *ctx, uint32_t life) {
    gi_uplink_peer_t *peer = ctx;
    gi_link_block_t *block = gi_link_block_new(0);
    gate_log(GATE_INFO, S_PART, "broker %s is there", peer->dir.name);
    peer->since_ms = peer->heard_ms;
    peer->uplink->changed = true;
    if (block) { /* its life; without it nothing is sent there */
        block->what = GI_UPLINK_UP;
        block->life = life;
        memcpy(block->node, peer->id, sizeof block->node);
        gi_uplink_tell(peer->uplink, block);
    }
    s_tell_news(peer);
}

static void s_lost(void *ctx, const char *why) {
    gi_uplink_peer_t *peer = ctx;
    gi_link_block_t *block = gi_link_block_new(0);
    if (strcmp(why, GI_LINK_ENDS) != 0)
        gate_log(GATE_WARN, S_PART, "broker %s is lost: %s", peer->dir.name,
                 why);
    else if (!peer->uplink->ends)
        gate_log(GATE_INFO, S_PART, "broker %s has left", peer->dir.name);
    peer->since_ms = peer->heard_ms;
    peer->uplink->changed = true;
    peer->uplink->links_lost++;
    if (block == NULL)
        return;
    block->what = GI_UPLINK_LOST;
    memcpy(block->node, peer->id, sizeof block->node);
    gi_uplink_tell(peer->uplink, block);
}

static void s_data(void *ctx, gate_bytes_t records, int64_t age_ms,
                   uint32_t life) {
    gi_uplink_peer_t *peer = ctx;
    gi_link_block_t *block = gi_link_block_new(records.size);
    if (block == NULL) {
        gi_link_core_end(peer->link, "no memory", peer->heard_ms);
        return;
    }
    block->what = GI_UPLINK_DATA;
    block->life = life;
    block->at_ms = age_ms;
    block->size = records.size;
    memcpy(block->node, peer->id, sizeof block->node);
    memcpy(gi_link_block_bytes(block), records.data, records.size);
    gi_uplink_tell(peer->uplink, block);
}

static void s_done(void *ctx, gi_link_block_t *block) {
    block->what = GI_UPLINK_DONE;
    gi_uplink_tell(((gi_uplink_peer_t *)ctx)->uplink, block);
}

static int64_t s_now_us(void *ctx) {
    (void)ctx;
    return gi_clock_ns() / 1000;
}

static const gi_link_effects_t s_effects = {.ready = s_ready,
                                            .now_us = s_now_us,
                                            .send = s_send,
                                            .up = s_up,
                                            .lost = s_lost,
                                            .data = s_data,
                                            .done = s_done};

/* Another server may take smaller messages. */
static void s_carrier(gi_uplink_peer_t *peer, bool up, int64_t now_ms) {
    const gi_uplink_t *self = peer->uplink;
    if (up)
        gi_link_core_bound(peer->link, self->ops->message_max(self->carrier));
    gi_link_core_carrier(peer->link, up, now_ms);
}

/* ---- peers --------------------------------------------------------------- */
gi_uplink_peer_t *gi_uplink_peer_of(gi_uplink_t *self,
                                    const unsigned char *id) {
    for (gi_list_t *l = self->peers.next; l != &self->peers; l = l->next) {
        gi_uplink_peer_t *peer = GI_OF(l, gi_uplink_peer_t, place);
        if (memcmp(peer->id, id, sizeof peer->id) == 0)
            return peer;
    }
    return NULL;
}

static void s_free(gi_uplink_t *self, gi_uplink_peer_t *peer) {
    const gi_link_counts_t *c = gi_link_core_counts(peer->link);
    self->past.batches_out += c->batches_out;
    self->past.batches_in += c->batches_in;
    self->past.bytes_out += c->bytes_out;
    self->past.bytes_in += c->bytes_in;
    self->past.resent += c->resent;
    self->past.stale += c->stale;
    self->past.gaps += c->gaps;
    self->past.malformed += c->malformed;
    self->past.stalled_ms += c->stalled_ms;
    gi_link_core_destroy(&peer->link);
    gi_list_remove(&peer->place);
    gi_link_dir_fini(&peer->dir);
    gi_mem_free(peer);
    self->n_peers--;
    self->changed = true;
}

static bool s_is_full(gi_uplink_t *self) {
    if (self->n_peers < (size_t)self->settings->uplink_peers_max)
        return false;
    if (!self->full_told)
        gate_log(GATE_WARN, S_PART,
                 "more brokers than uplink_peers_max (%lld): others are not "
                 "looked at",
                 (long long)self->settings->uplink_peers_max);
    self->full_told = true;
    return true;
}

static gi_uplink_peer_t *s_new(gi_uplink_t *self, const unsigned char *id,
                               int64_t now_ms) {
    char text[GI_LINK_NODE_TEXT + 1];
    uint64_t seed;
    if (s_is_full(self))
        return NULL;
    gi_uplink_peer_t *peer = gi_mem_calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    gi_random(&seed, sizeof seed);
    memcpy(peer->id, id, sizeof peer->id);
    gi_link_node_text(id, text);
    snprintf(peer->subject, sizeof peer->subject, "%s.%s.n.%s", self->prefix,
             self->cluster, text);
    peer->uplink = self;
    peer->since_ms = peer->heard_ms = now_ms;
    gi_list_init(&peer->place);
    peer->link =
        gi_link_core_new(self->me, id, self->settings->uplink_heartbeat_ms,
                         seed, &s_effects, peer, now_ms);
    if (peer->link == NULL) {
        gi_mem_free(peer);
        return NULL;
    }
    s_carrier(peer, gi_uplink_carrier_up(self), now_ms);
    gi_list_append(&self->peers, &peer->place);
    self->n_peers++;
    return peer;
}

/* ---- what we announce ---------------------------------------------------- */
static void s_publish(gi_uplink_t *self, const char *subject,
                      gate_bytes_t news) {
    gi_link_head_t head = {.kind = GI_LINK_ANNOUNCE,
                           .size = (uint32_t)news.size};
    unsigned char *message = gi_mem_alloc(GI_LINK_HEAD + news.size);
    if (message == NULL)
        return;
    memcpy(head.node, self->me, sizeof head.node);
    gi_link_head_write(&head, message);
    memcpy(message + GI_LINK_HEAD, news.data, news.size);
    if (self->carrier)
        self->ops->publish(self->carrier, subject, message,
                           GI_LINK_HEAD + news.size);
    gi_mem_free(message);
}

static void s_announce_short(gi_uplink_t *self, const char *subject,
                             bool asks) {
    gi_link_news_t news = {.name = {self->name, strlen(self->name)},
                           .zone = {self->settings->uplink_zone,
                                    strlen(self->settings->uplink_zone)},
                           .rev = self->offers ? self->offers->seq : 0,
                           .beat_ms = self->settings->uplink_heartbeat_ms,
                           .draining = self->draining,
                           .asks = asks};
    gi_buf_reset(&self->body, 65536);
    if (gi_link_news_pack(&self->body, &news) == GATE_OK)
        s_publish(self, subject,
                  (gate_bytes_t){self->body.data, self->body.size});
}

void gi_uplink_announce(gi_uplink_t *self, const char *subject, bool all) {
    if (!all || self->offers == NULL) {
        s_announce_short(self, subject, false);
        return;
    }
    gate_bytes_t rest = {gi_link_block_bytes(self->offers), self->offers->size},
                 part;
    while (gi_link_dir_next(&rest, &part))
        s_publish(self, subject, part);
}

/* ---- what others announce ------------------------------------------------ */
static void s_same_name(gi_uplink_t *self, const gi_uplink_peer_t *peer) {
    if (strcmp(peer->dir.name, self->name) == 0)
        gate_log(GATE_WARN, S_PART,
                 "another broker is called %s as we are: uplink_name tells "
                 "them apart",
                 self->name);
}

static void s_announced(gi_uplink_t *self, gi_uplink_peer_t *peer,
                        const gi_link_news_t *news, gate_bytes_t packed,
                        int64_t now_ms) {
    unsigned changed = gi_link_dir_take(&peer->dir, news, packed, now_ms);
    if (changed & GI_LINK_DIR_FIRST)
        s_same_name(self, peer);
    gi_link_core_heard(peer->link, news->beat_ms, now_ms);
    if (changed & GI_LINK_DIR_NEWS)
        s_tell_news(peer);
    if (news->asks)
        gi_uplink_announce(self, peer->subject, true);
    else if (changed & GI_LINK_DIR_FIRST)
        gi_uplink_announce(self, peer->subject, false);
    if (changed & GI_LINK_DIR_ASK)
        s_announce_short(self, peer->subject, true);
}

/* Of somebody new as well, when it can be read. */
static void s_announcement(gi_uplink_t *self, const unsigned char *id,
                           gate_bytes_t packed, int64_t now_ms) {
    msgpack_zone zone;
    gi_link_news_t news;
    gi_uplink_peer_t *peer = gi_uplink_peer_of(self, id);
    if (!msgpack_zone_init(&zone, 4096))
        return;
    bool ok =
        gi_link_news_parse(packed, &zone, self->settings, &news) == GATE_OK &&
        news.name.size > 0;
    self->malformed += !ok;
    if (ok && peer == NULL)
        peer = s_new(self, id, now_ms);
    if (peer)
        peer->heard_ms = now_ms;
    if (ok && peer)
        s_announced(self, peer, &news, packed, now_ms);
    msgpack_zone_destroy(&zone);
}

static void s_unreadable(gi_uplink_t *self, gate_err_t e) {
    self->malformed++;
    if (e != GATE_NOTIMPL || self->version_told)
        return;
    self->version_told = true;
    gate_log(GATE_WARN, S_PART, "%s: that broker is ignored",
             gate_error()->text);
}

void gi_uplink_message(gi_uplink_t *self, gate_bytes_t message,
                       int64_t now_ms) {
    gi_link_head_t head;
    gate_bytes_t rest;
    gate_err_t e = gi_link_head_parse(message, &head, &rest);
    if (e) {
        s_unreadable(self, e);
        return;
    }
    if (memcmp(head.node, self->me, sizeof self->me) == 0)
        return;
    if (head.kind == GI_LINK_ANNOUNCE) {
        s_announcement(self, head.node, rest, now_ms);
        return;
    }
    gi_uplink_peer_t *peer = gi_uplink_peer_of(self, head.node);
    if (peer == NULL)
        return; /* its announcement comes within a heartbeat */
    peer->heard_ms = now_ms;
    gi_link_core_message(peer->link, &head, rest, now_ms);
}

/* ---- time ---------------------------------------------------------------- */
static int64_t s_silence(const gi_uplink_t *self,
                         const gi_uplink_peer_t *peer) {
    int64_t beat = self->settings->uplink_heartbeat_ms;
    return S_SILENCES * (peer->dir.beat_ms > beat ? peer->dir.beat_ms : beat);
}

/* A link that is down, and nobody heard of its node for long. */
static bool s_is_forgotten(const gi_uplink_t *self,
                           const gi_uplink_peer_t *peer, int64_t now_ms) {
    return !gi_link_core_is_up(peer->link) &&
           now_ms - peer->heard_ms >= s_silence(self, peer);
}

static size_t s_share(const gi_uplink_t *self, size_t n_active) {
    size_t share =
        (size_t)self->settings->uplink_window_bytes / (n_active ? n_active : 1);
    return share < S_SHARE_LEAST  ? S_SHARE_LEAST
           : share > S_SHARE_MOST ? S_SHARE_MOST
                                  : share;
}

static void s_beat(gi_uplink_t *self, int64_t now_ms) {
    if (now_ms < self->beat_at_ms || !gi_uplink_carrier_up(self))
        return;
    self->beat_at_ms = now_ms + self->settings->uplink_heartbeat_ms;
    bool all = now_ms >= self->full_at_ms;
    if (all)
        self->full_at_ms = now_ms + S_FULL_MS;
    gi_uplink_announce(self, self->all, all);
}

bool gi_uplink_peers_work(gi_uplink_t *self, int64_t now_ms) {
    bool any = false;
    size_t n_active = 0;
    s_beat(self, now_ms);
    for (gi_list_t *l = self->peers.next; l != &self->peers; l = l->next)
        n_active += gi_link_core_is_active(
            GI_OF(l, gi_uplink_peer_t, place)->link, now_ms);
    for (gi_list_t *l = self->peers.next, *next; l != &self->peers; l = next) {
        gi_uplink_peer_t *peer = GI_OF(l, gi_uplink_peer_t, place);
        next = l->next;
        gi_link_core_tick(peer->link, now_ms);
        gi_link_core_share(peer->link,
                           gi_link_core_is_active(peer->link, now_ms)
                               ? s_share(self, n_active)
                               : S_SHARE_LEAST);
        any |= gi_link_core_pump(peer->link, now_ms);
        if (s_is_forgotten(self, peer, now_ms))
            s_free(self, peer);
    }
    return any;
}

int64_t gi_uplink_peers_next(const gi_uplink_t *self) {
    int64_t next = gi_uplink_carrier_up(self) ? self->beat_at_ms : INT64_MAX;
    const gi_list_t *l = self->peers.next;
    for (; l != &self->peers; l = l->next) {
        const gi_uplink_peer_t *peer =
            GI_OF((uintptr_t)l, gi_uplink_peer_t, place);
        int64_t due = gi_link_core_next(peer->link);
        next = due < next ? due : next;
    }
    return next;
}

void gi_uplink_peers_carrier(gi_uplink_t *self, bool up, int64_t now_ms) {
    for (gi_list_t *l = self->peers.next; l != &self->peers; l = l->next)
        s_carrier(GI_OF(l, gi_uplink_peer_t, place), up, now_ms);
    if (!up)
        return;
    self->beat_at_ms = now_ms + self->settings->uplink_heartbeat_ms;
    gi_uplink_announce(self, self->all, true);
}

void gi_uplink_peers_end(gi_uplink_t *self, const char *why, int64_t now_ms) {
    while (!gi_list_empty(&self->peers)) {
        gi_uplink_peer_t *peer =
            GI_OF(self->peers.next, gi_uplink_peer_t, place);
        gi_link_core_end(peer->link, why, now_ms);
        s_free(self, peer);
    }
}
