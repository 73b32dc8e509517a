/* SPDX-License-Identifier: BSD-3-Clause */
/* codec_gzip.c -- gzip as a codec: blocks through a deflater one after the
 * other, so that a stream is the same whether or not a pool made it. */
#include "huge/codec.h"
#include "huge/gunzip.h"
#include "base/mem.h"
#include "huge/split.h"
#include <string.h>

/* One block at its largest, with the header and the trailer around it. */
#define S_OUT_ROOM (GI_BLOCK_SIZE + 1024)

typedef struct s_gzip {
    gi_gunzip_t *gunzip;     /* decompressing: all that there is */
    gi_deflater_t *deflater; /* compressing */
    gi_member_t member;
    size_t n_dict, n_in; /* of dict, in */
    size_t start, n_out; /* what waits in out */
    bool primed;         /* blocks look back */
    bool begun, ended;   /* header, trailer are in out or given */
    unsigned char dict[GI_DICT_SIZE], in[GI_BLOCK_SIZE], out[S_OUT_ROOM];
} s_gzip_t;

static void s_close(void *impl) {
    s_gzip_t *self = impl;
    gi_gunzip_destroy(&self->gunzip);
    gi_deflater_destroy(&self->deflater);
    gi_mem_free(self);
}

static void *s_open(bool compress, int level) {
    /* the buffers are the last members: a decompressor does without them */
    s_gzip_t *self =
        gi_mem_calloc(1, compress ? sizeof *self : offsetof(s_gzip_t, dict));
    if (!self)
        return NULL;
    self->primed = gi_block_primed(level);
    if (compress)
        self->deflater = gi_deflater_new(GI_ENGINE_AUTO, level);
    else
        self->gunzip = gi_gunzip_new(GI_ENGINE_AUTO, false);
    if (self->deflater || self->gunzip)
        return self;
    s_close(self);
    return NULL;
}

static void s_put(s_gzip_t *self, const void *data, size_t size) {
    memcpy(self->out + self->n_out, data, size);
    self->n_out += size;
}

/* Compresses what is in `in` to `out`, which is empty. */
static gate_err_t s_block(s_gzip_t *self, bool last) {
    gi_block_t block = {.in = {self->in, self->n_in},
                        .dict = {self->dict, self->n_dict},
                        .last = last};
    uint32_t crc;
    size_t size;
    unsigned char tail[GI_GZIP_TAIL_SIZE];
    self->start = self->n_out = 0;
    if (!self->begun)
        s_put(self, gi_gzip_head, sizeof gi_gzip_head);
    gate_err_t e = gi_deflater_block(self->deflater, &block,
                                     self->out + self->n_out, &size, &crc);
    if (e != GATE_OK)
        return e;
    self->begun = true;
    self->n_out += size;
    gi_member_add(&self->member, crc, self->n_in);
    self->ended = last;
    gi_member_tail(&self->member, tail);
    if (last)
        s_put(self, tail, sizeof tail);
    else /* a block that is not the last is whole, longer than a dictionary */
        memcpy(self->dict, self->in + self->n_in - GI_DICT_SIZE, GI_DICT_SIZE);
    self->n_dict = self->primed ? GI_DICT_SIZE : 0;
    self->n_in = 0;
    return GATE_OK;
}

static void s_fill(s_gzip_t *self, gate_bytes_t *in) {
    size_t n = GI_BLOCK_SIZE - self->n_in;
    n = in->size < n ? in->size : n;
    if (!n)
        return;
    memcpy(self->in + self->n_in, in->data, n);
    self->n_in += n;
    gi_codec_used(in, n);
}

static size_t s_drain(s_gzip_t *self, unsigned char *out, size_t room) {
    size_t n = self->n_out - self->start;
    n = n < room ? n : room;
    memcpy(out, self->out + self->start, n);
    self->start += n;
    return n;
}

static gate_err_t s_compress(s_gzip_t *self, gate_bytes_t *in,
                             unsigned char *out, size_t *out_size,
                             bool finish) {
    size_t room = *out_size, done = 0;
    for (;;) {
        done += s_drain(self, out + done, room - done);
        *out_size = done;
        if (self->ended || done == room)
            break;
        s_fill(self, in);
        /* a whole block waits for one more byte, or the end: is it the last? */
        bool more = self->n_in == GI_BLOCK_SIZE && in->size;
        if (!more && (!finish || in->size))
            break;
        gate_err_t e = s_block(self, !more);
        if (e != GATE_OK)
            return e;
    }
    return self->ended && self->start == self->n_out ? GATE_EOS : GATE_OK;
}

static gate_err_t s_step(void *impl, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    s_gzip_t *self = impl;
    if (self->gunzip)
        return gi_gunzip_step(self->gunzip, in, out, out_size, finish);
    return s_compress(self, in, out, out_size, finish);
}

const gate_codec_t gi_codec_gzip = {"gzip", s_open, s_close, s_step};
