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

/* As the first process of a container (pid 1), before anything else: whatever
 * its handlers' programs leave behind becomes our child. The verb goes on in a
 * child of ours (-1 there, and where we are not the first), and we hand on
 * signals, let orphans go and return its exit code, or 128 and its signal. A
 * supervising process has only one child and does without. */
int gi_supervise_first(int argc, char **argv);

#endif
