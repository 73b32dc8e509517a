/* SPDX-License-Identifier: BSD-3-Clause */
/* sysmem.c -- a group is bounded by all that are above it, so the path of
 * /proc/self/cgroup is walked up to its root; in a container, whose own root
 * that path may not name, the root alone is found. */
#include "runtime/sysmem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "settings/settings.h"

static int64_t s_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* "max", or a number of bytes. */
static int64_t s_read(const char *root, const char *path, const char *name) {
    char file[600];
    int64_t bytes = 0;
    if (snprintf(file, sizeof file, "%s%s/%s", root, path, name) >=
        (int)sizeof file)
        return INT64_MAX;
    FILE *f = fopen(file, "r");
    if (f == NULL)
        return INT64_MAX;
    if (fscanf(f, "%" SCNd64, &bytes) != 1 || bytes <= 0)
        bytes = INT64_MAX;
    fclose(f);
    return bytes;
}

static int64_t s_walk(const char *root, char *path, const char *name) {
    int64_t least = s_read(root, "", name);
    for (char *end; (end = strrchr(path, '/')); *end = '\0')
        least = s_least(least, s_read(root, path, name));
    return least;
}

/* Lines are "number:controllers:path"; v2 has the number 0 and none. */
static int64_t s_groups(void) {
    char line[512];
    int64_t least = INT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *controllers++ = '\0';
        *path++ = '\0';
        if (strcmp(line, "0") == 0)
            least =
                s_least(least, s_walk("/sys/fs/cgroup", path, "memory.max"));
        else if (strstr(controllers, "memory"))
            least = s_least(least, s_walk("/sys/fs/cgroup/memory", path,
                                          "memory.limit_in_bytes"));
    }
    if (f)
        fclose(f);
    return least;
}

static int64_t s_rlimit(int what) {
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)what, &limit) < 0 ||
        limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > INT64_MAX)
        return INT64_MAX;
    return (int64_t)limit.rlim_cur;
}

int64_t gi_sysmem_limit(void) {
    int64_t pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    int64_t least = pages > 0 && size > 0 ? pages * size : INT64_MAX;
    least = s_least(least, s_groups());
    least = s_least(least, s_rlimit(RLIMIT_AS));
    return s_least(least, s_rlimit(RLIMIT_DATA));
}

enum { S_QUEUES_MAX = 256 * 1024 * 1024, S_QUEUES_MIN = 1024 * 1024 };

void gi_sysmem_fit(gate_settings_t *settings) {
    int64_t share = gi_sysmem_limit() / 4;
    if (settings->broker_queue_max_bytes == 0)
        settings->broker_queue_max_bytes = share > S_QUEUES_MAX   ? S_QUEUES_MAX
                                           : share < S_QUEUES_MIN ? S_QUEUES_MIN
                                                                  : share;
}
