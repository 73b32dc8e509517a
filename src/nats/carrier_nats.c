/* SPDX-License-Identifier: BSD-3-Clause */
/* carrier_nats.c -- links' messages over NATS core, by libnats in the poll loop
 * of the uplink's thread. A library of its own: a broker without an uplink has
 * neither libnats nor its threads.
 * Thread: the uplink's. libnats calls back on threads of its own as well, where
 * it reconnects: these callbacks set a few atomics and post a word, nothing
 * else. Law: while it is not connected nothing is published, or libnats would
 * keep it and everything came twice. No flush, no request, no drain: they would
 * wait for what this thread has to read. */
#include "link/carrier.h"

#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S_URLS_MAX 16
#define S_URLS_BYTES 2048
#define S_BUFFERED_MAX (1 << 20) /* in libnats: it never refuses, it grows */
#define S_RECONNECT_MS 50
#define S_JITTER_MS 20
#define S_CONNECT_MS 2000
#define S_CLOSE_MS 5000
#define S_PINGS_OUT 2
#define S_IO_BYTES 65536
#define S_NKEY_SIZE 56 /* a public one, in base32 */

enum { S_DOWN = 1, S_UP, S_OVER, S_POLL };

struct gi_carrier {
    const gi_carrier_wish_t *wish;
    const gi_carrier_events_t *events;
    void *ctx;
    natsOptions *options;
    natsConnection *connection;
    natsSubscription *all, *mine;
    atomic_int fd, writes, up, over;
    atomic_uint reconnects;
    int64_t message_max;
    char why[GI_CARRIER_TEXT], server[GI_CARRIER_TEXT];
};

/* ---- libnats calls, on any thread ---------------------------------------- */
static void s_post(gi_carrier_t *self, int what, int value) {
    self->events->post(self->ctx, (gi_carrier_word_t){what, value});
}

static natsStatus s_attach(void **user, void *loop, natsConnection *connection,
                           natsSock socket) {
    gi_carrier_t *self = loop;
    (void)connection;
    *user = self;
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
    return NATS_OK;
}

static void s_disconnected(natsConnection *connection, void *closure) {
    gi_carrier_t *self = closure;
    (void)connection;
    atomic_store(&self->up, 0);
    s_post(self, S_DOWN, 0);
}

static void s_reconnected(natsConnection *connection, void *closure) {
    gi_carrier_t *self = closure;
    (void)connection;
    atomic_fetch_add(&self->reconnects, 1);
    atomic_store(&self->up, 1);
    s_post(self, S_UP, 0);
}

static void s_closed(natsConnection *connection, void *closure) {
    gi_carrier_t *self = closure;
    (void)connection;
    atomic_store(&self->up, 0);
    s_post(self, S_OVER, 0);
    atomic_store(&self->over, 1); /* the last touch: see s_close */
}

/* Asynchronous errors show as what they lead to; the default handler prints. */
static void s_error(natsConnection *connection, natsSubscription *subscription,
                    natsStatus status, void *closure) {
    (void)connection, (void)subscription, (void)status, (void)closure;
}

/* ---- opening ------------------------------------------------------------- */
static void s_tell(char *why, natsStatus status) {
    natsStatus last = NATS_OK;
    const char *text = nats_GetLastError(&last);
    bool more = text && *text && strcmp(text, natsStatus_GetText(status)) != 0;
    snprintf(why, GI_CARRIER_TEXT, "%s%s%s", natsStatus_GetText(status),
             more ? ": " : "", more ? text : "");
}

static natsStatus s_servers(natsOptions *o, const char *urls) {
    char copy[S_URLS_BYTES];
    const char *list[S_URLS_MAX];
    char *rest = NULL;
    int n = 0;
    if (strlen(urls) >= sizeof copy)
        return NATS_INVALID_ARG;
    strcpy(copy, urls);
    for (char *p = strtok_r(copy, ", ", &rest); p && n < S_URLS_MAX;
         p = strtok_r(NULL, ", ", &rest))
        list[n++] = p;
    return n ? natsOptions_SetServers(o, list, n) : NATS_INVALID_ARG;
}

/* libnats wants the public key beside the seed: both are lines of the file. */
static bool s_public_key(const char *file, char key[S_NKEY_SIZE + 1]) {
    char line[256];
    FILE *f = fopen(file, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *p = line + strspn(line, "# \t");
        size_t n = strcspn(p, " \t\r\n");
        found = n == S_NKEY_SIZE && *p == 'U';
        if (found) {
            memcpy(key, p, n);
            key[n] = 0;
        }
    }
    if (f)
        fclose(f);
    return found;
}

static natsStatus s_credentials(natsOptions *o, const gi_carrier_wish_t *w) {
    char key[S_NKEY_SIZE + 1];
    if (w->creds)
        return natsOptions_SetUserCredentialsFromFiles(o, w->creds, NULL);
    if (w->nkey)
        return s_public_key(w->nkey, key)
                   ? natsOptions_SetNKeyFromSeed(o, key, w->nkey)
                   : NATS_INVALID_ARG;
    return w->user ? natsOptions_SetUserInfo(o, w->user,
                                             w->password ? w->password : "")
                   : NATS_OK;
}

static natsStatus s_tls(natsOptions *o, const gi_carrier_wish_t *w) {
    natsStatus s = NATS_OK;
    if (!w->ca && !w->cert)
        return s;
    s = natsOptions_SetSecure(o, true);
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
        s = natsOptions_SetDisconnectedCB(o, s_disconnected, self);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectedCB(o, s_reconnected, self);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(o, s_closed, self);
    return s == NATS_OK ? natsOptions_SetErrorHandler(o, s_error, self) : s;
}

static natsStatus s_options(gi_carrier_t *self) {
    const gi_carrier_wish_t *w = self->wish;
    natsStatus s = natsOptions_Create(&self->options);
    natsOptions *o = self->options;
    if (s != NATS_OK)
        return s;
    natsOptions_SetNoEcho(o, true);
    natsOptions_SetSendAsap(o, true);
    natsOptions_SetAllowReconnect(o, true);
    natsOptions_SetMaxReconnect(o, INT32_MAX);
    natsOptions_SetReconnectWait(o, S_RECONNECT_MS);
    natsOptions_SetReconnectJitter(o, S_JITTER_MS, S_JITTER_MS);
    natsOptions_SetTimeout(o, S_CONNECT_MS);
    natsOptions_SetPingInterval(o, w->beat_ms);
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

/* The callback that it is closed comes from another thread, as the last one. */
static bool s_is_quiet(gi_carrier_t *self) {
    const struct timespec pause = {0, 1000000};
    for (int i = 0; i < S_CLOSE_MS && !atomic_load(&self->over); i++)
        nanosleep(&pause, NULL);
    return atomic_load(&self->over);
}

static void s_close(gi_carrier_t *self) {
    natsSubscription_Destroy(self->all);
    natsSubscription_Destroy(self->mine);
    bool quiet = true;
    if (self->connection) {
        natsConnection_Close(self->connection);
        quiet = s_is_quiet(self);
        natsConnection_Destroy(self->connection);
    }
    natsOptions_Destroy(self->options);
    if (quiet) /* else it is left to whoever may still call */
        free(self);
}

static gi_carrier_t *s_open(const gi_carrier_wish_t *wish,
                            const gi_carrier_events_t *events, void *ctx,
                            char *why) {
    gi_carrier_t *self = calloc(1, sizeof *self);
    if (self == NULL) {
        snprintf(why, GI_CARRIER_TEXT, "no memory");
        return NULL;
    }
    self->wish = wish;
    self->events = events;
    self->ctx = ctx;
    atomic_store(&self->fd, -1);
    natsStatus s = s_options(self);
    if (s == NATS_OK)
        s = natsConnection_Connect(&self->connection, self->options);
    if (s == NATS_OK)
        s = s_listen(self, wish->all, &self->all);
    if (s == NATS_OK)
        s = s_listen(self, wish->mine, &self->mine);
    if (s != NATS_OK) {
        s_tell(why, s);
        s_close(self);
        return NULL;
    }
    self->message_max = natsConnection_GetMaxPayload(self->connection);
    atomic_store(&self->up, 1);
    return self;
}

/* ---- working ------------------------------------------------------------- */
static void s_told(gi_carrier_t *self, gi_carrier_word_t word) {
    const char *text = NULL;
    if (word.what == S_UP)
        self->message_max = natsConnection_GetMaxPayload(self->connection);
    if ((word.what == S_DOWN || word.what == S_OVER) &&
        natsConnection_GetLastError(self->connection, &text) != NATS_OK && text)
        snprintf(self->why, sizeof self->why, "%s", text);
}

static bool s_is_up(const gi_carrier_t *self) {
    return atomic_load(&self->up) && !atomic_load(&self->over);
}

static bool s_is_over(const gi_carrier_t *self) {
    return atomic_load(&self->over);
}

static const char *s_why(const gi_carrier_t *self) { return self->why; }

static const char *s_server(const gi_carrier_t *self) {
    gi_carrier_t *mine = (gi_carrier_t *)(uintptr_t)self;
    if (natsConnection_GetConnectedUrl(self->connection, mine->server,
                                       sizeof mine->server) != NATS_OK)
        mine->server[0] = 0;
    return self->server;
}

static uint64_t s_reconnects(const gi_carrier_t *self) {
    return atomic_load(&self->reconnects);
}

static size_t s_message_max(const gi_carrier_t *self) {
    return self->message_max > 0 ? (size_t)self->message_max : 0;
}

static int s_fd(const gi_carrier_t *self, bool *writes) {
    *writes = atomic_load(&self->writes);
    return atomic_load(&self->fd);
}

static bool s_take(gi_carrier_t *self, natsSubscription *from, bool to_all) {
    natsMsg *msg = NULL;
    bool any = false;
    while (natsSubscription_NextMsg(&msg, from, 0) == NATS_OK) {
        gate_bytes_t view = {natsMsg_GetData(msg),
                             (size_t)natsMsg_GetDataLength(msg)};
        self->events->message(self->ctx, to_all, view);
        natsMsg_Destroy(msg);
        any = true;
    }
    return any;
}

static bool s_read_all(gi_carrier_t *self, bool readable) {
    if (readable && atomic_load(&self->fd) >= 0)
        natsConnection_ProcessReadEvent(self->connection);
    bool any = s_take(self, self->all, true);
    return s_take(self, self->mine, false) || any;
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

static void s_flush(gi_carrier_t *self) {
    if (atomic_load(&self->writes) && atomic_load(&self->fd) >= 0)
        natsConnection_ProcessWriteEvent(self->connection);
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
                                          .reconnects = s_reconnects,
                                          .message_max = s_message_max,
                                          .fd = s_fd,
                                          .read = s_read_all,
                                          .ready = s_ready,
                                          .publish = s_publish,
                                          .flush = s_flush};
