/* SPDX-License-Identifier: BSD-3-Clause */
/* fd.h -- how many descriptors there are, and new ones stay off 0..2. A program
 * may have closed those (a daemon, cron, inetd): a socket that lands there is
 * written to by the next printf, and closed by whoever opens /dev/null as standard
 * input. Thread: any. */
#ifndef GI_FD_H
#define GI_FD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

/* -1 is none, and what it is afterwards; keeps errno. */
static inline void gi_fd_close(int *fd) {
    int error = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = error;
}

/* fd, or its like from 3 on when it was lower; -1 stays -1, and so does errno.
 * The new one is close-on-exec. */
static inline int gi_fd_high(int fd) {
    if (fd < 0 || fd > 2)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    gi_fd_close(&fd);
    return high;
}

/* Both, or none: false with errno, and both are -1. */
static inline bool gi_fd_high_pair(int pair[2]) {
    pair[0] = gi_fd_high(pair[0]);
    pair[1] = gi_fd_high(pair[1]);
    if (pair[0] >= 0 && pair[1] >= 0)
        return true;
    gi_fd_close(&pair[0]);
    gi_fd_close(&pair[1]);
    return false;
}

/* How many this process may have. */
static inline size_t gi_fd_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    return limit.rlim_cur > (1u << 30) ? 1u << 30 : limit.rlim_cur;
}

/* How many it has: false, not known. */
static inline bool gi_fd_count(size_t *out) {
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return false;
    while (readdir(dir))
        n++;
    closedir(dir);
    *out = n > 3 ? n - 3 : 0; /* ".", ".." and the open folder */
    return true;
}

#endif
