/* SPDX-License-Identifier: BSD-3-Clause */
/* service_local.c -- calls that came without a socket: from the caller's
 * thread into the mailbox, the answer straight into its future or stream. */
#include "service_impl.h"

#include <string.h>
#include "clock.h"
#include "err.h"
#include "mem.h"

/* ---- calls of this process
 * ---------------------------------------------------- */
static gate_err_t s_control(gi_scall_t *c, gi_smail_kind_t kind, size_t items,
                            size_t bytes, int64_t timeout_ms) {
    gi_scontrol_t *control = gi_mem_alloc(sizeof *control);
    if (!control)
        return GATE_NOMEM;
    *control = (gi_scontrol_t){{kind}, c, items, bytes};
    gi_ref_take(&c->refs);
    gate_err_t e =
        gi_mailbox_push(c->service->mailbox, &control->mail, timeout_ms);
    if (e) {
        gi_scall_drop(c);
        gi_mem_free(control);
    }
    return e;
}

static void s_local_cancel(void *ctx, gate_future_t *future) {
    (void)future;
    gate_err_t e = s_control(ctx, GI_SMAIL_CANCEL, 0, 0, 0);
    (void)e; /* full or closed: it ends by itself, its answer is dropped */
}

static void s_local_credit(void *ctx, size_t items, size_t bytes) {
    gi_scall_t *c = ctx;
    if (s_control(c, GI_SMAIL_CREDIT, items, bytes, 100))
        gi_credit_give(&c->credit, (int64_t)items, (int64_t)bytes);
}

static void s_local_stop(void *ctx) { s_local_cancel(ctx, NULL); }

static const gi_stream_ops_t s_stream_ops = {s_local_credit, s_local_stop};

static void s_release_service(void *service) { gi_service_release(service); }

/* The reading end, for the caller; our end stays in the call. */
static bool s_open_local(gi_scall_t *c, int64_t item_timeout_ms,
                         gate_future_t **future, gate_stream_t **stream) {
    gate_service_t *self = c->service;
    if (stream) {
        gi_stream_options_t options = {
            .timeout_ms = item_timeout_ms,
            .max_items = (size_t)self->settings->stream_reply_maxsize,
            .max_bytes = (size_t)self->settings->stream_max_bytes,
            .ops = &s_stream_ops,
            .ctx = c,
            .release_owner = s_release_service,
            .owner = gi_service_share(self)};
        c->stream = *stream = gi_stream_new(self->settings, &options);
    } else {
        c->future = *future = gi_future_new(self->settings, s_release_service,
                                            gi_service_share(self));
        if (c->future)
            gi_future_on_cancel(c->future, s_local_cancel, c);
    }
    if (!c->stream && !c->future)
        gi_service_release(self);
    return c->stream || c->future;
}

/* The code is not GATE_BUSY, or the caller would try the sockets. */
static gate_err_t s_too_many(const gate_settings_t *s) {
    char text[128];
    snprintf(text, sizeof text,
             "More than rate_limit_user = %lld calls/s of the local user.",
             (long long)s->rate_limit_user);
    return gi_err_story(GATE_REFUSED, "BusyWorkerError", text, "");
}

/* The rules that hold at a broker hold here too (architecture: same process).
 */
static gate_err_t s_permit(gate_service_t *self, gate_bytes_t func_frame) {
    const char *user = self->settings->local_user;
    gate_bytes_t func, name = {self->name, strlen(self->name)};
    gate_err_t e = GATE_OK;
    if (self->ruled) {
        e = gi_rpc_parse_func(func_frame, &func);
        if (!e &&
            !gi_access_allows(gi_runtime_access(self->rt), user, name, func))
            e = gi_err(GATE_REFUSED, "%s%s may not call %s.%.*s.",
                       *user ? "User " : "Who is not authenticated", user,
                       self->name, (int)func.size, (const char *)func.data);
    }
    if (!e && !gi_runtime_rate(self->rt, gi_clock_ms()))
        e = s_too_many(self->settings);
    if (e)
        gi_gauge_enter(&self->local_refused, INT64_MAX);
    return e;
}

gate_err_t gi_service_call_local(gate_service_t *self, unsigned char *packed,
                                 const gi_rpc_request_t *request,
                                 int64_t deadline_ms, int64_t item_timeout_ms,
                                 gate_future_t **future,
                                 gate_stream_t **stream) {
    gate_err_t no = s_permit(self, (gate_bytes_t){packed, request->func_size});
    if (no)
        return no;
    if (!gi_gauge_enter(&self->local, self->settings->local_max))
        return gi_err(GATE_BUSY, "service %s: local_max calls are in flight",
                      self->name);
    gi_scall_t *c = gi_scall_alloc(self);
    if (!c || !s_open_local(c, item_timeout_ms, future, stream)) {
        if (c)
            gi_scall_drop(c);
        gi_gauge_leave(&self->local);
        return gi_err(GATE_NOMEM, "no memory for a call");
    }
    c->packed = packed;
    c->call.args_packed =
        (gate_bytes_t){packed + request->func_size, request->args_size};
    c->call.kwargs_packed = (gate_bytes_t){
        packed + request->func_size + request->args_size, request->kwargs_size};
    c->call.args_huge = gi_rpc_args_huge(self->settings, request);
    c->item_timeout_ms = item_timeout_ms;
    if (!stream)
        c->call.deadline_ms = deadline_ms;
    c->call.user = self->settings->local_user;
    c->credited = true;
    c->credit.items = self->settings->stream_reply_maxsize;
    c->credit.bytes = self->settings->stream_max_bytes;
    c->mail.kind = GI_SMAIL_LOCAL;
    c->local_func = (gate_bytes_t){packed, request->func_size};
    gate_err_t e = gi_mailbox_push(self->mailbox, &c->mail, 0);
    if (!e)
        return GATE_OK;
    (void)gi_err(e, "service %s: %s", self->name,
                 e == GATE_BUSY ? "its mailbox is full" : "it stops");
    c->packed = NULL; /* the caller keeps it */
    gi_gauge_leave(&self->local);
    if (c->future) {
        gi_future_fail(c->future, gate_error());
        c->future = NULL;
        gate_future_destroy(future);
    } else {
        gi_stream_fail(c->stream, gate_error());
        gi_stream_release(&c->stream);
        gate_stream_destroy(stream);
    }
    gi_scall_drop(c);
    return gate_error()->code;
}

void gi_scall_local(gi_scall_t *c) {
    if (c->service->stopping || c->service->draining) {
        gi_scall_refuse(c, GATE_NOSERVICE, NULL, "the service is leaving");
        return;
    }
    gi_scall_dispatch(c, c->local_func);
}
