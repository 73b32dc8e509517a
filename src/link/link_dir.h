/* SPDX-License-Identifier: BSD-3-Clause */
/* link_dir.h -- what another broker says of itself: the last words about it, and
 * the offers of its last revision that has come whole. Announcements may be lost,
 * doubled, late or another's lie: what is not whole is asked for, and the next
 * one that its owner sends mends what the others did.
 * Thread: one. Blocks: never. Owns: copies of announcements. Units: ms on the
 * caller's clock.
 * Law: gi_link_dir_valid. Offers are the parts 0 to n - 1 of one revision, and
 * they and those that are being gathered are GI_LINK_DIR_BYTES each at most. */
#ifndef GI_LINK_DIR_H
#define GI_LINK_DIR_H

#include "link/link_news.h"

#define GI_LINK_DIR_BYTES ((size_t)64 << 20)
#define GI_LINK_DIR_PARTS 4096 /* of a revision, at most */
#define GI_LINK_DIR_ASK_MS 200 /* between two questions for all of it */

typedef struct gi_link_dir {
    char name[GI_LINK_NAME_MAX + 1], zone[GI_LINK_NAME_MAX + 1]; /* "": none */
    int64_t beat_ms; /* 0: not said */
    bool draining;
    uint64_t rev;      /* of what it offers now; what is in offers is of: */
    uint64_t have_rev; /* 0: nothing yet */
    gi_buf_t offers;   /* gi_link_dir_next */
    gi_buf_t parts;    /* the same of a revision that is not whole: */
    uint64_t parts_rev;
    unsigned n_parts, of_parts; /* it has so many of so many */
    int64_t ask_ms;             /* not before */
} gi_link_dir_t;

/* What an announcement has changed, as bits. */
#define GI_LINK_DIR_FIRST 1u /* it was not known */
#define GI_LINK_DIR_NEWS 2u  /* its offers, or that it drains */
#define GI_LINK_DIR_ASK 4u   /* what it offers is to be asked for now */

/* Zeroed memory is an empty one. */
void gi_link_dir_fini(gi_link_dir_t *self);
/* Takes an announcement that has been parsed; copies. */
unsigned gi_link_dir_take(gi_link_dir_t *self, const gi_link_news_t *news,
                          gate_bytes_t packed, int64_t now_ms);
bool gi_link_dir_valid(const gi_link_dir_t *self);

/* ---- announcements one behind the other ---------------------------------- */
/* Appends one behind its length. False: no memory, to is as it was. */
bool gi_link_dir_append(gi_buf_t *to, gate_bytes_t packed);
/* The next one; views. False: there is none. */
bool gi_link_dir_next(gate_bytes_t *rest, gate_bytes_t *packed);

#endif
