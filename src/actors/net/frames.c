/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.c -- views and zmq_msg_t. Moving a message is a 64-byte copy; a body is
 * never touched, unless it is small and travels packed. Until it is sent to who
 * wants frames, a small frame is its bytes and nothing else: libzmq's message
 * of it is made then. That is worth 6,000 of the 29,000 instructions of a call
 * (callgrind, inproc). */
#include "net/frames.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "base/handover.h"
#include "wire/packed.h"
#include "base/tags.h"

/* ---- light messages ---------------------------------------------------------
 * libzmq keeps a small message inside zmq_msg_t, so a copy of the struct is a
 * message of its own, its bytes are at a known place and there is nothing to
 * close. Where that place is is asked once, through libzmq's own functions. */
#define S_LIGHT_MAX 29 /* what libzmq promises to keep inside; 33 in 4.3 */

static zmq_msg_t s_light[S_LIGHT_MAX + 1]; /* by size; bytes not set */
static size_t s_light_at;                  /* where in it they are */
static size_t s_light_max;                 /* 0: only empty frames are light */

static size_t s_inside(zmq_msg_t *m) {
    uintptr_t at = (uintptr_t)zmq_msg_data(m) - (uintptr_t)m;
    return at + zmq_msg_size(m) <= sizeof *m ? at : SIZE_MAX;
}

__attribute__((constructor)) static void s_make_light(void) {
    s_light_max = S_LIGHT_MAX;
    for (size_t n = 0; n <= S_LIGHT_MAX; n++) {
        zmq_msg_init_size(&s_light[n], n);
        size_t at = s_inside(&s_light[n]);
        if (n == 1)
            s_light_at = at;
        if (n > 0 && (at == SIZE_MAX || at != s_light_at))
            s_light_max = 0;
    }
}

static uint64_t s_bit(unsigned i) { return (uint64_t)1 << i; }

/* Bits 0..n-1. */
static uint64_t s_below(unsigned n) {
    return n < 64 ? s_bit(n) - 1 : UINT64_MAX;
}

/* ---- receiving ----------------------------------------------------------- */
/* Some of the frames that nobody wants: there may be millions. */
static bool s_drop_some(void *socket) {
    zmq_msg_t rest;
    bool more = true;
    for (unsigned n = 0; more && n < GI_FRAMES_MAX; n++) {
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) >= 0 &&
               zmq_msg_more(&rest);
        zmq_msg_close(&rest);
    }
    return more;
}

int gi_frames_recv(void *socket, gi_frames_t *self, unsigned max, bool *rest) {
    if (*rest) {
        *rest = s_drop_some(socket);
        return -2;
    }
    if (max > GI_FRAMES_MAX)
        max = GI_FRAMES_MAX;
    gi_frames_init(self);
    for (;;) {
        zmq_msg_t *f = &self->f[self->n];
        *f = s_light[0];
        int size = zmq_msg_recv(f, socket, ZMQ_DONTWAIT);
        if (size < 0) {
            zmq_msg_close(f);
            gi_frames_close(self);
            return 0;
        }
        GI_HANDOVER_RECEIVED(zmq_msg_data(f));
        /* the result is an int: a frame of 2 GiB and more says INT_MAX */
        self->at[self->n].size = size < INT_MAX ? (size_t)size : SIZE_MAX;
        self->whole |= s_bit(self->n);
        self->held |= s_bit(self->n++);
        if (!zmq_msg_more(f))
            return 1;
        if (self->n == max) {
            *rest = true;
            return -1;
        }
    }
}

void gi_frames_close(gi_frames_t *self) {
    self->broken = false;
    if (!self->n)
        return;
    uint64_t held = self->held & s_below(self->n);
    for (; held; held &= held - 1)
        zmq_msg_close(&self->f[__builtin_ctzll(held)]);
    if (self->has_block)
        zmq_msg_close(&self->block);
    if (self->parcel)
        gi_parcel_give(self->parcel);
    self->has_block = false;
    self->parcel = NULL;
    self->n = 0;
}

static zmq_msg_t *s_message(const gi_frames_t *self, unsigned i) {
    return (zmq_msg_t *)(uintptr_t)&self->f[i];
}

/* libzmq's getters take a non-const pointer but change nothing. */
static size_t s_size(const gi_frames_t *self, unsigned i) {
    return self->at[i].size != SIZE_MAX ? self->at[i].size
                                        : zmq_msg_size(s_message(self, i));
}

static gate_bytes_t s_view(const gi_frames_t *self, unsigned i) {
    if ((~self->whole | self->asked) >> i & 1)
        return self->at[i];
    return (gate_bytes_t){zmq_msg_data(s_message(self, i)), s_size(self, i)};
}

void gi_frames_ask(gi_frames_t *self, unsigned i) {
    self->at[i] = s_view(self, i);
    self->asked |= s_bit(i);
}

const gate_bytes_t *gi_frames_views(gi_frames_t *self) {
    uint64_t left = self->n ? self->whole & ~self->asked & s_below(self->n) : 0;
    for (; left; left &= left - 1)
        gi_frames_ask(self, (unsigned)__builtin_ctzll(left));
    return self->at;
}

void gi_frames_view(const gi_frames_t *self, unsigned first,
                    gate_bytes_t *out) {
    for (unsigned i = first; i < self->n; i++)
        out[i - first] = s_view(self, i);
}

size_t gi_frames_bytes(const gi_frames_t *self, unsigned first) {
    size_t sum = 0;
    for (unsigned i = first; i < self->n; i++)
        sum += s_size(self, i);
    return sum;
}

/* ---- making -------------------------------------------------------------- */
bool gi_frame_init(zmq_msg_t *frame, const void *data, size_t size) {
    if (size <= s_light_max) {
        *frame = s_light[size];
        gi_copy_short((unsigned char *)frame + s_light_at, data, size);
        return true;
    }
    if (zmq_msg_init_size(frame, size) < 0)
        return false;
    if (size)
        memcpy(zmq_msg_data(frame), data, size);
    return true;
}

/* The next frame. Those that are not there yet have no bits. */
static unsigned s_next(gi_frames_t *self) {
    assert(self->n < GI_FRAMES_MAX);
    if (!self->n)
        gi_frames_init(self);
    return self->n++;
}

/* The next one is to be made in f, and is of that size; SIZE_MAX: not known. */
static zmq_msg_t *s_next_message(gi_frames_t *self, size_t size) {
    unsigned i = s_next(self);
    self->whole |= s_bit(i);
    self->held |= s_bit(i);
    self->at[i].size = size;
    return &self->f[i];
}

static void s_next_view(gi_frames_t *self, const void *data, size_t size) {
    self->at[s_next(self)] = (gate_bytes_t){data, size};
}

/* The last one is none. */
static bool s_broken(gi_frames_t *self) {
    self->n--;
    self->whole &= s_below(self->n);
    self->held &= s_below(self->n);
    self->broken = true;
    return false;
}

/* Of scratch; NULL: there is not so much. */
static void *s_scratch(gi_frames_t *self, size_t size) {
    if (size > sizeof self->scratch - self->used)
        return NULL;
    self->used += (unsigned)size;
    return self->scratch + self->used - size;
}

void gi_frames_move(gi_frames_t *self, zmq_msg_t *src) {
    zmq_msg_t *f = s_next_message(self, SIZE_MAX);
    zmq_msg_init(f);
    zmq_msg_move(f, src);
}

/* A whole zmq_msg_t is copied and its source forgotten: what zmq_msg_move does
 * inside, less three calls; or only seen, where it is small or no message. */
void gi_frames_pass(gi_frames_t *self, gi_frames_t *from, unsigned i) {
    uint64_t bit = s_bit(i);
    if (!(from->held & bit) || from->at[i].size <= s_light_max) {
        gate_bytes_t view = gi_frames_at(from, i);
        s_next_view(self, view.data, view.size);
        return;
    }
    *s_next_message(self, from->at[i].size) = from->f[i];
    from->held &= ~bit;
}

bool gi_frames_take(gi_frames_t *self, unsigned i, zmq_msg_t *to) {
    if (!(self->held & s_bit(i))) {
        gate_bytes_t view = gi_frames_at(self, i);
        return gi_frame_init(to, view.data, view.size);
    }
    *to = self->f[i];
    self->held &= ~s_bit(i);
    return true;
}

/* A view may be of f[i] itself, from where a small one was taken. */
zmq_msg_t *gi_frames_message(gi_frames_t *self, unsigned i) {
    uint64_t bit = s_bit(i);
    gate_bytes_t view = s_view(self, i);
    zmq_msg_t made;
    if ((self->held | self->lent) & bit)
        return &self->f[i];
    if (!gi_frame_init(&made, view.data, view.size))
        return NULL;
    self->f[i] = made;
    self->at[i].size = view.size;
    self->whole |= bit;
    self->held |= bit;
    self->asked &= ~bit;
    return &self->f[i];
}

void gi_frames_add_const(gi_frames_t *self, unsigned which) {
    static const gate_bytes_t constants[GI_FRAME_CONSTANTS] = {
        [GI_FRAME_EMPTY] = {"", 0},
        [GI_FRAME_CLIENT_TAG] = {GI_MDP_CLIENT, GI_MDP_TAG_SIZE},
        [GI_FRAME_WORKER_TAG] = {GI_MDP_WORKER, GI_MDP_TAG_SIZE},
        [GI_FRAME_COMMAND] = {"\0", 1},
        {"\1", 1},
        {"\2", 1},
        {"\3", 1},
        {"\4", 1},
        {"\5", 1},
        {"\6", 1}};
    assert(which < GI_FRAME_CONSTANTS);
    self->at[s_next(self)] = constants[which];
}

bool gi_frames_add(gi_frames_t *self, const void *data, size_t size) {
    unsigned i = s_next(self);
    unsigned char *to = s_scratch(self, size);
    if (to) {
        gi_copy_short(to, data, size);
        self->at[i] = (gate_bytes_t){to, size};
        return true;
    }
    self->n--;
    zmq_msg_t *f = s_next_message(self, size);
    return gi_frame_init(f, data, size) ? true : s_broken(self);
}

bool gi_frames_give(gi_frames_t *self, const void *data, size_t size,
                    zmq_free_fn *release, void *hint) {
    zmq_msg_t *f = s_next_message(self, size);
    void *mine = (void *)(uintptr_t)data;
    if (zmq_msg_init_data(f, mine, size, release, hint) == 0)
        return true;
    return s_broken(self);
}

void *gi_frames_room(gi_frames_t *self, size_t size) {
    unsigned i = s_next(self);
    unsigned char *to = s_scratch(self, size);
    if (to) {
        self->at[i] = (gate_bytes_t){to, size};
        return to;
    }
    self->n--;
    zmq_msg_t *f = s_next_message(self, size);
    if (zmq_msg_init_size(f, size) == 0)
        return zmq_msg_data(f);
    s_broken(self);
    return NULL;
}

/* Frame i is no message any more. */
static void s_empty(gi_frames_t *self, unsigned i) {
    uint64_t bit = s_bit(i);
    if (self->held & bit)
        zmq_msg_close(&self->f[i]);
    self->whole &= ~bit;
    self->held &= ~bit;
    self->lent &= ~bit;
    self->asked &= ~bit;
}

bool gi_frames_replace(gi_frames_t *self, unsigned i, const void *data,
                       size_t size) {
    zmq_msg_t fresh;
    unsigned char *to = s_scratch(self, size);
    if (!to && !gi_frame_init(&fresh, data, size))
        return false;
    s_empty(self, i);
    self->at[i] = (gate_bytes_t){to, size};
    if (to) {
        gi_copy_short(to, data, size);
        return true;
    }
    self->f[i] = fresh;
    self->whole |= s_bit(i);
    self->held |= s_bit(i);
    return true;
}

void gi_frames_pop(gi_frames_t *self) { s_empty(self, --self->n); }

/* ---- packed -----------------------------------------------------------------
 * The empty frame that every message begins with is left out. */
/* The frames that came outside, to where they belong: never to the left. */
static void s_spread(gi_frames_t *self, unsigned first, unsigned n,
                     unsigned n_outside) {
    for (unsigned i = n; n_outside > 0 && i-- > 0;) {
        if (self->at[first + i].size != SIZE_MAX)
            continue;
        n_outside--;
        self->at[first + i].size = self->wire[1 + n_outside];
        self->f[first + i] = self->f[first + n_outside];
        self->whole |= s_bit(first + i);
        self->held |= s_bit(first + i);
    }
}

/* Frame at to where it stays, its bytes too when they are few. */
static gate_bytes_t s_block(gi_frames_t *self, unsigned at) {
    if (!(self->held & s_bit(at)))
        return self->at[at];
    self->block = self->f[at];
    self->has_block = true;
    self->held &= ~s_bit(at);
    return (gate_bytes_t){zmq_msg_data(&self->block), self->at[at].size};
}

bool gi_frames_unpack(gi_frames_t *self, unsigned at, unsigned max) {
    unsigned n, n_outside, n_all = self->n;
    if (n_all <= at || !gi_packed_is(gi_frames_at(self, at)))
        return true;
    for (unsigned i = at; i < n_all && !self->parcel; i++)
        self->wire[i - at] = s_size(self, i);
    gate_bytes_t head = s_block(self, at);
    max = max < GI_FRAMES_MAX ? max : GI_FRAMES_MAX;
    if (gi_packed_parse(head, max > at + 1 ? max - at - 1 : 0,
                        &self->at[at + 1], &n, &n_outside) ||
        n_outside != n_all - at - 1) {
        gi_frames_close(self);
        return false;
    }
    self->whole &= s_below(at);
    self->held &= s_below(at);
    self->asked &= s_below(at);
    self->at[at] = (gate_bytes_t){"", 0};
    self->n = at + 1 + n;
    s_spread(self, at + 1, n, n_outside);
    if (!self->parcel)
        self->n_wire = n_all - at;
    return self->packed = true;
}

void gi_frames_lent(gi_frames_t *self, gate_bytes_t packed) {
    s_next_view(self, packed.data, packed.size);
}

size_t gi_frames_pack_size(gi_frames_t *self, unsigned at) {
    const gate_bytes_t *view = gi_frames_views(self) + at + 1;
    return gi_packed_whole(view, self->n - at - 1);
}

void gi_frames_pack(gi_frames_t *self, unsigned at, void *to) {
    const gate_bytes_t *view = gi_frames_views(self) + at + 1;
    gi_packed_write(view, self->n - at - 1, 0, to);
    gi_frames_close(self);
}

static int s_send_one(zmq_msg_t *f, void *socket, bool more) {
    int rc;
    GI_HANDOVER_SENDS(
        zmq_msg_data(f)); /* it is whole now; gone with the call */
    do
        rc = zmq_msg_send(f, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* Those of that set that need memory to be messages are, so that the others can
 * be made while they are sent. */
static bool s_ready(gi_frames_t *self, uint64_t which) {
    for (which &= ~self->held & s_below(self->n); which; which &= which - 1) {
        unsigned i = (unsigned)__builtin_ctzll(which);
        if (s_size(self, i) > s_light_max && !gi_frames_message(self, i))
            return false;
    }
    return true;
}

/* 0, or errno and the frame is as it was. */
static int s_send_frame(gi_frames_t *self, unsigned i, void *socket,
                        bool more) {
    zmq_msg_t light, *f = &self->f[i];
    if (!(self->held & s_bit(i))) {
        gate_bytes_t view = s_view(self, i);
        gi_frame_init(&light, view.data, view.size);
        f = &light;
    }
    if (s_send_one(f, socket, more) < 0)
        return errno;
    self->held &= ~s_bit(i); /* libzmq has emptied it */
    return 0;
}

/* Frames before at go ahead, the empty one not at all. Past the first frame
 * libzmq neither refuses nor blocks; what a vanished peer leaves is dropped
 * there, as for a sent message. */
static int s_send_packed(void *socket, gi_frames_t *self, unsigned at) {
    const gate_bytes_t *view = gi_frames_views(self) + at + 1;
    zmq_msg_t packed;
    unsigned n = self->n - at - 1;
    uint64_t outside;
    size_t size = gi_packed_size(view, n, &outside);
    uint64_t apart = outside << (at + 1);
    int error = 0;
    if (!s_ready(self, apart | s_below(at)) ||
        zmq_msg_init_size(&packed, size) < 0)
        return EAGAIN; /* as if it were full: it is tried again */
    gi_packed_write(view, n, outside, zmq_msg_data(&packed));
    if (at > 0)
        error = s_send_frame(self, 0, socket, true);
    if (error || s_send_one(&packed, socket, outside) < 0) {
        error = error ? error : at == 0 ? errno : 0;
        zmq_msg_close(&packed);
        if (error)
            return error;
    }
    for (; apart; apart &= apart - 1)
        s_send_frame(self, (unsigned)__builtin_ctzll(apart), socket,
                     apart & (apart - 1));
    gi_frames_close(self);
    return 0;
}

/* ---- sending ------------------------------------------------------------- */
int gi_frames_send(void *socket, gi_frames_t *self) {
    unsigned at = self->n > 0 && s_size(self, 0) > 0;
    if (self->packed && self->n > at + 1)
        return s_send_packed(socket, self, at);
    if (!s_ready(self, UINT64_MAX))
        return EAGAIN;
    for (unsigned i = 0; i < self->n; i++) {
        int error = s_send_frame(self, i, socket, i + 1 < self->n);
        if (error && i == 0)
            return error;
    }
    gi_frames_close(self);
    return 0;
}
