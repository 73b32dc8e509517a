/* SPDX-License-Identifier: BSD-3-Clause */
/* client_answer.c -- what the broker answers: which call it is for, and what
 * becomes of it. A value, an item, an end, an exception, a chunk, credit; or
 * that the call was turned away unrun and is tried again. */
#include "client/client_impl.h"
#include "client/client_upload.h"

#include <string.h>
#include "base/err.h"
#include "base/identity.h"
#include "base/mem.h"

#define S_COPY_MAX 1024  /* answers up to this are copied, larger ones kept */
#define S_PAUSE_MAX 2000 /* ms between two tries */

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

static void s_let_in(gate_client_t *self) {
    bool news = !self->ready || self->trouble != GI_TROUBLE_NONE;
    self->ready = self->reached = true;
    if (news)
        gi_client_trouble(self, GI_TROUBLE_NONE);
}

static void s_own_answer(gate_client_t *self, gi_pending_t *p,
                         zmq_msg_t *body) {
    gate_value_t *value = NULL;
    gate_err_t e = gi_rpc_take_reply(zmq_msg_data(body), zmq_msg_size(body),
                                     NULL, NULL, self->settings, &value);
    if (e == GATE_REFUSED) {
        gi_error_set(&self->refused, gate_error());
        gi_client_trouble(self, GI_TROUBLE_REFUSED);
    } else {
        s_let_in(self);
    }
    if (p->asks == GI_ASKS_INFO) {
        self->known = !s_passes(e);
        if (!e)
            s_learn(self, gate_value_object(value));
    }
    gate_value_destroy(&value);
    gi_pending_done(p);
}

/* ---- another try --------------------------------------------------------- */
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
    gi_pending_pause(p, at);
    return true;
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
        gi_pending_fail_text(p, GATE_NOMEM, "no memory for an answer");
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
    gi_pending_tell_cancel(p);
    gi_pending_fail_text(p, GATE_BADARG,
                         "the method streams: open it with gate_client_open");
}

void gi_pending_abort(gi_pending_t *p) {
    gate_error_t story = *gate_error();
    gi_pending_tell_cancel(p);
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
    gi_client_add_ext(self, &ext);
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
    gi_pending_t *p = gi_pending_find(self, view[m.request_id]);
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
