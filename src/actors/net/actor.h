/* SPDX-License-Identifier: BSD-3-Clause */
/* actor.h -- the shell around every talker: a thread, a pipe that carries
 * commands, answered in order, and a mailbox that carries data.
 *
 *   loop:  mail (a batch) -> work (sockets, timers) -> nothing done? sleep in
 *          poll() on {mailbox's eventfd, pipe's ZMQ_FD, the talker's fds}
 *
 * Law: ZMQ_FD is edge-triggered, so work returns true when it did anything at
 * all; the actor sleeps only after a pass in which nothing was done. */
#ifndef GI_ACTOR_H
#define GI_ACTOR_H

#include <gaterpc/settings.h>
#include "base/buf.h"
#include "mail/mailbox.h"
#include "net/sock.h"

/* One command of the pipe. arg is "" when none was given; what run appends to
 * out is the answer's data; an error's story travels back too. */
typedef struct gi_command {
    const char *name;
    gate_err_t (*run)(void *self, const char *arg, gi_buf_t *out);
} gi_command_t;

#define GI_ACTOR_FDS_MAX 1024 /* in poll() at once; 16 KiB of stack */

typedef struct gi_actor_ops {
    const char *name; /* thread name and blocking marker: "broker" */
    const gi_command_t *commands; /* ends with a NULL name */
    /* On the actor's thread: before the first pass; its error comes out of
     * gi_actor_new. stop is called only after a start that succeeded. */
    gate_err_t (*start)(void *self);
    void (*stop)(void *self);
    void (*mail)(void *self, void **items, size_t n, int64_t now_ms);
    bool (*work)(void *self, int64_t now_ms);
    int64_t (*next)(void *self, int64_t now_ms); /* when to wake; INT64_MAX */
    /* Adds what to sleep on; its flags are set for what was readable. */
    void (*fds)(void *self, gi_polled_t *polled);
    /* What comes without a descriptor; NULL: nothing does. calm: it is worth to
     * yield for a moment before sleeping; there: something has come. */
    bool (*calm)(void *self);
    bool (*there)(void *self);
} gi_actor_ops_t;

typedef struct gi_actor gi_actor_t;

/* Starts the thread and waits for ops->start. mailbox_max as for mailboxes.
 * Errors: GATE_SYSTEM (no thread, no socket left under CZMQ's cap), those of
 * start. Any thread. */
gate_err_t gi_actor_new(const gi_actor_ops_t *ops, void *self,
                        size_t mailbox_max, gi_actor_t **out) GATE_MUST;
/* Ends the loop and waits for the thread; the mailbox is closed first, and mail
 * left over is handed to ops->mail before ops->stop. Whoever still has the
 * mailbox may push (GATE_CLOSED) until destroy. Idempotent. */
void gi_actor_stop(gi_actor_t *actor);
/* Stops, frees. */
void gi_actor_destroy(gi_actor_t **actor_p);
/* True on the thread of that actor, which must not wait for its own end. */
bool gi_actor_own(const gi_actor_t *actor);
/* True in the child of a fork: the actor's thread is not there, nothing may be
 * asked of it, and stop and destroy do nothing. */
bool gi_actor_foreign(const gi_actor_t *actor);
/* Sends a command and waits for its answer. out may be NULL. Any thread but
 * the actor's own (GATE_WOULDBLOCK there). */
gate_err_t gi_actor_command(gi_actor_t *actor, const char *name,
                            const char *arg, gi_buf_t *out) GATE_MUST;
gi_mailbox_t *gi_actor_mailbox(gi_actor_t *actor);
/* It has been in the same pass of its loop since then, or longer: what a
 * watchdog asks. Any thread. */
bool gi_actor_stuck(const gi_actor_t *actor, int64_t since_ms);
/* Looks for work so long before it sleeps; from ops->start. */
void gi_actor_busy_poll(gi_actor_t *actor, int64_t us);

#endif
