/* SPDX-License-Identifier: BSD-3-Clause */
/* nng.c -- nng's REQ and REP with contexts and asynchronous I/O, as its manual
 * advises for concurrency; direct, or with nng_device between raw sockets. The
 * device drops answers when more than 64 wait for one connection, and a dropped
 * one is asked for again after a minute: no more than S_DEVICE are under way.
 */
#include "peers.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { S_CONTEXTS = 1024, S_DEVICE = 60, S_BUFFERS = 8192 };

typedef struct s_nng s_nng_t;

/* One call under way, at the client or the service. */
typedef struct s_call {
    s_nng_t *rig;
    nng_ctx context;
    nng_aio *aio;
    uint64_t stamp;
    enum { S_IDLE, S_SENDING, S_RECEIVING } state;
    bool ok;
    struct s_call *next; /* free, or done */
} s_call_t;

struct s_nng {
    gi_spec_t *spec;
    bool device;
    nng_socket socket, back;
    bool has_socket, has_back;
    pthread_t thread;
    bool has_thread;
    s_call_t *calls;
    s_call_t *free; /* the lane's */
    s_call_t *done; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t more;
};

static bool s_ok(int code) {
    return !code || gi_peer_fail("nng", nng_strerror(code));
}

static bool s_calls(s_nng_t *self, void (*step)(void *)) {
    self->calls = calloc(S_CONTEXTS, sizeof *self->calls);
    for (int i = 0; i < S_CONTEXTS && self->calls; i++) {
        s_call_t *call = &self->calls[i];
        call->rig = self;
        if (!s_ok(nng_ctx_open(&call->context, self->socket)) ||
            !s_ok(nng_aio_alloc(&call->aio, step, call)))
            return false;
        call->next = self->free;
        self->free = call;
    }
    return self->calls != NULL;
}

/* ---- the device ---------------------------------------------------------- */
static void *s_forward(void *arg) {
    s_nng_t *self = arg;
    nng_device(self->socket, self->back);
    return NULL;
}

static bool s_listen(nng_socket socket, char *url, size_t size) {
    snprintf(url, size, "tcp://127.0.0.1:%d", gi_peer_port());
    nng_socket_set_int(socket, NNG_OPT_SENDBUF, S_BUFFERS);
    nng_socket_set_int(socket, NNG_OPT_RECVBUF, S_BUFFERS);
    return s_ok(nng_listen(socket, url, NULL, 0));
}

static bool s_up_device(s_nng_t *self) {
    gi_spec_t *spec = self->spec;
    self->has_socket = s_ok(nng_rep0_open_raw(&self->socket));
    self->has_back = self->has_socket && s_ok(nng_req0_open_raw(&self->back));
    self->has_thread =
        self->has_back &&
        s_listen(self->socket, spec->frontend, sizeof spec->frontend) &&
        s_listen(self->back, spec->backend, sizeof spec->backend) &&
        !pthread_create(&self->thread, NULL, s_forward, self);
    return self->has_thread;
}

/* ---- the service --------------------------------------------------------- */
static void s_serve(void *arg) {
    s_call_t *call = arg;
    if (call->state == S_RECEIVING) {
        if (nng_aio_result(call->aio))
            return;              /* closed */
        call->state = S_SENDING; /* the message as it came */
        nng_ctx_send(call->context, call->aio);
        return;
    }
    if (nng_aio_result(call->aio))
        nng_msg_free(nng_aio_get_msg(call->aio));
    call->state = S_RECEIVING;
    nng_ctx_recv(call->context, call->aio);
}

static bool s_up_service(s_nng_t *self) {
    gi_spec_t *spec = self->spec;
    self->has_socket = s_ok(nng_rep0_open(&self->socket));
    if (!self->has_socket)
        return false;
    if (self->device
            ? !s_ok(nng_dial(self->socket, spec->backend, NULL, 0))
            : !s_listen(self->socket, spec->frontend, sizeof spec->frontend))
        return false;
    if (!s_calls(self, s_serve))
        return false;
    for (int i = 0; i < S_CONTEXTS; i++) {
        self->calls[i].state = S_RECEIVING;
        nng_ctx_recv(self->calls[i].context, self->calls[i].aio);
    }
    return true;
}

/* ---- the client ---------------------------------------------------------- */
static void s_finish(s_call_t *call, bool ok) {
    s_nng_t *self = call->rig;
    call->ok = ok;
    call->state = S_IDLE;
    pthread_mutex_lock(&self->lock);
    bool first = !self->done;
    call->next = self->done;
    self->done = call;
    if (first)
        pthread_cond_signal(&self->more);
    pthread_mutex_unlock(&self->lock);
}

/* On a thread of nng's. */
static void s_step(void *arg) {
    s_call_t *call = arg;
    bool ok = !nng_aio_result(call->aio);
    if (call->state == S_SENDING) {
        if (!ok) {
            nng_msg_free(nng_aio_get_msg(call->aio));
            s_finish(call, false);
            return;
        }
        call->state = S_RECEIVING;
        nng_ctx_recv(call->context, call->aio);
        return;
    }
    if (ok) {
        nng_msg *answer = nng_aio_get_msg(call->aio);
        ok = nng_msg_len(answer) >= sizeof call->stamp;
        if (ok)
            memcpy(&call->stamp, nng_msg_body(answer), sizeof call->stamp);
        nng_msg_free(answer);
    }
    s_finish(call, ok);
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_nng_t *self = lane->self;
    s_call_t *call = self->free;
    nng_msg *message;
    if (!call || (self->device && lane->out > S_DEVICE) ||
        nng_msg_alloc(&message, lane->load->size))
        return false;
    self->free = call->next;
    memcpy(nng_msg_body(message), &stamp, sizeof stamp);
    nng_aio_set_msg(call->aio, message);
    call->state = S_SENDING;
    nng_ctx_send(call->context, call->aio);
    return true;
}

static s_call_t *s_take(s_nng_t *self, int64_t wait_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += wait_ns;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&self->lock);
    while (!self->done && wait_ns &&
           !pthread_cond_timedwait(&self->more, &self->lock, &until))
        ;
    s_call_t *done = self->done;
    self->done = NULL;
    pthread_mutex_unlock(&self->lock);
    return done;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_nng_t *self = lane->self;
    s_call_t *call = s_take(self, wait_ns), *next;
    for (; call; call = next) {
        next = call->next;
        call->next = self->free;
        self->free = call;
        gi_lane_done(lane, call->stamp, call->ok);
    }
}

/* What hangs since the last round is given up. */
static bool s_prepare(gi_lane_t *lane) {
    s_nng_t *self = lane->self;
    for (int i = 0; i < S_CONTEXTS; i++)
        if (self->calls[i].state != S_IDLE) {
            nng_aio_cancel(self->calls[i].aio);
            nng_aio_wait(self->calls[i].aio);
        }
    for (s_call_t *call = s_take(self, 0), *next; call; call = next) {
        next = call->next;
        call->next = self->free;
        self->free = call;
    }
    return lane->load->size >= GI_PEER_HEAD &&
           lane->load->outstanding <= S_CONTEXTS;
}

static bool s_lane(void *arg, int i, gi_lane_t *lane) {
    s_nng_t *self = arg;
    pthread_condattr_t monotonic;
    (void)i;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->more, &monotonic);
    *lane = (gi_lane_t){
        .self = self, .prepare = s_prepare, .send = s_send, .reap = s_reap};
    self->has_socket = s_ok(nng_req0_open(&self->socket));
    return self->has_socket && s_calls(self, s_step) &&
           s_ok(nng_dial(self->socket, self->spec->frontend, NULL, 0));
}

/* ---- life ---------------------------------------------------------------- */
static void s_down(void *arg) {
    s_nng_t *self = arg;
    if (self->has_socket)
        nng_close(self->socket);
    if (self->has_back)
        nng_close(self->back);
    if (self->has_thread)
        pthread_join(self->thread, NULL);
    for (int i = 0; i < S_CONTEXTS && self->calls; i++)
        if (self->calls[i].aio)
            nng_aio_free(self->calls[i].aio);
    free(self->calls);
    free(self);
}

static void *s_up(gi_spec_t *spec, bool device) {
    s_nng_t *self = calloc(1, sizeof *self);
    bool ok = self != NULL;
    if (!ok)
        return NULL;
    self->spec = spec;
    self->device = device;
    if (spec->parts & GI_BROKER)
        ok = s_up_device(self);
    if (ok && spec->parts & GI_SERVICE)
        ok = s_up_service(self);
    if (ok)
        return self;
    s_down(self);
    return NULL;
}

static void *s_up_direct(gi_spec_t *spec) { return s_up(spec, false); }

static void *s_up_both(gi_spec_t *spec) { return s_up(spec, true); }

const gi_kind_t gi_kind_nng = {"nng", GI_SERVICE | GI_CLIENT, s_up_direct,
                               s_lane, s_down};
const gi_kind_t gi_kind_nng_device = {"nng-device",
                                      GI_BROKER | GI_SERVICE | GI_CLIENT,
                                      s_up_both, s_lane, s_down};
