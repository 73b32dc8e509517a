/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup.c -- the path of /proc/self/cgroup is walked up to its root; in a
 * container, whose own root that path may not name, the root alone is found. */
#include "shared/cgroup.h"
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- files --------------------------------------------------------------- */

typedef struct s_group {
    const char *root; /* where the controller is mounted */
    const char *path; /* "" = the root */
} s_group_t;

static const char *s_below = ""; /* a test's tree */

void gi_cgroup_look_below(const char *folder) { s_below = folder; }

static FILE *s_open(const s_group_t *g, const char *name) {
    char file[1200];
    int n = snprintf(file, sizeof file, "%s%s%s/%s", s_below, g->root, g->path,
                     name);
    return n < (int)sizeof file ? fopen(file, "re") : NULL;
}

/* "max" or none: not found. */
static int s_numbers(const s_group_t *g, const char *name, long long *a,
                     long long *b) {
    FILE *f = s_open(g, name);
    int n = f ? fscanf(f, "%lld %lld", a, b) : 0;
    if (f)
        fclose(f);
    return n;
}

/* Each group from the process's own up to the root, "". */
static void s_walk(const char *root, char *path,
                   void (*look)(const s_group_t *g, void *out), void *out) {
    char *end = path + strlen(path);
    while (end > path && end[-1] == '/') /* the root is "/" there */
        *--end = 0;
    for (; *path; *strrchr(path, '/') = 0) {
        look(&(s_group_t){root, path}, out);
        if (!strchr(path, '/'))
            break;
    }
    look(&(s_group_t){root, ""}, out);
}

/* One of a list with commas: cpu is not cpuset. */
static bool s_listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (!at[n] || at[n] == ','))
            return true;
    }
    return false;
}

/* Lines are "number:controllers:path"; v2 has the number 0 and none. */
static void s_groups(const char *controller, const char *root_v1,
                     void (*v2)(const s_group_t *g, void *out),
                     void (*v1)(const s_group_t *g, void *out), void *out) {
    char line[512];
    FILE *f = s_open(&(s_group_t){"/proc/self", ""}, "cgroup");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *controllers++ = 0;
        *path++ = 0;
        if (strcmp(line, "0") == 0)
            s_walk("/sys/fs/cgroup", path, v2, out);
        else if (s_listed(controllers, controller))
            s_walk(root_v1, path, v1, out);
    }
    if (f)
        fclose(f);
}

/* ---- CPUs ---------------------------------------------------------------- */

static void s_quota(long long quota, long long period, int *cpus) {
    long long n = quota > 0 && period > 0 ? (quota + period - 1) / period : 0;
    if (n > 0 && n < *cpus)
        *cpus = (int)n;
}

static void s_cpu_v2(const s_group_t *g, void *out) {
    long long quota = 0, period = 0;
    if (s_numbers(g, "cpu.max", &quota, &period) == 2)
        s_quota(quota, period, out);
}

static void s_cpu_v1(const s_group_t *g, void *out) {
    long long quota = 0, period = 0, none;
    if (s_numbers(g, "cpu.cfs_quota_us", &quota, &none) >= 1 &&
        s_numbers(g, "cpu.cfs_period_us", &period, &none) >= 1)
        s_quota(quota, period, out);
}

int gi_cgroup_cpus(void) {
    cpu_set_t set;
    int cpus =
        sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    s_groups("cpu", "/sys/fs/cgroup/cpu", s_cpu_v2, s_cpu_v1, &cpus);
    return cpus > 0 ? cpus : 1;
}

/* ---- memory -------------------------------------------------------------- */

/* File pages that the kernel would give up. */
static long long s_cache(const s_group_t *g) {
    char line[128];
    long long bytes = 0;
    FILE *f = s_open(g, "memory.stat");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "inactive_file %lld", &bytes) == 1)
            break;
    if (f)
        fclose(f);
    return bytes;
}

static void s_left(const s_group_t *g, const char *max, const char *current,
                   uint64_t *least) {
    long long most = 0, used = 0, none;
    if (s_numbers(g, max, &most, &none) < 1 || most <= 0 ||
        most >= (long long)1 << 60 || s_numbers(g, current, &used, &none) < 1)
        return;
    used -= s_cache(g);
    uint64_t left = used < most ? (uint64_t)(most - (used > 0 ? used : 0)) : 0;
    if (left < *least)
        *least = left;
}

static void s_memory_v2(const s_group_t *g, void *out) {
    s_left(g, "memory.max", "memory.current", out);
}

static void s_memory_v1(const s_group_t *g, void *out) {
    s_left(g, "memory.limit_in_bytes", "memory.usage_in_bytes", out);
}

uint64_t gi_cgroup_memory_left(void) {
    uint64_t least = UINT64_MAX;
    s_groups("memory", "/sys/fs/cgroup/memory", s_memory_v2, s_memory_v1,
             &least);
    return least;
}
