/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.c -- zmq_msg_t arrays. Moving a frame is a 64-byte copy; a body is
 * never touched, unless it is small and travels packed. */
#include "net/frames.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "base/handover.h"
#include "wire/packed.h"
#include "base/tags.h"

/* ---- light frames -----------------------------------------------------------
 * libzmq keeps a small message inside zmq_msg_t, so a copy of the struct is a
 * message of its own, its bytes are at a known place and there is nothing to
 * close. Where that place is is asked once, through libzmq's own functions. */
#define S_LIGHT_MAX 29 /* what libzmq promises to keep inside; 33 in 4.3 */

static zmq_msg_t s_light[S_LIGHT_MAX + 1]; /* by size; bytes not set */
static size_t s_light_at;                  /* where in it they are */
static size_t s_light_max;                 /* 0: only empty frames are light */
static zmq_msg_t s_constants[GI_FRAME_CONSTANTS];
static size_t s_constant_size[GI_FRAME_CONSTANTS];

static size_t s_inside(zmq_msg_t *m) {
    uintptr_t at = (uintptr_t)zmq_msg_data(m) - (uintptr_t)m;
    return at + zmq_msg_size(m) <= sizeof *m ? at : SIZE_MAX;
}

static void s_make_light(void) {
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

__attribute__((constructor)) static void s_make_constants(void) {
    s_make_light();
    for (unsigned i = 0; i < GI_FRAME_CONSTANTS; i++) {
        unsigned char command = (unsigned char)(i - GI_FRAME_COMMAND);
        const void *data = i == GI_FRAME_CLIENT_TAG   ? GI_MDP_CLIENT
                           : i == GI_FRAME_WORKER_TAG ? GI_MDP_WORKER
                                                      : (const void *)&command;
        size_t size = i == GI_FRAME_EMPTY     ? 0
                      : i >= GI_FRAME_COMMAND ? 1
                                              : GI_MDP_TAG_SIZE;
        gi_frame_init(&s_constants[i], data, size);
        s_constant_size[i] = size;
    }
}

static uint64_t s_bit(unsigned i) { return (uint64_t)1 << i; }

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
    self->passed = self->light = 0;
    self->packed = false;
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
        self->size[self->n++] = size < INT_MAX ? (size_t)size : SIZE_MAX;
        if (!zmq_msg_more(f))
            return 1;
        if (self->n == max) {
            *rest = true;
            return -1;
        }
    }
}

void gi_frames_close(gi_frames_t *self) {
    while (self->n) {
        self->n--;
        if (!((self->passed | self->light) >> self->n & 1))
            zmq_msg_close(&self->f[self->n]);
    }
    self->passed = self->light = 0;
    self->broken = false;
}

static size_t s_size(const gi_frames_t *self, unsigned i) {
    zmq_msg_t *f = (zmq_msg_t *)(uintptr_t)&self->f[i];
    return self->size[i] != SIZE_MAX ? self->size[i] : zmq_msg_size(f);
}

/* libzmq's getters take a non-const pointer but change nothing. */
static gate_bytes_t s_view(const gi_frames_t *self, unsigned i) {
    zmq_msg_t *f = (zmq_msg_t *)(uintptr_t)&self->f[i];
    if (self->light & s_bit(i))
        return (gate_bytes_t){(unsigned char *)f + s_light_at, self->size[i]};
    return (gate_bytes_t){zmq_msg_data(f), s_size(self, i)};
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

/* The next frame: of that size, SIZE_MAX not known; light or not. */
static zmq_msg_t *s_next(gi_frames_t *self, size_t size, bool light) {
    assert(self->n < GI_FRAMES_MAX);
    if (!self->n) {
        self->passed = self->light = 0;
        self->packed = false;
    }
    uint64_t bit = s_bit(self->n);
    self->light = light ? self->light | bit : self->light & ~bit;
    self->size[self->n] = size;
    return &self->f[self->n++];
}

void gi_frames_move(gi_frames_t *self, zmq_msg_t *src) {
    zmq_msg_t *f = s_next(self, SIZE_MAX, false);
    zmq_msg_init(f);
    zmq_msg_move(f, src);
}

void gi_frames_share(gi_frames_t *self, zmq_msg_t *src) {
    zmq_msg_t *f = s_next(self, SIZE_MAX, false);
    zmq_msg_init(f);
    zmq_msg_copy(f, src);
}

/* A whole zmq_msg_t is copied and its source forgotten: what zmq_msg_move does
 * inside, less three calls. 15 frames of a call go this way; it is worth 1,000
 * of its 38,000 instructions (callgrind, inproc). */
void gi_frames_pass(gi_frames_t *self, gi_frames_t *from, unsigned i) {
    *s_next(self, from->size[i], from->light & s_bit(i)) = from->f[i];
    from->passed |= s_bit(i);
}

void gi_frames_take(gi_frames_t *self, unsigned i, zmq_msg_t *to) {
    *to = self->f[i];
    self->passed |= s_bit(i);
}

void gi_frames_add_const(gi_frames_t *self, unsigned which) {
    assert(which < GI_FRAME_CONSTANTS);
    size_t size = s_constant_size[which];
    *s_next(self, size, size <= s_light_max) = s_constants[which];
}

/* The last one is none. */
static bool s_broken(gi_frames_t *self) {
    self->n--;
    self->broken = true;
    return false;
}

bool gi_frames_add(gi_frames_t *self, const void *data, size_t size) {
    zmq_msg_t *f = s_next(self, size, size <= s_light_max);
    if (gi_frame_init(f, data, size))
        return true;
    return s_broken(self);
}

bool gi_frames_give(gi_frames_t *self, const void *data, size_t size,
                    zmq_free_fn *release, void *hint) {
    zmq_msg_t *f = s_next(self, size, false);
    void *mine = (void *)(uintptr_t)data;
    if (zmq_msg_init_data(f, mine, size, release, hint) == 0)
        return true;
    return s_broken(self);
}

void *gi_frames_room(gi_frames_t *self, size_t size) {
    zmq_msg_t *f = s_next(self, size, false);
    if (zmq_msg_init_size(f, size) == 0)
        return zmq_msg_data(f);
    s_broken(self);
    return NULL;
}

bool gi_frames_replace(gi_frames_t *self, unsigned i, const void *data,
                       size_t size) {
    zmq_msg_t fresh;
    if (!gi_frame_init(&fresh, data, size))
        return false;
    if (!(self->light & s_bit(i)))
        zmq_msg_close(&self->f[i]);
    self->f[i] = fresh;
    self->size[i] = size;
    self->light =
        size <= s_light_max ? self->light | s_bit(i) : self->light & ~s_bit(i);
    return true;
}

/* ---- packed -----------------------------------------------------------------
 * The empty frame that every message begins with is left out. */
bool gi_frames_unpack(gi_frames_t *self, unsigned at, unsigned max) {
    gate_bytes_t view[GI_FRAMES_MAX];
    zmq_msg_t packed, outside[GI_FRAMES_MAX];
    unsigned n, n_outside, k = 0, n_all = self->n;
    if (n_all <= at || !gi_packed_is(s_view(self, at)))
        return true;
    packed = self->f[at]; /* and its bytes, when it is small */
    gate_bytes_t head = {zmq_msg_data(&packed), s_size(self, at)};
    max = max < GI_FRAMES_MAX ? max : GI_FRAMES_MAX;
    if (gi_packed_parse(head, max > at + 1 ? max - at - 1 : 0, view, &n,
                        &n_outside) ||
        n_outside != n_all - at - 1) {
        gi_frames_close(self);
        return false;
    }
    self->n_wire = 1 + n_outside;
    self->wire[0] = head.size;
    for (unsigned i = 0; i < n_outside; i++) {
        outside[i] = self->f[at + 1 + i];
        self->wire[1 + i] = self->size[at + 1 + i];
    }
    self->n = at;
    bool ok = true;
    gi_frames_add_const(self, GI_FRAME_EMPTY);
    for (unsigned i = 0; i < n && ok; i++)
        if (view[i].size == SIZE_MAX) {
            *s_next(self, self->wire[1 + k], false) = outside[k];
            k++;
        } else {
            ok = gi_frames_add(self, view[i].data, view[i].size);
        }
    zmq_msg_close(&packed);
    self->packed = ok;
    if (!ok) {
        gi_frames_close(self);
        while (k < n_outside)
            zmq_msg_close(&outside[k++]);
    }
    return ok;
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

/* Past the first frame libzmq neither refuses nor blocks; what a vanished peer
 * leaves is dropped there, as for a sent message. */
static void s_send_rest(zmq_msg_t *f, void *socket, bool more) {
    if (s_send_one(f, socket, more) < 0)
        zmq_msg_close(f);
}

/* Frames before at go ahead, the empty one not at all. */
static int s_send_packed(void *socket, gi_frames_t *self, unsigned at) {
    gate_bytes_t view[GI_FRAMES_MAX];
    zmq_msg_t packed;
    unsigned n = self->n - at - 1;
    uint64_t outside;
    gi_frames_view(self, at + 1, view);
    if (zmq_msg_init_size(&packed, gi_packed_size(view, n, &outside)) < 0)
        return EAGAIN; /* as if it were full: it is tried again */
    gi_packed_write(view, n, outside, zmq_msg_data(&packed));
    if (at > 0 && s_send_one(&self->f[0], socket, true) < 0) {
        int error = errno;
        zmq_msg_close(&packed);
        return error;
    }
    if (s_send_one(&packed, socket, outside) < 0) {
        int error = errno;
        zmq_msg_close(&packed);
        if (at == 0)
            return error;
    }
    outside <<= 1; /* from here on the empty frame counts as well */
    for (unsigned i = at; i < self->n; i++, outside >>= 1)
        if (outside & 1)
            s_send_rest(&self->f[i], socket, outside > 1);
        else if (!(self->light & s_bit(i)))
            zmq_msg_close(&self->f[i]);
    self->n = 0;
    return 0;
}

/* ---- sending ------------------------------------------------------------- */
int gi_frames_send(void *socket, gi_frames_t *self) {
    unsigned at = self->n > 0 && s_size(self, 0) > 0;
    if (self->packed && self->n > at + 1)
        return s_send_packed(socket, self, at);
    for (unsigned i = 0; i < self->n; i++) {
        bool more = i + 1 < self->n;
        if (i > 0)
            s_send_rest(&self->f[i], socket, more);
        else if (s_send_one(&self->f[0], socket, more) < 0)
            return errno;
    }
    self->n = 0; /* libzmq has emptied each of them */
    return 0;
}
