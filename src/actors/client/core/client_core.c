/* SPDX-License-Identifier: BSD-3-Clause */
/* client_core.c -- the connection as the core sees it (docs/wire.md, client
 * handshake and liveness), time, counters, the law.
 *
 * Silence for the whole liveness is treated as a cut and answered with a new
 * connection under a fresh identity, since the old one may still hang at the
 * broker. */
#include "client/core/client_state.h"

#include <assert.h>
#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/pack.h"

#define S_PART "client"
#define S_BLOCKED_POLL_MS 10

/* ---- life ---------------------------------------------------------------- */
static void s_fini(gi_client_core_t *self) {
    gi_wheel_destroy(&self->wheel);
    gi_mem_free(self->table.slots);
    gi_error_fini(&self->refused);
    gi_frames_close(&self->out);
    gi_buf_fini(&self->scratch);
    gi_mem_free(self);
}

gi_client_core_t *gi_client_core_new(const gi_client_core_options_t *options,
                                     const gi_client_effects_t *effects,
                                     void *ctx, int64_t now_ms) {
    gi_client_core_t *self = gi_mem_alloc(sizeof *self);
    if (!self)
        return NULL;
    memset(self, 0, offsetof(gi_client_core_t, out));
    gi_frames_init(&self->out);
    self->is = *options;
    self->effects = effects;
    self->ctx = ctx;
    self->now_ms = self->tick_ms = now_ms;
    self->seed = options->seed | 1;
    memcpy(self->table.id_prefix, &options->seed, 8);
    self->nobody = options->watched ? "nobody answers there"
                                    : "nobody in this process has bound it";
    self->retry_budget = GI_RETRIES_FREE;
    self->link.heard_ms = self->link.sent_ms = now_ms;
    gi_error_init(&self->refused);
    self->wheel = gi_wheel_new(now_ms);
    if (self->wheel && gi_client_slots_init(self))
        return self;
    s_fini(self);
    return NULL;
}

void gi_client_core_destroy(gi_client_core_t **self_p) {
    gi_client_core_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    assert(!self->table.unsent && !self->table.sent);
    s_fini(self);
}

/* ---- the connection ------------------------------------------------------ */
static void s_arrived(gi_client_core_t *self) {
    gi_clink_t *l = &self->link;
    l->up = true;
    *self->why = 0;
    if (self->is.watched)
        gi_client_trouble(self, GI_TROUBLE_SILENT);
    l->heard_ms = l->asked_ms = self->now_ms;
    gi_client_calls_ask(self,
                        GI_ASKS_INFO); /* first: whoever waited until we are
                                         ready can use extensions */
    gi_client_calls_ask(self, GI_ASKS_SERVICES);
}

static void s_opened(gi_client_core_t *self, gate_err_t e) {
    self->link.open = !e;
    self->link.heard_ms = self->now_ms;
    if (e)
        gate_log(GATE_ERROR, S_PART, "%s: %s", self->is.endpoint,
                 gate_error()->text);
    else if (!self->is.watched)
        s_arrived(self);
}

void gi_client_core_open(gi_client_core_t *self, int64_t now_ms) {
    self->now_ms = now_ms;
    gi_client_trouble(self, GI_TROUBLE_AWAY);
    s_opened(self, GATE_OK);
}

void gi_client_core_connected(gi_client_core_t *self, int64_t now_ms) {
    self->now_ms = now_ms;
    if (self->link.open)
        s_arrived(self);
}

/* Nothing is known of what a broker on this link can do. */
static void s_unknown(gi_clink_t *l) {
    l->up = l->ready = l->informed = l->known = false;
    l->ext = l->ext_args = l->packs = l->batches = l->rows = l->traces = false;
    l->frame_max = 0;
    l->n_requests = 0;
}

static void s_departed(gi_client_core_t *self) {
    gi_clink_t *l = &self->link;
    if (self->trouble == GI_TROUBLE_NONE)
        gi_client_trouble(self, GI_TROUBLE_LOST);
    gi_client_calls_cut_all(self, 0);
    s_unknown(l); /* the question is cut as well */
    self->count.reconnects++;
}

void gi_client_core_closed(gi_client_core_t *self, uint8_t conn,
                           int64_t now_ms) {
    self->now_ms = now_ms;
    if (conn) {
        gi_client_calls_cut_all(self, conn);
    } else if (self->link.up) {
        gate_log(GATE_WARN, S_PART, "connection to %s closed",
                 self->is.endpoint);
        s_departed(self);
    }
}

/* A ROUTER hears one peer of a name: a second one is connected, and never heard
 * nor answered. */
static bool s_has_namesake(const gi_client_core_t *self) {
    const gi_clink_t *l = &self->link;
    return self->is.login->identity && !l->fresh_id && l->up && !l->ready;
}

static void s_reopen(gi_client_core_t *self) {
    if (s_has_namesake(self))
        gate_log(GATE_WARN, S_PART,
                 "broker %s has not said a word to identity %s: another client "
                 "may have it, and an identity is one client's: connecting "
                 "anew under another one",
                 self->is.endpoint, self->is.login->identity);
    else
        gate_log(GATE_WARN, S_PART, "broker %s %s: connecting anew",
                 self->is.endpoint,
                 self->link.up ? "fell silent" : "is not to be had");
    self->link.fresh_id |= self->link.up;
    s_departed(self);
    s_opened(self, self->effects->reopen(self->ctx, self->link.fresh_id));
}

void gi_client_core_unreached(gi_client_core_t *self, const char *why,
                              int64_t now_ms) {
    self->now_ms = now_ms;
    if (self->link.up)
        return;
    snprintf(self->why, sizeof self->why, "%s", why);
    if (self->trouble == GI_TROUBLE_SILENT || self->trouble == GI_TROUBLE_NONE)
        self->trouble = GI_TROUBLE_LOST;
    gi_client_trouble(self, self->trouble);
}

/* The transport does not try again after that; we do, an interval later, with a
 * new connection. Whoever waits for one is told. */
void gi_client_core_refused(gi_client_core_t *self, const char *why,
                            int64_t now_ms) {
    char text[400];
    self->now_ms = now_ms;
    if (!self->link.open)
        return;
    snprintf(text, sizeof text, "the broker at %s does not let us in: %s",
             self->is.endpoint, why);
    gi_error_story(&self->refused, GATE_REFUSED, NULL, text, "");
    gate_log(GATE_WARN, S_PART, "%s", text);
    if (self->link.up)
        s_departed(self);
    self->effects->close(self->ctx);
    self->link.open = false;
    self->link.heard_ms = now_ms;
    gi_client_trouble(self, GI_TROUBLE_REFUSED);
    gi_client_calls_refuse_unsent(self, &self->refused.story);
}

gate_err_t gi_client_core_ready(const gi_client_core_t *self, bool *ready) {
    *ready = self->link.ready;
    return *ready ? GATE_OK : gi_error_publish(&self->refused);
}

/* ---- moving to another broker -------------------------------------------- */
static uint8_t s_free_former(const gi_client_core_t *self) {
    for (uint8_t i = 0; i < GI_CFORMERS_MAX; i++)
        if (!self->formers[i].used)
            return i + 1;
    return 0;
}

/* Not while too many earlier ones still have calls under way: the broker ends
 * in its time then, and this connection with it. */
void gi_client_move(gi_client_core_t *self) {
    gi_clink_t *l = &self->link;
    uint8_t former = s_free_former(self);
    if (self->hearing || !self->is.watched || !former)
        return;
    gate_log(GATE_INFO, S_PART, "another broker takes over at %s",
             self->is.endpoint);
    self->count.moves++;
    l->met = false; /* the old one lives on, and may still answer */
    self->formers[former - 1].used = true;
    self->formers[former - 1].n = gi_client_calls_leave(self, former);
    s_unknown(l);
    s_opened(self, self->effects->move(self->ctx, former));
}

bool gi_client_core_former_over(gi_client_core_t *self, uint8_t former) {
    gi_cformer_t *f = &self->formers[former - 1];
    if (!f->used || f->n)
        return false;
    f->used = false;
    return true;
}

/* ---- messages ------------------------------------------------------------ */
void gi_client_core_message(gi_client_core_t *self, uint8_t conn,
                            gi_frames_t *frames, int64_t now_ms) {
    self->now_ms = now_ms;
    self->hearing = conn;
    gi_client_answer(self, frames);
    self->hearing = 0;
}

void gi_client_core_unreadable(gi_client_core_t *self) {
    self->count.dropped++;
}

/* ---- time ---------------------------------------------------------------- */
static int64_t s_heartbeat(const gi_client_core_t *self) {
    return gi_settings_heartbeat_ms(self->is.settings);
}

/* With a connection there is a tick at least every heartbeat: a longer gap means
 * that this process stood still, maybe with the whole machine, and what the
 * broker sent is still unread, or it stood still as well. It gets its time anew. */
static void s_awake(gi_client_core_t *self, int64_t now_ms) {
    gi_clink_t *l = &self->link;
    if (l->up && now_ms - self->tick_ms > 2 * s_heartbeat(self))
        l->heard_ms = now_ms;
    self->tick_ms = now_ms;
}

/* Keepalive when nothing else was sent; silence means the broker is gone. */
static bool s_liveness(gi_client_core_t *self) {
    gi_clink_t *l = &self->link;
    int64_t hb = s_heartbeat(self), silent = self->now_ms - l->heard_ms;
    if (l->open
            ? l->up && silent >= hb * self->is.settings->mdp_heartbeat_liveness
            : silent >= hb) {
        s_reopen(self);
        return true;
    }
    if (!l->up)
        return false;
    if (!l->known && self->now_ms - l->asked_ms >= 2 * hb) {
        l->asked_ms = self->now_ms; /* or extensions stay unused for ever */
        gi_client_calls_ask(self, GI_ASKS_INFO);
        return true;
    }
    if (self->now_ms - l->sent_ms < hb)
        return false;
    l->sent_ms = self->now_ms;
    gi_client_calls_ask(self, GI_ASKS_ALIVE);
    return true;
}

bool gi_client_core_tick(gi_client_core_t *self, int64_t now_ms) {
    s_awake(self, now_ms);
    self->now_ms = now_ms;
    bool busy = gi_client_calls_expire(self); /* unsent, if need be */
    busy |= gi_client_calls_flush(self);
    busy |= s_liveness(self);
    return busy;
}

int64_t gi_client_core_next(const gi_client_core_t *self, int64_t now_ms) {
    const gi_clink_t *l = &self->link;
    int64_t next = gi_wheel_next(self->wheel), hb = s_heartbeat(self);
    if (self->table.unsent && l->up && now_ms + S_BLOCKED_POLL_MS < next)
        next = now_ms + S_BLOCKED_POLL_MS;
    if (l->up && l->sent_ms + hb < next)
        next = l->sent_ms + hb;
    if (!l->open && l->heard_ms + hb < next)
        next = l->heard_ms + hb;
    return next;
}

bool gi_client_core_stop(gi_client_core_t *self, int64_t now_ms) {
    bool told = false;
    self->now_ms = now_ms;
    self->stopped = true;
    for (unsigned i = 0; i < self->table.n_used; i++) {
        gi_ccall_t *call = self->table.slots[i].call;
        if (!call)
            continue;
        if (call->asks == GI_ASKS_USER) {
            told |= call->state == GI_CCALL_SENT;
            gi_client_send_cancel(self, call);
        }
        gi_client_calls_fail_text(self, call, GATE_CLOSED,
                                  "the client was closed");
    }
    return told;
}

/* ---- numbers, the law ---------------------------------------------------- */
static const char *const s_names[] = {
#define GI_C(name, meaning) #name,
#include "client/core/client_counters.def"
#undef GI_C
};
#define S_COUNTERS (sizeof s_names / sizeof *s_names)

static uint64_t s_counter(const gi_client_core_t *self, size_t i) {
    uint64_t n;
    memcpy(&n, (const char *)&self->count + i * sizeof n, sizeof n);
    return n;
}

void gi_client_core_stats(const gi_client_core_t *self, uint64_t in_flight,
                          gi_buf_t *out) {
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, S_COUNTERS + 1);
    for (size_t i = 0; i < S_COUNTERS; i++)
        gi_pack_uint(&pk, s_names[i], s_counter(self, i));
    gi_pack_uint(&pk, "in_flight", in_flight);
}

uint64_t gi_client_core_count(const gi_client_core_t *self, const char *name) {
    size_t i = 0;
    while (i < S_COUNTERS && strcmp(s_names[i], name) != 0)
        i++;
    assert(i < S_COUNTERS);
    return s_counter(self, i);
}

static bool s_listed(const gi_client_core_t *self, const gi_ccall_t *call,
                     const gi_ccall_t *prev, gi_ccall_state_t state) {
    return call->state == state && call->prev == prev &&
           call->slot < self->table.n_used &&
           self->table.slots[call->slot].call == call &&
           gi_timer_armed(&call->timer) &&
           (state == GI_CCALL_SENT || (!call->cut && !call->former)) &&
           (!call->cut || !call->former) && (!call->unheard || call->cut) &&
           (!call->former || self->formers[call->former - 1].used);
}

static bool s_calls_valid(const gi_client_core_t *self) {
    const gi_ctable_t *t = &self->table;
    size_t n[GI_CFORMERS_MAX] = {0}, inflating = 0;
    const gi_ccall_t *prev = NULL;
    for (const gi_ccall_t *c = t->unsent; c; prev = c, c = c->next)
        if (!s_listed(self, c, prev, GI_CCALL_UNSENT))
            return false;
    if (t->unsent_last != prev)
        return false;
    prev = NULL;
    for (const gi_ccall_t *c = t->sent; c; prev = c, c = c->next) {
        if (!s_listed(self, c, prev, GI_CCALL_SENT))
            return false;
        inflating += c->inflates;
        if (c->former)
            n[c->former - 1]++;
    }
    for (unsigned i = 0; i < GI_CFORMERS_MAX; i++)
        if (n[i] != self->formers[i].n)
            return false;
    return inflating == self->n_inflating;
}

bool gi_client_core_valid(const gi_client_core_t *self) {
    const gi_clink_t *l = &self->link;
    if ((l->up && !l->open) || (l->ready && !l->up) || self->hearing ||
        self->out.n)
        return false;
    if (l->ready && self->trouble != GI_TROUBLE_NONE &&
        self->trouble != GI_TROUBLE_REFUSED)
        return false;
    if (self->trouble == GI_TROUBLE_REFUSED && !self->refused.story.code)
        return false;
    return s_calls_valid(self);
}
