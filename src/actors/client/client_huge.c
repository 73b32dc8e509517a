/* SPDX-License-Identifier: BSD-3-Clause */
/* client_huge.c -- huge answers (docs/wire.md, huge data). The actor inflates
 * nothing: it hands chunks on.
 *
 *   to a stream: into its queue; its reader inflates when it reads
 *   to a future: into the queue of huge_unpack.h -> a helper thread inflates ->
 *                mail: credit, at last the whole value or why there is none */
#include <string.h>
#include "client/client_impl.h"
#include "base/err.h"
#include "memory/spare.h"

/* ---- announcing ---------------------------------------------------------- */
void gi_chuge_announce(const gate_client_t *self, gi_ext_t *ext) {
    ext->huge = true;
    ext->codecs = (gate_bytes_t){self->codecs, strlen(self->codecs)};
}

/* ---- a receiver's life --------------------------------------------------- */
void gi_chuge_leave(gi_pending_t *p) {
    if (!p->unpack)
        return;
    p->client->n_huge--;
    gi_huge_unpack_leave(&p->unpack);
}

/* The codec is named where the worker knows that we understand it. */
static gi_join_options_t s_join_options(const gi_pending_t *p,
                                        const gi_ext_t *ext, char codec[64]) {
    const gate_settings_t *settings = p->client->settings;
    snprintf(codec, 64, "%s", settings->huge_data_compress_module);
    if (ext->codecs.size && ext->codecs.size < 64) {
        memcpy(codec, ext->codecs.data, ext->codecs.size);
        codec[ext->codecs.size] = 0;
    }
    return (gi_join_options_t){
        .codec = codec,
        .max_bytes = p->stream ? 0 : (uint64_t)settings->huge_max_bytes,
        .ratio_max = (uint64_t)settings->huge_ratio_max,
        .size = ext->huge_size > 0 ? (uint64_t)ext->huge_size : 0};
}

/* On the helper's thread. */
static void s_share(void *ctx) { gi_ref_take(&((gi_pending_t *)ctx)->refs); }

static void s_tell(void *ctx) {
    gi_pending_t *p = ctx;
    if (gi_mailbox_push(p->client->mailbox, &p->huge_mail, -1))
        gi_pending_drop(p);
}

static gate_err_t s_receiver(gi_pending_t *p, const gi_ext_t *ext) {
    gate_client_t *self = p->client;
    char codec[64];
    int64_t max = self->settings->huge_max_bytes;
    gate_pool_t *pool = gi_runtime_helpers(self->rt);
    gi_huge_unpack_options_t options = {.join = s_join_options(p, ext, codec),
                                        .queued_max = (uint64_t)max,
                                        .size = ext->huge_size > 0 &&
                                                        ext->huge_size <= max
                                                    ? (size_t)ext->huge_size
                                                    : 0,
                                        .what = "a huge result",
                                        .pool = pool,
                                        .latch = &self->inflating,
                                        .share = s_share,
                                        .tell = s_tell,
                                        .ctx = p};
    if (!pool)
        return gate_error()->code;
    if (ext->huge_size > max)
        return gi_err(GATE_TOOBIG,
                      "a huge result of %lld bytes: huge_max_bytes is %lld: "
                      "open it as a stream and read it",
                      (long long)ext->huge_size, (long long)max);
    gate_err_t e = gi_huge_unpack_new(&options, &p->unpack);
    if (!e) {
        p->huge_mail.kind = GI_CMAIL_HUGE;
        self->n_huge++;
    }
    return e;
}

/* ---- the stream's reader ------------------------------------------------- */
static gate_err_t s_step(void *join, gate_bytes_t *in, bool end, void *out,
                         size_t *out_size) {
    gate_err_t e = end ? gi_join_end(join, out, out_size)
                       : gi_join_step(join, in, out, out_size);
    return !e && gi_join_saw_end(join) ? GATE_EOS : e;
}

static void s_step_destroy(void *arg) {
    gi_join_t *join = arg;
    gi_join_destroy(&join);
}

static const gi_inflate_t s_inflate_ops = {s_step, s_step_destroy};

/* ---- the actor ----------------------------------------------------------- */
static void s_complete(gi_pending_t *p) {
    size_t size;
    void *data = gi_huge_unpack_take(p->unpack, &size);
    p->client->stats.answers++;
    gi_future_complete_huge(p->future, data, size, gi_spare_give, data);
    p->future = NULL;
    gi_pending_done(p);
}

static void s_news(gi_pending_t *p) {
    size_t taken;
    gate_err_t outcome = gi_huge_unpack_news(p->unpack, &taken);
    if (outcome == GATE_EOS)
        s_complete(p);
    else if (outcome)
        gi_pending_abort(p);
    else if (taken)
        gi_pending_credit(p, 0, taken);
}

void gi_chuge_mail(gi_cmail_t *mail) {
    gi_pending_t *p =
        (gi_pending_t *)(void *)((char *)mail -
                                 offsetof(gi_pending_t, huge_mail));
    if (p->unpack) /* else it has ended */
        s_news(p);
    gi_pending_drop(p);
}

/* To a future the first chunks come uncalled for; what it may have beyond them
 * is shared by all that come in at a time (docs/extensions.md). */
static void s_open_window(gi_pending_t *p) {
    gate_client_t *self = p->client;
    size_t share =
        (size_t)self->settings->huge_window_bytes / (self->n_huge + 1);
    if (self->ext)
        gi_pending_credit(p, 0,
                          share > GI_HUGE_FIRST ? share - GI_HUGE_FIRST : 1);
}

static gate_err_t s_begin_stream(gi_pending_t *p, const gi_ext_t *ext) {
    char codec[64];
    gi_join_options_t options = s_join_options(p, ext, codec);
    gi_join_t *join;
    gate_err_t e = gi_join_new(&options, &join);
    if (!e)
        gi_stream_begin_huge(p->stream, &s_inflate_ops, join,
                             ext->huge_size < 0 ? UINT64_MAX
                                                : (uint64_t)ext->huge_size);
    return e;
}

static gate_err_t s_begin(gi_pending_t *p, const gate_bytes_t *body, size_t n) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    if (n > 2 && gi_ext_parse(body[2], &ext))
        return GATE_BADDATA;
    gate_err_t e = p->stream ? s_begin_stream(p, &ext) : s_receiver(p, &ext);
    p->chunks = !e;
    if (!e && !p->stream)
        s_open_window(p);
    return e;
}

/* One without bytes is no sign of life: without end it is silence. */
static void s_chunk(gi_pending_t *p, zmq_msg_t *frame) {
    if (!zmq_msg_size(frame)) {
        if (p->stream)
            gi_pending_credit(p, 1, 0);
        return;
    }
    if (p->stream) {
        gi_pending_push(p, frame);
        return;
    }
    gi_pending_alive(p);
    if (gi_huge_unpack_chunk(p->unpack, frame))
        gi_pending_abort(p);
}

static void s_end(gi_pending_t *p) {
    if (p->stream) {
        p->client->stats.answers++;
        gi_stream_end(p->stream);
        gi_pending_done(p);
        return;
    }
    if (gi_huge_unpack_end(p->unpack))
        gi_pending_abort(p);
}

/* A Python broker sends the triple behind it, as if it were a chunk. */
static void s_exception(gi_pending_t *p, const gate_bytes_t *body, size_t n) {
    if (n > 2)
        gi_pending_exception(p, body[2]);
    else if (p->client->ext)
        gi_pending_exception(p, (gate_bytes_t){NULL, 0});
    else
        p->triple_follows = true;
}

void gi_chuge_message(gi_pending_t *p, zmq_msg_t *frames,
                      const gate_bytes_t *body, size_t n) {
    gi_body_kind_t kind = gi_rpc_body_kind(body, n);
    if (p->triple_follows) {
        gi_pending_exception(p, body[1]);
    } else if (kind == GI_BODY_HUGE_EXCEPTION) {
        s_exception(p, body, n);
    } else if (!p->chunks && s_begin(p, body, n)) {
        gi_pending_abort(p);
    } else if (kind == GI_BODY_CHUNK) {
        s_chunk(p, &frames[1]);
    } else {
        s_end(p);
    }
}
