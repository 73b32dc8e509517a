/* SPDX-License-Identifier: BSD-3-Clause */
/* places.h -- directories that the settings name, or do not: where ipc sockets
 * and log files lie. Thread: any. Blocks: on the disk.
 * Law: one that somebody else has made, or may write, is refused. */
#ifndef GI_PLACES_H
#define GI_PLACES_H

#include <gaterpc/settings.h>

/* Of ipc sockets, made when it is not there (mode 0700): run_path, or run in a
 * base_path that was set, else gate-rpc in the first of these that is ours:
 * $XDG_RUNTIME_DIR, /run/user/UID, /run (root); else run in base_path. */
gate_err_t gi_places_run(const gate_settings_t *settings, char *out,
                         size_t room) GATE_MUST;
/* The path of log_file; "" = none. Makes its directory. One that was not named
 * lies where everybody may have been before, and is looked at. */
gate_err_t gi_places_log(const gate_settings_t *settings, char *out,
                         size_t room) GATE_MUST;

#endif
