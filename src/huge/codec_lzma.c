/* SPDX-License-Identifier: BSD-3-Clause */
/* codec_lzma.c -- one .xz stream by liblzma; reads the older "alone" (.lzma)
 * container too, as Python's lzma module may write it (wire.md 7). */
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include <lzma.h>

/* Preset 9 needs 65 MiB to be read; a header that asks for more is refused. */
#define S_MEMORY_MAX ((uint64_t)96 << 20)

typedef struct s_lzma {
    lzma_stream stream;
    lzma_allocator allocator;
} s_lzma_t;

static void *s_alloc(void *opaque, size_t n, size_t size) {
    (void)opaque;
    return gi_mem_alloc(n * size); /* liblzma asks with n = 1 */
}

static void s_free(void *opaque, void *p) {
    (void)opaque;
    gi_mem_free(p);
}

static void *s_open(bool compress, int level) {
    s_lzma_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->allocator.alloc = s_alloc;
    self->allocator.free = s_free;
    self->stream.allocator = &self->allocator;
    uint32_t preset = (uint32_t)(level > 9 ? 9 : level);
    lzma_ret rc =
        compress ? lzma_easy_encoder(&self->stream, preset, LZMA_CHECK_CRC64)
                 : lzma_auto_decoder(&self->stream, S_MEMORY_MAX, 0);
    if (rc == LZMA_OK)
        return self;
    lzma_end(&self->stream);
    gi_mem_free(self);
    return NULL;
}

static void s_close(void *impl) {
    s_lzma_t *self = impl;
    lzma_end(&self->stream);
    gi_mem_free(self);
}

static gate_err_t s_result(lzma_ret rc) {
    if (rc == LZMA_STREAM_END)
        return GATE_EOS;
    if (rc == LZMA_OK || rc == LZMA_BUF_ERROR) /* the latter: no progress */
        return GATE_OK;
    if (rc == LZMA_MEM_ERROR)
        return GATE_NOMEM;
    if (rc == LZMA_MEMLIMIT_ERROR)
        return gi_err(GATE_TOOBIG, "an xz stream that needs more than %d MiB",
                      (int)(S_MEMORY_MAX >> 20));
    return gi_err(GATE_BADDATA, "not a sound xz stream (%d)", (int)rc);
}

static lzma_ret s_code(s_lzma_t *self, gate_bytes_t *in, void *out,
                       size_t *out_size, lzma_action action) {
    size_t room = *out_size, size = in->size;
    self->stream.next_in = in->data;
    self->stream.avail_in = size;
    self->stream.next_out = out;
    self->stream.avail_out = room;
    lzma_ret rc = lzma_code(&self->stream, action);
    gi_codec_used(in, size - self->stream.avail_in);
    *out_size = room - self->stream.avail_out;
    return rc;
}

static gate_err_t s_step(void *impl, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    return s_result(
        s_code(impl, in, out, out_size, finish ? LZMA_FINISH : LZMA_RUN));
}

gate_err_t gi_lzma_flush(void *impl, void *out, size_t *out_size) {
    gate_bytes_t none = {NULL, 0};
    gate_err_t e =
        s_result(s_code(impl, &none, out, out_size, LZMA_SYNC_FLUSH));
    return e == GATE_EOS ? GATE_OK : e;
}

const gate_codec_t gi_codec_lzma = {"lzma", s_open, s_close, s_step};
