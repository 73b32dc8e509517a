/* SPDX-License-Identifier: BSD-3-Clause */
/* codec.h -- one table of codecs, one incremental interface: a step consumes
 * some input and writes at most the room it is given. Built in: gzip, bz2,
 * lzma, zstd, lz4 (the frame format); more by gate_codec_register.
 * Thread: an open codec is one thread's at a time; the table is read by any,
 * written before anything uses it.
 * Law: exactly one stream: at GATE_EOS what is left in *in is not touched.
 * Survives: any input (GATE_BADDATA), no memory (GATE_NOMEM). */
#ifndef GI_CODEC_H
#define GI_CODEC_H

#include <gaterpc/huge.h>

typedef struct gi_codec gi_codec_t;

/* NULL or "" = gzip; NULL result: no such codec. */
const gate_codec_t *gi_codec_find(const char *name);
/* Stores up to max names in the table's order; returns how many there are. */
size_t gi_codec_names(const char **names, size_t max);

/* GATE_BADARG, naming those there are: the setting huge_data_compress_module
 * names none, or level is beyond its scale. */
gate_err_t gi_codec_check(const char *name, int64_t level) GATE_MUST;

/* level 0 = the default, 1 (as huge_data_compress_level); a level beyond the
 * codec's scale is its nearest. GATE_NOTIMPL: no such codec. */
gate_err_t gi_codec_open(const char *name, bool compress, int level,
                         gi_codec_t **out) GATE_MUST;
void gi_codec_close(gi_codec_t **self_p);
/* gate_codec_t's step, guarded. GATE_BADDATA, with the codec's name: a step that
 * does nothing though it could (a truncated stream), that ends before its input
 * does, that makes without end, or whose return value is no codec's; an error
 * of its own is passed on, with its text or the code's. */
gate_err_t gi_codec_step(gi_codec_t *self, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) GATE_MUST;
/* Compressing: writes what it holds back, so that a reader has all that went in
 * (bz2: but for a few bits); again while the room is filled. A codec of
 * somebody's own writes nothing: it has no such function. */
gate_err_t gi_codec_flush(gi_codec_t *self, void *out,
                          size_t *out_size) GATE_MUST;

/* A built-in codec's own flush, as above. */
typedef gate_err_t gi_codec_flush_fn(void *impl, void *out, size_t *out_size);
gi_codec_flush_fn gi_bz2_flush, gi_lzma_flush, gi_zstd_flush, gi_lz4_flush;

/* gate_compress without a pool: *out is malloc'ed. */
gate_err_t gi_codec_compress(const char *name, int level, gate_bytes_t in,
                             void **out, size_t *out_size) GATE_MUST;

/* The built-in ones, one file each. */
extern const gate_codec_t gi_codec_gzip, gi_codec_bz2, gi_codec_lzma,
    gi_codec_zstd, gi_codec_lz4;

/* Advances *in by used bytes. */
static inline void gi_codec_used(gate_bytes_t *in, size_t used) {
    if (used) /* data may be NULL when it is empty */
        in->data = (const char *)in->data + used;
    in->size -= used;
}

#endif
