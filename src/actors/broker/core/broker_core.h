/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_core.h -- the broker's state machine: messages and time go in,
 * messages go out through one function. Knows no socket, so tests and the
 * fuzzer drive it as the actor does. Thread: one. Blocks: never. Units: ms on
 * the caller's monotonic clock. Owns: peers, services, calls and everything
 * queued. Law: gi_broker_core_valid. Every request that was taken ends with
 * exactly one final message to its client, unless the client cancelled or went
 * away. Survives: any bytes from any peer; no memory (the message is dropped
 * and counted). */
#ifndef GI_BROKER_CORE_H
#define GI_BROKER_CORE_H

#include <gaterpc/broker.h>
#include "rules/access.h"
#include "base/buf.h"
#include "net/frames.h"
#include "base/tags.h"

typedef struct gi_broker_core gi_broker_core_t;
typedef struct gi_broker_peer gi_broker_peer_t;

/* The internal service. */
typedef struct gi_broker_gate_ops {
    /* A call of it; answers before it returns. */
    void (*ask)(gi_broker_core_t *core, gi_broker_peer_t *client,
                gate_bytes_t service, gate_bytes_t id, const gate_bytes_t *body,
                size_t n_body);
    void (*fini)(gi_broker_core_t *core);
} gi_broker_gate_ops_t;

#define GI_BROKER_WHERE_MAX 64

typedef struct gi_broker_effects {
    /* gi_frames_send to that socket: frame 0 is the peer's routing id. 0: sent,
     * frames is empty; EAGAIN: that peer is full; anything else: it is gone;
     * frames is unchanged then. */
    int (*send)(void *ctx, unsigned socket, gi_frames_t *frames);
    /* Borrows until the next call: whom the transport took the sender of this
     * frame for, "" nobody. May be NULL. */
    const char *(*user)(void *ctx, zmq_msg_t *frame, int64_t now_ms);
    /* Borrows until the next call: where the sender of this frame is, whatever
     * connection it has; "" not known. May be NULL. */
    const char *(*address)(void *ctx, zmq_msg_t *frame);
    /* A number that no other connection behind this descriptor has had; 0:
     * there is none any more. May be NULL: every closed one is looked for. */
    uint64_t (*connection)(void *ctx, int srcfd);
    /* The sender of this frame takes whatever comes for the answer to what it
     * asked (a REQ socket). May be NULL. */
    bool (*strict)(void *ctx, zmq_msg_t *frame);
    /* Who is behind this connection is a process of our own user on this
     * machine. May be NULL: everybody is. */
    bool (*ours)(void *ctx, int srcfd);
    /* More could be written to this connection: the kernel has room. May be
     * NULL: it always has. */
    bool (*writable)(void *ctx, int srcfd);
    /* How many bytes have left over this connection; -1: not known, or some
     * wait. May be NULL: never known. */
    int64_t (*carried)(void *ctx, int srcfd);
    /* Ends it: libzmq and its peer see an end. False: it is none of ours. Needed
     * only with carried. */
    bool (*shut)(void *ctx, int srcfd);
    /* How much of a CPU a busy program of this machine gets, up to 1. May be
     * NULL: 1. */
    double (*share)(void *ctx);
    /* Monotonic time; may be NULL: that of the last event. */
    int64_t (*now_ns)(void *ctx);
    /* Writes where this connection comes from; "" not known. May be NULL. */
    void (*where)(void *ctx, int srcfd, char to[GI_BROKER_WHERE_MAX]);
    /* Packs one map: what it knows of this process and of what it is bound to.
     * May be NULL: an empty one. */
    void (*process)(void *ctx, msgpack_packer *pk);
    /* Sends a question to the authentication service; 0 or an errno. Needed
     * only with gi_broker_core_zap. */
    int (*ask)(void *ctx, gi_frames_t *frames);
    /* Tells another broker how many more calls of our service it may send.
     * Needed only with gi_broker_core_far. */
    void (*far_share)(void *ctx, const unsigned char *node, uint32_t index,
                      uint32_t share);
    /* Appends what is known of other brokers, a msgpack list; NULL: []. */
    void (*brokers)(void *ctx, gi_buf_t *out);
    /* Appends the uplink's counters, a msgpack map; NULL: nil. */
    void (*uplink)(void *ctx, gi_buf_t *out);
    const char *offer; /* what peers are told of lanes; NULL: nothing */
    const gi_broker_gate_ops_t *gate; /* NULL: calls of it are refused */
} gi_broker_effects_t;

#define GI_BROKER_SOCKETS_MAX 16

/* Borrows settings and effects until destroy. NULL: no memory. */
gi_broker_core_t *gi_broker_core_new(const gate_settings_t *settings,
                                     const unsigned char id[GI_ID_SIZE],
                                     const gi_broker_effects_t *effects,
                                     void *ctx, int64_t now_ms);
void gi_broker_core_destroy(gi_broker_core_t **self_p);
/* An answer of the authentication service: "" version key status text user
 * metadata. Takes the frames. */
void gi_broker_core_verdict(gi_broker_core_t *self, gi_frames_t *frames,
                            int64_t now_ms);
/* Rules about calls; keeps. Before the first message. */
void gi_broker_core_access(gi_broker_core_t *self, const gi_access_t *access);
/* What the shell's guard has done so far. */
void gi_broker_core_guarded(gi_broker_core_t *self, uint64_t cut,
                            uint64_t shut);
/* How many lanes there are; how many came about, were given back, were refused,
 * were closed as their peer broke the law. */
void gi_broker_core_lanes(gi_broker_core_t *self, size_t there, uint64_t opened,
                          uint64_t left, uint64_t refused, uint64_t bad);
/* One connection too many was closed. */
void gi_broker_core_connection_refused(gi_broker_core_t *self);
/* One was not let in, said no hello in time, or was no ZeroMQ. */
void gi_broker_core_handshake_failed(gi_broker_core_t *self);
/* Adds a ROUTER; *socket is its number in all that follows. */
gate_err_t gi_broker_core_socket(gi_broker_core_t *self, bool backend,
                                 unsigned *socket) GATE_MUST;

/* A message as the ROUTER delivered it, the routing id in frame 0. Takes the
 * frames: n is 0 afterwards. srcfd -1: not known. */
void gi_broker_core_message(gi_broker_core_t *self, unsigned socket,
                            gi_frames_t *frames, int srcfd, int64_t now_ms);
/* One was thrown away for its number of frames. */
void gi_broker_core_oversized(gi_broker_core_t *self);
/* Somebody has connected to a backend and says nothing: it may have taken a
 * worker's routing id from it, which libzmq tells nobody. */
void gi_broker_core_newcomer(gi_broker_core_t *self, int64_t now_ms);
/* A connection closed. Call it when nothing more could be read. */
void gi_broker_core_closed(gi_broker_core_t *self, unsigned socket, int srcfd,
                           int64_t now_ms);
/* Deadlines, heartbeats, expiry. True: something was due. */
bool gi_broker_core_tick(gi_broker_core_t *self, int64_t now_ms);
/* Begins a pass: tries up to max blocked peers again. True: something went out. */
bool gi_broker_core_retry(gi_broker_core_t *self, unsigned max, int64_t now_ms);
/* Sends what was gathered: needed at the end of each pass. True: something
 * went. */
bool gi_broker_core_flush(gi_broker_core_t *self, int64_t now_ms);
bool gi_broker_core_blocked(const gi_broker_core_t *self);
/* When to tick again; INT64_MAX: nothing is planned. */
int64_t gi_broker_core_next(const gi_broker_core_t *self);

/* Another broker has our listeners (or has them no more): our own peers are
 * asked to go there, with what is new. Others are not told. */
void gi_broker_core_move(gi_broker_core_t *self, bool away, int64_t now_ms);
/* We have another broker's listeners: until then calls to services without
 * workers wait for these instead of being refused. */
void gi_broker_core_expect(gi_broker_core_t *self, int64_t until_ms);
/* For how long nobody has spoken on a frontend's connection on which nothing is
 * under way; -1: something is. *told: it was asked to go, and will. */
int64_t gi_broker_core_quiet(const gi_broker_core_t *self, unsigned socket,
                             int fd, int64_t now_ms, bool *told);

/* Takes no new calls from now on. */
void gi_broker_core_drain(gi_broker_core_t *self);
/* Bytes of messages that wait or are kept. */
size_t gi_broker_core_kept(const gi_broker_core_t *self);
/* No call is under way and nothing waits for a peer. */
bool gi_broker_core_idle(const gi_broker_core_t *self);
/* Answers what is under way with an error, says DISCONNECT to all workers. */
void gi_broker_core_stop(gi_broker_core_t *self, int64_t now_ms);

/* ---- broker_valid.c ------------------------------------------------------- */
/* Counter by name of broker_counters.def, for tests; asserts that it exists. */
uint64_t gi_broker_core_count(const gi_broker_core_t *self, const char *name);
/* The law; walks everything. */
bool gi_broker_core_valid(const gi_broker_core_t *self);

/* ---- broker_seen.c ------------------------------------------------------- */
/* Time may have gone by: the next call is measured by a look at the clock. */
void gi_broker_seen_pass(gi_broker_core_t *self);

#endif
