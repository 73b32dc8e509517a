/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_handover.c -- see broker_handover.h. One connection at a time; who
 * else comes waits in the kernel. Messages are whole (SOCK_SEQPACKET). */
#include "broker_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <gaterpc/log.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "clock.h"
#include "err.h"
#include "mem.h"

#define S_PART "broker"
#define S_TAKE "GATE-TAKE 1"
#define S_GIVE "GATE-GIVE 1\n"
#define S_UP "UP"
#define S_YOURS "YOURS"
#define S_TEXT_MAX 32768
#define S_FDS_MAX (GI_HANDOVER_LISTENERS_MAX + 1)
#define S_ASKS 3
#define S_LOOK_MS 20
#define S_STAY_MS 500  /* the new one may die young */
#define S_QUIET_MS 400 /* a client that knows nothing of moving: cut then */

/* ---- messages
 * ---------------------------------------------------------------------------
 */
typedef union s_control {
    char room[CMSG_SPACE(S_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
} s_control_t;

static bool s_send(int fd, const char *text, size_t size, const int *fds,
                   size_t n) {
    s_control_t control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)text, size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n > 0) {
        m.msg_control = control.room;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

static bool s_say(int fd, const char *text) {
    return s_send(fd, text, strlen(text), NULL, 0);
}

/* A message as text, its descriptors in fds. -1: nothing yet; 0: the end, or no
 * message of ours; the descriptors of one that is not wanted are closed. */
static int s_recv(int fd, char text[S_TEXT_MAX], int *fds, size_t *n_fds) {
    s_control_t control;
    struct iovec iov = {text, S_TEXT_MAX - 1};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    ssize_t size = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    *n_fds = 0;
    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? -1 : 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds + *n_fds, CMSG_DATA(c), count * sizeof(int));
        *n_fds += count;
    }
    text[size] = 0;
    bool whole = !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
                 strlen(text) == (size_t)size;
    return whole ? (int)size : 0;
}

static void s_close_all(int *fds, size_t n) {
    while (n > 0)
        close(fds[--n]);
}

/* Waits for the next message, at start. */
static int s_await(int fd, int64_t wait_ms, char text[S_TEXT_MAX], int *fds,
                   size_t *n_fds) {
    int64_t end = gi_clock_ms() + wait_ms, left;
    int size = -1;
    *n_fds = 0;
    while (size < 0 && (left = end - gi_clock_ms()) > 0) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, (int)left) > 0)
            size = s_recv(fd, text, fds, n_fds);
    }
    return size;
}

/* The other end runs as our user, or as root. */
static bool s_may(int fd) {
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
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

static void s_close(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- the new one: at start
 * -------------------------------------------------------------- */
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
        s_close(fd);
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
    else
        p->listener.fd = fd;
    return e;
}

/* Lines "f ASKED BOUND" (or b), in the order of the descriptors. */
static gate_err_t s_adopt_all(gate_broker_t *broker, char *text, int *fds,
                              size_t n_fds) {
    gate_err_t e = GATE_OK;
    size_t i = 1;
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
    s_close_all(fds + i, n_fds - i);
    return e;
}

/* True: the listeners came. False with GATE_OK: it hung up, or died. */
static bool s_ask(gate_broker_t *broker, char text[S_TEXT_MAX], int *fds,
                  size_t *n, gate_err_t *e) {
    gi_handover_t *self = &broker->handover;
    /* the one before may still be leaving */
    int64_t wait_ms = broker->settings->drain_timeout_ms + GI_HANDOVER_MS;
    *n = 0;
    *e = GATE_OK;
    if (!s_may(self->peer_fd)) {
        *e = gi_err(GATE_REFUSED, "%s: another user's broker is there",
                    self->path);
        return false;
    }
    int size = s_say(self->peer_fd, S_TAKE)
                   ? s_await(self->peer_fd, wait_ms, text, fds, n)
                   : 0;
    if (size > 0 && *n > 0 && strncmp(text, S_GIVE, strlen(S_GIVE)) == 0)
        return true;
    s_close_all(fds, *n);
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
    char text[S_TEXT_MAX];
    int fds[S_FDS_MAX];
    size_t n = 0;
    for (int i = 0; self->path && i < S_ASKS; i++) {
        gate_err_t e = s_connect(self->path, &self->peer_fd);
        if (e || self->peer_fd < 0)
            return e;
        if (s_ask(broker, text, fds, &n, &e)) {
            self->listen_fd = fds[0];
            self->took = true;
            return s_adopt_all(broker, text, fds, n);
        }
        s_close(&self->peer_fd);
        if (e)
            return e;
        self->died = true;
    }
    return self->path
               ? gi_err(GATE_SYSTEM,
                        "%s: the broker there does not give its listeners "
                        "(or is giving them to another one)",
                        self->path)
               : GATE_OK;
}

/* fchmod before bind: the file never has another mode. */
static gate_err_t s_listen(gi_handover_t *self) {
    struct sockaddr_un address;
    gate_err_t e = s_address(self->path, &address);
    if (e)
        return e;
    unlink(self->path); /* nobody answered there */
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, 8) < 0) {
        e = gi_err_errno("%s: cannot listen for the next broker", self->path);
        s_close(&fd);
    }
    self->listen_fd = fd;
    return e;
}

/* Its workers come one heartbeat after it has ended, at the latest. */
static void s_expect(gate_broker_t *broker, int64_t more_ms) {
    gi_broker_core_expect(broker->core,
                          gi_clock_ms() + more_ms +
                              2 * gi_settings_heartbeat_ms(broker->settings));
}

gate_err_t gi_handover_take(gate_broker_t *broker) {
    gi_handover_t *self = &broker->handover;
    char text[S_TEXT_MAX];
    int fds[S_FDS_MAX];
    size_t n = 0;
    if (self->path == NULL)
        return GATE_OK;
    self->state = GI_HANDOVER_LISTENS;
    self->listen_maybe = true;
    if (self->died) /* its workers come to us */
        s_expect(broker, 0);
    if (!self->took)
        return s_listen(self);
    s_expect(broker, broker->settings->drain_timeout_ms);
    int size = s_say(self->peer_fd, S_UP)
                   ? s_await(self->peer_fd, GI_HANDOVER_MS, text, fds, &n)
                   : 0;
    s_close_all(fds, n);
    if (size < 0)
        return gi_err(GATE_TIMEOUT,
                      "%s: the old broker does not let its listeners go",
                      self->path);
    if (size == 0 || strcmp(text, S_YOURS) != 0)
        gate_log(GATE_WARN, S_PART,
                 "the old broker died while it handed its "
                 "listeners over; they are ours");
    else
        gate_log(GATE_INFO, S_PART, "the old broker's listeners are ours");
    self->peer_maybe = true;
    return GATE_OK;
}

/* ---- the old one
 * ------------------------------------------------------------------------- */
/* Each listener's line and descriptor. */
static size_t s_list(const gate_broker_t *broker, char *text, int *fds) {
    size_t n = 0, at = strlen(S_GIVE);
    strcpy(text, S_GIVE);
    fds[n++] = broker->handover.listen_fd;
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++) {
        const gi_broker_endpoint_t *p = broker->sides[i].endpoints;
        for (; p && n < S_FDS_MAX; p = p->next) {
            if (p->listener.fd < 0)
                continue;
            at +=
                (size_t)snprintf(text + at, S_TEXT_MAX - at, "%c %s %s\n",
                                 i == GI_BACK ? 'b' : 'f', p->asked, p->bound);
            fds[n++] = p->listener.fd;
        }
    }
    return n;
}

static gate_err_t s_pause(gate_broker_t *broker) {
    int blank = gi_listener_blank();
    gate_err_t e = blank < 0 ? GATE_SYSTEM : GATE_OK;
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++) {
        gi_broker_endpoint_t *p = broker->sides[i].endpoints;
        for (; p && !e; p = p->next)
            e = gi_listener_pause(&p->listener, blank);
    }
    s_close(&blank);
    return e;
}

static void s_resume(gate_broker_t *broker) {
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++) {
        gi_broker_endpoint_t *p = broker->sides[i].endpoints;
        for (; p; p = p->next)
            gi_listener_resume(&p->listener);
    }
}

/* The listeners' filter would be the new one's too. */
static void s_guard(gate_broker_t *broker, bool on) {
    gi_guard_unlisten(&broker->guard);
    for (unsigned i = 0; on && i < GI_BROKER_SIDES; i++)
        for (gi_broker_endpoint_t *p = broker->sides[i].endpoints; p;
             p = p->next)
            if (strncmp(p->asked, "tcp:", 4) == 0)
                gi_guard_listener(&broker->guard, p->listener.fd);
}

static void s_hang_up(gi_handover_t *self) {
    s_close(&self->peer_fd);
    self->took = false;
    self->state = GI_HANDOVER_LISTENS;
    self->listen_maybe = true;
}

/* Whoever was to have the listeners is gone: we accept again. */
static void s_again(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    gate_log(GATE_WARN, S_PART, "the new broker has ended: this one goes on");
    s_resume(broker);
    s_guard(broker, true);
    gi_broker_core_move(broker->core, false, now_ms);
    s_expect(broker, 0); /* workers that were there only come back */
    s_hang_up(self);
}

static void s_leave(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    s_guard(broker, false);
    if (s_pause(broker) || !s_say(self->peer_fd, S_YOURS)) {
        s_again(broker, now_ms);
        return;
    }
    gate_log(GATE_INFO, S_PART, "another broker has the listeners: leaving");
    self->state = GI_HANDOVER_LEAVING;
    self->due_ms = now_ms + broker->settings->drain_timeout_ms;
    self->look_ms = now_ms;
    self->stay_ms = now_ms + S_STAY_MS;
    gi_broker_core_move(broker->core, true, now_ms);
}

static void s_give(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    char text[S_TEXT_MAX];
    int fds[S_FDS_MAX];
    size_t n = s_list(broker, text, fds);
    if (!s_send(self->peer_fd, text, strlen(text), fds, n)) {
        s_hang_up(self);
        return;
    }
    self->state = GI_HANDOVER_GIVEN;
    self->due_ms = now_ms + GI_HANDOVER_MS;
}

static bool s_accept(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    if (!self->listen_maybe || self->state != GI_HANDOVER_LISTENS ||
        self->peer_fd >= 0)
        return false;
    self->listen_maybe = false;
    self->peer_fd = accept4(self->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (self->peer_fd < 0)
        return false;
    if (!s_may(self->peer_fd)) {
        gate_log(GATE_WARN, S_PART, "another user asked for the listeners");
        s_hang_up(self);
        return true;
    }
    self->state = GI_HANDOVER_ASKED;
    self->peer_maybe = true;
    self->due_ms = now_ms + GI_HANDOVER_MS;
    return true;
}

/* ---- the conversation
 * -------------------------------------------------------------------- */
/* It has ended, or says what it should not. */
static void s_ended(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    if (self->took) {
        s_expect(broker, 0);
        s_hang_up(self);
    } else if (self->state == GI_HANDOVER_LEAVING) {
        s_again(broker, now_ms);
    } else if (self->state != GI_HANDOVER_LEFT) {
        gate_log(GATE_WARN, S_PART,
                 "whoever asked for the listeners did not "
                 "take them");
        s_hang_up(self);
    }
}

static bool s_hear(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    char text[S_TEXT_MAX];
    int fds[S_FDS_MAX];
    size_t n = 0;
    if (self->peer_fd < 0 || !self->peer_maybe)
        return false;
    int size = s_recv(self->peer_fd, text, fds, &n);
    s_close_all(fds, n);
    self->peer_maybe = size > 0;
    if (size < 0)
        return false;
    if (self->state == GI_HANDOVER_ASKED && strcmp(text, S_TAKE) == 0 && size)
        s_give(broker, now_ms);
    else if (self->state == GI_HANDOVER_GIVEN && size && !strcmp(text, S_UP))
        s_leave(broker, now_ms);
    else
        s_ended(broker, now_ms);
    return true;
}

/* ---- leaving
 * ------------------------------------------------------------------------- */
/* Clients that know nothing of moving connect anew by themselves, and less and
 * less of a pause is waited for; those that do get time to close. Quiet begins
 * at a look: an answer that has just been given to libzmq may not be on its way
 * yet. */
static bool s_is_quiet(gate_broker_t *broker, int fd, gi_guarded_t *g,
                       int64_t now_ms) {
    bool told;
    int64_t heard = gi_broker_core_quiet(
        broker->core, broker->sides[GI_FRONT].number, fd, now_ms, &told);
    int64_t half = broker->settings->drain_timeout_ms / 2;
    bool hurry = now_ms >= broker->handover.due_ms - half;
    int64_t want = told    ? 2 * gi_settings_heartbeat_ms(broker->settings)
                   : hurry ? S_LOOK_MS
                           : S_QUIET_MS;
    if (heard < 0)
        g->quiet_ms = 0;
    else if (g->quiet_ms == 0)
        g->quiet_ms = now_ms;
    return g->quiet_ms && heard >= want && now_ms - g->quiet_ms >= want;
}

static void s_cut_quiet(gate_broker_t *broker, int64_t now_ms) {
    gi_guard_t *guard = &broker->guard;
    for (size_t fd = 0; fd < guard->n_by_fd; fd++) {
        gi_guarded_t *g = &guard->by_fd[fd];
        if (g->open && g->side == broker->sides[GI_FRONT].number &&
            s_is_quiet(broker, (int)fd, g, now_ms))
            shutdown((int)fd, SHUT_RDWR);
    }
}

static void s_look(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    if (self->state != GI_HANDOVER_LEAVING || now_ms < self->look_ms)
        return;
    self->look_ms = now_ms + S_LOOK_MS;
    s_cut_quiet(broker, now_ms);
    bool empty = now_ms >= self->stay_ms &&
                 broker->sides[GI_FRONT].n_open == 0 &&
                 gi_broker_core_idle(broker->core);
    if (!empty && now_ms < self->due_ms)
        return;
    gate_log(GATE_INFO, S_PART,
             empty ? "everybody has left"
                   : "drain_timeout_ms is over: the rest is "
                     "cut off");
    self->state = GI_HANDOVER_LEFT;
    (void)gi_gauge_enter(&self->left, INT64_MAX);
}

static bool s_overdue(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    bool waits =
        self->state == GI_HANDOVER_ASKED || self->state == GI_HANDOVER_GIVEN;
    if (!waits || now_ms < self->due_ms)
        return false;
    s_ended(broker, now_ms);
    return true;
}

/* ---- the actor's door
 * --------------------------------------------------------------------- */
bool gi_handover_work(gate_broker_t *broker, int64_t now_ms) {
    const gi_handover_t *self = &broker->handover;
    if (self->peer_fd < 0 && !self->listen_maybe)
        return false;
    bool any = s_accept(broker, now_ms);
    any |= s_hear(broker, now_ms);
    any |= s_overdue(broker, now_ms);
    s_look(broker, now_ms);
    return any;
}

int64_t gi_handover_next(const gate_broker_t *broker) {
    const gi_handover_t *self = &broker->handover;
    switch (self->state) {
    case GI_HANDOVER_ASKED:
    case GI_HANDOVER_GIVEN:
        return self->due_ms;
    case GI_HANDOVER_LEAVING:
        return self->look_ms;
    case GI_HANDOVER_OFF:
    case GI_HANDOVER_LISTENS:
    case GI_HANDOVER_LEFT:
        break;
    }
    return INT64_MAX;
}

void gi_handover_fds(gate_broker_t *broker, gi_polled_t *polled) {
    gi_handover_t *self = &broker->handover;
    if (self->state == GI_HANDOVER_LISTENS && self->peer_fd < 0)
        gi_polled_add(polled, self->listen_fd, &self->listen_maybe);
    if (self->state != GI_HANDOVER_LEFT)
        gi_polled_add(polled, self->peer_fd, &self->peer_maybe);
}

bool gi_handover_away(const gate_broker_t *broker) {
    return broker->handover.state >= GI_HANDOVER_LEAVING;
}

bool gi_handover_shared(const gate_broker_t *broker) {
    return gi_handover_away(broker) || broker->handover.took;
}

void gi_handover_close(gate_broker_t *broker) {
    gi_handover_t *self = &broker->handover;
    if (gi_handover_away(broker))
        s_resume(broker);
    if (!gi_handover_shared(broker) && self->listen_fd >= 0)
        unlink(self->path);
    s_close(&self->listen_fd);
    s_close(&self->peer_fd);
    self->state = GI_HANDOVER_OFF;
    self->took = false;
}

void gi_handover_init(gi_handover_t *self) {
    *self = (gi_handover_t){.listen_fd = -1, .peer_fd = -1};
    gi_gauge_init(&self->left);
}

void gi_handover_fini(gi_handover_t *self) { gi_mem_free(self->path); }
