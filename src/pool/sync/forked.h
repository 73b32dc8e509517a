/* SPDX-License-Identifier: BSD-3-Clause */
/* forked.h -- notices that this process is the child of a fork: the threads of
 * what was made before it are not here, and whoever waited for one would wait
 * for ever. Thread: any. Blocks: never. */
#ifndef GI_FORKED_H
#define GI_FORKED_H

/* From the first thing on that has a thread. */
void gi_forked_watch(void);
/* Counts forks whose child is this process; keep it with what has a thread. */
extern unsigned gi_forked_count;
static inline unsigned gi_forked(void) { return gi_forked_count; }

#endif
