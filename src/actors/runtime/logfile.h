/* SPDX-License-Identifier: BSD-3-Clause */
/* logfile.h -- the log file: several processes may write one and the same, and
 * others may move it, delete it or fill the disk. Put aside at midnight as
 * FILE.YYYY-MM-DD by whoever writes first then. Thread: the log actor's.
 * Blocks: on the disk. Owns: its descriptor.
 * Law: no file is ever renamed over another one; none is removed but those that
 * are called FILE.YYYY-MM-DD (or that and .N); a line that cannot be written is
 * counted, and told once there is room. */
#ifndef GI_LOGFILE_H
#define GI_LOGFILE_H

#include <gaterpc/settings.h>
#include <limits.h>
#include <sys/types.h>
#include "mail/logring.h"

typedef struct gi_logfile {
    const gate_settings_t *settings;
    char path[PATH_MAX]; /* "" = none */
    int fd;              /* -1: none, or it cannot be had just now */
    dev_t dev;           /* what fd is */
    ino_t ino;
    bool regular;      /* it can be put aside */
    long day;          /* local days since the epoch, of what is in it */
    bool torn;         /* half a line is at its end */
    uint64_t n_lost;   /* lines since the last that was written */
    int why_lost;      /* errno of the first of them */
    int64_t rotate_us; /* not tried again before: another one holds it */
} gi_logfile_t;

/* Keeps the settings. GATE_OK too where none is asked for; GATE_SYSTEM,
 * GATE_TOOBIG name the file. */
gate_err_t gi_logfile_open(gi_logfile_t *self,
                           const gate_settings_t *settings) GATE_MUST;
/* False for the first line of some that cannot be written: why_lost. */
bool gi_logfile_write(gi_logfile_t *self, const gi_log_line_t *line);
/* Before some lines: opens it anew where it is not the one that its path names
 * any more. */
void gi_logfile_look(gi_logfile_t *self);
/* Because somebody asks for it; GATE_SYSTEM when it cannot be had. */
gate_err_t gi_logfile_reopen(gi_logfile_t *self) GATE_MUST;
void gi_logfile_close(gi_logfile_t *self);

#endif
