/* SPDX-License-Identifier: BSD-3-Clause */
/* curve.h (private) -- CURVE on sockets, and who is let in: CZMQ's zauth, one
 * per process, over inproc://zeromq.zap.01.
 * Thread: the socket's; the authority: any. */
#ifndef GI_CURVE_H
#define GI_CURVE_H

#include "sock.h"

/* Before connect: our certificate (FILE with FILE_secret) and the server's
 * public one. Nothing is done when both are NULL. GATE_SYSTEM names the file
 * that cannot be read, GATE_BADDATA one that is no certificate. */
gate_err_t gi_curve_client(gi_sock_t *sock, const char *cert_file,
                           const char *server_file) GATE_MUST;
/* Before bind: a server with this certificate, in this ZAP domain. */
gate_err_t gi_curve_server(gi_sock_t *sock, const char *cert_file,
                           const char *domain) GATE_MUST;

/* Who is let in, process-wide: holders of a key in that directory (looked at
 * again when it changes), or of any key ("*"). Counted: pairs with release.
 * GATE_BADARG: another broker of this process named another directory. */
gate_err_t gi_curve_authority(const char *allowed) GATE_MUST;
void gi_curve_authority_release(void);

/* The names behind keys, for the broker's own thread. */
typedef struct gi_curve_names gi_curve_names_t;
/* NULL: no memory. allowed as above: "*" knows no names. */
gi_curve_names_t *gi_curve_names_new(const char *allowed);
void gi_curve_names_destroy(gi_curve_names_t **self_p);
/* Borrows until the next call: the certificate's "name", else the key. */
const char *gi_curve_name(gi_curve_names_t *self, const char *key,
                          int64_t now_ms);

#endif
