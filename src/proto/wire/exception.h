/* SPDX-License-Identifier: BSD-3-Clause */
/* exception.h -- Python's repr() of an exception, written and read. The rest of
 * exception.c's face is in rpc.h. */
#ifndef GI_EXCEPTION_H
#define GI_EXCEPTION_H

#include "base/buf.h"

/* Appends cls('text'), quoted as Python does; cls() for an empty text. */
void gi_exception_repr(gi_buf_t *out, const char *cls, const char *text);
/* Appends the text in a repr of that form, else the repr as it is. */
void gi_exception_text(gi_buf_t *out, const char *repr, size_t size);

#endif
