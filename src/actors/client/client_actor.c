/* SPDX-License-Identifier: BSD-3-Clause */
/* client_actor.c -- the client's shell: mail and sockets to the core's events,
 * its effects to sockets, futures and streams. What is decided is decided in
 * client/core. */
#include "client/client_actor.h"
#include "client/client_upload.h"
#include "net/affinity.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "sync/clock.h"
#include "huge/codec.h"
#include "base/err.h"
#include <gaterpc/log.h>
#include "base/identity.h"
#include "base/mem.h"

#define S_LINGER_MS 250
#define S_FULL_MS 10 /* until what the socket would not take is tried again */

/* ---- the connection ------------------------------------------------------ */
static gate_err_t s_open(gi_client_actor_t *self, bool fresh) {
    const gi_client_config_t *is = &self->client->is;
    unsigned char id[GI_ID_SIZE];
    char name[40];
    gi_identity_fresh("gc-", name, sizeof name);
    gi_identity_of(is->login.identity && !fresh ? is->login.identity : name,
                   id);
    return gi_conn_open(&self->conn, &is->login, is->endpoint, id,
                        is->settings);
}

static gate_err_t s_reopen(void *ctx, bool fresh) {
    gi_client_actor_t *self = ctx;
    gi_sock_close(&self->conn.sock);
    return s_open(self, fresh);
}

static gate_err_t s_move(void *ctx, uint8_t former) {
    gi_client_actor_t *self = ctx;
    self->formers[former - 1] = self->conn.sock;
    self->n_formers++;
    gi_conn_init(&self->conn, self->client->is.endpoint);
    return s_open(self, false);
}

static void s_close(void *ctx) {
    gi_client_actor_t *self = ctx;
    gi_sock_close(&self->conn.sock);
}

static int s_send(void *ctx, uint8_t conn, gi_frames_t *frames) {
    gi_client_actor_t *self = ctx;
    return gi_sock_send(conn ? &self->formers[conn - 1] : &self->conn.sock,
                        frames);
}

static void s_offered(void *ctx, gate_bytes_t offer) {
    gi_client_actor_t *self = ctx;
    const gi_client_config_t *is = &self->client->is;
    gi_sock_offered(&self->conn.sock, offer, is->settings,
                    is->login.curve_cert != NULL);
}

static void s_trouble(void *ctx, const char *text) {
    gi_client_actor_t *self = ctx;
    gi_client_shared_t *shared = &self->client->shared;
    gi_lock(&shared->lock);
    snprintf(shared->trouble, sizeof shared->trouble, "%s", text);
    gi_unlock(&shared->lock);
    gi_news_tell(&shared->news);
}

static const gi_client_effects_t s_effects = {.send = s_send,
                                              .reopen = s_reopen,
                                              .move = s_move,
                                              .close = s_close,
                                              .trouble = s_trouble,
                                              .answer = gi_pending_answer,
                                              .item = gi_pending_item,
                                              .row_item = gi_pending_row_item,
                                              .end = gi_pending_end,
                                              .fail = gi_pending_fail,
                                              .times = gi_pending_times,
                                              .huge = gi_client_huge_begin,
                                              .chunk = gi_client_huge_chunk,
                                              .chunks_end = gi_client_huge_end,
                                              .upload = gi_client_upload_start,
                                              .idle_ms = gi_pending_idle_ms,
                                              .left = gi_pending_left,
                                              .offered = s_offered};

/* The law, where it may cost something: in debug builds and under sanitizers. */
static void s_check(const gi_client_actor_t *self) {
#ifdef GI_CHECK_LAWS
    assert(gi_client_core_valid(self->core));
#else
    (void)self;
#endif
}

/* ---- what comes in ------------------------------------------------------- */
static bool s_receive(gi_client_actor_t *self, gi_sock_t *sock, uint8_t conn) {
    const gate_settings_t *settings = self->client->is.settings;
    unsigned max = (unsigned)settings->frames_max;
    bool any = false;
    for (int64_t i = 0; i < settings->batch_max && sock->raw; i++) {
        int rc = gi_sock_recv(sock, &self->in, max);
        if (!rc)
            break;
        any = true;
        if (rc > 0 && gi_frames_unpack(&self->in, 0, max))
            gi_client_core_message(self->core, conn, &self->in, self->now_ms);
        else if (rc != -2)
            gi_client_core_unreadable(self->core);
        gi_frames_close(&self->in);
        s_check(self);
    }
    return any;
}

static void s_event(gi_client_actor_t *self, gi_conn_event_t event,
                    const char *why) {
    if (event == GI_CONN_CONNECTED)
        gi_client_core_connected(self->core, self->now_ms);
    else if (event == GI_CONN_CLOSED)
        gi_client_core_closed(self->core, 0, self->now_ms);
    else if (event == GI_CONN_UNREACHED)
        gi_client_core_unreached(self->core, why, self->now_ms);
    else
        gi_client_core_refused(self->core, why, self->now_ms);
    s_check(self);
}

/* Answers that came before the end of the connection are read before that is
 * believed, as far as libzmq has kept them: a broker's last word is why a call
 * ends. */
static void s_last_words(gi_client_actor_t *self) {
    do
        self->conn.sock.maybe = true;
    while (s_receive(self, &self->conn.sock, 0));
}

static bool s_events(gi_client_actor_t *self) {
    const gi_client_config_t *is = &self->client->is;
    char why[GI_CONN_WHY] = "";
    gi_conn_event_t event;
    bool any = false;
    while ((event = gi_conn_next(&self->conn, &is->login, is->endpoint, why))) {
        if (event == GI_CONN_CLOSED)
            s_last_words(self);
        s_event(self, event, why);
        any = true;
    }
    return any;
}

static bool s_former(gi_client_actor_t *self, uint8_t former) {
    gi_sock_t *sock = &self->formers[former - 1];
    int event, value;
    bool any = s_receive(self, sock, former), closed = false;
    while (!any && gi_sock_event(sock, &event, &value))
        closed |= event == ZMQ_EVENT_DISCONNECTED;
    if (closed)
        gi_client_core_closed(self->core, former, self->now_ms);
    if (gi_client_core_former_over(self->core, former)) {
        gi_sock_close(sock);
        self->n_formers--;
    }
    s_check(self);
    return any || closed;
}

static bool s_formers(gi_client_actor_t *self) {
    bool any = false;
    for (uint8_t i = 1; self->n_formers && i <= GI_CFORMERS_MAX; i++)
        if (self->formers[i - 1].raw)
            any |= s_former(self, i);
    return any;
}

/* ---- commands ------------------------------------------------------------ */
static gate_err_t s_ready(void *arg, const char *unused, gi_buf_t *out) {
    gate_client_t *client = arg;
    bool ready;
    (void)unused;
    gate_err_t e = gi_client_core_ready(client->own->core, &ready);
    gi_buf_append(out, ready ? "1" : "0", 1);
    return e;
}

static gate_err_t s_stats(void *arg, const char *unused, gi_buf_t *out) {
    gate_client_t *client = arg;
    (void)unused;
    gi_client_core_stats(client->own->core,
                         (uint64_t)gi_gauge_read(&client->shared.in_flight),
                         out);
    return GATE_OK;
}

static const gi_command_t s_commands[] = {
    {"READY", s_ready}, {"STATS", s_stats}, {NULL, NULL}};

/* ---- mail ---------------------------------------------------------------- */
static void s_control(gi_client_actor_t *self, gi_ccontrol_t *control) {
    gi_pending_t *p = control->pending;
    if (control->mail.kind == GI_CMAIL_CANCEL)
        gi_client_core_cancel(self->core, &p->call, self->now_ms);
    else
        gi_client_core_credit(self->core, &p->call, control->items,
                              control->bytes, self->now_ms);
    gi_client_call_drop(p);
    gi_mem_free(control);
}

static void s_one(gi_client_actor_t *self, gi_cmail_t *mail) {
    if (mail->kind == GI_CMAIL_CALL)
        gi_client_core_start(self->core, &((gi_pending_t *)(void *)mail)->call,
                             self->now_ms);
    else if (mail->kind == GI_CMAIL_HUGE)
        gi_client_huge_mail(self, mail);
    else if (mail->kind == GI_CMAIL_READY)
        gi_client_upload_awake(self->client);
    else
        s_control(self, (gi_ccontrol_t *)(void *)mail);
    s_check(self);
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    gi_client_actor_t *self = ((gate_client_t *)arg)->own;
    self->now_ms = now_ms;
    for (size_t i = 0; i < n; i++)
        s_one(self, items[i]);
}

/* ---- the pass ------------------------------------------------------------ */
static void s_tell_brief(gi_client_actor_t *self) {
    bool brief = gi_sock_brief(&self->conn.sock);
    if (brief && !self->brief)
        gi_gauge_add(&self->client->shared.lane);
    if (!brief && self->brief)
        gi_gauge_leave(&self->client->shared.lane);
    self->brief = brief;
}

static bool s_flush(gi_client_actor_t *self) {
    gi_sock_load(&self->conn.sock,
                 (size_t)gi_gauge_read(&self->client->shared.in_flight));
    s_tell_brief(self);
    bool any = gi_sock_flush(&self->conn.sock);
    for (unsigned i = 0; self->n_formers && i < GI_CFORMERS_MAX; i++)
        any |= gi_sock_flush(&self->formers[i]);
    return any;
}

static bool s_work(void *arg, int64_t now_ms) {
    gi_client_actor_t *self = ((gate_client_t *)arg)->own;
    self->now_ms = now_ms;
    bool busy = gi_parcel_flush(&self->conn.sock); /* what the mail said */
    busy |= s_receive(self, &self->conn.sock, 0);
    busy |= s_formers(self);
    busy |= s_events(self);
    busy |= gi_client_core_tick(self->core, now_ms);
    busy |= gi_client_upload_pull(self);
    busy |= s_flush(self);
    s_check(self);
    return busy;
}

static int64_t s_next(void *arg, int64_t now_ms) {
    gi_client_actor_t *self = ((gate_client_t *)arg)->own;
    int64_t next = gi_client_core_next(self->core, now_ms);
    int64_t look = gi_client_upload_next(self, now_ms);
    if (gi_parcel_waits(&self->conn.sock) && look > now_ms + S_FULL_MS)
        look = now_ms + S_FULL_MS;
    return look < next ? look : next;
}

static void s_fds(void *arg, gi_polled_t *polled) {
    gi_client_actor_t *self = ((gate_client_t *)arg)->own;
    gi_sock_poll(&self->conn.sock, polled);
    for (unsigned i = 0; self->n_formers && i < GI_CFORMERS_MAX; i++)
        gi_sock_poll(&self->formers[i], polled);
}

static bool s_calm(void *arg) {
    gi_client_actor_t *self = ((gate_client_t *)arg)->own;
    return gi_sock_calm(&self->conn.sock);
}

static bool s_there(void *arg) {
    gi_client_actor_t *self = ((gate_client_t *)arg)->own;
    return gi_sock_there(&self->conn.sock);
}

/* ---- life ---------------------------------------------------------------- */
/* What requests announce: as many as there is room for, ours first. */
static void s_name_codecs(gi_client_actor_t *self) {
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

static gate_err_t s_make(gi_client_actor_t *self) {
    const gi_client_config_t *is = &self->client->is;
    gi_client_core_options_t options = {.settings = is->settings,
                                        .login = &is->login,
                                        .endpoint = is->endpoint,
                                        .codecs = self->codecs};
    gi_random(&options.seed, sizeof options.seed);
    s_name_codecs(self);
    gi_conn_init(&self->conn, is->endpoint);
    options.watched = self->conn.watched;
    self->core = gi_client_core_new(&options, &s_effects, self, self->now_ms);
    if (!self->core)
        return gi_err(GATE_NOMEM, "no memory for a client's calls");
    gate_err_t e = s_open(self, false);
    if (!e)
        gi_client_core_open(self->core, self->now_ms);
    return e;
}

static void s_free(gate_client_t *client) {
    gi_client_actor_t *self = client->own;
    client->own = NULL;
    if (self->core)
        gi_client_core_destroy(&self->core);
    gi_conn_close(&self->conn);
    for (unsigned i = 0; i < GI_CFORMERS_MAX; i++)
        gi_sock_close(&self->formers[i]);
    gi_mem_free(self);
}

static gate_err_t s_start(void *arg) {
    gate_client_t *client = arg;
    gi_client_actor_t *self = gi_mem_alloc(sizeof *self);
    if (!self)
        return gi_err(GATE_NOMEM, "no memory for a client");
    memset(self, 0, offsetof(gi_client_actor_t, in));
    gi_frames_init(&self->in);
    client->is.mailbox = gi_actor_mailbox(client->is.actor);
    client->own = self;
    self->client = client;
    gi_affinity_actor(client->is.settings);
    self->now_ms = gi_clock_ms();
    gate_err_t e = s_make(self);
    if (e)
        s_free(client);
    return e;
}

/* What was said last gets out: libzmq's threads send it behind our back, and
 * the end of the process waits for them so long at most. */
static void s_linger(gi_client_actor_t *self) {
    for (unsigned i = 0; i <= GI_CFORMERS_MAX; i++) {
        gi_sock_t *sock = i ? &self->formers[i - 1] : &self->conn.sock;
        if (sock->raw)
            gi_sock_linger(sock, S_LINGER_MS);
    }
}

static void s_stop(void *arg) {
    gate_client_t *client = arg;
    gi_client_actor_t *self = client->own;
    if (gi_client_core_stop(self->core, gi_clock_ms()))
        s_linger(self);
    s_check(self);
    s_free(client);
    gi_news_tell(&client->shared.news);
}

const gi_actor_ops_t gi_client_ops = {.name = "gate-client",
                                      .commands = s_commands,
                                      .start = s_start,
                                      .stop = s_stop,
                                      .mail = s_mail,
                                      .work = s_work,
                                      .next = s_next,
                                      .fds = s_fds,
                                      .calm = s_calm,
                                      .there = s_there};
