/* SPDX-License-Identifier: BSD-3-Clause */
/* service_call.c -- requests from a broker: what one says becomes a call, which
 * the core (service/core/life.c) takes from there.
 * Law: each request that was taken is answered once, whatever happens
 * (docs/wire.md: a worker's slot is lost for ever otherwise). */
#include "service/service_own.h"
#include "service/service_run.h"

#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/moment.h"
#include "base/origin.h"
#include "wire/meta.h"
#include "wire/packed.h"

void gi_scall_refuse(gi_scall_t *c, gate_err_t code, const char *cls,
                     const char *text) {
    gate_error_t story = {code, cls ? cls : gi_err_class(code), text, GI_UNRUN};
    story = gi_scall_as_remote(&story);
    gi_life_refuse(&c->life, &story);
}

/* ---- requests ------------------------------------------------------------ */
/* Finds the method and starts; func and the packed arguments are in place. */
void gi_scall_dispatch(gi_scall_t *c, gate_bytes_t func_frame) {
    gate_service_t *self = c->service;
    gate_bytes_t func;
    gate_err_t e = gi_rpc_parse_func(func_frame, &func);
    if (e) {
        gi_scall_refuse(c, e, NULL, gate_error()->text);
        return;
    }
    size_t n = func.size < sizeof c->method_name - 1
                   ? func.size
                   : sizeof c->method_name - 1;
    memcpy(c->method_name, func.data, n);
    c->method_name[n] = 0;
    c->call.method = c->life.method = c->method_name;
    c->method = gi_service_method(self, func);
    if (!c->method) {
        char text[256];
        snprintf(text, sizeof text, "service %s has no method '%.*s'",
                 self->is.name, (int)n, c->method_name);
        gi_scall_refuse(c, GATE_NOMETHOD, NULL, text);
        return;
    }
    c->call.ctx = c->method->ctx;
    c->life.counts = &c->method->counts;
    c->life.in_place = c->method->runs == GATE_INLINE;
    c->life.lends = c->method->runs == GATE_PROCESS;
    c->life.urgent =
        c->call.meta.size && gate_call_priority(&c->call) == GATE_HIGH;
    c->life.deadline_ms = c->call.deadline_ms;
    gi_life_arrive(&c->life);
}

/* Metadata that is out of bounds counts as none. */
void gi_scall_meta(gi_scall_t *c, gate_bytes_t packed) {
    char *flat = packed.size && packed.size <= GI_META_BYTES_MAX
                     ? gi_arena_alloc(&c->call.arena, packed.size)
                     : NULL;
    size_t size = flat ? gi_meta_flatten(packed, flat) : 0;
    c->call.meta = (gate_bytes_t){flat, size};
}

static gate_err_t s_take_ext(gi_scall_t *c, gate_bytes_t frame) {
    gi_ext_t ext;
    if (gi_ext_parse(frame, &ext)) {
        c->service->own->stats.dropped++;
        return GATE_OK;
    }
    if (ext.timeout_ms >= 0)
        c->call.deadline_ms =
            gi_time_after(c->service->own->core.now_ms, ext.timeout_ms);
    if (ext.attempt)
        c->call.attempt = ext.attempt;
    if (ext.user.size && c->link->ext) { /* else it may be anybody's word */
        char *user = gi_arena_alloc(&c->call.arena, ext.user.size + 1);
        if (user) {
            memcpy(user, ext.user.data, ext.user.size);
            user[ext.user.size] = 0;
            c->call.user = user;
        }
    }
    if (ext.meta.size)
        gi_scall_meta(c, ext.meta);
    if (ext.traced && c->link->traces)
        gi_service_trace_begin(c, NULL);
    if (ext.huge)
        gi_readers_note(c->service, c->link, c->call.client, ext.codecs);
    if (ext.credit_items >= 0 || ext.credit_bytes >= 0) {
        c->life.credited = true;
        c->life.credit.items =
            ext.credit_items >= 0 ? ext.credit_items : GI_CREDIT_FREE;
        c->life.credit.bytes =
            ext.credit_bytes >= 0 ? ext.credit_bytes : GI_CREDIT_FREE;
        c->rows = ext.rows && c->link->rows;
    }
    c->life.gathers = ext.args_size >= 0;
    return c->life.gathers ? gi_sargs_expect(c, &ext) : GATE_OK;
}

/* Not even a call can be made of it. */
static void s_no_memory(gi_link_t *link, unsigned client_id,
                        unsigned request_id) {
    gate_service_t *self = link->service;
    self->own->stats.dropped++;
    gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    gi_frames_t *out = gi_link_send_begin(link, GI_MDP_REPLY);
    gi_frames_pass(out, &self->own->in, client_id);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_pass(out, &self->own->in, request_id);
    if (gi_rpc_pack_exception(&self->own->scratch, "MemoryError",
                              "no memory for the call", ""))
        out->broken = true;
    else
        gi_frames_add(out, self->own->scratch.data, self->own->scratch.size);
    gi_link_send(link);
}

/* Frame i for as long as the call lives: small ones lie in the call itself. */
static bool s_keep(gi_scall_t *c, gi_frames_t *in, unsigned i,
                   gate_bytes_t *out) {
    gate_bytes_t view = gi_frames_at(in, i);
    if (view.size <= sizeof c->kept - c->n_kept) {
        *out = (gate_bytes_t){c->kept + c->n_kept, view.size};
        gi_copy_short(c->kept + c->n_kept, view.data, view.size);
        c->n_kept += (unsigned)view.size;
        return true;
    }
    zmq_msg_t *large = &c->large[c->n_large];
    if (!gi_frames_take(in, i, large))
        return false;
    c->n_large++;
    *out = (gate_bytes_t){zmq_msg_data(large), view.size};
    return true;
}

void gi_scall_request(gi_link_t *link, const gate_bytes_t *view,
                      unsigned client_id, unsigned request_id, unsigned body,
                      unsigned n_body) {
    gate_service_t *self = link->service;
    gi_frames_t *in = &self->own->in;
    gi_scall_t *c = gi_scall_new(self);
    if (!c) {
        s_no_memory(link, client_id, request_id);
        return;
    }
    c->link = link;
    c->epoch = link->epoch;
    c->life.owner = link;
    c->life.remote = true;
    c->life.credit.items = self->is.settings->stream_reply_maxsize;
    c->life.credit.bytes = self->is.settings->stream_max_bytes;
    if (!s_keep(c, in, client_id, &c->client_id) ||
        !s_keep(c, in, request_id, &c->request_id)) {
        gi_scall_free(c);
        s_no_memory(link, client_id, request_id);
        return;
    }
    c->call.client = c->client_id;
    if (n_body && gi_ext_is(view[body + n_body - 1])) {
        gate_err_t e = s_take_ext(c, view[body + n_body - 1]);
        if (e) {
            gi_scall_refuse(c, e, NULL, gate_error()->text);
            return;
        }
        n_body--;
    }
    if (n_body < 1 || n_body > 3) {
        gi_scall_refuse(c, GATE_BADDATA, NULL,
                        "a request has 1 to 3 frames: func, args, kwargs");
        return;
    }
    if ((n_body > 1 && !s_keep(c, in, body + 1, &c->call.args_packed)) ||
        (n_body > 2 && !s_keep(c, in, body + 2, &c->call.kwargs_packed))) {
        gi_scall_refuse(c, GATE_NOMEM, NULL, "no memory for the arguments");
        return;
    }
    gi_scall_dispatch(c, view[body]);
}
