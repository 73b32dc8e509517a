/* SPDX-License-Identifier: BSD-3-Clause */
/* raw.c -- one context for all sockets of a test. */
#include "raw.h"
#include "child.h"
#include <stdio.h>
#include <string.h>

static void *s_context;

static void *s_socket(int type) {
    int linger = 0, timeout = 1000;
    if (!s_context)
        s_context = zmq_ctx_new();
    void *socket = s_context ? zmq_socket(s_context, type) : NULL;
    if (!socket)
        child_die("no socket: %s", zmq_strerror(zmq_errno()));
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_SNDTIMEO, &timeout, sizeof timeout);
    return socket;
}

void *raw_dealer(const char *endpoint) {
    static unsigned n;
    char name[32];
    void *socket = s_socket(ZMQ_DEALER);
    int size = snprintf(name, sizeof name, "mutant-%08u", n++);
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, name, (size_t)size);
    if (zmq_connect(socket, endpoint))
        child_die("%s: %s", endpoint, zmq_strerror(zmq_errno()));
    return socket;
}

void *raw_router(char *endpoint, size_t size) {
    void *socket = s_socket(ZMQ_ROUTER);
    int yes = 1;
    zmq_setsockopt(socket, ZMQ_ROUTER_HANDOVER, &yes, sizeof yes);
    if (zmq_bind(socket, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size))
        child_die("no port: %s", zmq_strerror(zmq_errno()));
    return socket;
}

void raw_close(void **socket_p) {
    if (*socket_p)
        zmq_close(*socket_p);
    *socket_p = NULL;
}

void raw_over(void) {
    if (s_context)
        zmq_ctx_term(s_context);
    s_context = NULL;
}

/* ---- messages ------------------------------------------------------------ */
bool raw_send(void *socket, const message_t *message) {
    for (size_t i = 0; i < message->n; i++)
        if (zmq_send(socket, message->frame[i].data, message->frame[i].size,
                     i + 1 < message->n ? ZMQ_SNDMORE : 0) < 0)
            return false;
    return true;
}

bool raw_send_to(void *socket, gate_bytes_t peer, const message_t *message) {
    return zmq_send(socket, peer.data, peer.size, ZMQ_SNDMORE) >= 0 &&
           raw_send(socket, message);
}

static bool s_more(void *socket) {
    int more = 0;
    size_t size = sizeof more;
    return zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0 && more;
}

/* docs/extensions.md, packed messages: frame at and those behind it become what
 * they stand for. Only from our own peers: anything else is a bug of theirs. */
static void s_unpack(raw_message_t *self, size_t at) {
    message_t from = self->m;
    gate_bytes_t packed = from.frame[at];
    const unsigned char *p = packed.data, *end = p + packed.size;
    size_t n = packed.size > 4 ? p[4] : 0, size[64], outside = at + 1;
    message_t *to = &self->m;
    if (n > 63)
        child_die("a packed message of %zu frames", n);
    p += 5;
    for (size_t i = 0; i < n && p < end; i++) {
        size[i] = *p++;
        if (size[i] == 254 && end - p >= 4) {
            size[i] = (size_t)p[0] << 24 | (size_t)p[1] << 16 |
                      (size_t)p[2] << 8 | p[3];
            p += 4;
        } else if (size[i] == 255) {
            size[i] = SIZE_MAX;
        }
    }
    to->n = at;
    to->frame[to->n++] = (gate_bytes_t){"", 0};
    for (size_t i = 0; i < n && to->n < MUTATE_FRAMES; i++) {
        bool inside = size[i] != SIZE_MAX;
        if (inside ? size[i] > (size_t)(end - p) : outside >= from.n)
            child_die("a packed message that ends too early");
        to->frame[to->n++] =
            inside ? (gate_bytes_t){p, size[i]} : from.frame[outside++];
        p += inside ? size[i] : 0;
    }
    if (p != end || outside != from.n)
        child_die("a packed message with more behind it");
    self->packed = true;
}

static bool s_is_packed(gate_bytes_t frame) {
    return frame.size > 4 && memcmp(frame.data, "\xc1GXP", 4) == 0;
}

bool raw_take(void *socket, int timeout_ms, raw_message_t *to) {
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    to->m.n = to->n_parts = 0;
    if (timeout_ms > 0 && zmq_poll(&item, 1, timeout_ms) <= 0)
        return false;
    do {
        zmq_msg_t *part = &to->part[to->n_parts];
        zmq_msg_init(part);
        if (zmq_msg_recv(part, socket, ZMQ_DONTWAIT) < 0)
            return false; /* only the first can be missing */
        to->m.frame[to->m.n++] =
            (gate_bytes_t){zmq_msg_data(part), zmq_msg_size(part)};
        to->n_parts++;
    } while (s_more(socket) && to->n_parts < MUTATE_FRAMES);
    to->packed = false;
    for (size_t at = 0; at < 2 && at < to->m.n && !to->packed; at++)
        if (s_is_packed(to->m.frame[at])) /* a ROUTER has an id before it */
            s_unpack(to, at);
    return true;
}

void raw_free(raw_message_t *message) {
    while (message->n_parts)
        zmq_msg_close(&message->part[--message->n_parts]);
}

void raw_drop(void *socket) {
    raw_message_t got;
    while (raw_take(socket, 0, &got))
        raw_free(&got);
}
