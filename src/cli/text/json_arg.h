/* SPDX-License-Identifier: BSD-3-Clause */
/* json_arg.h -- a word of the command line as msgpack, and looking into answers.
 * The way back to JSON is the library's own gate_object_json. */
#ifndef GI_JSON_H
#define GI_JSON_H

#include <gaterpc/value.h>

/* Appends one value to out: word as JSON, or else as a plain string.
 * {"$bin": "base64"} becomes bin, and so the other forms of gate_object_json.
 * False with a reason in why (at least 128 bytes) for what begins as JSON and is
 * none, a key that comes twice, a number beyond 64 bits, bad base64 and text
 * that is not UTF-8; out is then undefined. */
bool gi_json_pack(const char *word, msgpack_sbuffer *out, char *why,
                  size_t why_size);
/* A text to stdout as JSON, which no terminal obeys. */
void gi_json_put(const char *text);
/* A value as one line of JSON; false: it cannot be said so, or no memory. */
bool gi_json_print(const msgpack_object *value);
/* Borrows: the entry of a map with that key; NULL when it is no map or has
 * none. */
const msgpack_object *gi_json_get(const msgpack_object *map, const char *key);
/* A list, one of whose items is that text. */
bool gi_json_lists(const msgpack_object *list, const char *text, size_t size);

#endif
