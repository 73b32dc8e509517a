/* SPDX-License-Identifier: BSD-3-Clause */
/* client_upload.c -- arguments that are too large for a message go out in chunks
 * (docs/extensions.md, huge arguments).
 *
 *   head, with ha hk ac --first credit--> chunks while there is credit --> END
 *
 * Law: nothing but the head goes out before the worker asked for it; the packed
 * arguments stay where they are until the last chunk is made. Where huge values
 * stand among them, what lies between those and they themselves are fed into
 * the pack in turn, as it has room. */
#include "client/client_upload.h"

#include <stdio.h>
#include <string.h>
#include "sync/clock.h"
#include "huge/codec.h"
#include "base/err.h"
#include "jobs/huge_feed.h"
#include "bulk/huge_pack.h"
#include "base/mem.h"

#define S_SEND_MAX 16                  /* chunks of one call per pass */
#define S_LOOK_MS 10                   /* between looks at what waits */
#define S_LOOK_DRY_MS 200              /* for somebody who feeds */
#define S_CHUNK_MAX ((int64_t)1 << 20) /* what credit may be exceeded by */

/* A huge value among them: its bytes belong at so many of whole. */
typedef struct s_hole {
    size_t at;
    gi_huge_source_t *source; /* shared */
} s_hole_t;

struct gi_cargs {
    gi_pending_t *pending;
    gi_cargs_t *prev, *next; /* of the client's, once it has a pack */
    unsigned char *packed;   /* func, args, kwargs */
    gate_bytes_t whole;      /* args and kwargs, without the bytes of holes */
    uint64_t args_size, kwargs_size; /* with them */
    gi_huge_begin_t begin;           /* codec and level of the first hole */
    s_hole_t holes[GI_RPC_HOLES_MAX];
    unsigned n_holes, hole; /* the next */
    size_t at;              /* of whole: what was fed, where there are holes */
    bool fed;               /* all was */
    bool dry;               /* a hole has nothing to give now */
    gi_huge_pack_t *pack;   /* NULL: no credit yet, or all is sent */
    gate_bytes_t chunk;     /* made and not sent; data NULL: none */
    int64_t stalled_ns;
    bool waits; /* for a block */
};

/* ---- holes ---------------------------------------------------------------*/
static const gate_huge_t *s_huge(const gi_rpc_hole_t *hole) {
    return (const gate_huge_t *)(const void *)hole->huge;
}

static void s_free_holes(gi_cargs_t *a) {
    for (unsigned i = 0; i < a->n_holes; i++) {
        gi_huge_source_leave(a->holes[i].source);
        gi_huge_source_drop(&a->holes[i].source);
    }
    a->n_holes = 0;
}

static void s_ready(void *ctx);

static gate_err_t s_take_hole(gi_cargs_t *a, const gi_rpc_hole_t *hole) {
    const gate_huge_t *huge = s_huge(hole);
    gate_err_t e =
        gi_huge_source_attach(huge->source, s_ready, a->pending->client);
    if (e)
        return e;
    if (!a->n_holes)
        a->begin = huge->begin;
    a->holes[a->n_holes++] =
        (s_hole_t){hole->at, gi_huge_source_share(huge->source)};
    *(hole->in_kwargs ? &a->kwargs_size : &a->args_size) += huge->value.size;
    return GATE_OK;
}

/* Inserts the bytes of one, and moves those behind it. */
static gate_err_t s_fill_hole(gi_buf_t *packed, gi_rpc_request_t *r,
                              const gi_rpc_hole_t *hole) {
    const gate_huge_t *huge = s_huge(hole);
    size_t at = r->func_size + hole->at;
    size_t n = (size_t)huge->value.size;
    if (!gi_buf_reserve(packed, n))
        return gi_err(GATE_NOMEM, "no memory for a huge argument");
    memmove(packed->data + at + n, packed->data + at, packed->size - at);
    packed->size += n;
    *(hole->in_kwargs ? &r->kwargs_size : &r->args_size) += n;
    return gi_huge_source_fill(huge->source, packed->data + at);
}

static bool s_at_hand(const gi_rpc_request_t *r, const gi_rpc_holes_t *holes,
                      uint64_t max) {
    uint64_t size = r->args_size + r->kwargs_size;
    for (unsigned i = 0; i < holes->n; i++) {
        uint64_t n = holes->hole[i].huge->size;
        if (n > max || (size += n) > max ||
            !gi_huge_source_here(s_huge(&holes->hole[i])->source))
            return false;
    }
    return true;
}

/* However it will be sent: a slip is found with the first value, not with the
 * first large one. */
static gate_err_t s_check_codecs(const gi_rpc_holes_t *holes) {
    for (unsigned i = 0; i < holes->n; i++) {
        const char *codec = s_huge(&holes->hole[i])->begin.codec;
        if (!gi_codec_find(codec))
            return gi_err(GATE_NOTIMPL,
                          "huge arguments: there is no codec "
                          "'%s'",
                          codec);
    }
    return GATE_OK;
}

gate_err_t gi_client_upload_fill(gi_buf_t *packed, gi_rpc_request_t *request,
                                 gi_rpc_holes_t *holes, uint64_t max) {
    gate_err_t e = s_check_codecs(holes);
    if (e || !s_at_hand(request, holes, max))
        return e;
    for (unsigned i = 0; i < holes->n && !e; i++)
        e = gi_huge_source_attach(s_huge(&holes->hole[i])->source, NULL, NULL);
    /* from the last: what is in front stays where it is */
    for (unsigned i = holes->n; i-- && !e;)
        e = s_fill_hole(packed, request, &holes->hole[i]);
    holes->n = 0;
    return e;
}

/* ---- life ----------------------------------------------------------------*/
static gate_err_t s_take_holes(gi_cargs_t *a, const gi_rpc_holes_t *holes) {
    gate_err_t e = GATE_OK;
    for (unsigned i = 0; i < holes->n && !e; i++)
        e = s_take_hole(a, &holes->hole[i]);
    return e;
}

gate_err_t gi_client_upload_new(gi_pending_t *p, gi_buf_t *packed,
                                const gi_rpc_holes_t *holes) {
    const gi_rpc_request_t *r = &p->call.request;
    gi_cargs_t *a = gi_mem_calloc(1, sizeof *a);
    size_t size;
    if (!a)
        return gi_err(GATE_NOMEM, "no memory for huge arguments");
    p->args = a;
    a->pending = p;
    a->args_size = r->args_size;
    a->kwargs_size = r->kwargs_size;
    gate_err_t e = s_take_holes(a, holes);
    if (!*a->begin.codec)
        snprintf(a->begin.codec, sizeof a->begin.codec, "%s",
                 p->client->is.settings->huge_data_compress_module);
    if (!e && !gi_codec_find(a->begin.codec))
        e = gi_err(GATE_NOTIMPL, "huge arguments: there is no codec '%s'",
                   a->begin.codec);
    if (e)
        return e; /* the pending frees it */
    p->call.upload = GI_CUPLOAD_WAITS;
    p->call.args_size = a->args_size;
    p->call.kwargs_size = a->kwargs_size;
    p->call.codec = a->begin.codec;
    a->packed = gi_buf_take(packed, &size);
    a->whole =
        (gate_bytes_t){a->packed + r->func_size, r->args_size + r->kwargs_size};
    return GATE_OK;
}

static void s_unlink(gi_cargs_t *a) {
    gi_client_actor_t *self = a->pending->client->own;
    if (a->prev)
        a->prev->next = a->next;
    else if (self->args == a)
        self->args = a->next;
    if (a->next)
        a->next->prev = a->prev;
    a->prev = a->next = NULL;
}

/* All is sent, or nobody wants the rest. */
static void s_stop(gi_cargs_t *a) {
    s_unlink(a);
    gi_huge_pack_destroy(&a->pack);
    s_free_holes(a);
    gi_mem_free(a->packed);
    a->packed = NULL;
    a->whole = (gate_bytes_t){NULL, 0};
}

void gi_client_upload_stop(gi_pending_t *p) {
    if (p->args)
        s_stop(p->args);
}

void gi_client_upload_free(gi_pending_t *p) {
    gi_cargs_t *a = p->args;
    p->args = NULL;
    if (!a)
        return;
    s_free_holes(a);
    gi_mem_free(a->packed);
    gi_mem_free(a);
}

/* ---- chunks --------------------------------------------------------------*/
/* On any thread; the client outlives its packs. */
static void s_ready(void *ctx) {
    gate_client_t *self = ctx;
    gi_client_shared_t *shared = &self->shared;
    gi_lock(&shared->lock);
    bool tell = !shared->args_ready;
    shared->args_ready = true;
    gi_unlock(&shared->lock);
    if (!tell || !gi_mailbox_push(self->is.mailbox, &shared->ready_mail, 0))
        return;
    gi_client_upload_awake(self); /* full: the actor looks by itself soon */
}

void gi_client_upload_awake(gate_client_t *self) {
    gi_lock(&self->shared.lock);
    self->shared.args_ready = false;
    gi_unlock(&self->shared.lock);
}

static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }

static gate_err_t s_pack(gi_cargs_t *a) {
    gate_client_t *client = a->pending->client;
    const gate_settings_t *s = client->is.settings;
    gi_huge_pack_options_t options = {
        .codec = a->begin.codec,
        .level =
            a->begin.level ? a->begin.level : (int)s->huge_data_compress_level,
        .chunk_bytes = (size_t)s_min(
            S_CHUNK_MAX, s_min(s->huge_chunk_bytes, s->message_bytes_max)),
        .mode = gi_policy_mode(s->huge_policy),
        .flush_ms = GI_HUGE_FLUSH_MS,
        .ready = s_ready,
        .ctx = client};
    gate_err_t e =
        gi_huge_pack_new(gi_runtime_helpers(client->is.rt), &options, &a->pack);
    if (!e && !a->n_holes)
        e = gi_huge_pack_source(a->pack, (gate_bytes_t){NULL, 0}, a->whole);
    return e;
}

gate_err_t gi_client_upload_start(void *ctx, gi_ccall_t *call) {
    gi_client_actor_t *self = ctx;
    gi_cargs_t *a = gi_pending_of(call)->args;
    gate_err_t e = s_pack(a);
    if (e)
        return e;
    a->next = self->args;
    if (a->next)
        a->next->prev = a;
    self->args = a;
    return GATE_OK;
}

static bool s_may_send(gi_client_actor_t *self, gi_cargs_t *a) {
    if (gi_client_core_may_upload(self->core, &a->pending->call))
        return true;
    if (!a->stalled_ns)
        a->stalled_ns = gi_clock_ns();
    return false;
}

static gate_err_t s_send_chunk(gi_client_actor_t *self, gi_cargs_t *a) {
    int64_t begun = a->stalled_ns ? a->stalled_ns : gi_clock_ns();
    gate_err_t e =
        gi_client_core_upload(self->core, &a->pending->call, a->chunk);
    if (e)
        return e;
    gi_huge_pack_sent(a->pack, a->chunk.size, gi_clock_ns() - begun);
    a->stalled_ns = 0;
    a->chunk = (gate_bytes_t){NULL, 0};
    return GATE_OK;
}

/* The bytes that come next, from between the holes or out of one. */
static gate_err_t s_peek(gi_cargs_t *a, gate_bytes_t *out) {
    gate_pool_t *threads = gate_runtime_threads(a->pending->client->is.rt);
    gate_err_t e = GATE_EOS;
    for (; a->hole < a->n_holes; a->hole++) {
        const s_hole_t *hole = &a->holes[a->hole];
        if (a->at < hole->at)
            break;
        e = gi_huge_source_peek(hole->source, threads, out);
        if (e != GATE_EOS)
            return e;
    }
    size_t end = a->hole < a->n_holes ? a->holes[a->hole].at : a->whole.size;
    *out = (gate_bytes_t){(const char *)a->whole.data + a->at, end - a->at};
    return out->size ? GATE_OK : GATE_EOS;
}

static void s_used(gi_cargs_t *a, size_t size) {
    if (a->hole < a->n_holes && a->at == a->holes[a->hole].at)
        gi_huge_source_used(a->holes[a->hole].source, size);
    else
        a->at += size;
}

static void s_flush(gi_cargs_t *a) {
    if (a->hole < a->n_holes &&
        gi_huge_source_flushes(a->holes[a->hole].source))
        gi_huge_pack_flush(a->pack);
}

/* Where there are holes: feeds the pack as far as it has room. */
static gate_err_t s_supply(gi_cargs_t *a) {
    gate_bytes_t bytes;
    gate_err_t e = GATE_EOS;
    a->dry = false;
    if (!a->n_holes || a->fed)
        return GATE_OK;
    while (!(e = s_peek(a, &bytes))) {
        gate_bytes_t in = bytes;
        e = gi_huge_pack_feed(a->pack, &in);
        if (e || in.size == bytes.size)
            return e; /* no room */
        s_used(a, bytes.size - in.size);
        s_flush(a);
    }
    s_flush(a);
    a->dry = e == GATE_WOULDBLOCK;
    a->fed = e == GATE_EOS;
    if (a->fed)
        gi_huge_pack_finish(a->pack);
    return a->dry || a->fed ? GATE_OK : e;
}

/* One chunk or the end; GATE_WOULDBLOCK: not now. */
static gate_err_t s_send_one(gi_client_actor_t *self, gi_cargs_t *a) {
    gate_err_t e = GATE_OK;
    if (!s_may_send(self, a))
        return GATE_WOULDBLOCK;
    if (!a->chunk.data)
        e = s_supply(a);
    if (!e && !a->chunk.data)
        e = gi_huge_pack_next(a->pack, &a->chunk);
    a->waits = e == GATE_WOULDBLOCK;
    if (!e)
        return s_send_chunk(self, a);
    if (e != GATE_EOS)
        return e;
    e = gi_client_core_upload(self->core, &a->pending->call,
                              (gate_bytes_t){NULL, 0});
    a->waits = e == GATE_WOULDBLOCK;
    return e ? e : GATE_EOS;
}

static bool s_send_some(gi_client_actor_t *self, gi_cargs_t *a) {
    gate_err_t e = GATE_OK;
    int i = 0;
    for (; !e && i < S_SEND_MAX; i++)
        e = s_send_one(self, a);
    if (e == GATE_EOS)
        s_stop(a);
    else if (e && e != GATE_WOULDBLOCK)
        gi_client_core_abort(self->core, &a->pending->call);
    return i > 1 || e != GATE_WOULDBLOCK;
}

bool gi_client_upload_pull(gi_client_actor_t *self) {
    bool any = false;
    gi_cargs_t *next;
    for (gi_cargs_t *a = self->args; a; a = next) {
        next = a->next;
        any |= s_send_some(self, a);
    }
    return any;
}

/* When it is to be looked at though nobody tells: for somebody who feeds it,
 * for what it holds, for a full mailbox. */
static int64_t s_next_look(const gi_cargs_t *a, int64_t now_ms) {
    if (!a->waits && !a->chunk.data)
        return INT64_MAX;
    if (!a->dry || !gi_huge_pack_idle(a->pack))
        return now_ms + S_LOOK_MS;
    return s_min(now_ms + S_LOOK_DRY_MS, gi_huge_pack_due(a->pack));
}

int64_t gi_client_upload_next(const gi_client_actor_t *self, int64_t now_ms) {
    int64_t next = INT64_MAX;
    for (const gi_cargs_t *a = self->args; a; a = a->next)
        next = s_min(next, s_next_look(a, now_ms));
    return next;
}
