/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rings.h -- the broker's half of lanes (docs/extensions.md): messages of
 * peers on this machine through shared memory, under the core, which hears and
 * sends as ever. A lane belongs to one connection of ZeroMQ, whose end is its
 * own, and whose end it makes when it breaks: there is one truth about who is
 * there.
 * Thread: the broker's. Blocks: never. Owns: the listener, all lanes. */
#ifndef GI_BROKER_RINGS_H
#define GI_BROKER_RINGS_H

#include <gaterpc/broker.h>
#include "net/sock.h"

typedef struct gi_broker_rings gi_broker_rings_t;

/* NULL: there are none, which settings say, or the log. */
gi_broker_rings_t *gi_broker_rings_new(gate_broker_t *broker);
void gi_broker_rings_destroy(gi_broker_rings_t **self_p);
/* What peers are told. */
const char *gi_broker_rings_offer(const gi_broker_rings_t *self);

/* A message of ZeroMQ in broker->in. True: it was about a lane, and is gone. */
bool gi_broker_rings_heard(gi_broker_rings_t *self, unsigned side, int fd);
/* -1: not by a lane; else as gi_sock_send. */
int gi_broker_rings_send(gi_broker_rings_t *self, unsigned side,
                         gi_frames_t *frames);
/* Reads all lanes; true: something was done. */
bool gi_broker_rings_work(gi_broker_rings_t *self, int64_t now_ms);
/* At the end of a pass. */
bool gi_broker_rings_flush(gi_broker_rings_t *self);
/* That connection is over: the last messages are given, and its lane ends. */
void gi_broker_rings_closed(gi_broker_rings_t *self, unsigned side, int fd,
                            int64_t now_ms);
/* What goes to it takes a lane. */
bool gi_broker_rings_has(const gi_broker_rings_t *self, int fd);
void gi_broker_rings_fds(gi_broker_rings_t *self, gi_polled_t *polled);
int64_t gi_broker_rings_next(const gi_broker_rings_t *self, int64_t now_ms);
bool gi_broker_rings_calm(gi_broker_rings_t *self);
bool gi_broker_rings_there(const gi_broker_rings_t *self);

#endif
