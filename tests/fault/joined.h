/* SPDX-License-Identifier: BSD-3-Clause */
/* joined.h -- brokers that are joined over nats-servers, as children, each with
 * a client of the test's; and what runs over them while something dies.
 * Thread: the test's main. */
#ifndef JOINED_H
#define JOINED_H

#include "child.h"
#include "lanes.h"
#include "nats_server.h"

typedef struct joined {
    const char *name;
    const char *urls;
    child_t broker;
    char front[128], back[128]; /* the same after a restart */
    gate_client_t *client;      /* NULL: none yet */
} joined_t;

/* Ends the test as skipped, with the reason, where brokers cannot be joined;
 * else child_init, and heartbeats of brokers of beat_ms. */
void joined_init(int argc, char **argv, int beat_ms);
/* `gate broker --uplink urls --uplink-name name` and, the first time, a client
 * at it. Borrows name and urls. */
void joined_start(joined_t *self, gate_runtime_t *runtime, const char *name,
                  const char *urls);
void joined_end(joined_t *self);
/* Waits until its client sees the service, or no more. */
void joined_await(joined_t *self, const char *service, bool there);
/* Until a call of Demo.add is right there; the milliseconds it took. */
double joined_back(joined_t *self);
/* A number of Gate.stats' uplink. */
int64_t joined_count(joined_t *self, const char *name);
/* Calls under way there. */
int64_t joined_in_flight(joined_t *self);
/* One that is there for the whole test. */
void joined_server(nats_server_t *self);

/* ---- a stream and a huge result, one after the other, until told ---------- */
typedef struct joined_flow joined_flow_t;

/* Streams of Demo.slow_gen, in order; results of Demo.huge, the same bytes each
 * time. What is not so, or ends in an error, fails the test. */
joined_flow_t *joined_flow_start(joined_t *at);
/* Ends both; how many of each came whole. */
void joined_flow_stop(joined_flow_t **self_p, size_t *streams, size_t *huge);

#endif
