/* SPDX-License-Identifier: BSD-3-Clause */
/* rested.h -- a file that is being rewritten in place is not read until it has
 * not been written for 25 ms, for 150 while somebody has it open for writing
 * (Linux tells of our own user's files): what stands in it before may end at a
 * line and still be half of it. Thread: any. Blocks: 260 ms at most, only for a
 * file that was written just now. */
#ifndef GI_RESTED_H
#define GI_RESTED_H

#include <stdbool.h>
#include <sys/stat.h>

/* *st gets what the file is then. False: it is gone (errno), or still being
 * written (errno 0). */
bool gi_rested(const char *file, struct stat *st);

typedef enum gi_rested_open {
    GI_RESTED_UNKNOWN,
    GI_RESTED_CLOSED,
    GI_RESTED_OPEN
} gi_rested_open_t;
/* Whether somebody has it open for writing, as far as the system tells. */
gi_rested_open_t gi_rested_is_open(const char *file);

#endif
