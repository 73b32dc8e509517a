/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_handover.c -- see broker_handover.h: the old one's side. One
 * connection at a time; who else comes waits in the kernel. */
#include "broker/shell/broker_impl.h"

#include <errno.h>
#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sync/clock.h"
#include "base/mem.h"
#include "shared/rights.h"
#include "runtime/notify.h"
#include "sync/fd.h"

#define S_PART "broker"
#define S_LOOK_MS 20
#define S_STAY_MS 500  /* the new one may die young */
#define S_QUIET_MS 400 /* a client that knows nothing of moving: cut then */

/* ---- messages
 */
bool gi_handover_say(int fd, const char *text) {
    return gi_rights_send(fd, text, strlen(text), NULL, 0, MSG_DONTWAIT);
}

int gi_handover_hear(int fd, char text[GI_HANDOVER_TEXT_MAX], int *fds,
                     int *n_fds) {
    ssize_t size = gi_rights_recv(fd, text, GI_HANDOVER_TEXT_MAX - 1, fds,
                                  GI_HANDOVER_FDS_MAX, n_fds, MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN ? -1 : 0;
    text[size] = 0;
    return strlen(text) == (size_t)size ? (int)size : 0;
}

bool gi_handover_may(int fd) {
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}

/* ---- the old one --------------------------------------------------------- */
/* Each listener's line and descriptor. */
static int s_list(const gate_broker_t *broker, char *text, int *fds) {
    int n = 0;
    size_t at = strlen(GI_HANDOVER_GIVE);
    strcpy(text, GI_HANDOVER_GIVE);
    fds[n++] = broker->handover.listen_fd;
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++) {
        const gi_broker_endpoint_t *p = broker->sides[i].endpoints;
        for (; p && n < GI_HANDOVER_FDS_MAX; p = p->next) {
            if (p->listener.fd < 0)
                continue;
            at += (size_t)snprintf(text + at, GI_HANDOVER_TEXT_MAX - at,
                                   "%c %s %s\n", i == GI_BACK ? 'b' : 'f',
                                   p->asked, p->bound);
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
    gi_fd_close(&blank);
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
    gi_guard_next_turn(&broker->guard);
}

static void s_hang_up(gi_handover_t *self) {
    gi_fd_close(&self->peer_fd);
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
    gi_handover_expect(broker, 0); /* workers that were there only come back */
    s_hang_up(self);
}

/* The service's main process is the other one from now on: said by us, whom the
 * service manager believes. */
static void s_tell_manager(int peer_fd) {
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(peer_fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
        gi_notify("MAINPID=%d", (int)who.pid);
}

static void s_leave(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    s_guard(broker, false);
    if (s_pause(broker) || !gi_handover_say(self->peer_fd, GI_HANDOVER_YOURS)) {
        s_again(broker, now_ms);
        return;
    }
    gate_log(GATE_INFO, S_PART, "another broker has the listeners: leaving");
    s_tell_manager(self->peer_fd);
    self->state = GI_HANDOVER_LEAVING;
    self->due_ms = now_ms + broker->settings->drain_timeout_ms;
    self->look_ms = now_ms;
    self->stay_ms = now_ms + S_STAY_MS;
    gi_broker_core_move(broker->core, true, now_ms);
}

static void s_give(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    char text[GI_HANDOVER_TEXT_MAX];
    int fds[GI_HANDOVER_FDS_MAX];
    int n = s_list(broker, text, fds);
    if (!gi_rights_send(self->peer_fd, text, strlen(text), fds, n,
                        MSG_DONTWAIT)) {
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
    if (!gi_handover_may(self->peer_fd)) {
        gate_log(GATE_WARN, S_PART, "another user asked for the listeners");
        s_hang_up(self);
        return true;
    }
    self->state = GI_HANDOVER_ASKED;
    self->peer_maybe = true;
    self->due_ms = now_ms + GI_HANDOVER_MS;
    return true;
}

/* ---- the conversation ---------------------------------------------------- */
/* It has ended, or says what it should not. */
static void s_ended(gate_broker_t *broker, int64_t now_ms) {
    gi_handover_t *self = &broker->handover;
    if (self->took) {
        gi_handover_expect(broker, 0);
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
    char text[GI_HANDOVER_TEXT_MAX];
    int fds[GI_HANDOVER_FDS_MAX];
    int n = 0;
    if (self->peer_fd < 0 || !self->peer_maybe)
        return false;
    int size = gi_handover_hear(self->peer_fd, text, fds, &n);
    gi_rights_close(fds, n);
    self->peer_maybe = size > 0;
    if (size < 0)
        return false;
    if (self->state == GI_HANDOVER_ASKED &&
        strcmp(text, GI_HANDOVER_TAKE) == 0 && size)
        s_give(broker, now_ms);
    else if (self->state == GI_HANDOVER_GIVEN && size &&
             !strcmp(text, GI_HANDOVER_UP))
        s_leave(broker, now_ms);
    else
        s_ended(broker, now_ms);
    return true;
}

/* ---- leaving ------------------------------------------------------------- */
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

/* ---- the actor's door ---------------------------------------------------- */
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
        gi_ipc_remove(self->path, &self->file);
    gi_fd_close(&self->listen_fd);
    gi_fd_close(&self->peer_fd);
    self->state = GI_HANDOVER_OFF;
    self->took = false;
}

void gi_handover_init(gi_handover_t *self) {
    *self = (gi_handover_t){.listen_fd = -1, .peer_fd = -1};
    gi_gauge_init(&self->left);
}

void gi_handover_fini(gi_handover_t *self) { gi_mem_free(self->path); }
