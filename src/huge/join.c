/* SPDX-License-Identifier: BSD-3-Clause */
/* join.c -- a codec with caps around it. What follows the stream's end may only
 * be the END tag, whole or in pieces, as Python's client lets pass (wire.md
 * 7.1). */
#include "huge/join.h"
#include "base/err.h"
#include "huge/gunzip.h"
#include "base/mem.h"
#include "base/tags.h"
#include <string.h>

#define S_END_SIZE (sizeof GI_HUGE_END - 1)
/* A stream that grows by "compressing" beyond this many times is an attack:
 * empty blocks without end. */
#define S_SHRINK_MAX 16

struct gi_join {
    gi_gunzip_t *gunzip; /* gzip: read as from the wire */
    gi_codec_t *codec;   /* or any other */
    uint64_t max_bytes, ratio_max;
    uint64_t size;     /* announced; 0 = not */
    uint64_t in, out;  /* bytes so far */
    size_t n_end;      /* bytes of an END in the data frames so far */
    bool ended;        /* the stream is complete */
    gate_err_t failed; /* stays */
};

gate_err_t gi_join_new(const gi_join_options_t *options, gi_join_t **out) {
    gi_join_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return gi_err(GATE_NOMEM, "a huge result's receiver");
    self->max_bytes = options->max_bytes ? options->max_bytes : UINT64_MAX;
    self->ratio_max = options->size ? 0 : options->ratio_max;
    self->size = options->size;
    if (self->size && self->size < self->max_bytes)
        self->max_bytes = self->size;
    gate_err_t e = GATE_OK;
    if (gi_codec_find(options->codec) == &gi_codec_gzip) {
        self->gunzip = gi_gunzip_new(GI_ENGINE_AUTO, true);
        if (!self->gunzip)
            e = gi_err(GATE_NOMEM, "a huge result's receiver");
    } else {
        e = gi_codec_open(options->codec, false, 0, &self->codec);
    }
    if (e == GATE_OK)
        *out = self;
    else
        gi_mem_free(self);
    return e;
}

void gi_join_destroy(gi_join_t **self_p) {
    gi_join_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_gunzip_destroy(&self->gunzip);
    gi_codec_close(&self->codec);
    gi_mem_free(self);
}

static gate_err_t s_check(const gi_join_t *self) {
    if (self->size &&
        (self->out > self->size || (self->ended && self->out < self->size)))
        return gi_err(GATE_BADDATA,
                      "a huge result of %s than the %llu bytes announced",
                      self->out > self->size ? "more" : "fewer",
                      (unsigned long long)self->size);
    if (self->out > self->max_bytes)
        return gi_err(GATE_TOOBIG, "a huge result of more than %llu bytes",
                      (unsigned long long)self->max_bytes);
    if (self->ratio_max && self->out > GI_JOIN_RATIO_FROM &&
        self->out / self->ratio_max > self->in)
        return gi_err(GATE_TOOBIG,
                      "a huge result that expands more than %llu times",
                      (unsigned long long)self->ratio_max);
    if (self->in > GI_JOIN_RATIO_FROM + self->out * S_SHRINK_MAX)
        return gi_err(GATE_BADDATA, "a compressed stream without data in it");
    return GATE_OK;
}

/* The bytes behind the stream's end: an END that is not a frame of its own. */
static gate_err_t s_after(gi_join_t *self, gate_bytes_t *in) {
    size_t n = S_END_SIZE - self->n_end;
    n = in->size < n ? in->size : n;
    if (n && memcmp(in->data, &GI_HUGE_END[self->n_end], n))
        n = 0;
    self->n_end += n;
    gi_codec_used(in, n);
    if (in->size)
        return gi_err(GATE_BADDATA, "data after the end of a huge result");
    return GATE_OK;
}

/* Bounds what one step may write, so that a cap is passed by one byte at most:
 * that byte shows that there is more. */
static size_t s_room(const gi_join_t *self, size_t room) {
    uint64_t left = self->max_bytes - self->out;
    return left < room ? (size_t)left + 1 : room;
}

static gate_err_t s_step(gi_join_t *self, gate_bytes_t *in, void *out,
                         size_t *out_size, bool finish) {
    size_t before = in->size;
    *out_size = s_room(self, *out_size);
    gate_err_t e = self->gunzip
                       ? gi_gunzip_step(self->gunzip, in, out, out_size, finish)
                       : gi_codec_step(self->codec, in, out, out_size, finish);
    self->in += before - in->size;
    self->out += *out_size;
    self->ended = e == GATE_EOS;
    if (e != GATE_OK && e != GATE_EOS)
        return e;
    gate_err_t bad = s_check(self);
    return bad != GATE_OK ? bad : e;
}

/* Remembers a failure; what was written with it is not the caller's. */
static gate_err_t s_settle(gi_join_t *self, gate_err_t e, size_t *out_size) {
    if (e == GATE_OK || e == GATE_EOS)
        return e;
    *out_size = 0;
    self->failed = e;
    return e;
}

gate_err_t gi_join_step(gi_join_t *self, gate_bytes_t *in, void *out,
                        size_t *out_size) {
    gate_err_t e = GATE_EOS;
    if (self->failed != GATE_OK || self->ended)
        *out_size = 0;
    if (self->failed != GATE_OK)
        return gi_err(self->failed, "the huge result is broken already");
    if (!self->ended)
        e = s_step(self, in, out, out_size, false);
    if (e == GATE_EOS)
        e = s_after(self, in);
    return s_settle(self, e, out_size);
}

gate_err_t gi_join_end(gi_join_t *self, void *out, size_t *out_size) {
    gate_bytes_t none = {NULL, 0};
    size_t room = *out_size;
    *out_size = 0;
    if (self->failed != GATE_OK)
        return gi_err(self->failed, "the huge result is broken already");
    if (!self->ended && !self->in)
        return s_settle(self, gi_err(GATE_BADDATA, "an empty huge result"),
                        out_size);
    if (self->ended && self->n_end % S_END_SIZE)
        return s_settle(
            self, gi_err(GATE_BADDATA, "data after the end of a huge result"),
            out_size);
    if (self->ended)
        return GATE_EOS;
    *out_size = room;
    return s_settle(self, s_step(self, &none, out, out_size, true), out_size);
}

bool gi_join_saw_end(const gi_join_t *self) {
    return self->ended && self->n_end == S_END_SIZE;
}
