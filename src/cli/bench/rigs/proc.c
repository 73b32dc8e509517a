/* SPDX-License-Identifier: BSD-3-Clause */
/* proc.c -- CPU time comes from the processes' CPU clocks (ns), not from
 * /proc/PID/stat, whose ticks of 10 ms are too coarse for short rounds. */
#include "bench/rigs/proc.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t gi_proc_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- trees --------------------------------------------------------------- */
typedef uint64_t s_measure_fn(pid_t pid);

static uint64_t s_tree(pid_t pid, s_measure_fn *measure);

/* The children that one thread of pid has forked. */
static uint64_t s_children(pid_t pid, const char *tid, s_measure_fn *measure) {
    char path[96];
    uint64_t sum = 0;
    int child;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, tid);
    FILE *file = fopen(path, "r");
    while (file && fscanf(file, "%d", &child) == 1)
        sum += s_tree((pid_t)child, measure);
    if (file)
        fclose(file);
    return sum;
}

/* Processes are forked by first threads here: the zygote and its workers. */
static uint64_t s_tree(pid_t pid, s_measure_fn *measure) {
    char tid[16];
    snprintf(tid, sizeof tid, "%d", (int)pid);
    return measure(pid) + s_children(pid, tid, measure);
}

static uint64_t s_cpu(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t s_status(pid_t pid, const char *key) {
    char path[64], line[128];
    unsigned long value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)))
            sscanf(line + strlen(key), "%lu", &value);
    if (file)
        fclose(file);
    return value;
}

static uint64_t s_rss_peak(pid_t pid) { return s_status(pid, "VmHWM:"); }
static uint64_t s_rss_now(pid_t pid) { return s_status(pid, "VmRSS:"); }

uint64_t gi_proc_cpu(pid_t pid) { return s_tree(pid, s_cpu); }

long gi_proc_rss(pid_t pid, bool peak) {
    return (long)s_tree(pid, peak ? s_rss_peak : s_rss_now);
}

/* ---- this process -------------------------------------------------------- */
bool gi_proc_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

long gi_proc_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (long)limit.rlim_cur;
}

/* ---- links --------------------------------------------------------------- */
bool gi_proc_write(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

bool gi_proc_read(int fd, void *data, size_t size) {
    char *at = data;
    while (size) {
        ssize_t n = read(fd, at, size);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}
