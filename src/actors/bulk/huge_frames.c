/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_frames.c -- which frame is next, and whose memory it is. */
#include "bulk/huge_frames.h"
#include <string.h>
#include "base/mem.h"

gate_err_t gi_huge_frames_init(gi_huge_frames_t *self, bool gzip,
                               size_t chunk_bytes) {
    memset(self, 0, sizeof *self);
    self->gzip = gzip;
    if (gzip)
        return gi_gather_init(&self->gather, chunk_bytes, 1); /* in order */
    gi_chunker_init(&self->chunker, chunk_bytes);
    return GATE_OK;
}

void gi_huge_frames_fini(gi_huge_frames_t *self) {
    gi_piece_drop(&self->direct);
    gi_gather_fini(&self->gather);
    gi_chunker_fini(&self->chunker);
}

static gi_chunker_t *s_chunker(gi_huge_frames_t *self) {
    return self->gzip ? &self->gather.chunker : &self->chunker;
}

gate_err_t gi_huge_frames_add(gi_huge_frames_t *self, gi_huge_block_t *block) {
    gi_piece_t *piece = &block->piece;
    self->flush = block->flush;
    if (!self->gzip)
        return gi_chunker_add(&self->chunker, piece->data, piece->size);
    if (!gi_gather_pass(&self->gather, piece))
        return gi_gather_add(&self->gather, piece);
    self->direct = *piece;
    if (piece->data == block->out)
        block->out = NULL;
    piece->data = NULL;
    return GATE_OK;
}

bool gi_huge_frames_next(gi_huge_frames_t *self, bool all,
                         gate_bytes_t *frame) {
    gi_piece_t *direct = &self->direct;
    if (self->lent)
        gi_piece_drop(direct);
    self->lent = false;
    all |= self->flush || direct->data;
    if (gi_chunker_next(s_chunker(self), all, frame))
        return true;
    self->lent = direct->data != NULL;
    if (self->lent)
        *frame = (gate_bytes_t){direct->data, direct->size};
    return self->lent;
}

static void s_free(void *data, void *hint) {
    (void)data;
    gi_mem_free(hint);
}

static void s_free_run(void *data, void *hint) {
    (void)data;
    gi_run_release(hint);
}

bool gi_huge_frames_take(gi_huge_frames_t *self, zmq_free_fn **release,
                         void **hint) {
    gi_piece_t *direct = &self->direct;
    bool run = self->lent && direct->release;
    *release = run ? s_free_run : s_free;
    if (self->lent)
        *hint = run ? direct->hint : direct->data;
    else
        *hint = gi_chunker_take(s_chunker(self));
    if (self->lent)
        direct->data = NULL;
    self->lent = false;
    return *hint != NULL;
}
