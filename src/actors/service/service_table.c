/* SPDX-License-Identifier: BSD-3-Clause */
/* service_table.c -- calls as objects: where they come from, where they
 * are kept while they live, who frees them (see service_impl.h). */
#include "service/service_impl.h"

#include <string.h>
#include "base/mem.h"

#define S_FREE_MAX 2048 /* calls kept for reuse */
#define S_RICH_MAX 256  /* of them with what they allocated */

/* ---- life ---------------------------------------------------------------- */
static void s_fill(gi_scall_t *c, gate_service_t *self) {
    c->service = self;
    c->method = NULL;
    c->prev = c->next = c->hash_next = c->queue_next = NULL;
    c->gen_prev = c->gen_next = NULL;
    c->state = GI_SCALL_NEW;
    c->said = GATE_OK;
    c->live = c->returned = c->finished = c->away = c->orphan = false;
    c->broke = GATE_OK;
    c->sent = c->looked = 0;
    c->left = false;
    c->streaming = c->generating = c->gen_active = c->credited = false;
    c->timer = (gi_timer_t){0};
    c->call.deadline_ms = INT64_MAX;
    c->call.attempt = 1;
    c->call.user = "";
    c->call.client = (gate_bytes_t){NULL, 0};
    c->call.method = NULL;
    c->job = NULL;
    c->link = NULL;
    c->has_frames = false;
    c->packed = NULL;
    c->args_coming = NULL;
    c->local = NULL;
    c->future = c->held = NULL;
    c->stream = NULL;
    gi_ref_init(&c->refs);
    c->unsent_items = c->unsent_bytes = 0;
    c->gen_next_item = NULL;
    c->gen_state = NULL;
    c->gen_done = NULL;
    c->early = 0;
    c->huge = c->feeding = NULL;
    c->lost = false;
    atomic_store_explicit(&c->credit_pending, false, memory_order_relaxed);
    atomic_store_explicit(&c->owed_items, 0, memory_order_relaxed);
    atomic_store_explicit(&c->owed_bytes, 0, memory_order_relaxed);
    c->pool = NULL;
    c->ticket = 0;
}

gi_scall_t *gi_scall_alloc(gate_service_t *self) {
    gi_scall_t *c = gi_mem_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    gi_call_init(&c->call, &gi_scall_ops, self->rt, self->settings);
    gi_credit_init(&c->credit, GI_CREDIT_FREE, GI_CREDIT_FREE);
    s_fill(c, self);
    return c;
}

gi_scall_t *gi_scall_new(gate_service_t *self) {
    gi_scall_t *c = self->free_calls;
    if (!c)
        return gi_scall_alloc(self);
    self->free_calls = c->next;
    self->n_free--;
    s_fill(c, self);
    return c;
}

static void s_release_parts(gi_scall_t *c) {
    gi_sfeed_free(&c->huge);
    gi_sargs_leave(c);
    gi_sjob_free(c->job);
    c->job = NULL;
    if (c->gen_next_item && c->gen_done) /* it came back to nobody */
        c->gen_done(c->gen_state);
    c->gen_next_item = NULL;
    if (c->has_frames) {
        zmq_msg_close(&c->client_id);
        zmq_msg_close(&c->request_id);
        zmq_msg_close(&c->args);
        zmq_msg_close(&c->kwargs);
        c->has_frames = false;
    }
    gi_mem_free(c->packed);
    c->packed = NULL;
    if (c->held) {
        c->local->call = NULL;
        gi_future_drop(c->held);
    }
    if (c->stream)
        gi_stream_release(&c->stream);
}

void gi_scall_drop(gi_scall_t *c) {
    if (!gi_ref_drop(&c->refs))
        return;
    s_release_parts(c);
    gi_call_fini(&c->call);
    gi_credit_fini(&c->credit);
    gi_mem_free(c);
}

void gi_scall_free(gi_scall_t *c) {
    gate_service_t *self = c->service;
    if (!gi_ref_drop(&c->refs))
        return;
    s_release_parts(c);
    if (self->n_free >= S_FREE_MAX || self->stopping) {
        gi_call_fini(&c->call);
        gi_credit_fini(&c->credit);
        gi_mem_free(c);
        return;
    }
    if (self->n_free < S_RICH_MAX)
        gi_call_reset(&c->call);
    else
        gi_call_trim(&c->call);
    c->credit.cancelled = false;
    c->next = self->free_calls;
    self->free_calls = c;
    self->n_free++;
}

/* ---- the tables of live calls -------------------------------------------- */
static size_t s_slot(gate_bytes_t request) {
    uint64_t h = 1469598103934665603u;
    const unsigned char *p = request.data;
    for (size_t i = 0; i < request.size; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return (size_t)(h >> 20) & (GI_SCALL_HASH - 1);
}

gate_bytes_t gi_scall_bytes(zmq_msg_t *frame) {
    return (gate_bytes_t){zmq_msg_data(frame), zmq_msg_size(frame)};
}

static bool s_same(zmq_msg_t *frame, gate_bytes_t b) {
    return zmq_msg_size(frame) == b.size &&
           memcmp(zmq_msg_data(frame), b.data, b.size) == 0;
}

gi_scall_t *gi_scall_find(gi_link_t *link, gate_bytes_t client,
                          gate_bytes_t request) {
    gi_scall_t *c = link->service->hash[s_slot(request)];
    while (c &&
           !(c->link == link && c->epoch == link->epoch &&
             s_same(&c->request_id, request) && s_same(&c->client_id, client)))
        c = c->hash_next;
    return c;
}

/* It outlives its dispatch: others must be able to find it. */
void gi_scall_enlist(gi_scall_t *c) {
    gate_service_t *self = c->service;
    if (c->live)
        return;
    gi_ref_take(&c->refs);
    c->live = true;
    c->prev = NULL;
    c->next = self->live;
    if (c->next)
        c->next->prev = c;
    self->live = c;
    self->n_live++;
    if (c->link) {
        size_t slot = s_slot(gi_scall_bytes(&c->request_id));
        c->hash_next = self->hash[slot];
        self->hash[slot] = c;
        c->link->live++;
    }
    c->quiet_ms = self->now_ms;
    gi_scall_arm(c);
}

void gi_scall_unlist(gi_scall_t *c) {
    gate_service_t *self = c->service;
    if (!c->live)
        return;
    c->live = false;
    if (c->prev)
        c->prev->next = c->next;
    else
        self->live = c->next;
    if (c->next)
        c->next->prev = c->prev;
    self->n_live--;
    gi_wheel_cancel(self->wheel, &c->timer);
    if (c->link) {
        gi_scall_t **p = &self->hash[s_slot(gi_scall_bytes(&c->request_id))];
        while (*p != c)
            p = &(*p)->hash_next;
        *p = c->hash_next;
        c->link->live--;
    }
    gi_scall_free(c);
}
