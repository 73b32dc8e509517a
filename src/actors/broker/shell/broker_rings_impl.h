/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rings_impl.h -- what the files of the broker's lanes share:
 *
 *   broker_rings.c      lanes that are there: messages, ends, sleep
 *   broker_rings_new.c  how one comes about
 *
 *   broker_rings_keep.c what they may keep, and how it is given back
 *
 *   GREETED --its nonce, by ZeroMQ--> BOUND --up, by ZeroMQ--> UP --told--> both
 *   --leaving--> left --down, by the ring--> gone
 *
 * A GREETED one is anybody who found the socket: it has cost a descriptor and
 * this struct, and has two seconds. Memory is made for BOUND ones. A lane that is
 * UP is read; it is written as soon as our own last message by ZeroMQ has gone
 * (told). */
#ifndef GI_BROKER_RINGS_IMPL_H
#define GI_BROKER_RINGS_IMPL_H

#include "broker/shell/broker_impl.h"
#include "rings/rings.h"

#define GI_BROKER_LANE_BUCKETS 64

typedef enum gi_broker_lane_state {
    GI_LANE_GREETED,
    GI_LANE_BOUND,
    GI_LANE_UP,
    GI_LANE_BROKEN
} gi_broker_lane_state_t;

typedef struct gi_broker_lane {
    struct gi_broker_lane *next;  /* all */
    struct gi_broker_lane *mates; /* of its bucket, from BOUND on */
    gi_broker_lane_state_t state;
    bool told;          /* what we send goes here */
    bool leaving, left; /* it is to be given back; our last record is out */
    bool gone;          /* its peer's last one was read */
    pid_t process;      /* who connected */
    uid_t user;
    int64_t n; /* records since it was last asked whether it pays */
    int fd;    /* until there is a way */
    bool rung; /* the same */
    gi_ringway_t *way;
    int64_t due_ms; /* until UP */
    unsigned char nonce[GI_RINGS_NONCE];
    /* from BOUND on: the connection that it belongs to */
    unsigned side;
    int srcfd;
    int64_t doubt_ms;    /* a connection of that number closed; 0: none did */
    uint64_t connection; /* its inode: numbers are used again */
    zmq_msg_t id;        /* the routing id as it came, with who sent it */
} gi_broker_lane_t;

struct gi_broker_rings {
    gate_broker_t *broker;
    int listener, epoll;
    bool rung; /* epoll has something */
    bool knocks;
    int64_t deaf_ms; /* when the listener is watched again; 0: it is */
    unsigned n_pending, n_bound, n_up; /* n_bound: all that are in buckets */
    uint64_t n_opened, n_refused, n_bad, n_left;
    int64_t idle_ms; /* when that is asked again */
    gi_broker_lane_t *lanes;
    gi_broker_lane_t *buckets[GI_BROKER_LANE_BUCKETS];
    char offer[GI_RINGS_OFFER];
};

/* ---- broker_rings.c ------------------------------------------------------- */
unsigned gi_broker_lane_bucket(unsigned side, gate_bytes_t id);
gate_bytes_t gi_broker_lane_id(const gi_broker_lane_t *lane);
/* The one of that routing id, from BOUND on; NULL: none. */
gi_broker_lane_t *gi_broker_lane_find(const gi_broker_rings_t *self,
                                      unsigned side, gate_bytes_t id);
/* Which connection a descriptor is; 0: none (any more). */
uint64_t gi_broker_lane_connection(int fd);
void gi_broker_lane_free(gi_broker_rings_t *self, gi_broker_lane_t *lane);
/* Frees those who have gone before they asked. */
void gi_broker_lane_sweep(gi_broker_rings_t *self);
bool gi_broker_lane_watch(gi_broker_rings_t *self, int fd, void *what);
void gi_broker_lane_count(const gi_broker_rings_t *self);
void gi_broker_lane_refused(gi_broker_rings_t *self);
/* With its connection. why: it broke the law; NULL: it is over. */
void gi_broker_lane_break(gi_broker_rings_t *self, gi_broker_lane_t *lane,
                          const char *why);

/* ---- broker_rings_keep.c -------------------------------------------------- */
/* Its process and user have fewer than their share of most: of those that are
 * bound, or of those that are not yet. */
bool gi_broker_lane_share(const gi_broker_rings_t *self,
                          const gi_broker_lane_t *lane, unsigned most,
                          bool bound);
/* Once a pass: gives back, and ends, what costs too much. */
void gi_broker_lane_look(gi_broker_rings_t *self, int64_t now_ms);
/* Our last record, if there is room; nothing unless it is leaving. */
void gi_broker_lane_leave(gi_broker_lane_t *lane);
/* The k-th of n that are up has its time of the pass that began then; n_read
 * messages were read. */
bool gi_broker_lane_over(int64_t since_ns, unsigned k, unsigned n,
                         int64_t n_read);

/* ---- broker_rings_new.c --------------------------------------------------- */
/* Greets who has connected; true: there may be more of them. */
bool gi_broker_lane_accept(gi_broker_rings_t *self, int64_t now_ms);
/* Listens again, when there may be descriptors. */
void gi_broker_lane_undeafen(gi_broker_rings_t *self, int64_t now_ms);
/* The peer of broker->in asked, with that nonce. */
void gi_broker_lane_bind(gi_broker_rings_t *self, unsigned side, int fd,
                         const unsigned char nonce[GI_RINGS_NONCE]);
/* Its peer has come over. */
void gi_broker_lane_up(gi_broker_rings_t *self, gi_broker_lane_t *lane);
/* Says our own last message by ZeroMQ; until it has gone all others go there. */
void gi_broker_lane_tell(gi_broker_rings_t *self, gi_broker_lane_t *lane);

#endif
