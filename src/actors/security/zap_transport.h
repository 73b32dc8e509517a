/* SPDX-License-Identifier: BSD-3-Clause */
/* zap_transport.h -- who may connect over CURVE or PLAIN: the process's ZAP handler
 * (RFC 27) at inproc://zeromq.zap.01, one for all its brokers, each of which is
 * a ZAP domain with keys or users of its own. In the place of CZMQ's zauth,
 * which has one store for all domains, passwords unhashed, no bound to
 * guessing, and aborts on a directory that holds a key twice.
 * Thread: any. Blocks: joining and leaving, while a password is hashed. Owns:
 * an actor, from the first member to the last. */
#ifndef GI_AUTHORITY_H
#define GI_AUTHORITY_H

#include <gaterpc/error.h>

typedef struct gi_authority gi_authority_t; /* one member */

/* What a broker asks for; copied. */
typedef struct gi_authority_wish {
    const char *domain;       /* of its sockets; nobody else's */
    const char *keys;         /* CURVE: a directory, "*" = any; NULL: none */
    const char *users;        /* PLAIN: a users file; NULL: none */
    const char *users_domain; /* of the lines in it that hold */
    unsigned trusts;          /* GI_TRUST_OTHERS, or 0 */
} gi_authority_wish_t;

/* Gives a membership. GATE_SYSTEM, GATE_BADARG, GATE_BADDATA name the file or
 * directory that is wrong; GATE_SYSTEM too when the process has an
 * authenticator of its own. */
gate_err_t gi_authority_join(const gi_authority_wish_t *wish,
                             gi_authority_t **out) GATE_MUST;
void gi_authority_leave(gi_authority_t **self_p); /* NULL is fine */

#endif
