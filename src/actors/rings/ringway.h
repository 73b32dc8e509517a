/* SPDX-License-Identifier: BSD-3-Clause */
/* ringway.h -- a way to a process of this machine that is no socket: records
 * through a pair of rings, and a Unix socket that wakes who sleeps and whose end
 * is the other side's (docs/extensions.md, lanes).
 *
 * The bell is a byte on the socket and no eventfd: that could be made to block,
 * or be emptied, by the other side; MSG_DONTWAIT is said with each call.
 *
 * Thread: the owner's. Blocks: never. Owns: socket, mapping, buffers. Survives:
 * whatever the other side writes: this way ends, no more. */
#ifndef GI_RINGWAY_H
#define GI_RINGWAY_H

#include <gaterpc/error.h>
#include "shared/ringpair.h"

typedef struct gi_ringway {
    int fd;
    void *memory;
    size_t bytes;
    gi_ringpair_t pair;
    bool rung;  /* there may be something on fd: whoever polled it says so */
    bool ended; /* the other side is gone, or broke the law */
    unsigned unrung;   /* records since the other side was last rung */
    unsigned moved;    /* records in and out since gi_ringway_calm was asked */
    unsigned taken;    /* of those: in */
    size_t max;        /* bytes of a record that comes in */
    unsigned char *in; /* the one that comes in, or was given last */
    size_t in_size, in_room;
    bool in_whole;
    unsigned char *rest; /* a large one that goes out piece by piece */
    size_t rest_at, rest_size;
} gi_ringway_t;

/* Takes the socket, and maps memory, which stays the caller's. One side is the
 * first. NULL: no memory; the socket stays the caller's. */
gi_ringway_t *gi_ringway_new(int *fd, int memory, size_t ring, bool first,
                             size_t max);
/* What was sent stays there for the other side. */
void gi_ringway_destroy(gi_ringway_t **self_p);

/* Room for a record of size to be written into, then gi_ringway_sent. NULL: not
 * now; the other side rings when there is. */
void *gi_ringway_room(gi_ringway_t *self, size_t size);
void gi_ringway_sent(gi_ringway_t *self, size_t size);
/* At the end of a pass: rings where it must be. True: something moved. */
bool gi_ringway_flush(gi_ringway_t *self);

/* The next record, which stays until the next one is asked for. */
bool gi_ringway_take(gi_ringway_t *self, gate_bytes_t *record);
/* The bells that have come, once rung is set. */
void gi_ringway_hear(gi_ringway_t *self);
bool gi_ringway_there(const gi_ringway_t *self);
/* The other side is gone, and all that it said was taken. */
bool gi_ringway_over(const gi_ringway_t *self);
/* Before poll; false: something is there, do not sleep. */
bool gi_ringway_sleep(gi_ringway_t *self);
/* Few records moved since it was last asked, but some: the next may come soon,
 * and a moment's yielding is cheaper than to sleep. */
bool gi_ringway_calm(gi_ringway_t *self);
#define GI_RINGWAY_FEW 2

#endif
