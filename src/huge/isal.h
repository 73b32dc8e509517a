/* SPDX-License-Identifier: BSD-3-Clause */
/* isal.h -- the two engines that ISA-L gives, behind a face that is there in
 * every build. Thread: an object is one thread's at a time. */
#ifndef GI_ISAL_H
#define GI_ISAL_H

#include "huge/split.h"

#ifdef GI_HAVE_ISAL
enum { GI_ISAL_BUILT = 1 };
#else
enum { GI_ISAL_BUILT = 0 };
#endif

/* Both NULL for lack of memory, or always when it is not built in. */
void *gi_isal_deflate_new(int level);
void *gi_isal_inflate_new(void);
void gi_isal_free(void *self);

/* False: the block does not fit into *out_size. */
bool gi_isal_deflate(void *self, const gi_block_t *block, void *out,
                     size_t *out_size);
/* One step of raw deflate. GATE_EOS: the final block is done; up to 7 bytes
 * that were read beyond it are in spill, *n_spill of them. */
gate_err_t gi_isal_inflate(void *self, gate_bytes_t *in, void *out,
                           size_t *out_size, unsigned char spill[8],
                           size_t *n_spill);
/* CRC-32 of gzip. */
uint32_t gi_isal_crc32(uint32_t crc, const void *data, size_t size);

#endif
