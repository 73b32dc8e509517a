/* SPDX-License-Identifier: BSD-3-Clause */
/* block.h -- memory for what each call needs once: blocks of one size, kept by
 * the thread that lets go of one for its next. So a thread that starts calls
 * and takes their results asks malloc for none in between.
 * Thread: any; a block may be given back by another than took it. */
#ifndef GI_BLOCK_H
#define GI_BLOCK_H

#include <stddef.h>

/* A future with a small job; an odd number of cache lines. */
#define GI_BLOCK_BYTES 1088

/* At least size bytes, not zeroed; more than GI_BLOCK_BYTES are the heap's.
 * NULL: no memory. */
void *gi_block_take(size_t size);
/* size as it was taken. */
void gi_block_give(void *block, size_t size);

#endif
