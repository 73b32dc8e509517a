/* SPDX-License-Identifier: BSD-3-Clause */
/* resident.c -- see resident.h. */
#include "memory/resident.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

int64_t gi_resident(void) {
    char text[128];
    long long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return sscanf(text, "%*s %lld", &pages) == 1
               ? (int64_t)pages * sysconf(_SC_PAGESIZE)
               : -1;
}

int64_t gi_resident_slack(int64_t resident) {
    struct mallinfo2 heap = mallinfo2();
    return resident - (int64_t)(heap.uordblks + heap.hblkhd);
}

void gi_resident_trim(void) { malloc_trim(0); }
