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
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/affinity.h"
#include "base/err.h"
#include "base/trusted.h"
#include "sync/actor_thread.h"
#include "sync/lock.h"
#include "settings/settings.h"

#define S_CONNECT_MS 500 /* least time that a connection may take */
#define S_UNREAD 32
#define S_UNACKED 30 /* intervals that a peer may leave what it was sent */

/* ---- context ------------------------------------------------------------- */
static gi_lock_t s_context_lock = {PTHREAD_MUTEX_INITIALIZER};
static bool s_context_made;

/* CZMQ has its environment for those, which stands above ours; a host's own is
 * not ours to change, other threads may be reading it. */
static const struct {
    const char *name, *env;
    int option, usual; /* 0: libzmq's */
} s_context_options[] = {
    {"io_threads", "ZSYS_IO_THREADS", ZMQ_IO_THREADS, 0},
    {"max_sockets", "ZSYS_MAX_SOCKETS", ZMQ_MAX_SOCKETS, 65535},
};
#define S_CONTEXT_OPTIONS (sizeof s_context_options / sizeof *s_context_options)

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

/* "io_threads=2" */
static gate_err_t s_context_each(void *context, const char *name,
                                 const char *value) {
    char *end;
    long number = strtol(value, &end, 10);
    size_t i = 0;
    while (i < S_CONTEXT_OPTIONS && strcmp(s_context_options[i].name, name))
        i++;
    if (i == S_CONTEXT_OPTIONS)
        return gi_err(GATE_BADARG,
                      "zmq_context: unknown option %s; known: io_threads, "
                      "max_sockets",
                      name);
    if (end == value || *end || number < 1 || number > INT_MAX)
        return gi_err(GATE_BADARG,
                      "zmq_context: %s=%s: a whole number from 1 on expected",
                      name, value);
    if (!getenv(s_context_options[i].env) &&
        zmq_ctx_set(context, s_context_options[i].option, (int)number) < 0)
        return gi_err_errno("zmq_context: %s=%s", name, value);
    return GATE_OK;
}

/* CZMQ's handlers of SIGINT and SIGTERM are not wanted, and those of a host that
 * uses CZMQ itself stay. */
static void *s_zsys(void) {
    struct sigaction interrupt, term;
    if (!getenv("ZSYS_SIGHANDLER")) {
        sigaction(SIGINT, NULL, &interrupt);
        sigaction(SIGTERM, NULL, &term);
        zsys_handler_set(NULL);
        sigaction(SIGINT, &interrupt, NULL);
        sigaction(SIGTERM, &term, NULL);
    }
    return zsys_init();
}

#define S_FDS_ASKED 64
#define S_CONTEXT_FDS 12 /* its own and those of a first actor */
#define S_THREAD_FDS 2

/* Whether so many descriptors can be had. */
static gate_err_t s_fds_left(int n) {
    int fds[S_FDS_ASKED], had = 0;
    gate_err_t e = GATE_OK;
    n = n < S_FDS_ASKED ? n : S_FDS_ASKED;
    while (had < n && (fds[had] = eventfd(0, EFD_CLOEXEC)) >= 0)
        had++;
    if (had < n && errno != EMFILE && errno != ENFILE)
        e = gi_err_errno("ZeroMQ needs eventfd(2), which is not to be had");
    else if (had < n)
        e = gi_err_errno("%d descriptors are free, ZeroMQ needs %d to start",
                         had, n);
    while (had)
        close(fds[--had]);
    return e;
}

/* libzmq aborts when a descriptor or a thread cannot be had for its context,
 * which the first socket starts. */
static gate_err_t s_start_context(void *context) {
    int threads = zmq_ctx_get(context, ZMQ_IO_THREADS) + 1; /* the reaper */
    gate_err_t e = s_fds_left(S_CONTEXT_FDS + S_THREAD_FDS * threads);
    if (!e)
        e = gi_thread_left((size_t)threads, "ZeroMQ");
    if (e)
        return e;
    void *first = zmq_socket(context, ZMQ_PAIR);
    if (!first)
        return gi_err_errno("no ZeroMQ context");
    zmq_close(first);
    return GATE_OK;
}

static gate_err_t s_make_context(const gate_settings_t *settings) {
    gate_err_t can = s_fds_left(1); /* the context's own, or it aborts */
    if (can)
        return can;
    void *context = s_zsys();
    if (!context)
        return gi_err_errno("no ZeroMQ context");
    for (size_t i = 0; i < S_CONTEXT_OPTIONS; i++)
        if (s_context_options[i].usual && !getenv(s_context_options[i].env))
            zmq_ctx_set(context, s_context_options[i].option,
                        s_context_options[i].usual);
    gate_err_t e =
        s_each_option(settings->zmq_context, s_context_each, context);
    if (!e)
        gi_affinity_context(settings, context);
    return e ? e : s_start_context(context);
}

gate_err_t gi_sock_context(const gate_settings_t *settings) {
    gi_lock(&s_context_lock);
    gate_err_t e = s_context_made ? GATE_OK : s_make_context(settings);
    s_context_made |= !e;
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

static int s_get_int(void *raw, int option) {
    int v = -1;
    size_t size = sizeof v;
    zmq_getsockopt(raw, option, &v, &size);
    return v;
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

/* Where many connect to, libzmq reads so many messages of each ahead: one of 64
 * empty frames takes 4 KiB there. The rest waits in the kernel. */
static int64_t s_unread_max(int type, const gate_settings_t *settings) {
    int64_t hwm = settings->zmq_hwm;
    return type == ZMQ_ROUTER && hwm > S_UNREAD ? S_UNREAD : hwm;
}

static gate_err_t s_apply(gi_sock_t *self, int type, gate_bytes_t identity,
                          const gate_settings_t *settings) {
    int64_t max = settings->message_bytes_max;
    s_set_int(self->raw, ZMQ_SNDHWM, settings->zmq_hwm);
    s_set_int(self->raw, ZMQ_RCVHWM, s_unread_max(type, settings));
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
/* ZeroMQ says EMFILE when descriptors are used up and when its sockets are. */
gate_err_t gi_sock_none_left(const char *what) {
    int error = errno, fd = eventfd(0, EFD_CLOEXEC);
    close(fd);
    errno = error;
    if (fd < 0 || error != EMFILE)
        return gi_err_errno("no socket for %s", what);
    return gi_err(GATE_SYSTEM,
                  "no socket left for %s: CZMQ's cap is %zu, "
                  "raise it with ZSYS_MAX_SOCKETS",
                  what, zsys_socket_limit());
}

gate_err_t gi_sock_open(gi_sock_t *self, int type, gate_bytes_t identity,
                        const gate_settings_t *settings) {
    *self = (gi_sock_t){.fd = -1,
                        .monitor_fd = -1,
                        .router = type == ZMQ_ROUTER,
                        .trusts = settings->trust_others ? GI_TRUST_OTHERS : 0};
    gate_err_t e = gi_sock_context(settings);
    if (e)
        return e;
    self->raw = zsys_socket(type, "gaterpc", 0);
    if (!self->raw)
        return gi_sock_none_left("a peer");
    self->fd = s_get_int(self->raw, ZMQ_FD);
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
    gi_parcel_flush(self);
    gi_parcel_close(self);
    gi_sock_rings_close(self);
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
static bool s_starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

/* Makes the listener unless there is one; both descriptors stand then. */
static gate_err_t s_listener(const char *endpoint, bool ipv6,
                             gi_listener_t *listener) {
    gate_err_t e = GATE_OK;
    int fd = -1;
    if (listener->fd < 0 && s_starts(endpoint, "tcp://"))
        e = gi_listener_tcp(endpoint, ipv6, &fd);
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
    gate_err_t e =
        s_listener(endpoint, s_get_int(self->raw, ZMQ_IPV6) > 0, listener);
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

/* An address that is one of IPv6 says so itself: "tcp://[::1]:5555". */
gate_err_t gi_sock_connect(gi_sock_t *self, const char *endpoint) {
    int ipv6 = s_get_int(self->raw, ZMQ_IPV6);
    if (s_starts(endpoint, "tcp://") && strchr(endpoint, '['))
        s_set_int(self->raw, ZMQ_IPV6, 1);
    int rc = zmq_connect(self->raw, endpoint);
    gate_err_t e =
        rc < 0 ? gi_err_errno("%s: cannot connect", endpoint) : GATE_OK;
    s_set_int(self->raw, ZMQ_IPV6, ipv6);
    return e;
}

/* ---- events -------------------------------------------------------------- */
gate_err_t gi_sock_watch(gi_sock_t *self, int events) {
    char name[64];
    snprintf(name, sizeof name, "inproc://gate-monitor-%p", self->raw);
    if (zmq_socket_monitor(self->raw, name, events) < 0)
        return gi_sock_none_left("a monitor");
    self->monitor_raw = zsys_socket(ZMQ_PAIR, "gaterpc", 0);
    if (!self->monitor_raw)
        return gi_sock_none_left("a monitor");
    self->monitor_fd = s_get_int(self->monitor_raw, ZMQ_FD);
    s_set_int(self->monitor_raw, ZMQ_LINGER, 0);
    if (zmq_connect(self->monitor_raw, name) < 0)
        return gi_sock_none_left("a monitor");
    return GATE_OK;
}

bool gi_sock_event(gi_sock_t *self, int *event, int *value) {
    unsigned char data[6];
    uint16_t number;
    int32_t detail;
    if (!self->monitor_raw || !self->events_maybe ||
        (self->rings && gi_sock_rings_holds(self)))
        return false;
    if (zmq_recv(self->monitor_raw, data, sizeof data, ZMQ_DONTWAIT) < 6)
        return self->events_maybe = false;
    memcpy(&number, data, 2);
    memcpy(&detail, data + 2, 4);
    *event = number;
    *value = detail;
    zmq_recv(self->monitor_raw, data, sizeof data, ZMQ_DONTWAIT); /* address */
    if (number == ZMQ_EVENT_DISCONNECTED) {
        gi_parcel_drop(self);
        gi_sock_rings_close(self);
    }
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
    if (self->rings)
        gi_sock_rings_poll(self, polled);
}

static bool s_is_batch(const gi_sock_t *self, gi_frames_t *frames) {
    unsigned at = self->router;
    return frames->n == at + 1 && gi_batch_is(gi_frames_at(frames, at));
}

int gi_sock_recv(gi_sock_t *self, gi_frames_t *frames, unsigned max) {
    if (self->parcel && gi_batch_left(&self->reader))
        return gi_parcel_next(self, frames);
    int by_lane = self->rings ? gi_sock_rings_recv(self, frames) : 0;
    if (by_lane)
        return by_lane > 0;
    if (!self->maybe)
        return 0;
    int rc = gi_frames_recv(self->raw, frames, max, &self->rest);
    self->maybe = rc != 0;
    self->n_rest = rc == -2 ? self->n_rest + 1 : 0;
    if (rc == -1) {
        self->culprit = gi_frame_srcfd(&frames->f[0]);
        gi_frames_close(frames);
    }
    if (rc == 1 && self->rings && gi_sock_rings_said(self, frames))
        return gi_sock_recv(self, frames, max);
    return rc == 1 && s_is_batch(self, frames) ? gi_parcel_open(self, frames)
                                               : rc;
}

int gi_sock_send(gi_sock_t *self, gi_frames_t *frames) {
    int rc = self->rings ? gi_sock_rings_send(self, frames) : -1;
    if (rc >= 0)
        return rc;
    self->maybe = true;
    if (gi_sock_rings_may_be(self))
        frames->batched = false; /* it leaves ZeroMQ between two messages */
    return self->out || frames->batched ? gi_parcel_send(self, frames)
                                        : gi_frames_send(self->raw, frames);
}

int gi_sock_srcfd(gi_sock_t *self, gi_frames_t *frames) {
    return frames->parcel ? self->srcfd : gi_frame_srcfd(&frames->f[0]);
}
