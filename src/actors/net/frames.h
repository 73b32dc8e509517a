/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.h -- multipart messages. Between our own peers the small frames of a
 * message travel packed in one (docs/extensions.md, packed messages), since it
 * is frames that cost; so they are made into messages of libzmq as late as can
 * be, most never: a frame is a view of bytes that lie elsewhere (the packed one
 * that came, the scratch here, a constant) or a zmq_msg_t, which is moved and
 * never copied.
 * Law: what a view shows stays until the message is sent or closed. A frame
 * that was passed on from another message holds no longer than that one.
 * Blocks: never (DONTWAIT everywhere). */
#ifndef GI_FRAMES_H
#define GI_FRAMES_H

#include <gaterpc/base.h>
#include <zmq.h>

#define GI_FRAMES_MAX 64

#define GI_FRAMES_SCRATCH 1024

/* Who sets n = 0 alone has an empty one: the first frame sets the rest. */
typedef struct gi_frames {
    unsigned n;
    bool broken;     /* there was no memory for a frame; until it is closed */
    bool packed;     /* it came so; send it so. Set it behind the first frame */
    bool batched;    /* the same: in a batch; only with packed */
    bool has_block;  /* of views there are bytes in block */
    unsigned used;   /* of scratch */
    uint64_t whole;  /* a bit a frame: it is the message f[i], not a view */
    uint64_t held;   /* of those: ours to close; else passed on, or taken */
    uint64_t lent;   /* of those: a parcel's */
    uint64_t asked;  /* of those: at[i] is known */
    unsigned n_wire; /* it came packed: the frames that it was */
    gate_bytes_t at[GI_FRAMES_MAX]; /* size SIZE_MAX: ask libzmq */
    size_t wire[GI_FRAMES_MAX];     /* the sizes of those, as above; of a batch
                                     * its first message has the whole */
    struct gi_parcel *parcel; /* of views there are bytes in it; may be NULL */
    zmq_msg_t block;
    unsigned char scratch[GI_FRAMES_SCRATCH];
    /* gi_frames_message: as one for sure. Last: of most the end is never
     * touched. */
    zmq_msg_t f[GI_FRAMES_MAX];
} gi_frames_t;

/* Empty; one of zeros is, too. */
static inline void gi_frames_init(gi_frames_t *self) {
    self->n = self->n_wire = self->used = 0;
    self->broken = self->packed = self->batched = self->has_block = false;
    self->whole = self->held = self->lent = self->asked = 0;
    self->parcel = NULL;
}
/* 1: a whole message; 0: none there; -1: one that has more than max frames, of
 * which these are the first: close them. *rest (false at first, kept from call
 * to call) says then that others of it are to come: -2 means that some of them
 * were dropped, a bounded number. The struct must be empty (n = 0). */
int gi_frames_recv(void *socket, gi_frames_t *self, unsigned max, bool *rest);
/* Unpacks a packed message; at: frames before it (1 at a ROUTER). False: it is
 * none that can be read, or has more than max frames in all; self is empty. Any
 * other message stays as it is. */
bool gi_frames_unpack(gi_frames_t *self, unsigned at, unsigned max);
void gi_frames_close(gi_frames_t *self); /* closes what is left; n = 0 */
/* Borrowed views of all frames, for the parsers. */
const gate_bytes_t *gi_frames_views(gi_frames_t *self);
/* The same of frames first..n-1, copied to out. */
void gi_frames_view(const gi_frames_t *self, unsigned first, gate_bytes_t *out);
void gi_frames_ask(gi_frames_t *self, unsigned i);
static inline gate_bytes_t gi_frames_at(gi_frames_t *self, unsigned i) {
    if ((self->whole & ~self->asked) >> i & 1)
        gi_frames_ask(self, i);
    return self->at[i];
}
/* Frame i as a message, which stays there; NULL: no memory. */
zmq_msg_t *gi_frames_message(gi_frames_t *self, unsigned i);
size_t gi_frames_bytes(const gi_frames_t *self, unsigned first);
/* A frame holding a copy; false: no memory. */
bool gi_frame_init(zmq_msg_t *frame, const void *data, size_t size);
/* Appends; moves src (which is empty afterwards). */
void gi_frames_move(gi_frames_t *self, zmq_msg_t *src);
/* The same as move for frame i of another message, which is still to be closed,
 * and not before this one is sent or closed. */
void gi_frames_pass(gi_frames_t *self, gi_frames_t *from, unsigned i);
/* Frame i to where it outlives the message; to is not initialised before, nor
 * when there is no memory: false. */
bool gi_frames_take(gi_frames_t *self, unsigned i, zmq_msg_t *to) GATE_MUST;
bool gi_frames_add(gi_frames_t *self, const void *data, size_t size);
/* A frame of data, whose memory is released (on any thread) when it has been
 * sent or dropped. False: no memory, and nothing was taken. */
bool gi_frames_give(gi_frames_t *self, const void *data, size_t size,
                    zmq_free_fn *release, void *hint);
/* Appends a frame to be filled by the caller; NULL: no memory. */
void *gi_frames_room(gi_frames_t *self, size_t size);
/* Frame i becomes another one; false: no memory, it is as it was. */
bool gi_frames_replace(gi_frames_t *self, unsigned i, const void *data,
                       size_t size);
void gi_frames_pop(gi_frames_t *self); /* without its last one */
/* Frames that most messages begin with, ready made; worker commands follow
 * GI_FRAME_COMMAND. */
enum {
    GI_FRAME_EMPTY,
    GI_FRAME_CLIENT_TAG,
    GI_FRAME_WORKER_TAG,
    GI_FRAME_COMMAND,
    GI_FRAME_CONSTANTS = GI_FRAME_COMMAND + 7
};
void gi_frames_add_const(gi_frames_t *self, unsigned which);
/* ---- packed, for who carries messages in another way than by ZeroMQ --------- */
/* Appends a frame of bytes that stay until self is sent or closed. Of an empty
 * self: the message that a packed one with no frame outside is, to be unpacked. */
void gi_frames_lent(gi_frames_t *self, gate_bytes_t packed);
/* Bytes of all frames behind the empty one, which is frame at, as one packed one
 * with none outside. */
size_t gi_frames_pack_size(gi_frames_t *self, unsigned at);
/* Writes exactly that many; self is closed. */
void gi_frames_pack(gi_frames_t *self, unsigned at, void *to);
/* Sends all frames and empties self (a sent frame needs no close). 0: sent.
 * Else errno (EAGAIN, EHOSTUNREACH, ...) and self is as it was: with a ROUTER
 * that is MANDATORY both come on the first frame only. A packed message has at
 * most one frame before its empty one. */
int gi_frames_send(void *socket, gi_frames_t *self);

/* ---- parcels.c: a message of a batch -------------------------------------- */
/* What came in one frame and is several messages: each is views of it, so it
 * stays until the last of them is closed. */
typedef struct gi_parcel {
    unsigned n_users; /* messages of it that are not closed */
    bool left;        /* nobody else has it: goes with the last of them */
    zmq_msg_t id;     /* the frame before it, with what the transport says */
    zmq_msg_t frame;
} gi_parcel_t;

/* The batch in frame at of a message, and the frame before it, if any, to a
 * parcel; frames is empty afterwards. */
void gi_parcel_fill(gi_parcel_t *parcel, gi_frames_t *frames, unsigned at);
/* One of its messages, that is to be unpacked, to frames, which is empty. */
void gi_parcel_cut(gi_parcel_t *parcel, gi_frames_t *frames, unsigned at,
                   gate_bytes_t message);
/* Its owner is done with it. */
void gi_parcel_leave(gi_parcel_t *parcel);
void gi_parcel_give(gi_parcel_t *parcel); /* one of its messages is closed */

#endif
