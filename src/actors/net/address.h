/* SPDX-License-Identifier: BSD-3-Clause */
/* address.h -- room for what getsockname and getpeername give. */
#ifndef GI_ADDRESS_H
#define GI_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef union gi_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un ipc;
} gi_address_t;

/* -1: it is no internet address. */
static inline int gi_address_port(const gi_address_t *self) {
    return self->any.sa_family == AF_INET    ? ntohs(self->v4.sin_port)
           : self->any.sa_family == AF_INET6 ? ntohs(self->v6.sin6_port)
                                             : -1;
}

#endif
