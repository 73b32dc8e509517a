/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/reach.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <stdlib.h>

#define S_NAMED (-1) /* no errno: by a name that is not looked up here */

void gi_reach_init(gi_reach_t *self) { *self = (gi_reach_t){.fd = -1}; }

void gi_reach_fini(gi_reach_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    gi_reach_init(self);
}

static int s_connect(gi_reach_t *self, int family, const void *address,
                     socklen_t size) {
    self->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0)
        return errno;
    return connect(self->fd, address, size) < 0 ? errno : 0;
}

static int s_ipc(gi_reach_t *self, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof address.sun_path)
        return ENAMETOOLONG;
    memcpy(address.sun_path, path, n);
    if (*path == '@')
        address.sun_path[0] = 0;
    return s_connect(self, AF_UNIX, &address,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
                                 (*path != '@')));
}

/* Numbers alone, and the one name that every machine knows by itself. */
static int s_tcp(gi_reach_t *self, const char *text) {
    struct addrinfo hint = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                            .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char host[256];
    const char *port = strrchr(text, ':');
    size_t n = port ? (size_t)(port - text) : sizeof host;
    if (n >= sizeof host)
        return EINVAL;
    memcpy(host, text, n);
    host[n] = 0;
    char *name = *host == '[' ? host + 1 : host;
    name[strcspn(name, "]")] = 0;
    if (getaddrinfo(strcmp(name, "localhost") ? name : "127.0.0.1", port + 1,
                    &hint, &list))
        return S_NAMED;
    int e = s_connect(self, list->ai_family, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return e;
}

void gi_reach_again(gi_reach_t *self, const char *endpoint) {
    unsigned n = ++self->tries;
    if (n & (n - 1)) /* the first, second, fourth, ... */
        return;
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
    self->error =
        strncmp(endpoint, "ipc://", 6) == 0   ? s_ipc(self, endpoint + 6)
        : strncmp(endpoint, "tcp://", 6) == 0 ? s_tcp(self, endpoint + 6)
                                              : 0;
}

/* What the connection under way has come to. */
static void s_look(gi_reach_t *self) {
    int error = 0;
    socklen_t size = sizeof error;
    if (self->fd < 0 || self->error != EINPROGRESS ||
        getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || !error)
        return;
    self->error = error;
}

static bool s_there(const gi_reach_t *self) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    return self->fd >= 0 && (!self->error || self->error == EINPROGRESS) &&
           getpeername(self->fd, (struct sockaddr *)&address, &size) == 0;
}

void gi_reach_why(gi_reach_t *self, char *text, size_t room) {
    s_look(self);
    snprintf(text, room, "%s",
             s_there(self) ? "somebody is there, but no handshake comes about: "
                             "no ZeroMQ, another server key, or a broker "
                             "with connections_max of them"
             : self->error == S_NAMED ? "nobody answers there, or no such name"
             : self->error == ENOENT  ? "no such socket"
             : self->error && self->error != EINPROGRESS
                 ? strerror(self->error)
                 : "nobody answers there");
}

/* ---- whether it is one ---------------------------------------------------- */
#define S_SHOWN 200 /* bytes of a wrong one in its error */

/* What DEALER and ROUTER speak; udp and the multicasts are for others. */
static const char *const s_transports[] = {
    "tcp://", "ipc://", "inproc://", "ws://", "wss://", "tipc://", "vmci://"};

static const char *s_behind(const char *endpoint, const char *transport) {
    size_t n = strlen(transport);
    return strncmp(endpoint, transport, n) == 0 ? endpoint + n : NULL;
}

static bool s_port_ok(const char *port) {
    char *end;
    if (strcmp(port, "*") == 0 || strcmp(port, "!") == 0)
        return true;
    long number = strtol(port, &end, 10);
    return *port >= '0' && *port <= '9' && !*end && number <= 65535;
}

/* host:port; libzmq's "from;to" ends in it too. */
static gate_err_t s_tcp_ok(const char *whose, const char *endpoint,
                           const char *address) {
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address)
        return gi_err(GATE_BADARG,
                      "%s: '%.*s': tcp://HOST:PORT expected, a port is missing",
                      whose, S_SHOWN, endpoint);
    if (!s_port_ok(colon + 1))
        return gi_err(GATE_BADARG,
                      "%s: '%.*s': port %.20s: a number from 0 to 65535 or * "
                      "expected",
                      whose, S_SHOWN, endpoint, colon + 1);
    return GATE_OK;
}

gate_err_t gi_reach_check(const char *whose, const char *endpoint) {
    const char *address = NULL;
    for (size_t i = 0; i < sizeof s_transports / sizeof *s_transports; i++)
        if (!address)
            address = s_behind(endpoint, s_transports[i]);
    if (!address || !*address)
        return gi_err(GATE_BADARG,
                      "%s: '%.*s' is no endpoint: tcp://HOST:PORT, ipc://PATH "
                      "or inproc://NAME expected",
                      whose, S_SHOWN, endpoint);
    if (s_behind(endpoint, "tcp://"))
        return s_tcp_ok(whose, endpoint, address);
    return GATE_OK;
}
