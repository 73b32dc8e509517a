/* SPDX-License-Identifier: BSD-3-Clause */
/* service_stream.c -- items on their way: from a handler's or a pool's thread by
 * mail, from a generator's step at once, to a broker or a stream of this
 * process. Whose turn it is, and when it ends, is the core's to say
 * (service/core/life_stream.c). */
#include "service/service_own.h"
#include "service/service_run.h"

#include <string.h>
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- sending ------------------------------------------------------------- */
static gate_err_t s_send_wire(gi_scall_t *c, const void *data, size_t size,
                              bool *queued) {
    int64_t max = c->link->frame_max;
    if (max && (int64_t)size > max)
        return gi_err(GATE_TOOBIG,
                      "an item of %zu bytes: its broker takes %lld (its "
                      "message_bytes_max)",
                      size, (long long)max);
    if (gi_link_send_gather(c, data, size))
        return GATE_OK;
    gi_frames_t *out = gi_scall_answer(c);
    if (!out)
        return GATE_OK; /* its broker is gone, and the call is cancelled */
    if (!gi_frames_add(out, GI_STREAM_TAG, strlen(GI_STREAM_TAG)) ||
        !gi_frames_add(out, data, size)) {
        gi_frames_close(out);
        return gi_err(GATE_NOMEM, "no memory for an item of %zu bytes", size);
    }
    *queued = !gi_link_send(c->link);
    return GATE_OK;
}

static gate_err_t s_send_local(gi_scall_t *c, const void *data, size_t size) {
    void *copy = gi_mem_dup(data, size);
    gate_err_t e =
        copy ? gi_stream_push(c->stream, copy, size, gi_mem_free, copy, 0)
             : GATE_NOMEM;
    return e ? gi_err(e, "an item of %zu bytes: %s", size, gate_err_text(e))
             : GATE_OK;
}

gate_err_t gi_sstream_send(gi_life_t *life, const void *data, size_t size,
                           bool *queued) {
    gi_scall_t *c = gi_scall_of(life);
    if (c->future)
        return gi_err_story(GATE_BADARG, "TypeError",
                            "the method streams: open it with "
                            "gate_client_open (Python: .stream)",
                            "");
    return c->link     ? s_send_wire(c, data, size, queued)
           : c->stream ? s_send_local(c, data, size)
                       : GATE_OK;
}

/* ---- credit -------------------------------------------------------------- */
void gi_sstream_credit(gi_scall_t *c, int64_t items, int64_t bytes) {
    if (c->huge) {
        gi_shuge_credit(c, items, bytes);
        return;
    }
    if (!c->life.credited && bytes > 0)
        c->early += bytes; /* it may still become a huge result */
    gi_life_credit(&c->life, items, bytes);
}

void gi_sstream_owed(gi_scall_t *c) {
    atomic_store(&c->owed.pending, false);
    int64_t items = atomic_exchange(&c->owed.items, 0);
    int64_t bytes = atomic_exchange(&c->owed.bytes, 0);
    if (items || bytes)
        gi_sstream_credit(c, items, bytes);
}

/* ---- items from other threads -------------------------------------------- */
static gate_err_t s_push(gi_scall_t *c, const void *data, size_t size) {
    gi_sitem_t *item = gi_mem_alloc(sizeof *item + size);
    if (!item)
        return gi_err(GATE_NOMEM, "no memory for an item of %zu bytes", size);
    *item =
        (gi_sitem_t){.mail = {.kind = GI_SMAIL_ITEM}, .call = c, .size = size};
    memcpy(item->data, data, size);
    gate_err_t e = gi_mailbox_push(c->service->is.mailbox, &item->mail, -1);
    if (e)
        gi_mem_free(item);
    return e ? gi_err(GATE_CANCELLED, "the service is gone") : GATE_OK;
}

void gi_sstream_sink(gi_scall_t *c, const void *data, size_t size) {
    if (c->hand.lost || s_push(c, data, size) != GATE_NOMEM)
        return;
    c->hand.lost = true;
    c->lost_mail.kind = GI_SMAIL_LOST;
    if (gi_mailbox_push(c->service->is.mailbox, &c->lost_mail, -1)) {
        /* the service is gone, and so is its caller */
    }
}

/* A pool has the call: its reference outlives this. */
void gi_sstream_lost(gi_scall_t *c) {
    (void)gi_err(GATE_NOMEM, "no memory for an item of a stream");
    gi_life_item_lost(&c->life);
}

void gi_sstream_item(gi_sitem_t *item) {
    gi_scall_t *c = item->call;
    gate_bytes_t part;
    int kind = gi_huge_item(item->data, item->size, &part);
    if (kind && c->life.state != GI_LIFE_DONE) {
        gi_sfeed_item(item, kind, part);
        return;
    }
    gi_life_item(&c->life, item->data, item->size);
    gi_mem_free(item);
}

gate_err_t gi_sstream_yield(gate_call_t *call) {
    gi_scall_t *c = (gi_scall_t *)call;
    const gi_buf_t *out = &call->out;
    if (gi_service_on_actor(c->service) && c->life.pulling)
        return gi_life_pulled_item(&c->life, out->data, out->size);
    if (gi_actor_thread())
        return gi_err(GATE_WOULDBLOCK,
                      "gate_yield in an inline handler: use gate_generate, or "
                      "let the method run on threads");
    if (gi_credit_take(&c->life.credit, out->size))
        return gi_err(GATE_CANCELLED, "the reader left");
    return s_push(c, out->data, out->size);
}

gate_err_t gi_service_stream_yield_now(gate_call_t *call) {
    gi_scall_t *c = (gi_scall_t *)call;
    if (atomic_load(&call->cancel))
        return gi_err(GATE_CANCELLED, "the reader left");
    if (!gi_credit_try(&c->life.credit, call->out.size))
        return GATE_BUSY; /* no failure, no story */
    return s_push(c, call->out.data, call->out.size);
}

/* ---- pulled generators --------------------------------------------------- */
gate_err_t gi_sstream_generate(gate_call_t *call,
                               gate_err_t (*next)(gate_call_t *, void *),
                               void *state, void (*done)(void *)) {
    gi_scall_t *c = (gi_scall_t *)call;
    c->hand.next = next;
    c->hand.state = state;
    c->hand.done = done;
    return GATE_KEPT;
}

bool gi_sstream_may_pull(gi_life_t *life) {
    const gi_scall_t *c = gi_scall_of(life);
    return !c->link || !c->link->out_n;
}

static gate_err_t s_step(gi_scall_t *c) {
    return c->hand.next(&c->call, c->hand.state);
}

gate_err_t gi_sstream_pull(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    gate_err_t e = gi_run_here(c, s_step, &c->quick, GI_SCALL_QUICK);
    if (!e && !life->broke)
        return GATE_OK;
    c->call.promise = GI_PROMISE_NONE;
    return e == GATE_EOS ? e : gi_call_settle(&c->call, e ? e : life->broke);
}

void gi_sstream_unpull(gi_life_t *life) {
    gi_scall_t *c = gi_scall_of(life);
    if (c->hand.next && c->hand.done)
        c->hand.done(c->hand.state);
    c->hand.next = NULL;
}

/* ---- the end ------------------------------------------------------------- */
static void s_end_wire(gi_scall_t *c, const gate_error_t *story) {
    gate_service_t *self = c->service;
    gi_frames_t *out;
    gi_buf_reset(&self->own->scratch, 65536);
    if (story && gi_rpc_pack_triple(&self->own->scratch, story->cls,
                                    story->text, story->traceback))
        gi_buf_reset(&self->own->scratch, 65536);
    out = gi_scall_answer(c);
    if (!out)
        return;
    gi_frames_add(out, GI_STREAM_TAG, strlen(GI_STREAM_TAG));
    if (story) {
        gi_frames_add(out, GI_STREAM_EXCEPTION, strlen(GI_STREAM_EXCEPTION));
        gi_frames_add(out, self->own->scratch.data, self->own->scratch.size);
    } else {
        gi_frames_add(out, GI_STREAM_END, strlen(GI_STREAM_END));
    }
    if (gi_service_trace_on(c))
        gi_service_trace_add(c, out);
    gi_link_send(c->link);
}

void gi_sstream_end(gi_scall_t *c, const gate_error_t *story) {
    static const gate_error_t streams = {
        GATE_BADARG, "TypeError",
        "the method streams: open it with gate_client_open (Python: .stream)",
        ""};
    if (c->link) {
        s_end_wire(c, story);
    } else if (c->stream && story) {
        gate_error_t same = gi_scall_as_remote(story);
        gi_stream_fail(c->stream, &same);
    } else if (c->stream) {
        gi_stream_end(c->stream);
    } else if (c->future) {
        gi_future_fail(gi_scall_take_future(c), &streams);
    }
}
