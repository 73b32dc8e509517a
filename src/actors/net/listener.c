/* SPDX-License-Identifier: BSD-3-Clause */
/* listener.c -- see sock.h: listening sockets of our own that libzmq accepts
 * from, and how one is taken away from it and given back. */
#include "net/sock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "sync/clock.h"
#include "base/err.h"

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

/* ---- is it watched? ------------------------------------------------------ */
/* One of an epoll's lines "tfd: 12 events: 19 ..." is about fd, for input. */
static bool s_listed(FILE *info, int fd) {
    char line[160];
    int tfd;
    unsigned events;
    while (fgets(line, sizeof line, info))
        if (sscanf(line, "tfd: %d events: %x", &tfd, &events) == 2 &&
            tfd == fd && (events & EPOLLIN))
            return true;
    return false;
}

/* 1: some epoll of this process watches it; 0: none; -1: errno. */
static int s_watched(int fd) {
    int found = 0;
    DIR *dir = opendir("/proc/self/fdinfo");
    if (!dir)
        return -1;
    for (struct dirent *e; !found && (e = readdir(dir));) {
        int at = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC);
        FILE *info = at < 0 ? NULL : fdopen(at, "r");
        if (info)
            found = s_listed(info, fd);
        if (info)
            fclose(info);
        else if (at >= 0)
            close(at);
    }
    closedir(dir);
    return found;
}

gate_err_t gi_listener_await(const gi_listener_t *self, int64_t timeout_ms) {
    int64_t end = gi_clock_ms() + timeout_ms;
    int rc = 1;
    while (self->zmq_fd >= 0 && (rc = s_watched(self->zmq_fd)) == 0 &&
           gi_clock_ms() < end)
        poll(NULL, 0, 1);
    if (rc < 0)
        return gi_err_errno("/proc/self/fdinfo, which a hand-over needs");
    return rc ? GATE_OK
              : gi_err(GATE_TIMEOUT, "libzmq does not watch a listener");
}
