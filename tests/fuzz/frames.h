/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.h -- fuzz input as frames: each one a length byte and its bytes; 255
 * means all that is left. Every frame is a copy of its own size, so that ASan
 * sees a byte too far. */
#ifndef FUZZ_FRAMES_H
#define FUZZ_FRAMES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gaterpc/base.h>

enum { FUZZ_FRAMES_MAX = 24 };

static inline size_t fuzz_frames(const uint8_t *data, size_t size,
                                 gate_bytes_t f[FUZZ_FRAMES_MAX]) {
    size_t n = 0;
    while (size && n < FUZZ_FRAMES_MAX) {
        size_t length = *data++;
        size--;
        if (length == 255 || length > size)
            length = size;
        void *copy = malloc(length ? length : 1);
        if (!copy)
            abort();
        memcpy(copy, data, length);
        f[n++] = (gate_bytes_t){copy, length};
        data += length;
        size -= length;
    }
    return n;
}

static inline void fuzz_frames_free(gate_bytes_t *f, size_t n) {
    while (n)
        free((void *)(uintptr_t)f[--n].data);
}

#endif
