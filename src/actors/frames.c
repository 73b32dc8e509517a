/* SPDX-License-Identifier: BSD-3-Clause */
/* frames.c -- zmq_msg_t arrays. Moving a frame is a 64-byte copy; a body is
 * never touched. */
#include "frames.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "handover.h"
#include "tags.h"

#ifdef __SANITIZE_THREAD__
char gi_handover_mark;
#endif

static void s_drop_rest(void *socket) {
    zmq_msg_t rest;
    int more = 1;
    while (more) {
        zmq_msg_init(&rest);
        if (zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) < 0)
            more = 0;
        else
            more = zmq_msg_more(&rest);
        zmq_msg_close(&rest);
    }
}

int gi_frames_recv(void *socket, gi_frames_t *self, unsigned max) {
    if (max > GI_FRAMES_MAX)
        max = GI_FRAMES_MAX;
    self->passed = 0;
    for (;;) {
        zmq_msg_t *f = &self->f[self->n];
        zmq_msg_init(f);
        int size = zmq_msg_recv(f, socket, ZMQ_DONTWAIT);
        if (size < 0) {
            zmq_msg_close(f);
            gi_frames_close(self);
            return 0;
        }
        /* the result is an int: a frame of 2 GiB and more says INT_MAX */
        self->size[self->n++] = size < INT_MAX ? (size_t)size : SIZE_MAX;
        if (!zmq_msg_more(f)) {
            GI_HANDOVER_RECEIVED();
            return 1;
        }
        if (self->n == max) {
            gi_frames_close(self);
            s_drop_rest(socket);
            return -1;
        }
    }
}

void gi_frames_close(gi_frames_t *self) {
    while (self->n) {
        self->n--;
        if (!(self->passed >> self->n & 1))
            zmq_msg_close(&self->f[self->n]);
    }
    self->passed = 0;
}

static size_t s_size(const gi_frames_t *self, unsigned i) {
    zmq_msg_t *f = (zmq_msg_t *)(uintptr_t)&self->f[i];
    return self->size[i] != SIZE_MAX ? self->size[i] : zmq_msg_size(f);
}

void gi_frames_view(const gi_frames_t *self, unsigned first,
                    gate_bytes_t *out) {
    for (unsigned i = first; i < self->n; i++) {
        /* libzmq's getters take a non-const pointer but change nothing */
        zmq_msg_t *f = (zmq_msg_t *)(uintptr_t)&self->f[i];
        out[i - first] = (gate_bytes_t){zmq_msg_data(f), s_size(self, i)};
    }
}

size_t gi_frames_bytes(const gi_frames_t *self, unsigned first) {
    size_t sum = 0;
    for (unsigned i = first; i < self->n; i++)
        sum += s_size(self, i);
    return sum;
}

bool gi_frame_init(zmq_msg_t *frame, const void *data, size_t size) {
    if (zmq_msg_init_size(frame, size) < 0)
        return false;
    if (size)
        memcpy(zmq_msg_data(frame), data, size);
    return true;
}

/* At most 6 bytes each: libzmq keeps such a message inside zmq_msg_t, so a copy
 * of the struct is a message of its own (10 of a call's frames; worth 1,000
 * instructions of it). */
static zmq_msg_t s_constants[GI_FRAME_CONSTANTS];
static size_t s_constant_size[GI_FRAME_CONSTANTS];

__attribute__((constructor)) static void s_make_constants(void) {
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

static void s_begin(gi_frames_t *self) {
    if (!self->n)
        self->passed = 0;
}

void gi_frames_move(gi_frames_t *self, zmq_msg_t *src) {
    assert(self->n < GI_FRAMES_MAX);
    s_begin(self);
    self->size[self->n] = SIZE_MAX;
    zmq_msg_t *f = &self->f[self->n++];
    zmq_msg_init(f);
    zmq_msg_move(f, src);
}

/* A whole zmq_msg_t is copied and its source forgotten: what zmq_msg_move does
 * inside, less three calls. 15 frames of a call go this way; it is worth 1,000
 * of its 38,000 instructions (callgrind, inproc). */
void gi_frames_pass(gi_frames_t *self, gi_frames_t *from, unsigned i) {
    assert(self->n < GI_FRAMES_MAX);
    s_begin(self);
    self->size[self->n] = from->size[i];
    self->f[self->n++] = from->f[i];
    from->passed |= (uint64_t)1 << i;
}

void gi_frames_take(gi_frames_t *self, unsigned i, zmq_msg_t *to) {
    *to = self->f[i];
    self->passed |= (uint64_t)1 << i;
}

void gi_frames_add_const(gi_frames_t *self, unsigned which) {
    assert(self->n < GI_FRAMES_MAX && which < GI_FRAME_CONSTANTS);
    s_begin(self);
    self->size[self->n] = s_constant_size[which];
    self->f[self->n++] = s_constants[which];
}

bool gi_frames_add(gi_frames_t *self, const void *data, size_t size) {
    assert(self->n < GI_FRAMES_MAX);
    s_begin(self);
    if (!gi_frame_init(&self->f[self->n], data, size))
        return false;
    self->size[self->n++] = size;
    return true;
}

int gi_frames_send(void *socket, gi_frames_t *self) {
    GI_HANDOVER_SENDS();
    for (unsigned i = 0; i < self->n; i++) {
        int flags = ZMQ_DONTWAIT | (i + 1 < self->n ? ZMQ_SNDMORE : 0);
        int rc;
        do
            rc = zmq_msg_send(&self->f[i], socket, flags);
        while (rc < 0 && errno == EINTR);
        if (rc < 0 && i == 0)
            return errno;
        /* past the first frame libzmq neither refuses nor blocks; what a
         * vanished peer leaves is dropped there, as for a sent message */
        if (rc < 0)
            zmq_msg_close(&self->f[i]);
    }
    self->n = 0; /* libzmq has emptied each of them */
    return 0;
}
