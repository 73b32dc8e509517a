/* SPDX-License-Identifier: BSD-3-Clause */
/* rights.c -- see rights.h. */
#include "shared/rights.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union s_control {
    char room[CMSG_SPACE(GI_RIGHTS_MAX * sizeof(int))];
    struct cmsghdr align;
} s_control_t;

static void s_attach(struct msghdr *m, s_control_t *control, const int *fds,
                     size_t size) {
    m->msg_control = control->room;
    m->msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), fds, size);
}

bool gi_rights_send(int fd, const void *data, size_t size, const int *fds,
                    int n, int flags) {
    s_control_t control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t rc;
    if (n > 0)
        s_attach(&m, &control, fds, (size_t)n * sizeof(int));
    do
        rc = sendmsg(fd, &m, flags | MSG_NOSIGNAL);
    while (rc < 0 && errno == EINTR);
    return rc == (ssize_t)size;
}

/* Appends those of one control message. */
static void s_detach(struct cmsghdr *c, int *fds, int max, int *n) {
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int got;
        memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
        if (*n < max)
            fds[(*n)++] = got;
        else
            close(got);
    }
}

ssize_t gi_rights_recv(int fd, void *data, size_t size, int *fds, int max,
                       int *n, int flags) {
    s_control_t control;
    struct iovec iov = {data, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    ssize_t rc;
    *n = 0;
    do
        rc = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return rc;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            s_detach(c, fds, max, n);
    if (!(m.msg_flags & MSG_TRUNC))
        return rc;
    gi_rights_close(fds, *n);
    *n = 0;
    errno = EMSGSIZE;
    return -1;
}

void gi_rights_close(int *fds, int n) {
    while (n > 0)
        close(fds[--n]);
}
