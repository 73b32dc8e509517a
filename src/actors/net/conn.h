/* SPDX-License-Identifier: BSD-3-Clause */
/* conn.h -- a connection to a broker, as clients and services have one: a
 * DEALER with settings and credentials applied, and what becomes of it.
 *
 * The socket reconnects by itself (ZMQ_IMMEDIATE: it takes nothing while there
 * is no connection, so what was not sent stays with its sender). Thread: the
 * owner's. Blocks: open reads certificates. Owns: socket, monitor, and one
 * descriptor while it finds out why nobody can be reached. */
#ifndef GI_CONN_H
#define GI_CONN_H

#include "net/login.h"
#include "net/reach.h"
#include "net/sock.h"
#include "base/tags.h"

typedef enum gi_conn_event {
    GI_CONN_NOTHING,
    GI_CONN_CONNECTED, /* and the handshake is done */
    GI_CONN_CLOSED,
    GI_CONN_UNREACHED, /* libzmq tries again; why says what was wrong */
    GI_CONN_REFUSED    /* libzmq does not; why says what we lack */
} gi_conn_event_t;

typedef struct gi_conn {
    gi_sock_t sock; /* raw NULL: closed */
    gi_reach_t reach;
    bool watched; /* the transport tells of connections; inproc does not */
} gi_conn_t;

/* One that is closed; where inproc is, nothing is told. */
void gi_conn_init(gi_conn_t *self, const char *endpoint);
/* It was closed before. Fails as a whole. */
gate_err_t gi_conn_open(gi_conn_t *self, const gi_login_t *login,
                        const char *endpoint,
                        const unsigned char id[GI_ID_SIZE],
                        const gate_settings_t *settings) GATE_MUST;
void gi_conn_close(gi_conn_t *self); /* idempotent */
/* The next thing that became of it. why: room for 200, where it is said. */
gi_conn_event_t gi_conn_next(gi_conn_t *self, const gi_login_t *login,
                             const char *endpoint, char *why);
#define GI_CONN_WHY 200
/* What a handshake that failed says of us, by the monitor's event and value. */
const char *gi_conn_refusal(const gi_login_t *login, int event, int value);

#endif
