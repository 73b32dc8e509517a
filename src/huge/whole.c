/* SPDX-License-Identifier: BSD-3-Clause */
/* whole.c -- whole buffers, as files have them: where the wire has exactly one
 * stream, gzip, bzip2, xz, zstd and lz4 write several one behind the other
 * (cat a.gz b.gz, bgzip, pbzip2, pzstd) and read them as one. */
#include "huge/codec.h"
#include "base/err.h"
#include <stdlib.h>
#include <string.h>

#define S_GROW_MIN ((size_t)64 << 10)

/* A buffer that its user will free(): plain malloc, not gi_mem. */
typedef struct s_whole {
    char *data;
    size_t size, room;
} s_whole_t;

static gate_err_t s_grow(s_whole_t *self, size_t max) {
    size_t room = self->room + self->room / 2 + S_GROW_MIN;
    if (room > max)
        room = max > self->size ? max : self->size + 1;
    char *data = realloc(self->data, room);
    if (!data)
        return gi_err(GATE_NOMEM, "%zu bytes", room);
    self->data = data;
    self->room = room;
    return GATE_OK;
}

/* Runs codec over in, growing the buffer; beyond max: GATE_TOOBIG. */
static gate_err_t s_run(s_whole_t *self, gi_codec_t *codec, gate_bytes_t *in,
                        size_t max) {
    for (;;) {
        gate_err_t e = GATE_OK;
        /* one byte beyond max tells "exactly max" from "more" */
        if (self->size == self->room)
            e = s_grow(self, max < SIZE_MAX ? max + 1 : max);
        if (e != GATE_OK)
            return e;
        size_t n = self->room - self->size;
        e = gi_codec_step(codec, in, self->data + self->size, &n, true);
        self->size += n;
        if (self->size > max)
            return gi_err(GATE_TOOBIG, "more than %zu bytes decompressed", max);
        if (e != GATE_OK)
            return e;
    }
}

static gate_err_t s_stream(s_whole_t *self, const char *name, bool compress,
                           int level, gate_bytes_t *in, size_t max) {
    gi_codec_t *codec;
    gate_err_t e = gi_codec_open(name, compress, level, &codec);
    if (e != GATE_OK)
        return e;
    e = s_run(self, codec, in, max);
    gi_codec_close(&codec);
    return e == GATE_EOS ? GATE_OK : e;
}

static gate_err_t s_give(s_whole_t *self, gate_err_t e, void **out,
                         size_t *out_size) {
    if (e != GATE_OK) {
        free(self->data);
        return e;
    }
    *out = self->data;
    *out_size = self->size;
    return GATE_OK;
}

gate_err_t gi_codec_compress(const char *name, int level, gate_bytes_t in,
                             void **out, size_t *out_size) {
    s_whole_t whole = {0};
    gate_err_t e = s_stream(&whole, name, true, level, &in, SIZE_MAX);
    return s_give(&whole, e, out, out_size);
}

/* ---- what stands behind a stream ----------------------------------------- */
/* How a stream of a codec begins, bit by bit where mask is set; gzip pads with
 * zeros to the end, xz with fours of them between streams too. */
static const struct {
    const gate_codec_t *codec;
    size_t n_magic;
    unsigned char magic[6];
    unsigned char mask; /* of the first byte */
    size_t pad;         /* zeros come in so many; 0: none may */
    bool pad_last;      /* no stream follows them */
} s_formats[] = {
    {&gi_codec_gzip, 3, {0x1f, 0x8b, 8}, 0xff, 1, true},
    {&gi_codec_bz2, 3, "BZh", 0xff, 0, false},
    {&gi_codec_lzma, 6,
     "\xfd"
     "7zXZ",
     0xff, 4, false},
    {&gi_codec_zstd, 4, {0x28, 0xb5, 0x2f, 0xfd}, 0xff, 0, false},
    {&gi_codec_lz4, 4, {0x04, 0x22, 0x4d, 0x18}, 0xff, 0, false},
    /* skippable frames, of either */
    {&gi_codec_zstd, 4, {0x50, 0x2a, 0x4d, 0x18}, 0xf0, 0, false},
    {&gi_codec_lz4, 4, {0x50, 0x2a, 0x4d, 0x18}, 0xf0, 0, false},
};
#define S_FORMATS (sizeof s_formats / sizeof *s_formats)

static size_t s_zeros(gate_bytes_t in) {
    const char *p = in.data;
    size_t n = 0;
    while (n < in.size && !p[n])
        n++;
    return n;
}

/* Skips padding that may be there. True: a stream of codec's begins. */
static bool s_begins(const gate_codec_t *codec, gate_bytes_t *in) {
    for (size_t i = 0; i < S_FORMATS; i++) {
        if (s_formats[i].codec != codec)
            continue;
        size_t n = s_formats[i].n_magic, pad = s_formats[i].pad;
        size_t zeros = pad ? s_zeros(*in) / pad * pad : 0;
        gate_bytes_t at = *in;
        gi_codec_used(&at, zeros);
        if (!at.size || !(zeros && s_formats[i].pad_last))
            *in = at;
        const unsigned char *p = in->data;
        if (in->size >= n &&
            (p[0] & s_formats[i].mask) == s_formats[i].magic[0] &&
            !memcmp(p + 1, s_formats[i].magic + 1, n - 1))
            return true;
    }
    return false;
}

gate_err_t gate_decompress(const char *name, gate_bytes_t in, size_t max_bytes,
                           void **out, size_t *out_size) {
    if (gi_err_null(out_size, "gate_decompress: where the size goes"))
        return GATE_BADARG;
    if (gi_err_null(out, "gate_decompress: where the bytes go"))
        return GATE_BADARG;
    if (in.size && gi_err_null(in.data, "gate_decompress: the bytes"))
        return GATE_BADARG;
    const gate_codec_t *codec = gi_codec_find(name);
    s_whole_t whole = {0};
    gate_err_t e;
    do
        e = s_stream(&whole, name, false, 0, &in, max_bytes);
    while (e == GATE_OK && in.size && s_begins(codec, &in));
    if (e == GATE_OK && in.size)
        e = gi_err(GATE_BADDATA, "%zu bytes follow the end of the stream",
                   in.size);
    return s_give(&whole, e, out, out_size);
}
