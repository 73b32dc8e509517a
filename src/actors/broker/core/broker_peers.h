/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_peers.h -- who is there, and what waits for them: peers and their
 * messages. Owns: what is in a peer's queue; its calls are the table's. */
#ifndef GI_BROKER_PEERS_H
#define GI_BROKER_PEERS_H

#include "broker/core/broker_state.h"

/* A message that waits for its peer, or a request for a worker. */
struct gi_broker_message {
    gi_list_t link;          /* in the peer's queue */
    gi_broker_call_t *call;  /* the request it is; NULL = another message */
    gi_broker_peer_t *owner; /* in whose share it is */
    size_t weight;           /* what it takes to keep it */
    unsigned n, n_large;     /* frames; those that are kept as they are */
    bool paced;              /* goes out at stream_plain_rate */
    zmq_msg_t large[]; /* then the size of each frame, and the others' bytes */
};

struct gi_broker_peer {
    gi_node_t node;    /* in its socket's table */
    gi_list_t ring;    /* in core->blocked while queue is not empty */
    gi_list_t doomed;  /* in core->work.doomed once it is gone */
    gi_list_t queue;   /* messages that wait for it */
    gi_list_t loaded;  /* in core->loaded while there is a batch */
    gi_list_t handing; /* in core->handing while handed is not little */
    gi_batch_t *batch; /* what goes at the end of the pass; or NULL */
    gi_batch_pace_t gathering;
    gi_list_t calls;               /* a client's calls */
    gi_broker_timer_t idle;        /* forgets it */
    gi_broker_worker_t *worker;    /* NULL: a client, or not registered */
    gi_broker_user_t *user;        /* by the transport; NULL = nobody */
    gi_broker_trust_t *trust;      /* in-band credentials; NULL = none yet */
    gi_bucket_t rate;              /* rate_limit_peer */
    gi_bucket_t pace;              /* stream_plain_rate */
    size_t n_queued, queued_bytes; /* in its queue; their weight */
    size_t n_calls;
    size_t n_stalled, slow_max; /* broker_stall.c's */
    int64_t slow_ms;            /* until then slow_max holds */
    size_t weight; /* of the messages that it owns, whoever waits for them */
    size_t handed; /* bytes that libzmq may hold for it, at most */
    int64_t looked_ms;      /* when that was looked at */
    int64_t seen_ms;        /* last message from it */
    int64_t since_ms;       /* the first one */
    uint64_t n_requests;    /* calls that it asked for */
    int64_t away_ms;        /* a client: it is looked for until then; 0 = no */
    int64_t look_ms;        /* wait before the next look */
    int64_t scolded_ms;     /* since when n_scolded DISCONNECTs went to it for
                           not being registered */
    gi_broker_past_t *past; /* the worker that it was; NULL: none, or it is */
    uint64_t connection;    /* effects->connection of srcfd when it spoke */
    int srcfd;              /* its connection; -1 not known */
    uint8_t socket, id_size, n_scolded;
    bool doubted; /* a worker: see gi_broker_worker_doubt */
    bool dry;     /* its socket could be written to then */
    bool gone;    /* not to be reached; true until it speaks again */
    bool closed;  /* its connection is; true until it speaks on another one */
    bool strict;  /* takes whatever comes for its answer */
    bool asked;   /* a client: for Gate.info, on this connection */
    bool told;    /* and was told to go to another broker */
    bool packed;  /* its last message was: so are ours */
    bool batches; /* it sent one on this connection: so do we */
    bool far;     /* another broker's */
    unsigned char id[GI_ID_MAX];
};

#define GI_HANDED_LITTLE ((size_t)16 * 1024)
/* Its part of core->handed. */
static inline size_t gi_broker_peer_handed(const gi_broker_peer_t *peer) {
    return peer->handed > GI_HANDED_LITTLE ? peer->handed : 0;
}

typedef enum gi_broker_sent {
    GI_SENT,
    GI_QUEUED,
    GI_OVERFLOW, /* the peer's queue is at its bound; frames unchanged */
    GI_GONE      /* the peer is gone and doomed; frames unchanged */
} gi_broker_sent_t;

/* Finds or makes it and notes that it spoke. NULL: table full, no memory. */
gi_broker_peer_t *gi_broker_peer_heard(gi_broker_core_t *core, unsigned socket,
                                       gate_bytes_t id);
/* NULL: not known. */
gi_broker_peer_t *gi_broker_peer_find(gi_broker_core_t *core, unsigned socket,
                                      gate_bytes_t id);
/* Notes the connection that frame came over; true when it was another one
 * before. */
bool gi_broker_peer_moved(gi_broker_core_t *core, gi_broker_peer_t *peer,
                          int srcfd, zmq_msg_t *frame);
/* Its connection is closed for certain; false: it may be another one's
 * descriptor, or not closed yet. */
bool gi_broker_peer_closed(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* Sends core->out, whose frame 0 is the peer's id, behind what waits for that
 * peer. reserve: may use the queue's reserve. call: the request it is; *call
 * learns its message when that waits. */
gi_broker_sent_t gi_broker_peer_send(gi_broker_core_t *core,
                                     gi_broker_peer_t *peer, bool reserve,
                                     gi_broker_call_t *call);
/* The same for an item of a stream, to a client that gives no credit. */
gi_broker_sent_t gi_broker_peer_pace(gi_broker_core_t *core,
                                     gi_broker_peer_t *peer);
/* Sends what waits. 0; EAGAIN: it is full again; else it cannot be reached. */
int gi_broker_peer_try(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* The same, with all that follows from it. */
void gi_broker_peer_flush(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* Sends its batch, with all that follows from it. */
void gi_broker_peer_hand(gi_broker_core_t *core, gi_broker_peer_t *peer);
bool gi_broker_peer_has_room(const gi_broker_core_t *core,
                             const gi_broker_peer_t *peer);
void gi_broker_peer_gone(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* After peer_gone: forgets its queue, orphans its calls, maybe frees it. */
void gi_broker_peer_settle(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_peer_free(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* Its last message came packed, or not; in a batch, or not. again: over another
 * connection than those before. */
void gi_broker_peer_speaks(gi_broker_core_t *core, gi_broker_peer_t *peer,
                           const gi_frames_t *frames, bool again);
/* How many have a queue. */
size_t gi_broker_peers_blocked(const gi_broker_core_t *core);
/* Its routing id as people write it. */
void gi_broker_peer_hex(char to[2 * GI_ID_MAX + 1],
                        const gi_broker_peer_t *peer);
/* ---- broker_messages.c: batches ------------------------------------------ */
/* effects->send of core->out, which may stay here until the pass ends. What is
 * here when the peer takes nothing is put before its queue. */
int gi_broker_batch_send(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* Sends what is here; as effects->send. */
int gi_broker_batch_flush(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* What is here is put before its queue: it may not go as a batch. */
void gi_broker_batch_unload(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_batch_drop(gi_broker_core_t *core, gi_broker_peer_t *peer);

/* ---- broker_messages.c: what waits, and who may have how much ------------ */
/* What this peer has in the queues is less than what is still free. */
bool gi_broker_has_share(const gi_broker_core_t *core,
                         const gi_broker_peer_t *owner);
/* An answer to what was not taken may wait: the other half is for calls. */
bool gi_broker_may_refuse(const gi_broker_core_t *core,
                          const gi_broker_peer_t *client);
/* One more call of this client may be under way. */
bool gi_broker_has_place(const gi_broker_core_t *core,
                         const gi_broker_peer_t *client);
/* Moves frames into a message, in that peer's share (kept); NULL: no memory,
 * frames unchanged. Small frames are copied: they would hold the buffer of
 * libzmq that they came in, of 18 KiB. */
gi_broker_message_t *gi_broker_message_keep(gi_broker_core_t *core,
                                            gi_frames_t *frames,
                                            gi_broker_peer_t *owner);
/* core->out once more, large frames shared; NULL: no memory. */
gi_broker_message_t *gi_broker_message_copy(gi_broker_core_t *core,
                                            gi_broker_peer_t *owner);
/* Its frames to out, which is empty before; shut takes them back from
 * core->out. False: no memory; shut is needed all the same. */
bool gi_broker_message_open(gi_frames_t *out, gi_broker_message_t *message);
void gi_broker_message_shut(gi_broker_core_t *core,
                            gi_broker_message_t *message);
/* Moves it back into frames and frees it. False: no memory, it is lost. */
bool gi_broker_message_restore(gi_broker_core_t *core, gi_frames_t *frames,
                               gi_broker_message_t *message) GATE_MUST;
void gi_broker_message_free(gi_broker_core_t *core,
                            gi_broker_message_t *message);
/* Takes it out of the queue of peer. */
void gi_broker_message_unqueue(gi_broker_core_t *core, gi_broker_peer_t *peer,
                               gi_broker_message_t *message);

/* ---- broker_liveness.c --------------------------------------------------- */
/* It can never be reached again: its id was made by the socket and goes with
 * the connection. */
bool gi_broker_peer_fleeting(const gi_broker_peer_t *peer);
/* Its connection is closed, or seems to be. A client is looked for, gets what
 * waits for it when it is back, and is gone when it is not; who has nothing
 * here is forgotten. */
void gi_broker_peer_cut(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* How long a peer whose connection is closed may take to come back with its
 * calls. */
int64_t gi_broker_peer_grace(const gi_broker_core_t *core);
/* A client cannot be reached. Leaves core->out alone. */
void gi_broker_peer_away(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* Its timer. */
void gi_broker_peer_idle(gi_broker_core_t *core, gi_broker_peer_t *peer);

/* ---- broker_core.c: what peers do wrong ---------------------------------- */
/* What the log hears of once a minute, however many peers do it. */
typedef enum gi_broker_tell {
    GI_TELL_SERVICE, /* at a frontend */
    GI_TELL_CLIENT,  /* at a backend */
    GI_TELL_BARE,    /* a worker without credentials */
    GI_TELLS
} gi_broker_tell_t;

void gi_broker_tell(gi_broker_core_t *core, gi_broker_tell_t what,
                    const char *text);
/* A client's message at a backend, a worker's at a frontend: its sender hears so,
 * and the log. False: it is neither. */
bool gi_broker_astray(gi_broker_core_t *core, gi_broker_peer_t *peer,
                      gi_frames_t *frames);

#endif
