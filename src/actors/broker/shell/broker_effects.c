/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_effects.c -- what the core cannot do or see itself: sending, and who
 * and where a peer is, by its connection. Thread: the broker's. Blocks: never. */
#include "broker/shell/broker_impl.h"

#include <gaterpc/log.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/pack.h"
#include "broker/gate/broker_gate.h"
#include "net/ipc.h"
#include "net/guard.h"
#include "runtime/tells.h"
#include "sync/clock.h"

#define S_TELL_MS 60000

static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    gate_broker_t *self = ctx;
    int rc =
        self->rings ? gi_broker_rings_send(self->rings, socket, frames) : -1;
    return rc < 0 ? gi_sock_send(&self->sides[socket].sock, frames) : rc;
}

/* Only what our authority said is believed: with CURVE and PLAIN it says
 * something about every connection, an empty id where any key will do; a peer
 * may send properties of its own, but these come second. */
static const char *s_user(void *ctx, zmq_msg_t *frame, int64_t now_ms) {
    gate_broker_t *self = ctx;
    (void)now_ms;
    const char *local = self->settings->local_user;
    if (*local && gi_frame_srcfd(frame) < 0)
        return local; /* inproc: this process */
    const char *id = self->authority ? zmq_msg_gets(frame, "User-Id") : NULL;
    return id ? id : "";
}

static const char *s_address(void *ctx, zmq_msg_t *frame) {
    const char *at = zmq_msg_gets(frame, "Peer-Address");
    (void)ctx;
    return at ? at : "";
}

/* A socket's inode is its own; of an address there may be many. */
static uint64_t s_connection(void *ctx, int srcfd) {
    struct stat now;
    (void)ctx;
    return fstat(srcfd, &now) == 0 && S_ISSOCK(now.st_mode)
               ? (uint64_t)now.st_ino
               : 0;
}

static bool s_strict(void *ctx, zmq_msg_t *frame) {
    const char *type = zmq_msg_gets(frame, "Socket-Type");
    (void)ctx;
    return type && strcmp(type, "REQ") == 0;
}

static bool s_ours(void *ctx, int srcfd) {
    (void)ctx;
    return srcfd < 0 || gi_whose_is_ours(srcfd); /* inproc: this process */
}

static bool s_writable(void *ctx, int srcfd) {
    struct pollfd fd = {.fd = srcfd, .events = POLLOUT};
    (void)ctx;
    return poll(&fd, 1, 0) != 0;
}

static int64_t s_carried(void *ctx, int srcfd) {
    const gate_broker_t *self = ctx;
    return self->rings && gi_broker_rings_has(self->rings, srcfd)
               ? -1
               : gi_guard_carried(srcfd);
}

static bool s_shut(void *ctx, int srcfd) {
    gate_broker_t *self = ctx;
    return gi_guard_shut(&self->guard, srcfd);
}

void gi_broker_effects_stranger(gate_broker_t *self) {
    int64_t now_ms = gi_clock_ms();
    if (now_ms < self->zap_told_ms)
        return;
    self->zap_told_ms = now_ms + S_TELL_MS;
    gate_log(GATE_ERROR, "broker",
             "ZAP service %s: who is there now runs as another user than we "
             "(uid %u) or root: neither asked nor believed",
             self->zap, (unsigned)geteuid());
}

/* Passwords are in it. */
static int s_ask(void *ctx, gi_frames_t *frames) {
    gate_broker_t *self = ctx;
    if (self->zap_watch && !gi_ipc_is_ours(self->zap_watch)) {
        gi_broker_effects_stranger(self);
        return -1;
    }
    return gi_sock_send(&self->zap_sock, frames);
}

/* ---- what is asked for by those who look --------------------------------- */
static double s_share(void *ctx) {
    gate_broker_t *self = ctx;
    return gi_sysload_share(&self->load, gi_clock_ms());
}

static int64_t s_now_ns(void *ctx) {
    (void)ctx;
    return gi_clock_ns();
}

static void s_where_ipc(int srcfd, char to[GI_BROKER_WHERE_MAX]) {
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(srcfd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
        snprintf(to, GI_BROKER_WHERE_MAX, "ipc pid %ld uid %ld", (long)who.pid,
                 (long)who.uid);
}

static void s_where(void *ctx, int srcfd, char to[GI_BROKER_WHERE_MAX]) {
    struct sockaddr_storage at;
    socklen_t size = sizeof at;
    char host[GI_BROKER_WHERE_MAX - 8], port[8];
    (void)ctx;
    *to = 0;
    if (srcfd < 0)
        snprintf(to, GI_BROKER_WHERE_MAX, "inproc");
    else if (getpeername(srcfd, (struct sockaddr *)&at, &size) != 0)
        return;
    else if (at.ss_family == AF_UNIX)
        s_where_ipc(srcfd, to);
    else if (getnameinfo((struct sockaddr *)&at, size, host, sizeof host, port,
                         sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(to, GI_BROKER_WHERE_MAX, "%s:%s", host, port);
}

static void s_endpoints(const gi_broker_side_t *side, const char *key,
                        msgpack_packer *pk) {
    size_t n = 0;
    for (gi_broker_endpoint_t *p = side->endpoints; p; p = p->next)
        n++;
    gi_pack_text(pk, key);
    msgpack_pack_array(pk, n);
    for (gi_broker_endpoint_t *p = side->endpoints; p; p = p->next)
        gi_pack_text(pk, p->bound);
}

static void s_process(void *ctx, msgpack_packer *pk) {
    gate_broker_t *self = ctx;
    msgpack_pack_map(pk, GI_TELLS_PROCESS + 3);
    gi_tells_process(pk, self->start_ms);
    gi_pack_int(pk, "connections", self->n_connections);
    s_endpoints(&self->sides[GI_FRONT], "frontend", pk);
    s_endpoints(&self->sides[GI_BACK], "backend", pk);
}

static const gi_broker_effects_t s_effects = {.send = s_send,
                                              .ask = s_ask,
                                              .address = s_address,
                                              .connection = s_connection,
                                              .strict = s_strict,
                                              .ours = s_ours,
                                              .writable = s_writable,
                                              .carried = s_carried,
                                              .shut = s_shut,
                                              .share = s_share,
                                              .now_ns = s_now_ns,
                                              .where = s_where,
                                              .process = s_process},
                                 s_users = {.send = s_send,
                                            .ask = s_ask,
                                            .address = s_address,
                                            .connection = s_connection,
                                            .strict = s_strict,
                                            .ours = s_ours,
                                            .writable = s_writable,
                                            .carried = s_carried,
                                            .shut = s_shut,
                                            .share = s_share,
                                            .now_ns = s_now_ns,
                                            .where = s_where,
                                            .process = s_process,
                                            .user = s_user};

/* ---- other brokers ------------------------------------------------------- */
static int s_send_any(void *ctx, unsigned socket, gi_frames_t *frames) {
    gate_broker_t *self = ctx;
    return socket < GI_BROKER_SIDES
               ? s_send(ctx, socket, frames)
               : gi_broker_uplink_send(self->uplink, socket, frames,
                                       gi_clock_ms());
}

static void s_far_share(void *ctx, const unsigned char *node, uint32_t index,
                        uint32_t share) {
    gate_broker_t *self = ctx;
    gi_broker_uplink_share(self->uplink, node, index, share, gi_clock_ms());
}

static void s_brokers(void *ctx, gi_buf_t *out) {
    gate_broker_t *self = ctx;
    gi_broker_uplink_brokers(self->uplink, out, gi_clock_ms());
}

static void s_uplink(void *ctx, gi_buf_t *out) {
    gate_broker_t *self = ctx;
    gi_broker_uplink_stats(self->uplink, out);
}

const gi_broker_effects_t *gi_broker_effects_of(gate_broker_t *self) {
    self->effects =
        self->authority || *self->settings->local_user ? s_users : s_effects;
    self->effects.gate = &gi_broker_internal_ops;
    self->effects.offer = gi_broker_rings_offer(self->rings);
    if (self->uplink) {
        self->effects.send = s_send_any;
        self->effects.far_share = s_far_share;
        self->effects.brokers = s_brokers;
        self->effects.uplink = s_uplink;
    }
    return &self->effects;
}
