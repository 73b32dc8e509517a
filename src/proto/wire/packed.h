/* SPDX-License-Identifier: BSD-3-Clause */
/* packed.h -- the small frames of a message in one (docs/extensions.md, packed
 * messages). Pure: views in, bytes out, and back. */
#ifndef GI_PACKED_H
#define GI_PACKED_H

#include <gaterpc/error.h>

#include <stdint.h>
#include <string.h>

#define GI_PACKED_MAGIC "\xc1GXP" /* 0xc1 is never valid msgpack */
#define GI_PACKED_HEAD 5          /* the magic and the number of frames */
/* No packed frame is larger: what does not fit follows outside, as it is. Small
 * enough for every message_bytes_max, and to copy more costs what it saves. */
#define GI_PACKED_MAX 1024
#define GI_PACKED_FRAMES_MAX 63

/* Does it begin like one? */
bool gi_packed_is(gate_bytes_t frame);
/* Bytes that n frames (at most GI_PACKED_FRAMES_MAX) take; *outside has a bit
 * for each that does not fit. */
size_t gi_packed_size(const gate_bytes_t *f, unsigned n, uint64_t *outside);
/* The same with none of them outside, however large. */
size_t gi_packed_whole(const gate_bytes_t *f, unsigned n);
/* Writes exactly that many. */
void gi_packed_write(const gate_bytes_t *f, unsigned n, uint64_t outside,
                     unsigned char *to);
/* Borrows: up to max frames. A frame that follows outside has data NULL and
 * size SIZE_MAX; they are counted in *n_outside. GATE_BADDATA. */
gate_err_t gi_packed_parse(gate_bytes_t frame, unsigned max, gate_bytes_t *out,
                           unsigned *n, unsigned *n_outside) GATE_MUST;

/* memcpy without a call for what most frames are. */
static inline void gi_copy_short(void *to, const void *from, size_t n) {
    unsigned char *t = to;
    const unsigned char *f = from;
    if (n > 32) {
        memcpy(t, f, n);
    } else if (n >= 16) { /* both ends, overlapping */
        memcpy(t, f, 16);
        memcpy(t + n - 16, f + n - 16, 16);
    } else if (n >= 8) {
        memcpy(t, f, 8);
        memcpy(t + n - 8, f + n - 8, 8);
    } else if (n >= 4) {
        memcpy(t, f, 4);
        memcpy(t + n - 4, f + n - 4, 4);
    } else if (n > 0) {
        t[0] = f[0];
        t[n / 2] = f[n / 2];
        t[n - 1] = f[n - 1];
    }
}

#endif
