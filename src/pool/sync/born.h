/* SPDX-License-Identifier: BSD-3-Clause */
/* born.h -- whether we are still the process that made a thing. After fork() a
 * child has copies of pools, but none of their threads, and shares their
 * memory with those who work in it: what was made before is not to be used.
 * Thread: any. Blocks: no; one load. */
#ifndef GI_BORN_H
#define GI_BORN_H

#include <stdbool.h>
#include <stdint.h>

/* Changes in every child that fork() makes. */
uint32_t gi_born_now(void);
/* For a child that was made without fork()'s handlers. */
void gi_born_again(void);

#endif
