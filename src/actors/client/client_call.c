/* SPDX-License-Identifier: BSD-3-Clause */
/* client_call.c -- the caller's half of a call: names, arguments and results
 * are handled on the caller's thread; the actor gets a packed request and gives
 * back bytes.
 *
 *   caller: split name, pack -> registry? -> service's mailbox   (no socket)
 *                                    else -> client's mailbox -> broker */
#include "client/client_impl.h"
#include "client/client_upload.h"

#include <stdio.h>
#include <string.h>
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/err.h"
#include "settings/settings.h"
#include "base/mem.h"
#include "base/origin.h"
#include "memory/scratch.h"

/* ---- the caller's half of a call ----------------------------------------- */
#define S_FEW 2 /* calls: with so many under way an answer comes soon */

typedef struct s_ask {
    gate_bytes_t service, func;
    gi_rpc_request_t request;
    gi_rpc_holes_t *holes; /* of packed, where huge values belong */
    gi_buf_t *packed;      /* the thread's scratch */
    int64_t timeout_ms, deadline_ms;
    bool explicit_timeout;
    bool waits; /* with no broker to turn to, for a full service's room */
    gate_future_t **future; /* one of the two */
    gate_stream_t **stream;
} s_ask_t;

static gi_pending_t *s_new(gate_client_t *self, gate_bytes_t service,
                           const gi_rpc_request_t *request,
                           const void *packed) {
    size_t body = request->func_size + request->args_size +
                  request->kwargs_size + request->meta_size;
    gi_pending_t *p = gi_mem_alloc(sizeof *p + service.size + body);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    gi_ref_init(&p->refs);
    p->client = self;
    p->call.service = (gate_bytes_t){p->data, service.size};
    p->call.body = p->data + service.size;
    p->call.request = *request;
    if (request->trace)
        p->trace = gi_trace_share(request->trace);
    memcpy(p->data, service.data, service.size);
    memcpy(p->data + service.size, packed, body);
    return p;
}

static gi_pending_t *s_new_huge(gate_client_t *self, gate_bytes_t service,
                                const gi_rpc_request_t *request,
                                gi_buf_t *packed, const gi_rpc_holes_t *holes) {
    gi_rpc_request_t head = *request;
    size_t func = request->func_size, meta = request->meta_size;
    const unsigned char *at = packed->data;
    head.args_size = head.kwargs_size = 0;
    gi_pending_t *p = s_new(self, service, &head, at);
    if (!p) {
        (void)gi_err(GATE_NOMEM, "no memory for a call");
        return NULL;
    }
    p->call.request = *request;
    memcpy(p->data + service.size + func,
           at + func + request->args_size + request->kwargs_size, meta);
    if (!gi_client_upload_new(p, packed, holes))
        return p;
    gi_client_call_drop(p);
    return NULL;
}

void gi_client_call_drop(gi_pending_t *p) {
    if (!gi_ref_drop(&p->refs))
        return;
    gi_client_upload_free(p);
    if (p->trace)
        gi_trace_drop(p->trace);
    gi_mem_free(p);
}

static void s_control(gi_pending_t *p, gi_cmail_kind_t kind, size_t items,
                      size_t bytes, int64_t timeout_ms) {
    gi_ccontrol_t *control = gi_mem_alloc(sizeof *control);
    if (!control)
        return; /* the call's own deadline ends it */
    *control = (gi_ccontrol_t){{kind}, p, items, bytes};
    gi_ref_take(&p->refs);
    if (gi_mailbox_push(p->client->is.mailbox, control, timeout_ms)) {
        gi_client_call_drop(p);
        gi_mem_free(control);
    }
}

static void s_on_cancel(void *ctx, gate_future_t *future) {
    (void)future;
    s_control(ctx, GI_CMAIL_CANCEL, 0, 0, 0);
}

static void s_on_credit(void *ctx, size_t items, size_t bytes) {
    s_control(ctx, GI_CMAIL_CREDIT, items, bytes, 1000);
}

static void s_on_stop(void *ctx) {
    s_control(ctx, GI_CMAIL_CANCEL, 0, 0, 1000);
}

static void s_on_trouble(void *ctx, char *text, size_t room) {
    gi_client_trouble_now(((gi_pending_t *)ctx)->client, text, room);
}

static const gi_stream_ops_t s_stream_ops = {s_on_credit, s_on_stop,
                                             s_on_trouble};

static size_t s_max(int64_t a, int64_t b) { return (size_t)(a > b ? a : b); }

/* The user's end of the answer, and ours in p. What we gave credit for has
 * room in every case. */
static bool s_open(gate_client_t *self, gi_pending_t *p, const s_ask_t *ask) {
    if (ask->stream) {
        gi_stream_options_t options = {
            .timeout_ms = ask->timeout_ms,
            .max_items = s_max(self->is.settings->stream_unread_max,
                               self->is.settings->stream_reply_maxsize),
            .max_bytes = s_max(self->is.settings->peer_queue_max_bytes,
                               self->is.settings->stream_max_bytes),
            .report_items = (size_t)gi_client_window(self->is.settings) / 4,
            .report_bytes = (size_t)self->is.settings->stream_max_bytes / 4,
            .ops = &s_stream_ops,
            .ctx = p,
            .release_owner = gi_client_release,
            .owner = gi_client_share(self)};
        p->stream = *ask->stream = gi_stream_new(self->is.settings, &options);
    } else {
        p->future = *ask->future = gi_future_new(
            self->is.settings, gi_client_release, gi_client_share(self));
        if (p->future)
            gi_future_on_cancel(p->future, s_on_cancel, p);
        if (p->future && gi_gauge_read(&self->shared.lane) &&
            gi_gauge_read(&self->shared.in_flight) <= S_FEW)
            gi_future_brief(p->future);
    }
    if (!p->stream && !p->future)
        gi_client_release(self);
    return p->stream || p->future;
}

static gate_err_t s_pending(gate_client_t *self, const s_ask_t *ask,
                            gi_pending_t **out) {
    bool huge =
        ask->holes->n || gi_rpc_args_huge(self->is.settings, &ask->request);
    *out = huge ? s_new_huge(self, ask->service, &ask->request, ask->packed,
                             ask->holes)
                : s_new(self, ask->service, &ask->request, ask->packed->data);
    if (*out)
        return GATE_OK;
    return huge ? gate_error()->code
                : gi_err(GATE_NOMEM, "no memory for a call");
}

static void s_describe(const gate_client_t *self, gi_ccall_t *call,
                       const s_ask_t *ask) {
    call->stream = ask->stream != NULL;
    call->deadline_ms = ask->deadline_ms;
    call->timeout_ms = ask->timeout_ms;
    call->retries = ask->request.retries;
    call->pause_ms = self->is.settings->retry_wait_ms;
    call->deadline_travels = ask->explicit_timeout;
    call->traced = ask->request.trace != NULL;
}

static gate_err_t s_by_broker(gate_client_t *self, const s_ask_t *ask) {
    if (!gi_gauge_enter(&self->shared.in_flight,
                        self->is.settings->message_max))
        return gi_err(GATE_BUSY, "message_max (%lld) calls are in flight",
                      (long long)self->is.settings->message_max);
    gi_pending_t *p;
    gate_err_t e = s_pending(self, ask, &p);
    if (!e && !s_open(self, p, ask)) {
        gi_client_call_drop(p);
        e = gi_err(GATE_NOMEM, "no memory for a call");
    }
    if (e) {
        gi_gauge_leave(&self->shared.in_flight);
        return e;
    }
    p->mail.kind = GI_CMAIL_CALL;
    s_describe(self, &p->call, ask);
    e = gi_mailbox_push(self->is.mailbox, &p->mail, 0);
    if (!e)
        return GATE_OK;
    (void)gi_err(e, e == GATE_BUSY ? "the client's mailbox is full"
                                   : "the client is closed");
    if (p->future) {
        gi_future_fail(p->future, gate_error());
        gate_future_destroy(ask->future);
    } else {
        gi_stream_release(&p->stream);
        gate_stream_destroy(ask->stream);
    }
    gi_client_call_drop(p);
    gi_gauge_leave(&self->shared.in_flight);
    return gate_error()->code;
}

/* Looked up once while the registry stays as it is. Borrows, until the thread's
 * next call; *shared: the caller's to release. */
static gate_service_t *s_find(gate_client_t *self, gate_bytes_t name,
                              gate_service_t **shared) {
    gi_registry_t *registry = gi_runtime_registry(self->is.rt);
    uint64_t version = gi_registry_version(registry);
    *shared = NULL;
    if (!gi_mine(&self->bound.mine))
        return *shared = gi_registry_find(registry, name, self->is.broker);
    if (!self->bound.service || self->bound.version != version ||
        !gi_service_is(self->bound.service, name)) {
        gi_service_release(self->bound.service);
        self->bound.service = gi_registry_find(registry, name, self->is.broker);
        self->bound.version = version;
    }
    return self->bound.service;
}

/* A refusal by a rate stands (gi_service_call_local), and is said as a broker
 * says it. */
static gate_err_t s_by_rate(gate_err_t e) {
    const gate_error_t *story = gate_error();
    if (e != GATE_REFUSED || strcmp(story->cls, "BusyWorkerError") != 0)
        return e;
    return gi_err_story(GATE_BUSY, story->cls, story->text, GI_UNRUN);
}

/* GATE_NOSERVICE: not here; any other answer stands. */
static gate_err_t s_by_registry(gate_client_t *self, const s_ask_t *ask) {
    gate_service_t *shared;
    gate_service_t *service = s_find(self, ask->service, &shared);
    if (!service)
        return GATE_NOSERVICE;
    gi_local_ask_t local = {ask->packed->data, &ask->request, ask->deadline_ms,
                            ask->timeout_ms, ask->waits};
    gate_err_t e = ask->stream
                       ? gi_service_open_local(service, &local, ask->stream)
                       : gi_service_call_local(service, &local, ask->future);
    gi_service_release(shared);
    return e;
}

static gate_err_t s_no_service(const s_ask_t *ask) {
    char text[320];
    snprintf(text, sizeof text, "The %.*s Service unavailable.",
             (int)ask->service.size, (const char *)ask->service.data);
    return gi_err_story(GATE_NOSERVICE, NULL, text, GI_UNRUN);
}

/* A service of this runtime gets arguments whole: what is not at hand, or too
 * large to be, goes by the broker. */
static gate_err_t s_fill(gate_client_t *self, s_ask_t *ask) {
    bool local = !self->is.actor || self->is.route == GI_ROUTE_LOCAL;
    int64_t max = local ? gi_settings_huge_packed_max(self->is.settings)
                        : gi_rpc_plain_max(self->is.settings);
    gate_err_t e = gi_client_upload_fill(ask->packed, &ask->request, ask->holes,
                                         (uint64_t)max);
    if (e || !ask->holes->n || !local)
        return e;
    return gi_err(GATE_NOTIMPL,
                  "a huge argument that is fed, read from a pipe, or larger "
                  "than huge_max_bytes = %lld needs a broker: give its value",
                  (long long)self->is.settings->huge_max_bytes);
}

static gate_err_t s_send(gate_client_t *self, s_ask_t *ask) {
    gate_err_t e = ask->holes->n ? s_fill(self, ask) : GATE_OK;
    if (e)
        return e;
    e = GATE_NOSERVICE;
    if (!ask->holes->n && self->is.route != GI_ROUTE_BROKER &&
        self->is.broker != self)
        e = s_by_registry(self, ask);
    if (e == GATE_NOSERVICE &&
        (!self->is.actor || self->is.route == GI_ROUTE_LOCAL))
        return s_no_service(ask);
    if (self->is.actor && self->is.route != GI_ROUTE_LOCAL &&
        (e == GATE_NOSERVICE || e == GATE_BUSY || e == GATE_CLOSED))
        e = s_by_broker(self, ask);
    return s_by_rate(e);
}

static gate_err_t s_start(gate_client_t *self, const char *method,
                          const gate_arg_t *args, size_t n, s_ask_t *ask) {
    if (!self || !self->connected)
        return gi_client_not_connected(self);
    if (!method)
        return gi_err(GATE_BADARG, "the method is NULL: \"Service.method\" is "
                                   "wanted");
    if (self->is.actor && gi_actor_foreign(self->is.actor))
        return gi_err(GATE_CLOSED, "client: made before fork(): its thread is "
                                   "in the parent alone");
    const gate_settings_t *settings = self->is.settings;
    gi_buf_t *packed = gi_scratch();
    ask->holes->n = 0;
    if (!packed)
        return gi_err(GATE_NOMEM, "no memory for a call");
    gate_err_t e = gi_rpc_split_name(method, settings->service_default_name,
                                     &ask->service, &ask->func);
    if (!e)
        e = gi_rpc_pack_holes(packed, ask->func, args, n, settings,
                              &ask->request, ask->holes);
    if (!e && ask->request.no_timeout)
        e = gi_err(GATE_BADARG, "gate_timeout_ms(-1): 0 or more; without it "
                                "the setting reply_timeout holds");
    if (e)
        return e;
    ask->packed = packed;
    if (ask->request.trace)
        gi_trace_begin(ask->request.trace);
    ask->explicit_timeout = ask->request.timeout_ms >= 0;
    ask->timeout_ms = ask->explicit_timeout ? ask->request.timeout_ms
                                            : self->is.reply_timeout_ms;
    ask->deadline_ms = gi_clock_deadline_ms(ask->timeout_ms);
    return s_send(self, ask);
}

/* ---- public calls -------------------------------------------------------- */
gate_future_t *gate_client_start_(gate_client_t *self, const char *method,
                                  const gate_arg_t *args, size_t n) {
    gate_future_t *future = NULL;
    gi_rpc_holes_t holes;
    s_ask_t ask = {.future = &future, .holes = &holes};
    if (s_start(self, method, args, n, &ask))
        return gi_future_failed(gate_error());
    return future;
}

gate_err_t gate_client_call_(gate_client_t *self, const char *method,
                             gate_slot_t out, const gate_arg_t *args,
                             size_t n) {
    gate_future_t *future = NULL;
    gi_rpc_holes_t holes;
    s_ask_t ask = {.future = &future, .holes = &holes};
    if (gi_actor_thread())
        return gi_err(GATE_WOULDBLOCK,
                      "%s: a synchronous call would block the %s actor's "
                      "thread; use gate_client_start",
                      method ? method : "NULL", gi_actor_thread());
    ask.waits = self && !self->is.actor;
    gate_err_t e = s_start(self, method, args, n, &ask);
    return e ? e : gi_future_wait_call(&future, -1, out);
}

gate_err_t gate_client_open_(gate_client_t *self, const char *method,
                             gate_stream_t **stream, const gate_arg_t *args,
                             size_t n) {
    gi_rpc_holes_t holes;
    s_ask_t ask = {.stream = stream, .holes = &holes};
    if (!stream)
        return gi_err(GATE_BADARG, "gate_client_open: where the stream goes is "
                                   "NULL");
    *stream = NULL;
    return s_start(self, method, args, n, &ask);
}
