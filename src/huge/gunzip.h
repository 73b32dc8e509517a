/* SPDX-License-Identifier: BSD-3-Clause */
/* gunzip.h -- reads exactly one gzip member, step by step.
 * Thread: one at a time. Survives: any input. Law: a wrong CRC or length is
 * GATE_BADDATA (Python does not look: wire.md 7.1; we do, on purpose). */
#ifndef GI_GUNZIP_H
#define GI_GUNZIP_H

#include "huge/split.h"

typedef struct gi_gunzip gi_gunzip_t;

/* wire: as a peer's result comes: file names and comments in the header are
 * refused as Python refuses them, and a trailer that is missing altogether is
 * let pass as Python does (part of one is not). NULL only for lack of memory.
 */
gi_gunzip_t *gi_gunzip_new(gi_engine_t engine, bool wire);
void gi_gunzip_destroy(gi_gunzip_t **self_p);
/* As gate_codec_t's step. */
gate_err_t gi_gunzip_step(gi_gunzip_t *self, gate_bytes_t *in, void *out,
                          size_t *out_size, bool finish) GATE_MUST;

#endif
