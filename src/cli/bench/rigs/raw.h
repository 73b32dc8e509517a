/* SPDX-License-Identifier: BSD-3-Clause */
/* raw.h -- the pieces of the ZeroMQ references: sockets without limits, a
 * zmq_proxy, a worker, and messages in gate-rpc's frames.
 * Law: whatever runs in a thread here ends when its context shuts down. */
#ifndef GI_RAW_H
#define GI_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

/* What a message looks like. A call has 7 frames from a client; zmq_proxy's
 * ROUTER adds one; the answer has 7 from the worker, 6 at the client: 28 frames
 * over 4 links, as many as gate-rpc's 7 + 9 + 7 + 5. */
typedef enum gi_shape {
    GI_SHAPE_CALL,
    GI_SHAPE_ONE, /* one frame there and back */
    GI_SHAPE_MANY /* a request for so many messages of such a size */
} gi_shape_t;

enum { GI_RAW_FRAMES = 16, GI_RAW_ID = 16 };

/* The request of GI_SHAPE_MANY, in its last frame. */
typedef struct gi_many {
    uint32_t n, size;
} gi_many_t;

void *gi_raw_socket(void *ctx, int type);
bool gi_raw_bind(void *socket, char *endpoint, size_t size);
/* Threads: arg is theirs; they free it. */
void *gi_raw_proxy_thread(void *arg);
void *gi_raw_worker_thread(void *arg);
typedef struct gi_raw_proxy {
    void *front, *back; /* taken */
} gi_raw_proxy_t;
typedef struct gi_raw_worker {
    void *socket; /* taken */
    gi_shape_t shape;
    bool routed; /* the first frame is whose call it is */
} gi_raw_worker_t;

/* One call; id tells it from others and carries its stamp. */
bool gi_raw_send_call(void *socket, const char *service, const char *method,
                      const void *id, const void *args, size_t args_size);
/* Packs [bin of size bytes] as msgpack; gives. */
void *gi_raw_args(size_t size, size_t *packed_size);
/* Receives a message without waiting; how many frames, 0 none. The id frame (or
 * the first of one frame) is copied to id. */
int gi_raw_recv(void *socket, int id_frame, void *id, size_t *last_size);

#endif
