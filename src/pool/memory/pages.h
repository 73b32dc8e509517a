/* SPDX-License-Identifier: BSD-3-Clause */
/* pages.h -- large buffers on large pages: a fresh one of 32 MiB costs 8,192
 * page faults otherwise, a fifth of what a huge result costs its reader.
 * Thread: any. Blocks: never. A kernel that has none goes on as it was. */
#ifndef GI_PAGES_H
#define GI_PAGES_H

#include <stdint.h>
#include <sys/mman.h>

#define GI_PAGE_LARGE ((uintptr_t)2 << 20)

/* The whole large pages within data; smaller buffers are left alone. */
static inline void gi_pages_advise(void *data, size_t size, int advice) {
    uintptr_t from =
        ((uintptr_t)data + GI_PAGE_LARGE - 1) & ~(GI_PAGE_LARGE - 1);
    uintptr_t to = ((uintptr_t)data + size) & ~(GI_PAGE_LARGE - 1);
    if (to > from)
        (void)madvise((void *)from, to - from, advice);
}

static inline void gi_pages_large(void *data, size_t size) {
    gi_pages_advise(data, size, MADV_HUGEPAGE);
}

/* Their content is not needed: the kernel may take them, until they are written
 * to again. */
static inline void gi_pages_lazy(void *data, size_t size) {
    gi_pages_advise(data, size, MADV_FREE);
}

#endif
