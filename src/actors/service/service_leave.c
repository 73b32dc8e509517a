/* SPDX-License-Identifier: BSD-3-Clause */
/* service_leave.c -- callers that leave: cancel, a lost broker, the
 * service's own end. */
#include "service/service_impl.h"

#include "base/err.h"

static const gate_error_t s_stopped = {GATE_WORKERLOST, "WorkerLostError",
                                       "the service was stopped", ""};
static const gate_error_t s_reader_left = {GATE_CANCELLED, "CancelledError",
                                           "the reader left", ""};

/* ---- callers that leave -------------------------------------------------- */
void gi_scall_unqueue(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gi_scall_t **p = &self->waiting_head;
    while (*p != c)
        p = &(*p)->queue_next;
    *p = c->queue_next;
    if (!*p)
        self->waiting_tail = p;
    self->n_waiting--;
    gi_wheel_cancel(self->wheel, &c->timer);
}

/* A pool's handler notices; what nobody works on ends at once, a kept call too:
 * whoever keeps it may never look. */
void gi_scall_cancel(gi_scall_t *c) {
    bool stopping = c->service->stopping;
    if (c->state == GI_SCALL_DONE)
        return;
    c->service->stats.cancelled++;
    atomic_store(&c->call.cancel, true);
    gi_credit_cancel(&c->credit);
    if (c->ticket)
        gi_pool_cancel(c->pool, c->ticket);
    if (c->state == GI_SCALL_WAITING || c->state == GI_SCALL_GENERATING ||
        (c->state == GI_SCALL_KEPT && !c->away))
        gi_scall_cut(c, stopping ? &s_stopped : &s_reader_left);
    else if (c->huge)
        gi_shuge_cancel(c);
    else if (c->state == GI_SCALL_ARRIVING)
        gi_sargs_cancel(c);
}

/* The link's callers are gone; at the service's own end they are told, and only
 * who runs a call has it. */
static void s_orphan(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gi_ref_take(&c->refs);
    c->orphan = !self->stopping;
    gi_scall_cancel(c);
    if (self->stopping && c->state != GI_SCALL_DONE)
        gi_scall_cut(c, &s_stopped);
    gi_scall_free(c);
}

void gi_scall_orphan_all(gate_service_t *self, gi_link_t *link) {
    gi_scall_t *next;
    for (gi_scall_t *c = self->waiting_head; c; c = next) {
        next = c->queue_next;
        if (!link || c->link == link)
            s_orphan(c);
    }
    for (gi_scall_t *c = self->live; c; c = next) {
        next = c->next;
        if (!link || c->link == link)
            s_orphan(c);
    }
}
