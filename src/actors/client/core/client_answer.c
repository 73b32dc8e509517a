/* SPDX-License-Identifier: BSD-3-Clause */
/* client_answer.c -- what the broker answers, from the frames to the outcome:
 * which call it is for, and what becomes of it. A value, an item, an end, an
 * exception, a chunk, credit; or that the call was turned away unrun and is
 * tried again. Each kind of docs/wire.md's answers has its function here, and
 * gi_client_answer chooses. */
#include "client/core/client_state.h"

#include <stdlib.h>
#include <string.h>
#include "base/origin.h"
#include "wire/mdp.h"
#include "wire/row.h"

#define S_PAUSE_MAX 2000 /* ms between two tries */

/* ---- what the core itself asked ------------------------------------------ */
static bool s_is_name(const msgpack_object *o, const char *text) {
    return o->type == MSGPACK_OBJECT_STR && o->via.str.size == strlen(text) &&
           memcmp(o->via.str.ptr, text, strlen(text)) == 0;
}

/* "MB1048576": what a frame to it may have. */
static int64_t s_bound(const msgpack_object *name) {
    char digits[20] = "", *end;
    if (name->type != MSGPACK_OBJECT_STR || name->via.str.size < 3 ||
        name->via.str.size > sizeof digits + 1 ||
        memcmp(name->via.str.ptr, "MB", 2) != 0)
        return 0;
    memcpy(digits, name->via.str.ptr + 2, name->via.str.size - 2);
    digits[sizeof digits - 1] = 0;
    long long max = strtoll(digits, &end, 10);
    return max > 0 && !*end ? max : 0;
}

static bool s_is_offer(const msgpack_object *name) {
    return name->type == MSGPACK_OBJECT_STR &&
           name->via.str.size > strlen(GI_LANE_NAME) &&
           memcmp(name->via.str.ptr, GI_LANE_NAME, strlen(GI_LANE_NAME)) == 0;
}

static void s_learn_name(gi_client_core_t *self, const msgpack_object *name) {
    if (s_is_name(name, "GX1"))
        self->link.ext = true;
    else if (s_is_name(name, "HA1"))
        self->link.ext_args = true;
    else if (s_is_name(name, "TR1"))
        self->link.traces = true;
    else if (s_is_name(name, "GXP"))
        self->link.packs = self->is.settings->packed;
    else if (self->effects->offered && s_is_offer(name))
        self->effects->offered(
            self->ctx, (gate_bytes_t){name->via.str.ptr + strlen(GI_LANE_NAME),
                                      name->via.str.size -
                                          (uint32_t)strlen(GI_LANE_NAME)});
    else if (s_is_name(name, "GXB"))
        self->link.batches = self->is.settings->packed;
    else if (s_is_name(name, "GXI"))
        self->link.rows = self->is.settings->packed &&
                          self->is.settings->message_bytes_max >= GI_ROW_BYTES;
    else if (s_bound(name))
        self->link.frame_max = s_bound(name);
}

/* Calls whose connection was cut wait for their answers. Another life of the
 * broker has none of them: they end with the next tick. */
static void s_meet(gi_client_core_t *self, const msgpack_object *id) {
    gi_clink_t *l = &self->link;
    if (id->type != MSGPACK_OBJECT_BIN || id->via.bin.size != GI_ID_SIZE)
        return;
    bool another =
        l->met && memcmp(l->broker, id->via.bin.ptr, GI_ID_SIZE) != 0;
    memcpy(l->broker, id->via.bin.ptr, GI_ID_SIZE);
    l->met = true;
    for (gi_ccall_t *c = self->table.sent; another && c; c = c->next)
        if (c->cut && !c->unheard)
            gi_wheel_arm(self->wheel, &c->timer, self->now_ms);
}

/* What Gate.info says: who is it, does it speak our extensions? */
static void s_learn(gi_client_core_t *self, const msgpack_object *info) {
    if (info->type != MSGPACK_OBJECT_MAP)
        return;
    for (uint32_t i = 0; i < info->via.map.size; i++) {
        const msgpack_object_kv *kv = &info->via.map.ptr[i];
        if (s_is_name(&kv->key, "my_id"))
            s_meet(self, &kv->val);
        if (!s_is_name(&kv->key, "ext") || kv->val.type != MSGPACK_OBJECT_ARRAY)
            continue;
        for (uint32_t j = 0; j < kv->val.via.array.size; j++)
            s_learn_name(self, &kv->val.via.array.ptr[j]);
    }
}

/* No memory here or there, too much work, nobody who could authenticate us. */
static bool s_passes(gate_err_t e) {
    return e == GATE_NOMEM || e == GATE_BUSY || e == GATE_NOSERVICE ||
           (e == GATE_RAISED && strcmp(gate_error()->cls, "MemoryError") == 0);
}

static void s_let_in(gi_client_core_t *self) {
    bool news = !self->link.ready || self->trouble != GI_TROUBLE_NONE;
    self->link.ready = true;
    if (news)
        gi_client_trouble(self, GI_TROUBLE_NONE);
}

static void s_own_answer(gi_client_core_t *self, gi_ccall_t *call,
                         gate_bytes_t body) {
    gate_value_t *value = NULL;
    gate_err_t e = gi_rpc_take_reply(body.data, body.size, NULL, NULL,
                                     self->is.settings, &value);
    if (e == GATE_REFUSED) {
        gi_error_set(&self->refused, gate_error());
        gi_client_trouble(self, GI_TROUBLE_REFUSED);
    } else {
        s_let_in(self);
    }
    if (call->asks == GI_ASKS_INFO) {
        self->link.known = !s_passes(e);
        if (!e)
            s_learn(self, gate_value_object(value));
        if (self->link.known)
            gi_client_calls_mourn(self);
    }
    gate_value_destroy(&value);
    gi_client_calls_done(self, call);
}

/* ---- another try --------------------------------------------------------- */
static unsigned s_random_byte(gi_client_core_t *self) {
    self->seed ^= self->seed << 13; /* xorshift64 */
    self->seed ^= self->seed >> 7;
    self->seed ^= self->seed << 17;
    return (unsigned)(self->seed >> 32) & 255;
}

/* The pause before it, and somewhat more or less, so that callers that were
 * turned away together do not come back together. */
static int64_t s_pause(gi_client_core_t *self, gi_ccall_t *call) {
    int64_t pause =
        call->pause_ms / 2 + call->pause_ms * s_random_byte(self) / 255;
    if (call->pause_ms < S_PAUSE_MAX)
        call->pause_ms *= 2;
    return pause > 0 ? pause : 1;
}

/* The answer says that the call did not run, and may be tried again. */
static bool s_turned_away(gi_client_core_t *self, gate_bytes_t body) {
    gate_value_t *value = NULL;
    gate_err_t e = gi_rpc_take_reply(body.data, body.size, NULL, NULL,
                                     self->is.settings, &value);
    gate_value_destroy(&value);
    return (e == GATE_NOSERVICE || e == GATE_BUSY) &&
           gi_origin_of(gate_error()->traceback) == GI_ORIGIN_UNRUN;
}

/* False: the answer stands. */
static bool s_again(gi_client_core_t *self, gi_ccall_t *call,
                    gate_bytes_t body) {
    if (call->retries <= 0 || call->stream || call->chunks ||
        call->upload > GI_CUPLOAD_WAITS || !s_turned_away(self, body))
        return false;
    int64_t at = self->now_ms + s_pause(self, call);
    if (at >= call->deadline_ms)
        return false;
    if (self->retry_budget < 1) {
        self->count.retries_denied++;
        return false;
    }
    self->retry_budget -= 1;
    self->count.retries++;
    call->retries--;
    gi_client_calls_pause(self, call, at);
    return true;
}

/* ---- results, items, ends ------------------------------------------------ */
static void s_single(gi_client_core_t *self, gi_ccall_t *call, gi_frames_t *in,
                     unsigned at) {
    gate_bytes_t body = gi_frames_at(in, at);
    if (call->asks != GI_ASKS_USER) {
        s_own_answer(self, call, body);
        return;
    }
    if (s_again(self, call, body))
        return;
    self->count.answers++;
    if (self->effects->answer(self->ctx, call, in, at))
        gi_client_calls_fail_text(self, call, GATE_NOMEM,
                                  "no memory for an answer");
    else
        gi_client_calls_done(self, call);
}

static void s_not_a_stream(gi_client_core_t *self, gi_ccall_t *call) {
    gi_client_send_cancel(self, call);
    gi_client_calls_fail_text(
        self, call, GATE_BADARG,
        "the method streams: open it with gate_client_open (Python: .stream)");
}

static void s_push(gi_client_core_t *self, gi_ccall_t *call, gi_frames_t *in,
                   unsigned at) {
    if (self->effects->item(self->ctx, call, in, at))
        gi_client_calls_abort(self, call);
}

static void s_item(gi_client_core_t *self, gi_ccall_t *call, gi_frames_t *in,
                   unsigned at) {
    if (!call->stream) {
        s_not_a_stream(self, call);
        return;
    }
    self->count.items++;
    s_push(self, call, in, at);
}

static void s_row(gi_client_core_t *self, gi_ccall_t *call, gate_bytes_t row) {
    gate_bytes_t item;
    gate_err_t e = GATE_OK;
    if (!call->stream) {
        s_not_a_stream(self, call);
        return;
    }
    while (!e && gi_row_next(&row, &item)) {
        self->count.items++;
        e = self->effects->row_item(self->ctx, call, item);
    }
    if (e)
        gi_client_calls_abort(self, call);
}

static void s_end(gi_client_core_t *self, gi_ccall_t *call) {
    if (!call->stream) {
        s_not_a_stream(self, call);
        return;
    }
    self->effects->end(self->ctx, call);
    gi_client_calls_done(self, call);
}

static void s_exception(gi_client_core_t *self, gi_ccall_t *call,
                        gate_bytes_t triple) {
    gate_err_t e = gi_rpc_publish_triple(triple, self->is.settings);
    (void)e;
    gi_client_calls_fail(self, call, gate_error());
}

/* ---- huge answers (docs/wire.md, huge data) ------------------------------ */
/* To a single result the first chunks come uncalled for; what it may have
 * beyond them is shared by all that come in at a time (docs/extensions.md). */
static void s_open_window(gi_client_core_t *self, gi_ccall_t *call) {
    size_t share =
        (size_t)self->is.settings->huge_window_bytes / (self->n_inflating + 1);
    if (self->link.ext)
        gi_client_send_credit(
            self, call, 0, share > GI_HUGE_FIRST ? share - GI_HUGE_FIRST : 1);
}

static gate_err_t s_huge_begin(gi_client_core_t *self, gi_ccall_t *call,
                               const gate_bytes_t *body, size_t n) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    if (n > 2 && gi_ext_parse(body[2], &ext))
        return GATE_BADDATA;
    gate_err_t e = self->effects->huge(self->ctx, call, &ext);
    call->chunks = !e;
    if (e || call->stream)
        return e;
    call->inflates = true;
    self->n_inflating++;
    s_open_window(self, call);
    return GATE_OK;
}

/* One without bytes is no sign of life: without end it is silence. */
static void s_chunk(gi_client_core_t *self, gi_ccall_t *call, gi_frames_t *in,
                    unsigned at) {
    if (!gi_frames_at(in, at).size) {
        if (call->stream)
            gi_client_send_credit(self, call, 1, 0);
        return;
    }
    if (call->stream) {
        s_push(self, call, in, at);
        return;
    }
    gi_client_calls_alive(self, call);
    if (self->effects->chunk(self->ctx, call, in, at))
        gi_client_calls_abort(self, call);
}

static void s_huge_end(gi_client_core_t *self, gi_ccall_t *call) {
    if (call->stream) {
        self->count.answers++;
        self->effects->end(self->ctx, call);
        gi_client_calls_done(self, call);
    } else if (self->effects->chunks_end(self->ctx, call)) {
        gi_client_calls_abort(self, call);
    }
}

/* A Python broker sends the triple behind it, as if it were a chunk. */
static void s_huge_exception(gi_client_core_t *self, gi_ccall_t *call,
                             const gate_bytes_t *body, size_t n) {
    if (n > 2)
        s_exception(self, call, body[2]);
    else if (self->link.ext)
        s_exception(self, call, (gate_bytes_t){NULL, 0});
    else
        call->triple_follows = true;
}

static void s_huge(gi_client_core_t *self, gi_ccall_t *call, gi_frames_t *in,
                   const gi_mdp_reply_t *m, gi_body_kind_t kind) {
    const gate_bytes_t *body = gi_frames_views(in) + m->body;
    size_t n = m->n_body;
    if (call->triple_follows)
        s_exception(self, call, body[1]);
    else if (kind == GI_BODY_HUGE_EXCEPTION)
        s_huge_exception(self, call, body, n);
    else if (!call->chunks && s_huge_begin(self, call, body, n))
        gi_client_calls_abort(self, call);
    else if (kind == GI_BODY_CHUNK)
        s_chunk(self, call, in, m->body + 1);
    else
        s_huge_end(self, call);
}

/* ---- extension frames ---------------------------------------------------- */
/* The worker has room for more of an upload. */
static void s_upload_credit(gi_client_core_t *self, gi_ccall_t *call,
                            gate_bytes_t frame) {
    gi_ext_t ext;
    bool first = call->upload == GI_CUPLOAD_WAITS;
    if ((!first && call->upload != GI_CUPLOAD_RUNS) || call->cut ||
        gi_ext_parse(frame, &ext) || ext.credit_bytes < 0) {
        self->count.dropped++;
        return;
    }
    gi_client_calls_alive(self, call);
    call->upload = GI_CUPLOAD_RUNS;
    if (ext.credit_bytes <= INT64_MAX / 2 - call->upload_credit)
        call->upload_credit += ext.credit_bytes;
    if (first && self->effects->upload(self->ctx, call))
        gi_client_calls_abort(self, call);
}

/* Not about a call: the request id is all zero, the body an extension frame. */
static bool s_notice(gi_client_core_t *self, gate_bytes_t id,
                     gate_bytes_t body) {
    static const unsigned char none[GI_ID_SIZE];
    gi_ext_t ext;
    if (id.size != sizeof none || memcmp(id.data, none, sizeof none) != 0 ||
        !gi_ext_is(body))
        return false;
    if (!gi_ext_parse(body, &ext) && ext.moved)
        gi_client_move(self);
    return true;
}

/* For none of our calls: a notice, or too late. Whoever waits for credit of one
 * that has ended need not wait. */
static void s_no_call(gi_client_core_t *self, const gate_bytes_t *view,
                      const gi_mdp_reply_t *m) {
    if (s_notice(self, view[m->request_id], view[m->body]))
        return;
    self->count.late++;
    if (m->n_body == 1 && gi_ext_is(view[m->body]) &&
        gi_client_slots_is_ours(self, view[m->request_id]))
        gi_client_send_disown(self, view[m->service], view[m->request_id]);
}

/* Our own questions have plain answers. */
static bool s_odd(gi_client_core_t *self, gi_ccall_t *call,
                  gi_body_kind_t kind) {
    if (call->asks == GI_ASKS_USER || kind == GI_BODY_SINGLE)
        return false;
    self->count.dropped++;
    gi_client_calls_done(self, call);
    return true;
}

/* The last frame of a traced call's last answer; it is taken off. */
static void s_times(gi_client_core_t *self, gi_ccall_t *call,
                    const gate_bytes_t *view, gi_mdp_reply_t *m) {
    gi_ext_t ext;
    gate_bytes_t last = view[m->body + m->n_body - 1];
    if (m->n_body < 2 || !gi_ext_is(last) || gi_ext_parse(last, &ext) ||
        ext.times.broker_us < 0)
        return;
    m->n_body--;
    self->effects->times(self->ctx, call, &ext.times);
}

/* A part of an answer after a cut: what came before it may be lost. The call ends
 * when its worker can be told, or has ended by itself. True: it was one. */
static bool s_torn(gi_client_core_t *self, gi_ccall_t *call,
                   gi_body_kind_t kind) {
    bool end = kind == GI_BODY_END || kind == GI_BODY_HUGE_END;
    bool part = end || kind == GI_BODY_ITEM || kind == GI_BODY_ROW ||
                kind == GI_BODY_CHUNK;
    if (!call->cut || !part)
        return false;
    self->count.dropped++;
    if (end || self->link.known)
        gi_client_calls_lost(self, call);
    return true;
}

/* ---- the choice ---------------------------------------------------------- */
void gi_client_answer(gi_client_core_t *self, gi_frames_t *in) {
    const gate_bytes_t *view = gi_frames_views(in);
    gi_mdp_reply_t m;
    if (gi_mdp_parse_reply(view, in->n, &m)) {
        self->count.dropped++;
        return;
    }
    if (!self->hearing)
        self->link.heard_ms = self->now_ms;
    gi_ccall_t *call = gi_client_slots_find(self, view[m.request_id]);
    if (!call) {
        s_no_call(self, view, &m);
        return;
    }
    if (call->state != GI_CCALL_SENT) { /* of an earlier try */
        self->count.late++;
        return;
    }
    if (call->traced)
        s_times(self, call, view, &m);
    gi_body_kind_t kind = gi_rpc_body_kind(view + m.body, m.n_body);
    if (s_odd(self, call, kind) || s_torn(self, call, kind))
        return;
    switch (kind) {
    case GI_BODY_SINGLE:
        if (gi_ext_is(view[m.body]))
            s_upload_credit(self, call, view[m.body]);
        else
            s_single(self, call, in, m.body);
        break;
    case GI_BODY_ITEM:
        s_item(self, call, in, m.body + 1);
        break;
    case GI_BODY_ROW:
        s_row(self, call, view[m.body + 1]);
        break;
    case GI_BODY_END:
        s_end(self, call);
        break;
    case GI_BODY_EXCEPTION:
        s_exception(self, call, view[m.body + 2]);
        break;
    case GI_BODY_CHUNK:
    case GI_BODY_HUGE_END:
    case GI_BODY_HUGE_EXCEPTION:
        s_huge(self, call, in, &m, kind);
        break;
    case GI_BODY_BAD:
        self->count.dropped++;
    }
}
