/* SPDX-License-Identifier: BSD-3-Clause */
/* supervise.h -- gate serve --supervise. Thread: main. */
#ifndef GI_SUPERVISE_H
#define GI_SUPERVISE_H

#include "cli/peer.h"

/* Runs "gate" with these words but --supervise in a process of its own, again
 * and again while it dies; returns the exit code. SIGTERM and SIGINT go there.
 * config: the settings' file, or NULL. */
int gi_supervise(const char *config, const gi_auth_t *auth, int argc,
                 char **argv);

#endif
