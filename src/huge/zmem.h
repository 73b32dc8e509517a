/* SPDX-License-Identifier: BSD-3-Clause */
/* zmem.h -- zlib's memory is ours, for inflating and deflating alike. Not
 * zeroed: zlib's own is not either. Pure. */
#ifndef GI_ZMEM_H
#define GI_ZMEM_H

#include <zlib.h>
#include "base/mem.h"

static inline void *gi_zmem_alloc(void *opaque, unsigned n, unsigned size) {
    (void)opaque;
    return gi_mem_alloc((size_t)n * size);
}

static inline void gi_zmem_free(void *opaque, void *p) {
    (void)opaque;
    gi_mem_free(p);
}

/* Before its init. */
static inline void gi_zmem_use(z_stream *zlib) {
    zlib->zalloc = gi_zmem_alloc;
    zlib->zfree = gi_zmem_free;
}

#endif
