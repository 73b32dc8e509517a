/* SPDX-License-Identifier: BSD-3-Clause */
/* service_link.c -- one worker at one broker (docs/wire.md; extensions.md).
 *
 *   CONNECTING --transport up--> READY_SENT --heartbeat--> UP   (moved: LEFT)
 *        ^                          |   DISCONNECT, silence, cut   |
 *        +-------- BACKOFF <--------+------------------------------+
 *
 * The broker drives heartbeats. A connection that was cut is replaced: a fresh
 * socket and identity, as a ghost is mistaken for us; unless the user chose one,
 * or to a Python broker, which deals calls to ghosts and says DISCONNECT once. */
#include "service/service_own.h"
#include "service/service_run.h"
#include "net/conn.h"

#include <string.h>
#include "base/err.h"
#include "mail/logring.h"
#include "base/identity.h"
#include "wire/mdp.h"
#include "base/mem.h"
#define S_BACKOFF_MIN 20
#define S_BLOCKED_POLL_MS 10
#define S_LOOK_MIN 1000 /* between reports, ms */
#define S_LOOK_FOR 30000

/* ---- the connection's life ----------------------------------------------- */
static gate_err_t s_open(gi_link_t *link) {
    gate_service_t *self = link->service;
    unsigned char id[GI_ID_SIZE];
    const char *name = self->is.login.identity;
    if (name && link->number == 0)
        snprintf(link->identity, sizeof link->identity, "%s", name);
    else if (!link->keeps)
        gi_identity_fresh("gw", link->identity, sizeof link->identity);
    link->ghost = link->keeps;
    gi_identity_of(link->identity, id);
    gate_err_t e =
        gi_sock_open(&link->sock, ZMQ_DEALER, (gate_bytes_t){id, sizeof id},
                     self->is.settings);
    if (e)
        return e;
    e = gi_login_apply(&self->is.login, &link->sock);
    link->watched = strncmp(link->endpoint, "inproc:", 7) != 0;
    if (!e && link->watched)
        e = gi_sock_watch(&link->sock, ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                                           ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                                           ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                           ZMQ_EVENT_DISCONNECTED);
    if (!e)
        e = gi_sock_connect(&link->sock, link->endpoint);
    if (e)
        gi_sock_close(&link->sock);
    return e;
}

/* Nothing is known of what its broker can do. */
static void s_unknown(gi_link_t *link) {
    link->ext = link->packs = link->batches = link->rows = link->traces = false;
    link->look_ms = 0;
}

static void s_ready(gi_link_t *link) {
    gate_service_t *self = link->service;
    char *line = NULL;
    gate_err_t e = gi_mdp_compose_ready(self->is.name, self->is.description,
                                        self->is.limit, &line);
    s_unknown(link);
    link->ext_told = link->released = false;
    link->heard_ms = self->own->core.now_ms;
    link->state = GI_LINK_READY_SENT;
    gi_frames_t *out = gi_link_send_begin(link, GI_MDP_READY);
    out->broken = e || !gi_frames_add(out, line, strlen(line));
    gi_link_send(link);
    gi_mem_free(line);
}

static void s_connect(gi_link_t *link) {
    gate_service_t *self = link->service;
    link->epoch++;
    link->heard_ms = self->own->core.now_ms;
    if (s_open(link)) {
        gi_logring_about(GATE_WARN, "service", self->is.name, NULL, "%s: %s",
                         link->endpoint, gate_error()->text);
        link->state = GI_LINK_BACKOFF;
        link->retry_ms = self->own->core.now_ms + 1000;
        return;
    }
    link->state = GI_LINK_CONNECTING;
    if (!link->watched)
        s_ready(link);
}

/* Its callers are gone: whatever is said to them is said to nobody. */
static void s_forget(gi_link_t *link) {
    link->epoch++;
    gi_service_core_lost(&link->service->own->core, link);
}

static void s_left_behind(gi_link_t *link) {
    s_forget(link);
    gi_link_send_drop(link);
    gi_sock_close(&link->sock);
    link->state = GI_LINK_LEFT;
}

bool gi_link_is_over(const gi_link_t *link) {
    return link->moved && link->state == GI_LINK_LEFT && link->live == 0;
}

/* The connection is of no use any more: a new one after a while. */
static void s_lose(gi_link_t *link, const char *why) {
    gate_service_t *self = link->service;
    if (link->moved) {
        s_left_behind(link);
        return;
    }
    gi_logring_about(GATE_WARN, "service", self->is.name, NULL, "broker %s: %s",
                     link->endpoint, why);
    s_forget(link);
    gi_link_send_drop(link);
    gi_sock_close(&link->sock);
    s_unknown(link);
    link->keeps &= link->state == GI_LINK_UP;
    link->state = GI_LINK_BACKOFF;
    link->retry_ms = self->own->core.now_ms + link->backoff_ms;
    link->backoff_ms *= 2;
    if (link->backoff_ms > self->is.settings->reconnect_ivl_max_ms)
        link->backoff_ms = self->is.settings->reconnect_ivl_max_ms;
    if (link->backoff_ms < S_BACKOFF_MIN)
        link->backoff_ms = S_BACKOFF_MIN;
}

gate_err_t gi_link_new(gate_service_t *self, const char *endpoint,
                       unsigned number) {
    gi_link_t *link = gi_mem_calloc(1, sizeof *link);
    if (!link || !(link->endpoint = gi_mem_strdup(endpoint))) {
        gi_mem_free(link);
        return gi_err(GATE_NOMEM, "no memory for a connection");
    }
    link->service = self;
    link->number = number;
    link->broker =
        gi_registry_owner(gi_runtime_registry(self->is.rt), endpoint);
    link->out_tail = &link->out_head;
    link->backoff_ms = S_BACKOFF_MIN;
    link->heard_ms = self->own->core.now_ms;
    gate_err_t e = s_open(link);
    if (e) {
        gi_mem_free(link->endpoint);
        gi_mem_free(link);
        return e;
    }
    link->next = self->own->links;
    self->own->links = link;
    link->state = GI_LINK_CONNECTING;
    if (!link->watched)
        s_ready(link);
    return GATE_OK;
}

void gi_link_destroy(gi_link_t *link) {
    gi_link_send_row(link->service);
    if (link->sock.raw) {
        int linger = 1000; /* for the DISCONNECT and the last answers */
        zmq_setsockopt(link->sock.raw, ZMQ_LINGER, &linger, sizeof linger);
    }
    gi_link_send_drop(link);
    gi_sock_close(&link->sock);
    gi_mem_free(link->endpoint);
    gi_mem_free(link);
}

/* A broker that knows no extensions does not say when. */
bool gi_link_may_leave(const gi_link_t *link) {
    return link->state == GI_LINK_UP ? link->released || !link->ext
                                     : link->state != GI_LINK_READY_SENT;
}

void gi_link_leave(gi_link_t *link) {
    if (link->state == GI_LINK_LEFT)
        return;
    if (link->state != GI_LINK_UP && link->state != GI_LINK_READY_SENT) {
        gi_sock_close(&link->sock);
        link->state = GI_LINK_LEFT;
        return;
    }
    /* exactly one extra frame: a Python broker ignores it without */
    gi_frames_add(gi_link_send_begin(link, GI_MDP_DISCONNECT), "bye", 3);
    gi_link_send(link);
    link->state = GI_LINK_LEFT;
}

/* ---- what it says of itself ---------------------------------------------- */
static void s_announce(gi_link_t *link, gate_bytes_t report) {
    gate_service_t *self = link->service;
    gi_frames_t *out = gi_link_send_begin(link, GI_MDP_HEARTBEAT);
    if (link->ext) {
        gi_ext_t ext;
        gi_ext_init(&ext);
        ext.drain = self->own->core.draining;
        ext.huge = true;
        ext.report = report;
        ext.epoch = self->is.life;
        ext.frame_max = gi_ext_frame_max(self->is.settings->message_bytes_max);
        ext.idempotent =
            (gate_bytes_t){self->is.idempotent, strlen(self->is.idempotent)};
        gi_buf_reset(&self->own->scratch, 65536);
        link->ext_told = !gi_ext_pack(&self->own->scratch, &ext) &&
                         gi_frames_add(out, self->own->scratch.data,
                                       self->own->scratch.size);
    } else if (link->state != GI_LINK_UP) {
        gi_frames_close(out); /* nobody to tell yet */
        return;
    }
    gi_link_send(link);
}

void gi_link_announce(gi_link_t *link) {
    s_announce(link, (gate_bytes_t){NULL, 0});
}

/* Somebody looks at what that broker knows: a report at once, and then so often
 * until the broker has not said so for a while. One for all workers of ours. */
static void s_looked_at(gi_link_t *link, int64_t every_ms) {
    int64_t now = link->service->own->core.now_ms;
    if (!link->service->is.settings->worker_reports || link->number > 0)
        return;
    if (link->look_ms == 0)
        link->report_ms = now;
    link->look_ms = every_ms > S_LOOK_MIN ? every_ms : S_LOOK_MIN;
    link->look_until_ms = now + S_LOOK_FOR;
}

/* State: when the last one still waits for the socket, none is sent. */
static bool s_report(gi_link_t *link) {
    int64_t now = link->service->own->core.now_ms;
    if (link->look_ms == 0 || now < link->report_ms)
        return false;
    link->report_ms = now + link->look_ms;
    if (now >= link->look_until_ms || !link->ext)
        link->look_ms = 0;
    if (link->look_ms == 0 || link->out_n || link->state != GI_LINK_UP)
        return false;
    gi_buf_t report = {0};
    gi_service_report(link->service, &report);
    if (!report.failed && (int64_t)report.size < link->frame_max / 2)
        s_announce(link, (gate_bytes_t){report.data, report.size});
    gi_buf_fini(&report);
    return true;
}

/* ---- messages from the broker -------------------------------------------- */
/* Whoever connects to the endpoint now is let in by another broker: be there
 * too, while this one finishes. */
static void s_move(gi_link_t *link) {
    gate_service_t *self = link->service;
    if (link->moved || !link->watched || self->own->core.draining)
        return;
    gate_err_t e = gi_service_follow(link);
    if (e)
        gi_logring_about(GATE_WARN, "service", self->is.name, NULL,
                         "cannot follow to the new broker at %s: %s",
                         link->endpoint, gate_error()->text);
    else
        gi_logring_about(GATE_INFO, "service", self->is.name, NULL,
                         "another broker takes over at %s", link->endpoint);
    link->moved = !e;
}

/* The broker speaks GX1; with "d" it sends nothing new any more, either because
 * we said so or because it wants us to leave. */
static void s_hello(gi_link_t *link, gate_bytes_t frame) {
    gate_service_t *self = link->service;
    gi_ext_t ext;
    link->ext = true;
    if (gi_ext_parse(frame, &ext))
        return;
    link->packs = ext.packed && self->is.settings->packed;
    link->batches = ext.batches && link->packs;
    link->traces = ext.traced;
    link->frame_max = ext.frame_max > 0 ? ext.frame_max : GI_FRAME_DEFAULT;
    link->rows = ext.rows && link->packs && link->frame_max >= GI_ROW_BYTES;
    if (ext.lane.size)
        gi_sock_offered(&link->sock, ext.lane, self->is.settings,
                        self->is.login.curve_cert != NULL);
    if (ext.look_ms >= 0)
        s_looked_at(link, ext.look_ms);
    if (ext.moved)
        s_move(link);
    if (!ext.drain)
        return;
    link->released = true;
    if (self->own->core.draining)
        return;
    gi_logring_about(GATE_INFO, "service", self->is.name, NULL,
                     "told to drain by %s", link->endpoint);
    (void)gi_gauge_enter(&self->shared.told, INT64_MAX);
    gi_service_drain(self);
}

static void s_heartbeat(gi_link_t *link, const gate_bytes_t *view,
                        const gi_mdp_worker_t *m) {
    gate_service_t *self = link->service;
    bool fresh = link->state == GI_LINK_READY_SENT;
    if (fresh) {
        link->state = GI_LINK_UP;
        gi_news_tell(&self->shared.news);
        link->backoff_ms = S_BACKOFF_MIN;
        gi_logring_about(GATE_INFO, "service", self->is.name, NULL,
                         "registered at %s", link->endpoint);
    }
    if (m->n_body == 1 && gi_ext_is(view[m->body]))
        s_hello(link, view[m->body]);
    /* A broker of ours says that first: what came before it was asked of who had
     * our name, and is lost there, or will be asked again. */
    if (fresh && link->ext && link->live)
        s_forget(link);
    link->keeps = !link->ext;
    if (link->ext && !link->ext_told) {
        gi_link_announce(link);
    } else {
        gi_link_send_begin(link, GI_MDP_HEARTBEAT);
        gi_link_send(link);
    }
}

static void s_disconnect(gi_link_t *link) {
    gate_service_t *self = link->service;
    bool registered = link->state == GI_LINK_UP || link->ghost;
    link->ghost = false; /* once */
    s_forget(link);
    if (link->state == GI_LINK_LEFT)
        return;
    if (link->moved) {
        s_left_behind(link);
    } else if (registered && !self->own->core.draining) {
        gi_logring_about(GATE_INFO, "service", self->is.name, NULL,
                         "%s said DISCONNECT: READY again", link->endpoint);
        s_ready(link);
    } else if (self->own->core.draining) {
        link->state = GI_LINK_LEFT;
    } else {
        s_lose(link, self->is.login.user
                         ? "refused READY with DISCONNECT: it does not take "
                           "this user and password, or is a frontend"
                         : "refused READY with DISCONNECT: it asks for a user "
                           "and a password, or is a frontend");
    }
}

static void s_ext(gi_link_t *link, const gate_bytes_t *view,
                  const gi_mdp_worker_t *m) {
    gi_ext_t ext;
    gi_scall_t *c =
        gi_scall_find(link, view[m->client_id], view[m->request_id]);
    if (c && m->n_body == 2) {
        gi_sargs_chunk(c, view[m->body], &link->service->own->in, m->body + 1);
        return;
    }
    if (!c || m->n_body != 1 || !gi_ext_is(view[m->body]) ||
        gi_ext_parse(view[m->body], &ext)) {
        link->service->own->stats.dropped++;
        return;
    }
    if (ext.cancel)
        gi_life_cancel(&c->life);
    else
        gi_sstream_credit(c, ext.credit_items, ext.credit_bytes);
}

static void s_message(gi_link_t *link) {
    gate_service_t *self = link->service;
    const gate_bytes_t *view = gi_frames_views(&self->own->in);
    gi_mdp_worker_t m;
    link->heard_ms = self->own->core.now_ms;
    if (gi_mdp_parse_broker(view, self->own->in.n, &m)) {
        self->own->stats.dropped++;
        return;
    }
    switch (m.command) {
    case GI_MDP_REQUEST:
        gi_scall_request(link, view, m.client_id, m.request_id, m.body,
                         m.n_body);
        break;
    case GI_MDP_HEARTBEAT:
        s_heartbeat(link, view, &m);
        break;
    case GI_MDP_DISCONNECT:
        s_disconnect(link);
        break;
    case GI_MDP_EXT:
        s_ext(link, view, &m);
        break;
    default:
        self->own->stats.dropped++;
    }
}

static bool s_talks(const gi_link_t *link) {
    return link->state == GI_LINK_UP || link->state == GI_LINK_READY_SENT;
}

/* ---- the pass ------------------------------------------------------------ */
static bool s_events(gi_link_t *link) {
    int event, value;
    bool any = false;
    while (link->sock.monitor_raw &&
           gi_sock_event(&link->sock, &event, &value)) {
        any = true;
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED &&
            link->state == GI_LINK_CONNECTING)
            s_ready(link);
        else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
                 event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
            s_lose(link,
                   gi_conn_refusal(&link->service->is.login, event, value));
        else if (event == ZMQ_EVENT_DISCONNECTED && s_talks(link))
            s_lose(link, "the connection closed");
    }
    return any;
}

static bool s_receive(gi_link_t *link) {
    gate_service_t *self = link->service;
    bool any = false;
    for (int64_t i = 0; i < self->is.settings->batch_max && link->sock.raw;
         i++) {
        unsigned max = (unsigned)self->is.settings->frames_max;
        int rc = gi_sock_recv(&link->sock, &self->own->in, max);
        if (!rc)
            break;
        any = true;
        if (rc > 0 && gi_frames_unpack(&self->own->in, 0, max))
            s_message(link);
        else if (rc != -2)
            self->own->stats.dropped++;
        gi_frames_close(&self->own->in);
    }
    return any;
}

static int64_t s_silence_ms(const gi_link_t *link) {
    const gate_settings_t *s = link->service->is.settings;
    return gi_settings_heartbeat_ms(s) * s->mdp_heartbeat_liveness;
}

bool gi_link_work(gi_link_t *link) {
    int64_t now = link->service->own->core.now_ms;
    bool busy = false;
    if (link->state == GI_LINK_BACKOFF && link->service->own->core.draining)
        link->state = GI_LINK_LEFT; /* nothing to come back for */
    if (link->state == GI_LINK_BACKOFF) {
        if (now < link->retry_ms)
            return false;
        s_connect(link);
        busy = true;
    }
    busy |= s_receive(link);
    busy |= s_events(link);
    busy |= gi_link_send_flush(link);
    busy |= s_report(link);
    const char *why = link->mute ? "no memory for an answer" : NULL;
    if (now - link->heard_ms >= s_silence_ms(link))
        why = "silent for its liveness";
    if (why && s_talks(link))
        s_lose(link, why);
    link->mute = false;
    return busy;
}

int64_t gi_link_next(const gi_link_t *link) {
    if (link->out_n || gi_parcel_waits(&link->sock))
        return link->service->own->core.now_ms + S_BLOCKED_POLL_MS;
    if (link->state == GI_LINK_BACKOFF)
        return link->retry_ms;
    int64_t due = link->look_ms ? link->report_ms : INT64_MAX;
    if (s_talks(link) && link->heard_ms + s_silence_ms(link) < due)
        due = link->heard_ms + s_silence_ms(link);
    return due;
}
