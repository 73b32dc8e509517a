/* SPDX-License-Identifier: BSD-3-Clause */
/* spare.h -- one large block of memory is kept for the next large result: the
 * kernel takes as long to clear a fresh one as inflating half of it does
 * (docs/performance.md). What is kept is the kernel's to take when memory runs
 * short (MADV_FREE).
 * Thread: any. Blocks: never. Law: it is gi_mem memory, so gi_mem_free is right
 * for it everywhere. */
#ifndef GI_SPARE_H
#define GI_SPARE_H

#include <stddef.h>

#define GI_SPARE_MIN ((size_t)4 << 20)
#define GI_SPARE_MAX ((size_t)40 << 20)

/* At least size bytes, not initialised, *room of them; on large pages. NULL: no
 * memory. */
void *gi_spare_take(size_t size, size_t *room);
/* Instead of gi_mem_free. */
void gi_spare_give(void *data);

#endif
