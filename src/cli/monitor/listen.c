/* SPDX-License-Identifier: BSD-3-Clause */
/* listen.c -- an address as people write it, to a listening socket. */
#include "monitor/monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define S_BACKLOG 64

static bool s_fail(const char *addr, const char *why) {
    fprintf(stderr, "gate: monitor %s: %s\n", addr, why);
    return false;
}

/* ---- unix ---------------------------------------------------------------- */
/* A file that nobody listens at any more is in the way. */
static void s_remove_stale(const struct sockaddr_un *at) {
    struct stat is;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (lstat(at->sun_path, &is) == 0 && S_ISSOCK(is.st_mode) &&
        connect(fd, (const struct sockaddr *)at, sizeof *at) != 0 &&
        errno == ECONNREFUSED)
        unlink(at->sun_path);
    close(fd);
}

static bool s_unix(gi_listen_t *self, const char *addr, const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof at.sun_path)
        return s_fail(addr, "a path of 1 to 107 bytes is wanted");
    strcpy(at.sun_path, path);
    s_remove_stale(&at);
    self->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mode_t before = umask(0117); /* 0660 */
    int rc = self->fd < 0
                 ? -1
                 : bind(self->fd, (const struct sockaddr *)&at, sizeof at);
    umask(before);
    if (rc != 0)
        return s_fail(addr, strerror(errno));
    strcpy(self->path, path);
    snprintf(self->url, sizeof self->url, "unix:%s", path);
    self->local = true;
    return true;
}

/* ---- tcp ----------------------------------------------------------------- */
static bool s_is_loopback(const struct sockaddr *at) {
    if (at->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)at)->sin_addr.s_addr) >> 24 ==
               IN_LOOPBACKNET;
    return at->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)at)->sin6_addr);
}

/* "9464", "1.2.3.4:9464", "[::1]:9464". False: none of these. */
static bool s_split(const char *addr, char host[64], char port[8]) {
    const char *colon = strrchr(addr, ':'), *begin = addr;
    size_t n = colon ? (size_t)(colon - addr) : 0;
    if (colon && *addr == '[' && n > 2 && addr[n - 1] == ']') {
        begin++;
        n -= 2;
    } else if (n && memchr(addr, ':', n)) {
        return false; /* IPv6 without brackets */
    }
    if (n >= 64 || (colon && !n))
        return false;
    snprintf(host, 64, "%.*s", (int)(colon ? n : 9),
             colon ? begin : "127.0.0.1");
    const char *digits = colon ? colon + 1 : addr;
    if (strlen(digits) < 1 || strlen(digits) > 5 ||
        strspn(digits, "0123456789") != strlen(digits) || atoi(digits) > 65535)
        return false;
    strcpy(port, digits);
    return true;
}

static void s_name(gi_listen_t *self) {
    struct sockaddr_storage at;
    socklen_t size = sizeof at;
    char host[64] = "", port[8] = "";
    if (getsockname(self->fd, (struct sockaddr *)&at, &size) == 0)
        getnameinfo((struct sockaddr *)&at, size, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = strchr(host, ':');
    snprintf(self->url, sizeof self->url, "http://%s%s%s:%s", v6 ? "[" : "",
             host, v6 ? "]" : "", port);
    self->local = s_is_loopback((struct sockaddr *)&at);
}

static bool s_tcp(gi_listen_t *self, const char *addr) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV |
                                               AI_PASSIVE};
    struct addrinfo *at = NULL;
    char host[64], port[8];
    int on = 1;
    if (!s_split(addr, host, port) || getaddrinfo(host, port, &hints, &at))
        return s_fail(addr, "PORT, ADDRESS:PORT, [ADDRESS]:PORT or unix:PATH "
                            "is wanted, the address as a number");
    self->fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->fd >= 0)
        setsockopt(self->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool ok = self->fd >= 0 && bind(self->fd, at->ai_addr, at->ai_addrlen) == 0;
    freeaddrinfo(at);
    if (!ok)
        return s_fail(addr, strerror(errno));
    s_name(self);
    return true;
}

/* ---- both ---------------------------------------------------------------- */
bool gi_listen_open(gi_listen_t *self, const char *addr) {
    *self = (gi_listen_t){.fd = -1};
    bool ok = strncmp(addr, "unix:", 5) == 0 ? s_unix(self, addr, addr + 5)
                                             : s_tcp(self, addr);
    if (ok && listen(self->fd, S_BACKLOG) != 0)
        ok = s_fail(addr, strerror(errno));
    if (!ok)
        gi_listen_close(self);
    return ok;
}

void gi_listen_close(gi_listen_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    if (*self->path)
        unlink(self->path);
    self->fd = -1;
    *self->path = 0;
}
