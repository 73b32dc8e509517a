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

/* ---- messages -------------------------------------------------------------
 */
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
