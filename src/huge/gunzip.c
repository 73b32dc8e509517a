/* SPDX-License-Identifier: BSD-3-Clause */
/* gunzip.c -- header, deflate, trailer, one state each; the inflating is
 * zlib's or ISA-L's, the CRC is ours, so that both can be told apart from a
 * missing trailer.
 *
 *   HEAD -> [EXTRA_SIZE -> EXTRA] -> [NAME] -> [COMMENT] -> [HCRC]
 *        -> BODY -> TAIL -> DONE
 */
#include "huge/gunzip.h"
#include "huge/codec.h"
#include "base/err.h"
#include "huge/isal.h"
#include "base/mem.h"
#include <limits.h>
#include <string.h>
#include <zlib.h>
#include "huge/zmem.h"

#define S_TEXT_MAX 4096 /* of a name or comment in the header */

enum {
    S_FHCRC = 2,
    S_FEXTRA = 4,
    S_FNAME = 8,
    S_FCOMMENT = 16,
    S_RESERVED = 224
};

typedef enum s_state {
    S_HEAD,
    S_EXTRA_SIZE,
    S_EXTRA,
    S_NAME,
    S_COMMENT,
    S_HCRC,
    S_BODY,
    S_TAIL,
    S_DONE
} s_state_t;

struct gi_gunzip {
    s_state_t state;
    bool wire;               /* as a peer's result comes (gunzip.h) */
    unsigned char field[10]; /* the header, extra size or trailer so far */
    size_t n_field;          /* bytes in field, or of a text so far */
    size_t n_extra;          /* bytes of the extra field still to skip */
    gi_member_t member;      /* what came out so far */
    void *isal;              /* ISA-L's state; NULL = zlib is used */
    z_stream zlib;
    bool has_zlib; /* zlib is initialised */
};

gi_gunzip_t *gi_gunzip_new(gi_engine_t engine, bool wire) {
    gi_gunzip_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->wire = wire;
    if (GI_ISAL_BUILT && engine != GI_ENGINE_ZLIB) {
        self->isal = gi_isal_inflate_new();
    } else {
        gi_zmem_use(&self->zlib);
        self->has_zlib = inflateInit2(&self->zlib, -15) == Z_OK;
    }
    if (self->isal || self->has_zlib)
        return self;
    gi_mem_free(self);
    return NULL;
}

void gi_gunzip_destroy(gi_gunzip_t **self_p) {
    gi_gunzip_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    if (self->has_zlib)
        (void)inflateEnd(&self->zlib);
    gi_isal_free(self->isal);
    gi_mem_free(self);
}

/* ---- header -------------------------------------------------------------- */
/* Collects bytes of in until field holds size of them. */
static bool s_collect(gi_gunzip_t *self, gate_bytes_t *in, size_t size) {
    size_t n = size - self->n_field;
    n = in->size < n ? in->size : n;
    if (n)
        memcpy(self->field + self->n_field, in->data, n);
    self->n_field += n;
    gi_codec_used(in, n);
    return self->n_field == size;
}

/* The first state after `after` whose part the header has. */
static void s_next_part(gi_gunzip_t *self, s_state_t after) {
    static const struct {
        s_state_t state;
        int flag;
    } parts[] = {{S_EXTRA_SIZE, S_FEXTRA},
                 {S_NAME, S_FNAME},
                 {S_COMMENT, S_FCOMMENT},
                 {S_HCRC, S_FHCRC}};
    self->n_field = 0;
    self->state = S_BODY;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].state > after && (self->field[3] & parts[i].flag)) {
            self->state = parts[i].state;
            return;
        }
}

static gate_err_t s_head(gi_gunzip_t *self, gate_bytes_t *in) {
    /* say so at the first byte that is wrong, not at the tenth */
    bool whole = s_collect(self, in, GI_GZIP_HEAD_SIZE);
    size_t n = self->n_field < 3 ? self->n_field : 3;
    if (memcmp(self->field, gi_gzip_head, n))
        return gi_err(GATE_BADDATA, "not a gzip stream");
    if (!whole)
        return GATE_OK;
    int flags = self->field[3];
    if (flags & S_RESERVED)
        return gi_err(GATE_BADDATA, "unknown gzip flags 0x%02x", flags);
    if (self->wire && (flags & (S_FNAME | S_FCOMMENT)))
        return gi_err(GATE_BADDATA, "a gzip header with a name or comment");
    s_next_part(self, S_HEAD);
    return GATE_OK;
}

static gate_err_t s_extra_size(gi_gunzip_t *self, gate_bytes_t *in) {
    /* kept behind the flags, which are still needed */
    while (in->size && self->n_field < 2) {
        self->field[4 + self->n_field++] = *(const unsigned char *)in->data;
        gi_codec_used(in, 1);
    }
    if (self->n_field < 2)
        return GATE_OK;
    self->n_extra = self->field[4] | (size_t)self->field[5] << 8;
    self->state = S_EXTRA;
    return GATE_OK;
}

static gate_err_t s_extra(gi_gunzip_t *self, gate_bytes_t *in) {
    size_t n = in->size < self->n_extra ? in->size : self->n_extra;
    gi_codec_used(in, n);
    self->n_extra -= n;
    if (!self->n_extra)
        s_next_part(self, S_EXTRA);
    return GATE_OK;
}

static gate_err_t s_text(gi_gunzip_t *self, gate_bytes_t *in) {
    while (in->size) {
        bool end = !*(const char *)in->data;
        gi_codec_used(in, 1);
        if (end) {
            s_next_part(self, self->state);
            return GATE_OK;
        }
        if (++self->n_field > S_TEXT_MAX)
            return gi_err(GATE_BADDATA, "a gzip header without an end");
    }
    return GATE_OK;
}

static gate_err_t s_hcrc(gi_gunzip_t *self, gate_bytes_t *in) {
    size_t n = 2 - self->n_field;
    n = in->size < n ? in->size : n;
    gi_codec_used(in, n);
    self->n_field += n;
    if (self->n_field == 2)
        s_next_part(self, S_HCRC);
    return GATE_OK;
}

/* ---- body, trailer ------------------------------------------------------- */
static gate_err_t s_inflate(gi_gunzip_t *self, gate_bytes_t *in, void *out,
                            size_t *out_size) {
    z_stream *z = &self->zlib;
    uInt size = in->size > UINT_MAX ? UINT_MAX : (uInt)in->size;
    uInt room = *out_size > UINT_MAX ? UINT_MAX : (uInt)*out_size;
    z->next_in = (Bytef *)(uintptr_t)in->data;
    z->avail_in = size;
    z->next_out = out;
    z->avail_out = room;
    int rc = inflate(z, Z_NO_FLUSH);
    gi_codec_used(in, size - z->avail_in);
    *out_size = room - z->avail_out;
    if (rc == Z_STREAM_END)
        return GATE_EOS;
    if (rc == Z_MEM_ERROR)
        return gi_err(GATE_NOMEM, "inflating");
    if (rc == Z_OK || rc == Z_BUF_ERROR) /* the latter: no progress */
        return GATE_OK;
    return gi_err(GATE_BADDATA, "not a sound deflate stream: %s",
                  z->msg ? z->msg : "");
}

static gate_err_t s_tail(gi_gunzip_t *self, gate_bytes_t *in) {
    unsigned char want[GI_GZIP_TAIL_SIZE];
    if (!s_collect(self, in, sizeof want))
        return GATE_OK;
    gi_member_tail(&self->member, want);
    if (memcmp(self->field, want, 4))
        return gi_err(GATE_BADDATA, "gzip: the CRC is wrong");
    if (memcmp(self->field + 4, want + 4, 4))
        return gi_err(GATE_BADDATA, "gzip: the length is wrong");
    self->state = S_DONE;
    return GATE_OK;
}

static gate_err_t s_body(gi_gunzip_t *self, gate_bytes_t *in, void *out,
                         size_t *out_size) {
    unsigned char spill[8];
    size_t n_spill = 0;
    gate_err_t e = self->isal ? gi_isal_inflate(self->isal, in, out, out_size,
                                                spill, &n_spill)
                              : s_inflate(self, in, out, out_size);
    self->member.crc = gi_crc32(self->member.crc, out, *out_size);
    self->member.size += *out_size;
    if (e != GATE_EOS)
        return e;
    self->state = S_TAIL;
    self->n_field = 0;
    gate_bytes_t rest = {spill, n_spill};
    return s_tail(self, &rest);
}

static gate_err_t s_turn(gi_gunzip_t *self, gate_bytes_t *in, void *out,
                         size_t *out_size) {
    if (self->state == S_BODY)
        return s_body(self, in, out, out_size);
    *out_size = 0;
    switch (self->state) {
    case S_HEAD:
        return s_head(self, in);
    case S_EXTRA_SIZE:
        return s_extra_size(self, in);
    case S_EXTRA:
        return s_extra(self, in);
    case S_NAME:
    case S_COMMENT:
        return s_text(self, in);
    case S_HCRC:
        return s_hcrc(self, in);
    case S_TAIL:
        return s_tail(self, in);
    case S_BODY:
    case S_DONE:
        break;
    }
    return GATE_OK;
}

/* Nothing more will come: is it a whole stream? */
static gate_err_t s_finish(const gi_gunzip_t *self) {
    if (self->state == S_TAIL && !self->n_field && self->wire)
        return GATE_EOS;
    if (self->state == S_HEAD && !self->n_field)
        return gi_err(GATE_BADDATA, "an empty gzip stream");
    return gi_err(GATE_BADDATA, "the gzip stream is truncated");
}

gate_err_t gi_gunzip_step(gi_gunzip_t *self, gate_bytes_t *in, void *out,
                          size_t *out_size, bool finish) {
    size_t room = *out_size, done = 0;
    while (self->state != S_DONE) {
        s_state_t before = self->state;
        size_t left = in->size, n = room - done;
        gate_err_t e = s_turn(self, in, (char *)out + done, &n);
        done += n;
        *out_size = done;
        if (e != GATE_OK)
            return e;
        if (before == self->state && left == in->size && !n)
            return finish && !in->size && done < room ? s_finish(self)
                                                      : GATE_OK;
    }
    return GATE_EOS;
}
