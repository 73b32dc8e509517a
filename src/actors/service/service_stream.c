/* SPDX-License-Identifier: BSD-3-Clause */
/* service_stream.c -- a call that answers with many items. Who produces may be
 * a handler on a pool (it waits for credit), a process (its pool waits) or a
 * generator that the actor pulls while there is credit.
 *
 * Credit comes from the reader when it is one of ours (docs/extensions.md);
 * for other peers from the socket: an item that the socket took is given back,
 * so that a producer is never further ahead than one window. */
#include "service/service_impl.h"

#include <string.h>
#include "sync/actor_thread.h"
#include "base/err.h"
#include "base/mem.h"

#define S_PULL_MAX 64 /* items of one generator per pass */

static void s_replenish(gi_scall_t *c, int64_t items, int64_t bytes) {
    gi_credit_give(&c->credit, items, bytes);
    if (c->ticket)
        gi_pool_credit(c->pool, c->ticket, items > 0 ? (size_t)items : 0,
                       bytes > 0 ? (size_t)bytes : 0);
}

/* ---- sending ------------------------------------------------------------- */
static gate_err_t s_send_wire(gi_scall_t *c, const void *data, size_t size) {
    gi_frames_t *out = gi_scall_answer(c);
    if (!out)
        return GATE_OK; /* its broker is gone, and the call is cancelled */
    if (!gi_frames_add(out, GI_STREAM_TAG, strlen(GI_STREAM_TAG)) ||
        !gi_frames_add(out, data, size)) {
        gi_frames_close(out);
        return gi_err(GATE_NOMEM, "no memory for an item of %zu bytes", size);
    }
    bool sent = gi_link_send(c->link);
    if (c->credited)
        return GATE_OK;
    if (sent) {
        s_replenish(c, 1, (int64_t)size);
    } else {
        c->unsent_items++;
        c->unsent_bytes += (int64_t)size;
    }
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

/* What cannot be sent fails the stream: nothing is left out of one. */
static gate_err_t s_send(gi_scall_t *c, const void *data, size_t size) {
    c->service->stats.items++;
    c->sent++;
    c->streaming = true;
    if (c->future)
        return gi_err_story(GATE_BADARG, "TypeError",
                            "the method streams: open it with "
                            "gate_client_open",
                            "");
    return c->link     ? s_send_wire(c, data, size)
           : c->stream ? s_send_local(c, data, size)
                       : GATE_OK;
}

/* There is credit: who waits for some on the actor. */
static void s_go_on(gi_scall_t *c) {
    if (c->state == GI_SCALL_GENERATING)
        gi_sstream_start(c);
    else if (c->state == GI_SCALL_KEPT && c->job)
        gi_sjob_start(c);
}

/* On a link that took everything again: what was owed is given back. */
void gi_sstream_unblocked(gi_link_t *link) {
    gi_scall_t *next;
    for (gi_scall_t *c = link->service->live; c; c = next) {
        next = c->next;
        if (c->link != link || !c->unsent_items)
            continue;
        s_replenish(c, c->unsent_items, c->unsent_bytes);
        c->unsent_items = c->unsent_bytes = 0;
        s_go_on(c);
    }
}

void gi_sstream_credit(gi_scall_t *c, int64_t items, int64_t bytes) {
    if (c->state == GI_SCALL_DONE)
        return;
    if (c->huge) {
        gi_shuge_credit(c, items, bytes);
        return;
    }
    if (!c->credited && bytes > 0)
        c->early += bytes; /* it may still become a huge result */
    s_replenish(c, items, bytes);
    s_go_on(c);
}

void gi_sstream_owed(gi_scall_t *c) {
    atomic_store(&c->credit_pending, false);
    int64_t items = atomic_exchange(&c->owed_items, 0);
    int64_t bytes = atomic_exchange(&c->owed_bytes, 0);
    if (items || bytes)
        gi_sstream_credit(c, items, bytes);
}

/* ---- items from other threads -------------------------------------------- */
gate_err_t gi_sstream_push(gi_scall_t *c, const void *data, size_t size) {
    gi_sitem_t *item = gi_mem_alloc(sizeof *item + size);
    if (!item)
        return gi_err(GATE_NOMEM, "no memory for an item of %zu bytes", size);
    *item =
        (gi_sitem_t){.mail = {.kind = GI_SMAIL_ITEM}, .call = c, .size = size};
    memcpy(item->data, data, size);
    gate_err_t e = gi_mailbox_push(c->service->mailbox, &item->mail, -1);
    if (e)
        gi_mem_free(item);
    return e ? gi_err(GATE_CANCELLED, "the service is gone") : GATE_OK;
}

void gi_sstream_sink(gi_scall_t *c, const void *data, size_t size) {
    if (c->lost || gi_sstream_push(c, data, size) != GATE_NOMEM)
        return;
    c->lost = true;
    c->lost_mail.kind = GI_SMAIL_LOST;
    if (gi_mailbox_push(c->service->mailbox, &c->lost_mail, -1)) {
        /* the service is gone, and so is its caller */
    }
}

static void s_break(gi_scall_t *c, gate_err_t e) {
    gate_error_t story = *gate_error();
    if (e == GATE_CANCELLED)
        gi_scall_cancel(c);
    else
        gi_scall_cut(c, &story);
}

/* A pool has the call: its reference outlives this. */
void gi_sstream_lost(gi_scall_t *c) {
    if (c->state != GI_SCALL_DONE)
        s_break(c, gi_err(GATE_NOMEM, "no memory for an item of a stream"));
}

void gi_sstream_item(gi_sitem_t *item) {
    gi_scall_t *c = item->call;
    gate_bytes_t part;
    int kind = gi_huge_item(item->data, item->size, &part);
    if (kind && c->state != GI_SCALL_DONE) {
        gi_sfeed_item(item, kind, part);
        return;
    }
    if (c->state != GI_SCALL_DONE && !atomic_load(&c->call.cancel)) {
        if (c->ticket) /* its window was a copy of this */
            gi_credit_spend(&c->credit, item->size);
        gate_err_t e = s_send(c, item->data, item->size);
        if (e)
            s_break(c, e);
    }
    gi_mem_free(item);
}

gate_err_t gi_sstream_yield(gate_call_t *call) {
    gi_scall_t *c = (gi_scall_t *)call;
    const gi_buf_t *out = &call->out;
    if (c->generating) {
        gi_credit_charge(&c->credit, out->size);
        gate_err_t e = s_send(c, out->data, out->size);
        c->broke = c->broke ? c->broke : e;
        return e;
    }
    if (gi_actor_thread())
        return gi_err(GATE_WOULDBLOCK,
                      "gate_yield in an inline handler: use gate_generate, or "
                      "let the method run on threads");
    if (gi_credit_take(&c->credit, out->size))
        return gi_err(GATE_CANCELLED, "the reader left");
    return gi_sstream_push(c, out->data, out->size);
}

/* ---- pulled generators --------------------------------------------------- */
gate_err_t gi_sstream_generate(gate_call_t *call,
                               gate_err_t (*next)(gate_call_t *, void *),
                               void *state, void (*done)(void *)) {
    gi_scall_t *c = (gi_scall_t *)call;
    if (c->gen_next_item) {
        if (done)
            done(state);
        return gi_err(GATE_BADARG, "gate_generate twice in one call");
    }
    c->gen_next_item = next;
    c->gen_state = state;
    c->gen_done = done;
    return GATE_KEPT;
}

void gi_sstream_start(gi_scall_t *c) {
    gate_service_t *self = c->service;
    if (c->gen_active)
        return;
    c->gen_active = true;
    c->gen_prev = NULL;
    c->gen_next = self->generators;
    if (c->gen_next)
        c->gen_next->gen_prev = c;
    self->generators = c;
}

static void s_pause(gi_scall_t *c) {
    if (!c->gen_active)
        return;
    c->gen_active = false;
    if (c->gen_prev)
        c->gen_prev->gen_next = c->gen_next;
    else
        c->service->generators = c->gen_next;
    if (c->gen_next)
        c->gen_next->gen_prev = c->gen_prev;
}

void gi_sstream_stop(gi_scall_t *c) {
    s_pause(c);
    if (c->gen_next_item && c->gen_done)
        c->gen_done(c->gen_state);
    c->gen_next_item = NULL;
    c->gen_done = NULL;
}

/* One item: true while there may be more at once. */
static bool s_pull_one(gi_scall_t *c) {
    c->generating = true;
    gate_err_t e = c->gen_next_item(&c->call, c->gen_state);
    c->generating = false;
    if (c->broke) /* whatever it made of that */
        e = c->broke;
    if (!e)
        return true;
    c->call.promise = GI_PROMISE_NONE;
    gi_scall_end(c, e == GATE_EOS ? e : gi_call_settle(&c->call, e));
    return false;
}

bool gi_sstream_pull(gate_service_t *self) {
    bool any = false;
    gi_scall_t *next;
    for (gi_scall_t *c = self->generators; c; c = next) {
        next = c->gen_next;
        if (c->link && c->link->out_n)
            continue;
        for (int i = 0; i < S_PULL_MAX; i++) {
            if (!gi_credit_try(&c->credit, 0)) {
                s_pause(c);
                break;
            }
            any = true;
            if (!s_pull_one(c))
                break;
            if (c->link && c->link->out_n)
                break;
        }
    }
    return any;
}

/* ---- the end ------------------------------------------------------------- */
static void s_end_wire(gi_scall_t *c, const gate_error_t *story) {
    gate_service_t *self = c->service;
    gi_frames_t *out;
    gi_buf_reset(&self->scratch, 65536);
    if (story && gi_rpc_pack_triple(&self->scratch, story->cls, story->text,
                                    story->traceback))
        gi_buf_reset(&self->scratch, 65536);
    out = gi_scall_answer(c);
    if (!out)
        return;
    gi_frames_add(out, GI_STREAM_TAG, strlen(GI_STREAM_TAG));
    if (story) {
        gi_frames_add(out, GI_STREAM_EXCEPTION, strlen(GI_STREAM_EXCEPTION));
        gi_frames_add(out, self->scratch.data, self->scratch.size);
    } else {
        gi_frames_add(out, GI_STREAM_END, strlen(GI_STREAM_END));
    }
    gi_link_send(c->link);
}

void gi_sstream_end(gi_scall_t *c, const gate_error_t *story) {
    static const gate_error_t streams = {
        GATE_BADARG, "TypeError",
        "the method streams: open it with gate_client_open", ""};
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
