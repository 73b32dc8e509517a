/* SPDX-License-Identifier: BSD-3-Clause */
/* service_table.c -- what the actor owns (service_own.h), and in it calls as
 * objects: where they come from, where they are kept while they live, who frees
 * them (see service_call.h). */
#include "service/service_own.h"
#include "service/service_run.h"

#include <string.h>
#include "base/mem.h"

#define S_FREE_MAX 2048 /* calls kept for reuse */
#define S_RICH_MAX 256  /* of them with what they allocated */

/* ---- what the actor owns -------------------------------------------------- */
bool gi_service_own_new(gate_service_t *self) {
    gi_service_own_t *own = gi_mem_alloc(sizeof *own);
    if (!own)
        return false;
    memset(own, 0, offsetof(gi_service_own_t, in));
    gi_frames_init(&own->in);
    gi_frames_init(&own->out);
    own->table.lists = own->table.few;
    own->table.n_lists = GI_SCALL_FEW;
    self->own = own;
    return true;
}

void gi_service_own_free(gate_service_t *self) {
    gi_buf_fini(&self->own->scratch);
    gi_mem_free(self->own);
}

/* ---- life ---------------------------------------------------------------- */
static void s_fill(gi_scall_t *c, gate_service_t *self) {
    gi_life_reset(&c->life, &self->own->core);
    c->service = self;
    c->method = NULL;
    c->hash_next = NULL;
    c->left = false;
    c->call.deadline_ms = INT64_MAX;
    c->call.attempt = 1;
    c->call.user = "";
    c->call.client = (gate_bytes_t){NULL, 0};
    c->call.method = NULL;
    c->hand = (gi_shand_t){0};
    c->link = NULL;
    c->rows = false;
    c->quick = 0;
    c->n_kept = c->n_large = 0;
    c->packed = NULL;
    c->args_coming = NULL;
    c->local = NULL;
    c->future = c->held = NULL;
    c->stream = NULL;
    gi_ref_init(&c->refs);
    c->early = 0;
    c->huge = NULL;
    c->pool = NULL;
    c->ticket = 0;
    c->trace.taken_ns = 0;
    c->trace.told = NULL;
}

gi_scall_t *gi_scall_alloc(gate_service_t *self) {
    gi_scall_t *c = gi_mem_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    gi_call_init(&c->call, &gi_scall_ops, self->is.rt, self->is.settings);
    gi_credit_init(&c->life.credit, GI_CREDIT_FREE, GI_CREDIT_FREE);
    s_fill(c, self);
    return c;
}

gi_scall_t *gi_scall_new(gate_service_t *self) {
    gi_scall_t *c = self->own->table.free;
    if (!c)
        return gi_scall_alloc(self);
    self->own->table.free = c->free_next;
    self->own->table.n_free--;
    s_fill(c, self);
    return c;
}

static void s_release_parts(gi_scall_t *c) {
    gi_sfeed_free(&c->huge);
    if (c->args_coming)
        gi_sargs_leave(c);
    if (c->hand.job)
        gi_sjob_free(c->hand.job);
    if (c->hand.next) /* it came back to nobody */
        gi_sstream_unpull(&c->life);
    while (c->n_large)
        zmq_msg_close(&c->large[--c->n_large]);
    gi_mem_free(c->packed);
    c->packed = NULL;
    if (c->held) {
        c->local->call = NULL;
        gi_future_drop(c->held);
    }
    if (c->stream)
        gi_stream_release(&c->stream);
    if (c->trace.told)
        gi_trace_drop(c->trace.told);
}

static void s_delete(gi_scall_t *c) {
    gi_call_fini(&c->call);
    gi_credit_fini(&c->life.credit);
    gi_mem_free(c);
}

void gi_scall_drop(gi_scall_t *c) {
    if (!gi_ref_drop(&c->refs))
        return;
    s_release_parts(c);
    s_delete(c);
}

void gi_scall_free(gi_scall_t *c) {
    gate_service_t *self = c->service;
    if (!gi_ref_drop(&c->refs))
        return;
    s_release_parts(c);
    if (self->own->table.n_free >= S_FREE_MAX || self->own->core.stopping) {
        s_delete(c);
        return;
    }
    if (self->own->table.n_free < S_RICH_MAX)
        gi_call_reset(&c->call);
    else
        gi_call_trim(&c->call);
    c->free_next = self->own->table.free;
    self->own->table.free = c;
    self->own->table.n_free++;
}

void gi_scall_free_all(gate_service_t *self) {
    while (self->own->table.free) {
        gi_scall_t *c = self->own->table.free;
        self->own->table.free = c->free_next;
        self->own->table.n_free--;
        s_delete(c);
    }
    if (self->own->table.lists != self->own->table.few)
        gi_mem_free(self->own->table.lists);
    self->own->table.lists = self->own->table.few;
    self->own->table.n_lists = GI_SCALL_FEW;
}

/* ---- found by id --------------------------------------------------------- */
static uint64_t s_hash(gate_bytes_t request) {
    uint64_t h = 1469598103934665603u;
    const unsigned char *p = request.data;
    for (size_t i = 0; i < request.size; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static gi_scall_t **s_list(const gate_service_t *self, uint64_t hash) {
    return &self->own->table
                .lists[(size_t)(hash >> 20) & (self->own->table.n_lists - 1)];
}

static void s_put(gate_service_t *self, gi_scall_t *c) {
    gi_scall_t **at = s_list(self, c->hash);
    c->hash_next = *at;
    *at = c;
}

/* Twice as many lists as there are calls; without memory they are longer. */
static void s_grow(gate_service_t *self) {
    gi_scall_t **before = self->own->table.lists, *c, *next;
    size_t n = self->own->table.n_lists;
    gi_scall_t **lists = gi_mem_calloc(4 * n, sizeof *lists);
    if (!lists)
        return;
    self->own->table.lists = lists;
    self->own->table.n_lists = 4 * n;
    for (size_t i = 0; i < n; i++)
        for (c = before[i]; c; c = next) {
            next = c->hash_next;
            s_put(self, c);
        }
    if (before != self->own->table.few)
        gi_mem_free(before);
}

static bool s_same(gate_bytes_t a, gate_bytes_t b) {
    return a.size == b.size && memcmp(a.data, b.data, b.size) == 0;
}

gi_scall_t *gi_scall_find(gi_link_t *link, gate_bytes_t client,
                          gate_bytes_t request) {
    gi_scall_t *c = *s_list(link->service, s_hash(request));
    while (c &&
           !(c->link == link && c->epoch == link->epoch &&
             s_same(c->request_id, request) && s_same(c->client_id, client)))
        c = c->hash_next;
    return c;
}

void gi_scall_list(gi_life_t *life, bool on) {
    gi_scall_t *c = gi_scall_of(life);
    gate_service_t *self = c->service;
    if (!c->link)
        return;
    if (on) {
        if (++self->own->table.n_listed > self->own->table.n_lists)
            s_grow(self);
        c->hash = s_hash(c->request_id);
        s_put(self, c);
        c->link->live++;
        return;
    }
    gi_scall_t **at = s_list(self, c->hash);
    while (*at != c)
        at = &(*at)->hash_next;
    *at = c->hash_next;
    self->own->table.n_listed--;
    c->link->live--;
}
