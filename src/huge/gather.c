/* SPDX-License-Identifier: BSD-3-Clause */
/* gather.c -- a ring of pieces by number; whenever the next one is there, it
 * and its followers go to the chunker. */
#include "huge/gather.h"
#include "base/err.h"
#include "base/mem.h"
#include <assert.h>
#include <string.h>

gate_err_t gi_gather_init(gi_gather_t *self, size_t chunk_bytes,
                          size_t window) {
    memset(self, 0, sizeof *self);
    gi_chunker_init(&self->chunker, chunk_bytes);
    self->n_window = window < 1                      ? 1
                     : window > GI_GATHER_WINDOW_MAX ? GI_GATHER_WINDOW_MAX
                                                     : window;
    self->window = gi_mem_calloc(self->n_window, sizeof *self->window);
    if (!self->window)
        return gi_err(GATE_NOMEM, "a window of %zu blocks", window);
    return gi_chunker_add(&self->chunker, gi_gzip_head, sizeof gi_gzip_head);
}

void gi_piece_drop(gi_piece_t *self) {
    if (self->data && self->release)
        self->release(self->hint);
    else
        gi_mem_free(self->data);
    self->data = NULL;
    self->release = NULL;
}

void gi_gather_fini(gi_gather_t *self) {
    for (size_t i = 0; self->window && i < self->n_window; i++)
        gi_piece_drop(&self->window[i]);
    gi_mem_free(self->window);
    gi_chunker_fini(&self->chunker);
    memset(self, 0, sizeof *self);
}

bool gi_gather_valid(const gi_gather_t *self) {
    for (size_t i = 0; i < self->n_window; i++) {
        const gi_piece_t *piece = &self->window[i];
        if (piece->data && (piece->seq < self->next ||
                            piece->seq >= self->next + self->n_window ||
                            piece->seq % self->n_window != i))
            return false;
    }
    return self->n_window > 0;
}

/* Appends one piece, and the trailer behind the last. */
static gate_err_t s_append(gi_gather_t *self, const gi_piece_t *piece) {
    unsigned char tail[GI_GZIP_TAIL_SIZE];
    gate_err_t e = gi_chunker_add(&self->chunker, piece->data, piece->size);
    if (e != GATE_OK)
        return e;
    gi_member_add(&self->member, piece->crc, piece->in_size);
    if (!piece->last)
        return GATE_OK;
    gi_member_tail(&self->member, tail);
    e = gi_chunker_add(&self->chunker, tail, sizeof tail);
    self->ended = e == GATE_OK;
    return e;
}

static gate_err_t s_advance(gi_gather_t *self) {
    for (;;) {
        gi_piece_t *piece = &self->window[self->next % self->n_window];
        if (!piece->data)
            return GATE_OK;
        gate_err_t e = s_append(self, piece);
        if (e != GATE_OK)
            return e;
        gi_piece_drop(piece);
        self->next++;
    }
}

gate_err_t gi_gather_add(gi_gather_t *self, const gi_piece_t *piece) {
    if (self->ended || piece->seq != self->next)
        return gi_err(GATE_BADARG, "block %llu is not wanted",
                      (unsigned long long)piece->seq);
    gate_err_t e = s_append(self, piece);
    self->next += e == GATE_OK;
    return e;
}

bool gi_gather_pass(gi_gather_t *self, const gi_piece_t *piece) {
    if (self->ended || !piece->seq || piece->seq != self->next || piece->last ||
        !gi_chunker_whole(&self->chunker, piece->data, piece->size))
        return false;
    gi_member_add(&self->member, piece->crc, piece->in_size);
    self->next++;
    return true;
}

gate_err_t gi_gather_put(gi_gather_t *self, gi_piece_t *piece) {
    assert(gi_gather_valid(self));
    if (self->ended || piece->seq < self->next ||
        piece->seq - self->next >= self->n_window || !piece->data)
        return gi_err(GATE_BADARG, "block %llu is not wanted",
                      (unsigned long long)piece->seq);
    gi_piece_t *slot = &self->window[piece->seq % self->n_window];
    if (slot->data)
        return gi_err(GATE_BADARG, "block %llu is there already",
                      (unsigned long long)piece->seq);
    *slot = *piece;
    piece->data = NULL;
    return s_advance(self);
}

bool gi_gather_next(gi_gather_t *self, gate_bytes_t *chunk) {
    return gi_chunker_next(&self->chunker, self->ended, chunk);
}

bool gi_gather_done(const gi_gather_t *self) {
    return self->ended && !gi_chunker_size(&self->chunker);
}
