/* SPDX-License-Identifier: BSD-3-Clause */
/* sock.c -- sockets in CZMQ's context (ZAP is answered only there). Listeners
 * are made here and given to libzmq by ZMQ_USE_FD, so that the broker has them
 * too: for a filter at the fd limit (tcp) and for a hot restart.
 *
 * zmq_unbind would close accepted connections. So a listener is paused by
 * putting another socket under libzmq's descriptor: its epoll still tells of
 * the old one, its accept finds nothing. */
#include "net/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "net/affinity.h"
#include "base/err.h"
#include "base/trusted.h"
#include "sync/lock.h"
#include "settings/settings.h"

#define S_BACKLOG 4096
#define S_CONNECT_MS 500 /* least time that a connection may take */
#define S_UNACKED 30     /* intervals that a peer may leave what it was sent */

/* ---- context ------------------------------------------------------------- */
static gi_lock_t s_context_lock = {PTHREAD_MUTEX_INITIALIZER};
static bool s_context_made;

static void s_default_env(const char *name, const char *value) {
    setenv(name, value, 0);
}

/* "io_threads=2,max_sockets=65536" -> CZMQ's environment. */
static gate_err_t s_context_option(const char *name, const char *value) {
    if (strcmp(name, "io_threads") == 0)
        s_default_env("ZSYS_IO_THREADS", value);
    else if (strcmp(name, "max_sockets") == 0)
        s_default_env("ZSYS_MAX_SOCKETS", value);
    else
        return gi_err(GATE_BADARG,
                      "zmq_context: unknown option %s; known: io_threads, "
                      "max_sockets",
                      name);
    return GATE_OK;
}

/* Calls fn for each name=value of a comma-separated list. */
static gate_err_t
s_each_option(const char *list,
              gate_err_t (*fn)(void *, const char *, const char *), void *ctx) {
    char text[1024];
    char *save = NULL;
    if (!list || !*list)
        return GATE_OK;
    if (strlen(list) >= sizeof text)
        return gi_err(GATE_TOOBIG, "an option list is longer than 1023 bytes");
    strcpy(text, list);
    for (char *item = strtok_r(text, ", ", &save); item;
         item = strtok_r(NULL, ", ", &save)) {
        char *value = strchr(item, '=');
        if (!value)
            return gi_err(GATE_BADARG, "%s: name=value expected", item);
        *value++ = 0;
        gate_err_t e = fn(ctx, item, value);
        if (e)
            return e;
    }
    return GATE_OK;
}

static gate_err_t s_context_each(void *ctx, const char *name,
                                 const char *value) {
    (void)ctx;
    return s_context_option(name, value);
}

gate_err_t gi_sock_context(const gate_settings_t *settings) {
    gi_lock(&s_context_lock);
    gate_err_t e = GATE_OK;
    if (!s_context_made) {
        e = s_each_option(settings->zmq_context, s_context_each, NULL);
        s_default_env("ZSYS_SIGHANDLER", "false");
        s_default_env("ZSYS_MAX_SOCKETS", "65535");
        if (!e && !zsys_init())
            e = gi_err_errno("no ZeroMQ context");
        if (!e)
            gi_affinity_context(settings, zsys_init());
        s_context_made = !e;
    }
    gi_unlock(&s_context_lock);
    return e;
}

/* ---- options ------------------------------------------------------------- */
static const struct {
    const char *name;
    int option;
} s_options[] = {
    {"affinity", ZMQ_AFFINITY},
    {"backlog", ZMQ_BACKLOG},
    {"connect_timeout", ZMQ_CONNECT_TIMEOUT},
    {"immediate", ZMQ_IMMEDIATE},
    {"ipv6", ZMQ_IPV6},
    {"linger", ZMQ_LINGER},
    {"maxmsgsize", ZMQ_MAXMSGSIZE},
    {"rcvbuf", ZMQ_RCVBUF},
    {"rcvhwm", ZMQ_RCVHWM},
    {"sndbuf", ZMQ_SNDBUF},
    {"sndhwm", ZMQ_SNDHWM},
    {"tcp_keepalive", ZMQ_TCP_KEEPALIVE},
    {"tcp_keepalive_cnt", ZMQ_TCP_KEEPALIVE_CNT},
    {"tcp_keepalive_idle", ZMQ_TCP_KEEPALIVE_IDLE},
    {"tcp_keepalive_intvl", ZMQ_TCP_KEEPALIVE_INTVL},
    {"tcp_maxrt", ZMQ_TCP_MAXRT},
    {"tos", ZMQ_TOS},
};

static gate_err_t s_sock_option(void *raw, const char *name,
                                const char *value) {
    char *end;
    long long number = strtoll(value, &end, 0);
    int option = (int)strtol(name, NULL, 10);
    for (size_t i = 0; i < sizeof s_options / sizeof *s_options; i++)
        if (strcasecmp(s_options[i].name, name) == 0)
            option = s_options[i].option;
    if (!option || end == value || *end)
        return gi_err(GATE_BADARG,
                      "zmq_sock: %s=%s: a known option (or its number) and a "
                      "whole number expected",
                      name, value);
    int as_int = (int)number;
    int64_t as_64 = number;
    if (zmq_setsockopt(raw, option, &as_int, sizeof as_int) < 0 &&
        zmq_setsockopt(raw, option, &as_64, sizeof as_64) < 0)
        return gi_err_errno("zmq_sock: %s=%s", name, value);
    return GATE_OK;
}

static void s_set_int(void *raw, int option, int64_t value) {
    int v = (int)value;
    zmq_setsockopt(raw, option, &v, sizeof v);
}

/* Half-open tcp is found by ZMTP heartbeats of whoever connects, and by the
 * kernel's keep-alives where many connect to: libzmq looks for a timer one by
 * one, so that 10,000 beating connections keep its thread from all else. */
static void s_apply_liveness(gi_sock_t *self, int type, int64_t ivl_ms) {
    int64_t ivl_s = (ivl_ms + 999) / 1000;
    if (ivl_ms == 0)
        return;
    if (type == ZMQ_ROUTER) {
        s_set_int(self->raw, ZMQ_TCP_KEEPALIVE, 1);
        s_set_int(self->raw, ZMQ_TCP_KEEPALIVE_IDLE, ivl_s);
        s_set_int(self->raw, ZMQ_TCP_KEEPALIVE_INTVL, ivl_s);
        s_set_int(self->raw, ZMQ_TCP_KEEPALIVE_CNT, 3);
        s_set_int(self->raw, ZMQ_TCP_MAXRT, S_UNACKED * ivl_ms);
    } else {
        s_set_int(self->raw, ZMQ_HEARTBEAT_IVL, ivl_ms);
        s_set_int(self->raw, ZMQ_HEARTBEAT_TIMEOUT, 3 * ivl_ms);
    }
}

/* Whoever lost its broker shall be back within two heartbeats of when it can:
 * neither the wait between two tries nor a SYN that nobody took, which the
 * kernel repeats ever more rarely, may take longer than one. */
static void s_apply_return(gi_sock_t *self, const gate_settings_t *settings) {
    int64_t beat_ms = gi_settings_heartbeat_ms(settings);
    int64_t wait_ms = beat_ms / 2 > settings->reconnect_ivl_ms
                          ? beat_ms / 2
                          : settings->reconnect_ivl_ms;
    if (wait_ms > settings->reconnect_ivl_max_ms)
        wait_ms = settings->reconnect_ivl_max_ms;
    s_set_int(self->raw, ZMQ_RECONNECT_IVL_MAX, wait_ms);
    s_set_int(self->raw, ZMQ_CONNECT_TIMEOUT,
              beat_ms > S_CONNECT_MS ? beat_ms : S_CONNECT_MS);
}

static gate_err_t s_apply(gi_sock_t *self, int type, gate_bytes_t identity,
                          const gate_settings_t *settings) {
    int64_t max = settings->message_bytes_max;
    s_set_int(self->raw, ZMQ_SNDHWM, settings->zmq_hwm);
    s_set_int(self->raw, ZMQ_RCVHWM, settings->zmq_hwm);
    s_set_int(self->raw, ZMQ_LINGER, 0);
    s_set_int(self->raw, ZMQ_HANDSHAKE_IVL, settings->handshake_ivl_ms);
    s_set_int(self->raw, ZMQ_RECONNECT_IVL, settings->reconnect_ivl_ms);
    s_apply_return(self, settings);
    s_apply_liveness(self, type, settings->zmq_heartbeat_ivl_ms);
    zmq_setsockopt(self->raw, ZMQ_MAXMSGSIZE, &max, sizeof max);
    if (identity.size && zmq_setsockopt(self->raw, ZMQ_ROUTING_ID,
                                        identity.data, identity.size) < 0)
        return gi_err_errno("an identity of %zu bytes", identity.size);
    return s_each_option(settings->zmq_sock, s_sock_option, self->raw);
}

/* ---- life ---------------------------------------------------------------- */
static gate_err_t s_none_left(const char *what) {
    return gi_err_errno("no socket left for %s (CZMQ's cap is %zu: raise it "
                        "with ZSYS_MAX_SOCKETS)",
                        what, zsys_socket_limit());
}

static int s_fd(void *raw) {
    int fd = -1;
    size_t size = sizeof fd;
    zmq_getsockopt(raw, ZMQ_FD, &fd, &size);
    return fd;
}

gate_err_t gi_sock_open(gi_sock_t *self, int type, gate_bytes_t identity,
                        const gate_settings_t *settings) {
    *self = (gi_sock_t){.fd = -1,
                        .monitor_fd = -1,
                        .trusts = settings->trust_others ? GI_TRUST_OTHERS : 0};
    gate_err_t e = gi_sock_context(settings);
    if (e)
        return e;
    self->raw = zsys_socket(type, "gaterpc", 0);
    if (!self->raw)
        return s_none_left("a peer");
    self->fd = s_fd(self->raw);
    self->maybe = self->events_maybe = true;
    e = s_apply(self, type, identity, settings);
    if (e)
        gi_sock_close(self);
    return e;
}

void gi_sock_linger(gi_sock_t *self, int ms) {
    s_set_int(self->raw, ZMQ_LINGER, ms);
}

void gi_sock_close(gi_sock_t *self) {
    if (self->monitor_raw) {
        zmq_socket_monitor(self->raw, NULL, 0);
        zsys_close(self->monitor_raw, "gaterpc", 0);
    }
    if (self->raw)
        zsys_close(self->raw, "gaterpc", 0);
    self->raw = self->monitor_raw = NULL;
    self->fd = self->monitor_fd = -1;
}

/* ---- endpoints ----------------------------------------------------------- */
/* libzmq closes a listener some time after its socket, the kernel a dead
 * process's one by one: an endpoint that was just left is waited for, briefly.
 */
#define S_SOON_TRIES 50
static void s_soon(void) {
    nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
}

static int s_bind_soon(int fd, const struct addrinfo *at) {
    int rc, tries = S_SOON_TRIES;
    while ((rc = bind(fd, at->ai_addr, at->ai_addrlen)) < 0 &&
           errno == EADDRINUSE && --tries)
        s_soon();
    return rc;
}

/* A listening socket for "host:port" (either may be *). */
static gate_err_t s_listen(const char *endpoint, int *out) {
    char host[256], *port;
    const char *address = endpoint + strlen("tcp://");
    if (strlen(address) >= sizeof host)
        return gi_err(GATE_BADARG, "%s: too long", endpoint);
    strcpy(host, address);
    port = strrchr(host, ':');
    if (!port)
        return gi_err(GATE_BADARG, "%s: tcp://host:port expected", endpoint);
    *port++ = 0;
    char *name = host;
    if (*name == '[' && port[-2] == ']') {
        name++;
        port[-2] = 0;
    }
    struct addrinfo hint = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    bool any = strcmp(name, "*") == 0;
    if (any)
        hint.ai_family = AF_INET;
    int rc = getaddrinfo(any ? NULL : name, strcmp(port, "*") ? port : "0",
                         &hint, &list);
    if (rc)
        return gi_err(GATE_SYSTEM, "%s: %s", endpoint, gai_strerror(rc));
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    0),
        one = 1;
    gate_err_t e = GATE_OK;
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        s_bind_soon(fd, list) < 0 || listen(fd, S_BACKLOG) < 0) {
        e = gi_err_errno("%s: cannot listen", endpoint);
        if (fd >= 0)
            close(fd);
    }
    freeaddrinfo(list);
    *out = fd;
    return e;
}

static bool s_starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Makes the listener unless there is one; both descriptors stand then. */
static gate_err_t s_listener(const char *endpoint, gi_listener_t *listener) {
    gate_err_t e = GATE_OK;
    int fd = -1;
    if (listener->fd < 0 && s_starts(endpoint, "tcp://"))
        e = s_listen(endpoint, &fd);
    else if (listener->fd < 0 && s_starts(endpoint, "ipc://") &&
             strcmp(endpoint, "ipc://*") != 0)
        e = gi_ipc_listen(endpoint, endpoint + strlen("ipc://"), SOCK_STREAM, 0,
                          &listener->file, &fd);
    if (e)
        return e;
    if (fd >= 0)
        listener->fd = fd;
    if (listener->fd < 0)
        return GATE_OK;
    listener->zmq_fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 3);
    return listener->zmq_fd < 0
               ? gi_err_errno("%s: no descriptor for a listener", endpoint)
               : GATE_OK;
}

gate_err_t gi_sock_bind(gi_sock_t *self, const char *endpoint, char *out,
                        size_t room, gi_listener_t *listener) {
    int none = -1;
    gate_err_t e = s_listener(endpoint, listener);
    if (e) {
        gi_listener_close(listener);
        return e;
    }
    if (listener->zmq_fd >= 0)
        zmq_setsockopt(self->raw, ZMQ_USE_FD, &listener->zmq_fd, sizeof none);
    if (zmq_bind(self->raw, endpoint) < 0) {
        e = gi_err_errno("%s: cannot bind", endpoint);
        if (listener->zmq_fd >= 0)
            close(listener->zmq_fd);
        gi_listener_close(listener);
    }
    zmq_setsockopt(self->raw, ZMQ_USE_FD, &none, sizeof none);
    if (!e && zmq_getsockopt(self->raw, ZMQ_LAST_ENDPOINT, out, &room) < 0)
        e = gi_err_errno("%s: no endpoint", endpoint);
    return e;
}

gate_err_t gi_sock_connect(gi_sock_t *self, const char *endpoint) {
    if (zmq_connect(self->raw, endpoint) < 0)
        return gi_err_errno("%s: cannot connect", endpoint);
    return GATE_OK;
}

/* ---- events -------------------------------------------------------------- */
gate_err_t gi_sock_watch(gi_sock_t *self, int events) {
    char name[64];
    snprintf(name, sizeof name, "inproc://gate-monitor-%p", self->raw);
    if (zmq_socket_monitor(self->raw, name, events) < 0)
        return s_none_left("a monitor");
    self->monitor_raw = zsys_socket(ZMQ_PAIR, "gaterpc", 0);
    if (!self->monitor_raw)
        return s_none_left("a monitor");
    self->monitor_fd = s_fd(self->monitor_raw);
    s_set_int(self->monitor_raw, ZMQ_LINGER, 0);
    if (zmq_connect(self->monitor_raw, name) < 0)
        return s_none_left("a monitor");
    return GATE_OK;
}

bool gi_sock_event(gi_sock_t *self, int *event, int *value) {
    unsigned char data[6];
    uint16_t number;
    int32_t detail;
    if (!self->monitor_raw || !self->events_maybe)
        return false;
    if (zmq_recv(self->monitor_raw, data, sizeof data, ZMQ_DONTWAIT) < 6)
        return self->events_maybe = false;
    memcpy(&number, data, 2);
    memcpy(&detail, data + 2, 4);
    *event = number;
    *value = detail;
    zmq_recv(self->monitor_raw, data, sizeof data, ZMQ_DONTWAIT); /* address */
    return true;
}

int gi_frame_srcfd(zmq_msg_t *frame) {
    int fd = zmq_msg_get(frame, ZMQ_SRCFD);
    return fd > 0 ? fd : -1;
}

/* ---- looking only where something may be ---------------------------------
 * ZMQ_FD signals edges, and a send or receive may take the signal. So: a receive that found nothing clears maybe; a
 * send, or poll() on the fd, sets it. */
void gi_polled_add(gi_polled_t *self, int fd, bool *flag) {
    if (self->n == self->room || fd < 0)
        return;
    self->fds[self->n] = (struct pollfd){fd, POLLIN, 0};
    self->flags[self->n++] = flag;
}

void gi_sock_poll(gi_sock_t *self, gi_polled_t *polled) {
    if (self->raw)
        gi_polled_add(polled, self->fd, &self->maybe);
    if (self->monitor_raw)
        gi_polled_add(polled, self->monitor_fd, &self->events_maybe);
}

int gi_sock_recv(gi_sock_t *self, gi_frames_t *frames, unsigned max) {
    if (!self->maybe)
        return 0;
    int rc = gi_frames_recv(self->raw, frames, max, &self->rest);
    self->maybe = rc != 0;
    self->n_rest = rc == -2 ? self->n_rest + 1 : 0;
    if (rc == -1) {
        self->culprit = gi_frame_srcfd(&frames->f[0]);
        gi_frames_close(frames);
    }
    return rc;
}

int gi_sock_send(gi_sock_t *self, gi_frames_t *frames) {
    self->maybe = true;
    return gi_frames_send(self->raw, frames);
}
