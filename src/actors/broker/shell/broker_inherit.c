/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_inherit.c -- socket activation (sd_listen_fds(3)): listening sockets that
 * a service manager has opened and named frontend or backend. It keeps them, so
 * that nobody is refused while a broker is started again. None is taken twice, by
 * the next broker of this process either. */
#include "broker/shell/broker_impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gaterpc/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "net/address.h"

#define S_PART "broker"
enum { S_FIRST = 3, S_NAME_MAX = 256 };

/* How many are there for this process; 0 also for another one's. */
static gate_err_t s_count(int *out) {
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    char *end = NULL;
    *out = 0;
    if (!pid || !n || strtol(pid, NULL, 10) != (long)getpid())
        return GATE_OK;
    long count = strtol(n, &end, 10);
    if (end == n || *end || count < 0 || count > GI_HANDOVER_LISTENERS_MAX)
        return gi_err(GATE_BADARG,
                      "LISTEN_FDS=%.40s: a number of sockets from 0 to %d "
                      "expected",
                      n, GI_HANDOVER_LISTENERS_MAX);
    *out = (int)count;
    return GATE_OK;
}

/* Names and sockets that are not as many belong to nobody knows whom. */
static gate_err_t s_count_names(int n) {
    const char *names = getenv("LISTEN_FDNAMES");
    int n_names = 1;
    if (!names || !n)
        return GATE_OK;
    for (const char *at = names; (at = strchr(at, ':')); at++)
        n_names++;
    if (n_names != n)
        return gi_err(GATE_BADARG,
                      "LISTEN_FDNAMES=%.100s: as many names as LISTEN_FDS has "
                      "sockets expected: %d",
                      names, n);
    return GATE_OK;
}

/* The i-th of LISTEN_FDNAMES, "a:b:c"; "" for none. */
static void s_name(int i, char out[S_NAME_MAX]) {
    const char *names = getenv("LISTEN_FDNAMES");
    while (names && i-- > 0) {
        names = strchr(names, ':');
        names += names != NULL;
    }
    size_t size = names ? strcspn(names, ":") : 0;
    if (size >= S_NAME_MAX)
        size = 0;
    memcpy(out, names ? names : "", size);
    out[size] = '\0';
}

/* A bit for each that a broker of this process has taken. */
static _Atomic unsigned s_taken;

/* True: it is ours to take. One that an earlier broker had is none. What we open
 * ourselves is closed on exec and what is inherited is not, so a number that has
 * become one of ours is seen. */
static gate_err_t s_look(int i, const char *name, bool *out) {
    int fd = S_FIRST + i, yes = 0, flags = fcntl(fd, F_GETFD);
    socklen_t size = sizeof yes;
    *out = !(s_taken & 1U << i);
    if (!*out)
        return GATE_OK;
    if (flags < 0 || flags & FD_CLOEXEC)
        return gi_err(GATE_BADARG,
                      "LISTEN_FDS: descriptor %d (%s) was closed: the sockets "
                      "stand from %d on",
                      fd, name, S_FIRST);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) < 0 || !yes)
        return gi_err(GATE_BADARG,
                      "LISTEN_FDS: descriptor %d (%s) is no socket that "
                      "listens",
                      fd, name);
    return GATE_OK;
}

/* Its endpoint; *port is -1 but for tcp. False: of a kind that is none of ours. */
static bool s_endpoint(int fd, char out[GI_BROKER_ENDPOINT_MAX], int *port) {
    gi_address_t a = {.any.sa_family = AF_UNSPEC};
    char host[INET6_ADDRSTRLEN];
    socklen_t size = sizeof a;
    if (getsockname(fd, &a.any, &size) < 0)
        return false;
    *port = gi_address_port(&a);
    if (a.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a.v4.sin_addr, host, sizeof host);
        snprintf(out, GI_BROKER_ENDPOINT_MAX, "tcp://%s:%d", host, *port);
    } else if (a.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a.v6.sin6_addr, host, sizeof host);
        snprintf(out, GI_BROKER_ENDPOINT_MAX, "tcp://[%s]:%d", host, *port);
    } else if (a.any.sa_family == AF_UNIX && a.ipc.sun_path[0]) {
        snprintf(out, GI_BROKER_ENDPOINT_MAX, "ipc://%.*s",
                 (int)sizeof a.ipc.sun_path, a.ipc.sun_path);
    } else {
        return false;
    }
    return true;
}

/* The same place: the socket is what was configured, whatever address of this
 * machine it is bound to. */
static bool s_is_place(const char *asked, const char *bound, int port) {
    const char *colon = strrchr(asked, ':');
    return strcmp(asked, bound) == 0 ||
           (port > 0 && strncmp(asked, "tcp://", 6) == 0 && colon &&
            strtol(colon + 1, NULL, 10) == port);
}

/* The other side listens there: who connects would come to either. */
static bool s_is_others(const gate_broker_t *broker, unsigned side,
                        const char *bound) {
    char theirs[GI_BROKER_ENDPOINT_MAX];
    unsigned other = side == GI_FRONT ? GI_BACK : GI_FRONT;
    int port;
    const gi_broker_endpoint_t *p = broker->sides[other].endpoints;
    while (p &&
           !(p->listener.fd >= 0 && s_endpoint(p->listener.fd, theirs, &port) &&
             strcmp(theirs, bound) == 0))
        p = p->next;
    return p != NULL;
}

static gate_err_t s_adopt(gate_broker_t *broker, unsigned side, int fd) {
    char bound[GI_BROKER_ENDPOINT_MAX];
    int port;
    if (!s_endpoint(fd, bound, &port))
        return gi_err(GATE_BADARG,
                      "LISTEN_FDS: socket %d is neither TCP nor a "
                      "unix socket with a path",
                      fd);
    if (s_is_others(broker, side, bound))
        return gi_err(GATE_BADARG,
                      "LISTEN_FDS: descriptor %d: %s is frontend and backend",
                      fd, bound);
    gi_broker_endpoint_t *p = broker->sides[side].endpoints;
    while (p && (p->listener.fd >= 0 || !s_is_place(p->asked, bound, port)))
        p = p->next;
    gate_err_t e =
        p ? GATE_OK : gi_broker_add_endpoint(broker, side, bound, &p);
    if (e)
        return e;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    p->listener.fd = fd;
    s_taken |= 1U << (fd - S_FIRST);
    return GATE_OK;
}

/* It is bound where that side is to listen. */
static bool s_is_at(const gate_broker_t *broker, unsigned side, int fd) {
    char bound[GI_BROKER_ENDPOINT_MAX];
    int port;
    if (!s_endpoint(fd, bound, &port))
        return false;
    const gi_broker_endpoint_t *p = broker->sides[side].endpoints;
    while (p && !s_is_place(p->asked, bound, port))
        p = p->next;
    return p != NULL;
}

/* By its name; one without either name (systemd's own is that of the unit) by
 * its place. -1: neither says whose it is. */
static int s_side(const gate_broker_t *broker, int fd, const char *name) {
    static const char *const names[] = {
        [GI_FRONT] = "frontend", [GI_BACK] = "backend"};
    for (int side = GI_FRONT; side <= GI_BACK; side++)
        if (strcmp(name, names[side]) == 0)
            return side;
    for (int side = GI_FRONT; side <= GI_BACK; side++)
        if (s_is_at(broker, (unsigned)side, fd))
            return side;
    return -1;
}

static gate_err_t s_inherit(gate_broker_t *broker, int i, const char *name) {
    bool ours;
    int side = s_side(broker, S_FIRST + i, name);
    if (side < 0) {
        gate_log(GATE_WARN, S_PART,
                 "LISTEN_FDS: a socket named '%s' is left alone: "
                 "FileDescriptorName= frontend or backend",
                 name);
        return GATE_OK;
    }
    gate_err_t e = s_look(i, name, &ours);
    return e || !ours ? e : s_adopt(broker, (unsigned)side, S_FIRST + i);
}

gate_err_t gi_inherit_listeners(gate_broker_t *broker) {
    char name[S_NAME_MAX];
    int n;
    gate_err_t e = s_count(&n);
    if (!e)
        e = s_count_names(n);
    for (int i = 0; i < n && !e; i++) {
        s_name(i, name);
        e = s_inherit(broker, i, name);
    }
    return e;
}
