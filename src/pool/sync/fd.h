/* SPDX-License-Identifier: BSD-3-Clause */
/* fd.h -- new descriptors stay off 0..2. A program may have closed those (a
 * daemon, cron, inetd): a socket that lands there is written to by the next
 * printf, and closed by whoever opens /dev/null as standard input.
 * Thread: any. */
#ifndef GI_FD_H
#define GI_FD_H

#include <stdbool.h>

/* fd, or its like from 3 on when it was lower; -1 stays -1, and so does errno.
 * The new one is close-on-exec. */
int gi_fd_high(int fd);
/* Both, or none: false with errno, and both are -1. */
bool gi_fd_high_pair(int pair[2]);
/* -1 is none, and what it is afterwards; keeps errno. */
void gi_fd_close(int *fd);

#endif
