/* SPDX-License-Identifier: BSD-3-Clause */
/* client_pending.c -- what the core decides about a call, done to its future or
 * stream. */
#include "client/client_actor.h"
#include "client/client_upload.h"

#include "base/err.h"
#include "base/mem.h"

#define S_COPY_MAX 1024 /* answers up to this are copied, larger ones kept */

static void s_free_frame(void *hint) {
    zmq_msg_close(hint);
    gi_mem_free(hint);
}

/* The bytes of a frame for somebody who outlives it; NULL: no memory. */
static void *s_own(gi_frames_t *in, unsigned at, size_t *size,
                   gi_release_fn **release, void **hint) {
    gate_bytes_t view = gi_frames_at(in, at);
    *size = view.size;
    if (*size <= S_COPY_MAX) {
        *release = gi_mem_free;
        return *hint = gi_mem_dup(view.data, *size);
    }
    zmq_msg_t *kept = gi_mem_alloc(sizeof *kept);
    if (!kept || !gi_frames_take(in, at, kept)) {
        gi_mem_free(kept);
        return NULL;
    }
    *release = s_free_frame;
    *hint = kept;
    return zmq_msg_data(kept);
}

gate_err_t gi_pending_answer(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                             unsigned at) {
    gi_pending_t *p = gi_pending_of(call);
    gi_release_fn *release;
    void *hint;
    size_t size;
    (void)ctx;
    void *data = s_own(in, at, &size, &release, &hint);
    if (!data)
        return GATE_NOMEM;
    if (p->trace)
        gi_trace_end(p->trace);
    if (p->stream)
        gi_stream_push_reply(p->stream, data, size, release, hint);
    else
        gi_future_complete_reply(p->future, data, size, release, hint);
    p->future = NULL;
    return GATE_OK;
}

static gate_err_t s_not_taken(gate_err_t e) {
    if (e != GATE_BUSY)
        return gi_err(e, "%s", gate_err_text(e));
    return gi_err_story(e, "StreamOverflowError",
                        "the reader is too slow: more than stream_unread_max "
                        "items or peer_queue_max_bytes wait for it",
                        "");
}

gate_err_t gi_pending_item(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                           unsigned at) {
    gi_release_fn *release;
    void *hint;
    size_t size;
    (void)ctx;
    void *data = s_own(in, at, &size, &release, &hint);
    gate_err_t e = data ? gi_stream_push(gi_pending_of(call)->stream, data,
                                         size, release, hint, 0)
                        : GATE_NOMEM;
    return e ? s_not_taken(e) : GATE_OK;
}

gate_err_t gi_pending_row_item(void *ctx, gi_ccall_t *call, gate_bytes_t item) {
    (void)ctx;
    void *data = gi_mem_dup(item.data, item.size);
    gate_err_t e = data ? gi_stream_push(gi_pending_of(call)->stream, data,
                                         item.size, gi_mem_free, data, 0)
                        : GATE_NOMEM;
    return e ? s_not_taken(e) : GATE_OK;
}

void gi_pending_end(void *ctx, gi_ccall_t *call) {
    (void)ctx;
    gi_trace_end(gi_pending_of(call)->trace);
    gi_stream_end(gi_pending_of(call)->stream);
}

void gi_pending_fail(void *ctx, gi_ccall_t *call, const gate_error_t *story) {
    gi_pending_t *p = gi_pending_of(call);
    (void)ctx;
    gi_trace_end(p->trace);
    if (p->future)
        gi_future_fail(p->future, story);
    if (p->stream)
        gi_stream_fail(p->stream, story);
    p->future = NULL;
}

void gi_pending_times(void *ctx, gi_ccall_t *call, const gi_times_t *times) {
    (void)ctx;
    gi_trace_told(gi_pending_of(call)->trace, times);
}

int64_t gi_pending_idle_ms(void *ctx, gi_ccall_t *call, int64_t now_ms) {
    (void)ctx;
    return gi_stream_idle_ms(gi_pending_of(call)->stream, now_ms);
}

void gi_pending_left(void *ctx, gi_ccall_t *call) {
    gi_pending_t *p = gi_pending_of(call);
    (void)ctx;
    gi_client_huge_leave(p);
    gi_client_upload_stop(p);
    if (p->stream)
        gi_stream_release(&p->stream);
    gi_gauge_leave(&p->client->shared.in_flight);
    gi_client_call_drop(p);
}
