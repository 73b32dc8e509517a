/* SPDX-License-Identifier: BSD-3-Clause */
/* resident.h -- what of this process is in memory, as the kernel and the heap
 * count it. Any thread. */
#ifndef GI_RESIDENT_H
#define GI_RESIDENT_H

#include <stdint.h>

/* Bytes; -1: not known. */
int64_t gi_resident(void);
/* Of so many bytes in memory those that nobody has: what was freed, and what is
 * no heap. Reads the heap's free lists. */
int64_t gi_resident_slack(int64_t resident);
/* Gives what was freed back to the system. */
void gi_resident_trim(void);

#endif
