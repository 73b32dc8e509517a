/* SPDX-License-Identifier: BSD-3-Clause */
/* curve.h (private) -- CURVE and PLAIN on sockets, and certificate files. Who
 * is let in: authority.h. Thread: the socket's; files: any. */
#ifndef GI_CURVE_H
#define GI_CURVE_H

#include "net/sock.h"

/* Before connect: our certificate (FILE with FILE_secret) and the server's
 * public one. Nothing is done when both are NULL. GATE_SYSTEM names the file
 * that cannot be read, GATE_BADDATA one that is no certificate. */
gate_err_t gi_curve_client(gi_sock_t *sock, const char *cert_file,
                           const char *server_file) GATE_MUST;
/* Before bind: a server with this certificate, in this ZAP domain. */
gate_err_t gi_curve_server(gi_sock_t *sock, const char *cert_file,
                           const char *domain) GATE_MUST;

/* PLAIN by libzmq, instead of CURVE: the same two ends. Nothing is done when
 * user is NULL. */
#define GI_PLAIN_MAX 255
gate_err_t gi_plain_client(gi_sock_t *sock, const char *user,
                           const char *password) GATE_MUST;
gate_err_t gi_plain_server(gi_sock_t *sock, const char *domain) GATE_MUST;

/* The key in a public certificate file, and the name in it ("" when there is
 * none), read as gi_trusted_read has it. *is_one false: it is no certificate. */
#define GI_CURVE_KEY 40 /* characters of a key in Z85 */
#define GI_CURVE_NAME 256
gate_err_t gi_curve_public(const char *file, unsigned how,
                           char key[GI_CURVE_KEY + 1], char name[GI_CURVE_NAME],
                           bool *is_one) GATE_MUST;

#endif
