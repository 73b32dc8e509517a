/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_effects.c -- what the core cannot do or see itself: sending, and who
 * and where a peer is, by its connection. Thread: the broker's. Blocks: never. */
#include "broker/shell/broker_impl.h"

#include <gaterpc/log.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "net/ipc.h"
#include "net/whose.h"
#include "sync/clock.h"

#define S_TELL_MS 60000

static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    gate_broker_t *self = ctx;
    return gi_sock_send(&self->sides[socket].sock, frames);
}

/* Only what our authority said is believed: with CURVE and PLAIN it says
 * something about every connection, an empty id where any key will do; a peer
 * may send properties of its own, but these come second. */
static const char *s_user(void *ctx, zmq_msg_t *frame, int64_t now_ms) {
    gate_broker_t *self = ctx;
    (void)now_ms;
    if (gi_frame_srcfd(frame) < 0)
        return self->settings->local_user; /* inproc: this process */
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

static const gi_broker_effects_t s_effects = {.send = s_send,
                                              .ask = s_ask,
                                              .address = s_address,
                                              .connection = s_connection,
                                              .strict = s_strict,
                                              .ours = s_ours,
                                              .writable = s_writable},
                                 s_users = {.send = s_send,
                                            .ask = s_ask,
                                            .address = s_address,
                                            .connection = s_connection,
                                            .strict = s_strict,
                                            .ours = s_ours,
                                            .writable = s_writable,
                                            .user = s_user};

const gi_broker_effects_t *gi_broker_effects_of(const gate_broker_t *self) {
    return self->authority || *self->settings->local_user ? &s_users
                                                          : &s_effects;
}
