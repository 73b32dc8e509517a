/* SPDX-License-Identifier: BSD-3-Clause */
/* login.h -- who we are to a broker: the identity's name, in-band PLAIN, PLAIN
 * and CURVE by the transport. Thread: its owner's; after the start nobody
 * changes it. Blocks: apply reads certificates. Owns: its strings. */
#ifndef GI_LOGIN_H
#define GI_LOGIN_H

#include <gaterpc/settings.h>
#include "net/frames.h"

struct gi_sock;

typedef struct gi_login {
    char *identity;                    /* NULL: a fresh one each time */
    char *user, *password;             /* in band; NULL: none */
    char *plain_user, *plain_password; /* of the transport */
    char *curve_cert, *curve_server;   /* files */
} gi_login_t;

void gi_login_fini(gi_login_t *self);
/* One of its parts becomes a copy of text (NULL: none). GATE_NOMEM: it is as it
 * was. */
gate_err_t gi_login_set(char **part, const char *text) GATE_MUST;
/* Two of its parts, or none of PLAIN. GATE_BADARG: half a pair, or CURVE of
 * none because a variable was not set; whose and what are named. */
gate_err_t gi_login_pair(const char *whose, const char *what, char **to_a,
                         const char *a, char **to_b, const char *b) GATE_MUST;
#define GI_LOGIN_PLAIN "user and password"
#define GI_LOGIN_CURVE "our certificate and the server's"
/* What the settings say. */
gate_err_t gi_login_defaults(gi_login_t *self, const char *whose,
                             const gate_settings_t *settings) GATE_MUST;
/* CURVE and PLAIN of the transport, before it connects. */
gate_err_t gi_login_apply(const gi_login_t *self,
                          struct gi_sock *sock) GATE_MUST;
/* Adds the in-band credentials, if there are any, to an envelope. */
void gi_login_frames(const gi_login_t *self, gi_frames_t *out);

#endif
