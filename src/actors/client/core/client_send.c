/* SPDX-License-Identifier: BSD-3-Clause */
/* client_send.c -- what goes to the broker about calls: requests, cancels,
 * credit, chunks of arguments (docs/wire.md, docs/extensions.md). One message is
 * made at a time, in core->out; what the socket does not take is told by its
 * errno and never kept here. */
#include "client/core/client_state.h"

#include <errno.h>
#include <string.h>
#include "base/bytes.h"

#define S_ANNOUNCE_EVERY 31
#define S_NO_ARGS "\x90" /* packed: an empty array, an empty map */
#define S_NO_KWARGS "\x80"

/* ---- envelopes ----------------------------------------------------------- */
/* "" MDPC01 service {zap} in core->out. */
static gi_frames_t *s_begin(gi_client_core_t *self, gate_bytes_t service) {
    gi_frames_t *out = &self->out;
    gi_frames_close(out);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_add_const(out, GI_FRAME_CLIENT_TAG);
    gi_frames_add(out, service.data, service.size);
    gi_login_frames(self->is.login, out);
    return out;
}

/* 0 or an errno; out is empty then. */
static int s_put(gi_client_core_t *self, uint8_t conn) {
    bool current = conn == 0;
    self->out.packed = current && self->link.packs; /* either form is read */
    self->out.batched = current && self->link.batches;
    int rc = current && !self->link.open
                 ? EAGAIN
                 : self->effects->send(self->ctx, conn, &self->out);
    if (rc)
        gi_frames_close(&self->out);
    else if (current)
        self->link.sent_ms = self->now_ms;
    return rc;
}

static void s_add_ext(gi_client_core_t *self, const gi_ext_t *ext) {
    gi_buf_reset(&self->scratch, 4096);
    if (!gi_ext_pack(&self->scratch, ext))
        gi_frames_add(&self->out, self->scratch.data, self->scratch.size);
}

/* ---- sending ------------------------------------------------------------- */
static void s_announce(const gi_client_core_t *self, const gi_ccall_t *call,
                       gi_ext_t *ext) {
    gi_ext_init(ext);
    ext->huge = true;
    ext->codecs = (gate_bytes_t){self->is.codecs, strlen(self->is.codecs)};
    if (!call->upload)
        return;
    ext->args_size = (int64_t)call->args_size;
    ext->kwargs_size = (int64_t)call->kwargs_size;
    ext->args_codec = (gate_bytes_t){call->codec, strlen(call->codec)};
}

/* A worker hears it: what the broker answers itself would tell nobody. */
static bool s_for_worker(const gi_client_core_t *self, const gi_ccall_t *call) {
    const char *own = gi_settings_internal(self->is.settings);
    return call->asks == GI_ASKS_USER && !gi_bytes_is(call->service, own);
}

/* Credit, its deadline, metadata (one that is traced has some), the size of an
 * upload: an extension frame must say it. */
static bool s_goes_along(const gi_ccall_t *call) {
    return call->stream || call->deadline_travels || call->request.meta_size ||
           call->upload;
}

/* A broker that has answered the question behind that one and not that will say
 * nothing any more. */
bool gi_client_send_waits(const gi_client_core_t *self,
                          const gi_ccall_t *call) {
    const gi_clink_t *l = &self->link;
    return call->asks == GI_ASKS_USER && !l->informed &&
           (call->upload || (!l->ready && s_goes_along(call)));
}

/* What we read is said along with what must be said, else now and then: a frame
 * costs as much as a tenth of a call. The number is odd, so that workers that
 * take turns are all told. */
static void s_transmit_ext(gi_client_core_t *self, gi_ccall_t *call,
                           const unsigned char *meta) {
    bool announce = s_for_worker(self, call) &&
                    self->link.n_requests++ % S_ANNOUNCE_EVERY == 0;
    gi_ext_t ext;
    if (!announce && !s_goes_along(call))
        return;
    s_announce(self, call, &ext);
    ext.traced = call->traced && self->link.traces;
    ext.meta = (gate_bytes_t){meta, call->request.meta_size};
    if (call->stream) {
        ext.credit_items = gi_client_window(self->is.settings);
        ext.credit_bytes = self->is.settings->stream_max_bytes;
        ext.rows = self->link.rows;
    } else if (call->deadline_travels) {
        ext.timeout_ms = call->deadline_ms - self->now_ms;
        if (ext.timeout_ms < 0)
            ext.timeout_ms = 0;
    }
    s_add_ext(self, &ext);
}

/* libzmq would close our connection, and with it all calls that we have. */
bool gi_client_send_exceeds(gi_client_core_t *self, const gi_ccall_t *call) {
    const gi_rpc_request_t *r = &call->request;
    size_t size = r->args_size > r->kwargs_size ? r->args_size : r->kwargs_size;
    if (call->upload || !self->link.frame_max ||
        (int64_t)size <= self->link.frame_max)
        return false;
    (void)gi_err(GATE_TOOBIG,
                 "arguments of %zu bytes: the broker at %s takes %lld in a "
                 "frame (its message_bytes_max)",
                 size, self->is.endpoint, (long long)self->link.frame_max);
    return true;
}

int gi_client_send_request(gi_client_core_t *self, gi_ccall_t *call) {
    const gi_rpc_request_t *r = &call->request;
    const unsigned char *at = call->body;
    gi_frames_t *out = s_begin(self, call->service);
    gi_frames_add(out, call->id, sizeof call->id);
    gi_frames_add(out, at, r->func_size);
    at += r->func_size;
    if (call->upload) {
        gi_frames_add(out, S_NO_ARGS, 1);
        gi_frames_add(out, S_NO_KWARGS, 1);
    } else {
        gi_frames_add(out, at, r->args_size);
        at += r->args_size;
        gi_frames_add(out, at, r->kwargs_size);
        at += r->kwargs_size;
    }
    if (self->link.ext)
        s_transmit_ext(self, call, at);
    return s_put(self, 0);
}

/* ---- about a call under way ---------------------------------------------- */
/* To a broker that knows GX1. Of a call whose connection was cut it hears on the
 * next one, under the same routing id, that it is over, and nothing else. False:
 * the socket would not take it. */
static bool s_tell(gi_client_core_t *self, gi_ccall_t *call,
                   const gi_ext_t *ext) {
    if (!(self->link.ext || call->former) || call->state != GI_CCALL_SENT ||
        (call->cut && !ext->cancel))
        return true;
    gi_frames_add(s_begin(self, call->service), call->id, sizeof call->id);
    s_add_ext(self, ext);
    if (!s_put(self, call->former))
        return true;
    self->count.dropped++;
    return false;
}

void gi_client_send_cancel(gi_client_core_t *self, gi_ccall_t *call) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    ext.cancel = true;
    s_tell(self, call, &ext);
}

void gi_client_send_disown(gi_client_core_t *self, gate_bytes_t service,
                           gate_bytes_t id) {
    gi_ext_t ext;
    if (!self->link.ext)
        return;
    gi_ext_init(&ext);
    ext.cancel = true;
    gi_frames_add(s_begin(self, service), id.data, id.size);
    s_add_ext(self, &ext);
    s_put(self, 0);
}

/* What the socket does not take is owed, and paid with the next or soon. */
void gi_client_send_credit(gi_client_core_t *self, gi_ccall_t *call,
                           size_t items, size_t bytes) {
    gi_ext_t ext;
    if (call->state != GI_CCALL_SENT)
        return;
    gi_ext_init(&ext);
    ext.credit_items = (int64_t)(items + call->owed_items);
    ext.credit_bytes = (int64_t)(bytes + call->owed_bytes);
    call->owed_items = call->owed_bytes = 0;
    if (s_tell(self, call, &ext))
        return;
    call->owed_items = (size_t)ext.credit_items;
    call->owed_bytes = (size_t)ext.credit_bytes;
    gi_client_calls_arm(self, call);
}

void gi_client_core_credit(gi_client_core_t *self, gi_ccall_t *call,
                           size_t items, size_t bytes, int64_t now_ms) {
    self->now_ms = now_ms;
    gi_client_send_credit(self, call, items, bytes);
}

/* ---- uploads ------------------------------------------------------------- */
bool gi_client_core_may_upload(const gi_client_core_t *self,
                               const gi_ccall_t *call) {
    return call->upload == GI_CUPLOAD_RUNS && call->upload_credit > 0 &&
           call->state == GI_CCALL_SENT && !call->cut && self->link.up;
}

gate_err_t gi_client_core_upload(gi_client_core_t *self, gi_ccall_t *call,
                                 gate_bytes_t chunk) {
    bool end = !chunk.data;
    if (!end && self->link.frame_max &&
        (int64_t)chunk.size > self->link.frame_max)
        return gi_err(GATE_TOOBIG,
                      "a chunk of %zu bytes of huge arguments: the broker "
                      "takes %lld (its message_bytes_max)",
                      chunk.size, (long long)self->link.frame_max);
    if (end)
        chunk = (gate_bytes_t){GI_HUGE_END, strlen(GI_HUGE_END)};
    gi_frames_t *out = s_begin(self, call->service);
    if (!gi_frames_add(out, call->id, sizeof call->id) ||
        !gi_frames_add(out, GI_HUGE_TAG, strlen(GI_HUGE_TAG)) ||
        !gi_frames_add(out, chunk.data, chunk.size)) {
        gi_frames_close(out);
        return gi_err(GATE_NOMEM, "no memory for a chunk of arguments");
    }
    if (s_put(self, call->former))
        return GATE_WOULDBLOCK;
    if (end)
        call->upload = GI_CUPLOAD_OVER;
    else
        call->upload_credit -= (int64_t)chunk.size;
    return GATE_OK;
}
