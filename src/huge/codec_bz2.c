/* SPDX-License-Identifier: BSD-3-Clause */
/* codec_bz2.c -- one bzip2 stream by libbz2. */
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include <bzlib.h>
#include <limits.h>

typedef struct s_bz2 {
    bz_stream stream;
    bool compress;
} s_bz2_t;

static void *s_alloc(void *opaque, int n, int size) {
    (void)opaque;
    return gi_mem_alloc((size_t)n * (size_t)size); /* ints; MiBs, not zeroed */
}

static void s_free(void *opaque, void *p) {
    (void)opaque;
    gi_mem_free(p);
}

static void *s_open(bool compress, int level) {
    s_bz2_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->compress = compress;
    self->stream.bzalloc = s_alloc;
    self->stream.bzfree = s_free;
    int rc = compress ? BZ2_bzCompressInit(&self->stream, level > 9 ? 9 : level,
                                           0, 0)
                      : BZ2_bzDecompressInit(&self->stream, 0, 0);
    if (rc == BZ_OK)
        return self;
    gi_mem_free(self);
    return NULL;
}

static void s_close(void *impl) {
    s_bz2_t *self = impl;
    if (self->compress)
        BZ2_bzCompressEnd(&self->stream);
    else
        BZ2_bzDecompressEnd(&self->stream);
    gi_mem_free(self);
}

static int s_turn(s_bz2_t *self, bool finish) {
    if (!self->compress)
        return BZ2_bzDecompress(&self->stream);
    if (self->stream.avail_in) /* BZ_FINISH wants nothing added after it */
        return BZ2_bzCompress(&self->stream, BZ_RUN);
    return finish ? BZ2_bzCompress(&self->stream, BZ_FINISH) : BZ_RUN_OK;
}

static void s_aim(s_bz2_t *self, gate_bytes_t in, void *out, size_t room) {
    self->stream.next_in = (char *)(uintptr_t)in.data;
    self->stream.avail_in = in.size > UINT_MAX ? UINT_MAX : (unsigned)in.size;
    self->stream.next_out = out;
    self->stream.avail_out = room > UINT_MAX ? UINT_MAX : (unsigned)room;
}

static gate_err_t s_result(int rc) {
    if (rc == BZ_STREAM_END)
        return GATE_EOS;
    if (rc == BZ_MEM_ERROR)
        return GATE_NOMEM;
    return rc >= 0 ? GATE_OK
                   : gi_err(GATE_BADDATA, "not a sound bzip2 stream (%d)", rc);
}

static gate_err_t s_step(void *impl, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    s_bz2_t *self = impl;
    s_aim(self, *in, out, *out_size);
    unsigned size = self->stream.avail_in, room = self->stream.avail_out;
    int rc = s_turn(self, finish);
    gi_codec_used(in, size - self->stream.avail_in);
    *out_size = room - self->stream.avail_out;
    return s_result(rc);
}

/* Ends a block of bzip2's. Its last bits, up to 31, stay with libbz2 until more
 * follows: a stream cannot end on a byte's border but at its end. */
gate_err_t gi_bz2_flush(void *impl, void *out, size_t *out_size) {
    s_bz2_t *self = impl;
    s_aim(self, (gate_bytes_t){NULL, 0}, out, *out_size);
    unsigned room = self->stream.avail_out;
    int rc = BZ2_bzCompress(&self->stream, BZ_FLUSH);
    *out_size = room - self->stream.avail_out;
    return s_result(rc);
}

const gate_codec_t gi_codec_bz2 = {"bz2", s_open, s_close, s_step};
