/* SPDX-License-Identifier: BSD-3-Clause */
/* client_huge.c -- huge answers (docs/wire.md, huge data). The actor inflates
 * nothing: it hands chunks on.
 *
 *   to a stream: into its queue; its reader inflates when it reads
 *   to a future: into the queue of huge_unpack.h -> a helper thread inflates ->
 *                mail: credit, at last the whole value or why there is none */
#include <string.h>
#include "client/client_actor.h"
#include "base/err.h"
#include "settings/settings.h"
#include "memory/spare.h"

/* ---- a receiver's life --------------------------------------------------- */
void gi_client_huge_leave(gi_pending_t *p) {
    if (p->unpack)
        gi_huge_unpack_leave(&p->unpack);
}

/* The codec is named where the worker knows that we understand it. */
static gi_join_options_t s_join_options(const gi_pending_t *p,
                                        const gi_ext_t *ext, char codec[64]) {
    const gate_settings_t *settings = p->client->is.settings;
    snprintf(codec, 64, "%s", settings->huge_data_compress_module);
    if (ext->codecs.size && ext->codecs.size < 64) {
        memcpy(codec, ext->codecs.data, ext->codecs.size);
        codec[ext->codecs.size] = 0;
    }
    return (gi_join_options_t){
        .codec = codec,
        .max_bytes =
            p->stream ? 0 : (uint64_t)gi_settings_huge_packed_max(settings),
        .ratio_max = (uint64_t)settings->huge_ratio_max,
        .size = ext->huge_size > 0 ? (uint64_t)ext->huge_size : 0};
}

/* On the helper's thread. */
static void s_share(void *ctx) { gi_ref_take(&((gi_pending_t *)ctx)->refs); }

static void s_tell(void *ctx) {
    gi_pending_t *p = ctx;
    if (gi_mailbox_push(p->client->is.mailbox, &p->huge_mail, -1))
        gi_client_call_drop(p);
}

static gate_err_t s_receiver(gi_pending_t *p, const gi_ext_t *ext) {
    gate_client_t *self = p->client;
    char codec[64];
    int64_t max = gi_settings_huge_packed_max(self->is.settings);
    gate_pool_t *pool = gi_runtime_helpers(self->is.rt);
    gi_huge_unpack_options_t options = {.join = s_join_options(p, ext, codec),
                                        .queued_max = (uint64_t)max,
                                        .size = ext->huge_size > 0 &&
                                                        ext->huge_size <= max
                                                    ? (size_t)ext->huge_size
                                                    : 0,
                                        .what = "a huge result",
                                        .pool = pool,
                                        .latch = &self->shared.inflating,
                                        .share = s_share,
                                        .tell = s_tell,
                                        .ctx = p};
    if (!pool)
        return gate_error()->code;
    if (ext->huge_size > max)
        return gi_err(GATE_TOOBIG,
                      "a huge result of %lld bytes: huge_max_bytes is %lld: "
                      "open it as a stream and read it",
                      (long long)ext->huge_size,
                      (long long)self->is.settings->huge_max_bytes);
    p->huge_mail.kind = GI_CMAIL_HUGE;
    return gi_huge_unpack_new(&options, &p->unpack);
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
    gi_trace_end(p->trace);
    gi_future_complete_huge(p->future, data, size, gi_spare_give, data);
    p->future = NULL;
}

static void s_news(gi_client_actor_t *self, gi_pending_t *p) {
    size_t taken;
    gate_err_t outcome = gi_huge_unpack_news(p->unpack, &taken);
    if (outcome == GATE_EOS)
        s_complete(p);
    if (outcome)
        gi_client_core_inflated(self->core, &p->call,
                                outcome == GATE_EOS ? GATE_OK : outcome,
                                self->now_ms);
    else if (taken)
        gi_client_core_credit(self->core, &p->call, 0, taken, self->now_ms);
}

void gi_client_huge_mail(gi_client_actor_t *self, gi_cmail_t *mail) {
    gi_pending_t *p =
        (gi_pending_t *)(void *)((char *)mail -
                                 offsetof(gi_pending_t, huge_mail));
    if (p->unpack) /* else it has ended */
        s_news(self, p);
    gi_client_call_drop(p);
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

gate_err_t gi_client_huge_begin(void *ctx, gi_ccall_t *call,
                                const gi_ext_t *ext) {
    gi_pending_t *p = gi_pending_of(call);
    (void)ctx;
    return p->stream ? s_begin_stream(p, ext) : s_receiver(p, ext);
}

gate_err_t gi_client_huge_chunk(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                                unsigned at) {
    zmq_msg_t *frame = gi_frames_message(in, at);
    (void)ctx;
    return frame ? gi_huge_unpack_chunk(gi_pending_of(call)->unpack, frame)
                 : gi_err(GATE_NOMEM, "no memory for a chunk of a result");
}

gate_err_t gi_client_huge_end(void *ctx, gi_ccall_t *call) {
    (void)ctx;
    return gi_huge_unpack_end(gi_pending_of(call)->unpack);
}
