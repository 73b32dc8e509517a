/* SPDX-License-Identifier: BSD-3-Clause */
/* curve.h -- certificates for CURVE, in CZMQ's files: FILE holds the public
 * half, FILE_secret both. Thread: any. Blocks: on the file system. */
#ifndef GATERPC_CURVE_H
#define GATERPC_CURVE_H

#include <gaterpc/error.h>

GATE_BEGIN_DECLS

/* Writes a fresh pair to FILE and FILE_secret (mode 0600). name, if not NULL,
 * is the user that a broker takes its holder for (metadata "name" of the copy
 * in the broker's directory). GATE_BADARG: one of the files exists;
 * GATE_SYSTEM: they cannot be written. */
GATE_API gate_err_t gate_curve_keygen(const char *file,
                                      const char *name) GATE_MUST;

GATE_END_DECLS

#endif
