/* SPDX-License-Identifier: BSD-3-Clause */
/* client_calls.c -- calls under way.
 *
 *   NEW -> UNSENT -> SENT -> DONE: an answer, a deadline, a cancel, a cut
 *            ^         `-> PAUSE: turned away unrun, with tries left
 *            `---------------'
 *
 * Law: each call ends once. A call that was sent when the connection went away
 * ends with ConnectionLostError after two heartbeats unless its answer still
 * comes in one piece (of parts some may be lost), or with the broker's first word
 * on the next connection. One that was not sent waits for that. */
#include "client/core/client_state.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"

#define S_OWED_MS 10 /* between two tries to give credit */

/* ---- states -------------------------------------------------------------- */
static void s_become(gi_ccall_t *call, gi_ccall_state_t state) {
    static const unsigned allowed[] = {
        [GI_CCALL_NEW] = 1u << GI_CCALL_UNSENT | 1u << GI_CCALL_DONE,
        [GI_CCALL_UNSENT] = 1u << GI_CCALL_SENT | 1u << GI_CCALL_DONE,
        [GI_CCALL_SENT] = 1u << GI_CCALL_PAUSE | 1u << GI_CCALL_DONE,
        [GI_CCALL_PAUSE] = 1u << GI_CCALL_UNSENT | 1u << GI_CCALL_DONE,
        [GI_CCALL_DONE] = 0};
    assert(allowed[call->state] & 1u << state);
    call->state = state;
}

/* ---- lists --------------------------------------------------------------- */
static void s_unlink(gi_client_core_t *self, gi_ccall_t *call) {
    gi_ctable_t *t = &self->table;
    bool unsent = call->state == GI_CCALL_UNSENT;
    if (!unsent && call->state != GI_CCALL_SENT)
        return;
    if (unsent && t->unsent_last == call)
        t->unsent_last = call->prev;
    if (call->prev)
        call->prev->next = call->next;
    else if (unsent)
        t->unsent = call->next;
    else
        t->sent = call->next;
    if (call->next)
        call->next->prev = call->prev;
    call->prev = call->next = NULL;
}

static void s_link_unsent(gi_client_core_t *self, gi_ccall_t *call) {
    gi_ctable_t *t = &self->table;
    s_become(call, GI_CCALL_UNSENT);
    call->prev = t->unsent_last;
    call->next = NULL;
    if (call->prev)
        call->prev->next = call;
    else
        t->unsent = call;
    t->unsent_last = call;
}

static void s_link_sent(gi_client_core_t *self, gi_ccall_t *call) {
    gi_ctable_t *t = &self->table;
    s_become(call, GI_CCALL_SENT);
    call->prev = NULL;
    call->next = t->sent;
    if (call->next)
        call->next->prev = call;
    t->sent = call;
}

static void s_arm(gi_client_core_t *self, gi_ccall_t *call, int64_t due_ms) {
    gi_wheel_arm(self->wheel, &call->timer, due_ms);
}

/* ---- ends ---------------------------------------------------------------- */
/* Out of every table; its outcome was told. */
void gi_client_calls_done(gi_client_core_t *self, gi_ccall_t *call) {
    s_unlink(self, call);
    if (call->former)
        self->formers[call->former - 1].n--;
    call->former = 0;
    s_become(call, GI_CCALL_DONE);
    gi_wheel_cancel(self->wheel, &call->timer);
    gi_client_slots_give(self, call->slot);
    if (call->inflates)
        self->n_inflating--;
    call->inflates = false;
    if (call->asks == GI_ASKS_INFO)
        self->link.informed = true;
    if (call->asks == GI_ASKS_USER)
        self->effects->left(self->ctx, call);
    else
        gi_mem_free(call);
}

void gi_client_calls_fail(gi_client_core_t *self, gi_ccall_t *call,
                          const gate_error_t *story) {
    self->count.errors++;
    if (call->asks == GI_ASKS_USER)
        self->effects->fail(self->ctx, call, story);
    gi_client_calls_done(self, call);
}

void gi_client_calls_fail_text(gi_client_core_t *self, gi_ccall_t *call,
                               gate_err_t code, const char *text) {
    gate_error_t story = {code, gi_err_class(code), text, ""};
    gi_client_calls_fail(self, call, &story);
}

void gi_client_calls_abort(gi_client_core_t *self, gi_ccall_t *call) {
    gate_error_t story = *gate_error();
    gi_client_send_cancel(self, call);
    gi_client_calls_fail(self, call, &story);
}

/* ---- sending ------------------------------------------------------------- */
/* What a plain peer does not take. */
static void s_refuse_upload(gi_client_core_t *self, gi_ccall_t *call) {
    const gate_settings_t *s = self->is.settings;
    int size = call->service.size < 200 ? (int)call->service.size : 200;
    (void)gi_err(GATE_TOOBIG,
                 "arguments of %llu bytes to %.*s, in chunks, of which the "
                 "broker at %s knows nothing: at most %lld at once (the "
                 "smaller of message_bytes_max = %lld and msgpack_bin_max = "
                 "%lld), and at hand when the call starts",
                 (unsigned long long)(call->args_size + call->kwargs_size),
                 size, (const char *)call->service.data, self->is.endpoint,
                 (long long)gi_rpc_plain_max(s),
                 (long long)s->message_bytes_max,
                 (long long)s->msgpack_bin_max);
    gate_error_t story = *gate_error();
    gi_client_calls_fail(self, call, &story);
}

/* True when it went out or failed for good. */
static bool s_send(gi_client_core_t *self, gi_ccall_t *call) {
    if (gi_client_send_waits(self, call))
        return false;
    if (call->upload && !self->link.ext_args) {
        s_refuse_upload(self, call);
        return true;
    }
    if (gi_client_send_exceeds(self, call)) {
        gi_client_calls_fail(self, call, gate_error());
        return true;
    }
    if (gi_client_send_request(self, call) == EAGAIN)
        return false;
    s_unlink(self, call);
    s_link_sent(self, call);
    return true;
}

bool gi_client_calls_flush(gi_client_core_t *self) {
    bool any = false;
    while (self->table.unsent && self->link.up &&
           s_send(self, self->table.unsent))
        any = true;
    return any;
}

/* Behind those that wait. Without any time it ends unsent. */
static void s_queue(gi_client_core_t *self, gi_ccall_t *call) {
    bool late = call->timeout_ms == 0 ||
                (!call->stream && call->deadline_ms <= self->now_ms);
    bool at_once = !late && !self->table.unsent && self->link.up;
    s_arm(self, call, late ? self->now_ms : call->deadline_ms);
    s_link_unsent(self, call);
    if (at_once)
        s_send(self, call);
}

static void s_too_late(gi_client_core_t *self, gi_ccall_t *call) {
    gate_error_t story = {GATE_CLOSED, gi_err_class(GATE_CLOSED),
                          "the client was closed", ""};
    s_become(call, GI_CCALL_DONE);
    self->effects->fail(self->ctx, call, &story);
    self->effects->left(self->ctx, call);
}

void gi_client_core_start(gi_client_core_t *self, gi_ccall_t *call,
                          int64_t now_ms) {
    self->now_ms = now_ms;
    self->count.calls++;
    if (self->retry_budget < GI_RETRIES_FREE)
        self->retry_budget += (double)self->is.settings->retry_budget / 100;
    if (self->stopped || !gi_client_slots_take(self, call)) {
        s_too_late(self, call);
        return;
    }
    s_queue(self, call);
    if (!self->link.up && self->trouble == GI_TROUBLE_REFUSED)
        gi_client_calls_fail(self, call, &self->refused.story);
}

/* ---- the core's own questions -------------------------------------------- */
static gi_ccall_t *s_own(gi_client_core_t *self, const char *func,
                         const gate_arg_t *arg) {
    gi_rpc_request_t request;
    const char *service = gi_settings_internal(self->is.settings);
    gi_buf_reset(&self->scratch, 4096);
    if (gi_rpc_pack_request(&self->scratch, func, strlen(func), arg,
                            arg ? 1 : 0, self->is.settings, &request))
        return NULL;
    gi_ccall_t *call = gi_mem_calloc(1, sizeof *call + self->scratch.size);
    if (!call)
        return NULL;
    memcpy(call + 1, self->scratch.data, self->scratch.size);
    call->body = (unsigned char *)(call + 1);
    call->request = request;
    call->service = (gate_bytes_t){service, strlen(service)};
    return call;
}

void gi_client_calls_ask(gi_client_core_t *self, gi_asks_t asks) {
    static const char *const func[] = {[GI_ASKS_INFO] = "info",
                                       [GI_ASKS_SERVICES] = "get_services",
                                       [GI_ASKS_ALIVE] = "keepalive"};
    gate_arg_t beat = gate_bin("heartbeat", strlen("heartbeat"));
    gi_ccall_t *call =
        s_own(self, func[asks], asks == GI_ASKS_ALIVE ? &beat : NULL);
    if (!call)
        return;
    call->asks = asks;
    call->deadline_ms =
        self->now_ms + 2 * gi_settings_heartbeat_ms(self->is.settings);
    if (!gi_client_slots_take(self, call)) {
        gi_mem_free(call);
        return;
    }
    s_arm(self, call, call->deadline_ms);
    s_link_unsent(self, call);
    s_send(self, call); /* before calls that may wait for its answer */
}

/* ---- what its caller wants ----------------------------------------------- */
void gi_client_core_cancel(gi_client_core_t *self, gi_ccall_t *call,
                           int64_t now_ms) {
    self->now_ms = now_ms;
    if (call->state == GI_CCALL_DONE || call->state == GI_CCALL_NEW)
        return;
    gi_client_send_cancel(self, call);
    gi_client_calls_fail_text(self, call, GATE_CANCELLED,
                              "cancelled by its caller");
}

void gi_client_core_inflated(gi_client_core_t *self, gi_ccall_t *call,
                             gate_err_t e, int64_t now_ms) {
    self->now_ms = now_ms;
    if (call->state == GI_CCALL_DONE)
        return;
    if (e) {
        gi_client_calls_abort(self, call);
        return;
    }
    self->count.answers++;
    gi_client_calls_done(self, call);
}

void gi_client_core_abort(gi_client_core_t *self, gi_ccall_t *call) {
    if (call->state != GI_CCALL_DONE)
        gi_client_calls_abort(self, call);
}

/* ---- time and cuts ------------------------------------------------------- */
/* At its deadline, or when credit that it owes is tried again. */
void gi_client_calls_arm(gi_client_core_t *self, gi_ccall_t *call) {
    int64_t due =
        call->stream ? self->now_ms + call->timeout_ms : call->deadline_ms;
    bool owes = call->owed_items || call->owed_bytes;
    if (owes && self->now_ms + S_OWED_MS < due)
        due = self->now_ms + S_OWED_MS;
    s_arm(self, call, due);
}

void gi_client_calls_alive(gi_client_core_t *self, gi_ccall_t *call) {
    if (call->stream || call->deadline_travels || call->cut)
        return;
    call->deadline_ms = self->now_ms + call->timeout_ms;
    gi_client_calls_arm(self, call);
}

/* Credit that the socket would not take before; true: that was why, and it is
 * in time. */
static bool s_pay(gi_client_core_t *self, gi_ccall_t *call) {
    bool late = !call->stream && self->now_ms >= call->deadline_ms;
    if (call->cut || late || (!call->owed_items && !call->owed_bytes))
        return false;
    gi_client_send_credit(self, call, 0, 0);
    gi_client_calls_arm(self, call);
    return true;
}

/* A stream has no deadline of its own: its reader times each item. Here only
 * one that nobody reads is found. */
static bool s_stream_goes_on(gi_client_core_t *self, gi_ccall_t *call) {
    int64_t idle = self->effects->idle_ms(self->ctx, call, self->now_ms);
    if (call->cut || (call->timeout_ms >= 0 && idle >= call->timeout_ms))
        return false;
    s_arm(self, call,
          self->now_ms +
              (call->timeout_ms > 10 ? call->timeout_ms - idle : 10));
    return true;
}

void gi_client_calls_pause(gi_client_core_t *self, gi_ccall_t *call,
                           int64_t until_ms) {
    s_unlink(self, call);
    if (call->former)
        self->formers[call->former - 1].n--;
    call->former = 0;
    call->cut = call->unheard = false;
    s_become(call, GI_CCALL_PAUSE);
    s_arm(self, call, until_ms);
}

void gi_client_calls_lost(gi_client_core_t *self, gi_ccall_t *call) {
    char text[400];
    int size = call->service.size < 200 ? (int)call->service.size : 200;
    self->count.lost++;
    snprintf(text, sizeof text,
             "the connection to %s was cut while a call to %.*s was in "
             "flight",
             self->is.endpoint, size, (const char *)call->service.data);
    gi_client_send_cancel(self, call);
    gi_client_calls_fail_text(self, call, GATE_LOST, text);
}

static void s_late(gi_client_core_t *self, gi_ccall_t *call) {
    char text[700];
    self->count.timeouts++;
    gi_client_late_text(self, call, text, sizeof text);
    gi_client_send_cancel(self, call);
    gi_client_calls_fail_text(self, call, GATE_TIMEOUT, text);
}

static void s_expired(gi_client_core_t *self, gi_ccall_t *call) {
    if (call->state == GI_CCALL_PAUSE)
        s_queue(self, call);
    else if (s_pay(self, call) ||
             (call->stream && s_stream_goes_on(self, call)))
        return;
    else if (call->asks != GI_ASKS_USER)
        gi_client_calls_done(self, call);
    else if (call->cut && !call->unheard)
        gi_client_calls_lost(self, call);
    else
        s_late(self, call);
}

bool gi_client_calls_expire(gi_client_core_t *self) {
    gi_timer_t *timer;
    bool any = false;
    while ((timer = gi_wheel_expire(self->wheel, self->now_ms))) {
        s_expired(self, (gi_ccall_t *)(void *)((char *)timer -
                                               offsetof(gi_ccall_t, timer)));
        any = true;
    }
    return any;
}

/* They are asked anew on each connection. */
static void s_drop_own_unsent(gi_client_core_t *self) {
    gi_ccall_t *next;
    for (gi_ccall_t *call = self->table.unsent; call; call = next) {
        next = call->next;
        if (call->asks != GI_ASKS_USER)
            gi_client_calls_done(self, call);
    }
}

size_t gi_client_calls_leave(gi_client_core_t *self, uint8_t former) {
    size_t n = 0;
    gi_ccall_t *next;
    for (gi_ccall_t *call = self->table.sent; call; call = next) {
        next = call->next;
        if (call->asks != GI_ASKS_USER) {
            gi_client_calls_done(self, call);
        } else if (!call->former && !call->cut) {
            call->former = former;
            n++;
        }
    }
    s_drop_own_unsent(self);
    return n;
}

static void s_cut(gi_client_core_t *self, gi_ccall_t *call, bool unheard) {
    int64_t end =
        self->now_ms + 2 * gi_settings_heartbeat_ms(self->is.settings);
    if (call->former)
        self->formers[call->former - 1].n--;
    call->former = 0;
    call->cut = true;
    call->unheard = unheard;
    if (call->stream || end < call->timer.due_ms)
        s_arm(self, call, end);
}

void gi_client_calls_cut_all(gi_client_core_t *self, uint8_t former) {
    bool unheard = !former && !self->link.ready;
    gi_ccall_t *next;
    for (gi_ccall_t *call = self->table.sent; call; call = next) {
        next = call->next;
        if (call->former != former || call->cut)
            continue;
        if (call->asks != GI_ASKS_USER)
            gi_client_calls_done(self, call);
        else
            s_cut(self, call, unheard);
    }
    if (!former)
        s_drop_own_unsent(self);
}

void gi_client_calls_mourn(gi_client_core_t *self) {
    gi_ccall_t *next;
    for (gi_ccall_t *call = self->table.sent; call; call = next) {
        next = call->next;
        if (call->cut && (call->stream || call->chunks || call->upload))
            gi_client_calls_lost(self, call);
    }
}

void gi_client_calls_refuse_unsent(gi_client_core_t *self,
                                   const gate_error_t *story) {
    gi_ccall_t *next;
    for (gi_ccall_t *call = self->table.unsent; call; call = next) {
        next = call->next;
        if (call->asks == GI_ASKS_USER)
            gi_client_calls_fail(self, call, story);
    }
}
