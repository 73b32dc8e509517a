/* SPDX-License-Identifier: BSD-3-Clause */
/* The broker on real sockets, with raw DEALERs and a REQ as its peers. */
#include <criterion/criterion.h>
#include <gaterpc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "sync/clock.h"
#include "net/frames.h"
#include "wire/rpc.h"

#define HB 300
#define WAIT 3000

typedef struct bench {
    gate_runtime_t *rt;
    gate_broker_t *broker;
    void *zmq;
    char ipc_front[108], ipc_back[108];
} bench_t;

static void s_begin(bench_t *b, int64_t queue_max) {
    gate_settings_t *settings = gate_settings_new();
    memset(b, 0, sizeof *b);
    gate_settings_set(settings, "mdp_heartbeat_interval", HB);
    gate_settings_set(settings, "peer_queue_max", queue_max);
    gate_settings_set(settings, "timeout", 1.0);
    b->rt = gate_runtime_new(settings);
    gate_settings_destroy(&settings);
    b->broker = gate_broker_new(b->rt);
    snprintf(b->ipc_front, sizeof b->ipc_front, "ipc:///tmp/gate-bt-%d.front",
             getpid());
    snprintf(b->ipc_back, sizeof b->ipc_back, "ipc:///tmp/gate-bt-%d.back",
             getpid());
    gate_broker_bind(b->broker, "tcp://127.0.0.1:*");
    gate_broker_bind(b->broker, b->ipc_front);
    gate_broker_bind_backend(b->broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(b->broker, b->ipc_back);
    cr_assert_eq(gate_broker_start(b->broker), GATE_OK, "%s",
                 gate_error()->text);
    b->zmq = zmq_ctx_new();
}

static void s_end(bench_t *b) {
    gate_broker_destroy(&b->broker);
    gate_runtime_destroy(&b->rt);
    zmq_ctx_term(b->zmq);
    const char *path = b->ipc_front + strlen("ipc://");
    cr_expect(access(path, F_OK) < 0);
}

static void *s_peer(bench_t *b, int type, const char *id,
                    const char *endpoint) {
    int none = 0, wait = WAIT;
    void *s = zmq_socket(b->zmq, type);
    if (id)
        zmq_setsockopt(s, ZMQ_ROUTING_ID, id, strlen(id));
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait, sizeof wait);
    cr_assert_eq(zmq_connect(s, endpoint), 0);
    return s;
}

#define SAY(s, ...) s_say(s, (const char *[]){__VA_ARGS__, NULL})
static void s_say(void *s, const char **frames) {
    for (; *frames; frames++)
        cr_assert_geq(
            zmq_send(s, *frames, strlen(*frames), frames[1] ? ZMQ_SNDMORE : 0),
            0);
}

/* Receives a message; false: none in time. */
static bool s_hear(void *s, gi_frames_t *out) {
    zmq_pollitem_t item = {s, 0, ZMQ_POLLIN, 0};
    bool rest = false;
    out->n = 0;
    return zmq_poll(&item, 1, WAIT) > 0 &&
           gi_frames_recv(s, out, GI_FRAMES_MAX, &rest) == 1;
}

static bool s_is(gi_frames_t *m, unsigned i, const char *text) {
    return i < m->n && zmq_msg_size(&m->f[i]) == strlen(text) &&
           memcmp(zmq_msg_data(&m->f[i]), text, strlen(text)) == 0;
}

static bool s_holds(gi_frames_t *m, const char *text) {
    zmq_msg_t *last = &m->f[m->n - 1];
    return memmem(zmq_msg_data(last), zmq_msg_size(last), text, strlen(text));
}

/* The next message that is no heartbeat; heartbeats are answered. */
static bool s_hear_worker(void *s, gi_frames_t *out) {
    while (s_hear(s, out)) {
        if (!s_is(out, 2, "\4"))
            return true;
        gi_frames_close(out);
        SAY(s, "", "MDPW01", "\4");
    }
    return false;
}

static void *s_worker(bench_t *b, const char *id, const char *endpoint,
                      const char *line) {
    gi_frames_t m;
    void *w = s_peer(b, ZMQ_DEALER, id, endpoint);
    SAY(w, "", "MDPW01", "\1", line);
    cr_assert(s_hear(w, &m));
    cr_assert(s_is(&m, 2, "\4"));
    gi_frames_close(&m);
    return w;
}

/* Takes one REQUEST and answers it with that body. */
static void s_serve(void *w, const char *body) {
    gi_frames_t m, r;
    cr_assert(s_hear_worker(w, &m));
    cr_assert(s_is(&m, 2, "\2"));
    r.n = 0;
    gi_frames_add(&r, "", 0);
    gi_frames_add(&r, "MDPW01", 6);
    gi_frames_add(&r, "\3", 1);
    gi_frames_move(&r, &m.f[3]);
    gi_frames_add(&r, "", 0);
    gi_frames_move(&r, &m.f[5]);
    gi_frames_add(&r, body, strlen(body));
    cr_assert_eq(gi_frames_send(w, &r), 0);
    gi_frames_close(&m);
}

#define CALL(c, service, id) \
    SAY(c, "", "MDPC01", service, id, "\xa1g", "\x90", "\x80")

static void s_expect_answer(void *c, const char *id, const char *text) {
    gi_frames_t m;
    cr_assert(s_hear(c, &m), "no answer to %s", id);
    cr_expect(s_is(&m, 3, id));
    cr_expect(s_holds(&m, text));
    gi_frames_close(&m);
}

Test(sockets, a_call_over_every_transport) {
    bench_t b;
    s_begin(&b, 1000);
    const char *backs[] = {gate_broker_backend(b.broker, 0), b.ipc_back};
    const char *fronts[] = {gate_broker_frontend(b.broker, 0), b.ipc_front};
    cr_expect(strstr(backs[0], "tcp://127.0.0.1:"));
    cr_expect_str_eq(gate_broker_frontend(b.broker, 1), b.ipc_front);
    cr_expect_null(gate_broker_frontend(b.broker, 2));
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            void *w = s_worker(&b, "w", backs[i], "S:d:5");
            void *c = s_peer(&b, ZMQ_DEALER, "c", fronts[j]);
            CALL(c, "S", "id");
            s_serve(w, "answer");
            s_expect_answer(c, "id", "answer");
            SAY(w, "", "MDPW01", "\5", "bye");
            zmq_close(c);
            usleep(50000); /* let the old connection end: same identities */
            zmq_close(w);
            usleep(50000);
        }
    s_end(&b);
}

Test(sockets, a_req_client_is_served) {
    bench_t b;
    gi_frames_t m;
    s_begin(&b, 1000);
    void *w = s_worker(&b, "w", b.ipc_back, "S:d:5");
    void *c = s_peer(&b, ZMQ_REQ, NULL, b.ipc_front);
    for (int i = 0; i < 3; i++) {
        SAY(c, "MDPC01", "S", "id", "\xa1g", "\x90", "\x80");
        s_serve(w, "answer");
        cr_assert(s_hear(c, &m));
        cr_expect(m.n == 4 && s_is(&m, 0, "MDPC01") && s_is(&m, 2, "id") &&
                  s_is(&m, 3, "answer"));
        gi_frames_close(&m);
    }
    zmq_close(c);
    zmq_close(w);
    s_end(&b);
}

Test(sockets, a_killed_worker_ends_its_calls_at_once) {
    bench_t b;
    gi_frames_t m;
    s_begin(&b, 1000);
    const char *backs[] = {gate_broker_backend(b.broker, 0), b.ipc_back};
    for (int i = 0; i < 2; i++) {
        void *w = s_worker(&b, "w", backs[i], "S:d:5");
        void *c = s_peer(&b, ZMQ_DEALER, NULL, b.ipc_front);
        CALL(c, "S", "id");
        cr_assert(s_hear_worker(w, &m));
        gi_frames_close(&m);
        zmq_close(w);
        int64_t from = gi_clock_ms();
        s_expect_answer(c, "id", "WorkerLostError");
        cr_expect(gi_clock_ms() - from < HB, "took %lld ms",
                  (long long)(gi_clock_ms() - from));
        CALL(c, "S", "id2");
        s_expect_answer(c, "id2", "ServiceUnAvailableError");
        zmq_close(c);
    }
    s_end(&b);
}

Test(sockets, a_worker_restarted_under_its_identity_takes_over) {
    bench_t b;
    gi_frames_t m;
    s_begin(&b, 1000);
    void *w1 = s_worker(&b, "w", b.ipc_back, "S:d:5");
    void *c = s_peer(&b, ZMQ_DEALER, NULL, b.ipc_front);
    CALL(c, "S", "1");
    cr_assert(s_hear_worker(w1, &m));
    gi_frames_close(&m);
    void *w2 = s_worker(&b, "w", b.ipc_back, "S:d:5"); /* w1 still there */
    s_expect_answer(c, "1", "WorkerLostError");
    CALL(c, "S", "2");
    s_serve(w2, "from the second");
    s_expect_answer(c, "2", "from the second");
    zmq_close(c);
    zmq_close(w1);
    zmq_close(w2);
    s_end(&b);
}

Test(sockets, destroy_says_goodbye_to_workers) {
    bench_t b;
    gi_frames_t m;
    s_begin(&b, 1000);
    void *w = s_worker(&b, "w", b.ipc_back, "S:d:5");
    gate_broker_destroy(&b.broker);
    cr_assert(s_hear_worker(w, &m));
    cr_expect(s_is(&m, 2, "\5"));
    gi_frames_close(&m);
    zmq_close(w);
    s_end(&b);
}

Test(sockets, drain_waits_for_what_is_in_flight) {
    bench_t b;
    gi_frames_t m;
    s_begin(&b, 1000);
    void *w = s_worker(&b, "w", b.ipc_back, "S:d:5");
    void *c = s_peer(&b, ZMQ_DEALER, NULL, b.ipc_front);
    CALL(c, "S", "1");
    cr_assert(s_hear_worker(w, &m));
    gi_frames_close(&m);
    cr_expect_eq(gate_broker_drain(b.broker, 20), GATE_TIMEOUT);
    CALL(c, "S", "2");
    s_expect_answer(c, "2", "The broker is draining.");
    gi_frames_t r = {.n = 0};
    gi_frames_add(&r, "", 0);
    SAY(c, "", "MDPC01", "Gate", "3", "\xa4info", "\x90", "\x80");
    s_expect_answer(c, "3", "GX1");
    gi_frames_close(&r);
    cr_expect_eq(gate_broker_drain(b.broker, 0), GATE_TIMEOUT);
    SAY(w, "", "MDPW01", "\5", "bye"); /* ends the call */
    s_expect_answer(c, "1", "WorkerLostError");
    cr_expect_eq(gate_broker_drain(b.broker, 1000), GATE_OK);
    zmq_close(c);
    zmq_close(w);
    s_end(&b);
}

/* A stream of far more than all queues hold, to a client that does not read:
 * others are served meanwhile; what it gets then is in order and ends with an
 * error that says why. */
Test(sockets, a_slow_reader_is_told_and_nobody_else_notices) {
    enum { ITEMS = 30000 };
    bench_t b;
    gi_frames_t m;
    char item[1024];
    uint32_t last = 0, n;
    s_begin(&b, 2000);
    void *w = s_worker(&b, "w", b.ipc_back, "S:d:5");
    void *slow = s_peer(&b, ZMQ_DEALER, "slow", b.ipc_front);
    void *c = s_peer(&b, ZMQ_DEALER, "c", b.ipc_front);
    CALL(slow, "S", "id");
    cr_assert(s_hear_worker(w, &m));
    gi_frames_close(&m);
    memset(item, 'x', sizeof item);
    for (n = 1; n <= ITEMS; n++) {
        gi_frames_t r = {.n = 0};
        memcpy(item, &n, sizeof n);
        gi_frames_add(&r, "", 0);
        gi_frames_add(&r, "MDPW01", 6);
        gi_frames_add(&r, "\3", 1);
        gi_frames_add(&r, "slow", 4);
        gi_frames_add(&r, "", 0);
        gi_frames_add(&r, "id", 2);
        gi_frames_add(&r, GI_STREAM_TAG, strlen(GI_STREAM_TAG));
        gi_frames_add(&r, item, sizeof item);
        while (gi_frames_send(w, &r) != 0)
            usleep(100);
        if (n % 3000 == 0) {
            char id[16];
            snprintf(id, sizeof id, "%u", n);
            CALL(c, "Gate", id);
            s_expect_answer(c, id, "AttributeError");
        }
    }
    for (;;) {
        cr_assert(s_hear(slow, &m), "after item %u", last);
        if (m.n != 6)
            break;
        memcpy(&n, zmq_msg_data(&m.f[5]), sizeof n);
        cr_assert_eq(n, last + 1);
        last = n;
        gi_frames_close(&m);
    }
    cr_expect(last >= 2000 && last < ITEMS, "%u items", last);
    cr_expect(s_is(&m, 5, GI_STREAM_EXCEPTION));
    cr_expect(s_holds(&m, "StreamOverflowError"));
    gi_frames_close(&m);
    zmq_close(c);
    zmq_close(slow);
    zmq_close(w);
    s_end(&b);
}

Test(sockets, stats_and_a_bad_endpoint) {
    bench_t b;
    int64_t n = 0;
    s_begin(&b, 1000);
    void *w = s_worker(&b, "w", b.ipc_back, "S:d:5");
    gate_value_t *stats = gate_broker_stats(b.broker);
    cr_assert(stats);
    cr_expect_eq(gate_value_read(stats, "services.S.credit", &n), GATE_OK);
    cr_expect_eq(n, 5);
    gate_value_destroy(&stats);
    gate_broker_t *other = gate_broker_new(b.rt);
    gate_broker_bind(other, b.ipc_front);
    cr_expect_eq(gate_broker_start(other), GATE_SYSTEM);
    cr_expect(strstr(gate_error()->text, b.ipc_front));
    gate_broker_destroy(&other);
    other = gate_broker_new(b.rt);
    gate_broker_curve(other, "x", "*");
    cr_expect_eq(gate_broker_start(other), GATE_SYSTEM);
    cr_expect_eq(gate_broker_drain(other, 10), GATE_CLOSED);
    cr_expect_null(gate_broker_stats(other));
    gate_broker_destroy(&other);
    zmq_close(w);
    s_end(&b);
}

Test(sockets, the_broker_calls_its_own_services) {
    bench_t b;
    s_begin(&b, 1000);
    void *w = s_worker(&b, "w", b.ipc_back, "S:d:5");
    gate_client_t *client = gate_broker_client(b.broker);
    cr_assert(client, "%s", gate_error()->text);
    cr_expect_eq(gate_broker_client(b.broker), client);
    gate_future_t *f = gate_client_start(client, "S.g", 1);
    s_serve(w, "\x82\xa6result\x05\xa9"
               "exception\xc0");
    int64_t n = 0;
    cr_expect_eq(gate_future_wait(f, WAIT, &n), GATE_OK, "%s",
                 gate_error()->text);
    cr_expect_eq(n, 5);
    gate_future_destroy(&f);
    zmq_close(w);
    s_end(&b);
}
