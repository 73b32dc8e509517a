/* SPDX-License-Identifier: BSD-3-Clause */
/* utf8.h -- is it text? A str that is not makes a whole message undecodable for
 * a Python peer. Pure. */
#ifndef GI_UTF8_H
#define GI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* RFC 3629: shortest forms, no surrogates, nothing above U+10FFFF. */
bool gi_utf8_valid(const void *data, size_t size);
/* Replaces what is not UTF-8, and NULs, by '?', byte by byte. */
void gi_utf8_repair(char *data, size_t size);

#endif
