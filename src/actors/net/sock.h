/* SPDX-License-Identifier: BSD-3-Clause */
/* sock.h -- sockets with the settings applied, listeners that are ours, and
 * monitors. The sockets live in CZMQ's context.
 * Thread: whoever owns the socket. */
#ifndef GI_SOCK_H
#define GI_SOCK_H

#include <czmq.h>
#include <gaterpc/settings.h>
#include <poll.h>
#include "net/frames.h"
#include "net/ipc.h"
#include "wire/batch.h"

/* Once per process, before the first socket: CZMQ's signal handlers off, its
 * socket cap raised, both only where the host has not set them. Counts sockets:
 * GATE_SYSTEM before CZMQ would abort. */
gate_err_t gi_sock_context(const gate_settings_t *settings) GATE_MUST;

struct gi_sock_rings;
typedef struct gi_sock {
    struct gi_sock_rings *rings; /* sock_rings.c; NULL: no lane is offered */
    void *raw; /* NULL = closed. By zsys_socket: zsock_new aborts at CZMQ's cap,
                * and a socket that CZMQ does not know keeps exit() waiting */
    int fd;    /* ZMQ_FD */
    void *monitor_raw; /* PAIR with the socket's events; NULL = none */
    int monitor_fd;
    bool rest;         /* of a message with too many frames: to be dropped */
    int culprit;       /* whose it is: its connection; -1 not known */
    unsigned n_rest;   /* how often some were */
    unsigned trusts;   /* GI_TRUST_OTHERS, or 0: setting trust_others */
    bool maybe;        /* a message may wait: look. Set by whoever saw fd */
    bool events_maybe; /* readable, and by each send (it takes the signal) */
    bool router;
    /* parcels.c's: a batch that came, and one that goes */
    gi_parcel_t *parcel;      /* NULL: none has come */
    gi_batch_reader_t reader; /* of parcel */
    int srcfd;                /* whose parcel is: its connection */
    gi_batch_t *out;          /* NULL: none was made */
    gi_batch_pace_t pace;
    unsigned pass;
    bool told; /* the other side has seen a batch, so it sends us some */
} gi_sock_t;

/* Where poll() leaves its answer: fds of a socket, and their flags. */
typedef struct gi_polled {
    size_t n, room;
    bool hurry; /* something is there already: do not sleep */
    struct pollfd *fds;
    bool **flags; /* may hold NULL */
} gi_polled_t;
void gi_polled_add(gi_polled_t *self, int fd, bool *flag); /* full: left out */
void gi_sock_poll(gi_sock_t *self, gi_polled_t *polled); /* nothing if closed */
/* As gi_frames_recv and gi_frames_send, but a receive that cannot bring
 * anything is not tried: each would be a system call; and frames is empty
 * unless it gives 1. */
int gi_sock_recv(gi_sock_t *self, gi_frames_t *frames, unsigned max);
int gi_sock_send(gi_sock_t *self, gi_frames_t *frames);
/* The connection of the message that was received last, of whom frame 0 is; -1:
 * not known. */
int gi_sock_srcfd(gi_sock_t *self, gi_frames_t *frames);

/* ---- parcels.c ----------------------------------------------------------- */
/* A batch (docs/extensions.md) is received as the messages in it, one by one. At
 * a DEALER those that say batched are gathered: gi_sock_send may keep a message
 * until the next flush, which has to come at the end of each pass. */
bool gi_parcel_flush(gi_sock_t *self); /* true: something went, or was kept */
bool gi_parcel_waits(const gi_sock_t *self); /* some does: it was full */

/* For sock.c: the next message of the batch; 0: none is left. -1: it is no right
 * one. */
int gi_parcel_next(gi_sock_t *self, gi_frames_t *frames);
/* frames has a batch and becomes its first message; as above. */
int gi_parcel_open(gi_sock_t *self, gi_frames_t *frames);
int gi_parcel_send(gi_sock_t *self, gi_frames_t *frames);
void gi_parcel_drop(gi_sock_t *self); /* what goes: its connection is gone */
void gi_parcel_close(gi_sock_t *self);

/* type ZMQ_ROUTER, ZMQ_DEALER, ...; identity may be empty. HWM, heartbeats,
 * handshake limit, MAXMSGSIZE, linger 0 and zmq_sock come from settings. */
gate_err_t gi_sock_open(gi_sock_t *self, int type, gate_bytes_t identity,
                        const gate_settings_t *settings) GATE_MUST;
void gi_sock_close(gi_sock_t *self); /* idempotent */
/* What was sent and is not out yet when it is closed has so long for it. */
void gi_sock_linger(gi_sock_t *self, int ms);
/* A listening socket of our own that libzmq was given by ZMQ_USE_FD: tcp, and
 * ipc unless its name is a wildcard. -1: none. */
typedef struct gi_listener {
    int fd;     /* ours, another descriptor of the same socket; we close it */
    int zmq_fd; /* libzmq's own: the number it polls and closes */
    gi_ipc_file_t file; /* that it made */
} gi_listener_t;
#define GI_LISTENER_NONE ((gi_listener_t){.fd = -1, .zmq_fd = -1})

/* Binds; out (at least 256) gets the endpoint with its real port. A listener
 * that is given (fd >= 0) is listened on, else one is made; stale ipc files are
 * replaced only when nobody answers there. */
gate_err_t gi_sock_bind(gi_sock_t *self, const char *endpoint, char *out,
                        size_t room, gi_listener_t *listener) GATE_MUST;
gate_err_t gi_sock_connect(gi_sock_t *self, const char *endpoint) GATE_MUST;
/* GATE_SYSTEM for a socket that zmq_socket did not give: descriptors or
 * sockets, which errno does not tell apart. */
gate_err_t gi_sock_none_left(const char *what) GATE_MUST;
/* Starts the monitor for the given ZMQ_EVENT_* mask. */
gate_err_t gi_sock_watch(gi_sock_t *self, int events) GATE_MUST;
/* The next event; false when none. value is the fd or errno of zmq's event. */
bool gi_sock_event(gi_sock_t *self, int *event, int *value);
/* The peer's fd behind a received frame (ZMQ_SRCFD); -1 unknown (inproc). */
int gi_frame_srcfd(zmq_msg_t *frame);

/* ---- listener.c ---------------------------------------------------------- */
/* A listening socket for "tcp://host:port". host may be * (all of IPv4, with
 * ipv6 all of both), an address, the name of an interface, or a name: of that
 * the address is taken that a client takes, without ipv6 one of IPv4 if there
 * is any. */
gate_err_t gi_listener_tcp(const char *endpoint, bool ipv6, int *out) GATE_MUST;
/* libzmq accepts nothing more there, and what it has accepted stays: its
 * descriptor shows blank_fd, a listener that nobody can reach. Only once it is
 * watched (guard.h). */
gate_err_t gi_listener_pause(const gi_listener_t *self, int blank_fd) GATE_MUST;
/* It does again. Needed before a paused socket is closed: libzmq's epoll knows
 * the listener by descriptor and socket. */
void gi_listener_resume(const gi_listener_t *self);
/* What pause shows; -1 with gate_error() set. */
int gi_listener_blank(void);
void gi_listener_close(gi_listener_t *self);

/* ---- sock_rings.c -------------------------------------------------------- */
/* The lane of a DEALER: what its messages go through once the broker at the other
 * end has turned out to be on this machine (docs/extensions.md, lanes). Those who
 * own the socket notice nothing of it: order stays, and when the connection of
 * ZeroMQ ends the lane has ended, after all that came by it was given. */
/* The broker offers one on this connection; settings say whether it is taken.
 * Borrows settings until the socket is closed. */
void gi_sock_offered(gi_sock_t *self, gate_bytes_t offer,
                     const gate_settings_t *settings, bool encrypted);
/* How much its owner has under way: with little it yields before it sleeps. */
void gi_sock_load(gi_sock_t *self, size_t load);
/* It may be worth to yield for a moment instead of sleeping; asks anew. */
bool gi_sock_calm(gi_sock_t *self);
/* There is a lane, and who waits for it may yield before sleeping. */
bool gi_sock_brief(const gi_sock_t *self);
bool gi_sock_there(const gi_sock_t *self); /* a lane has something */
bool gi_sock_flush(gi_sock_t *self);       /* at the end of a pass */

/* For sock.c. */
/* As gi_sock_recv; 0: nothing by the lane, look at ZeroMQ; -1: nothing, and
 * what is there comes behind the lane. */
int gi_sock_rings_recv(gi_sock_t *self, gi_frames_t *frames);
/* A message of ZeroMQ: true, it was about the lane. */
bool gi_sock_rings_said(gi_sock_t *self, gi_frames_t *frames);
/* -1: not by the lane; else as gi_sock_send. */
int gi_sock_rings_send(gi_sock_t *self, gi_frames_t *frames);
void gi_sock_rings_poll(gi_sock_t *self, gi_polled_t *polled);
/* It has something to give before the end of the connection is told. */
bool gi_sock_rings_holds(const gi_sock_t *self);
void gi_sock_rings_close(gi_sock_t *self);
/* There is a lane, or may be one on this connection. */
bool gi_sock_rings_may_be(const gi_sock_t *self);

#endif
