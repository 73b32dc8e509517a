/* SPDX-License-Identifier: BSD-3-Clause */
/* carrier_nats.c -- links' messages over NATS core, by libnats in the poll loop
 * of the uplink's thread. A library of its own: a broker without an uplink has
 * neither libnats nor its threads.
 *
 * A carrier is one connection. It is made on a thread of its own, since a server
 * that does not answer takes seconds and links have heartbeats meanwhile; and it
 * is never mended by libnats: its event loop mode keeps the parser of the old
 * connection, which takes what the new one brings for the rest of a message that
 * was cut (seen with 3.4.1: deaf for minutes). So a connection that breaks is
 * over, and the uplink opens another one.
 * Thread: the uplink's. libnats calls back on threads of its own as well: these
 * callbacks set a few atomics and post a word, nothing else. No flush, no
 * request, no drain: they would wait for what this thread has to read. */
#include "link/carrier.h"

#include <nats/nats.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S_BUFFERED_MAX (1 << 20) /* in libnats: it never refuses, it grows */
#define S_CONNECT_MS 2000
#define S_CONNECT_LEAST_MS 500
#define S_PING_LEAST_MS 20
#define S_CLOSE_MS 5000
#define S_SUBJECT_MAX 128
#define S_PINGS_OUT 2
#define S_IO_BYTES 65536
#define S_DONE_MAX 64 /* messages that wait to be freed */
#define S_DONE_BYTES (256 << 10)

enum { S_UP = 1, S_OVER, S_POLL };

/* Who has it: the thread that connects; the uplink; again that thread, alone,
 * when the uplink did not wait for it. */
enum { S_CONNECTING, S_CONNECTED, S_LEFT };

struct gi_carrier {
    const gi_carrier_events_t *events;
    void *ctx;
    pthread_t thread;
    atomic_int state;
    natsOptions *options;
    natsConnection *connection;
    natsSubscription *all, *mine;
    atomic_int fd, writes, up, over;
    atomic_int attached, closed; /* s_is_quiet */
    int64_t message_max;
    natsMsg *done[S_DONE_MAX];
    int n_done, done_bytes;
    char subject_all[S_SUBJECT_MAX], subject_mine[S_SUBJECT_MAX];
    char why[GI_CARRIER_TEXT], server[GI_CARRIER_TEXT];
};

/* ---- libnats calls, on any thread ---------------------------------------- */
/* Nobody listens while it connects, and nobody may be there. */
static void s_post(gi_carrier_t *self, int what, int value) {
    if (atomic_load(&self->state) == S_CONNECTED)
        self->events->post(self->ctx, (gi_carrier_word_t){what, value});
}

static natsStatus s_attach(void **user, void *loop, natsConnection *connection,
                           natsSock socket) {
    gi_carrier_t *self = loop;
    (void)connection;
    *user = self;
    atomic_store(&self->attached, 1);
    atomic_store(&self->writes, 0);
    atomic_store(&self->fd, (int)socket);
    s_post(self, S_POLL, (int)socket);
    return NATS_OK;
}

static natsStatus s_read(void *user, bool add) {
    (void)user, (void)add;
    return NATS_OK;
}

static natsStatus s_write(void *user, bool add) {
    gi_carrier_t *self = user;
    if (atomic_exchange(&self->writes, add) != (int)add && add)
        s_post(self, S_POLL, 0);
    return NATS_OK;
}

static natsStatus s_detach(void *user) {
    gi_carrier_t *self = user;
    atomic_store(&self->fd, -1);
    atomic_store(&self->attached, 0); /* the last touch */
    return NATS_OK;
}

static void s_closed(natsConnection *connection, void *closure) {
    gi_carrier_t *self = closure;
    (void)connection;
    atomic_store(&self->up, 0);
    atomic_store(&self->over, 1);
    s_post(self, S_OVER, 0);
    atomic_store(&self->closed, 1); /* the last touch */
}

/* Asynchronous errors show as what they lead to; the default handler prints. */
static void s_error(natsConnection *connection, natsSubscription *subscription,
                    natsStatus status, void *closure) {
    (void)connection, (void)subscription, (void)status, (void)closure;
}

/* ---- opening ------------------------------------------------------------- */
/* libnats names the line of its own source first: "(conn.c:2088): ". */
static const char *s_plain(const char *text) {
    const char *end = text && *text == '(' ? strstr(text, "): ") : NULL;
    return end ? end + 3 : text;
}

static void s_tell(char *why, natsStatus status) {
    natsStatus last = NATS_OK;
    const char *text = s_plain(nats_GetLastError(&last));
    bool more = text && *text && strcmp(text, natsStatus_GetText(status)) != 0;
    snprintf(why, GI_CARRIER_TEXT, "%s%s%s", natsStatus_GetText(status),
             more ? ": " : "", more ? text : "");
}

static natsStatus s_servers(natsOptions *o, const char *urls) {
    char copy[GI_CARRIER_URLS_BYTES];
    const char *list[GI_CARRIER_URLS_MAX];
    char *rest = NULL;
    int n = 0;
    if (strlen(urls) >= sizeof copy)
        return NATS_INVALID_ARG;
    strcpy(copy, urls);
    for (char *p = strtok_r(copy, ", ", &rest); p && n < GI_CARRIER_URLS_MAX;
         p = strtok_r(NULL, ", ", &rest))
        list[n++] = p;
    return n ? natsOptions_SetServers(o, list, n) : NATS_INVALID_ARG;
}

static natsStatus s_credentials(natsOptions *o, const gi_carrier_wish_t *w) {
    if (w->creds)
        return natsOptions_SetUserCredentialsFromFiles(o, w->creds, NULL);
    if (w->nkey)
        return natsOptions_SetNKeyFromSeed(o, w->nkey_public, w->nkey);
    return w->user ? natsOptions_SetUserInfo(o, w->user,
                                             w->password ? w->password : "")
                   : NATS_OK;
}

static natsStatus s_tls(natsOptions *o, const gi_carrier_wish_t *w) {
    natsStatus s = NATS_OK;
    if (!w->secure)
        return s;
    s = natsOptions_SetSecure(o, true); /* of tls:// it takes no notice */
    if (s == NATS_OK && w->ca)
        s = natsOptions_LoadCATrustedCertificates(o, w->ca);
    if (s == NATS_OK && w->cert)
        s = natsOptions_LoadCertificatesChain(o, w->cert, w->key);
    return s;
}

static natsStatus s_callbacks(gi_carrier_t *self) {
    natsOptions *o = self->options;
    natsStatus s =
        natsOptions_SetEventLoop(o, self, s_attach, s_read, s_write, s_detach);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(o, s_closed, self);
    return s == NATS_OK ? natsOptions_SetErrorHandler(o, s_error, self) : s;
}

static int64_t s_between(int64_t least, int64_t value, int64_t most) {
    return value < least ? least : value > most ? most : value;
}

/* A server that has stopped is given up after one and a half heartbeats: links
 * are lost after three. */
static natsStatus s_options(gi_carrier_t *self, const gi_carrier_wish_t *w) {
    natsStatus s = natsOptions_Create(&self->options);
    natsOptions *o = self->options;
    if (s != NATS_OK)
        return s;
    natsOptions_SetNoEcho(o, true);
    natsOptions_SetSendAsap(o, true);
    natsOptions_SetAllowReconnect(o, false);
    natsOptions_SetTimeout(
        o, s_between(S_CONNECT_LEAST_MS, w->beat_ms, S_CONNECT_MS));
    natsOptions_SetPingInterval(
        o, s_between(S_PING_LEAST_MS, w->beat_ms / 2, w->beat_ms));
    natsOptions_SetMaxPingsOut(o, S_PINGS_OUT);
    natsOptions_SetIOBufSize(o, S_IO_BYTES);
    natsOptions_SetName(o, w->name);
    s = s_servers(o, w->urls);
    if (s == NATS_OK)
        s = s_credentials(o, w);
    if (s == NATS_OK)
        s = s_tls(o, w);
    return s == NATS_OK ? s_callbacks(self) : s;
}

static natsStatus s_listen(gi_carrier_t *self, const char *subject,
                           natsSubscription **out) {
    natsStatus s = natsConnection_SubscribeSync(out, self->connection, subject);
    return s == NATS_OK ? natsSubscription_SetPendingLimits(*out, -1, -1) : s;
}

/* ---- messages that were read ---------------------------------------------- */
/* libnats frees them on a thread of its own, which is woken for it: so many at
 * a time, or each costs two changes of thread. */
static void s_free_done(gi_carrier_t *self) {
    for (int i = 0; i < self->n_done; i++)
        natsMsg_Destroy(self->done[i]);
    self->n_done = self->done_bytes = 0;
}

static void s_done(gi_carrier_t *self, natsMsg *msg) {
    self->done[self->n_done++] = msg;
    self->done_bytes += natsMsg_GetDataLength(msg);
    if (self->n_done == S_DONE_MAX || self->done_bytes >= S_DONE_BYTES)
        s_free_done(self);
}

/* ---- life ---------------------------------------------------------------- */
static void s_flush(gi_carrier_t *self) {
    if (atomic_load(&self->writes) && atomic_load(&self->fd) >= 0)
        natsConnection_ProcessWriteEvent(self->connection);
}

static bool s_is_left(const gi_carrier_t *self) {
    return atomic_load(&self->closed) && !atomic_load(&self->attached);
}

/* That it is closed is told by one thread, and that it is detached by another:
 * the one that found a stale connection is not waited for by Close. */
static bool s_is_quiet(const gi_carrier_t *self) {
    const struct timespec pause = {0, 1000000};
    for (int i = 0; i < S_CLOSE_MS && !s_is_left(self); i++)
        nanosleep(&pause, NULL);
    return s_is_left(self);
}

/* With anything unwritten, Close would wait half a second for a PONG that this
 * thread alone could read: so nothing is unwritten, and subscriptions go last. */
static void s_destroy(gi_carrier_t *self) {
    bool quiet = true;
    s_free_done(self);
    if (self->connection) {
        s_flush(self);
        natsConnection_Close(self->connection);
        quiet = s_is_quiet(self);
    }
    natsSubscription_Destroy(self->all);
    natsSubscription_Destroy(self->mine);
    natsConnection_Destroy(self->connection);
    natsOptions_Destroy(self->options);
    if (quiet) /* else it is left to whoever may still call */
        free(self);
}

static natsStatus s_connect(gi_carrier_t *self) {
    natsStatus s = natsConnection_Connect(&self->connection, self->options);
    if (s == NATS_OK)
        s = s_listen(self, self->subject_all, &self->all);
    if (s == NATS_OK)
        s = s_listen(self, self->subject_mine, &self->mine);
    return s;
}

static void *s_run(void *arg) {
    gi_carrier_t *self = arg;
    int connecting = S_CONNECTING;
    natsStatus s = s_connect(self);
    if (s == NATS_OK) {
        self->message_max = natsConnection_GetMaxPayload(self->connection);
        atomic_store(&self->up, 1);
    } else {
        s_tell(self->why, s);
        atomic_store(&self->over, 1);
    }
    if (!atomic_compare_exchange_strong(&self->state, &connecting, S_CONNECTED))
        s_destroy(self);
    else
        s_post(self, s == NATS_OK ? S_UP : S_OVER, 0);
    return NULL;
}

/* Signals are other threads' business. */
static bool s_begin(gi_carrier_t *self) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&self->thread, NULL, s_run, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

static gi_carrier_t *s_open(const gi_carrier_wish_t *wish,
                            const gi_carrier_events_t *events, void *ctx,
                            char *why) {
    gi_carrier_t *self = calloc(1, sizeof *self);
    if (self == NULL) {
        snprintf(why, GI_CARRIER_TEXT, "no memory");
        return NULL;
    }
    self->events = events;
    self->ctx = ctx;
    snprintf(self->subject_all, S_SUBJECT_MAX, "%s", wish->all);
    snprintf(self->subject_mine, S_SUBJECT_MAX, "%s", wish->mine);
    atomic_store(&self->fd, -1);
    natsStatus s = s_options(self, wish);
    if (s == NATS_OK && s_begin(self))
        return self;
    if (s == NATS_OK)
        snprintf(why, GI_CARRIER_TEXT, "no thread");
    else
        s_tell(why, s);
    s_destroy(self);
    return NULL;
}

/* Whoever still connects is not waited for: it ends by itself. */
static void s_close(gi_carrier_t *self) {
    int connecting = S_CONNECTING;
    pthread_t thread = self->thread;
    if (atomic_compare_exchange_strong(&self->state, &connecting, S_LEFT)) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    s_destroy(self);
}

/* ---- working ------------------------------------------------------------- */
static bool s_is_connected(const gi_carrier_t *self) {
    return atomic_load(&self->state) == S_CONNECTED;
}

static void s_told(gi_carrier_t *self, gi_carrier_word_t word) {
    const char *text = NULL;
    if (!s_is_connected(self)) /* a word of the one before */
        return;
    if (word.what == S_OVER && self->connection &&
        natsConnection_GetLastError(self->connection, &text) != NATS_OK && text)
        snprintf(self->why, sizeof self->why, "%s", s_plain(text));
}

static bool s_is_up(const gi_carrier_t *self) {
    return s_is_connected(self) && atomic_load(&self->up) &&
           !atomic_load(&self->over);
}

static bool s_is_over(const gi_carrier_t *self) {
    return s_is_connected(self) && atomic_load(&self->over);
}

static const char *s_why(const gi_carrier_t *self) {
    return s_is_connected(self) ? self->why : "";
}

static const char *s_server(const gi_carrier_t *self) {
    gi_carrier_t *mine = (gi_carrier_t *)(uintptr_t)self;
    if (!s_is_up(self) ||
        natsConnection_GetConnectedUrl(self->connection, mine->server,
                                       sizeof mine->server) != NATS_OK)
        mine->server[0] = 0;
    return self->server;
}

static size_t s_message_max(const gi_carrier_t *self) {
    return s_is_connected(self) && self->message_max > 0
               ? (size_t)self->message_max
               : 0;
}

static int s_fd(const gi_carrier_t *self, bool *writes) {
    bool up = s_is_up(self);
    *writes = up && atomic_load(&self->writes);
    return up ? atomic_load(&self->fd) : -1;
}

/* As many as are there: for an empty subscription libnats composes an error's
 * text and stack, which was three quarters of what the uplink did for a call. */
static void s_take(gi_carrier_t *self, natsSubscription *from, bool to_all) {
    natsMsg *msg = NULL;
    int n = 0;
    if (natsSubscription_GetPending(from, &n, NULL) != NATS_OK)
        return;
    for (; n > 0 && natsSubscription_NextMsg(&msg, from, 0) == NATS_OK; n--) {
        gate_bytes_t view = {natsMsg_GetData(msg),
                             (size_t)natsMsg_GetDataLength(msg)};
        self->events->message(self->ctx, to_all, view);
        s_done(self, msg);
    }
}

static void s_read_all(gi_carrier_t *self) {
    if (!s_is_connected(self) || self->connection == NULL ||
        atomic_load(&self->fd) < 0)
        return;
    natsConnection_ProcessReadEvent(self->connection);
    s_take(self, self->all, true);
    s_take(self, self->mine, false);
}

static bool s_ready(const gi_carrier_t *self) {
    return s_is_up(self) &&
           natsConnection_Buffered(self->connection) < S_BUFFERED_MAX;
}

static bool s_publish(gi_carrier_t *self, const char *subject, const void *data,
                      size_t size) {
    return s_is_up(self) && natsConnection_Publish(self->connection, subject,
                                                   data, (int)size) == NATS_OK;
}

static void s_flush_up(gi_carrier_t *self) {
    if (s_is_up(self))
        s_flush(self);
}

__attribute__((
    visibility("default"))) extern const gi_carrier_ops_t gi_carrier_nats;
const gi_carrier_ops_t gi_carrier_nats = {.version = GI_CARRIER_VERSION,
                                          .open = s_open,
                                          .close = s_close,
                                          .told = s_told,
                                          .is_up = s_is_up,
                                          .is_over = s_is_over,
                                          .why = s_why,
                                          .server = s_server,
                                          .message_max = s_message_max,
                                          .fd = s_fd,
                                          .read = s_read_all,
                                          .ready = s_ready,
                                          .publish = s_publish,
                                          .flush = s_flush_up};
