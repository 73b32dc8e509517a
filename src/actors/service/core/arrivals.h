/* SPDX-License-Identifier: BSD-3-Clause */
/* arrivals.h -- who may have how much of a service's room for huge arguments.
 * What has arrived counts, and a little ahead of it; what a head announces does
 * not. Thread: one. Blocks: never. Units: bytes of the value, ms on the caller's
 * clock. Law: gi_arrivals_valid. Survives: heads that nothing follows, senders
 * that stand still, clients that want everything.
 *
 *   room = 4 x the largest value: 3 for all in shares, 1 for the oldest alone,
 *          which therefore always gets what it needs and ends
 */
#ifndef GI_ARRIVALS_H
#define GI_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GI_ARRIVALS_TIMES 4 /* the largest value, of all that arrive */

typedef struct gi_arrival gi_arrival_t;

typedef struct gi_arrivals {
    int64_t max;               /* the largest value */
    int64_t still_ms;          /* who moves less for so long stands still */
    gi_arrival_t *head, *tail; /* the oldest first */
    int64_t granted;           /* of all */
    size_t n, n_short;
} gi_arrivals_t;

/* One value under way, embedded by whoever receives it. */
struct gi_arrival {
    gi_arrivals_t *of; /* NULL: it is not under way */
    gi_arrival_t *prev, *next;
    uint64_t client;        /* whose, as a hash */
    int64_t size;           /* as announced */
    int64_t made;           /* there is so much of it */
    int64_t granted;        /* and may be so much */
    int64_t mark, moved_ms; /* what was there when it moved last */
    int64_t short_ms;       /* since when it waits for room */
    bool is_short;
};

/* max_bytes: the largest value. */
void gi_arrivals_init(gi_arrivals_t *self, int64_t max_bytes, int64_t still_ms);
/* All zeros before; size is at most the largest value's. */
void gi_arrival_open(gi_arrivals_t *self, gi_arrival_t *a, uint64_t client,
                     int64_t size, int64_t now_ms);
void gi_arrival_close(gi_arrival_t *a); /* idempotent */
/* There is so much of it now, and it goes on. */
void gi_arrival_made(gi_arrival_t *a, int64_t made, int64_t now_ms);
/* Room for what comes next. False: it waits for others; nothing changed. */
bool gi_arrival_grant(gi_arrival_t *a, int64_t now_ms);
/* It may be made as a whole. */
bool gi_arrival_whole(const gi_arrival_t *a);
/* Others wait for room, and it has some without moving. */
bool gi_arrival_blocks(const gi_arrival_t *a, int64_t now_ms);
/* The law; walks everything. */
bool gi_arrivals_valid(const gi_arrivals_t *self);

#endif
