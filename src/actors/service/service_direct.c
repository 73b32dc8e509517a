/* SPDX-License-Identifier: BSD-3-Clause */
/* service_direct.c -- calls that came without a socket: from the caller's
 * thread into the mailbox, the answer straight into its future or stream. */
#include "service/service_own.h"
#include "service/service_run.h"

#include <string.h>
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- a reader's word ----------------------------------------------------- */
/* Each kind of mail is a member of the call: it costs no memory and takes one
 * reference with it. */
static gate_err_t s_tell(gi_scall_t *c, gi_smail_t *mail, gi_smail_kind_t kind,
                         int64_t timeout_ms) {
    mail->kind = kind;
    gi_ref_take(&c->refs);
    gate_err_t e = gi_service_post(c->service, mail, timeout_ms);
    if (e)
        gi_scall_drop(c);
    return e;
}

/* Adds up until the actor has read the last such mail. When that finds no room
 * it adds up as well: the next report, or the call's timer, tells of it. */
static void s_local_credit(void *ctx, size_t items, size_t bytes) {
    gi_scall_t *c = ctx;
    atomic_fetch_add(&c->owed.items, (int64_t)items);
    atomic_fetch_add(&c->owed.bytes, (int64_t)bytes);
    if (atomic_exchange(&c->owed.pending, true))
        return;
    if (s_tell(c, &c->credit_mail, GI_SMAIL_CREDIT, 100))
        atomic_store(&c->owed.pending, false);
}

static void s_local_stop(void *ctx) {
    gi_scall_t *c = ctx;
    if (s_tell(c, &c->cancel_mail, GI_SMAIL_CANCEL, 100)) {
        /* full or closed: its next item or its timer finds the reader gone */
    }
}

static const gi_stream_ops_t s_stream_ops = {.credit = s_local_credit,
                                             .stop = s_local_stop};

static void s_release_service(void *service) { gi_service_release(service); }

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
    const char *user = self->is.settings->local_user;
    gate_bytes_t func, name = {self->is.name, strlen(self->is.name)};
    gate_err_t e = GATE_OK;
    const gi_access_t *rules =
        gi_runtime_ruled(self->is.rt) ? gi_runtime_access(self->is.rt) : NULL;
    if (gi_access_concerns(rules, name)) {
        e = gi_rpc_parse_func(func_frame, &func);
        if (!e && !gi_access_allows(rules, user, name, func))
            e = gi_err(GATE_REFUSED, "%s%s may not call %s.%.*s.",
                       *user ? "User " : "Who is not authenticated", user,
                       self->is.name, (int)func.size, (const char *)func.data);
    }
    if (!e && self->is.settings->rate_limit_user &&
        !gi_runtime_rate(self->is.rt, gi_clock_ms()))
        e = s_too_many(self->is.settings);
    if (e)
        gi_gauge_enter(&self->shared.local_refused, INT64_MAX);
    return e;
}

/* ---- the way in ---------------------------------------------------------- */
/* Counts it; GATE_OK: it may go into the mailbox. */
static gate_err_t s_enter(gate_service_t *self, const gi_local_ask_t *ask) {
    gate_err_t e =
        s_permit(self, (gate_bytes_t){ask->packed, ask->request->func_size});
    if (e)
        return e;
    int64_t max = self->is.settings->local_max;
    while (!gi_gauge_enter(&self->shared.local, max))
        if (!ask->waits ||
            !gi_gauge_await(&self->shared.local, max, ask->deadline_ms))
            return gi_err(GATE_BUSY,
                          "service %s: local_max calls are in flight",
                          self->is.name);
    return GATE_OK;
}

static gate_err_t s_push(gate_service_t *self, const gi_local_ask_t *ask,
                         gi_smail_t *mail) {
    int64_t left = ask->waits ? ask->deadline_ms - gi_clock_ms() : 0;
    gate_err_t e = gi_mailbox_push(self->is.mailbox, mail, left > 0 ? left : 0);
    if (e) {
        gi_gauge_leave(&self->shared.local);
        (void)gi_err(e, "service %s: %s", self->is.name,
                     e == GATE_BUSY ? "its mailbox is full" : "it stops");
    }
    return e;
}

static gate_err_t s_no_memory(gate_service_t *self) {
    gi_gauge_leave(&self->shared.local);
    return gi_err(GATE_NOMEM, "no memory for a call");
}

static size_t s_body_size(const gi_rpc_request_t *r) {
    return r->func_size + r->args_size + r->kwargs_size + r->meta_size;
}

/* ---- calls --------------------------------------------------------------- */
static void s_left(void *ctx, gate_future_t *future) {
    gi_slocal_t *local = ctx;
    gi_sleft_t *left = gi_mem_alloc(sizeof *left);
    if (!left)
        return; /* it ends by itself, its answer is dropped */
    *left = (gi_sleft_t){.mail = {.kind = GI_SMAIL_LEFT}, .local = local};
    gi_future_hold(future);
    if (gi_service_post(local->service, &left->mail, 0)) {
        gi_future_drop(future);
        gi_mem_free(left);
    }
}

/* No reference to the service: it answers each call before it goes, and is not
 * asked to cancel one after that. An answer whose reading needs its settings
 * takes one along. */
static gi_slocal_t *s_local_new(gate_service_t *self,
                                const gi_local_ask_t *ask) {
    const gi_rpc_request_t *r = ask->request;
    size_t size = s_body_size(r);
    gate_future_t *future = gi_future_new_with(self->is.settings, NULL, NULL,
                                               sizeof(gi_slocal_t) + size);
    if (!future)
        return NULL;
    gi_slocal_t *local = gi_future_extra(future);
    *local = (gi_slocal_t){.mail = {.kind = GI_SMAIL_LOCAL},
                           .service = self,
                           .future = future,
                           .deadline_ms = ask->deadline_ms,
                           .timeout_ms = ask->timeout_ms,
                           .func_size = r->func_size,
                           .args_size = r->args_size,
                           .kwargs_size = r->kwargs_size,
                           .meta_size = r->meta_size,
                           .trace = r->trace ? gi_trace_share(r->trace) : NULL};
    memcpy(local->packed, ask->packed, size);
    gi_future_on_cancel(future, s_left, local);
    gi_future_brief(future);
    return local;
}

gate_err_t gi_service_call_local(gate_service_t *self,
                                 const gi_local_ask_t *ask,
                                 gate_future_t **future) {
    gate_err_t e = s_enter(self, ask);
    if (e)
        return e;
    gi_slocal_t *local = s_local_new(self, ask);
    if (!local)
        return s_no_memory(self);
    gate_future_t *made = local->future;
    e = s_push(self, ask, &local->mail);
    if (e) {
        gi_trace_drop(local->trace);
        gi_future_fail(made, gate_error());
        gate_future_destroy(&made);
    } else {
        *future = made;
    }
    return e;
}

/* They would have come in chunks, and may be as large as then. */
static bool s_huge(const gi_scall_t *c) {
    gi_rpc_request_t r = {.args_size = c->call.args_packed.size,
                          .kwargs_size = c->call.kwargs_packed.size};
    return gi_rpc_args_huge(c->service->is.settings, &r);
}

void gi_scall_local(gi_slocal_t *local) {
    gate_service_t *self = local->service;
    gi_mailbox_linger(self->is.mailbox); /* its caller may ask again at once */
    gi_scall_t *c = gi_scall_new(self);
    if (!c) {
        static const gate_error_t no_memory = {GATE_NOMEM, "MemoryError",
                                               "no memory for a call", ""};
        gi_gauge_leave(&self->shared.local);
        gi_trace_drop(local->trace);
        gi_future_fail(local->future, &no_memory);
        return;
    }
    if (local->trace)
        gi_service_trace_begin(c, local->trace);
    const unsigned char *at = local->packed + local->func_size;
    local->call = c;
    c->local = local;
    c->future = local->future;
    c->call.args_packed = (gate_bytes_t){at, local->args_size};
    at += local->args_size;
    c->call.kwargs_packed = (gate_bytes_t){at, local->kwargs_size};
    at += local->kwargs_size;
    gi_scall_meta(c, (gate_bytes_t){at, local->meta_size});
    c->call.args_huge = s_huge(c);
    c->call.deadline_ms = local->deadline_ms;
    c->life.item_timeout_ms = local->timeout_ms;
    c->local_func = (gate_bytes_t){local->packed, local->func_size};
    gi_scall_open(c);
}

/* ---- streams ------------------------------------------------------------- */
/* The reading end, for the caller; our end stays in the call. */
static bool s_open_stream(gi_scall_t *c, const gi_local_ask_t *ask,
                          gate_stream_t **stream) {
    gate_service_t *self = c->service;
    gi_stream_options_t options = {
        .timeout_ms = ask->timeout_ms,
        .max_items = (size_t)self->is.settings->stream_reply_maxsize,
        .max_bytes = (size_t)self->is.settings->stream_max_bytes,
        .ops = &s_stream_ops,
        .ctx = c,
        .release_owner = s_release_service,
        .owner = gi_service_share(self)};
    atomic_store(&c->owed.pending, false);
    atomic_store(&c->owed.items, 0);
    atomic_store(&c->owed.bytes, 0);
    c->stream = *stream = gi_stream_new(self->is.settings, &options);
    if (!c->stream)
        gi_service_release(self);
    return c->stream != NULL;
}

static gi_scall_t *s_stream_new(gate_service_t *self, const gi_local_ask_t *ask,
                                gate_stream_t **stream) {
    const gi_rpc_request_t *r = ask->request;
    gi_scall_t *c = gi_scall_alloc(self);
    if (!c)
        return NULL;
    c->packed = (unsigned char *)gi_mem_dup(ask->packed, s_body_size(r));
    if (!c->packed || !s_open_stream(c, ask, stream)) {
        gi_scall_drop(c);
        return NULL;
    }
    const unsigned char *at = c->packed + r->func_size;
    c->local_func = (gate_bytes_t){c->packed, r->func_size};
    c->call.args_packed = (gate_bytes_t){at, r->args_size};
    at += r->args_size;
    c->call.kwargs_packed = (gate_bytes_t){at, r->kwargs_size};
    at += r->kwargs_size;
    gi_scall_meta(c, (gate_bytes_t){at, r->meta_size});
    c->call.args_huge = s_huge(c);
    c->life.item_timeout_ms = ask->timeout_ms;
    if (r->trace)
        gi_service_trace_begin(c, gi_trace_share(r->trace));
    c->mail.kind = GI_SMAIL_OPEN;
    return c;
}

gate_err_t gi_service_open_local(gate_service_t *self,
                                 const gi_local_ask_t *ask,
                                 gate_stream_t **stream) {
    gate_err_t e = s_enter(self, ask);
    if (e)
        return e;
    gi_scall_t *c = s_stream_new(self, ask, stream);
    if (!c)
        return s_no_memory(self);
    e = s_push(self, ask, &c->mail);
    if (e) {
        gi_stream_fail(c->stream, gate_error());
        gi_stream_release(&c->stream);
        gate_stream_destroy(stream);
        gi_scall_drop(c);
    }
    return e;
}

/* Credit that found no room in the mailbox is told now. */
int64_t gi_direct_idle(const gi_life_t *life, int64_t now_ms) {
    gi_scall_t *c = gi_scall_of((gi_life_t *)(uintptr_t)life);
    if (atomic_load(&c->owed.items) &&
        !atomic_exchange(&c->owed.pending, true) &&
        s_tell(c, &c->credit_mail, GI_SMAIL_CREDIT, 0))
        atomic_store(&c->owed.pending, false);
    return gi_stream_idle_ms(c->stream, now_ms);
}

/* ---- both, on the actor's thread ----------------------------------------- */
void gi_scall_open(gi_scall_t *c) {
    gate_service_t *self = c->service;
    c->call.user = self->is.settings->local_user;
    c->life.streamed = c->stream != NULL;
    c->life.credited = true;
    c->life.credit.items = self->is.settings->stream_reply_maxsize;
    c->life.credit.bytes = self->is.settings->stream_max_bytes;
    if (self->own->core.stopping || self->own->core.draining) {
        gi_scall_refuse(c, GATE_NOSERVICE, NULL, "the service is leaving");
        return;
    }
    gi_scall_dispatch(c, c->local_func);
}
