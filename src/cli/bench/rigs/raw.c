/* SPDX-License-Identifier: BSD-3-Clause */
/* raw.c -- zmq_msg_t and nothing else. */
#include "bench/rigs/raw.h"

#include <stdlib.h>
#include <string.h>

enum { S_BATCH = 64, S_MANY_MAX = 1 << 20 };

/* ---- sockets ------------------------------------------------------------- */
void *gi_raw_socket(void *ctx, int type) {
    const int none = 0;
    void *socket = zmq_socket(ctx, type);
    if (!socket)
        return NULL;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    return socket;
}

bool gi_raw_bind(void *socket, char *endpoint, size_t size) {
    return !zmq_bind(socket, endpoint) &&
           !zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
}

/* ---- the broker's stand-in ----------------------------------------------- */
void *gi_raw_proxy_thread(void *arg) {
    gi_raw_proxy_t *self = arg;
    zmq_proxy(self->front, self->back, NULL);
    zmq_close(self->front);
    zmq_close(self->back);
    free(self);
    return NULL;
}

/* ---- messages ------------------------------------------------------------ */
static bool s_more(void *socket, const void *data, size_t size) {
    return zmq_send(socket, data, size, ZMQ_SNDMORE) >= 0;
}

bool gi_raw_send_call(void *socket, const char *service, const char *method,
                      const void *id, const void *args, size_t args_size) {
    char func[40];
    size_t n = strlen(method);
    func[0] = (char)(0xa0 | n); /* fixstr: shorter than 32 */
    memcpy(func + 1, method, n);
    return s_more(socket, "", 0) && s_more(socket, "MDPC01", 6) &&
           s_more(socket, service, strlen(service)) &&
           s_more(socket, id, GI_RAW_ID) && s_more(socket, func, n + 1) &&
           s_more(socket, args, args_size) &&
           zmq_send(socket, "\x80", 1, 0) >= 0;
}

void *gi_raw_args(size_t size, size_t *packed_size) {
    unsigned char *p = malloc(size + 6);
    if (!p)
        return NULL;
    p[0] = 0x91;
    p[1] = 0xc6;
    for (int i = 0; i < 4; i++)
        p[2 + i] = (unsigned char)(size >> (24 - 8 * i));
    memset(p + 6, 'x', size);
    *packed_size = size + 6;
    return p;
}

int gi_raw_recv(void *socket, int id_frame, void *id, size_t *last_size) {
    zmq_msg_t frame;
    int n = 0, more = 1;
    while (more) {
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            return 0;
        }
        size_t size = zmq_msg_size(&frame);
        if (n == id_frame && size)
            memcpy(id, zmq_msg_data(&frame),
                   size < GI_RAW_ID ? size : GI_RAW_ID);
        if (last_size)
            *last_size = size;
        more = zmq_msg_more(&frame);
        zmq_msg_close(&frame);
        n++;
    }
    return n;
}

/* ---- the worker ---------------------------------------------------------- */
typedef struct s_worker {
    gi_raw_worker_t spec;
    zmq_msg_t frames[GI_RAW_FRAMES];
    int n;
    char *body; /* of answers; grows */
    size_t room;
} s_worker_t;

/* 0 none there, -1 the context is going. */
static int s_take(s_worker_t *self, int flags) {
    int more = 1;
    self->n = 0;
    while (more && self->n < GI_RAW_FRAMES) {
        zmq_msg_t *frame = &self->frames[self->n];
        zmq_msg_init(frame);
        if (zmq_msg_recv(frame, self->spec.socket, flags) < 0)
            return zmq_errno() == EAGAIN ? 0 : -1;
        self->n++;
        more = zmq_msg_more(frame);
    }
    return 1;
}

static bool s_body(s_worker_t *self, size_t size) {
    if (size <= self->room)
        return true;
    char *grown = realloc(self->body, size);
    if (!grown)
        return false;
    memset(grown, 'x', size);
    self->body = grown;
    self->room = size;
    return true;
}

/* [client] "" MDPC01 service id body, and one frame more behind a proxy. */
static void s_answer(s_worker_t *self, bool copied, size_t size) {
    void *to = self->spec.socket;
    int skip = self->spec.routed ? 1 : 0;
    zmq_msg_t copy;
    if (skip) {
        zmq_msg_init(&copy);
        zmq_msg_copy(&copy, &self->frames[0]);
        if (zmq_msg_send(&copy, to, ZMQ_SNDMORE) < 0)
            zmq_msg_close(&copy);
    }
    s_more(to, "", 0);
    s_more(to, "MDPC01", 6);
    s_more(to, "Bench0", 6);
    s_more(to, zmq_msg_data(&self->frames[skip + 3]), GI_RAW_ID);
    if (copied)
        zmq_send(to, self->body, size, skip ? ZMQ_SNDMORE : 0);
    else
        zmq_send_const(to, self->body, size, skip ? ZMQ_SNDMORE : 0);
    if (skip)
        zmq_send(to, "\xc0", 1, 0);
}

static void s_answer_one(s_worker_t *self) {
    for (int i = 0; i < self->n; i++)
        zmq_msg_send(&self->frames[i], self->spec.socket,
                     i + 1 < self->n ? ZMQ_SNDMORE : 0);
}

static void s_answer_many(s_worker_t *self) {
    gi_many_t many;
    zmq_msg_t *last = &self->frames[self->n - 2]; /* args */
    if (zmq_msg_size(last) != sizeof many)
        return;
    memcpy(&many, zmq_msg_data(last), sizeof many);
    if (many.size > S_MANY_MAX || !s_body(self, S_MANY_MAX))
        return;
    for (uint32_t i = 0; i < many.n; i++)
        s_answer(self, many.size < 1024, many.size);
}

static void s_serve(s_worker_t *self) {
    int min = self->spec.routed ? 8 : 7;
    if (self->spec.shape == GI_SHAPE_ONE) {
        s_answer_one(self);
    } else if (self->n >= min) {
        size_t args = zmq_msg_size(&self->frames[self->n - 2]);
        if (self->spec.shape == GI_SHAPE_MANY)
            s_answer_many(self);
        else if (s_body(self, args + 20)) /* {result: ..., exception: nil} */
            s_answer(self, true, args + 20);
    }
    for (int i = 0; i < self->n; i++)
        zmq_msg_close(&self->frames[i]);
}

void *gi_raw_worker_thread(void *arg) {
    s_worker_t self = {.spec = *(gi_raw_worker_t *)arg};
    free(arg);
    while (s_take(&self, 0) > 0) {
        s_serve(&self);
        for (int i = 0; i < S_BATCH && s_take(&self, ZMQ_DONTWAIT) > 0; i++)
            s_serve(&self);
    }
    zmq_close(self.spec.socket);
    free(self.body);
    return NULL;
}
