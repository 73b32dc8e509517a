/* SPDX-License-Identifier: BSD-3-Clause */
/* pack.h -- text, and entries of a map by their key: what statistics are packed
 * of. Thread: the packer's. */
#ifndef GI_PACK_H
#define GI_PACK_H

#include <msgpack.h>
#include <stdbool.h>
#include <string.h>

static inline void gi_pack_text(msgpack_packer *pk, const char *text) {
    size_t n = strlen(text);
    msgpack_pack_str_with_body(pk, text, n);
}

static inline void gi_pack_uint(msgpack_packer *pk, const char *key,
                                uint64_t n) {
    gi_pack_text(pk, key);
    msgpack_pack_uint64(pk, n);
}

static inline void gi_pack_int(msgpack_packer *pk, const char *key, int64_t n) {
    gi_pack_text(pk, key);
    msgpack_pack_int64(pk, n);
}

static inline void gi_pack_str(msgpack_packer *pk, const char *key,
                               const char *text) {
    gi_pack_text(pk, key);
    gi_pack_text(pk, text);
}

static inline void gi_pack_bool(msgpack_packer *pk, const char *key, bool is) {
    gi_pack_text(pk, key);
    (is ? msgpack_pack_true : msgpack_pack_false)(pk);
}

#endif
