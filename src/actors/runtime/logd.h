/* SPDX-License-Identifier: BSD-3-Clause */
/* logd.h -- the log actor: takes lines from the ring and writes them to stderr,
 * a file rotated at midnight, the journal and the user's sink. One for the
 * process, counted by runtimes; the first runtime's settings hold. */
#ifndef GI_LOGD_H
#define GI_LOGD_H

#include <gaterpc/log.h>
#include <gaterpc/log.h>
#include <gaterpc/settings.h>

gate_err_t gi_logd_share(const gate_settings_t *settings) GATE_MUST;
/* The levels of a program that has no log actor (yet). */
void gi_logd_levels(const gate_settings_t *settings);
/* The last one writes what is left and ends it. */
void gi_logd_release(void);
/* What the log takes over while it runs: levels; and its file is opened anew. */
gate_err_t gi_logd_again(const gate_settings_t *settings) GATE_MUST;
/* That settings were read anew, and which of them only a restart takes. */
void gi_logd_taken(const gate_settings_t *in_force,
                   const gate_settings_t *fresh);

/* The last warnings and errors of this process, oldest first; how many. */
#define GI_LOGD_KEPT 8
typedef struct gi_logd_kept {
    int64_t wall_ms;
    gate_level_t level;
    char part[32], text[168];
} gi_logd_kept_t;
size_t gi_logd_recent(gi_logd_kept_t to[GI_LOGD_KEPT]);

#endif
