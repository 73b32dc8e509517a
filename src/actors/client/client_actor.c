/* SPDX-License-Identifier: BSD-3-Clause */
/* client_actor.c -- the client's shell and its connection (docs/wire.md, client
 * handshake and liveness).
 *
 * The socket reconnects by itself (ZMQ_IMMEDIATE: it takes nothing while there
 * is no connection, so what was not sent stays with us). Silence for the whole
 * liveness is treated as a cut and answered with a new socket under a fresh
 * identity, since the old one may still hang at the broker. */
#include "net/affinity.h"
#include "client/client_impl.h"
#include "client/client_upload.h"

#include <errno.h>
#include <string.h>
#include "sync/clock.h"
#include "net/curve.h"
#include "huge/codec.h"
#include "base/err.h"
#include <gaterpc/log.h>
#include "base/identity.h"
#include "base/mem.h"

#define S_BLOCKED_POLL_MS 10
#define S_LINGER_MS 250

/* ---- sending ------------------------------------------------------------- */
gi_frames_t *gi_client_begin(gate_client_t *self, const void *service,
                             size_t size) {
    gi_frames_t *out = &self->out;
    gi_frames_close(out);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_add_const(out, GI_FRAME_CLIENT_TAG);
    gi_frames_add(out, service, size);
    if (self->user) {
        gi_frames_add(out, GI_ZAP_PLAIN, strlen(GI_ZAP_PLAIN));
        gi_frames_add(out, self->user, strlen(self->user));
        gi_frames_add(out, self->password, strlen(self->password));
    }
    return out;
}

int gi_client_send(gate_client_t *self) {
    self->out.packed = self->packs;
    int rc = self->sock.raw ? gi_sock_send(&self->sock, &self->out) : EAGAIN;
    self->blocked = rc == EAGAIN;
    if (!rc)
        self->sent_ms = self->now_ms;
    return rc;
}

int gi_client_send_on(gate_client_t *self, uint8_t former) {
    if (!former)
        return gi_client_send(self);
    self->out.packed = false; /* either form is read */
    return gi_sock_send(&self->formers[former - 1].sock, &self->out);
}

/* ---- the connection ------------------------------------------------------ */
static int64_t s_heartbeat(const gate_client_t *self) {
    return gi_settings_heartbeat_ms(self->settings);
}

static gate_err_t s_open(gate_client_t *self) {
    unsigned char id[GI_ID_SIZE];
    char name[40];
    int one = 1;
    gi_identity_fresh("gc-", name, sizeof name);
    gi_identity_of(self->identity && !self->fresh_id ? self->identity : name,
                   id);
    gate_err_t e = gi_sock_open(&self->sock, ZMQ_DEALER,
                                (gate_bytes_t){id, sizeof id}, self->settings);
    if (e)
        return e;
    self->watched = strncmp(self->endpoint, "inproc:", 7) != 0;
    e = gi_curve_client(&self->sock, self->curve_cert, self->curve_server);
    if (!e)
        e = gi_plain_client(&self->sock, self->plain_user,
                            self->plain_password);
    if (!e && self->watched) {
        zmq_setsockopt(self->sock.raw, ZMQ_IMMEDIATE, &one, sizeof one);
        e = gi_sock_watch(&self->sock, ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                                           ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                                           ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                           ZMQ_EVENT_CONNECT_RETRIED |
                                           ZMQ_EVENT_DISCONNECTED);
    }
    if (!e)
        e = gi_sock_connect(&self->sock, self->endpoint);
    if (e)
        gi_sock_close(&self->sock);
    return e;
}

static void s_arrived(gate_client_t *self) {
    self->up = true;
    gi_reach_fini(&self->reach);
    gi_client_trouble(self, GI_TROUBLE_SILENT);
    self->heard_ms = self->now_ms;
    self->asked_ms = self->now_ms;
    gi_pending_ask(self, GI_ASKS_INFO); /* first: whoever waited until we are
                                           ready can use extensions */
    gi_pending_ask(self, GI_ASKS_SERVICES);
}

static void s_departed(gate_client_t *self) {
    if (self->trouble == GI_TROUBLE_NONE)
        gi_client_trouble(self, GI_TROUBLE_LOST);
    gi_pending_cut_all(self, 0);
    self->up = self->ready = self->known = false;
    self->ext = self->ext_args = self->packs = false;
    self->n_requests = 0;
    self->stats.reconnects++;
    self->informed = false; /* the question is cut as well */
}

static void s_reopen(gate_client_t *self) {
    gate_log(GATE_WARN, "client", "broker %s %s: connecting anew",
             self->endpoint, self->up ? "fell silent" : "is not to be had");
    self->fresh_id |= self->up;
    s_departed(self);
    gi_sock_close(&self->sock);
    self->heard_ms = self->now_ms;
    if (s_open(self))
        gate_log(GATE_ERROR, "client", "%s: %s", self->endpoint,
                 gate_error()->text);
    else if (!self->watched)
        s_arrived(self);
}

/* libzmq does not try again after that; we do, an interval later, with a new
 * socket. Whoever waits for a connection is told. */
static void s_rejected(gate_client_t *self, int event, int value) {
    char text[300];
    const char *what =
        event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
            ? "it does not accept our certificate, or our user and password"
        : value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
            ? (self->curve_cert   ? "it does not speak CURVE, as we do"
               : self->plain_user ? "it does not speak PLAIN by the transport, "
                                    "as we do"
                                  : "it asks for CURVE or PLAIN by the "
                                    "transport, and we have neither")
            : "it is no ZeroMQ, or has another key than we were given";
    snprintf(text, sizeof text, "the broker at %s does not let us in: %s",
             self->endpoint, what);
    gi_error_story(&self->refused, GATE_REFUSED, NULL, text, "");
    gate_log(GATE_WARN, "client", "%s", text);
    gi_client_trouble(self, GI_TROUBLE_REFUSED);
    gi_pending_refuse_unsent(self, &self->refused.story);
    gi_sock_close(&self->sock);
    self->heard_ms = self->now_ms;
}

/* libzmq goes on trying. */
static void s_unreached(gate_client_t *self) {
    gi_reach_again(&self->reach, self->endpoint);
    if (self->trouble == GI_TROUBLE_SILENT)
        self->trouble = GI_TROUBLE_LOST;
    gi_client_trouble(self, self->trouble);
}

static bool s_events(gate_client_t *self) {
    int event, value;
    bool any = false;
    while (self->sock.monitor_raw &&
           gi_sock_event(&self->sock, &event, &value)) {
        any = true;
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            s_arrived(self);
        } else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
                   event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) {
            s_rejected(self, event, value);
            break;
        } else if (event == ZMQ_EVENT_CONNECT_RETRIED && !self->up) {
            s_unreached(self);
        } else if (event == ZMQ_EVENT_DISCONNECTED && self->up) {
            gate_log(GATE_WARN, "client", "connection to %s closed",
                     self->endpoint);
            s_departed(self);
        }
    }
    return any;
}

/* ---- what comes in ------------------------------------------------------- */
static bool s_receive(gate_client_t *self, gi_sock_t *sock) {
    bool any = false;
    for (int64_t i = 0; i < self->settings->batch_max && sock->raw; i++) {
        unsigned max = (unsigned)self->settings->frames_max;
        int rc = gi_sock_recv(sock, &self->in, max);
        if (!rc)
            break;
        any = true;
        if (rc > 0 && gi_frames_unpack(&self->in, 0, max))
            gi_pending_answer(self);
        else if (rc != -2)
            self->stats.dropped++;
        gi_frames_close(&self->in);
    }
    return any;
}

/* ---- moving to another broker -------------------------------------------- */
static uint8_t s_free_former(const gate_client_t *self) {
    for (uint8_t i = 0; i < GI_CFORMERS_MAX; i++)
        if (!self->formers[i].sock.raw)
            return i + 1;
    return 0;
}

/* Not while too many earlier ones still have calls under way: the broker ends
 * in its time then, and this connection with it. */
void gi_client_move(gate_client_t *self) {
    uint8_t former = s_free_former(self);
    if (self->hearing || !self->watched || !former)
        return;
    gate_log(GATE_INFO, "client", "another broker takes over at %s",
             self->endpoint);
    self->stats.moves++;
    self->formers[former - 1].sock = self->sock;
    self->formers[former - 1].n = gi_pending_leave(self, former);
    self->n_formers++;
    self->up = self->ready = self->ext = self->packs = false;
    self->n_requests = 0;
    self->heard_ms = self->now_ms;
    self->sock = (gi_sock_t){.fd = -1, .monitor_fd = -1};
    if (s_open(self))
        gate_log(GATE_ERROR, "client", "%s: %s", self->endpoint,
                 gate_error()->text);
}

static void s_close_former(gate_client_t *self, gi_cformer_t *former) {
    gi_sock_close(&former->sock);
    self->n_formers--;
}

/* Answers are read before the end of the connection is believed. */
static bool s_former(gate_client_t *self, uint8_t number) {
    gi_cformer_t *former = &self->formers[number - 1];
    int64_t heard_ms = self->heard_ms;
    int event, value;
    self->hearing = number;
    bool any = s_receive(self, &former->sock), closed = false;
    self->hearing = 0;
    self->heard_ms = heard_ms;
    while (!any && gi_sock_event(&former->sock, &event, &value))
        closed |= event == ZMQ_EVENT_DISCONNECTED;
    if (closed)
        gi_pending_cut_all(self, number);
    if (former->n == 0)
        s_close_former(self, former);
    return any || closed;
}

static bool s_formers(gate_client_t *self) {
    bool any = false;
    for (uint8_t i = 1; self->n_formers && i <= GI_CFORMERS_MAX; i++)
        if (self->formers[i - 1].sock.raw)
            any |= s_former(self, i);
    return any;
}

/* Keepalive when nothing else was sent; silence means the broker is gone. */
static bool s_liveness(gate_client_t *self) {
    int64_t hb = s_heartbeat(self);
    if (!self->sock.raw) {
        if (self->now_ms - self->heard_ms < hb)
            return false;
        s_reopen(self);
        return true;
    }
    if (!self->up)
        return false;
    if (self->now_ms - self->heard_ms >=
        hb * self->settings->mdp_heartbeat_liveness) {
        s_reopen(self);
        return true;
    }
    if (!self->known && self->now_ms - self->asked_ms >= 2 * hb) {
        self->asked_ms = self->now_ms; /* or extensions stay unused for ever */
        gi_pending_ask(self, GI_ASKS_INFO);
        return true;
    }
    if (self->now_ms - self->sent_ms < hb)
        return false;
    self->sent_ms = self->now_ms;
    gi_pending_ask(self, GI_ASKS_ALIVE);
    return true;
}

/* ---- commands ------------------------------------------------------------ */
static gate_err_t s_ready(void *arg, const char *unused, gi_buf_t *out) {
    gate_client_t *self = arg;
    (void)unused;
    gi_buf_append(out, self->ready ? "1" : "0", 1);
    return self->ready ? GATE_OK : gi_error_publish(&self->refused);
}

static void s_pack_count(msgpack_packer *pk, const char *name, uint64_t n) {
    msgpack_pack_str_with_body(pk, name, strlen(name));
    msgpack_pack_uint64(pk, n);
}

static gate_err_t s_stats(void *arg, const char *unused, gi_buf_t *out) {
    gate_client_t *self = arg;
    const gi_cstats_t *s = &self->stats;
    msgpack_packer pk;
    (void)unused;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, 13);
    s_pack_count(&pk, "calls", s->calls);
    s_pack_count(&pk, "answers", s->answers);
    s_pack_count(&pk, "errors", s->errors);
    s_pack_count(&pk, "timeouts", s->timeouts);
    s_pack_count(&pk, "lost", s->lost);
    s_pack_count(&pk, "late", s->late);
    s_pack_count(&pk, "dropped", s->dropped);
    s_pack_count(&pk, "items", s->items);
    s_pack_count(&pk, "reconnects", s->reconnects);
    s_pack_count(&pk, "retries", s->retries);
    s_pack_count(&pk, "retries_denied", s->retries_denied);
    s_pack_count(&pk, "moves", s->moves);
    s_pack_count(&pk, "in_flight", (uint64_t)gi_gauge_read(&self->in_flight));
    return GATE_OK;
}

static const gi_command_t s_commands[] = {
    {"READY", s_ready}, {"STATS", s_stats}, {NULL, NULL}};

/* ---- the pass ------------------------------------------------------------ */
static void s_control(gi_ccontrol_t *control) {
    gi_pending_t *p = control->pending;
    if (control->mail.kind == GI_CMAIL_CANCEL)
        gi_pending_cancel(p);
    else
        gi_pending_credit(p, control->items, control->bytes);
    gi_pending_drop(p);
    gi_mem_free(control);
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    gate_client_t *self = arg;
    self->now_ms = now_ms;
    for (size_t i = 0; i < n; i++) {
        gi_cmail_t *mail = items[i];
        if (mail->kind == GI_CMAIL_CALL)
            gi_pending_start((gi_pending_t *)(void *)mail);
        else if (mail->kind == GI_CMAIL_HUGE)
            gi_chuge_mail(mail);
        else if (mail->kind == GI_CMAIL_READY)
            gi_cargs_awake(self);
        else
            s_control((gi_ccontrol_t *)(void *)mail);
    }
}

static bool s_work(void *arg, int64_t now_ms) {
    gate_client_t *self = arg;
    self->now_ms = now_ms;
    bool busy = s_receive(self, &self->sock);
    busy |= s_formers(self);
    busy |= s_events(self);
    busy |= gi_pending_flush(self);
    busy |= gi_cargs_pull(self);
    busy |= gi_pending_expire(self);
    busy |= s_liveness(self);
    return busy;
}

static int64_t s_next(void *arg, int64_t now_ms) {
    gate_client_t *self = arg;
    int64_t next = gi_wheel_next(self->wheel), hb = s_heartbeat(self);
    int64_t look = gi_cargs_next(self, now_ms);
    next = look < next ? look : next;
    if (self->unsent && self->up && now_ms + S_BLOCKED_POLL_MS < next)
        next = now_ms + S_BLOCKED_POLL_MS;
    if (self->up && self->sent_ms + hb < next)
        next = self->sent_ms + hb;
    if (!self->sock.raw && self->heard_ms + hb < next)
        next = self->heard_ms + hb;
    return next;
}

static void s_fds(void *arg, gi_polled_t *polled) {
    gate_client_t *self = arg;
    gi_sock_poll(&self->sock, polled);
    for (unsigned i = 0; self->n_formers && i < GI_CFORMERS_MAX; i++)
        gi_sock_poll(&self->formers[i].sock, polled);
}

static gate_err_t s_slots(gate_client_t *self) {
    /* the user's calls, and the few that the actor asks itself */
    self->n_slots = (unsigned)self->settings->message_max + 16;
    self->slots = gi_mem_calloc(self->n_slots, sizeof *self->slots);
    if (!self->slots)
        return gi_err(GATE_NOMEM, "no memory for %u calls", self->n_slots);
    for (unsigned i = 0; i < self->n_slots; i++)
        self->slots[i].next_free = i + 1;
    return GATE_OK;
}

/* What requests announce: as many as there is room for, ours first. */
static void s_name_codecs(gate_client_t *self) {
    const char *names[32];
    size_t n = gi_codec_names(names, 32), at = 0;
    for (size_t i = 0; i < n && i < 32; i++) {
        size_t size = strlen(names[i]) + (at ? 1 : 0);
        if (at + size >= sizeof self->codecs)
            break;
        at += (size_t)snprintf(self->codecs + at, sizeof self->codecs - at,
                               at ? ",%s" : "%s", names[i]);
    }
}

static gate_err_t s_start(void *arg) {
    gate_client_t *self = arg;
    self->mailbox = gi_actor_mailbox(self->actor);
    gi_affinity_actor(self->settings);
    self->now_ms = self->heard_ms = self->sent_ms = gi_clock_ms();
    gi_random(self->id_prefix, sizeof self->id_prefix);
    self->retry_budget = GI_RETRIES_FREE;
    s_name_codecs(self);
    gi_reach_init(&self->reach);
    gi_client_trouble(self, GI_TROUBLE_AWAY);
    self->wheel = gi_wheel_new(self->now_ms);
    gate_err_t e = self->wheel ? s_slots(self)
                               : gi_err(GATE_NOMEM, "no memory for timers");
    if (!e)
        e = s_open(self);
    if (e) {
        gi_wheel_destroy(&self->wheel);
        gi_mem_free(self->slots);
        self->slots = NULL;
        return e;
    }
    if (!self->watched)
        s_arrived(self);
    return GATE_OK;
}

/* What was said last gets out: libzmq's threads send it behind our back, and
 * the end of the process waits for them so long at most. */
static void s_linger(gate_client_t *self) {
    for (unsigned i = 0; i <= GI_CFORMERS_MAX; i++) {
        gi_sock_t *sock = i ? &self->formers[i - 1].sock : &self->sock;
        if (sock->raw)
            gi_sock_linger(sock, S_LINGER_MS);
    }
}

static void s_stop(void *arg) {
    gate_client_t *self = arg;
    if (gi_pending_fail_all(self, GATE_CLOSED, "the client was closed"))
        s_linger(self);
    gi_reach_fini(&self->reach);
    gi_news_tell(&self->news);
    gi_sock_close(&self->sock);
    for (unsigned i = 0; i < GI_CFORMERS_MAX; i++)
        gi_sock_close(&self->formers[i].sock);
    gi_frames_close(&self->out);
    gi_wheel_destroy(&self->wheel);
    gi_mem_free(self->slots);
    self->slots = NULL;
}

const gi_actor_ops_t gi_client_ops = {.name = "gate-client",
                                      .commands = s_commands,
                                      .start = s_start,
                                      .stop = s_stop,
                                      .mail = s_mail,
                                      .work = s_work,
                                      .next = s_next,
                                      .fds = s_fds};
