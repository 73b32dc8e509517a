/* SPDX-License-Identifier: BSD-3-Clause */
/* listener.c -- see sock.h: listening sockets of our own that libzmq accepts
 * from, and how one is taken away from it and given back. */
#include "net/sock.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "net/guard.h"
#include "sync/clock.h"

#define S_BACKLOG 4096
#define S_SOON_TRIES 50
#define S_SOON_NS 4000000

int gi_listener_blank(void) {
    const struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 &&
        bind(fd, (const struct sockaddr *)&address,
             sizeof address.sun_family) == 0 &&
        listen(fd, 0) == 0)
        return fd;
    (void)gi_err_errno("no blank listener");
    if (fd >= 0)
        close(fd);
    return -1;
}

gate_err_t gi_listener_pause(const gi_listener_t *self, int blank_fd) {
    if (self->zmq_fd >= 0 && dup3(blank_fd, self->zmq_fd, O_CLOEXEC) < 0)
        return gi_err_errno("a listener cannot be paused");
    return GATE_OK;
}

void gi_listener_resume(const gi_listener_t *self) {
    if (self->zmq_fd >= 0)
        dup3(self->fd, self->zmq_fd, O_CLOEXEC);
}

void gi_listener_close(gi_listener_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    *self = GI_LISTENER_NONE;
}

/* ---- tcp ----------------------------------------------------------------- */
typedef struct s_at {
    struct sockaddr_storage address;
    socklen_t size; /* 0: none yet */
} s_at_t;

static void s_set(s_at_t *at, const struct sockaddr *address, socklen_t size) {
    memcpy(&at->address, address, size);
    at->size = size;
}

/* An address of that interface, of the family that is wanted if it has one. */
static bool s_interface(const char *name, bool ipv6, s_at_t *at) {
    struct ifaddrs *list = NULL;
    int wanted = ipv6 ? AF_INET6 : AF_INET;
    if (getifaddrs(&list) < 0)
        return false;
    for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        if ((family == wanted || (!at->size && family == AF_INET)) &&
            strcmp(i->ifa_name, name) == 0 && at->address.ss_family != wanted)
            s_set(at, i->ifa_addr,
                  family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                     : sizeof(struct sockaddr_in));
    }
    freeifaddrs(list);
    return at->size > 0;
}

/* getaddrinfo's code; the first address of that family. */
static int s_resolve(const char *name, int family, int flags, s_at_t *at) {
    const struct addrinfo hint = {.ai_family = family,
                                  .ai_flags = AI_PASSIVE | flags,
                                  .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(name, "0", &hint, &list);
    if (rc == 0)
        s_set(at, list->ai_addr, list->ai_addrlen);
    if (rc == 0)
        freeaddrinfo(list);
    return rc;
}

static int s_name(const char *name, bool ipv6, s_at_t *at) {
    if (strcmp(name, "*") == 0)
        return s_resolve(NULL, ipv6 ? AF_INET6 : AF_INET, 0, at);
    if (s_resolve(name, AF_UNSPEC, AI_NUMERICHOST, at) == 0 ||
        s_interface(name, ipv6, at))
        return 0;
    if (!ipv6 && s_resolve(name, AF_INET, 0, at) == 0)
        return 0;
    return s_resolve(name, AF_UNSPEC, 0, at);
}

/* "tcp://host:port" into both; the brackets of an IPv6 address go. */
static gate_err_t s_parts(const char *endpoint, char host[256], int *port) {
    char *end = NULL, *colon;
    const char *address = endpoint + strlen("tcp://");
    if (strlen(address) >= 256)
        return gi_err(GATE_BADARG, "%s: too long", endpoint);
    strcpy(host, address);
    colon = strrchr(host, ':');
    if (!colon)
        return gi_err(GATE_BADARG, "%s: tcp://host:port expected", endpoint);
    *colon = 0;
    long n = strcmp(colon + 1, "*") ? strtol(colon + 1, &end, 10) : 0;
    if (end && (end == colon + 1 || *end || n < 0 || n > 65535))
        return gi_err(GATE_BADARG,
                      "%s: port %s: a number from 0 to 65535 or * expected",
                      endpoint, colon + 1);
    *port = (int)n;
    if (*host == '[' && colon > host && colon[-1] == ']') {
        colon[-1] = 0;
        memmove(host, host + 1, strlen(host));
    }
    return GATE_OK;
}

static void s_port(s_at_t *at, int port) {
    if (at->address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&at->address)->sin6_port =
            htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)&at->address)->sin_port =
            htons((uint16_t)port);
}

/* libzmq closes a listener some time after its socket, the kernel a dead
 * process's one by one: an endpoint that was just left is waited for, briefly.
 */
static int s_bind(int fd, const s_at_t *at) {
    int rc, tries = S_SOON_TRIES;
    while ((rc = bind(fd, (const struct sockaddr *)&at->address, at->size)) <
               0 &&
           errno == EADDRINUSE && --tries)
        nanosleep(&(struct timespec){.tv_nsec = S_SOON_NS}, NULL);
    return rc;
}

/* :: is both, whatever the system's default is. */
static bool s_options(int fd, int family) {
    const int one = 1, both = 0;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
           (family != AF_INET6 ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both) == 0);
}

gate_err_t gi_listener_tcp(const char *endpoint, bool ipv6, int *out) {
    char host[256];
    int port = 0;
    s_at_t at = {.size = 0};
    gate_err_t e = s_parts(endpoint, host, &port);
    if (e)
        return e;
    int rc = s_name(host, ipv6, &at);
    if (rc)
        return gi_err(GATE_SYSTEM, "%s: %s", endpoint, gai_strerror(rc));
    s_port(&at, port);
    int family = at.address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && s_options(fd, family) && s_bind(fd, &at) == 0 &&
        listen(fd, S_BACKLOG) == 0) {
        *out = fd;
        return GATE_OK;
    }
    e = gi_err_errno("%s: cannot listen", endpoint);
    if (fd >= 0)
        close(fd);
    return e;
}

/* ---- turns (guard.h) --- */
/* One of an epoll's lines "tfd: 12 events: 19 data: 7f..." is about fd, for
 * input. */
static bool s_listed(FILE *info, int fd, gi_turns_t *out) {
    char line[160];
    int tfd;
    unsigned events;
    unsigned long long data;
    while (fgets(line, sizeof line, info))
        if (sscanf(line, "tfd: %d events: %x data: %llx", &tfd, &events,
                   &data) == 3 &&
            tfd == fd && (events & EPOLLIN)) {
            out->fd = fd;
            out->data = data;
            return true;
        }
    return false;
}

/* 1: some epoll of this process watches it; 0: none; -1: errno. */
static int s_watched(int fd, gi_turns_t *out) {
    int found = 0;
    DIR *dir = opendir("/proc/self/fdinfo");
    if (!dir)
        return -1;
    for (struct dirent *e; !found && (e = readdir(dir));) {
        int at = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);
        FILE *info = at < 0 ? NULL : fdopen(at, "r");
        if (info)
            found = s_listed(info, fd, out);
        if (found)
            out->epoll = atoi(e->d_name);
        if (info)
            fclose(info);
        else if (at >= 0)
            close(at);
    }
    closedir(dir);
    return found;
}

gate_err_t gi_listener_await(int fd, int64_t timeout_ms, gi_turns_t *out) {
    int64_t end = gi_clock_ms() + timeout_ms;
    int rc;
    while ((rc = s_watched(fd, out)) == 0 && gi_clock_ms() < end)
        poll(NULL, 0, 1);
    if (rc < 0)
        return gi_err_errno("/proc/self/fdinfo, where libzmq is watched");
    return rc ? GATE_OK
              : gi_err(GATE_TIMEOUT, "libzmq does not watch a listener");
}

void gi_listener_turn(const gi_turns_t *turns) {
    struct epoll_event once = {.events = EPOLLIN | EPOLLONESHOT,
                               .data = {.u64 = turns->data}};
    epoll_ctl(turns->epoll, EPOLL_CTL_MOD, turns->fd, &once);
}
