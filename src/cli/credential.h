/* SPDX-License-Identifier: BSD-3-Clause */
/* credential.h -- where a password comes from: the command line (wiped there), a
 * file, a systemd credential, standard input, or whoever sits at the terminal.
 * Thread: main, before others. Blocks: at a terminal for as long as it takes.
 * Owns: the text, which fini wipes. */
#ifndef GI_CREDENTIAL_H
#define GI_CREDENTIAL_H

#include "cli/opts.h"

/* What the options said; GI_OPT_SECRET fills word. */
typedef struct gi_credential {
    char *word;       /* the password, once it is had; ours */
    const char *file; /* "-": standard input; NULL: not given */
} gi_credential_t;

/* Gets the password of user, if there is one: by word, file, the credential of
 * that name, or a prompt. option: "password"; config: settings file, or NULL.
 * -1, or the exit code after saying why: half a pair is one. */
int gi_credential_get(gi_credential_t *self, const char *user,
                      const char *option, const char *config,
                      const gi_usage_t *usage);
/* The same without a user: asked twice at a terminal. */
int gi_credential_ask(gi_credential_t *self, const gi_usage_t *usage);
void gi_credential_fini(gi_credential_t *self);

#endif
