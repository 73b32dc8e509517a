/* SPDX-License-Identifier: BSD-3-Clause */
/* huge.h -- results too large for one frame: compressed, streamed in chunks,
 * in bounded memory. */
#ifndef GATERPC_HUGE_H
#define GATERPC_HUGE_H

#include <gaterpc/call.h>

GATE_BEGIN_DECLS

/* A codec of your own. step consumes from *in (advancing it) and fills out,
 * *out_size in: room, out: bytes written; finish: no more input follows. It
 * returns GATE_OK while there is more to do, GATE_EOS at the end of the stream,
 * else an error. Thread: one object at a time each. */
typedef struct gate_codec {
    const char *name;
    void *(*open)(bool compress, int level); /* NULL: no memory */
    void (*close)(void *self);
    gate_err_t (*step)(void *self, gate_bytes_t *in, void *out,
                       size_t *out_size, bool finish);
} gate_codec_t;

/* Keeps. Before anything uses it, and before the fork where workers must know
 * it. GATE_BADARG when the name is taken or a function is missing. */
GATE_API gate_err_t gate_codec_register(const gate_codec_t *codec) GATE_MUST;

/* ---- alone: no RPC, no runtime ------------------------------------------- */
/* Compresses the whole of in, on pool when given (parallel where the codec
 * can), else here; *out is given, free() it. NULL codec = gzip, level 0 = the
 * default. */
GATE_API gate_err_t gate_compress(gate_pool_t *pool, const char *codec,
                                  int level, gate_bytes_t in, void **out,
                                  size_t *out_size) GATE_MUST;
/* Decompresses; GATE_TOOBIG beyond max_bytes (checked while inflating). */
GATE_API gate_err_t gate_decompress(const char *codec, gate_bytes_t in,
                                    size_t max_bytes, void **out,
                                    size_t *out_size) GATE_MUST;

GATE_END_DECLS

#endif
