/* SPDX-License-Identifier: BSD-3-Clause */
/* utf8.h -- what peers in Python insist on: str is valid UTF-8. */
#ifndef GI_UTF8_H
#define GI_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the sequence at p; 0 when there is no valid one. left > 0. */
size_t gi_utf8_next(const unsigned char *p, size_t left);
/* How many bytes from the first on are whole sequences; size: all. */
size_t gi_utf8_prefix(const void *data, size_t size);
bool gi_utf8_valid(const void *data, size_t size);
/* Writes a code point's sequence; its length. Surrogates become U+FFFD. */
size_t gi_utf8_put(uint32_t code, unsigned char out[4]);

#endif
