/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void gi_fd_close(int *fd) {
    int error = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = error;
}

int gi_fd_high(int fd) {
    if (fd < 0 || fd > 2)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    gi_fd_close(&fd);
    return high;
}

bool gi_fd_high_pair(int pair[2]) {
    pair[0] = gi_fd_high(pair[0]);
    pair[1] = gi_fd_high(pair[1]);
    if (pair[0] >= 0 && pair[1] >= 0)
        return true;
    gi_fd_close(&pair[0]);
    gi_fd_close(&pair[1]);
    return false;
}
