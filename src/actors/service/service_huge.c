/* SPDX-License-Identifier: BSD-3-Clause */
/* service_huge.c -- a huge result on its way to its reader (docs/wire.md, huge
 * data): compressed by the runtime's helpers, which no handler can hold up, and
 * pulled by the actor while there is credit, like a generator.
 *
 *   begun --chunks--> all sent --> END        and its handler is back: the call
 *      `--failed, cancelled--> exception      ends
 *
 * Local readers get the bytes as they are. A reader that never said what it
 * reads gets GI_HUGE_FIRST bytes; when no credit has come for a while then it
 * knows none, and the socket alone is its bound. */
#include "service/service_huge.h"
#include "service/service_own.h"
#include "service/service_call.h"

#include <stdio.h>
#include <string.h>
#include "mail/logring.h"
#include "sync/clock.h"
#include "huge/codec.h"
#include "base/err.h"
#include "settings/settings.h"
#include "base/mem.h"
#include "base/origin.h"

#define S_PULL_MAX 16             /* chunks of one call per pass */
#define S_LOOK_MS 10              /* between looks at what waits */
#define S_PROBE_MS 250            /* how long a sign of credit may take */
#define S_OURS ((int64_t)1 << 20) /* the threshold between our own peers */

/* ---- which results, which codec ------------------------------------------ */
static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* What a frame may have on the call's way. */
static int64_t s_frame_max(const gi_scall_t *c) {
    int64_t ours = c->service->is.settings->message_bytes_max;
    int64_t brokers = c->link ? c->link->frame_max : 0;
    return brokers ? s_min(ours, brokers) : ours;
}

bool gi_shuge_wants(const gi_life_t *life) {
    const gi_scall_t *c = gi_scall_of((gi_life_t *)(uintptr_t)life);
    const gate_settings_t *s = c->service->is.settings;
    int64_t size = (int64_t)c->call.out.size;
    if (!gi_scall_has_caller(c))
        return false;
    int64_t most = s_frame_max(c) - GI_RPC_OK_OVERHEAD;
    int64_t threshold = gi_settings_huge_threshold(s);
    if (!threshold && size > S_OURS) /* else it does not matter */
        threshold = gi_readers_codecs(c) ? S_OURS : s->huge_plain_max;
    return size > most || (threshold && size > threshold);
}

static bool s_listed(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, name, size) == 0 && (p[size] == ',' || !p[size]))
            return true;
    }
    return false;
}

/* Its reader learns the size before the first byte. Else it holds the stream to
 * huge_ratio_max, which gzip can be kept below; the others cannot. */
static bool s_says_size(const gi_shuge_t *h) {
    return h->begin.size != UINT64_MAX && gi_readers_codecs(h->call);
}

/* Names the codec in h->begin: the one wished for, or one that is read. */
static gate_err_t s_choose_codec(gi_shuge_t *h) {
    const char *usual =
        h->call->service->is.settings->huge_data_compress_module;
    const char *read = gi_readers_codecs(h->call);
    char *codec = h->begin.codec;
    bool wished = *codec;
    if (!wished)
        snprintf(codec, sizeof h->begin.codec, "%s",
                 s_says_size(h) || !read ? usual : "gzip");
    if (read ? s_listed(read, codec) : !strcmp(codec, usual))
        return GATE_OK;
    if (!wished && s_listed(read, "gzip")) {
        strcpy(codec, "gzip");
        return GATE_OK;
    }
    return gi_err(GATE_NOTIMPL, "a huge result in %s: the caller reads %s",
                  codec, read ? read : usual);
}

/* ---- life ---------------------------------------------------------------- */
/* On any thread; the service outlives its packs. */
static void s_ready(void *arg) {
    gate_service_t *self = arg;
    gi_lock(&self->shared.lock);
    bool tell = !self->shared.ready;
    self->shared.ready = true;
    gi_unlock(&self->shared.lock);
    if (!tell ||
        !gi_mailbox_push(self->is.mailbox, &self->shared.ready_mail, 0))
        return;
    gi_lock(&self->shared.lock); /* full: the actor looks by itself soon */
    self->shared.ready = false;
    gi_unlock(&self->shared.lock);
}

static gate_err_t s_pack(gi_shuge_t *h) {
    gate_service_t *self = h->call->service;
    const gate_settings_t *s = self->is.settings;
    gate_err_t e = s_choose_codec(h);
    if (e)
        return e;
    gi_huge_pack_options_t options = {
        .codec = h->begin.codec,
        .level =
            h->begin.level ? h->begin.level : (int)s->huge_data_compress_level,
        .chunk_bytes = (size_t)s_min(s->huge_chunk_bytes, s_frame_max(h->call)),
        .mode = gi_policy_mode(s->huge_policy),
        .bounded = !s_says_size(h),
        .flush_ms = GI_HUGE_FLUSH_MS,
        .ready = s_ready,
        .ctx = self};
    e = gi_huge_pack_new(gi_runtime_helpers(self->is.rt), &options, &h->pack);
    if (!e && h->data.size) {
        e = gi_huge_pack_source(h->pack, h->head, h->data);
        h->finished = true;
    }
    return e;
}

/* How much may go out before the reader says anything. */
static void s_open_window(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    if (!c->link || c->life.credited)
        return;
    c->life.credit.items = GI_CREDIT_FREE;
    c->life.credit.bytes =
        c->link->ext ? (int64_t)GI_HUGE_FIRST : GI_CREDIT_FREE;
    c->life.credited = c->link->ext;
    h->probing = c->life.credited && !c->early && !gi_readers_codecs(c);
    gi_credit_give(&c->life.credit, 0, c->early);
}

void gi_shuge_attach(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    gate_service_t *self = c->service;
    c->huge = h;
    h->next = self->own->huges;
    if (h->next)
        h->next->prev = h;
    self->own->huges = h;
    self->own->stats.huge++;
    s_open_window(h);
    gate_err_t e = c->link ? s_pack(h) : GATE_OK;
    gate_error_t story = *gate_error();
    gi_life_bulk_begun(&c->life);
    if (h->ended)
        gi_life_bulk_fed(&c->life);
    if (e)
        gi_shuge_fail(h, &story);
}

static void s_close(gi_shuge_t *h, gate_err_t outcome) {
    gate_service_t *self = h->call->service;
    h->closed = true;
    gi_life_bulk_closed(&h->call->life, outcome);
    if (h->prev)
        h->prev->next = h->next;
    else
        self->own->huges = h->next;
    if (h->next)
        h->next->prev = h->prev;
    h->prev = h->next = NULL;
    gi_huge_pack_destroy(&h->pack);
    gi_sfeed_drop(h);
}

/* Its producer stops as soon as it notices; nobody reads on. */
static void s_stop_producer(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    if (!h->ended && c->ticket)
        gi_pool_cancel(c->pool, c->ticket);
}

/* ---- the last message ---------------------------------------------------- */
static void s_send_exception(gi_scall_t *c, const gate_error_t *story) {
    gate_service_t *self = c->service;
    gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    if (gi_rpc_pack_triple(&self->own->scratch, story->cls, story->text,
                           story->traceback))
        gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    gi_frames_t *out = gi_scall_answer(c);
    if (!out)
        return;
    gi_frames_add(out, GI_HUGE_TAG, strlen(GI_HUGE_TAG));
    gi_frames_add(out, GI_STREAM_EXCEPTION, strlen(GI_STREAM_EXCEPTION));
    gi_frames_add(out, self->own->scratch.data, self->own->scratch.size);
    gi_link_send(c->link);
}

void gi_shuge_fail(gi_shuge_t *h, const gate_error_t *story) {
    gi_scall_t *c = h->call;
    gate_error_t told = *story;
    if (h->closed)
        return;
    if (c->service->is.settings->secure &&
        gi_origin_of(told.traceback) == GI_ORIGIN_HANDLER)
        told.traceback = GI_BY_HANDLER;
    if (c->link && h->sent)
        s_send_exception(c, &told);
    else
        gi_scall_answer_error(c, &told);
    s_stop_producer(h);
    s_close(h, told.code);
}

static void s_end_local(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    size_t size;
    if (c->trace.told)
        gi_service_trace_tell(c);
    if (c->stream) {
        gi_stream_end(c->stream);
    } else if (c->future) {
        void *data = gi_buf_take(&h->whole, &size);
        gi_scall_own_future(c);
        gi_future_complete_huge(gi_scall_take_future(c), data, size,
                                gi_mem_free, data);
    }
}

static void s_end(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    gi_frames_t *out = c->link ? gi_scall_answer(c) : NULL;
    if (out) {
        gi_frames_add(out, GI_HUGE_TAG, strlen(GI_HUGE_TAG));
        gi_frames_add(out, GI_HUGE_END, strlen(GI_HUGE_END));
        if (gi_service_trace_on(c))
            gi_service_trace_add(c, out);
        gi_link_send(c->link);
    } else if (!c->link) {
        s_end_local(h);
    }
    s_close(h, GATE_OK);
}

/* ---- chunks -------------------------------------------------------------- */
/* The first chunk says what follows, to readers that understand it. */
static void s_add_ext(gi_shuge_t *h, gi_frames_t *out) {
    gate_service_t *self = h->call->service;
    gi_ext_t ext;
    if (h->sent || !gi_readers_codecs(h->call))
        return;
    gi_ext_init(&ext);
    ext.codecs = (gate_bytes_t){h->begin.codec, strlen(h->begin.codec)};
    if (h->begin.size != UINT64_MAX)
        ext.huge_size = (int64_t)h->begin.size;
    gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    if (!gi_ext_pack(&self->own->scratch, &ext))
        gi_frames_add(out, self->own->scratch.data, self->own->scratch.size);
}

/* From where it is, or copied. */
static bool s_add_chunk(gi_shuge_t *h, gi_frames_t *out, gate_bytes_t chunk) {
    zmq_free_fn *release;
    void *hint;
    if (!gi_huge_pack_take(h->pack, &release, &hint))
        return gi_frames_add(out, chunk.data, chunk.size);
    if (gi_frames_give(out, chunk.data, chunk.size, release, hint))
        return true;
    release(NULL, hint);
    return false;
}

static gate_err_t s_send_wire(gi_shuge_t *h, gate_bytes_t chunk) {
    gi_scall_t *c = h->call;
    int64_t begun = h->stalled_ns ? h->stalled_ns : gi_clock_ns();
    gi_frames_t *out = gi_scall_answer(c);
    if (!out)
        return gi_err(GATE_CANCELLED, "the reader left");
    if (!gi_frames_add(out, GI_HUGE_TAG, strlen(GI_HUGE_TAG)) ||
        !s_add_chunk(h, out, chunk)) {
        gi_frames_close(out);
        return gi_err(GATE_NOMEM, "no memory for a chunk");
    }
    s_add_ext(h, out);
    gi_link_send(c->link);
    h->sent = true;
    gi_huge_pack_sent(h->pack, chunk.size, gi_clock_ns() - begun);
    h->stalled_ns = 0;
    return GATE_OK;
}

static gate_err_t s_send_stream(gi_shuge_t *h, gate_bytes_t chunk) {
    gate_stream_t *stream = h->call->stream;
    void *copy = gi_mem_dup(chunk.data, chunk.size);
    if (!copy)
        return gi_err(GATE_NOMEM, "no memory for a huge result");
    if (!h->sent)
        gi_stream_begin_huge(stream, NULL, NULL, h->begin.size);
    h->sent = true;
    gate_err_t e =
        gi_stream_push(stream, copy, chunk.size, gi_mem_free, copy, 0);
    return e ? gi_err(e, "%s", gate_err_text(e)) : GATE_OK;
}

/* The cap is the reader's: it is told so itself, not by an exception. */
static gate_err_t s_send_future(gi_shuge_t *h, gate_bytes_t chunk) {
    gi_scall_t *c = h->call;
    const gate_settings_t *s = c->service->is.settings;
    int64_t max = gi_settings_huge_packed_max(s);
    if ((int64_t)(h->whole.size + chunk.size) <= max)
        return gi_buf_append(&h->whole, chunk.data, chunk.size)
                   ? GATE_OK
                   : gi_err(GATE_NOMEM, "no memory for a huge result");
    gate_err_t e = gi_err(GATE_TOOBIG,
                          "a huge result of more than huge_max_bytes = %lld "
                          "bytes: open it as a stream and read it",
                          (long long)s->huge_max_bytes);
    if (c->future)
        gi_future_fail(gi_scall_take_future(c), gate_error());
    return e;
}

static gate_err_t s_send(gi_shuge_t *h, gate_bytes_t chunk) {
    gi_scall_t *c = h->call;
    h->call->service->own->stats.chunks++;
    h->call->life.sent++;
    if (c->link)
        return s_send_wire(h, chunk);
    if (c->stream)
        return s_send_stream(h, chunk);
    return s_send_future(h, chunk);
}

/* ---- pulling ------------------------------------------------------------- */
static void s_look_at(gi_shuge_t *h, int64_t at_ms) {
    h->look_ms = s_min(h->look_ms, at_ms);
}

/* What it waits for is told; but a full mailbox may have been. */
static void s_look_for_pack(gi_shuge_t *h) {
    s_look_at(h, gi_huge_pack_idle(h->pack)
                     ? gi_huge_pack_due(h->pack)
                     : h->call->service->own->core.now_ms + S_LOOK_MS);
}

/* Out of credit, and the reader never gave a sign that it knows of any. */
static void s_probe(gi_shuge_t *h) {
    int64_t now = h->call->service->own->core.now_ms;
    if (!h->probe_ms)
        h->probe_ms = now;
    s_look_at(h, now + S_LOOK_MS);
    if (now - h->probe_ms < S_PROBE_MS)
        return;
    h->probing = false;
    h->call->life.credited = false;
    h->call->life.credit.bytes = GI_CREDIT_FREE;
}

static bool s_may_send(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    bool local_whole = !c->link && !c->stream;
    if (local_whole)
        return true;
    if (c->life.credit.bytes <= 0 && h->probing)
        s_probe(h);
    if (c->life.credit.items > 0 && c->life.credit.bytes > 0 &&
        !(c->link && c->link->out_n))
        return true;
    if (!h->stalled_ns)
        h->stalled_ns = gi_clock_ns();
    return false;
}

void gi_shuge_credit(gi_scall_t *c, int64_t items, int64_t bytes) {
    c->huge->probing = false;
    if (!c->life.credited && bytes > 0) { /* a late sign */
        c->life.credited = true;
        c->life.credit.bytes = 0;
    }
    gi_credit_give(&c->life.credit, items, bytes);
}

static gate_err_t s_chunk(gi_shuge_t *h, gate_bytes_t *chunk) {
    return h->pack ? gi_huge_pack_next(h->pack, chunk)
                   : gi_sfeed_peek(h, chunk);
}

/* One chunk or the end; GATE_WOULDBLOCK: not now. */
static gate_err_t s_pull_one(gi_shuge_t *h) {
    gate_bytes_t chunk;
    gate_err_t e = h->pack ? gi_sfeed_supply(h) : GATE_OK;
    if (!e && !s_may_send(h))
        return GATE_WOULDBLOCK;
    if (!e)
        e = s_chunk(h, &chunk);
    if (e == GATE_WOULDBLOCK && h->pack)
        s_look_for_pack(h);
    if (e)
        return e;
    size_t size = chunk.size;
    if (!gi_credit_try(&h->call->life.credit, size) && h->call->link)
        return gi_err(GATE_CANCELLED, "the reader left");
    e = s_send(h, chunk);
    if (!e && !h->pack)
        gi_sfeed_used(h, size);
    return e;
}

/* It cannot go on, and no handler is told: its caller and the log are. */
static void s_cut(gi_shuge_t *h) {
    gate_error_t story = *gate_error();
    if (h->pack && story.code != GATE_CANCELLED)
        gi_logring_about(GATE_ERROR, "service", h->call->service->is.name,
                         gate_call_method(&h->call->call),
                         "a huge result of %s: %s",
                         gate_call_method(&h->call->call), story.text);
    gi_shuge_fail(h, &story);
}

static bool s_pull(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    gate_err_t e = GATE_OK;
    int i = 0;
    h->look_ms = INT64_MAX;
    for (; !e && i < S_PULL_MAX; i++)
        e = s_pull_one(h);
    if (e == GATE_EOS) {
        s_end(h);
    } else if (e && e != GATE_WOULDBLOCK) {
        s_cut(h);
    }
    bool any = i > 1 || h->closed;
    gi_life_settle(&c->life);
    return any;
}

bool gi_shuge_pull(gate_service_t *self) {
    bool any = false;
    gi_shuge_t *next;
    for (gi_shuge_t *h = self->own->huges; h; h = next) {
        next = h->next;
        any |= s_pull(h);
    }
    return any;
}

int64_t gi_shuge_next(const gate_service_t *self) {
    int64_t next = INT64_MAX;
    for (const gi_shuge_t *h = self->own->huges; h; h = h->next)
        next = s_min(next, h->look_ms);
    return next;
}

/* ---- the handler is back, the reader left -------------------------------- */
static gi_shuge_t *s_of_result(gi_scall_t *c) {
    gi_shuge_t *h = gi_sfeed_new(c, NULL);
    if (!h)
        return NULL;
    h->data = (gate_bytes_t){c->call.out.data, c->call.out.size};
    h->begin.size = h->data.size;
    h->ended = true;
    gi_shuge_attach(h);
    return h;
}

gate_err_t gi_shuge_go_on(gi_life_t *life, gate_err_t outcome) {
    static const gate_error_t unended = {
        GATE_BADARG, "RuntimeError",
        "the handler returned before it ended its huge result", ""};
    gi_scall_t *c = gi_scall_of(life);
    gi_shuge_t *h = c->huge ? c->huge : s_of_result(c);
    if (!h)
        return GATE_NOMEM;
    if (outcome) {
        gate_error_t story = gi_scall_story(c, outcome);
        gi_shuge_fail(h, &story);
    } else if (!h->ended) {
        gi_shuge_fail(h, &unended);
    }
    h->ended = true;
    return GATE_OK;
}

void gi_shuge_fail_call(gi_life_t *life, const gate_error_t *story) {
    gi_shuge_fail(gi_scall_of(life)->huge, story);
}
