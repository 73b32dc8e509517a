/* SPDX-License-Identifier: BSD-3-Clause */
/* A service that has no memory for what it has to say: each request is answered,
 * or the connection goes and its broker knows. Nobody waits for nothing. */
#include <criterion/criterion.h>
#include <gaterpc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "base/mem.h"
#include "net/frames.h"
#include "sync/clock.h"

#define CALLS 64
#define WAIT_MS 30000 /* for what comes in any case */
#define LARGE (1 << 20)

static char s_large[LARGE];
static atomic_int s_ran;
static atomic_bool s_left;

/* The next allocation fails: of the queue for what the socket does not take,
 * or of the next call. */
static gate_err_t large(gate_call_t *call) {
    gate_err_t e = gate_return(call, ((gate_bytes_t){s_large, LARGE}));
    gi_mem_fail_at(1, false);
    s_ran++;
    return e;
}

static const gate_method_t s_methods[] = {GATE_METHOD(large), GATE_END};

static void s_log(void *ctx, gate_level_t level, const char *part,
                  const char *text) {
    (void)ctx, (void)part;
    if (level == GATE_WARN && strstr(text, "no memory"))
        s_left = true;
}

static gate_runtime_t *s_runtime(void) {
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "mdp_heartbeat_interval", 60000);
    gate_settings_set(settings, "zmq_hwm", 1);
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_settings_destroy(&settings);
    return rt;
}

/* The broker: reads when it is told to. */
static void *s_broker(void *zmq, char *endpoint, size_t room) {
    int one = 1, none = 0, buffer = 65536;
    void *s = zmq_socket(zmq, ZMQ_ROUTER);
    zmq_setsockopt(s, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(s, ZMQ_RCVBUF, &buffer, sizeof buffer);
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_ROUTER_HANDOVER, &one, sizeof one); /* its id stays */
    cr_assert_eq(zmq_bind(s, "tcp://127.0.0.1:*"), 0);
    cr_assert_eq(zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, endpoint, &room), 0);
    return s;
}

static bool s_hear(void *s, gi_frames_t *m, int64_t end_ms) {
    zmq_pollitem_t item = {s, 0, ZMQ_POLLIN, 0};
    bool rest = false;
    m->n = 0;
    int64_t left = end_ms - gi_clock_ms();
    return left > 0 && zmq_poll(&item, 1, (long)left) > 0 &&
           gi_frames_recv(s, m, GI_FRAMES_MAX, &rest) == 1;
}

static bool s_is(gi_frames_t *m, unsigned i, const char *text) {
    return i < m->n && zmq_msg_size(&m->f[i]) == strlen(text) &&
           memcmp(zmq_msg_data(&m->f[i]), text, strlen(text)) == 0;
}

static void s_say(void *s, zmq_msg_t *to, const char *command,
                  const char *request) {
    gi_frames_t m = {.n = 0};
    gi_frames_add(&m, zmq_msg_data(to), zmq_msg_size(to));
    gi_frames_add(&m, "", 0);
    gi_frames_add(&m, "MDPW01", 6);
    gi_frames_add(&m, command, 1);
    if (request) {
        gi_frames_add(&m, "c", 1);
        gi_frames_add(&m, "", 0);
        gi_frames_add(&m, request, strlen(request));
        gi_frames_add(&m, "\xa5large", 6);
        gi_frames_add(&m, "\x90", 1);
        gi_frames_add(&m, "\x80", 1);
    }
    cr_assert_eq(gi_frames_send(s, &m), 0);
}

/* Its READY; who it is. */
static void s_ready(void *s, zmq_msg_t *id) {
    gi_frames_t m;
    do
        cr_assert(s_hear(s, &m, gi_clock_ms() + WAIT_MS), "no READY");
    while (!s_is(&m, 3, "\1") && (gi_frames_close(&m), true));
    cr_assert(gi_frames_take(&m, 0, id));
    gi_frames_close(&m);
    s_say(s, id, "\4", NULL);
}

/* Nobody reads meanwhile: until it is through with all, or says that it has left
 * (what does not read does not see it leave). */
static void s_fills(void) {
    int64_t end_ms = gi_clock_ms() + WAIT_MS;
    while (s_ran < CALLS && !s_left) {
        cr_assert_lt(gi_clock_ms(), end_ms, "%d of %d ran", (int)s_ran, CALLS);
        usleep(5000);
    }
}

/* How many are answered until all are, or it is there anew. */
static int s_answers(void *s, bool *anew) {
    gi_frames_t m;
    int n = 0;
    *anew = false;
    while (n < CALLS && !*anew) {
        cr_assert(s_hear(s, &m, gi_clock_ms() + WAIT_MS),
                  "%d of %d are answered, and nothing says why not more", n,
                  CALLS);
        n += s_is(&m, 3, "\3");
        *anew = s_is(&m, 3, "\1");
        gi_frames_close(&m);
    }
    return n;
}

Test(mute, what_cannot_be_said_costs_the_connection, .timeout = 120) {
    char endpoint[64], request[8];
    void *zmq = zmq_ctx_new();
    void *broker = s_broker(zmq, endpoint, sizeof endpoint);
    gate_log_sink(s_log, NULL);
    gate_runtime_t *rt = s_runtime();
    gate_service_t *service = gate_service_new(rt, "S");
    gate_service_methods(service, s_methods, NULL);
    cr_assert_eq(gate_service_start(service, endpoint), GATE_OK);
    zmq_msg_t id;
    bool anew;
    s_ready(broker, &id);
    for (int i = 0; i < CALLS; i++) {
        snprintf(request, sizeof request, "%d", i);
        s_say(broker, &id, "\2", request);
    }
    s_fills();
    int n = s_answers(broker, &anew);
    cr_assert(anew, "%d answers: its connection was never full", n);
    gi_mem_fail_at(0, false);
    zmq_msg_close(&id);
    gate_service_destroy(&service);
    gate_runtime_destroy(&rt);
    zmq_close(broker);
    zmq_ctx_term(zmq);
}
