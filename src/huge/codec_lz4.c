/* SPDX-License-Identifier: BSD-3-Clause */
/* codec_lz4.c -- one lz4 frame with a checksum, by liblz4. Its compressor wants
 * room for the worst case, so it writes to a buffer of our own first. */
#define LZ4F_STATIC_LINKING_ONLY /* for the names of its error codes */
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include <lz4frame.h>
#include <string.h>

#define S_SLICE ((size_t)64 << 10) /* compressed at once */

typedef struct s_lz4 {
    LZ4F_cctx *c; /* compressing */
    LZ4F_dctx *d; /* or decompressing */
    LZ4F_preferences_t prefs;
    bool begun, ended;
    size_t start, size, room; /* what waits in pending, its memory */
    char *pending;
} s_lz4_t;

static void s_close(void *impl) {
    s_lz4_t *self = impl;
    if (self->c)
        LZ4F_freeCompressionContext(self->c);
    if (self->d)
        LZ4F_freeDecompressionContext(self->d);
    gi_mem_free(self->pending);
    gi_mem_free(self);
}

/* False without memory. liblz4 allocates its own contexts. */
static bool s_init(s_lz4_t *self, bool compress, int level) {
    if (!compress)
        return !LZ4F_isError(
            LZ4F_createDecompressionContext(&self->d, LZ4F_VERSION));
    self->prefs.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    self->prefs.compressionLevel = level < 3 ? 0 : level;
    self->room =
        LZ4F_compressBound(S_SLICE, &self->prefs) + LZ4F_HEADER_SIZE_MAX;
    self->pending = gi_mem_alloc(self->room);
    return self->pending &&
           !LZ4F_isError(LZ4F_createCompressionContext(&self->c, LZ4F_VERSION));
}

static void *s_open(bool compress, int level) {
    s_lz4_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self || s_init(self, compress, level))
        return self;
    s_close(self);
    return NULL;
}

static gate_err_t s_error(size_t rc) {
    if (LZ4F_getErrorCode(rc) == LZ4F_ERROR_allocation_failed)
        return GATE_NOMEM;
    return gi_err(GATE_BADDATA, "lz4: %s", LZ4F_getErrorName(rc));
}

/* Fills pending with the next piece of the frame; its size, or an error. */
static size_t s_produce(s_lz4_t *self, gate_bytes_t *in, bool finish) {
    if (!self->begun) {
        self->begun = true;
        return LZ4F_compressBegin(self->c, self->pending, self->room,
                                  &self->prefs);
    }
    if (in->size) {
        size_t n = in->size < S_SLICE ? in->size : S_SLICE;
        size_t rc = LZ4F_compressUpdate(self->c, self->pending, self->room,
                                        in->data, n, NULL);
        gi_codec_used(in, n);
        return rc;
    }
    if (!finish || self->ended)
        return 0;
    self->ended = true;
    return LZ4F_compressEnd(self->c, self->pending, self->room, NULL);
}

/* Moves what waits to out, as much as there is room for. */
static size_t s_drain(s_lz4_t *self, char *out, size_t room) {
    size_t n = room < self->size ? room : self->size;
    memcpy(out, self->pending + self->start, n);
    self->start += n;
    self->size -= n;
    return n;
}

static gate_err_t s_compress(s_lz4_t *self, gate_bytes_t *in, char *out,
                             size_t *out_size, bool finish) {
    size_t done = 0, room = *out_size;
    for (;;) {
        done += s_drain(self, out + done, room - done);
        *out_size = done;
        bool idle = !in->size && (!finish || self->ended) && self->begun;
        if (self->size || done == room || idle)
            break;
        size_t rc = s_produce(self, in, finish);
        if (LZ4F_isError(rc))
            return s_error(rc);
        self->start = 0;
        self->size = rc;
    }
    return self->ended && !self->size ? GATE_EOS : GATE_OK;
}

static gate_err_t s_step(void *impl, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    s_lz4_t *self = impl;
    if (self->c)
        return s_compress(self, in, out, out_size, finish);
    size_t used = in->size;
    size_t rc = LZ4F_decompress(self->d, out, out_size, in->data, &used, NULL);
    if (LZ4F_isError(rc)) {
        *out_size = 0;
        return s_error(rc);
    }
    gi_codec_used(in, used);
    return rc == 0 ? GATE_EOS : GATE_OK;
}

gate_err_t gi_lz4_flush(void *impl, void *out, size_t *out_size) {
    s_lz4_t *self = impl;
    size_t room = *out_size, done = s_drain(self, out, room);
    *out_size = done;
    if (self->size || done == room || !self->begun)
        return GATE_OK;
    size_t rc = LZ4F_flush(self->c, self->pending, self->room, NULL);
    if (LZ4F_isError(rc))
        return s_error(rc);
    self->start = 0;
    self->size = rc;
    *out_size = done + s_drain(self, (char *)out + done, room - done);
    return GATE_OK;
}

const gate_codec_t gi_codec_lz4 = {"lz4", s_open, s_close, s_step};
