/* SPDX-License-Identifier: BSD-3-Clause */
/* fetch.c -- one GET to a monitor, for gate health: where there is no curl. */
#include "monitor/monitor.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define S_WAIT_S 5

static int s_unix(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int s_tcp(const char *addr) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *at = NULL;
    char host[256] = "127.0.0.1";
    const char *colon = strrchr(addr, ':');
    size_t skip = *addr == '[';
    if (colon)
        snprintf(host, sizeof host, "%.*s",
                 (int)(colon - addr - 2 * (long)skip), addr + skip);
    if (getaddrinfo(host, colon ? colon + 1 : addr, &hints, &at))
        return -1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(at);
    return fd;
}

static bool s_send(int fd, const char *text) {
    size_t size = strlen(text);
    return send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int s_status(int fd, const char *path) {
    static const char rest[] =
        " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const struct timeval wait = {S_WAIT_S, 0};
    char text[512];
    size_t n = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (!s_send(fd, "GET ") || !s_send(fd, path) || !s_send(fd, rest))
        return 0;
    for (ssize_t got; n < sizeof text - 1 && !memchr(text, '\n', n);
         n += (size_t)got) {
        got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0)
            break;
    }
    text[n] = 0;
    return strncmp(text, "HTTP/1.", 7) == 0 && n > 12 ? atoi(text + 9) : 0;
}

int gi_fetch_status(const char *addr, const char *path) {
    int fd = strncmp(addr, "unix:", 5) == 0 ? s_unix(addr + 5) : s_tcp(addr);
    int status = fd >= 0 ? s_status(fd, path) : 0;
    if (fd >= 0)
        close(fd);
    if (status == 0)
        fprintf(stderr, "gate: no monitor answers at %s\n", addr);
    return status;
}
