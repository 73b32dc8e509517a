/* SPDX-License-Identifier: BSD-3-Clause */
/* slow.h -- the slowest calls: of each minute the 64 slowest, 256 in all. What
 * they were asked with is never kept.
 * Thread: one. */
#ifndef GI_SLOW_H
#define GI_SLOW_H

#include "tally/tally.h"

#define GI_SLOW_MAX 256
#define GI_SLOW_MINUTE 64
#define GI_SLOW_NAME 64
#define GI_SLOW_TRACE 33 /* 32 hex digits */

typedef struct gi_slow {
    uint64_t seq;  /* 1, 2, ... */
    int64_t at_ms; /* when it ended, by the caller's clock */
    gi_outcome_t outcome;
    int64_t total_ns, wait_ns, stood_ns;
    int attempt;
    gi_tally_name_t method;
    char service[GI_SLOW_NAME], user[GI_SLOW_NAME], trace[GI_SLOW_TRACE];
} gi_slow_t;

typedef struct gi_slow_list {
    uint64_t seq;
    unsigned n, next; /* how many; where the next minute's go */
    unsigned n_minute;
    int64_t minute;
    gi_slow_t call[GI_SLOW_MAX];
} gi_slow_list_t;

/* Where this one is to be written; NULL: the minute has 64 slower ones. seq,
 * at_ms and total_ns are set. */
gi_slow_t *gi_slow_add(gi_slow_list_t *self, int64_t now_ms, int64_t total_ns);
/* An array of maps, oldest first: those with seq > since. */
void gi_slow_pack(const gi_slow_list_t *self, msgpack_packer *pk,
                  uint64_t since, int64_t now_ms);

#endif
