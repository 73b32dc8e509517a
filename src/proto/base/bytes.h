/* SPDX-License-Identifier: BSD-3-Clause */
/* bytes.h -- a peer's bytes against our words. */
#ifndef GI_BYTES_H
#define GI_BYTES_H

#include <gaterpc/base.h>
#include <string.h>

static inline bool gi_bytes_is(gate_bytes_t bytes, const char *text) {
    size_t size = strlen(text);
    return bytes.size == size && !memcmp(bytes.data, text, size);
}

/* A copy with a NUL, room holding both; false: too long, or a NUL inside. */
static inline bool gi_bytes_text(gate_bytes_t bytes, char *out, size_t room) {
    if (bytes.size >= room || memchr(bytes.data, 0, bytes.size))
        return false;
    memcpy(out, bytes.data, bytes.size);
    out[bytes.size] = 0;
    return true;
}

#endif
