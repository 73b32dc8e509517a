/* SPDX-License-Identifier: BSD-3-Clause */
/* frames_rest.c -- a message of more frames than any may have: its beginning is
 * shown, the rest thrown away a little at a time, and the next one is whole. */
#include <criterion/criterion.h>
#include <string.h>
#include "net/frames.h"

static void s_send(void *socket, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(zmq_send(socket, "x", 1, i + 1 < n ? ZMQ_SNDMORE : 0), 1);
}

static void s_one(void *from, void *to, unsigned n, unsigned max) {
    gi_frames_t in = {0};
    bool rest = false;
    unsigned steps = 0, most = n / GI_FRAMES_MAX + 1;
    s_send(from, n);
    s_send(from, 3);
    cr_assert_eq(gi_frames_recv(to, &in, max, &rest), -1);
    cr_assert_eq(in.n, max);
    cr_assert(rest);
    gi_frames_close(&in);
    for (; rest; steps++)
        cr_assert_eq(gi_frames_recv(to, &in, max, &rest), -2);
    cr_assert_eq(in.n, 0);
    cr_assert(steps <= most && steps + 2 >= most, "%u of %u", steps, most);
    cr_assert_eq(gi_frames_recv(to, &in, max, &rest), 1);
    cr_assert_eq(in.n, 3);
    gi_frames_close(&in);
    cr_assert_eq(gi_frames_recv(to, &in, max, &rest), 0);
}

Test(frames, too_many_go_a_little_at_a_time) {
    void *zmq = zmq_ctx_new();
    void *a = zmq_socket(zmq, ZMQ_PAIR), *b = zmq_socket(zmq, ZMQ_PAIR);
    cr_assert_eq(zmq_bind(a, "inproc://rest"), 0);
    cr_assert_eq(zmq_connect(b, "inproc://rest"), 0);
    s_one(a, b, 17, 16);
    s_one(a, b, 65, 64);
    s_one(a, b, 128, 64);
    s_one(a, b, 20000, 64);
    zmq_close(a);
    zmq_close(b);
    zmq_ctx_term(zmq);
}

/* Whatever its memory held before. */
Test(frames, an_empty_one_is_not_broken) {
    static gi_frames_t frames;
    memset(&frames, 0xff, sizeof frames);
    gi_frames_init(&frames);
    cr_expect_not(frames.broken);
    cr_assert(gi_frames_add(&frames, "x", 1));
    cr_expect_eq(frames.n, 1);
    cr_expect_eq(gi_frames_bytes(&frames, 0), 1);
    gi_frames_close(&frames);
}
