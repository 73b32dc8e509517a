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
#include "client_impl.h"

#include <errno.h>
#include <string.h>
#include "clock.h"
#include "err.h"
#include "identity.h"
#include "mem.h"

#define S_COPY_MAX 1024 /* answers up to this are copied, larger ones kept */
#define S_ANNOUNCE_EVERY 31
#define S_NO_ARGS "\x90" /* packed: an empty array, an empty map */
#define S_NO_KWARGS "\x80"
#define S_PAUSE_MAX 2000 /* ms between two tries */

/* ---- tables
 * ------------------------------------------------------------------ */
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

static gi_pending_t *s_find(gate_client_t *self, gate_bytes_t id) {
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

static void s_fail_text(gi_pending_t *p, gate_err_t code, const char *text) {
    gate_error_t story = {code, gi_err_class(code), text, ""};
    gi_pending_fail(p, &story);
}

/* ---- sending
 * ----------------------------------------------------------------- */
static void s_add_ext(gate_client_t *self, const gi_ext_t *ext) {
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
    s_add_ext(self, &ext);
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
    if (!wait)
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
    s_add_ext(self, ext);
    if (gi_client_send_on(self, p->former)) {
        gi_frames_close(&self->out);
        self->stats.dropped++; /* a credit: the next one makes up for it */
    }
}

static void s_tell_cancel(gi_pending_t *p) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    ext.cancel = true;
    s_tell(p, &ext);
}

void gi_pending_cancel(gi_pending_t *p) {
    if (p->state == GI_PENDING_DONE || p->state == GI_PENDING_NEW)
        return;
    s_tell_cancel(p);
    s_fail_text(p, GATE_CANCELLED, "cancelled by its caller");
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

/* ---- answers
 * ----------------------------------------------------------------- */
static void s_free_frame(void *hint) {
    zmq_msg_close(hint);
    gi_mem_free(hint);
}

void *gi_pending_own(zmq_msg_t *frame, size_t *size, gi_release_fn **release,
                     void **hint) {
    *size = zmq_msg_size(frame);
    if (*size <= S_COPY_MAX) {
        *release = gi_mem_free;
        return *hint = gi_mem_dup(zmq_msg_data(frame), *size);
    }
    zmq_msg_t *kept = gi_mem_alloc(sizeof *kept);
    if (!kept)
        return NULL;
    zmq_msg_init(kept);
    zmq_msg_move(kept, frame);
    *release = s_free_frame;
    *hint = kept;
    return zmq_msg_data(kept);
}

static bool s_is_name(const msgpack_object *o, const char *text) {
    return o->type == MSGPACK_OBJECT_STR && o->via.str.size == strlen(text) &&
           memcmp(o->via.str.ptr, text, strlen(text)) == 0;
}

/* What Gate.info says: does it speak our extensions? */
static void s_learn(gate_client_t *self, const msgpack_object *info) {
    if (info->type != MSGPACK_OBJECT_MAP)
        return;
    for (uint32_t i = 0; i < info->via.map.size; i++) {
        const msgpack_object_kv *kv = &info->via.map.ptr[i];
        if (kv->key.type != MSGPACK_OBJECT_STR || kv->key.via.str.size != 3 ||
            memcmp(kv->key.via.str.ptr, "ext", 3) != 0 ||
            kv->val.type != MSGPACK_OBJECT_ARRAY)
            continue;
        for (uint32_t j = 0; j < kv->val.via.array.size; j++) {
            const msgpack_object *name = &kv->val.via.array.ptr[j];
            if (s_is_name(name, "GX1"))
                self->ext = true;
            else if (s_is_name(name, "HA1"))
                self->ext_args = true;
            else if (s_is_name(name, "GXP"))
                self->packs = self->settings->packed;
        }
    }
}

/* No memory here or there, too much work, nobody who could authenticate us. */
static bool s_passes(gate_err_t e) {
    return e == GATE_NOMEM || e == GATE_BUSY || e == GATE_NOSERVICE ||
           (e == GATE_RAISED && strcmp(gate_error()->cls, "MemoryError") == 0);
}

static void s_own_answer(gate_client_t *self, gi_pending_t *p,
                         zmq_msg_t *body) {
    gate_value_t *value = NULL;
    gate_err_t e = gi_rpc_take_reply(zmq_msg_data(body), zmq_msg_size(body),
                                     NULL, NULL, self->settings, &value);
    if (e == GATE_REFUSED)
        gi_error_set(&self->refused, gate_error());
    else
        self->ready = true;
    if (p->asks == GI_ASKS_INFO) {
        self->known = !s_passes(e);
        if (!e)
            s_learn(self, gate_value_object(value));
    }
    gate_value_destroy(&value);
    gi_pending_done(p);
}

/* ---- another try
 * -------------------------------------------------------------- */
/* The pause before it, and somewhat more or less, so that callers that were
 * turned away together do not come back together. */
static int64_t s_pause(gi_pending_t *p) {
    unsigned char random;
    gi_random(&random, sizeof random);
    int64_t pause = p->pause_ms / 2 + p->pause_ms * random / 255;
    if (p->pause_ms < S_PAUSE_MAX)
        p->pause_ms *= 2;
    return pause > 0 ? pause : 1;
}

/* The answer says that the call did not run. */
static bool s_turned_away(gate_client_t *self, zmq_msg_t *body) {
    gate_value_t *value = NULL;
    gate_err_t e = gi_rpc_take_reply(zmq_msg_data(body), zmq_msg_size(body),
                                     NULL, NULL, self->settings, &value);
    gate_value_destroy(&value);
    return e == GATE_NOSERVICE || e == GATE_BUSY;
}

/* False: the answer stands. */
static bool s_again(gi_pending_t *p, zmq_msg_t *body) {
    gate_client_t *self = p->client;
    if (p->retries <= 0 || !p->future || gi_cargs_begun(p) ||
        !s_turned_away(self, body))
        return false;
    int64_t at = self->now_ms + s_pause(p);
    if (at >= p->deadline_ms)
        return false;
    if (self->retry_budget < 1) {
        self->stats.retries_denied++;
        return false;
    }
    self->retry_budget -= 1;
    self->stats.retries++;
    p->retries--;
    p->cut = false;
    s_unlink(p);
    p->state = GI_PENDING_PAUSE;
    gi_wheel_arm(self->wheel, &p->timer, at);
    return true;
}

static void s_pause_is_over(gi_pending_t *p) {
    gate_client_t *self = p->client;
    bool wait = self->unsent || !self->up;
    gi_wheel_arm(self->wheel, &p->timer, p->deadline_ms);
    s_link(p, GI_PENDING_UNSENT);
    if (!wait)
        s_send(p);
}

static void s_single(gi_pending_t *p, zmq_msg_t *body) {
    gate_client_t *self = p->client;
    gi_release_fn *release;
    void *hint;
    size_t size;
    if (p->asks != GI_ASKS_USER) {
        s_own_answer(self, p, body);
        return;
    }
    if (s_again(p, body))
        return;
    self->stats.answers++;
    void *data = gi_pending_own(body, &size, &release, &hint);
    if (!data)
        s_fail_text(p, GATE_NOMEM, "no memory for an answer");
    else if (p->stream)
        gi_stream_push_reply(p->stream, data, size, release, hint);
    else
        gi_future_complete_reply(p->future, data, size, release, hint);
    if (data) {
        p->future = NULL;
        gi_pending_done(p);
    }
}

static void s_not_a_stream(gi_pending_t *p) {
    s_tell_cancel(p);
    s_fail_text(p, GATE_BADARG,
                "the method streams: open it with gate_client_open");
}

void gi_pending_abort(gi_pending_t *p) {
    gate_error_t story = *gate_error();
    s_tell_cancel(p);
    gi_pending_fail(p, &story);
}

void gi_pending_push(gi_pending_t *p, zmq_msg_t *frame) {
    gi_release_fn *release;
    void *hint;
    size_t size;
    void *data = gi_pending_own(frame, &size, &release, &hint);
    gate_err_t e = data
                       ? gi_stream_push(p->stream, data, size, release, hint, 0)
                       : GATE_NOMEM;
    if (!e)
        return;
    if (e == GATE_BUSY)
        (void)gi_err_story(e, "StreamOverflowError",
                           "the reader is too slow: more than "
                           "stream_unread_max items or peer_queue_max_bytes "
                           "wait for it",
                           "");
    else
        (void)gi_err(e, "%s", gate_err_text(e));
    gi_pending_abort(p);
}

static void s_item(gi_pending_t *p, zmq_msg_t *body) {
    if (!p->stream) {
        s_not_a_stream(p);
        return;
    }
    p->client->stats.items++;
    gi_pending_push(p, body);
}

void gi_pending_exception(gi_pending_t *p, gate_bytes_t triple) {
    gate_err_t e = gi_rpc_publish_triple(triple, p->client->settings);
    (void)e;
    gi_pending_fail(p, gate_error());
}

static void s_end(gi_pending_t *p) {
    if (!p->stream) {
        s_not_a_stream(p);
        return;
    }
    gi_stream_end(p->stream);
    gi_pending_done(p);
}

/* Credit for a call that has ended here: its worker need not wait. */
static void s_disown(gate_client_t *self, gate_bytes_t service,
                     gate_bytes_t id) {
    gi_ext_t ext;
    if (!self->ext)
        return;
    gi_ext_init(&ext);
    ext.cancel = true;
    gi_frames_add(gi_client_begin(self, service.data, service.size), id.data,
                  id.size);
    s_add_ext(self, &ext);
    if (gi_client_send(self))
        gi_frames_close(&self->out);
}

/* Not about a call: the request id is all zero, the body an extension frame. */
static bool s_notice(gate_client_t *self, gate_bytes_t id, gate_bytes_t body) {
    static const unsigned char none[GI_ID_SIZE];
    gi_ext_t ext;
    if (id.size != sizeof none || memcmp(id.data, none, sizeof none) != 0 ||
        !gi_ext_is(body))
        return false;
    if (!gi_ext_parse(body, &ext) && ext.moved)
        gi_client_move(self);
    return true;
}

void gi_pending_answer(gate_client_t *self) {
    gate_bytes_t view[GI_FRAMES_MAX];
    gi_mdp_reply_t m;
    gi_frames_view(&self->in, 0, view);
    if (gi_mdp_parse_reply(view, self->in.n, &m)) {
        self->stats.dropped++;
        return;
    }
    self->heard_ms = self->now_ms;
    gi_pending_t *p = s_find(self, view[m.request_id]);
    if (!p) {
        if (s_notice(self, view[m.request_id], view[m.body]))
            return;
        self->stats.late++;
        if (m.n_body == 1 && gi_ext_is(view[m.body]))
            s_disown(self, view[m.service], view[m.request_id]);
        return;
    }
    zmq_msg_t *f = &self->in.f[m.body];
    switch (gi_rpc_body_kind(view + m.body, m.n_body)) {
    case GI_BODY_SINGLE:
        if (gi_ext_is(view[m.body]))
            gi_cargs_credit(p, view[m.body]);
        else
            s_single(p, &f[0]);
        break;
    case GI_BODY_ITEM:
        s_item(p, &f[1]);
        break;
    case GI_BODY_END:
        s_end(p);
        break;
    case GI_BODY_EXCEPTION:
        gi_pending_exception(p, view[m.body + 2]);
        break;
    case GI_BODY_CHUNK:
    case GI_BODY_HUGE_END:
    case GI_BODY_HUGE_EXCEPTION:
        gi_chuge_message(p, f, view + m.body, m.n_body);
        break;
    case GI_BODY_BAD:
        self->stats.dropped++;
    }
}

/* ---- time and cuts
 * ----------------------------------------------------------- */
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

static void s_expired(gi_pending_t *p) {
    gate_client_t *self = p->client;
    char text[400];
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
    if (p->cut) {
        self->stats.lost++;
        snprintf(text, sizeof text,
                 "the connection to %s was cut while a call to %.*s was in "
                 "flight",
                 self->endpoint, size, (const char *)p->data);
        s_fail_text(p, GATE_LOST, text);
        return;
    }
    self->stats.timeouts++;
    snprintf(text, sizeof text,
             p->stream ? "a stream of %.*s was not read for %lld ms"
             : p->chunks && !p->deadline_travels
                 ? "no chunk of a huge result from %.*s within %lld ms"
                 : "no answer from %.*s within %lld ms",
             size, (const char *)p->data, (long long)p->timeout_ms);
    s_tell_cancel(p);
    s_fail_text(p, GATE_TIMEOUT, text);
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
        if (p->stream || end < p->timer.due_ms)
            gi_wheel_arm(self->wheel, &p->timer, end);
    }
    if (!former)
        s_drop_own_unsent(self);
}

void gi_pending_fail_all(gate_client_t *self, gate_err_t code,
                         const char *text) {
    for (unsigned i = 0; i < self->n_slots; i++)
        if (self->slots[i].pending)
            s_fail_text(self->slots[i].pending, code, text);
}
