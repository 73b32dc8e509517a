/* SPDX-License-Identifier: BSD-3-Clause */
/* progress.h -- one line on a terminal that says how far a transfer is; nothing
 * where stderr is no terminal. Thread: one. */
#ifndef GI_PROGRESS_H
#define GI_PROGRESS_H

#include <gaterpc.h>

typedef struct gi_bar {
    bool on;
    int64_t began_ns, drawn_ns;
} gi_bar_t;

void gi_bar_begin(gi_bar_t *self);
/* Draws it anew, at most ten times a second. */
void gi_bar_show(gi_bar_t *self, const gate_progress_t *progress);
/* Draws it for the last time and ends the line. */
void gi_bar_end(gi_bar_t *self, const gate_progress_t *progress);

#endif
