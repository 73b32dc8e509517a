/* SPDX-License-Identifier: BSD-3-Clause */
/* clean.h -- what peers say, for a terminal: none of it is obeyed there. */
#ifndef GI_CLEAN_H
#define GI_CLEAN_H

#include <stdbool.h>
#include <stdio.h>

/* Writes text with each control character (C0, DEL, C1, of UTF-8 too), what is no
 * UTF-8, and marks that turn the direction of writing as \xNN or \uNNNN.
 * lines: line ends and tabs stay. */
void gi_clean_put(FILE *to, const char *text, size_t size, bool lines);

/* Bytes of what begins at text, at least 1; fine: it may go out as it is. */
size_t gi_clean_next(const char *text, size_t left, bool *fine);
/* The same in to, NUL-terminated: a ? for each that may not. What does not fit
 * is left away. Bytes written. */
size_t gi_clean_copy(char *to, size_t room, const char *text, size_t size);

#endif
