/* SPDX-License-Identifier: BSD-3-Clause */
/* service_link_send.c -- what a worker says to its broker: one message at a time
 * is made in service->out; what the socket does not take waits here, in order.
 * Small items of a stream wait for others of their pass and go in a row
 * (docs/extensions.md); whatever else is said comes behind them. */
#include "service/service_own.h"
#include "service/service_call.h"

#include <errno.h>
#include <string.h>
#include "base/mem.h"

gi_frames_t *gi_link_send_begin(gi_link_t *link, int command) {
    gi_link_send_row(link->service);
    gi_frames_t *out = &link->service->own->out;
    gi_frames_close(out);
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_add_const(out, GI_FRAME_WORKER_TAG);
    gi_frames_add_const(out, GI_FRAME_COMMAND + (unsigned)command);
    gi_login_frames(&link->service->is.login, out);
    return out;
}

static void s_free(gi_outgoing_t *o) {
    while (o && o->n)
        zmq_msg_close(&o->f[--o->n]);
    gi_mem_free(o);
}

static void s_queue(gi_link_t *link, gi_frames_t *frames) {
    gi_outgoing_t *o =
        gi_mem_calloc(1, sizeof *o + frames->n * sizeof frames->f[0]);
    while (o && o->n < frames->n && gi_frames_take(frames, o->n, &o->f[o->n]))
        o->n++;
    bool all = o && o->n == frames->n;
    gi_frames_close(frames);
    link->mute |= !all;
    if (!all) {
        s_free(o);
        return;
    }
    *link->out_tail = o;
    link->out_tail = &o->next;
    link->out_n++;
}

bool gi_link_send(gi_link_t *link) {
    gi_frames_t *out = &link->service->own->out;
    link->mute |= out->broken;
    if (!link->sock.raw || out->broken) {
        gi_frames_close(out);
        return true; /* the broker that asked is gone, or will be */
    }
    out->packed = link->packs;
    out->batched = link->batches;
    int rc = link->out_n ? EAGAIN : gi_sock_send(&link->sock, out);
    if (rc == EAGAIN)
        s_queue(link, out);
    else
        gi_frames_close(out);
    return rc != EAGAIN;
}

/* The first is sent, or dropped. */
static void s_shift(gi_link_t *link) {
    gi_outgoing_t *o = link->out_head;
    link->out_head = o->next;
    if (!o->next)
        link->out_tail = &link->out_head;
    link->out_n--;
    s_free(o);
}

void gi_link_send_drop(gi_link_t *link) {
    while (link->out_head)
        s_shift(link);
}

bool gi_link_send_all(gate_service_t *self) {
    bool any = false;
    gi_link_send_row(self);
    for (gi_link_t *link = self->own->links; link; link = link->next)
        any |= gi_parcel_flush(&link->sock);
    return any;
}

bool gi_link_send_flush(gi_link_t *link) {
    bool any = false;
    gi_frames_t frames;
    while (link->out_head && link->sock.raw) {
        gi_outgoing_t *o = link->out_head;
        frames.n = 0;
        for (unsigned i = 0; i < o->n; i++)
            gi_frames_move(&frames, &o->f[i]);
        frames.packed = link->packs;
        frames.batched = link->batches;
        if (gi_sock_send(&link->sock, &frames) == EAGAIN) {
            for (unsigned i = 0; i < o->n; i++)
                zmq_msg_move(&o->f[i], &frames.f[i]);
            gi_frames_close(&frames);
            break;
        }
        gi_frames_close(&frames);
        s_shift(link);
        any = true;
    }
    if (any && !link->out_head)
        gi_life_unblock_all(&link->service->own->core, link);
    return any;
}

/* ---- rows of items ------------------------------------------------------- */
static gi_swaiting_t *s_waiting(gi_service_own_t *own) {
    if (!own->waiting)
        own->waiting = gi_mem_calloc(1, sizeof *own->waiting);
    return own->waiting;
}

bool gi_link_send_gather(gi_scall_t *c, const void *data, size_t size) {
    bool may = c->rows && (!c->life.pulling || c->quick == GI_SCALL_QUICK);
    gi_swaiting_t *waiting = may ? s_waiting(c->service->own) : NULL;
    if (!waiting)
        return false;
    if (waiting->call && waiting->call != c)
        gi_link_send_row(c->service);
    if (!gi_row_put(&waiting->row, data, size)) {
        gi_link_send_row(c->service);
        if (!gi_row_put(&waiting->row, data, size))
            return false;
    }
    if (!waiting->call)
        gi_ref_take(&c->refs);
    waiting->call = c;
    return true;
}

/* What waits, as a row; one alone as an item. It was accepted: what the socket
 * does not take is queued. */
void gi_link_send_row(gate_service_t *self) {
    gi_swaiting_t *waiting = self->own->waiting;
    gi_scall_t *c = waiting ? waiting->call : NULL;
    if (!c)
        return;
    waiting->call = NULL;
    gate_bytes_t row = {waiting->row.data, waiting->row.size}, item = row;
    bool several = waiting->row.n > 1;
    waiting->row.n = 0;
    waiting->row.size = 0;
    gi_frames_t *out = gi_scall_answer(c);
    if (out && several) {
        gi_frames_add(out, GI_ROW_TAG, GI_ROW_TAG_SIZE);
        gi_frames_add(out, row.data, row.size);
    } else if (out && gi_row_next(&row, &item)) {
        gi_frames_add(out, GI_STREAM_TAG, strlen(GI_STREAM_TAG));
        gi_frames_add(out, item.data, item.size);
    }
    if (out)
        gi_link_send(c->link);
    gi_scall_free(c);
}
