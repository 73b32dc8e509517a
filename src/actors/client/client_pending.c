/* SPDX-License-Identifier: BSD-3-Clause */
/* client_pending.c -- calls under way.
 *
 *   NEW -> UNSENT -> SENT -> DONE: an answer, a deadline, a cancel, a cut
 *            ^         `-> PAUSE: turned away unrun, with tries left
 *            `---------------'
 *
 * Law: each call ends once. A call that was sent when the connection went away
 * ends with ConnectionLostError after two heartbeats unless its answer still
 * comes; one that was not sent waits for the next connection. */
#include "client/client_impl.h"
#include "client/client_upload.h"

#include <string.h>
#include "sync/clock.h"
#include "base/err.h"
#include "base/identity.h"
#include "base/mem.h"

#define S_ANNOUNCE_EVERY 31
#define S_NO_ARGS "\x90" /* packed: an empty array, an empty map */
#define S_NO_KWARGS "\x80"

/* ---- tables -------------------------------------------------------------- */
static bool s_take_slot(gate_client_t *self, gi_pending_t *p) {
    unsigned i = self->free_slot;
    if (i >= self->n_slots)
        return false;
    gi_cslot_t *slot = &self->slots[i];
    uint32_t number = i;
    self->free_slot = slot->next_free;
    slot->pending = p;
    slot->generation++;
    p->slot = i;
    memcpy(p->id, self->id_prefix, 8);
    memcpy(p->id + 8, &number, 4);
    memcpy(p->id + 12, &slot->generation, 4);
    return true;
}

gi_pending_t *gi_pending_find(gate_client_t *self, gate_bytes_t id) {
    uint32_t i;
    if (id.size != GI_ID_SIZE || memcmp(id.data, self->id_prefix, 8) != 0)
        return NULL;
    memcpy(&i, (const char *)id.data + 8, 4);
    gi_pending_t *p = i < self->n_slots ? self->slots[i].pending : NULL;
    return p && memcmp(p->id, id.data, GI_ID_SIZE) == 0 ? p : NULL;
}

static gi_pending_t **s_list(gi_pending_t *p) {
    return p->state == GI_PENDING_UNSENT ? &p->client->unsent
                                         : &p->client->sent;
}

static void s_unlink(gi_pending_t *p) {
    gate_client_t *self = p->client;
    if (p->state != GI_PENDING_UNSENT && p->state != GI_PENDING_SENT)
        return;
    if (p->state == GI_PENDING_UNSENT && self->unsent_last == p)
        self->unsent_last = p->prev;
    if (p->prev)
        p->prev->next = p->next;
    else
        *s_list(p) = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->prev = p->next = NULL;
}

static void s_link(gi_pending_t *p, gi_pending_state_t state) {
    gate_client_t *self = p->client;
    p->state = state;
    if (state == GI_PENDING_UNSENT) { /* in order: at the end */
        p->prev = self->unsent_last;
        p->next = NULL;
        if (p->prev)
            p->prev->next = p;
        else
            self->unsent = p;
        self->unsent_last = p;
    } else {
        p->prev = NULL;
        p->next = self->sent;
        if (p->next)
            p->next->prev = p;
        self->sent = p;
    }
}

/* Out of every table, and gone; its answer has been given. */
void gi_pending_done(gi_pending_t *p) {
    gate_client_t *self = p->client;
    gi_cslot_t *slot = &self->slots[p->slot];
    s_unlink(p);
    if (p->former)
        self->formers[p->former - 1].n--;
    p->former = 0;
    p->state = GI_PENDING_DONE;
    gi_wheel_cancel(self->wheel, &p->timer);
    slot->pending = NULL;
    slot->next_free = self->free_slot;
    self->free_slot = p->slot;
    gi_chuge_leave(p);
    gi_cargs_stop(p);
    if (p->asks == GI_ASKS_INFO)
        self->informed = true;
    if (p->stream)
        gi_stream_release(&p->stream);
    if (p->asks == GI_ASKS_USER)
        gi_gauge_leave(&self->in_flight);
    gi_pending_drop(p);
}

void gi_pending_fail(gi_pending_t *p, const gate_error_t *story) {
    p->client->stats.errors++;
    if (p->future)
        gi_future_fail(p->future, story);
    if (p->stream)
        gi_stream_fail(p->stream, story);
    p->future = NULL;
    gi_pending_done(p);
}

void gi_pending_fail_text(gi_pending_t *p, gate_err_t code, const char *text) {
    gate_error_t story = {code, gi_err_class(code), text, ""};
    gi_pending_fail(p, &story);
}

/* ---- sending ------------------------------------------------------------- */
void gi_client_add_ext(gate_client_t *self, const gi_ext_t *ext) {
    gi_buf_reset(&self->scratch, 4096);
    if (!gi_ext_pack(&self->scratch, ext))
        gi_frames_add(&self->out, self->scratch.data, self->scratch.size);
}

/* What we read is said along with what must be said, else now and then: a frame
 * costs as much as a tenth of a call. The number is odd, so that workers that
 * take turns are all told. */
static void s_transmit_ext(gi_pending_t *p, const unsigned char *meta) {
    gate_client_t *self = p->client;
    bool announce =
        p->asks == GI_ASKS_USER && self->n_requests++ % S_ANNOUNCE_EVERY == 0;
    gi_ext_t ext;
    if (!announce && !p->stream && !p->deadline_travels &&
        !p->request.meta_size && !p->args)
        return;
    gi_ext_init(&ext);
    gi_chuge_announce(self, &ext);
    if (p->args)
        gi_cargs_announce(p, &ext);
    ext.meta = (gate_bytes_t){meta, p->request.meta_size};
    if (p->stream) {
        ext.credit_items = self->settings->stream_reply_maxsize;
        ext.credit_bytes = self->settings->stream_max_bytes;
    } else if (p->deadline_travels) {
        ext.timeout_ms = p->deadline_ms - self->now_ms;
        if (ext.timeout_ms < 0)
            ext.timeout_ms = 0;
    }
    gi_client_add_ext(self, &ext);
}

static int s_transmit(gi_pending_t *p) {
    gate_client_t *self = p->client;
    const unsigned char *at = p->data + p->service_size;
    gi_frames_t *out = gi_client_begin(self, p->data, p->service_size);
    gi_frames_add(out, p->id, sizeof p->id);
    gi_frames_add(out, at, p->request.func_size);
    at += p->request.func_size;
    if (p->args) {
        gi_frames_add(out, S_NO_ARGS, 1);
        gi_frames_add(out, S_NO_KWARGS, 1);
    } else {
        gi_frames_add(out, at, p->request.args_size);
        at += p->request.args_size;
        gi_frames_add(out, at, p->request.kwargs_size);
        at += p->request.kwargs_size;
    }
    if (self->ext)
        s_transmit_ext(p, at);
    int rc = gi_client_send(self);
    if (rc)
        gi_frames_close(out);
    return rc;
}

/* True when it went out or failed for good. */
static bool s_send(gi_pending_t *p) {
    gate_client_t *self = p->client;
    if (p->args && !self->ext_args) {
        if (!self->informed)
            return false; /* those behind it wait for a round trip too */
        (void)gi_cargs_refuse(p);
        gate_error_t story = *gate_error();
        gi_pending_fail(p, &story);
        return true;
    }
    int rc = s_transmit(p);
    if (rc == EAGAIN)
        return false;
    s_unlink(p);
    s_link(p, GI_PENDING_SENT);
    return true;
}

bool gi_pending_flush(gate_client_t *self) {
    bool any = false;
    while (self->unsent && self->up && s_send(self->unsent))
        any = true;
    return any;
}

void gi_pending_start(gi_pending_t *p) {
    gate_client_t *self = p->client;
    self->stats.calls++;
    if (self->retry_budget < GI_RETRIES_FREE)
        self->retry_budget += (double)self->settings->retry_budget / 100;
    if (!self->slots || !s_take_slot(self, p)) { /* only while closing */
        gate_error_t story = {GATE_CLOSED, gi_err_class(GATE_CLOSED),
                              "the client was closed", ""};
        if (p->future)
            gi_future_fail(p->future, &story);
        if (p->stream) {
            gi_stream_fail(p->stream, &story);
            gi_stream_release(&p->stream);
        }
        gi_gauge_leave(&self->in_flight);
        gi_pending_drop(p);
        return;
    }
    gi_wheel_arm(self->wheel, &p->timer, p->deadline_ms);
    bool wait = self->unsent || !self->up;
    s_link(p, GI_PENDING_UNSENT);
    if (!self->up && self->trouble == GI_TROUBLE_REFUSED)
        gi_pending_fail(p, &self->refused.story);
    else if (!wait)
        s_send(p);
}

void gi_pending_ask(gate_client_t *self, gi_asks_t asks) {
    static const struct {
        const char *func;
        const char *arg; /* a bin; NULL: none */
    } what[] = {[GI_ASKS_INFO] = {"info", NULL},
                [GI_ASKS_SERVICES] = {"get_services", NULL},
                [GI_ASKS_ALIVE] = {"keepalive", "heartbeat"}};
    const char *service = gi_settings_internal(self->settings);
    gi_rpc_request_t request;
    gate_arg_t arg = what[asks].arg
                         ? gate_bin(what[asks].arg, strlen(what[asks].arg))
                         : gate_null(NULL);
    gi_buf_reset(&self->scratch, 4096);
    if (gi_rpc_pack_request(&self->scratch, what[asks].func,
                            strlen(what[asks].func), &arg,
                            what[asks].arg ? 1 : 0, self->settings, &request))
        return;
    gi_pending_t *p =
        gi_pending_new(self, (gate_bytes_t){service, strlen(service)}, &request,
                       self->scratch.data);
    if (!p)
        return;
    p->asks = asks;
    p->deadline_ms =
        self->now_ms + 2 * gi_settings_heartbeat_ms(self->settings);
    if (!s_take_slot(self, p)) {
        gi_pending_drop(p);
        return;
    }
    gi_wheel_arm(self->wheel, &p->timer, p->deadline_ms);
    s_link(p, GI_PENDING_UNSENT);
    s_send(p); /* before calls that may wait for its answer */
}

/* About a call under way, to a broker that knows GX1. */
static void s_tell(gi_pending_t *p, const gi_ext_t *ext) {
    gate_client_t *self = p->client;
    if (!(self->ext || p->former) || p->state != GI_PENDING_SENT || p->cut)
        return;
    gi_frames_add(gi_client_begin(self, p->data, p->service_size), p->id,
                  sizeof p->id);
    gi_client_add_ext(self, ext);
    if (gi_client_send_on(self, p->former)) {
        gi_frames_close(&self->out);
        self->stats.dropped++; /* a credit: the next one makes up for it */
    }
}

void gi_pending_tell_cancel(gi_pending_t *p) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    ext.cancel = true;
    s_tell(p, &ext);
}

void gi_pending_cancel(gi_pending_t *p) {
    if (p->state == GI_PENDING_DONE || p->state == GI_PENDING_NEW)
        return;
    gi_pending_tell_cancel(p);
    gi_pending_fail_text(p, GATE_CANCELLED, "cancelled by its caller");
}

void gi_pending_credit(gi_pending_t *p, size_t items, size_t bytes) {
    gi_ext_t ext;
    if (p->state != GI_PENDING_SENT)
        return;
    gi_ext_init(&ext);
    ext.credit_items = (int64_t)(items + p->owed_items);
    ext.credit_bytes = (int64_t)(bytes + p->owed_bytes);
    p->owed_items = p->owed_bytes = 0;
    gate_client_t *self = p->client;
    uint64_t dropped = self->stats.dropped;
    s_tell(p, &ext);
    if (self->stats.dropped != dropped) {
        p->owed_items = (size_t)ext.credit_items;
        p->owed_bytes = (size_t)ext.credit_bytes;
        gi_wheel_arm(self->wheel, &p->timer, self->now_ms + 10);
    }
}

/* ---- time and cuts ------------------------------------------------------- */
void gi_pending_alive(gi_pending_t *p) {
    gate_client_t *self = p->client;
    if (p->stream || p->deadline_travels || p->cut)
        return;
    p->deadline_ms = self->now_ms + p->timeout_ms;
    gi_wheel_arm(self->wheel, &p->timer, p->deadline_ms);
}

/* Credit that the socket would not take before; true: that was why. */
static bool s_pay(gi_pending_t *p) {
    gate_client_t *self = p->client;
    if (p->cut || (!p->owed_items && !p->owed_bytes))
        return false;
    gi_wheel_arm(self->wheel, &p->timer,
                 p->stream ? self->now_ms + p->timeout_ms : p->deadline_ms);
    gi_pending_credit(p, 0, 0);
    return true;
}

/* A stream has no deadline of its own: its reader times each item. Here only
 * one that nobody reads is found. */
static bool s_stream_goes_on(gi_pending_t *p) {
    gate_client_t *self = p->client;
    int64_t idle = gi_stream_idle_ms(p->stream, self->now_ms);
    if (p->cut || (p->timeout_ms >= 0 && idle >= p->timeout_ms))
        return false;
    gi_wheel_arm(self->wheel, &p->timer,
                 self->now_ms +
                     (p->timeout_ms > 10 ? p->timeout_ms - idle : 10));
    return true;
}

void gi_pending_pause(gi_pending_t *p, int64_t until_ms) {
    p->cut = false;
    s_unlink(p);
    p->state = GI_PENDING_PAUSE;
    gi_wheel_arm(p->client->wheel, &p->timer, until_ms);
}

static void s_pause_is_over(gi_pending_t *p) {
    gate_client_t *self = p->client;
    bool wait = self->unsent || !self->up;
    gi_wheel_arm(self->wheel, &p->timer, p->deadline_ms);
    s_link(p, GI_PENDING_UNSENT);
    if (!wait)
        s_send(p);
}

static void s_expired(gi_pending_t *p) {
    gate_client_t *self = p->client;
    char text[700];
    int size = p->service_size < 200 ? (int)p->service_size : 200;
    if (p->state == GI_PENDING_PAUSE) {
        s_pause_is_over(p);
        return;
    }
    if (s_pay(p) || (p->stream && s_stream_goes_on(p)))
        return;
    if (p->asks != GI_ASKS_USER) {
        gi_pending_done(p);
        return;
    }
    if (p->cut && !p->unheard) {
        self->stats.lost++;
        snprintf(text, sizeof text,
                 "the connection to %s was cut while a call to %.*s was in "
                 "flight",
                 self->endpoint, size, (const char *)p->data);
        gi_pending_fail_text(p, GATE_LOST, text);
        return;
    }
    self->stats.timeouts++;
    gi_client_late_text(p, text, sizeof text);
    gi_pending_tell_cancel(p);
    gi_pending_fail_text(p, GATE_TIMEOUT, text);
}

/* The actor's own questions are asked anew on each connection. */
static void s_drop_own_unsent(gate_client_t *self) {
    gi_pending_t *next;
    for (gi_pending_t *p = self->unsent; p; p = next) {
        next = p->next;
        if (p->asks != GI_ASKS_USER)
            gi_pending_done(p);
    }
}

bool gi_pending_expire(gate_client_t *self) {
    gi_timer_t *timer;
    bool any = false;
    while ((timer = gi_wheel_expire(self->wheel, self->now_ms))) {
        s_expired((gi_pending_t *)(void *)((char *)timer -
                                           offsetof(gi_pending_t, timer)));
        any = true;
    }
    return any;
}

size_t gi_pending_leave(gate_client_t *self, uint8_t former) {
    size_t n = 0;
    gi_pending_t *next;
    for (gi_pending_t *p = self->sent; p; p = next) {
        next = p->next;
        if (p->asks != GI_ASKS_USER) {
            gi_pending_done(p);
        } else if (!p->former && !p->cut) {
            p->former = former;
            n++;
        }
    }
    s_drop_own_unsent(self);
    return n;
}

void gi_pending_cut_all(gate_client_t *self, uint8_t former) {
    int64_t end = self->now_ms + 2 * gi_settings_heartbeat_ms(self->settings);
    bool unheard = !former && !self->ready;
    gi_pending_t *next;
    for (gi_pending_t *p = self->sent; p; p = next) {
        next = p->next;
        if (p->former != former)
            continue;
        if (p->asks != GI_ASKS_USER) {
            gi_pending_done(p);
            continue;
        }
        if (former)
            self->formers[former - 1].n--;
        p->former = 0;
        p->cut = true;
        p->unheard = unheard;
        if (p->stream || end < p->timer.due_ms)
            gi_wheel_arm(self->wheel, &p->timer, end);
    }
    if (!former)
        s_drop_own_unsent(self);
}

void gi_pending_refuse_unsent(gate_client_t *self, const gate_error_t *story) {
    gi_pending_t *next;
    for (gi_pending_t *p = self->unsent; p; p = next) {
        next = p->next;
        if (p->asks == GI_ASKS_USER)
            gi_pending_fail(p, story);
    }
}

bool gi_pending_fail_all(gate_client_t *self, gate_err_t code,
                         const char *text) {
    bool told = false;
    for (unsigned i = 0; i < self->n_slots; i++) {
        gi_pending_t *p = self->slots[i].pending;
        if (!p)
            continue;
        if (p->asks == GI_ASKS_USER) {
            told |= p->state == GI_PENDING_SENT;
            gi_pending_tell_cancel(p);
        }
        gi_pending_fail_text(p, code, text);
    }
    return told;
}
