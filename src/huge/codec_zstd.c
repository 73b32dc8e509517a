/* SPDX-License-Identifier: BSD-3-Clause */
/* codec_zstd.c -- one zstd frame with a checksum, by libzstd. */
#define ZSTD_STATIC_LINKING_ONLY /* for an allocator of our own */
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include <zstd.h>
#include <zstd_errors.h>

typedef struct s_zstd {
    ZSTD_CCtx *c; /* compressing */
    ZSTD_DCtx *d; /* or decompressing */
} s_zstd_t;

static void *s_alloc(void *opaque, size_t size) {
    (void)opaque;
    return gi_mem_alloc(size);
}

static void s_free(void *opaque, void *p) {
    (void)opaque;
    gi_mem_free(p);
}

static void s_close(void *impl) {
    s_zstd_t *self = impl;
    ZSTD_freeCCtx(self->c);
    ZSTD_freeDCtx(self->d);
    gi_mem_free(self);
}

static void *s_open(bool compress, int level) {
    const ZSTD_customMem mem = {s_alloc, s_free, NULL};
    s_zstd_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    if (compress)
        self->c = ZSTD_createCCtx_advanced(mem);
    else
        self->d = ZSTD_createDCtx_advanced(mem);
    if (!self->c && !self->d) {
        s_close(self);
        return NULL;
    }
    if (compress) { /* a level beyond the scale is clamped by zstd */
        (void)ZSTD_CCtx_setParameter(self->c, ZSTD_c_compressionLevel, level);
        (void)ZSTD_CCtx_setParameter(self->c, ZSTD_c_checksumFlag, 1);
    }
    return self;
}

static gate_err_t s_error(size_t rc) {
    if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation)
        return GATE_NOMEM;
    if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
        return gi_err(GATE_TOOBIG, "zstd: %s", ZSTD_getErrorName(rc));
    return gi_err(GATE_BADDATA, "zstd: %s", ZSTD_getErrorName(rc));
}

static gate_err_t s_step(void *impl, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    s_zstd_t *self = impl;
    ZSTD_inBuffer from = {in->data, in->size, 0};
    ZSTD_outBuffer to = {out, *out_size, 0};
    size_t rc =
        self->c ? ZSTD_compressStream2(self->c, &to, &from,
                                       finish ? ZSTD_e_end : ZSTD_e_continue)
                : ZSTD_decompressStream(self->d, &to, &from);
    gi_codec_used(in, from.pos);
    *out_size = to.pos;
    if (ZSTD_isError(rc))
        return s_error(rc);
    return rc == 0 && (self->d || (finish && !in->size)) ? GATE_EOS : GATE_OK;
}

gate_err_t gi_zstd_flush(void *impl, void *out, size_t *out_size) {
    s_zstd_t *self = impl;
    ZSTD_inBuffer none = {NULL, 0, 0};
    ZSTD_outBuffer to = {out, *out_size, 0};
    size_t rc = ZSTD_compressStream2(self->c, &to, &none, ZSTD_e_flush);
    *out_size = to.pos;
    return ZSTD_isError(rc) ? s_error(rc) : GATE_OK;
}

const gate_codec_t gi_codec_zstd = {"zstd", s_open, s_close, s_step};
