/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_handover.h -- how a broker's listeners go to the next one, without a
 * connection refused or lost: over a unix socket that only its user may open.
 *
 *   new one              old one
 *   "GATE-TAKE 1"   ->            (LISTENS -> GIVEN; same uid, or root)
 *        <-  listeners by SCM_RIGHTS and their endpoints, this socket first
 *   binds; "UP"     ->            (LEAVING: accepts no more, peers are asked)
 *        <-  "YOURS"
 *   serves               ... waits for its peers to leave (LEFT), ends
 *
 * Law: at any time somebody accepts. Whoever of the two dies, the other has the
 * listeners: the old one goes on as if nothing had been when the new one ends
 * before it. Thread: the broker's; left from any. Blocks: ask and take, at
 * start, for at most GI_HANDOVER_MS each. Survives: strangers at the socket. */
#ifndef GI_BROKER_HANDOVER_H
#define GI_BROKER_HANDOVER_H

#include <gaterpc/broker.h>
#include "sync/gauge.h"
#include "shared/rights.h"
#include "net/sock.h"

#define GI_HANDOVER_MS 5000
#define GI_HANDOVER_LISTENERS_MAX 32

typedef enum gi_handover_state {
    GI_HANDOVER_OFF,
    GI_HANDOVER_LISTENS, /* for the next broker */
    GI_HANDOVER_ASKED,   /* somebody is there; what does it want? */
    GI_HANDOVER_GIVEN,   /* it has the listeners, we still accept */
    GI_HANDOVER_LEAVING, /* it accepts; our peers go there */
    GI_HANDOVER_LEFT     /* nobody is here any more, or time is up */
} gi_handover_state_t;

typedef struct gi_handover {
    char *path; /* NULL: none */
    gi_handover_state_t state;
    gi_ipc_file_t file;            /* at path, if it is ours */
    int listen_fd, peer_fd;        /* -1 */
    bool listen_maybe, peer_maybe; /* poll() says: look */
    bool took;       /* we are the new one of the two on peer_fd */
    int64_t died_ms; /* when who was asked hung up and was gone; 0 */
    int64_t due_ms;  /* ASKED, GIVEN: give up; LEAVING: LEFT */
    int64_t look_ms; /* LEAVING: at who is there */
    int64_t stay_ms; /* LEAVING: LEFT no sooner */
    gi_gauge_t left; /* 1: LEFT */
} gi_handover_t;

void gi_handover_init(gi_handover_t *self);
void gi_handover_fini(gi_handover_t *self);
/* Asks the broker at path, if one is there: its listeners become endpoints of
 * ours. Before binding. */
gate_err_t gi_handover_ask(gate_broker_t *broker) GATE_MUST;
/* The one that was asked has died so lately that it may have endpoints yet. */
bool gi_handover_dies(const gate_broker_t *broker);
/* Everything is bound: the listeners are ours now, and the path. */
gate_err_t gi_handover_take(gate_broker_t *broker) GATE_MUST;
bool gi_handover_work(gate_broker_t *broker, int64_t now_ms);
int64_t gi_handover_next(const gate_broker_t *broker);
void gi_handover_fds(gate_broker_t *broker, gi_polled_t *polled);
/* Another broker has our listeners. */
bool gi_handover_away(const gate_broker_t *broker);
/* So it has, or may have again when we end: their files stay. */
bool gi_handover_shared(const gate_broker_t *broker);
/* Before the sockets are closed. */
void gi_handover_close(gate_broker_t *broker);

/* ---- broker_inherit.c ------------------------------------------------------ */
/* Listeners that a service manager has opened for this process (LISTEN_FDS)
 * become endpoints of ours. Before binding. */
gate_err_t gi_inherit_listeners(gate_broker_t *broker) GATE_MUST;

/* ---- between the two sides' files ---------------------------------------- */
#define GI_HANDOVER_TAKE "GATE-TAKE 1"
#define GI_HANDOVER_GIVE "GATE-GIVE 1\n"
#define GI_HANDOVER_UP "UP"
#define GI_HANDOVER_YOURS "YOURS"
#define GI_HANDOVER_TEXT_MAX 32768
#define GI_HANDOVER_FDS_MAX (GI_HANDOVER_LISTENERS_MAX + 1)
_Static_assert(GI_HANDOVER_FDS_MAX <= GI_RIGHTS_MAX, "one message holds them");

bool gi_handover_say(int fd, const char *text);
/* A message as text, its descriptors in fds. -1: nothing yet; 0: the end, or no
 * message of ours. */
int gi_handover_hear(int fd, char text[GI_HANDOVER_TEXT_MAX], int *fds, int *n);
/* Workers come, one heartbeat after more_ms at the latest: calls wait for them.
 */
void gi_handover_expect(gate_broker_t *broker, int64_t more_ms);
/* The other end runs as our user, or as root. */
bool gi_handover_may(int fd);

#endif
