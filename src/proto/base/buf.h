/* SPDX-License-Identifier: BSD-3-Clause */
/* buf.h -- a growing byte buffer that is reused, and a msgpack packer onto it.
 * Zeroed memory is a valid empty buffer. */
#ifndef GI_BUF_H
#define GI_BUF_H

#include <gaterpc/error.h>
#include <msgpack.h>

typedef struct gi_buf {
    unsigned char *data;
    size_t size, room;
    bool failed; /* an append found no memory: check once at the end */
} gi_buf_t;

void gi_buf_fini(gi_buf_t *self);
/* Empties it; keeps the memory unless that is more than keep_max. */
void gi_buf_reset(gi_buf_t *self, size_t keep_max);
/* Room for n more bytes where there is not; false (and failed) without memory.
 */
bool gi_buf_grow(gi_buf_t *self, size_t n);
/* The same; what fits costs no call, since each item passes here. */
static inline bool gi_buf_reserve(gi_buf_t *self, size_t n) {
    return n <= self->room - self->size || gi_buf_grow(self, n);
}
bool gi_buf_append(gi_buf_t *self, const void *data, size_t size);
/* msgpack-c's writer signature: msgpack_packer_init(pk, buf, gi_buf_write). */
int gi_buf_write(void *self, const char *data, size_t size);
/* Gives the memory (gi_mem_free it); the buffer is empty afterwards. */
unsigned char *gi_buf_take(gi_buf_t *self, size_t *size);

#endif
