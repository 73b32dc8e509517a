/* SPDX-License-Identifier: BSD-3-Clause */
/* whose.c -- ipc has SO_PEERCRED. A loopback tcp connection has its other end
 * in this kernel too, which tells whose socket that is (sock_diag(7), one exact
 * question): other users of the machine reach our ports, but have sockets of
 * their own. */
#include "net/guard.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/address.h"

#define S_ANSWER 1024

static bool s_is_us(uid_t uid) { return uid == geteuid() || uid == 0; }

static bool s_ipc(int fd) {
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           s_is_us(who.uid);
}

static bool s_is_loopback(const gi_address_t *at) {
    const struct in6_addr *v6 = &at->v6.sin6_addr;
    if (at->any.sa_family == AF_INET)
        return ntohl(at->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return at->any.sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(v6) ||
            (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET));
}

static void s_put(const gi_address_t *at, __be16 *port, __be32 to[4]) {
    if (at->any.sa_family == AF_INET) {
        *port = at->v4.sin_port;
        to[0] = at->v4.sin_addr.s_addr;
    } else {
        *port = at->v6.sin6_port;
        memcpy(to, &at->v6.sin6_addr, 16);
    }
}

/* What the kernel says of the socket from there to here; its uid, or -1. */
static int64_t s_answer(int netlink) {
    union {
        struct nlmsghdr head;
        char bytes[S_ANSWER];
    } in;
    ssize_t n = recv(netlink, &in, sizeof in, MSG_DONTWAIT);
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) ||
        in.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -1;
    return ((const struct inet_diag_msg *)NLMSG_DATA(&in.head))->idiag_uid;
}

static int64_t s_uid(const gi_address_t *there, const gi_address_t *here) {
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 ask;
    } out = {.head = {.nlmsg_len = sizeof out,
                      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                      .nlmsg_flags = NLM_F_REQUEST},
             .ask = {.sdiag_family = (uint8_t)there->any.sa_family,
                     .sdiag_protocol = IPPROTO_TCP,
                     .idiag_states = ~0u,
                     .id = {.idiag_cookie = {INET_DIAG_NOCOOKIE,
                                             INET_DIAG_NOCOOKIE}}}};
    int netlink =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int64_t uid = -1;
    if (netlink < 0)
        return -1;
    s_put(there, &out.ask.id.idiag_sport, out.ask.id.idiag_src);
    s_put(here, &out.ask.id.idiag_dport, out.ask.id.idiag_dst);
    if (send(netlink, &out, sizeof out, 0) == (ssize_t)sizeof out)
        uid = s_answer(netlink);
    close(netlink);
    return uid;
}

bool gi_whose_is_ours(int fd) {
    gi_address_t here = {0}, there = {0};
    socklen_t n = sizeof here, m = sizeof there;
    if (getsockname(fd, &here.any, &n) < 0)
        return false;
    if (here.any.sa_family == AF_UNIX)
        return s_ipc(fd);
    if (getpeername(fd, &there.any, &m) < 0 || !s_is_loopback(&here) ||
        !s_is_loopback(&there))
        return false;
    int64_t uid = s_uid(&there, &here);
    return uid >= 0 && s_is_us((uid_t)uid);
}
