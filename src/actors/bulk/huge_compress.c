/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_compress.c -- a whole buffer at once, over a pool or without. */
#include "sync/clock.h"
#include "huge/codec.h"
#include "base/err.h"
#include "bulk/huge_pack.h"
#include <stdlib.h>
#include <string.h>

gate_err_t gi_huge_pool_compress(gate_pool_t *pool,
                                 const gi_huge_pack_options_t *options,
                                 gate_bytes_t in, gi_huge_emit_fn *emit,
                                 void *ctx) {
    gi_huge_pack_t *pack;
    gate_bytes_t chunk;
    gate_err_t e = gi_huge_pack_new(pool, options, &pack);
    if (e != GATE_OK)
        return e;
    e = gi_huge_pack_source(pack, (gate_bytes_t){NULL, 0}, in);
    while (e == GATE_OK && (e = gi_huge_pack_wait(pack, &chunk)) == GATE_OK) {
        int64_t begun = gi_clock_ns();
        e = emit(ctx, chunk.data, chunk.size);
        if (e != GATE_OK)
            break;
        gi_huge_pack_sent(pack, chunk.size, gi_clock_ns() - begun);
    }
    gi_huge_pack_destroy(&pack);
    return e == GATE_EOS ? GATE_OK : e;
}

/* The public result: malloc'ed, for its user to free(). */
typedef struct s_whole {
    char *data;
    size_t size, room;
} s_whole_t;

static gate_err_t s_whole_add(void *ctx, const void *data, size_t size) {
    s_whole_t *self = ctx;
    if (size > self->room - self->size) {
        size_t room = self->room + self->room / 2 + size;
        char *bigger = realloc(self->data, room);
        if (!bigger)
            return gi_err(GATE_NOMEM, "%zu bytes", room);
        self->data = bigger;
        self->room = room;
    }
    memcpy(self->data + self->size, data, size);
    self->size += size;
    return GATE_OK;
}

gate_err_t gate_compress(gate_pool_t *pool, const char *codec, int level,
                         gate_bytes_t in, void **out, size_t *out_size) {
    if (gi_err_null(out, "gate_compress: where the bytes go") ||
        gi_err_null(out_size, "gate_compress: where the size goes") ||
        (in.size && gi_err_null(in.data, "gate_compress: the bytes")))
        return GATE_BADARG;
    if (!pool)
        return gi_codec_compress(codec, level, in, out, out_size);
    gi_huge_pack_options_t options = {
        .codec = codec, .level = level, .mode = GI_POLICY_COMPRESS};
    s_whole_t whole = {0};
    gate_err_t e =
        gi_huge_pool_compress(pool, &options, in, s_whole_add, &whole);
    if (e != GATE_OK) {
        free(whole.data);
        return e;
    }
    *out = whole.data;
    *out_size = whole.size;
    return GATE_OK;
}
