/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_actor.c -- the actor: the broker's blocks come by mail, the carrier's
 * messages by its descriptor.
 *
 * A pass: what the carrier has brought, what is due, what the links may send;
 * then all of that for the broker in one item, and for the carrier in one
 * write. */
#include "uplink/uplink_impl.h"
#include "uplink/uplink_urls.h"

#include <errno.h>
#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/identity.h"
#include "sync/clock.h"

#define S_MAILBOX 16384
#define S_RETRY_MS 2 /* while the broker's mailbox is full */
#define S_STATE_MS 500
#define S_WORD_MAX 32 /* of cluster and prefix */

/* ---- to the broker ------------------------------------------------------- */
/* All of a pass at once. What there is no room for stays. */
static void s_push_outbox(gi_uplink_t *self) {
    if (gi_list_empty(&self->outbox))
        return;
    gi_link_block_t *first = gi_link_blocks_chain(&self->outbox);
    gate_err_t e = gi_mailbox_push(self->broker, first, 0);
    if (e)
        gi_link_blocks_unchain(&self->outbox, first);
    if (e && e != GATE_BUSY) /* it ends */
        gi_link_blocks_free(&self->outbox);
}

void gi_uplink_tell(gi_uplink_t *self, gi_link_block_t *block) {
    gi_list_append(&self->outbox, &block->place);
}

/* ---- mail ---------------------------------------------------------------- */
static void s_put(gi_uplink_t *self, gi_link_block_t *block) {
    gi_uplink_peer_t *peer = gi_uplink_peer_of(self, block->node);
    if (peer) {
        gi_link_core_put(peer->link, block);
        return;
    }
    block->what = GI_UPLINK_DONE;
    gi_uplink_tell(self, block);
}

static void s_used(gi_uplink_t *self, gi_link_block_t *block, int64_t now_ms) {
    gi_uplink_peer_t *peer = gi_uplink_peer_of(self, block->node);
    if (peer)
        gi_link_core_used(peer->link, block->life, 1, block->size);
    if (peer && block->what == GI_UPLINK_BAD && gi_link_core_is_up(peer->link))
        gi_link_core_end(peer->link, "it sends what cannot be read", now_ms);
    gi_link_block_free(block);
}

static void s_offers(gi_uplink_t *self, gi_link_block_t *block) {
    gi_link_block_free(self->offers);
    self->offers = block;
    self->draining = block->bulk;
    gi_uplink_announce(self, self->all, true);
}

static void s_take(gi_uplink_t *self, gi_link_block_t *block, int64_t now_ms) {
    if (block->what == GI_UPLINK_DATA)
        s_put(self, block);
    else if (block->what == GI_UPLINK_OFFERS)
        s_offers(self, block);
    else
        s_used(self, block, now_ms);
}

static void s_mail(void *ctx, void **items, size_t n, int64_t now_ms) {
    gi_uplink_t *self = ctx;
    for (size_t i = 0; i < n; i++) {
        gi_list_t blocks;
        if (gi_uplink_carrier_told(self, items[i]))
            continue;
        gi_link_blocks_unchain(&blocks, items[i]);
        for (gi_link_block_t *block; (block = gi_link_blocks_pop(&blocks));)
            s_take(self, block, now_ms);
    }
}

/* ---- how it stands ------------------------------------------------------- */
static void s_add_counts(gi_uplink_state_t *to, const gi_link_counts_t *c) {
    to->batches_out += c->batches_out;
    to->batches_in += c->batches_in;
    to->records_bytes_out += c->bytes_out;
    to->records_bytes_in += c->bytes_in;
    to->resent += c->resent;
    to->stale += c->stale;
    to->gaps += c->gaps;
    to->malformed += c->malformed;
    to->stalled_ms += c->stalled_ms;
}

static void s_describe(const gi_uplink_peer_t *peer, gi_uplink_node_t *to) {
    const gi_link_counts_t *count = gi_link_core_counts(peer->link);
    memcpy(to->id, peer->id, sizeof to->id);
    memcpy(to->name, peer->dir.name, sizeof to->name);
    memcpy(to->zone, peer->dir.zone, sizeof to->zone);
    to->up = gi_link_core_is_up(peer->link);
    to->round_us = gi_link_core_round_us(peer->link);
    to->since_ms = peer->since_ms;
    to->kept_bytes = gi_link_core_kept_bytes(peer->link);
    to->resent = count->resent;
    to->lost = count->lost;
    to->stalled_ms = count->stalled_ms;
}

static void s_state(gi_uplink_t *self, gi_uplink_state_t *state) {
    memset(state, 0, sizeof *state);
    state->up = gi_uplink_carrier_up(self);
    if (self->carrier) {
        snprintf(state->server, sizeof state->server, "%s",
                 self->ops->server(self->carrier));
        state->message_max = self->ops->message_max(self->carrier);
    }
    memcpy(state->why, self->why, sizeof state->why);
    state->reconnects = self->reconnects;
    state->links_lost = self->links_lost;
    state->malformed = self->malformed;
    s_add_counts(state, &self->past);
    for (gi_list_t *l = self->peers.next; l != &self->peers; l = l->next) {
        const gi_uplink_peer_t *peer = GI_OF(l, gi_uplink_peer_t, place);
        s_add_counts(state, gi_link_core_counts(peer->link));
        s_describe(peer, &state->nodes[state->n_nodes++]);
    }
}

static void s_tell_state(gi_uplink_t *self, int64_t now_ms) {
    size_t size =
        sizeof(gi_uplink_state_t) + self->n_peers * sizeof(gi_uplink_node_t);
    if (!self->changed && now_ms < self->state_at_ms)
        return;
    self->changed = false;
    self->state_at_ms = now_ms + S_STATE_MS;
    gi_link_block_t *block = gi_link_block_new(0);
    if (block == NULL || (block->own = gi_mem_alloc(size)) == NULL) {
        gi_link_block_free(block);
        return;
    }
    block->what = GI_UPLINK_STATE;
    s_state(self, (gi_uplink_state_t *)(void *)block->own);
    gi_uplink_tell(self, block);
}

/* ---- passes -------------------------------------------------------------- */
static void s_message(void *ctx, bool to_all, gate_bytes_t message) {
    (void)to_all;
    gi_uplink_message(ctx, message, gi_clock_ms());
}

static void s_post(void *ctx, gi_carrier_word_t word) {
    gi_uplink_t *self = ctx;
    gate_err_t e = gi_mailbox_push(gi_actor_mailbox(self->actor),
                                   gi_uplink_carrier_mail(word), 0);
    (void)e; /* full: the actor is awake, and looks at the carrier anyhow */
}

const gi_carrier_events_t gi_uplink_events = {.message = s_message,
                                              .post = s_post};

static bool s_work(void *ctx, int64_t now_ms) {
    gi_uplink_t *self = ctx;
    bool any = gi_uplink_carrier_work(self, now_ms);
    any |= gi_uplink_peers_work(self, now_ms);
    s_tell_state(self, now_ms);
    s_push_outbox(self);
    if (self->carrier)
        self->ops->flush(self->carrier);
    return any;
}

static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t s_next(void *ctx, int64_t now_ms) {
    gi_uplink_t *self = ctx;
    int64_t next = s_min(gi_uplink_peers_next(self), self->state_at_ms);
    if (self->carrier == NULL)
        next = s_min(next, self->open_ms);
    if (!gi_list_empty(&self->outbox))
        next = s_min(next, now_ms + S_RETRY_MS);
    return next;
}

static void s_fds(void *ctx, gi_polled_t *polled) {
    gi_uplink_t *self = ctx;
    bool writes = false;
    int fd = self->carrier ? self->ops->fd(self->carrier, &writes) : -1;
    size_t at = polled->n;
    gi_polled_add(polled, fd, &self->readable);
    if (polled->n > at && writes)
        polled->fds[at].events |= POLLOUT;
}

static gate_err_t s_start(void *ctx) {
    gi_uplink_t *self = ctx;
    gi_link_block_t *hello = gi_link_block_new(0);
    if (hello == NULL)
        return gi_err(GATE_NOMEM, "no memory for an uplink");
    gate_err_t e =
        gi_uplink_carrier_await(self, self->settings->uplink_wait_ms);
    if (e) {
        gi_uplink_carrier_close(self);
        gi_link_block_free(hello);
        return e;
    }
    hello->what = GI_UPLINK_HELLO;
    gi_uplink_tell(self, hello);
    return GATE_OK;
}

static void s_stop(void *ctx) {
    gi_uplink_t *self = ctx;
    self->ends = true;
    gi_uplink_peers_end(self, GI_LINK_ENDS, gi_clock_ms());
    s_push_outbox(self);
    if (self->carrier)
        self->ops->flush(self->carrier);
    gi_uplink_carrier_close(self);
}

static const gi_command_t s_commands[] = {{NULL, NULL}};

static const gi_actor_ops_t s_ops = {
    .name = "gate-uplink",
    .commands = s_commands,
    .start = s_start,
    .stop = s_stop,
    .mail = s_mail,
    .work = s_work,
    .next = s_next,
    .fds = s_fds,
};

/* ---- life ---------------------------------------------------------------- */
static gate_err_t s_word(const char *what, const char *value, char *to) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
                                  "rstuvwxyz0123456789_-";
    size_t n = strlen(value);
    if (n == 0 || n > S_WORD_MAX || strspn(value, letters) != n)
        return gi_err(GATE_BADARG,
                      "%s = \"%s\": 1 to %d letters, digits, _ and -", what,
                      value, S_WORD_MAX);
    strcpy(to, value);
    return GATE_OK;
}

static gate_err_t s_bad_name(const char *what) {
    return gi_err(GATE_BADARG,
                  "%s: at most %d bytes of UTF-8, no control characters", what,
                  GI_UPLINK_NAME - 1);
}

static gate_err_t s_name(gi_uplink_t *self) {
    const char *name = self->settings->uplink_name;
    size_t n = strlen(name);
    const char *zone = self->settings->uplink_zone;
    if (n >= sizeof self->name || !gi_link_name_valid(name, n))
        return s_bad_name("uplink_name");
    if (strlen(zone) >= sizeof self->name ||
        !gi_link_name_valid(zone, strlen(zone)))
        return s_bad_name("uplink_zone");
    strcpy(self->name, name);
    if (n == 0 && gethostname(self->name, sizeof self->name - 1) != 0)
        strcpy(self->name, "?");
    return GATE_OK;
}

static gate_err_t s_check(gi_uplink_t *self) {
    char id[GI_LINK_NODE_TEXT + 1];
    const gate_settings_t *s = self->settings;
    if (strchr(self->urls, '@'))
        return gi_err(GATE_BADARG,
                      "uplink: a user or password in the URL shows in ps: "
                      "uplink_user with uplink_password_file, or uplink_creds");
    gate_err_t e = gi_uplink_urls_check(self->urls);
    if (!e)
        e = s_name(self);
    if (!e)
        e = s_word("uplink_cluster", s->uplink_cluster, self->cluster);
    if (!e)
        e = s_word("uplink_prefix", s->uplink_prefix, self->prefix);
    if (e)
        return e;
    gi_random(self->me, sizeof self->me);
    gi_link_node_text(self->me, id);
    snprintf(self->all, sizeof self->all, "%s.%s.all", self->prefix,
             self->cluster);
    snprintf(self->mine, sizeof self->mine, "%s.%s.n.%s", self->prefix,
             self->cluster, id);
    return GATE_OK;
}

gate_err_t gi_uplink_new(const gate_settings_t *settings, const char *urls,
                         gi_uplink_t **out) {
    gi_uplink_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL)
        return gi_err(GATE_NOMEM, "no memory for an uplink");
    self->settings = settings;
    self->urls = urls;
    gi_list_init(&self->peers);
    gi_list_init(&self->outbox);
    gi_random(&self->seed, sizeof self->seed);
    gate_err_t e = s_check(self);
    if (!e)
        e = gi_uplink_carrier_find(self);
    if (e)
        gi_uplink_destroy(&self);
    else
        *out = self;
    return e;
}

gate_err_t gi_uplink_start(gi_uplink_t *self, gi_mailbox_t *broker) {
    self->broker = broker;
    return gi_actor_new(&s_ops, self, S_MAILBOX, &self->actor);
}

void gi_uplink_stop(gi_uplink_t *self) {
    if (self)
        gi_actor_stop(self->actor);
}

void gi_uplink_destroy(gi_uplink_t **self_p) {
    gi_uplink_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    gi_actor_destroy(&self->actor);
    gi_link_blocks_free(&self->outbox);
    gi_link_block_free(self->offers);
    gi_uplink_carrier_fini(self);
    gi_buf_fini(&self->body);
    gi_mem_free(self);
}

gi_mailbox_t *gi_uplink_mailbox(gi_uplink_t *self) {
    return gi_actor_mailbox(self->actor);
}

const char *gi_uplink_name(const gi_uplink_t *self) { return self->name; }

const char *gi_uplink_cluster(const gi_uplink_t *self) { return self->cluster; }
