/* SPDX-License-Identifier: BSD-3-Clause */
/* parcels.c -- batches at a socket (docs/extensions.md): what came in one is
 * handed out message by message; what goes is gathered, at a DEALER, whose
 * messages are all for one peer. (A ROUTER's are gathered by who knows its
 * peers.) What cannot be sent stays here, and then nothing more is taken, so
 * the order is kept and there is one batch at most. */
#include "net/sock.h"

#include <errno.h>
#include "base/mem.h"

/* ---- what came in one ----------------------------------------------------- */
static void s_free(gi_parcel_t *parcel) {
    zmq_msg_close(&parcel->id);
    zmq_msg_close(&parcel->frame);
    gi_mem_free(parcel);
}

void gi_parcel_give(gi_parcel_t *parcel) {
    if (--parcel->n_users == 0 && parcel->left)
        s_free(parcel);
}

void gi_parcel_leave(gi_parcel_t *parcel) {
    parcel->left = true;
    if (parcel->n_users == 0)
        s_free(parcel);
}

void gi_parcel_fill(gi_parcel_t *parcel, gi_frames_t *self, unsigned at) {
    parcel->frame = self->f[at];
    if (at)
        parcel->id = self->f[0];
    else
        zmq_msg_init(&parcel->id);
    self->held = 0;
    gi_frames_close(self);
}

/* The first frame is libzmq's message, with its properties, and not ours to
 * close. */
void gi_parcel_cut(gi_parcel_t *parcel, gi_frames_t *self, unsigned at,
                   gate_bytes_t message) {
    gi_frames_init(self);
    if (at) {
        self->f[0] = parcel->id;
        self->at[0] = (gate_bytes_t){zmq_msg_data(&parcel->id),
                                     zmq_msg_size(&parcel->id)};
        self->whole = self->lent = self->asked = 1;
        self->n = 1;
    }
    gi_frames_lent(self, message);
    self->parcel = parcel;
    parcel->n_users++;
}

/* ---- what came ----------------------------------------------------------- */
/* Messages of the one before may be about still. */
static bool s_parcel(gi_sock_t *self) {
    if (self->parcel && self->parcel->n_users) {
        gi_parcel_leave(self->parcel);
        self->parcel = NULL;
    }
    if (!self->parcel) {
        self->parcel = gi_mem_calloc(1, sizeof *self->parcel);
    } else {
        zmq_msg_close(&self->parcel->id);
        zmq_msg_close(&self->parcel->frame);
    }
    return self->parcel;
}

int gi_parcel_next(gi_sock_t *self, gi_frames_t *frames) {
    gate_bytes_t message;
    bool first = self->reader.n == 0;
    if (gi_batch_next(&self->reader, &message))
        return -1;
    gi_parcel_cut(self->parcel, frames, self->router, message);
    frames->batched = true;
    frames->n_wire = first; /* of the whole, and of no other message of it */
    frames->wire[0] = self->reader.frame.size;
    return 1;
}

int gi_parcel_open(gi_sock_t *self, gi_frames_t *frames) {
    gate_bytes_t frame;
    if (!s_parcel(self)) {
        gi_frames_close(frames);
        return -1;
    }
    if (self->router)
        self->srcfd = gi_frame_srcfd(&frames->f[0]);
    gi_parcel_fill(self->parcel, frames, self->router);
    frame = (gate_bytes_t){zmq_msg_data(&self->parcel->frame),
                           zmq_msg_size(&self->parcel->frame)};
    gi_batch_read(&self->reader, frame);
    return gi_parcel_next(self, frames);
}

/* ---- what goes ----------------------------------------------------------- */
bool gi_parcel_waits(const gi_sock_t *self) {
    return self->out && self->out->n > 0;
}

/* True: nothing waits any more. A first one is sent as a batch in any case:
 * that is how the other side learns that we read them. */
static bool s_send(gi_sock_t *self) {
    gi_frames_t one;
    if (!gi_parcel_waits(self))
        return true;
    gate_bytes_t frame = gi_batch_frame(self->out, self->told);
    gi_frames_init(&one);
    gi_frames_lent(&one, frame);
    int rc = gi_frames_send(self->raw, &one);
    gi_frames_close(&one);
    if (rc == EAGAIN)
        return false;
    gi_batch_init(self->out);
    self->told = true;
    return true;
}

bool gi_parcel_flush(gi_sock_t *self) {
    bool any = self->raw && gi_parcel_waits(self);
    self->pass++;
    if (!any)
        return false;
    self->maybe = true;
    return s_send(self);
}

/* As gi_frames_send. */
static int s_alone(gi_sock_t *self, gi_frames_t *frames) {
    return s_send(self) ? gi_frames_send(self->raw, frames) : EAGAIN;
}

static int s_gather(gi_sock_t *self, gi_frames_t *frames) {
    const gate_bytes_t *view = gi_frames_views(frames) + 1;
    unsigned n = frames->n - 1;
    gi_batch_put_t put = gi_batch_put(self->out, view, n);
    if (put == GI_BATCH_NO_ROOM) {
        if (!s_send(self))
            return EAGAIN;
        put = gi_batch_put(self->out, view, n);
    }
    if (put != GI_BATCH_IN)
        return s_alone(self, frames);
    gi_frames_close(frames);
    if (!self->told)
        s_send(self);
    return 0;
}

static bool s_out(gi_sock_t *self) {
    if (!self->out && (self->out = gi_mem_alloc(sizeof *self->out)))
        gi_batch_init(self->out);
    return self->out;
}

int gi_parcel_send(gi_sock_t *self, gi_frames_t *frames) {
    bool may = frames->batched && frames->packed && frames->n > 1;
    bool alone = gi_batch_alone(&self->pace, self->pass);
    if (!may) { /* by frames: so does the other side from now on */
        self->told &= frames->packed;
        return s_alone(self, frames);
    }
    if ((alone && self->told && !gi_parcel_waits(self)) || !s_out(self))
        return gi_frames_send(self->raw, frames);
    return s_gather(self, frames);
}

void gi_parcel_drop(gi_sock_t *self) {
    if (self->out)
        gi_batch_init(self->out);
}

void gi_parcel_close(gi_sock_t *self) {
    if (self->parcel)
        gi_parcel_leave(self->parcel);
    gi_mem_free(self->out);
    self->parcel = NULL;
    self->out = NULL;
    self->reader = (gi_batch_reader_t){.at = 0};
}
