/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_huge.c -- an answer as bytes. The reader's own thread inflates what it
 * takes: nothing runs ahead of it but the chunks that its credit allows.
 *
 *   chunks -> inflater -> msgpack bytes -> head off -> the content's bytes
 *                               `-> all of them -> a value (next) */
#include "async/stream_core.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "sync/actor_thread.h"
#include "base/err.h"
#include "settings/settings.h"
#include "base/mem.h"
#include "value/mp.h"

#define S_PIECE ((size_t)256 << 10)

/* ---- the producer -------------------------------------------------------- */
void gi_stream_begin_huge(gate_stream_t *self, const gi_inflate_t *ops,
                          void *inflater, uint64_t size) {
    pthread_mutex_lock(&self->mutex);
    self->huge = true;
    self->inflate = ops;
    self->inflater = inflater;
    self->packed_size = size;
    pthread_mutex_unlock(&self->mutex);
}

void gi_stream_push_huge(gate_stream_t *self, const void *data, size_t size,
                         gi_release_fn *release, void *hint) {
    gi_stream_begin_huge(self, NULL, NULL, size);
    gate_err_t e = gi_stream_push(self, data, size, release, hint, 0);
    if (e) {
        gate_error_t story = {e, gi_err_class(e), gate_err_text(e), ""};
        gi_stream_fail(self, &story);
    } else {
        gi_stream_end(self);
    }
}

/* ---- msgpack bytes ------------------------------------------------------- */
static void s_free_chunk(gate_stream_t *self) {
    gi_stream_item_t *chunk = &self->reader.chunk;

    if (chunk->data && chunk->release)
        chunk->release(chunk->hint);
    *chunk = (gi_stream_item_t){0};
    self->reader.in = (gate_bytes_t){NULL, 0};
}

void gi_stream_reader_fini(gate_stream_t *self) {
    s_free_chunk(self);
    gi_buf_fini(&self->reader.whole);
    if (self->inflate)
        self->inflate->destroy(self->inflater);
}

/* The next chunk into hand, or *end. */
static gate_err_t s_take_chunk(gate_stream_t *self, int64_t timeout_ms,
                               bool *end) {
    gi_stream_reader_t *r = &self->reader;
    gate_err_t waited, e;

    pthread_mutex_lock(&self->mutex);
    waited = gi_stream_await(self, timeout_ms);
    e = waited == GATE_OK ? gi_stream_take(self, &r->chunk) : waited;
    pthread_mutex_unlock(&self->mutex);
    if (waited != GATE_OK)
        return gi_stream_tell_wait(self, waited, timeout_ms);
    *end = e == GATE_EOS;
    if (e == GATE_OK)
        r->in = (gate_bytes_t){r->chunk.data, r->chunk.size};
    else if (e != GATE_EOS)
        return gi_error_publish(&self->error);
    return GATE_OK;
}

/* One step of the inflater, or of none. */
static gate_err_t s_step(gate_stream_t *self, bool end, void *out, size_t *n) {
    gate_bytes_t *in = &self->reader.in;

    if (self->inflate)
        return self->inflate->step(self->inflater, in, end, out, n);
    *n = in->size < *n ? in->size : *n;
    if (*n) {
        memcpy(out, in->data, *n);
        in->data = (const char *)in->data + *n;
        in->size -= *n;
    }
    return end ? GATE_EOS : GATE_OK;
}

/* Gives some msgpack bytes; GATE_EOS: complete. */
static gate_err_t s_inflate(gate_stream_t *self, int64_t timeout_ms, void *out,
                            size_t *size) {
    gi_stream_reader_t *r = &self->reader;
    bool end = false;

    while (!r->complete) {
        size_t n = *size;
        gate_err_t e = GATE_OK;
        if (!r->chunk.data)
            e = s_take_chunk(self, timeout_ms, &end);
        if (e != GATE_OK)
            return e;
        e = s_step(self, end, out, &n);
        if (e != GATE_OK && e != GATE_EOS) {
            gi_stream_break(self);
            s_free_chunk(self);
            return e;
        }
        r->complete = e == GATE_EOS;
        if (r->complete || (!r->in.size && n < *size))
            s_free_chunk(self);
        if (n) {
            *size = n;
            return GATE_OK;
        }
    }
    return GATE_EOS;
}

/* ---- whole --------------------------------------------------------------- */
static gate_err_t s_grow(gate_stream_t *self) {
    gi_buf_t *whole = &self->reader.whole;
    uint64_t max = (uint64_t)gi_settings_huge_packed_max(self->settings);

    /* what was announced is known with the first bytes */
    if (whole->size > max || (whole->size && self->packed_size > max &&
                              self->packed_size != UINT64_MAX))
        return gi_err(GATE_TOOBIG,
                      "a huge result of more than huge_max_bytes = %llu bytes: "
                      "read it with gate_stream_read",
                      (unsigned long long)self->settings->huge_max_bytes);
    if (!gi_buf_reserve(whole, S_PIECE))
        return gi_err(GATE_NOMEM, "no memory for a huge result");
    return GATE_OK;
}

static size_t s_head_size(unsigned first);

/* What was read to see what comes is its first bytes. */
static bool s_take_head(gate_stream_t *self) {
    gi_stream_reader_t *r = &self->reader;
    size_t n = r->content ? s_head_size(r->head[0]) : r->n_head;

    return gi_buf_append(&r->whole, r->head, n);
}

gate_err_t gi_stream_whole(gate_stream_t *self, int64_t timeout_ms) {
    gi_stream_reader_t *r = &self->reader;
    gate_err_t e = GATE_OK;
    void *data;
    size_t n;

    if (r->done || r->at_head)
        return gi_err(GATE_BADARG, "the answer is being read as bytes");
    if (self->single)
        return GATE_EOS;
    if (r->begun && !r->whole.size && !s_take_head(self))
        return gi_err(GATE_NOMEM, "no memory for a huge result");
    while (e == GATE_OK) {
        e = s_grow(self);
        if (e != GATE_OK)
            gi_stream_break(self);
        n = r->whole.room - r->whole.size;
        if (e == GATE_OK)
            e = s_inflate(self, timeout_ms, r->whole.data + r->whole.size, &n);
        if (e == GATE_OK)
            r->whole.size += n;
    }
    if (e != GATE_EOS)
        return e;
    self->single = true;
    data = gi_buf_take(&r->whole, &n);
    return gi_value_take_huge(data, n, gi_mem_free, data, self->settings,
                              &self->value);
}

/* ---- as bytes ------------------------------------------------------------ */
/* A str's or bin's head, once it is there; n_head bytes otherwise are content
 * themselves. */
static size_t s_head_size(unsigned first) {
    if (first >= 0xa0 && first <= 0xbf)
        return 1;
    if (first >= 0xc4 && first <= 0xc6)
        return 1 + (1u << (first - 0xc4));
    if (first >= 0xd9 && first <= 0xdb)
        return 1 + (1u << (first - 0xd9));
    return 0;
}

static void s_know(gate_stream_t *self, size_t head) {
    gi_stream_reader_t *r = &self->reader;
    gi_mp_t h;

    r->begun = true;
    r->total = self->packed_size;
    r->content = head && r->n_head >= head;
    if (!r->content)
        return;
    gi_mp_head(r->head, r->n_head, &h);
    r->total = h.n;
    r->n_head = 0; /* a head of so few bytes came alone */
}

/* Reads as much as shows what it is. */
static gate_err_t s_begin(gate_stream_t *self, int64_t timeout_ms) {
    gi_stream_reader_t *r = &self->reader;
    size_t want = 1;

    while (!r->begun && r->n_head < want) {
        size_t n = want - r->n_head;
        gate_err_t e = s_inflate(self, timeout_ms, r->head + r->n_head, &n);
        if (e == GATE_EOS)
            break;
        if (e != GATE_OK)
            return e;
        r->n_head += n;
        if (s_head_size(r->head[0]))
            want = s_head_size(r->head[0]);
    }
    if (!r->begun)
        s_know(self, s_head_size(r->head[0]));
    return GATE_OK;
}

static gate_err_t s_bad(gate_stream_t *self, const char *what) {
    gate_err_t e = gi_err(GATE_BADDATA, "a huge result with %s", what);

    gi_stream_break(self);
    return e;
}

/* What must hold when some or no more bytes come. */
static gate_err_t s_check(gate_stream_t *self, bool end) {
    const gi_stream_reader_t *r = &self->reader;

    if (r->content && r->done > r->total)
        return s_bad(self, "bytes behind its value");
    if (r->content && end && r->done < r->total)
        return s_bad(self, "less bytes than its value has");
    return GATE_OK;
}

static gate_err_t s_read_huge(gate_stream_t *self, void *buf, size_t *size) {
    gi_stream_reader_t *r = &self->reader;
    size_t left = r->n_head - r->at_head, n = *size;
    gate_err_t e = GATE_OK;

    if (left) {
        n = left < n ? left : n;
        memcpy(buf, r->head + r->at_head, n);
        r->at_head += n;
    } else {
        e = s_inflate(self, self->options.timeout_ms, buf, &n);
        if (e != GATE_OK && e != GATE_EOS)
            return e;
    }
    if (e == GATE_OK)
        r->done += n;
    gate_err_t bad = s_check(self, e == GATE_EOS);
    if (bad != GATE_OK)
        return bad;
    *size = e == GATE_OK ? n : 0;
    return e;
}

/* A plain answer: decoded first, then given. */
static gate_err_t s_begin_plain(gate_stream_t *self) {
    gi_stream_reader_t *r = &self->reader;
    const msgpack_object *o;
    gate_err_t e = gate_stream_next_(self, gate_onone(NULL));

    if (e != GATE_OK)
        return e;
    o = gate_value_object(self->value);
    r->begun = true;
    r->content = o->type == MSGPACK_OBJECT_STR || o->type == MSGPACK_OBJECT_BIN;
    r->plain = !r->content ? gate_value_bytes(self->value)
               : o->type == MSGPACK_OBJECT_STR
                   ? (gate_bytes_t){o->via.str.ptr, o->via.str.size}
                   : (gate_bytes_t){o->via.bin.ptr, o->via.bin.size};
    r->total = r->plain.size;
    return GATE_OK;
}

static gate_err_t s_read_plain(gate_stream_t *self, void *buf, size_t *size) {
    gi_stream_reader_t *r = &self->reader;
    size_t n = r->plain.size < *size ? r->plain.size : *size;

    if (!r->plain.size) {
        *size = 0;
        return GATE_EOS;
    }
    memcpy(buf, r->plain.data, n);
    r->plain.data = (const char *)r->plain.data + n;
    r->plain.size -= n;
    r->done += n;
    *size = n;
    return GATE_OK;
}

/* Waits until it is known what the answer is; *over: its end is all there is. */
static gate_err_t s_kind(gate_stream_t *self, int64_t timeout_ms,
                         gate_stream_kind_t *out, bool *over) {
    gate_err_t e = GATE_OK;

    pthread_mutex_lock(&self->mutex);
    if (!self->huge && !self->single)
        e = gi_stream_await(self, timeout_ms);
    if (self->huge)
        *out = GATE_STREAM_HUGE;
    else if (self->single ||
             (self->count && self->ring[self->head & (self->room - 1)].reply))
        *out = GATE_STREAM_PLAIN;
    else
        *out = e == GATE_OK ? GATE_STREAM_ITEMS : GATE_STREAM_UNKNOWN;
    *over = self->ended && !self->count;
    pthread_mutex_unlock(&self->mutex);
    return e;
}

gate_err_t gate_stream_read(gate_stream_t *self, void *buf, size_t *size) {
    if (gi_err_null(self, "gate_stream_read"))
        return GATE_BADARG;
    if (gi_err_null(size, "gate_stream_read: the size"))
        return GATE_BADARG;
    int64_t timeout_ms = self->options.timeout_ms;
    gate_stream_kind_t kind = GATE_STREAM_UNKNOWN;
    bool over = false;
    gate_err_t e = gi_stream_unborn(self);

    if (e)
        return e;
    self->late.story.code = GATE_OK;
    e = s_kind(self, timeout_ms ? timeout_ms : 1, &kind, &over);
    if (e != GATE_OK)
        return gi_stream_tell_wait(self, e, timeout_ms);
    if (kind == GATE_STREAM_ITEMS && (!over || !*size)) {
        if (!*size)
            return GATE_OK;
        return gi_err(GATE_BADARG, "a stream of items: read it with "
                                   "gate_stream_next");
    }
    if (kind == GATE_STREAM_ITEMS) /* no answer but an end or an error */
        return gate_stream_next_(self, gate_onone(NULL));
    if (self->single && !self->reader.begun && self->error.story.code)
        return gi_error_publish(&self->error);
    if (self->single && !self->reader.begun)
        return gi_err(GATE_BADARG, "the answer was taken by gate_stream_next");
    if (!self->reader.begun)
        e = kind == GATE_STREAM_HUGE ? s_begin(self, timeout_ms)
                                     : s_begin_plain(self);
    if (e != GATE_OK || !*size)
        return e;
    return kind == GATE_STREAM_HUGE ? s_read_huge(self, buf, size)
                                    : s_read_plain(self, buf, size);
}

gate_err_t gate_stream_to_fn(gate_stream_t *self, gate_piece_fn *fn,
                             void *ctx) {
    if (gi_err_null(self, "gate_stream_to_fn"))
        return GATE_BADARG;
    if (!fn) {
        gi_err_null_say("gate_stream_to_fn: the function");
        return GATE_BADARG;
    }
    char *buf = gi_mem_alloc(S_PIECE);
    gate_err_t e = buf ? GATE_OK : gi_err(GATE_NOMEM, "reading a huge result");

    while (e == GATE_OK) {
        size_t size = S_PIECE;
        e = gate_stream_read(self, buf, &size);
        if (e == GATE_OK)
            e = fn(ctx, buf, size);
    }
    gi_mem_free(buf);
    return e == GATE_EOS ? GATE_OK : e;
}

static gate_err_t s_write(void *ctx, const void *data, size_t size) {
    const int *fd = ctx;
    const char *p = data;

    while (size) {
        ssize_t n = write(*fd, p, size);
        if (n < 0 && errno == EAGAIN)
            poll(&(struct pollfd){*fd, POLLOUT, 0}, 1, -1);
        else if (n < 0 && errno != EINTR)
            return gi_err_errno("writing a huge result");
        if (n > 0) {
            p += n;
            size -= (size_t)n;
        }
    }
    return GATE_OK;
}

gate_err_t gate_stream_to_fd(gate_stream_t *self, int fd) {
    if (gi_err_null(self, "gate_stream_to_fd"))
        return GATE_BADARG;
    return gate_stream_to_fn(self, s_write, &fd);
}

void gate_stream_progress(const gate_stream_t *self, gate_progress_t *out) {
    if (gi_err_null(self, "gate_stream_progress"))
        return;
    if (gi_err_null(out, "gate_stream_progress: where it goes"))
        return;
    gate_stream_t *stream = (gate_stream_t *)(uintptr_t)self;
    const gi_stream_reader_t *r = &self->reader;
    gate_stream_kind_t kind = GATE_STREAM_UNKNOWN;
    bool over;

    if (s_kind(stream, 0, &kind, &over)) {
        /* nothing came yet: not known */
    }
    pthread_mutex_lock(&stream->mutex);
    *out = (gate_progress_t){.kind = kind,
                             .content = r->begun && r->content,
                             .done = r->done,
                             .total = r->begun ? r->total : UINT64_MAX,
                             .wire = self->wire};
    pthread_mutex_unlock(&stream->mutex);
}
