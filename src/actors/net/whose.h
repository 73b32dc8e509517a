/* SPDX-License-Identifier: BSD-3-Clause */
/* whose.h -- whether a connection's other end is a process of our own user (or
 * of root) on this machine. Asks the kernel alone, nothing that a peer says.
 * Thread: any. Blocks: never. */
#ifndef GI_WHOSE_H
#define GI_WHOSE_H

#include <stdbool.h>

/* ipc: the credentials of who connected. tcp: both ends are on the loopback
 * interface, and the socket at the other one is of our user. Anything else, or
 * not to be found out: false. */
bool gi_whose_is_ours(int fd);

#endif
