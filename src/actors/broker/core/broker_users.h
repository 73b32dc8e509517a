/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_users.h -- users by name, what they may do, how often. */
#ifndef GI_BROKER_USERS_H
#define GI_BROKER_USERS_H

#include "broker/core/broker_state.h"

/* Somebody authenticated. Counted; kept for a while when nobody is. */
struct gi_broker_user {
    gi_node_t node; /* in core->users.table */
    gi_list_t idle; /* in core->users.idle while refs is 0 */
    unsigned refs;
    gi_bucket_t bucket; /* rate_limit_user */
    size_t size;
    char name[]; /* NUL-terminated */
};

/* Gives a reference; NULL: no memory. */
gi_broker_user_t *gi_broker_user_of(gi_broker_core_t *core, gate_bytes_t name);
gi_broker_user_t *gi_broker_user_share(gi_broker_user_t *user); /* or NULL */
void gi_broker_user_drop(gi_broker_core_t *core, gi_broker_user_t *user);
void gi_broker_users_fini(gi_broker_core_t *core);
/* Borrows: whom the transport takes the peer for; NULL = nobody. */
gi_broker_user_t *gi_broker_transport_user(gi_broker_core_t *core,
                                           gi_broker_peer_t *peer,
                                           zmq_msg_t *frame);
/* False: core->users.current may not call func there; the client has been
 * told. */
bool gi_broker_may(gi_broker_core_t *core, gi_broker_peer_t *client,
                   gate_bytes_t service, gate_bytes_t id, gate_bytes_t func);
/* The same for what changes the broker or tells about others: closed unless a
 * rule allows it, or the client is ours. */
bool gi_broker_may_administer(gi_broker_core_t *core, gi_broker_peer_t *client,
                              gate_bytes_t service, gate_bytes_t id,
                              gate_bytes_t method);
/* False: too many calls; the client has been told. */
bool gi_broker_rate(gi_broker_core_t *core, gi_broker_peer_t *client,
                    gate_bytes_t service, gate_bytes_t id);

/* ---- guessing ------------------------------------------------------------ */
#define GI_ADDRESS_MAX 63
/* Where the frame's sender is; of ipc peers the process is left out: "uid:gid"
 * is who they are. As it was when that is not known. */
void gi_broker_address(gi_broker_core_t *core, zmq_msg_t *frame,
                       char to[GI_ADDRESS_MAX + 1]);
/* These are looked at. */
bool gi_broker_guess_may(gi_broker_core_t *core, gate_bytes_t address,
                         gate_bytes_t user, gate_bytes_t password);
void gi_broker_guess_wrong(gi_broker_core_t *core, gate_bytes_t address,
                           gate_bytes_t user);
void gi_broker_guess_right(gi_broker_core_t *core, gate_bytes_t address,
                           const gi_secret_t *secret);
/* A worker there is told that it is refused: once a heartbeat for an address and
 * who it says it is, whatever the connection. */
bool gi_broker_guess_may_tell(gi_broker_core_t *core, gate_bytes_t address,
                              gate_bytes_t who);

/* ---- in-band credentials -------------------------------------------------- */
/* What the core asks of broker/trust when they are expected: a message is
 * admitted, refused, or kept until the authentication service has judged. */
struct gi_broker_auth_ops {
    void (*message)(gi_broker_core_t *core, gi_broker_peer_t *peer,
                    gi_frames_t *frames);
    void (*verdict)(gi_broker_core_t *core, gi_frames_t *frames);
    void (*due)(gi_broker_core_t *core, gi_broker_timer_t *timer);
    /* The first in core->work.judged goes on. */
    void (*go)(gi_broker_core_t *core);
    /* A message of it waits for a verdict: it is not to be forgotten. */
    bool (*waits)(const gi_broker_peer_t *peer);
    void (*forget)(gi_broker_core_t *core, gi_broker_peer_t *peer);
    void (*fini)(gi_broker_core_t *core);
    /* The peer's part of the law; adds to the sums. */
    bool (*valid)(const gi_broker_peer_t *peer, size_t *n_waiting,
                  size_t *n_believed, size_t *n_asking);
};

static inline bool gi_broker_auth_waits(const gi_broker_core_t *core,
                                        const gi_broker_peer_t *peer) {
    return core->auth.ops && core->auth.ops->waits(peer);
}

#endif
