/* SPDX-License-Identifier: BSD-3-Clause */
/* isal.c -- Intel's igzip: about four times as fast as zlib's level 1 at the
 * same ratio. */
#include "huge/isal.h"
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"

#ifdef GI_HAVE_ISAL
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

typedef struct s_deflate {
    struct isal_zstream stream;
    uint8_t level_buf[]; /* its hash table and tokens, by level */
} s_deflate_t;

void *gi_isal_deflate_new(int level) {
    static const uint32_t size[] = {
        0, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT};
    int l = level < 1 ? 1 : level > 3 ? 3 : level;
    /* zeroed once: igzip reads hash entries before it writes them */
    s_deflate_t *self = gi_mem_calloc(1, sizeof *self + size[l]);
    if (!self)
        return NULL;
    isal_deflate_init(&self->stream);
    self->stream.level = (uint32_t)l;
    self->stream.level_buf = self->level_buf;
    self->stream.level_buf_size = size[l];
    return self;
}

void gi_isal_free(void *self) { gi_mem_free(self); }

bool gi_isal_deflate(void *impl, const gi_block_t *block, void *out,
                     size_t *out_size) {
    struct isal_zstream *s = &((s_deflate_t *)impl)->stream;
    isal_deflate_reset(s);
    s->flush = SYNC_FLUSH;
    s->end_of_stream = block->last;
    s->next_in = (uint8_t *)(uintptr_t)block->in.data;
    s->avail_in = (uint32_t)block->in.size;
    s->next_out = out;
    s->avail_out = (uint32_t)*out_size;
    if (block->dict.size &&
        isal_deflate_set_dict(s, (uint8_t *)(uintptr_t)block->dict.data,
                              (uint32_t)block->dict.size) != COMP_OK)
        return false;
    if (isal_deflate(s) != COMP_OK || s->avail_in || !s->avail_out)
        return false;
    *out_size -= s->avail_out;
    return s->internal_state.state ==
           (block->last ? ZSTATE_END : ZSTATE_NEW_HDR);
}

void *gi_isal_inflate_new(void) {
    struct inflate_state *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    isal_inflate_init(self);
    self->crc_flag = ISAL_DEFLATE;
    return self;
}

/* igzip reads ahead by up to eight bytes: what lies behind the final block. */
static void s_spill(struct inflate_state *s, unsigned char spill[8],
                    size_t *n_spill) {
    int unused = s->read_in_length % 8;
    uint64_t bits = s->read_in >> unused;
    *n_spill = (size_t)(s->read_in_length / 8);
    for (size_t i = 0; i < *n_spill; i++, bits >>= 8)
        spill[i] = (unsigned char)bits;
}

gate_err_t gi_isal_inflate(void *impl, gate_bytes_t *in, void *out,
                           size_t *out_size, unsigned char spill[8],
                           size_t *n_spill) {
    struct inflate_state *s = impl;
    uint32_t size = in->size > UINT32_MAX ? UINT32_MAX : (uint32_t)in->size;
    uint32_t room = *out_size > UINT32_MAX ? UINT32_MAX : (uint32_t)*out_size;
    s->next_in = (uint8_t *)(uintptr_t)in->data;
    s->avail_in = size;
    s->next_out = out;
    s->avail_out = room;
    int rc = isal_inflate(s);
    gi_codec_used(in, size - s->avail_in);
    *out_size = room - s->avail_out;
    if (rc < 0)
        return gi_err(GATE_BADDATA, "not a sound deflate stream (%d)", rc);
    if (s->block_state != ISAL_BLOCK_FINISH)
        return GATE_OK;
    s_spill(s, spill, n_spill);
    return GATE_EOS;
}

uint32_t gi_isal_crc32(uint32_t crc, const void *data, size_t size) {
    return crc32_gzip_refl(crc, data, size);
}

#else

void *gi_isal_deflate_new(int level) {
    (void)level;
    return NULL;
}
void *gi_isal_inflate_new(void) { return NULL; }
void gi_isal_free(void *self) { gi_mem_free(self); }
bool gi_isal_deflate(void *self, const gi_block_t *block, void *out,
                     size_t *out_size) {
    (void)self, (void)block, (void)out, (void)out_size;
    return false;
}
gate_err_t gi_isal_inflate(void *self, gate_bytes_t *in, void *out,
                           size_t *out_size, unsigned char spill[8],
                           size_t *n_spill) {
    (void)self, (void)in, (void)out, (void)out_size, (void)spill, (void)n_spill;
    return gi_err(GATE_NOTIMPL, "ISA-L is not built in");
}
uint32_t gi_isal_crc32(uint32_t crc, const void *data, size_t size) {
    (void)data, (void)size;
    return crc;
}
#endif
