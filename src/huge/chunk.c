/* SPDX-License-Identifier: BSD-3-Clause */
/* chunk.c -- where to cut. A cut in the middle of a tag disarms it, so a trap
 * costs one byte of a chunk's length. */
#include "huge/chunk.h"
#include "base/err.h"
#include "base/tags.h"
#include <string.h>

#define S_END_SIZE (sizeof GI_HUGE_END - 1)

void gi_chunker_init(gi_chunker_t *self, size_t chunk_bytes) {
    memset(self, 0, sizeof *self);
    self->target = chunk_bytes < GI_CHUNK_MIN ? GI_CHUNK_MIN : chunk_bytes;
}

void gi_chunker_fini(gi_chunker_t *self) { gi_buf_fini(&self->buf); }

size_t gi_chunker_size(const gi_chunker_t *self) {
    return self->buf.size - self->start;
}

gate_err_t gi_chunker_add(gi_chunker_t *self, const void *data, size_t size) {
    size_t left = gi_chunker_size(self);
    if (self->start) { /* less than a chunk, when the caller takes them all */
        memmove(self->buf.data, self->buf.data + self->start, left);
        self->buf.size = left;
        self->start = 0;
    }
    /* a chunk and what follows it: no growing on the way there */
    bool fresh = !self->buf.room && size < self->target;
    if ((fresh && !gi_buf_reserve(&self->buf, self->target + size)) ||
        (size && !gi_buf_append(&self->buf, data, size)))
        return gi_err(GATE_NOMEM, "%zu bytes of a huge result", size);
    return GATE_OK;
}

static bool s_ends(const unsigned char *data, size_t size) {
    return size >= S_END_SIZE &&
           !memcmp(data + size - S_END_SIZE, GI_HUGE_END, S_END_SIZE);
}

static bool s_is_tag(const unsigned char *data, size_t size) {
    static const char *const tags[] = {GI_HUGE_EXCEPTION, GI_STREAM_EXCEPTION,
                                       GI_STREAM_END, GI_STREAM_TAG,
                                       GI_HUGE_TAG};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (size == strlen(tags[i]) && !memcmp(data, tags[i], size))
            return true;
    return false;
}

/* The length of the chunk at data, at most size: wire.md 7.2. */
static size_t s_cut(const unsigned char *data, size_t size) {
    for (size_t n = GI_CHUNK_SLICE; n < size; n += GI_CHUNK_SLICE)
        if (s_ends(data, n))
            return n - 1;
    return s_ends(data, size) || s_is_tag(data, size) ? size - 1 : size;
}

bool gi_chunker_next(gi_chunker_t *self, bool all, gate_bytes_t *chunk) {
    size_t left = gi_chunker_size(self);
    if (!left || (left < self->target && !all))
        return false;
    const unsigned char *data = self->buf.data + self->start;
    size_t n = s_cut(data, left < self->target ? left : self->target);
    *chunk = (gate_bytes_t){data, n};
    self->start += n;
    return true;
}

void *gi_chunker_take(gi_chunker_t *self) {
    size_t left = gi_chunker_size(self);
    gi_buf_t rest = {0};
    if (left >= self->target)
        return NULL; /* another chunk lies in it */
    if (left && (!gi_buf_reserve(&rest, self->target + left) ||
                 !gi_buf_append(&rest, self->buf.data + self->start, left))) {
        gi_buf_fini(&rest);
        return NULL;
    }
    void *data = self->buf.data;
    self->buf = rest;
    self->start = 0;
    return data;
}

bool gi_chunker_whole(const gi_chunker_t *self, const void *data, size_t size) {
    return size >= self->target / 2 && size <= self->target &&
           s_cut(data, size) == size;
}
