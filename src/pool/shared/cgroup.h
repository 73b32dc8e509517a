/* SPDX-License-Identifier: BSD-3-Clause */
/* cgroup.h -- what a container leaves of the machine: a group is bounded by all
 * that are above it. Thread: any. Blocks: reads a few files. */
#ifndef GI_CGROUP_H
#define GI_CGROUP_H

#include <stdint.h>

/* CPUs that this process may use: of its affinity, and of its groups' quotas,
 * rounded up; at least 1. */
int gi_cgroup_cpus(void);
/* Bytes that its groups leave, file caches counted as free; UINT64_MAX: no
 * group has a limit. */
uint64_t gi_cgroup_memory_left(void);
/* For tests: /proc and /sys are looked for in that folder; "" = here. */
void gi_cgroup_look_below(const char *folder);

#endif
