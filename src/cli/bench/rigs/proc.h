/* SPDX-License-Identifier: BSD-3-Clause */
/* proc.h -- what is asked of the kernel: clocks, CPU time and memory of process
 * trees, pinning, and bytes through a link between two processes. */
#ifndef GI_PROC_H
#define GI_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Monotonic, in ns. */
uint64_t gi_proc_now(void);
/* CPU time used by pid and all its descendants alive now, in ns. */
uint64_t gi_proc_cpu(pid_t pid);
/* Peak (or present) resident size of the same, in KiB. */
long gi_proc_rss(pid_t pid, bool peak);
/* Pins this process, and what it will fork, to one CPU. */
bool gi_proc_pin(int cpu);
/* Raises the limit on open files as far as it goes; returns it. */
long gi_proc_files(void);
/* All of it or false: end of file, time-out, or a signal asked to stop. */
bool gi_proc_write(int fd, const void *data, size_t size);
bool gi_proc_read(int fd, void *data, size_t size);

#endif
