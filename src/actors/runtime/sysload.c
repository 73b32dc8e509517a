/* SPDX-License-Identifier: BSD-3-Clause */
/* sysload.c -- the kernel's average knows the last minute, its number of those
 * that want to run this very moment; what is more counts, so that neither a
 * load that begins nor one that pauses is missed. */
#include "runtime/sysload.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define S_LOOK_MS 250
#define S_OLD 0.75 /* of what was seen stays at each look */

double gi_sysload_of(gi_sysload_t *self, const char *line, long n_cpus) {
    double minute, running;
    if (sscanf(line, "%lf %*f %*f %lf/", &minute, &running) != 2 || n_cpus < 1)
        return 1;
    self->running = S_OLD * self->running + (1 - S_OLD) * running;
    double load = minute > self->running ? minute : self->running;
    return load > (double)n_cpus ? (double)n_cpus / load : 1;
}

double gi_sysload_share(gi_sysload_t *self, int64_t now_ms) {
    char line[128];
    if (now_ms < self->look_ms)
        return self->share;
    self->look_ms = now_ms + S_LOOK_MS;
    self->share = 1;
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        line[n] = 0;
        self->share = gi_sysload_of(self, line, sysconf(_SC_NPROCESSORS_ONLN));
    }
    return self->share;
}
