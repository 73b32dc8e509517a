/* SPDX-License-Identifier: BSD-3-Clause */
/* codec.c -- the table, and the guard around every step: a codec of somebody's
 * own may be wrong, its caller must not hang or overrun for it. */
#include "huge/codec.h"
#include "base/err.h"
#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define S_USER_MAX 16
/* A compressor that makes more than so many times what it was given, beyond the
 * first MiB, does not end: a reader takes no more either (join.c). */
#define S_GROW_MAX 16
#define S_GROW_FREE ((uint64_t)1 << 20)

struct gi_codec {
    const gate_codec_t *codec; /* the table's entry */
    gi_codec_flush_fn *flush;  /* NULL: it has none */
    void *impl;                /* what its open gave */
    bool compress;
    bool ended;       /* GATE_EOS was returned */
    uint64_t in, out; /* bytes so far */
};

typedef struct s_builtin {
    const gate_codec_t *codec;
    gi_codec_flush_fn *flush; /* gzip's blocks are flushed by who makes them */
} s_builtin_t;

static const s_builtin_t s_builtin[] = {{&gi_codec_gzip, NULL},
                                        {&gi_codec_bz2, gi_bz2_flush},
                                        {&gi_codec_lzma, gi_lzma_flush},
                                        {&gi_codec_zstd, gi_zstd_flush},
                                        {&gi_codec_lz4, gi_lz4_flush}};
#define S_BUILTIN (sizeof s_builtin / sizeof *s_builtin)

static const gate_codec_t *s_user[S_USER_MAX];
static size_t s_n_user;

const gate_codec_t *gi_codec_find(const char *name) {
    if (!name || !*name)
        return &gi_codec_gzip;
    for (size_t i = 0; i < S_BUILTIN; i++)
        if (!strcmp(s_builtin[i].codec->name, name))
            return s_builtin[i].codec;
    for (size_t i = 0; i < s_n_user; i++)
        if (!strcmp(s_user[i]->name, name))
            return s_user[i];
    return NULL;
}

size_t gi_codec_names(const char **names, size_t max) {
    for (size_t i = 0; i < S_BUILTIN + s_n_user && i < max; i++)
        names[i] = i < S_BUILTIN ? s_builtin[i].codec->name
                                 : s_user[i - S_BUILTIN]->name;
    return S_BUILTIN + s_n_user;
}

/* The end of a built-in one's scale; others have the setting's. */
static int s_level_max(const gate_codec_t *codec) {
    return codec == &gi_codec_zstd ? 22 : codec == &gi_codec_lz4 ? 12 : 9;
}

static bool s_is_builtin(const gate_codec_t *codec) {
    for (size_t i = 0; i < S_BUILTIN; i++)
        if (s_builtin[i].codec == codec)
            return true;
    return false;
}

gate_err_t gi_codec_check(const char *name, int64_t level) {
    const gate_codec_t *codec = gi_codec_find(name);
    const char *names[S_BUILTIN + S_USER_MAX];
    char list[600] = "";
    if (codec && (!s_is_builtin(codec) || level <= s_level_max(codec)))
        return GATE_OK;
    if (codec)
        return gi_err(GATE_BADARG,
                      "huge_data_compress_level = %lld: %s has 1 to %d",
                      (long long)level, codec->name, s_level_max(codec));
    size_t n = gi_codec_names(names, S_BUILTIN + S_USER_MAX);
    for (size_t i = 0, at = 0; i < n && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s",
                               i ? ", " : "", names[i]);
    return gi_err(GATE_BADARG,
                  "huge_data_compress_module = %.100s: there is no such codec; "
                  "there are %s",
                  name, list);
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

static gi_codec_flush_fn *s_flush_of(const gate_codec_t *codec) {
    for (size_t i = 0; i < S_BUILTIN; i++)
        if (s_builtin[i].codec == codec)
            return s_builtin[i].flush;
    return NULL;
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
    self->compress = compress;
    self->flush = s_flush_of(codec);
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

/* ---- one step ------------------------------------------------------------ */
gate_err_t gate_codec_error(gate_err_t code, const char *fmt, ...) {
    char text[500];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return gi_err_story(code, NULL, text, NULL);
}

/* The codec gave e, having told a story or not: one that names it. */
static gate_err_t s_failure(const gi_codec_t *self, gate_err_t e, bool told) {
    const char *name = self->codec->name;
    if ((unsigned)e >= GATE_ERR_COUNT || e == GATE_WOULDBLOCK ||
        e == GATE_KEPT || e == GATE_CANCELLED)
        return gi_err(GATE_BADDATA,
                      "codec '%s' returned %d (%s): a step gives GATE_OK, "
                      "GATE_EOS or why it failed",
                      name, (int)e, gate_err_name(e));
    if (told && gate_error()->code == e)
        return e;
    return gi_err(e, "codec '%s': %s", name, gate_err_text(e));
}

/* What a sound step cannot have done. */
static gate_err_t s_check(const gi_codec_t *self, const gate_bytes_t *in,
                          bool moved, bool room, bool finish) {
    const char *name = self->codec->name;
    if (self->compress && self->ended && (in->size || !finish))
        return gi_err(GATE_BADDATA,
                      "codec '%s' ended its stream before its input ended",
                      name);
    if (self->compress && self->out > S_GROW_FREE + S_GROW_MAX * self->in)
        return gi_err(
            GATE_BADDATA, "codec '%s' does not end: it made %llu bytes of %llu",
            name, (unsigned long long)self->out, (unsigned long long)self->in);
    if (self->ended || moved || !room)
        return GATE_OK;
    if (in->size)
        return gi_err(GATE_BADDATA, "codec '%s' makes no progress", name);
    return finish ? gi_err(GATE_BADDATA, "the %s stream is truncated", name)
                  : GATE_OK;
}

gate_err_t gi_codec_step(gi_codec_t *self, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    size_t room = *out_size, before = in->size, written = room;
    unsigned long stories = gi_err_count();
    *out_size = 0;
    if (self->ended)
        return GATE_EOS;
    gate_err_t e = self->codec->step(self->impl, in, out, &written, finish);
    if (written > room || in->size > before)
        return gi_err(GATE_BADDATA, "codec '%s' overran its buffers",
                      self->codec->name);
    *out_size = written;
    self->in += before - in->size;
    self->out += written;
    self->ended = e == GATE_EOS;
    if (e != GATE_OK && e != GATE_EOS)
        return s_failure(self, e, stories != gi_err_count());
    gate_err_t bad =
        s_check(self, in, written || in->size != before, room > 0, finish);
    return bad != GATE_OK ? bad : e;
}

gate_err_t gi_codec_flush(gi_codec_t *self, void *out, size_t *out_size) {
    size_t room = *out_size;
    *out_size = 0;
    if (!self->flush || self->ended)
        return GATE_OK;
    *out_size = room;
    gate_err_t e = self->flush(self->impl, out, out_size);
    self->out += *out_size;
    return e == GATE_NOMEM ? gi_err(e, "codec '%s'", self->codec->name) : e;
}
