/* SPDX-License-Identifier: BSD-3-Clause */
/* guard.h -- what libzmq does not bound, watched from outside:
 *
 * - a message that never ends: libzmq keeps its frames until the last one. What
 *   the kernel has received on a tcp connection is compared with what came out
 *   as messages; a connection that holds too much is shut down.
 * - one in crumbs (crumbs.h): the same, of few bytes and much memory. When the
 *   process has grown by more than such messages have bytes, what waits in the
 *   kernel is looked at, over ipc too.
 * - descriptors: with none left, libzmq's I/O thread spins on a tcp listener,
 *   and aborts the process for one of ipc. Near the limit tcp listeners drop
 *   all packets (a socket filter), so that new peers wait in their own kernel,
 *   until there is room again; over ipc a connection is accepted when the last
 *   one has been counted.
 * - memory that a flood took and nobody needs any more: given back.
 *
 * Thread: the owner's. Blocks: never. Owns: its table; the listeners' fds are
 * borrowed. Survives: no memory (a connection is not watched then). */
#ifndef GI_GUARD_H
#define GI_GUARD_H

#include <gaterpc/settings.h>
#include "net/frames.h"
#include "wire/crumbs.h"

#define GI_GUARD_LISTENERS_MAX 16

/* A listener as libzmq's epoll has it. */
typedef struct gi_turns {
    int epoll, fd;
    uint64_t data; /* libzmq's, given back unread */
} gi_turns_t;

/* A connection, by its fd. */
typedef struct gi_guarded {
    uint64_t delivered; /* bytes on the wire of its messages */
    uint64_t judged;    /* delivered at the last look */
    int64_t since_ms;
    int64_t held;     /* bytes of an unfinished message, at the last look */
    int64_t strange;  /* the same while it has delivered nothing, else 0 */
    int32_t stood;    /* bytes in the kernel then, while some are to stand */
    uint8_t still;    /* looks since a message came out */
    uint8_t stands;   /* libzmq is woken for some bytes only: see s_look_into */
    int64_t quiet_ms; /* broker_handover.c: nothing under way since; 0: is */
    uint8_t side;
    bool open;
} gi_guarded_t;

/* Of unfinished messages, in bytes; 0: no bound. */
typedef struct gi_guard_bounds {
    int64_t one, all; /* of a connection; of all together */
    int64_t small;    /* of a connection that is spared when it is all's turn;
                         beyond one for what else travels */
} gi_guard_bounds_t;

typedef struct gi_guard {
    const gate_settings_t *settings;
    const char *part; /* in the log */
    gi_guard_bounds_t bounds;
    gi_guarded_t *by_fd;
    size_t n_by_fd, n_open, at; /* at: where the next look begins */
    size_t n_silent[2];         /* by side: open, and nothing has come */
    int64_t held;               /* the sum */
    int64_t strange;            /* of those that have delivered nothing yet */
    int64_t rss, base;          /* the process's memory; when little was held */
    int64_t kept;               /* its owner's; it goes down as base goes up */
    int64_t low, slack; /* the least; what trimming does not give back */
    int64_t trim_ms;    /* when it is looked at again */
    bool pressed;       /* it has grown by more than is held */
    int listeners[GI_GUARD_LISTENERS_MAX];
    const char *paths[GI_GUARD_LISTENERS_MAX]; /* of ipc listeners */
    gi_turns_t turns[GI_GUARD_LISTENERS_MAX];  /* of ipc listeners */
    unsigned n_listeners, n_paths, n_turns;
    int64_t look_ms, count_ms; /* next look; last count of descriptors */
    size_t n_fds;              /* of the process, as far as is known */
    bool curve, shut;          /* shut: the filter is on */
    bool exhausted;            /* accept has failed since the last look */
    uint64_t n_cut, n_shut;    /* connections shut down; times shut */
} gi_guard_t;

/* Borrows settings and part until fini. */
void gi_guard_init(gi_guard_t *self, const gate_settings_t *settings,
                   const char *part, gi_guard_bounds_t bounds, bool curve,
                   int64_t now_ms);
void gi_guard_fini(gi_guard_t *self);
/* Takes its backlog to what the reserve of descriptors can hold. */
void gi_guard_listener(gi_guard_t *self, int fd);
/* An ipc listener that is bound, libzmq's own descriptor (-1: not known); waits
 * until libzmq watches it. */
void gi_guard_turns(gi_guard_t *self, int fd);
/* All are bound: is there room for peers? */
gate_err_t gi_guard_room(gi_guard_t *self) GATE_MUST;
/* Forgets them all: they are another broker's. */
void gi_guard_unlisten(gi_guard_t *self);
void gi_guard_accepted(gi_guard_t *self, unsigned side, int fd, int64_t now_ms);
void gi_guard_closed(gi_guard_t *self, unsigned side, int fd);
/* Borrows until fini: a bound endpoint; other ones than ipc are left out. */
void gi_guard_endpoint(gi_guard_t *self, const char *endpoint);
/* Ends a connection: libzmq sees an end and frees what it holds. False: the
 * number is not one of a connection to our listeners (any more). */
bool gi_guard_shut(gi_guard_t *self, int fd);
/* Bytes that have left over a tcp connection; -1: not known, or some wait. */
int64_t gi_guard_carried(int fd);
/* Ends it for a peer that misbehaves, and says so: nothing more of it is read.
 */
void gi_guard_cut(gi_guard_t *self, int fd, const char *why);
/* Half of the descriptors are free at least: some for what can do without. */
bool gi_guard_spares(gi_guard_t *self, size_t more, int64_t now_ms);
/* accept has failed, of that errno. */
void gi_guard_refused(gi_guard_t *self, int error);
/* Next ones are let in, if there is room for them. */
void gi_guard_next_turn(const gi_guard_t *self);
/* A message has come out. */
void gi_guard_delivered(gi_guard_t *self, const gi_frames_t *frames, int fd);
/* all_read: no message that is complete waits in a socket. kept: bytes of
 * messages that have come out and wait at the owner. */
void gi_guard_look(gi_guard_t *self, bool all_read, size_t kept,
                   int64_t now_ms);
/* Its owner keeps little: what was freed goes back to the system, when that is
 * much, at most once a second. */
void gi_guard_trim(gi_guard_t *self, int64_t now_ms);
int64_t gi_guard_next(const gi_guard_t *self);

/* ---- listener.c ---------------------------------------------------------- */
/* Waits until libzmq's thread watches fd: that is some time after gi_sock_bind
 * (libzmq tells nobody), and one that were paused before it would abort. Reads
 * /proc/self/fdinfo: at start, when there are few descriptors. */
gate_err_t gi_listener_await(int fd, int64_t timeout_ms,
                             gi_turns_t *out) GATE_MUST;
/* libzmq accepts one connection there, and no further one before this is said
 * again. Nothing happens while the listener is paused (sock.h). */
void gi_listener_turn(const gi_turns_t *turns);

/* ---- whose.c -------------------------------------------------------------- */
/* Whether a connection's other end is a process of our own user (or of root) on
 * this machine, by what the kernel says. ipc: the credentials of who connected.
 * tcp: both ends are on the loopback interface, and the socket at the other one
 * is of our user. Anything else, or not to be found out: false. Any thread. */
bool gi_whose_is_ours(int fd);

#endif
