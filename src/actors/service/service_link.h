/* SPDX-License-Identifier: BSD-3-Clause */
/* service_link.h -- a service's connection to a broker: one of its workers
 * there. Thread: the service's actor. */
#ifndef GI_SERVICE_LINK_H
#define GI_SERVICE_LINK_H

#include <gaterpc/service.h>
#include "net/frames.h"
#include "net/sock.h"

typedef struct gi_link gi_link_t;

typedef enum gi_link_state {
    GI_LINK_CONNECTING, /* waits for the transport */
    GI_LINK_READY_SENT, /* waits for the first heartbeat */
    GI_LINK_UP,
    GI_LINK_BACKOFF, /* waits to try again */
    GI_LINK_LEFT     /* said DISCONNECT for good */
} gi_link_state_t;

typedef struct gi_outgoing {
    struct gi_outgoing *next;
    unsigned n;
    zmq_msg_t f[]; /* n frames */
} gi_outgoing_t;

struct gi_link {
    gate_service_t *service;
    gi_link_t *next;
    char *endpoint;
    const void *broker; /* of this runtime, or NULL */
    char identity[80];  /* the name behind the routing id */
    unsigned number;    /* which worker of the service it shows */
    gi_sock_t sock;
    gi_link_state_t state;
    bool watched; /* the transport reports connections */
    bool mute;    /* something could not be said: the connection has to go */
    bool ext;     /* the broker announced GX1 on this connection */
    bool packs, ext_told; /* and that it reads packed messages; we answered */
    bool batches;         /* and that it reads many of them in one frame */
    bool rows;            /* and that it hands on rows of items */
    bool traces;          /* and takes times behind the last answer */
    bool keeps, ghost;    /* it did not: our identity stays; it may be known */
    bool released;        /* it will send no more requests */
    bool moved;         /* another broker has its listeners: we are there too */
    unsigned epoch;     /* +1 for each new connection: stale answers differ */
    int64_t heard_ms;   /* last message from the broker */
    int64_t retry_ms;   /* BACKOFF: when to try */
    int64_t backoff_ms; /* the wait after the next failure */
    gi_outgoing_t *out_head, **out_tail; /* what the socket would not take */
    size_t out_n;
    size_t live;                      /* calls under way */
    int64_t look_ms;                  /* between reports; 0: nobody looks */
    int64_t look_until_ms, report_ms; /* when that ends; when one is due */
    int64_t frame_max;                /* that the broker takes; 0: not known */
};

/* ---- service_link.c ------------------------------------------------------ */
gate_err_t gi_link_new(gate_service_t *self, const char *endpoint,
                       unsigned number) GATE_MUST;
void gi_link_destroy(gi_link_t *link);
/* Reads up to batch messages, follows the connection; true: did something. */
bool gi_link_work(gi_link_t *link);
/* Nothing more can come from that broker. */
bool gi_link_may_leave(const gi_link_t *link);
int64_t gi_link_next(const gi_link_t *link);
/* It was left for another broker's, and nothing refers to it any more. */
bool gi_link_is_over(const gi_link_t *link);
void gi_link_leave(gi_link_t *link);    /* DISCONNECT */
void gi_link_announce(gi_link_t *link); /* heartbeat with what we are */

/* ---- service_link_send.c ------------------------------------------------- */
/* Begins "" MDPW01 command {zap} in service->out. */
gi_frames_t *gi_link_send_begin(gi_link_t *link, int command);
/* Sends or queues service->out; true: the socket has it. No memory: mute. */
bool gi_link_send(gi_link_t *link);
/* Sends what waits; true when something went out. */
bool gi_link_send_flush(gi_link_t *link);
/* Sends what is gathered, to all brokers; true when something was. */
bool gi_link_send_all(gate_service_t *self);
void gi_link_send_drop(gi_link_t *link); /* what waits */
/* Takes an item that waits for others of this pass; false: it goes by itself. */
bool gi_link_send_gather(gi_scall_t *c, const void *data, size_t size);
/* The items that wait go out, in a row. */
void gi_link_send_row(gate_service_t *self);

#endif
