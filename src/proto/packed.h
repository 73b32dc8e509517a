/* SPDX-License-Identifier: BSD-3-Clause */
/* packed.h -- the small frames of a message in one (docs/extensions.md, packed
 * messages). Pure: views in, bytes out, and back. */
#ifndef GI_PACKED_H
#define GI_PACKED_H

#include <gaterpc/error.h>

#define GI_PACKED_MAGIC "\xc1GXP" /* 0xc1 is never valid msgpack */
#define GI_PACKED_HEAD 5          /* the magic and the number of frames */
/* Larger frames travel as they are behind the packed one: to copy them costs
 * more than the frame does. */
#define GI_PACKED_INLINE 1024
#define GI_PACKED_FRAMES_MAX 63

/* Does it begin like one? */
bool gi_packed_is(gate_bytes_t frame);
/* Bytes that n frames take; those over GI_PACKED_INLINE take their mark. */
size_t gi_packed_size(const gate_bytes_t *f, unsigned n);
/* Writes exactly that many; n is at most GI_PACKED_FRAMES_MAX. */
void gi_packed_write(const gate_bytes_t *f, unsigned n, unsigned char *to);
/* Borrows: up to max frames. A frame that follows outside has data NULL and
 * size SIZE_MAX; they are counted in *n_outside. GATE_BADDATA. */
gate_err_t gi_packed_parse(gate_bytes_t frame, unsigned max, gate_bytes_t *out,
                           unsigned *n, unsigned *n_outside) GATE_MUST;

#endif
