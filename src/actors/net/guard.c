/* SPDX-License-Identifier: BSD-3-Clause */
/* guard.c -- see guard.h.
 *
 * On the wire (ZMTP 3) a frame has 2 or 9 bytes before it, with CURVE 33 more.
 * What else a peer sends, its handshake and libzmq's heartbeats, is not seen
 * here: it is covered by an allowance that grows with the connection's age. */
#include "net/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "base/err.h"
#include "base/mem.h"
#include "memory/resident.h"
#include "net/address.h"
#include "settings/settings.h"
#include "sync/clock.h"
#include "sync/fd.h"

#define S_LOOK_MS 50
#define S_LOOKS_MAX 512 /* connections per look */
#define S_COUNT_MS 1000
#define S_RECOUNT_MS 10000
#define S_WATCHED_MS 1000
#define S_SOON_MS 10       /* between looks while it grows */
#define S_ALLOWANCE_MS 1   /* bytes a ms of age: heartbeats */
#define S_STILL 4          /* looks without a message: none waits unread */
#define S_GROWN (16 << 20) /* bytes of memory beyond what is held */
#define S_CREEP (1 << 20)  /* by so much a look it may grow for other reasons */
#define S_LITTLE (256 << 10)
#define S_CRUMBS_MIN 4096 /* bytes held that are worth a look */
#define S_PEEK 16384
#define S_STAND 4096 /* bytes that stand: 65 frames of what is kept inside */
#define S_STANDS 7   /* doublings: more than comes between two looks */
#define S_TRIM (32 << 20)
#define S_TRIM_MS 1000
#define S_BACKLOG_MAX 4096
#define S_RESERVE_MIN 24
#define S_RESERVE_MAX 8192

/* ---- descriptors --------------------------------------------------------- */
/* Kept free: for what has been accepted by the kernel already, and for what
 * else the process has to open. */
static size_t s_reserve(size_t limit) {
    size_t n = limit / 8;
    return n < S_RESERVE_MIN   ? S_RESERVE_MIN
           : n > S_RESERVE_MAX ? S_RESERVE_MAX
                               : n;
}

static void s_count(gi_guard_t *self, int64_t now_ms) {
    self->count_ms = now_ms;
    (void)gi_fd_count(&self->n_fds);
}

/* More than the reserve, or it would come and go with each peer. */
static bool s_is_ample(const gi_guard_t *self, size_t limit, size_t reserve) {
    return self->n_fds + reserve + reserve / 4 < limit;
}

static void s_detach(int fd) {
    int none = 0;
    setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
}

static void s_filter(gi_guard_t *self, bool on) {
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &drop};
    for (unsigned i = 0; i < self->n_listeners; i++) {
        if (on)
            setsockopt(self->listeners[i], SOL_SOCKET, SO_ATTACH_FILTER,
                       &program, sizeof program);
        else
            s_detach(self->listeners[i]);
    }
    self->n_shut += on;
    self->shut = on;
    gi_guard_next_turn(self);
    gate_log(GATE_WARN, self->part,
             on ? "few descriptors are left: new peers wait"
                : "new peers are let in again");
}

/* With few open there is nothing to count. */
static void s_look_at_fds(gi_guard_t *self, int64_t now_ms) {
    size_t limit = gi_fd_limit(), reserve = s_reserve(limit);
    bool near = self->n_fds > limit / 2 || self->n_open > limit / 2;
    if ((near || self->shut) && now_ms - self->count_ms >= S_COUNT_MS)
        s_count(self, now_ms);
    if (!self->shut && self->n_fds + reserve >= limit)
        s_filter(self, true);
    else if (self->shut && s_is_ample(self, limit, reserve))
        s_filter(self, false);
}

/* Beyond that the process itself is looked at now and then, of which the host
 * may have opened much. */
bool gi_guard_spares(gi_guard_t *self, size_t more, int64_t now_ms) {
    size_t half = gi_fd_limit() / 2;
    if (self->shut || self->n_fds + more >= half)
        return false;
    if (now_ms - self->count_ms >= S_RECOUNT_MS)
        s_count(self, now_ms);
    return self->n_fds + more < half;
}

void gi_guard_next_turn(const gi_guard_t *self) {
    for (unsigned i = 0; i < self->n_turns && !self->shut; i++)
        gi_listener_turn(&self->turns[i]);
}

/* EAGAIN: another broker may have been faster. */
void gi_guard_refused(gi_guard_t *self, int error) {
    if (error != EAGAIN && !self->shut)
        s_filter(self, true);
    self->exhausted |= error != EAGAIN;
    gi_guard_next_turn(self);
}

/* Without /proc it stays as libzmq has it. */
void gi_guard_turns(gi_guard_t *self, int fd) {
    if (fd < 0 || self->n_turns == GI_GUARD_LISTENERS_MAX ||
        gi_listener_await(fd, S_WATCHED_MS, &self->turns[self->n_turns]))
        return;
    gi_listener_turn(&self->turns[self->n_turns++]);
}

gate_err_t gi_guard_room(gi_guard_t *self) {
    size_t limit = gi_fd_limit(), reserve = s_reserve(limit);
    s_count(self, gi_clock_ms());
    if (self->n_listeners + self->n_paths == 0 ||
        s_is_ample(self, limit, reserve))
        return GATE_OK;
    errno = EMFILE;
    return gi_err_errno("%zu descriptors are in use and %zu kept free: there "
                        "is room for no peer",
                        self->n_fds, reserve);
}

void gi_guard_listener(gi_guard_t *self, int fd) {
    size_t backlog = s_reserve(gi_fd_limit()) / 2;
    if (fd < 0 || self->n_listeners == GI_GUARD_LISTENERS_MAX)
        return;
    listen(fd, (int)(backlog < S_BACKLOG_MAX ? backlog : S_BACKLOG_MAX));
    s_detach(fd); /* of the broker that had it before */
    self->listeners[self->n_listeners++] = fd;
}

void gi_guard_unlisten(gi_guard_t *self) {
    self->n_listeners = 0;
    self->shut = self->exhausted = false;
}

/* ---- connections --------------------------------------------------------- */
static bool s_room(gi_guard_t *self, size_t fd) {
    size_t n = self->n_by_fd ? self->n_by_fd : 64;
    if (fd < self->n_by_fd)
        return true;
    while (n <= fd)
        n *= 2;
    gi_guarded_t *by_fd = gi_mem_realloc(self->by_fd, n * sizeof *by_fd);
    if (by_fd == NULL)
        return false;
    memset(by_fd + self->n_by_fd, 0, (n - self->n_by_fd) * sizeof *by_fd);
    self->by_fd = by_fd;
    self->n_by_fd = n;
    return true;
}

static void s_forget(gi_guard_t *self, gi_guarded_t *g) {
    self->n_open -= g->open;
    self->n_silent[g->side] -= g->open && g->delivered == 0;
    self->held -= g->held;
    self->strange -= g->strange;
    memset(g, 0, sizeof *g);
}

void gi_guard_accepted(gi_guard_t *self, unsigned side, int fd,
                       int64_t now_ms) {
    self->n_fds++;
    s_look_at_fds(self, now_ms);
    gi_guard_next_turn(self);
    if (fd < 0 || !s_room(self, (size_t)fd))
        return;
    s_forget(self, &self->by_fd[fd]);
    self->by_fd[fd] =
        (gi_guarded_t){.side = (uint8_t)side, .since_ms = now_ms, .open = true};
    self->n_open++;
    self->n_silent[side]++;
}

void gi_guard_closed(gi_guard_t *self, unsigned side, int fd) {
    self->n_fds -= self->n_fds > 0;
    if (fd < 0 || (size_t)fd >= self->n_by_fd)
        return;
    gi_guarded_t *g = &self->by_fd[fd];
    if (g->open && g->side == side) /* else the number was used again */
        s_forget(self, g);
}

void gi_guard_delivered(gi_guard_t *self, const gi_frames_t *frames, int fd) {
    uint64_t bytes = 0;
    if (fd < 0 || (size_t)fd >= self->n_by_fd)
        return;
    unsigned n_sizes = frames->packed ? frames->n_wire : frames->n - 1;
    for (unsigned i = 0; i < n_sizes; i++) {
        size_t n = frames->packed ? frames->wire[i] : frames->at[1 + i].size;
        n = n != SIZE_MAX ? n : INT32_MAX;
        n += self->curve ? 33 : 0;
        bytes += n + (n < 256 ? 2 : 9);
    }
    gi_guarded_t *g = &self->by_fd[fd];
    self->n_silent[g->side] -= g->open && g->delivered == 0;
    g->delivered += bytes;
}

/* ---- messages without end ------------------------------------------------ */
/* What libzmq has read; -1: no tcp connection. */
static int64_t s_received(int fd) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + 8 ||
        ioctl(fd, SIOCINQ, &unread) < 0)
        return -1;
    return (int64_t)info.tcpi_bytes_received - unread;
}

int64_t gi_guard_carried(int fd) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_sent) + 8 ||
        info.tcpi_notsent_bytes > 0)
        return -1;
    return (int64_t)info.tcpi_bytes_sent;
}

static int s_port(int fd) {
    gi_address_t at = {0};
    socklen_t size = sizeof at;
    return getsockname(fd, &at.any, &size) < 0 ? -1 : gi_address_port(&at);
}

static bool s_is_our_path(const gi_guard_t *self, const gi_address_t *at) {
    for (unsigned i = 0; i < self->n_paths; i++)
        if (strncmp(at->ipc.sun_path, self->paths[i],
                    sizeof at->ipc.sun_path) == 0)
            return true;
    return false;
}

/* The number may be the host's by now. */
static bool s_is_ours(const gi_guard_t *self, int fd) {
    gi_address_t at = {0};
    socklen_t size = sizeof at;
    if (getsockname(fd, &at.any, &size) < 0)
        return false;
    if (at.any.sa_family == AF_UNIX)
        return s_is_our_path(self, &at);
    int port = gi_address_port(&at);
    for (unsigned i = 0; port >= 0 && i < self->n_listeners; i++)
        if (s_port(self->listeners[i]) == port)
            return true;
    return false;
}

void gi_guard_endpoint(gi_guard_t *self, const char *endpoint) {
    static const char ipc[] = "ipc://";
    if (strncmp(endpoint, ipc, sizeof ipc - 1) == 0 &&
        self->n_paths < GI_GUARD_LISTENERS_MAX)
        self->paths[self->n_paths++] = endpoint + sizeof ipc - 1;
}

bool gi_guard_shut(gi_guard_t *self, int fd) {
    return s_is_ours(self, fd) && shutdown(fd, SHUT_RDWR) == 0;
}

/* What the kernel has got already would still be read, megabytes of it. It is
 * thrown away in one step (MSG_TRUNC: tcp copies nothing then; ipc knows no such
 * thing): libzmq's thread reads at the same time, and a message with a piece
 * missing in the middle must not be made. The peer learns of the end by a reset
 * alone. */
static void s_discard(int fd) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    gi_address_t at = {0};
    socklen_t size = sizeof at;
    int n = INT32_MAX;
    void *waste = NULL;
    if (getsockname(fd, &at.any, &size) < 0)
        return;
    if (at.any.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    else if (ioctl(fd, SIOCINQ, &n) < 0 || !(waste = gi_mem_alloc((size_t)n)))
        return;
    syscall(SYS_recvfrom, fd, waste, (size_t)n, MSG_TRUNC | MSG_DONTWAIT, NULL,
            NULL);
    gi_mem_free(waste);
}

/* The number may be another connection's as soon as libzmq sees the end, so all
 * this is done by one of our own. */
void gi_guard_cut(gi_guard_t *self, int fd, const char *why) {
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return;
    bool cut = gi_guard_shut(self, own);
    if (cut)
        s_discard(own);
    close(own);
    if (!cut)
        return;
    gate_log(GATE_WARN, self->part, "a peer is cut off: %s", why);
    self->n_cut++;
}

static void s_stand(gi_guarded_t *g, int fd, unsigned doublings) {
    int least = doublings ? S_STAND << (doublings - 1) : 1;
    if (g->stands != doublings)
        setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
    g->stands = (uint8_t)doublings;
}

/* libzmq may be faster than the peer, and then the kernel has nothing to look
 * at: it is woken for some bytes only, for more of them with each look that
 * sees none, until they stand there from one look to the next, as the end of an
 * honest message would. */
static void s_look_into(gi_guard_t *self, int fd, bool tcp) {
    gi_guarded_t *g = &self->by_fd[fd];
    unsigned char in[S_PEEK];
    ssize_t n = recv(fd, in, sizeof in, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && gi_crumbs(in, (size_t)n, GI_FRAMES_MAX)) {
        gi_guard_cut(self, fd, "a message of more frames than any may have");
        return;
    }
    if (!tcp)
        return;
    if (n > 0 && n == g->stood)
        s_stand(g, fd, 0);
    else if (g->stands < S_STANDS)
        s_stand(g, fd, g->stands + 1);
    g->stood = (int32_t)n;
}

/* Notes what it holds; -1: this is not known. */
static int64_t s_measure(gi_guard_t *self, int fd) {
    gi_guarded_t *g = &self->by_fd[fd];
    int64_t received = s_received(fd);
    int64_t held = received - (int64_t)g->delivered;
    held = received < 0 || held < 0 ? 0 : held;
    self->held += held - g->held;
    self->strange -= g->strange;
    g->strange = g->delivered ? 0 : held;
    self->strange += g->strange;
    g->held = held;
    return received < 0 ? -1 : held;
}

/* Those who have delivered nothing have a quarter of all's room. */
static bool s_is_crowded(const gi_guard_t *self, const gi_guarded_t *g) {
    int64_t all = self->bounds.all;
    return all > 0 &&
           (self->held > all || (g->strange && self->strange > all / 4));
}

static void s_judge(gi_guard_t *self, int fd, bool all_read, int64_t now_ms) {
    gi_guarded_t *g = &self->by_fd[fd];
    const gi_guard_bounds_t *b = &self->bounds;
    int64_t held = s_measure(self, fd), age = now_ms - g->since_ms;
    int64_t more = b->small + age * S_ALLOWANCE_MS;
    bool moved = g->delivered != g->judged;
    g->judged = g->delivered;
    if (moved)
        g->still = 0;
    else if (g->still < S_STILL)
        g->still++;
    bool unfinished = !moved && (all_read || g->still == S_STILL);
    if (unfinished && held > b->one + more)
        gi_guard_cut(self, fd, "a message without end");
    else if (unfinished && held > more && s_is_crowded(self, g))
        gi_guard_cut(self, fd, "unfinished messages are too much");
    else if (unfinished && self->pressed && (held < 0 || held > S_CRUMBS_MIN))
        s_look_into(self, fd, held >= 0);
    else
        s_stand(g, fd, 0);
}

/* Connections that have said nothing make way for what the kernel has accepted
 * already, which libzmq would try to take for ever. */
static void s_make_way(gi_guard_t *self) {
    size_t n = s_reserve(gi_fd_limit());
    for (size_t fd = self->n_by_fd; fd-- > 0 && n > 0;) {
        const gi_guarded_t *g = &self->by_fd[fd];
        if (!g->open || g->delivered > 0 || !gi_guard_shut(self, (int)fd))
            continue;
        self->n_cut++;
        n--;
    }
}

/* ---- memory --------------------------------------------------------------- */
/* Base follows while nothing to speak of is held, and slowly, so that what
 * grows fast over ipc, where the kernel counts nothing, is seen as well. What
 * the owner keeps explains memory at once, and for a while after it has gone:
 * what is freed stays with the process. */
static void s_look_at_memory(gi_guard_t *self, int64_t kept, int64_t now_ms) {
    int64_t before = self->rss, creep = self->base + S_CREEP;
    self->rss = gi_resident();
    self->kept = kept > self->kept - S_CREEP ? kept : self->kept - S_CREEP;
    int64_t rest = self->rss - self->kept;
    if (self->held < S_LITTLE || rest < self->base)
        self->base = rest < creep ? rest : creep;
    self->pressed = rest > self->base + self->held + S_GROWN;
    if (self->pressed || self->rss > before + S_GROWN / 4)
        self->look_ms = now_ms + S_SOON_MS;
}

void gi_guard_trim(gi_guard_t *self, int64_t now_ms) {
    if (self->rss < self->low)
        self->low = self->rss;
    if (self->rss < self->low + S_TRIM || self->held > S_LITTLE ||
        now_ms < self->trim_ms)
        return;
    self->trim_ms = now_ms + S_TRIM_MS;
    if (gi_resident_slack(self->rss) < self->slack + S_TRIM)
        return;
    gi_resident_trim();
    self->rss = gi_resident();
    self->slack = gi_resident_slack(self->rss);
}

/* ---- a look -------------------------------------------------------------- */
static void s_look_at_some(gi_guard_t *self, bool all_read, int64_t now_ms) {
    size_t looks = 0;
    for (size_t n = self->n_by_fd; n > 0 && looks < S_LOOKS_MAX; n--) {
        if (self->at >= self->n_by_fd)
            self->at = 0;
        if (self->by_fd[self->at].open) {
            s_judge(self, (int)self->at, all_read, now_ms);
            looks++;
        }
        self->at++;
    }
}

void gi_guard_look(gi_guard_t *self, bool all_read, size_t kept,
                   int64_t now_ms) {
    if (now_ms < self->look_ms)
        return;
    self->look_ms = now_ms + S_LOOK_MS;
    if (self->n_listeners + self->n_paths == 0)
        return;
    s_look_at_fds(self, now_ms);
    if (self->exhausted)
        s_make_way(self);
    self->exhausted = false;
    s_look_at_memory(self, (int64_t)kept, now_ms);
    s_look_at_some(self, all_read, now_ms);
}

int64_t gi_guard_next(const gi_guard_t *self) {
    bool idle = self->n_open == 0 && !self->shut;
    return idle || self->n_listeners + self->n_paths == 0 ? INT64_MAX
                                                          : self->look_ms;
}

void gi_guard_init(gi_guard_t *self, const gate_settings_t *settings,
                   const char *part, gi_guard_bounds_t bounds, bool curve,
                   int64_t now_ms) {
    *self = (gi_guard_t){.settings = settings,
                         .part = part,
                         .bounds = bounds,
                         .curve = curve,
                         .look_ms = now_ms,
                         .trim_ms = now_ms};
    self->rss = self->base = self->low = gi_resident();
    self->slack = gi_resident_slack(self->rss);
    s_count(self, now_ms);
}

void gi_guard_fini(gi_guard_t *self) {
    gi_mem_free(self->by_fd);
    *self = (gi_guard_t){0};
}
