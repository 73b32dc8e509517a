/* SPDX-License-Identifier: BSD-3-Clause */
/* Packed messages over sockets, and who gets them: whoever sent one last. */
#include "broker_kit.h"

#include "broker/core/broker_peers.h"
#include "broker/core/broker_state.h"
#include "wire/packed.h"

static void s_pair(void *zmq, void **router, void **dealer) {
    *router = zmq_socket(zmq, ZMQ_ROUTER);
    *dealer = zmq_socket(zmq, ZMQ_DEALER);
    zmq_setsockopt(*dealer, ZMQ_ROUTING_ID, "me", 2);
    cr_assert_eq(zmq_bind(*router, "inproc://p"), 0);
    cr_assert_eq(zmq_connect(*dealer, "inproc://p"), 0);
}

static void s_is(const gi_frames_t *m, unsigned i, const void *data,
                 size_t size) {
    gate_bytes_t view[GI_FRAMES_MAX];
    gi_frames_view(m, 0, view);
    cr_assert_lt(i, m->n);
    cr_assert_eq(view[i].size, size, "frame %u: %zu", i, view[i].size);
    cr_assert(memcmp(view[i].data, data, size) == 0);
}

static unsigned s_count(void *socket) {
    char byte[8];
    unsigned n = 0;
    int more = 1;
    size_t size = sizeof more;
    for (; more; n++) {
        cr_assert_geq(zmq_recv(socket, byte, sizeof byte, 0), 0);
        zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
    }
    return n;
}

static void s_make(gi_frames_t *m, const char *to, const char *big,
                   size_t size) {
    m->n = 0;
    if (to)
        gi_frames_add(m, to, strlen(to));
    gi_frames_add_const(m, GI_FRAME_EMPTY);
    gi_frames_add_const(m, GI_FRAME_CLIENT_TAG);
    gi_frames_add(m, "service", 7);
    gi_frames_add(m, big, size);
    gi_frames_add(m, "a frame of more than thirty-three bytes", 39);
    gi_frames_add(m, big, size);
    m->packed = true;
}

/* Through a DEALER and a ROUTER and back; what is large comes as it is. */
Test(packed_frames, over_sockets) {
    static char big[5000];
    void *zmq = zmq_ctx_new(), *router, *dealer;
    bool rest = false;
    memset(big, 'b', sizeof big);
    s_pair(zmq, &router, &dealer);
    for (size_t size = 0; size <= sizeof big; size += 500) {
        gi_frames_t m, in = {0};
        s_make(&m, NULL, big, size);
        cr_assert_eq(gi_frames_send(dealer, &m), 0);
        cr_assert_eq(gi_frames_recv(router, &in, 64, &rest), 1);
        cr_assert_leq(in.n, 4);
        cr_assert(gi_frames_unpack(&in, 1, 64));
        cr_assert(in.packed && in.n == 7);
        s_is(&in, 0, "me", 2);
        s_is(&in, 1, "", 0);
        s_is(&in, 2, "MDPC01", 6);
        s_is(&in, 3, "service", 7);
        s_is(&in, 4, big, size);
        s_is(&in, 6, big, size);
        gi_frames_close(&in);
        s_make(&m, "me", big, size);
        cr_assert_eq(gi_frames_send(router, &m), 0);
        cr_assert_eq(gi_frames_recv(dealer, &in, 64, &rest), 1);
        cr_assert(gi_frames_unpack(&in, 0, 64));
        cr_assert(in.packed && in.n == 6);
        s_is(&in, 1, "MDPC01", 6);
        s_is(&in, 5, big, size);
        gi_frames_close(&in);
    }
    gi_frames_t m;
    s_make(&m, NULL, big, 8);
    cr_assert_eq(gi_frames_send(dealer, &m), 0);
    cr_assert_eq(s_count(router), 2); /* its id and one frame */
    zmq_close(router);
    zmq_close(dealer);
    zmq_ctx_term(zmq);
}

static void s_raw(gi_frames_t *m, unsigned n, const gate_bytes_t *f) {
    *m = (gi_frames_t){0};
    for (unsigned i = 0; i < n; i++)
        gi_frames_add(m, f[i].data, f[i].size);
}

#define B(text) \
    { text, sizeof text - 1 }

Test(packed_frames, what_cannot_be_read_is_dropped) {
    gi_frames_t m;
    static const gate_bytes_t rows[][3] = {
        {B("id"), B("\xc1GXP\2\1\0xy"), B("")},       /* bytes left over */
        {B("id"), B("\xc1GXP\1\1x"), B("more")},      /* one frame too many */
        {B("id"), B("\xc1GXP\2\xff\xff"), B("more")}, /* one too few */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        s_raw(&m, 3, rows[i]);
        cr_assert_not(gi_frames_unpack(&m, 1, 64));
        cr_assert_eq(m.n, 0);
    }
    s_raw(&m, 2, (gate_bytes_t[]){B("id"), B("\xc1GXP\3\0\0\0")});
    cr_assert_not(gi_frames_unpack(&m, 1, 4)); /* 5 with the id and "" */
    /* a routing id may look like anything; other messages stay as they are */
    s_raw(&m, 3, (gate_bytes_t[]){B("\xc1GXP\1\1x"), B(""), B("MDPC01")});
    cr_assert(gi_frames_unpack(&m, 1, 64));
    cr_assert(m.n == 3 && !m.packed);
    gi_frames_close(&m);
}

static void s_hear(kit_t *k, unsigned socket, bool packed, const char *from,
                   const gate_bytes_t *f, unsigned n) {
    gi_frames_t in;
    in.n = 0;
    gi_frames_add(&in, from, strlen(from));
    for (unsigned i = 0; i < n; i++)
        gi_frames_add(&in, f[i].data, f[i].size);
    in.packed = packed;
    gi_broker_core_message(k->core, socket, &in, -1, k->now);
}

static bool s_packed; /* what the last message was */

static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    (void)ctx, (void)socket;
    s_packed = frames->packed;
    gi_frames_close(frames);
    return 0;
}

/* The answer is as the question was, and follows the peer when it changes. */
Test(packed_frames, the_broker_answers_in_kind) {
    static const gi_broker_effects_t effects = {.gate = &gi_broker_internal_ops,
                                                .send = s_send};
    static const gate_bytes_t ready[] = {B(""), B("MDPW01"), B("\1"),
                                         B("S:d:9")};
    static const gate_bytes_t call[] = {B(""), B("MDPC01"), B("S"), B("1"),
                                        B("\xa1g")};
    static const gate_bytes_t beat[] = {B(""), B("MDPW01"), B("\4")};
    static const gate_bytes_t reply[] = {B(""), B("MDPW01"), B("\3"),  B("c"),
                                         B(""), B("1"),      B("\xc0")};
    kit_t k;
    kit_init(&k);
    k.core = gi_broker_core_new(k.settings,
                                (const unsigned char *)"0123456789abcdef",
                                &effects, &k, k.now);
    unsigned number;
    cr_assert_eq(gi_broker_core_socket(k.core, false, &number), GATE_OK);
    cr_assert_eq(gi_broker_core_socket(k.core, true, &number), GATE_OK);
    s_packed = true;
    s_hear(&k, BACK, false, "w", ready, 4);
    cr_assert_not(s_packed); /* the heartbeat */
    s_hear(&k, FRONT, true, "c", call, 5);
    cr_assert_not(s_packed); /* to the worker */
    s_hear(&k, BACK, false, "w", reply, 7);
    cr_assert(s_packed); /* to the client */
    s_hear(&k, BACK, true, "w", beat, 3);
    s_hear(&k, FRONT, false, "c", call, 5);
    cr_assert(s_packed); /* to the worker */
    s_hear(&k, BACK, true, "w", reply, 7);
    cr_assert_not(s_packed); /* to the client */
    gi_broker_core_destroy(&k.core);
    gate_settings_destroy(&k.settings);
}

/* ---- views ---------------------------------------------------------------- */
/* A packed message as a stranger may make it: larger than ours are. */
static zmq_msg_t s_packed_of(const gate_bytes_t *f, unsigned n) {
    size_t size = GI_PACKED_HEAD;
    zmq_msg_t m;
    for (unsigned i = 0; i < n; i++)
        size += f[i].size + (f[i].size < 254 ? 1 : 5);
    cr_assert_eq(zmq_msg_init_size(&m, size), 0);
    gi_packed_write(f, n, 0, zmq_msg_data(&m));
    return m;
}

/* What comes packed goes on frame by frame, and packed again, whatever its
 * frames' sizes; a message of which no more than n = 0 was set is an empty
 * one. */
Test(packed_frames, go_on_as_they_are) {
    static char text[9000];
    static const size_t sizes[] = {1,  28,   29,   30,   33,   34,
                                   64, 1023, 1024, 1025, 8192, 9000};
    void *zmq = zmq_ctx_new(), *router, *dealer;
    bool rest = false;
    memset(text, 't', sizeof text);
    s_pair(zmq, &router, &dealer);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i / 2];
        gate_bytes_t f[] = {{"MDPC01", 6}, {text, size}, {"end", 3}};
        zmq_msg_t packed = s_packed_of(f, 3);
        gi_frames_t in, out, end;
        memset(&in, 0xaa, sizeof in);
        memset(&out, 0x55, sizeof out);
        in.n = out.n = 0;
        gi_frames_init(&end);
        gi_frames_move(&in, &packed);
        cr_assert(gi_frames_unpack(&in, 0, 64));
        cr_assert(in.n == 4 && in.packed);
        for (unsigned k = 0; k < in.n; k++)
            gi_frames_pass(&out, &in, k);
        out.packed = i % 2;
        cr_assert_eq(gi_frames_send(dealer, &out), 0);
        cr_assert_eq(out.n, 0);
        gi_frames_close(&in);
        cr_assert_eq(gi_frames_recv(router, &end, 64, &rest), 1);
        cr_assert_eq(end.n, i % 2 == 0 ? 5 : size > 1000 ? 3 : 2);
        cr_assert(gi_frames_unpack(&end, 1, 64));
        cr_assert_eq(end.n, 5);
        s_is(&end, 1, "", 0);
        s_is(&end, 2, "MDPC01", 6);
        s_is(&end, 3, text, size);
        s_is(&end, 4, "end", 3);
        gi_frames_close(&end);
    }
    zmq_close(router);
    zmq_close(dealer);
    zmq_ctx_term(zmq);
}

/* A refused send leaves it whole; what is taken from it outlives it. */
Test(packed_frames, are_as_they_were_when_nobody_takes_them) {
    static char large[2000];
    void *zmq = zmq_ctx_new(), *router = zmq_socket(zmq, ZMQ_ROUTER);
    int on = 1;
    zmq_msg_t kept[4];
    gi_frames_t m;
    zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &on, sizeof on);
    memset(large, 'l', sizeof large);
    for (int packed = 0; packed < 2; packed++) {
        m.n = 0;
        gi_frames_add(&m, "nobody", 6);
        gi_frames_add_const(&m, GI_FRAME_EMPTY);
        gi_frames_add(&m, "small", 5);
        gi_frames_add(&m, large, sizeof large);
        gi_frames_add(&m, large, 900);
        cr_assert(gi_frames_replace(&m, 2, large, 40));
        m.packed = packed;
        cr_assert_eq(gi_frames_send(router, &m), EHOSTUNREACH);
        cr_assert_eq(m.n, 5);
        for (unsigned i = 0; i < 4; i++)
            cr_assert(gi_frames_take(&m, i + 1, &kept[i]));
        s_is(&m, 2, large, 40);
        gi_frames_close(&m);
        cr_expect_eq(zmq_msg_size(&kept[0]), 0);
        cr_expect_eq(memcmp(zmq_msg_data(&kept[1]), large, 40), 0);
        cr_expect_eq(memcmp(zmq_msg_data(&kept[2]), large, sizeof large), 0);
        cr_expect_eq(memcmp(zmq_msg_data(&kept[3]), large, 900), 0);
        for (unsigned i = 0; i < 4; i++)
            zmq_msg_close(&kept[i]);
    }
    zmq_close(router);
    zmq_ctx_term(zmq);
}

/* In a queue it lies by itself: the packed message goes with its own. */
Test(packed_frames, wait_with_bytes_of_their_own) {
    static char large[20000], small[8192];
    kit_t k;
    memset(large, 'l', sizeof large);
    memset(small, 's', sizeof small);
    kit_begin(&k);
    request(&k, "c", "No", "1");
    gi_broker_peer_t *peer = k.core->sockets[FRONT].last;
    for (int copy = 0; copy < 2; copy++) {
        gate_bytes_t f[] = {{"MDPC01", 6},
                            {large, sizeof large},
                            {small, sizeof small},
                            {"x", 1}};
        zmq_msg_t packed = s_packed_of(f, 4);
        gi_frames_t in = {.n = 0}, *out = &k.core->out;
        gi_frames_close(out);
        gi_frames_move(&in, &packed);
        cr_assert(gi_frames_unpack(&in, 0, 64));
        for (unsigned i = 0; i < in.n; i++)
            gi_frames_pass(out, &in, i);
        gi_broker_message_t *m =
            copy ? gi_broker_message_copy(k.core, peer)
                 : gi_broker_message_keep(k.core, out, peer);
        cr_assert(m);
        gi_frames_close(out);
        gi_frames_close(&in);
        cr_assert(gi_broker_message_restore(k.core, out, m));
        cr_assert_eq(out->n, 5);
        for (unsigned i = 0; i < 4; i++)
            s_is(out, i + 1, f[i].data, f[i].size);
        gi_frames_close(out);
    }
    cr_expect_eq(peer->weight, 0);
    kit_end(&k);
}
