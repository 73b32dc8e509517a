/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_takeover.c -- see broker_handover.h: the new one's side, at start. */
#include "broker/shell/broker_impl.h"

#include <errno.h>
#include <gaterpc/log.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "sync/clock.h"
#include "base/err.h"
#include "shared/rights.h"
#include "sync/fd.h"

#define S_PART "broker"
#define S_ASKS 3

/* Waits for the next message, at start. */
static int s_await(int fd, int64_t wait_ms, char text[GI_HANDOVER_TEXT_MAX],
                   int *fds, int *n_fds) {
    int64_t end = gi_clock_ms() + wait_ms, left;
    int size = -1;
    *n_fds = 0;
    while (size < 0 && (left = end - gi_clock_ms()) > 0) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, (int)left) > 0)
            size = gi_handover_hear(fd, text, fds, n_fds);
    }
    return size;
}

static gate_err_t s_address(const char *path, struct sockaddr_un *out) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (*path == 0 || strlen(path) >= sizeof out->sun_path)
        return gi_err(GATE_BADARG,
                      "broker_handover: a path of 1 to %zu bytes expected",
                      sizeof out->sun_path - 1);
    strcpy(out->sun_path, path);
    return GATE_OK;
}

/* *fd: -1 when nobody is there. */
static gate_err_t s_connect(const char *path, int *fd) {
    struct sockaddr_un address;
    gate_err_t e = s_address(path, &address);
    if (e)
        return e;
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return gi_err_errno("%s: no socket", path);
    if (connect(*fd, (struct sockaddr *)&address, sizeof address) < 0) {
        e = errno == ENOENT || errno == ECONNREFUSED
                ? GATE_OK
                : gi_err_errno("%s: the broker there cannot be asked for its "
                               "listeners",
                               path);
        gi_fd_close(fd);
    }
    return e;
}

static gi_broker_endpoint_t *s_find(gate_broker_t *broker, unsigned side,
                                    const char *asked, const char *bound) {
    gi_broker_endpoint_t *p = broker->sides[side].endpoints;
    while (p && (p->listener.fd >= 0 || (strcmp(p->asked, asked) != 0 &&
                                         strcmp(p->asked, bound) != 0)))
        p = p->next;
    return p;
}

/* The listener becomes that of the endpoint that was configured alike, or of
 * one more. Takes the descriptor. */
static gate_err_t s_adopt(gate_broker_t *broker, unsigned side,
                          const char *asked, const char *bound, int fd) {
    gi_broker_endpoint_t *p = s_find(broker, side, asked, bound);
    gate_err_t e = GATE_OK;
    if (p == NULL)
        e = gi_broker_add_endpoint(broker, side, asked, &p);
    if (e)
        close(fd);
    else {
        p->listener.fd = fd;
        if (gi_ipc_path(bound))
            p->listener.file = gi_ipc_file(gi_ipc_path(bound));
    }
    return e;
}

/* Lines "f ASKED BOUND" (or b), in the order of the descriptors. */
static gate_err_t s_adopt_all(gate_broker_t *broker, char *text, int *fds,
                              int n_fds) {
    gate_err_t e = GATE_OK;
    int i = 1;
    char *save = NULL, *line = strtok_r(text, "\n", &save); /* the greeting */
    while (!e && (line = strtok_r(NULL, "\n", &save)) && i < n_fds) {
        char side, asked[GI_BROKER_ENDPOINT_MAX], bound[GI_BROKER_ENDPOINT_MAX];
        if (sscanf(line, "%c %255s %255s", &side, asked, bound) != 3 ||
            (side != 'f' && side != 'b'))
            break;
        e = s_adopt(broker, side == 'b' ? GI_BACK : GI_FRONT, asked, bound,
                    fds[i++]);
    }
    if (!e && (line || i < n_fds))
        e = gi_err(GATE_BADDATA, "the old broker's list of listeners is not "
                                 "understood");
    gi_rights_close(fds + i, n_fds - i);
    return e;
}

/* True: the listeners came. False with GATE_OK: it hung up, or died. */
static bool s_ask(gate_broker_t *broker, char text[GI_HANDOVER_TEXT_MAX],
                  int *fds, int *n, gate_err_t *e) {
    gi_handover_t *self = &broker->handover;
    /* the one before may still be leaving */
    int64_t wait_ms = broker->settings->drain_timeout_ms + GI_HANDOVER_MS;
    *n = 0;
    *e = GATE_OK;
    if (!gi_handover_may(self->peer_fd)) {
        *e = gi_err(GATE_REFUSED, "%s: another user's broker is there",
                    self->path);
        return false;
    }
    int size = gi_handover_say(self->peer_fd, GI_HANDOVER_TAKE)
                   ? s_await(self->peer_fd, wait_ms, text, fds, n)
                   : 0;
    if (size > 0 && *n > 0 &&
        strncmp(text, GI_HANDOVER_GIVE, strlen(GI_HANDOVER_GIVE)) == 0)
        return true;
    gi_rights_close(fds, *n);
    if (size != 0)
        *e = gi_err(GATE_SYSTEM,
                    "%s: somebody is there, but no broker that gives its "
                    "listeners",
                    self->path);
    return false;
}

/* One that hangs up may have died: then nobody is there the next time. */
gate_err_t gi_handover_ask(gate_broker_t *broker) {
    gi_handover_t *self = &broker->handover;
    char text[GI_HANDOVER_TEXT_MAX];
    int fds[GI_HANDOVER_FDS_MAX];
    int n = 0;
    for (int i = 0; self->path && i < S_ASKS; i++) {
        gate_err_t e = s_connect(self->path, &self->peer_fd);
        if (e || self->peer_fd < 0)
            return e;
        if (s_ask(broker, text, fds, &n, &e)) {
            self->listen_fd = fds[0];
            self->file = gi_ipc_file(self->path);
            self->took = true;
            return s_adopt_all(broker, text, fds, n);
        }
        gi_fd_close(&self->peer_fd);
        if (e)
            return e;
        self->died_ms = gi_clock_ms();
    }
    return self->path
               ? gi_err(GATE_SYSTEM,
                        "%s: the broker there does not give its listeners "
                        "(or is giving them to another one)",
                        self->path)
               : GATE_OK;
}

bool gi_handover_dies(const gate_broker_t *broker) {
    int64_t died_ms = broker->handover.died_ms;
    return died_ms && gi_clock_ms() < died_ms + GI_HANDOVER_MS;
}

static gate_err_t s_listen(gi_handover_t *self) {
    return gi_ipc_listen(self->path, self->path, SOCK_SEQPACKET, 0600,
                         &self->file, &self->listen_fd);
}

void gi_handover_expect(gate_broker_t *broker, int64_t more_ms) {
    gi_broker_core_expect(broker->core,
                          gi_clock_ms() + more_ms +
                              2 * gi_settings_heartbeat_ms(broker->settings));
}

/* They can be paused. */
static gate_err_t s_await_listeners(const gate_broker_t *broker) {
    gate_err_t e = GATE_OK;
    gi_turns_t turns;
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++)
        for (const gi_broker_endpoint_t *p = broker->sides[i].endpoints;
             p && !e; p = p->next)
            if (p->listener.zmq_fd >= 0)
                e = gi_listener_await(p->listener.zmq_fd, GI_HANDOVER_MS,
                                      &turns);
    return e;
}

gate_err_t gi_handover_take(gate_broker_t *broker) {
    gi_handover_t *self = &broker->handover;
    char text[GI_HANDOVER_TEXT_MAX];
    int fds[GI_HANDOVER_FDS_MAX];
    int n = 0;
    if (self->path == NULL)
        return GATE_OK;
    gate_err_t e = s_await_listeners(broker);
    if (e)
        return e;
    self->state = GI_HANDOVER_LISTENS;
    self->listen_maybe = true;
    if (self->died_ms) /* its workers come to us */
        gi_handover_expect(broker, 0);
    if (!self->took)
        return s_listen(self);
    gi_handover_expect(broker, broker->settings->drain_timeout_ms);
    int size = gi_handover_say(self->peer_fd, GI_HANDOVER_UP)
                   ? s_await(self->peer_fd, GI_HANDOVER_MS, text, fds, &n)
                   : 0;
    gi_rights_close(fds, n);
    if (size < 0)
        return gi_err(GATE_TIMEOUT,
                      "%s: the old broker does not let its listeners go",
                      self->path);
    if (size == 0 || strcmp(text, GI_HANDOVER_YOURS) != 0)
        gate_log(GATE_WARN, S_PART,
                 "the old broker died while it handed its "
                 "listeners over; they are ours");
    else
        gate_log(GATE_INFO, S_PART, "the old broker's listeners are ours");
    self->peer_maybe = true;
    return GATE_OK;
}
