/* SPDX-License-Identifier: BSD-3-Clause */
/* raw.h -- ZeroMQ sockets without a peer behind them: whole messages in and
 * out, bounded in time. Thread: one a socket. */
#ifndef RAW_H
#define RAW_H

#include "mutate.h"
#include <stdbool.h>
#include <zmq.h>

/* A message that came; its frames live until raw_free. */
typedef struct raw_message {
    message_t m;
    zmq_msg_t part[MUTATE_FRAMES];
    size_t n_parts;
    bool packed; /* so it came; m is what it stands for */
} raw_message_t;

/* A DEALER with an identity of its own, connected. */
void *raw_dealer(const char *endpoint);
/* A ROUTER on a free port of loopback; its endpoint. */
void *raw_router(char *endpoint, size_t size);
void raw_close(void **socket_p);
/* When all sockets are closed: the context too. */
void raw_over(void);

/* Waits a second at most for room; false when there was none. */
bool raw_send(void *socket, const message_t *message);
/* The same with a routing id before it. */
bool raw_send_to(void *socket, gate_bytes_t peer, const message_t *message);
/* The next message that came within so many milliseconds. */
bool raw_take(void *socket, int timeout_ms, raw_message_t *to);
void raw_free(raw_message_t *message);
/* Forgets what has come so far. */
void raw_drop(void *socket);

#endif
