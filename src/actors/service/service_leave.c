/* SPDX-License-Identifier: BSD-3-Clause */
/* service_leave.c -- callers that leave: cancel, a lost broker, the
 * service's own end. */
#include "service/service_impl.h"

#include "base/err.h"

/* ---- callers that leave -------------------------------------------------- */
static void s_unqueue(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gi_scall_t **p = &self->waiting_head;
    while (*p != c)
        p = &(*p)->queue_next;
    *p = c->queue_next;
    if (!*p)
        self->waiting_tail = p;
    self->n_waiting--;
}

void gi_scall_cancel(gi_scall_t *c) {
    if (c->state == GI_SCALL_DONE)
        return;
    c->service->stats.cancelled++;
    atomic_store(&c->call.cancel, true);
    gi_credit_cancel(&c->credit);
    if (c->ticket && (c->returned || c->method->runs == GATE_PROCESS))
        gi_pool_cancel(c->pool, c->ticket);
    if (c->huge) {
        gi_shuge_cancel(c);
    } else if (c->state == GI_SCALL_ARRIVING) {
        gi_sargs_cancel(c);
    } else if (c->state == GI_SCALL_GENERATING) {
        gi_error_story(&c->call.error, GATE_CANCELLED, NULL, "the reader left",
                       NULL);
        gi_scall_end(c, GATE_CANCELLED);
    } else if (c->state == GI_SCALL_WAITING) {
        s_unqueue(c);
        gi_scall_refuse(c, GATE_CANCELLED, NULL, "cancelled while it waited");
    }
}

/* Says so to the caller while it can, then only the runner has the call. */
static void s_abandon(gi_scall_t *c) {
    static const gate_error_t stopped = {GATE_WORKERLOST, "WorkerLostError",
                                         "the service was stopped", ""};
    if (c->streaming)
        gi_sstream_end(c, &stopped);
    else if (!c->huge) /* else it was told */
        gi_scall_answer_error(c, &stopped);
    /* whoever feeds a huge result has a reference beside the runner's */
    bool fed = c->huge && c->state == GI_SCALL_KEPT;
    c->orphan = true;
    gi_stream_release(&c->stream);
    if (!c->link)
        gi_gauge_leave(&c->service->local);
    c->left = true;
    gi_scall_unlist(c);
    if (fed)
        gi_scall_drop(c);
}

void gi_scall_orphan_all(gate_service_t *self, gi_link_t *link) {
    gi_scall_t *next;
    for (gi_scall_t *c = self->waiting_head; c; c = next) {
        next = c->queue_next;
        if (!link || c->link == link) {
            c->orphan = !self->stopping;
            gi_scall_cancel(c);
        }
    }
    for (gi_scall_t *c = self->live; c; c = next) {
        next = c->next;
        if (link && c->link != link)
            continue;
        bool away = c->state != GI_SCALL_GENERATING &&
                    c->state != GI_SCALL_HUGE && c->state != GI_SCALL_ARRIVING;
        c->orphan = !self->stopping;
        gi_scall_cancel(c);
        if (away && self->stopping)
            s_abandon(c);
    }
}
