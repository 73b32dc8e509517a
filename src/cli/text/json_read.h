/* SPDX-License-Identifier: BSD-3-Clause */
/* json_read.h -- JSON (RFC 8259) to msgpack, with integers up to 2^64-1 and any
 * character in keys; a key that comes twice is an error. */
#ifndef GI_JSON_READ_H
#define GI_JSON_READ_H

#include <gaterpc/value.h>

typedef enum gi_json_result {
    GI_JSON_OK,
    GI_JSON_NONE, /* not JSON; why says where */
    GI_JSON_BAD   /* JSON that cannot be had */
} gi_json_result_t;

/* Appends the value to out; why has at least 128 bytes. */
gi_json_result_t gi_json_read(const char *text, msgpack_sbuffer *out, char *why,
                              size_t why_size);
/* Valid UTF-8. */
bool gi_json_text(const char *text, size_t size);

/* ---- json_arg.c ------------------------------------------------------------ */
/* A map's only pair that stands for what JSON lacks: packs that. NULL, or what
 * is wrong; *is: it was one. */
const char *gi_json_special(const msgpack_object_kv *kv, msgpack_packer *to,
                            bool *is);

#endif
