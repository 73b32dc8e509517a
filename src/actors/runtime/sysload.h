/* SPDX-License-Identifier: BSD-3-Clause */
/* sysload.h -- how much of a CPU a busy program of this machine gets. Thread:
 * one for each struct. Blocks: never (it reads /proc/loadavg). */
#ifndef GI_SYSLOAD_H
#define GI_SYSLOAD_H

#include <stdint.h>

typedef struct gi_sysload {
    int64_t look_ms; /* when to look again */
    double running;  /* how many want to run, smoothed */
    double share;
} gi_sysload_t;

/* Up to 1; 1 too where nothing is known. All zeros before. */
double gi_sysload_share(gi_sysload_t *self, int64_t now_ms);
/* The same of a line of /proc/loadavg and so many CPUs. */
double gi_sysload_of(gi_sysload_t *self, const char *line, long n_cpus);

#endif
