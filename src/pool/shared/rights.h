/* SPDX-License-Identifier: BSD-3-Clause */
/* rights.h -- messages with descriptors, over a Unix socket that keeps messages
 * apart (SOCK_SEQPACKET). Pure calls; any thread. */
#ifndef GI_RIGHTS_H
#define GI_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#define GI_RIGHTS_MAX 40 /* descriptors in one message */

/* One message with n descriptors, which stay the caller's. False: errno. */
bool gi_rights_send(int fd, const void *data, size_t size, const int *fds,
                    int n, int flags);
/* Receives one; *n is how many descriptors came, at most max: what is beyond is
 * closed. Returns its size, 0 at the end, -1 with errno; EMSGSIZE: it was
 * larger than size, and is gone with its descriptors. */
ssize_t gi_rights_recv(int fd, void *data, size_t size, int *fds, int max,
                       int *n, int flags);
void gi_rights_close(int *fds, int n);

#endif
