/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_trust.h -- what is known of one peer's credentials, and what waits for
 * more of that; between the files of this room. Thread, units: as the core.
 *
 * Law: auth.asks holds exactly the trusts that are asking; one that asks or is
 * held has its timer; with messages that wait it is either, or in work.judged. */
#ifndef GI_BROKER_TRUST_H
#define GI_BROKER_TRUST_H

#include "broker/core/broker_peers.h"
#include "broker/core/broker_users.h"

#define GI_CREDENTIALS_AT 4 /* id "" tag service|command PLAIN user password */
#define GI_CREDENTIALS_USER_MAX 255
#define GI_ASK_KEY 16 /* random end of a question's key */

typedef enum gi_broker_verdict {
    GI_VERDICT_NONE,
    GI_VERDICT_YES,
    GI_VERDICT_NO,
    GI_VERDICT_OUTAGE
} gi_broker_verdict_t;

/* What is known of one peer's credentials. */
struct gi_broker_trust {
    gi_broker_peer_t *peer;
    gi_node_t ask;      /* in core->auth.asks while asking */
    gi_list_t believed; /* in core->auth.believed while granted, oldest first */
    gi_list_t judged;   /* in core->work.judged: waiting messages may go on */
    gi_list_t waiting;  /* messages */
    gi_broker_timer_t due; /* the answer's, or the end of being held */
    size_t n_waiting;
    size_t n_late; /* the first of them: they were held long enough */
    gi_secret_t granted, asked;
    gi_broker_user_t *user; /* of granted */
    int64_t since_ms, until_ms;
    gi_broker_verdict_t verdict; /* on asked, for the messages that wait */
    bool asking, held;           /* one of them at most */
    gi_bucket_t refusals;
    char address[GI_ADDRESS_MAX + 1]; /* where it asked from; "" not known */
    unsigned char key[GI_ASK_KEY];
};

/* ---- broker_trust.c ------------------------------------------------------ */
/* The peer's; made when there is none. NULL: no memory. */
gi_broker_trust_t *gi_broker_trust_of(gi_broker_core_t *core,
                                      gi_broker_peer_t *peer);
void gi_broker_trust_forget(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* A message has credentials, within their bounds; they are these. */
bool gi_broker_trust_named(gi_frames_t *frames);
bool gi_broker_trust_same(const gi_secret_t *secret, gi_frames_t *frames);
/* What was granted is not any more. */
void gi_broker_trust_unbelieve(gi_broker_core_t *core,
                               gi_broker_trust_t *trust);
/* From now on what it sends waits, for a while; it was that long. */
void gi_broker_trust_hold(gi_broker_core_t *core, gi_broker_trust_t *trust);
void gi_broker_trust_release(gi_broker_core_t *core, gi_broker_trust_t *trust);
/* Messages that wait: the last one, or the first once more. False: too many, or
 * no memory. */
bool gi_broker_trust_wait(gi_broker_core_t *core, gi_broker_trust_t *trust,
                          gi_frames_t *frames, bool first);
gi_broker_message_t *gi_broker_trust_first(gi_broker_core_t *core,
                                           gi_broker_trust_t *trust);
bool gi_broker_trust_waits(const gi_broker_peer_t *peer);
/* Where it asked from. */
gate_bytes_t gi_broker_trust_address(const gi_broker_trust_t *trust);
/* There is a token for the message's credentials; what it asked with took one. */
bool gi_broker_trust_may_try(gi_broker_core_t *core, gi_broker_trust_t *trust,
                             gi_frames_t *frames);
void gi_broker_trust_wrong(gi_broker_core_t *core, gi_broker_trust_t *trust);
bool gi_broker_trust_valid(const gi_broker_peer_t *peer, size_t *n_waiting,
                           size_t *n_believed, size_t *n_asking);

/* ---- broker_ask.c -------------------------------------------------------- */
/* Asks about the message's credentials. False: it cannot be asked. */
bool gi_broker_ask(gi_broker_core_t *core, gi_broker_trust_t *trust,
                   gi_frames_t *frames);
void gi_broker_ask_end(gi_broker_core_t *core, gi_broker_trust_t *trust);
/* Whose question has that key; NULL: nobody's. */
gi_broker_trust_t *gi_broker_ask_find(gi_broker_core_t *core, gate_bytes_t key);

/* ---- broker_reject.c ----------------------------------------------------- */
/* Each answers the message as far as it can, and closes it. */
void gi_broker_reject(gi_broker_core_t *core, gi_broker_peer_t *peer,
                      gi_frames_t *frames, const char *cls, const char *text);
/* Nobody could be asked: it may come again. */
void gi_broker_reject_later(gi_broker_core_t *core, gi_broker_peer_t *peer,
                            gi_frames_t *frames);

#endif
