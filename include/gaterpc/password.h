/* SPDX-License-Identifier: BSD-3-Clause */
/* password.h -- passwords from files, so that they stand neither in a program
 * nor on a command line. Thread: any. Blocks: on the disk; at a pipe, 10 s at
 * most. */
#ifndef GATERPC_PASSWORD_H
#define GATERPC_PASSWORD_H

#include <gaterpc/settings.h>

GATE_BEGIN_DECLS

#define GATE_PASSWORD_MAX 255 /* bytes; ZeroMQ's own limit */

/* The one line of a file, its newline left away. A name without a slash is
 * looked for in $CREDENTIALS_DIRECTORY (systemd's LoadCredential=) first. out
 * has room for GATE_PASSWORD_MAX + 1 bytes; wipe it when it is used. The file
 * must be ours or root's and nobody else's to read or write, unless settings
 * (NULL: the defaults) have trust_others. GATE_SYSTEM, GATE_BADDATA, GATE_TOOBIG
 * name the file; out is "" then. */
GATE_API gate_err_t gate_password_read(const char *file,
                                       const gate_settings_t *settings,
                                       char *out) GATE_MUST;

GATE_END_DECLS

#endif
