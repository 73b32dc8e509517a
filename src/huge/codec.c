/* SPDX-License-Identifier: BSD-3-Clause */
/* codec.c -- the table, and the guard around every step: a codec of somebody's
 * own may be wrong, its caller must not hang or overrun for it. */
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdlib.h>
#include <string.h>

#define S_USER_MAX 16
#define S_GROW_MIN ((size_t)64 << 10)

struct gi_codec {
    const gate_codec_t *codec; /* the table's entry */
    void *impl;                /* what its open gave */
    bool ended;                /* GATE_EOS was returned */
};

static const gate_codec_t *const s_builtin[] = {&gi_codec_gzip, &gi_codec_bz2,
                                                &gi_codec_lzma, &gi_codec_zstd,
                                                &gi_codec_lz4};
#define S_BUILTIN (sizeof s_builtin / sizeof *s_builtin)

static const gate_codec_t *s_user[S_USER_MAX];
static size_t s_n_user;

const gate_codec_t *gi_codec_find(const char *name) {
    if (!name || !*name)
        return &gi_codec_gzip;
    for (size_t i = 0; i < S_BUILTIN; i++)
        if (!strcmp(s_builtin[i]->name, name))
            return s_builtin[i];
    for (size_t i = 0; i < s_n_user; i++)
        if (!strcmp(s_user[i]->name, name))
            return s_user[i];
    return NULL;
}

size_t gi_codec_names(const char **names, size_t max) {
    for (size_t i = 0; i < S_BUILTIN + s_n_user && i < max; i++)
        names[i] =
            i < S_BUILTIN ? s_builtin[i]->name : s_user[i - S_BUILTIN]->name;
    return S_BUILTIN + s_n_user;
}

gate_err_t gate_codec_register(const gate_codec_t *codec) {
    if (!codec || !codec->name || !*codec->name || !codec->open ||
        !codec->close || !codec->step)
        return gi_err(GATE_BADARG, "a codec needs a name, open, close, step");
    if (gi_codec_find(codec->name))
        return gi_err(GATE_BADARG, "the codec '%s' is there already",
                      codec->name);
    if (s_n_user == S_USER_MAX)
        return gi_err(GATE_TOOBIG, "no more than %d codecs of one's own",
                      S_USER_MAX);
    s_user[s_n_user++] = codec;
    return GATE_OK;
}

gate_err_t gi_codec_open(const char *name, bool compress, int level,
                         gi_codec_t **out) {
    const gate_codec_t *codec = gi_codec_find(name);
    if (!codec)
        return gi_err(GATE_NOTIMPL, "there is no codec '%s'", name);
    gi_codec_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return gi_err(GATE_NOMEM, "codec '%s'", codec->name);
    self->codec = codec;
    self->impl = codec->open(compress, level > 0 ? level : 1);
    if (!self->impl) {
        gi_mem_free(self);
        return gi_err(GATE_NOMEM, "codec '%s'", codec->name);
    }
    *out = self;
    return GATE_OK;
}

void gi_codec_close(gi_codec_t **self_p) {
    gi_codec_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    self->codec->close(self->impl);
    gi_mem_free(self);
}

gate_err_t gi_codec_step(gi_codec_t *self, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    size_t room = *out_size, before = in->size;
    const char *name = self->codec->name;
    *out_size = 0;
    if (self->ended)
        return GATE_EOS;
    size_t written = room;
    gate_err_t e = self->codec->step(self->impl, in, out, &written, finish);
    if (written > room || in->size > before)
        return gi_err(GATE_BADDATA, "codec '%s' overran its buffers", name);
    *out_size = written;
    self->ended = e == GATE_EOS;
    if (e == GATE_NOMEM)
        return gi_err(e, "codec '%s'", name);
    if (e != GATE_OK)
        return e;
    bool stuck = in->size == before && !written && room;
    if (stuck && finish && !before)
        return gi_err(GATE_BADDATA, "the %s stream is truncated", name);
    if (stuck && before)
        return gi_err(GATE_BADDATA, "codec '%s' makes no progress", name);
    return GATE_OK;
}

/* ---- whole buffers --------------------------------------------------------*/

/* A buffer that its user will free(): plain malloc, not gi_mem. */
typedef struct s_whole {
    char *data;
    size_t size, room;
} s_whole_t;

static gate_err_t s_whole_grow(s_whole_t *self, size_t max) {
    size_t room = self->room + self->room / 2 + S_GROW_MIN;
    if (room > max)
        room = max > self->size ? max : self->size + 1;
    char *data = realloc(self->data, room);
    if (!data)
        return gi_err(GATE_NOMEM, "%zu bytes", room);
    self->data = data;
    self->room = room;
    return GATE_OK;
}

/* Runs codec over in, growing the buffer; beyond max: GATE_TOOBIG. */
static gate_err_t s_whole_run(s_whole_t *self, gi_codec_t *codec,
                              gate_bytes_t *in, size_t max) {
    for (;;) {
        gate_err_t e = GATE_OK;
        /* one byte beyond max tells "exactly max" from "more" */
        if (self->size == self->room)
            e = s_whole_grow(self, max < SIZE_MAX ? max + 1 : max);
        if (e != GATE_OK)
            return e;
        size_t n = self->room - self->size;
        e = gi_codec_step(codec, in, self->data + self->size, &n, true);
        self->size += n;
        if (self->size > max)
            return gi_err(GATE_TOOBIG, "more than %zu bytes decompressed", max);
        if (e != GATE_OK)
            return e;
    }
}

static gate_err_t s_whole(const char *name, bool compress, int level,
                          gate_bytes_t in, size_t max, void **out,
                          size_t *out_size) {
    gi_codec_t *codec;
    gate_err_t e = gi_codec_open(name, compress, level, &codec);
    if (e != GATE_OK)
        return e;
    s_whole_t whole = {0};
    e = s_whole_run(&whole, codec, &in, max);
    if (e == GATE_EOS && in.size)
        e = gi_err(GATE_BADDATA, "%zu bytes follow the end of the stream",
                   in.size);
    gi_codec_close(&codec);
    if (e != GATE_EOS) {
        free(whole.data);
        return e;
    }
    *out = whole.data;
    *out_size = whole.size;
    return GATE_OK;
}

gate_err_t gi_codec_compress(const char *name, int level, gate_bytes_t in,
                             void **out, size_t *out_size) {
    return s_whole(name, true, level, in, SIZE_MAX, out, out_size);
}

gate_err_t gate_decompress(const char *codec, gate_bytes_t in, size_t max_bytes,
                           void **out, size_t *out_size) {
    return s_whole(codec, false, 0, in, max_bytes, out, out_size);
}
