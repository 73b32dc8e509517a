/* SPDX-License-Identifier: BSD-3-Clause */
/* sim.h -- a world in one thread: brokers, services and clients as their cores
 * or as models of Python's, over a network that delays, cuts, freezes and
 * forgets, by a clock that only the simulator turns. A run is a list of events;
 * the list comes from one seed, or from a file, and decides everything.
 *
 *   sim.c      seeds, and the shortest run that still shows a failure
 *   world.c    what happens, and the laws
 *   net.c      connections as libzmq's ROUTER and DEALER see them
 *   node_*.c   who stands at the ends of them: node_ours.c is the client's core
 *              itself, node_service.c the service's, the others are models
 *   service_*  what that service is made of beside its core
 *
 * Laws, after every event: the broker core's own; a call ends once; what may
 * not run twice does not; items come in order and none is missing before END; a
 * slot is not held for a client that has gone; a call ends in time; the client
 * core's and the service core's own, and what they tell their shells. At the end,
 * when everybody lives and reads again: nothing is under way anywhere. */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stdint.h>
#include "broker/core/broker_core.h"
#include "net/frames.h"
#include "settings/settings.h"
#include "wire/mdp.h"
#include "wire/rpc.h"

enum {
    SIM_FRONT,
    SIM_BACK,
    SIM_CLIENTS = 4,
    SIM_WORKERS = 4,
    SIM_NODES = SIM_CLIENTS + SIM_WORKERS,
    SIM_SLOTS = 3,    /* a worker's */
    SIM_OPEN = 6,     /* calls of a client at a time */
    SIM_CALLS = 4096, /* of a run */
    SIM_CONNS = 4 * SIM_NODES,
    SIM_HEARTBEAT = 1000, /* ms */
    SIM_SILENCE = 3 * SIM_HEARTBEAT,
    SIM_QUEUE_MAX = 5000,
    SIM_REPLY_MAX = 20000, /* a call whose worker was cut off ends by then */
    SIM_HWM = 24,          /* messages on a connection that nobody reads */
    SIM_CALL_MS = 16000,   /* the deadline of our clients' calls */
    SIM_ARGS = 8,          /* bytes of a call's arguments */
    SIM_SERVE_MAX = 12000, /* ms that a service works without a word */
    SIM_LATE = 30000,      /* ms until a peer that lost its power is noticed */
    SIM_GONE_MAX =
        2 * SIM_HEARTBEAT /* a dead client's slots are free by then */
};

/* ---- events --------------------------------------------------------------- */
typedef enum sim_op {
    SIM_CALL,   /* client a calls: b which method, c for how long, how many */
    SIM_WAIT,   /* 8 * b + c ms */
    SIM_CANCEL, /* client a gives up its call b */
    SIM_READ,   /* client a reads (b odd) or stops reading its streams */
    SIM_KILL,   /* node a dies; b odd: nobody sees the connection end */
    SIM_START,  /* node a, if it is dead */
    SIM_CUT,    /* node a's connection ends; back after 50 * b ms */
    SIM_FREEZE, /* nothing passes on it for 50 * b ms; c odd: then it ends */
    SIM_STALL,  /* node a does nothing for 50 * b ms */
    SIM_LEAVE,  /* worker a ends: Python's says DISCONNECT; ours drains, or (c
                   odd) is stopped */
    SIM_BROKER, /* the broker dies and is started again */
    SIM_LOCAL,  /* somebody calls in worker a's process: b, c as with call */
    SIM_OPS
} sim_op_t;

typedef struct sim_event {
    uint8_t op, a, b, c;
} sim_event_t;

/* How a method runs, of the two numbers of a call. */
#define SIM_HOW(b, c) ((uint8_t)((b) / 4 * 37 + (c)*11))

extern const char *const sim_op_names[SIM_OPS];

/* ---- messages and connections -------------------------------------------- */
typedef struct sim_msg {
    struct sim_msg *next;
    int64_t at; /* it arrives then, or later */
    gate_bytes_t f[16];
    unsigned n;
    unsigned char data[];
} sim_msg_t;

typedef struct sim_queue {
    sim_msg_t *first, **last;
    unsigned n;
} sim_queue_t;

typedef struct sim_conn {
    int fd;            /* as the broker names it; 0: unused */
    unsigned node;     /* whose */
    char id[8];        /* under which routing id */
    bool up;           /* both ends have it */
    bool router;       /* the broker sends by it: no later one has its id */
    int64_t closed_ms; /* the broker hears that it ended; INT64_MAX: it lives */
    int64_t thaw_ms;   /* nothing passes until then */
    bool dies;         /* and then it ends */
    sim_queue_t in, out; /* to the broker; to the node */
} sim_conn_t;

/* ---- nodes ----------------------------------------------------------------- */
typedef struct sim_world sim_world_t;

/* A call, for the accounts. */
typedef struct sim_call {
    unsigned client;
    int64_t born_ms, due_ms; /* due: by the law */
    int64_t gone_ms; /* its client's connection was seen to end; INT64_MAX */
    unsigned runs, items; /* how often it ran; how many items it has */
    bool stream, idempotent, perturbed, ended, left;
} sim_call_t;

typedef struct sim_slot {
    bool used;
    unsigned call;           /* number */
    char client[16], id[32]; /* id: as the broker names the run */
    unsigned client_size, id_size;
    int64_t end_ms;       /* of a single call; when the next item is due */
    unsigned next, items; /* of a stream */
} sim_slot_t;

typedef struct sim_open {
    bool used;
    bool gaps;           /* items may be missing: nobody told the client */
    unsigned call, next; /* next item that must come */
    int64_t unread;      /* items that came to ours and were not read */
} sim_open_t;

typedef struct sim_ours sim_ours_t;       /* node_ours.c's */
typedef struct sim_service sim_service_t; /* service.h */

typedef struct sim_request {
    const char *service;
    unsigned char body[16]; /* func, args, kwargs */
    size_t func_size;
} sim_request_t;

typedef struct sim_node {
    bool alive, extended, reads;
    unsigned life;
    char id[8];
    sim_conn_t *conn;   /* NULL: none */
    int64_t connect_ms; /* when to try again; INT64_MAX: never */
    int64_t stalled_ms; /* does nothing until then */
    int64_t heard_ms;
    sim_queue_t waiting; /* what a DEALER keeps while there is no connection */
    sim_slot_t slots[SIM_SLOTS];
    sim_open_t open[SIM_OPEN];
    const char *service;
    sim_ours_t *ours;      /* NULL: a worker, or Python's client */
    sim_service_t *serves; /* NULL: a client, or Python's worker */
    int64_t busy_ms;       /* what it serves runs in its actor until then */
    unsigned names;        /* that its connections had */
} sim_node_t;

struct sim_world {
    int64_t now;
    gate_settings_t *settings;
    gi_broker_core_t *core;
    sim_node_t node[SIM_NODES];
    sim_conn_t conn[SIM_CONNS];
    int next_fd;
    uint64_t dice; /* delays of messages: the same for the same events */
    sim_call_t call[SIM_CALLS + 1]; /* the last is nobody's */
    unsigned n_calls;
    uint64_t n_events, n_finals, n_items, n_lost; /* for the report */
    char why[256];
};

/* world.c: a law is broken; does not return. */
_Noreturn void sim_fail(sim_world_t *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Runs the events; NULL: all laws held. Else why, borrowed until the next. */
const char *sim_run(const sim_event_t *events, size_t n, uint64_t dice);
/* Tells of every message and connection of the next runs. */
extern bool sim_tells;
/* What was seen in all runs so far. */
extern uint64_t sim_n_events, sim_n_calls, sim_n_finals, sim_n_items;

/* net.c */
void sim_send(sim_world_t *w, unsigned node, gi_frames_t *frames);
int sim_broker_send(void *ctx, unsigned socket, gi_frames_t *frames);
void sim_connect(sim_world_t *w, unsigned node);
/* It ends: the node hears at once, the broker after delay_ms. */
void sim_cut(sim_world_t *w, unsigned node, int64_t delay_ms);
/* Delivers what is due; true: something was. */
bool sim_net_work(sim_world_t *w);
int64_t sim_net_next(const sim_world_t *w);
void sim_net_end(sim_world_t *w);
void sim_queue_clear(sim_queue_t *q);
void sim_queue_put(sim_queue_t *q, gi_frames_t *frames); /* closes them */
/* Its first goes out by the node's connection. */
void sim_queue_send(sim_world_t *w, unsigned node, sim_queue_t *q);
unsigned sim_dice(sim_world_t *w, unsigned below);

/* One line, where the simulator tells. */
void sim_tell(const sim_world_t *w, const sim_conn_t *c, const char *what,
              const sim_msg_t *m);

/* node_client.c, node_worker.c */
void sim_client_start(sim_world_t *w, unsigned node);
void sim_client_up(sim_world_t *w, unsigned node); /* it has a connection */
void sim_client_dies(sim_world_t *w, unsigned node);
void sim_client_call(sim_world_t *w, unsigned node, unsigned b, unsigned c);
void sim_client_cancel(sim_world_t *w, unsigned node, unsigned which);
/* Its connection was cut. */
void sim_client_cut(sim_world_t *w, unsigned node);
void sim_client_read(sim_world_t *w, unsigned node);
void sim_client_message(sim_world_t *w, unsigned node, const sim_msg_t *m);
void sim_client_tick(sim_world_t *w, unsigned node);
int64_t sim_client_next(const sim_world_t *w, unsigned node);
void sim_worker_up(sim_world_t *w, unsigned node);
void sim_worker_cut(sim_world_t *w, unsigned node);
void sim_worker_message(sim_world_t *w, unsigned node, const sim_msg_t *m);
void sim_worker_tick(sim_world_t *w, unsigned node);
int64_t sim_worker_next(const sim_world_t *w, unsigned node);
void sim_worker_leave(sim_world_t *w, unsigned node, bool at_once);

/* node_ours.c: which is the number of a call under way. */
void sim_ours_start(sim_world_t *w, unsigned node);
void sim_ours_end(sim_world_t *w, unsigned node); /* without a word */
void sim_ours_up(sim_world_t *w, unsigned node);
void sim_ours_cut(sim_world_t *w, unsigned node);
void sim_ours_call(sim_world_t *w, unsigned node, unsigned which,
                   const sim_request_t *request);
void sim_ours_cancel(sim_world_t *w, unsigned node, unsigned which);
void sim_ours_read(sim_world_t *w, unsigned node);
void sim_ours_message(sim_world_t *w, unsigned node, const sim_msg_t *m);
void sim_ours_tick(sim_world_t *w, unsigned node);
int64_t sim_ours_next(const sim_world_t *w, unsigned node);

/* node_service.c */
void sim_service_start(sim_world_t *w, unsigned node, bool named);
void sim_service_end(sim_world_t *w, unsigned node); /* without a word */
void sim_service_up(sim_world_t *w, unsigned node);
void sim_service_cut(sim_world_t *w, unsigned node);
void sim_service_message(sim_world_t *w, unsigned node, const sim_msg_t *m);
void sim_service_tick(sim_world_t *w, unsigned node);
int64_t sim_service_next(const sim_world_t *w, unsigned node);
/* Drains, or stops at once; then its process ends: it is over. */
void sim_service_leave(sim_world_t *w, unsigned node, bool at_once);
bool sim_service_over(const sim_world_t *w, unsigned node);
/* What it has may now take longer than the law says. */
void sim_service_perturb(sim_world_t *w, unsigned node);
void sim_service_at_end(sim_world_t *w, unsigned node);
/* service_local.c */
void sim_local_call(sim_world_t *w, unsigned node, unsigned b, unsigned c);

static inline bool sim_is_client(unsigned node) { return node < SIM_CLIENTS; }

#endif
