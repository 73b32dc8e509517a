/* SPDX-License-Identifier: BSD-3-Clause */
/* reach.h -- why an endpoint cannot be had: libzmq tells that it tries again,
 * and not what was wrong. A connection of our own finds out; it says nothing and
 * is closed at once. Thread: the owner's. Blocks: never (a name that only a
 * resolver knows is not looked up). Owns: one descriptor at most. */
#ifndef GI_REACH_H
#define GI_REACH_H

#include <stddef.h>
#include "base/err.h"

typedef struct gi_reach {
    int fd;    /* -1: none under way */
    int error; /* errno of the last try; 0: none, or it succeeded */
    unsigned tries;
} gi_reach_t;

void gi_reach_init(gi_reach_t *self);
void gi_reach_fini(gi_reach_t *self);
/* libzmq is about to try again: so do we, ever more rarely. */
void gi_reach_again(gi_reach_t *self, const char *endpoint);
/* Whether a text names a place that peers of ours can meet at: GATE_BADARG, with
 * whose it is and what would be right, for no transport that we use, a port
 * beyond 65535 (libzmq takes it modulo 65536), or nothing behind the transport.
 */
gate_err_t gi_reach_check(const char *whose, const char *endpoint) GATE_MUST;
/* The reason, as far as it is known, for people. */
void gi_reach_why(gi_reach_t *self, char *text, size_t room);

#endif
