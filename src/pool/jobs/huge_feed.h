/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_feed.h -- how a huge result gets from its handler to whoever sends it.
 * A host that can take it at once has gi_huge_ops of its own; from where only
 * items get out (a worker process, a pool's thread) its parts travel as items:
 * msgpack ext values of type GI_EXT_HUGE, one byte of kind, then
 *
 *   'B' codec level size    'D' bytes (none: flush)    'E'
 *
 * Thread: that of the handler; a host's own ops may allow any. */
#ifndef GI_HUGE_FEED_H
#define GI_HUGE_FEED_H

#include <gaterpc/huge.h>
#include "jobs/call.h"
#include "jobs/huge_source.h"
#include "wire/rpc.h"

#define GI_EXT_HUGE 0x52
#define GI_HUGE_PIECE ((size_t)128 << 10) /* most bytes of one part */
#define GI_HUGE_CODEC_MAX 32

/* What a huge result will be. */
typedef struct gi_huge_begin {
    char codec[GI_HUGE_CODEC_MAX]; /* "" = the setting's */
    int level;                     /* 0 = the setting's */
    uint64_t size;                 /* msgpack bytes; UINT64_MAX not known */
} gi_huge_begin_t;

typedef struct gi_huge_ops gi_huge_ops_t;

struct gate_huge {
    gi_huge_head_t value;     /* of an argument */
    gi_huge_source_t *source; /* of an argument, else NULL and: */
    gate_call_t *call;
    const gi_huge_ops_t *ops;
    gi_huge_begin_t begin;
    uint64_t left;    /* bytes still to be put; UINT64_MAX = as many as come */
    gi_error_t error; /* the first failure of put */
};

struct gi_huge_ops {
    gate_err_t (*begin)(gate_call_t *self, const gi_huge_begin_t *begin);
    /* At most GI_HUGE_PIECE bytes; may wait for room. None: what was put before
     * goes out (gate_huge_flush). GATE_CANCELLED: nobody wants it any more. */
    gate_err_t (*put)(gate_call_t *self, const void *data, size_t size);
    /* error NULL: that was all. The call must not be touched afterwards but by
     * the handler it was begun in. */
    gate_err_t (*end)(gate_call_t *self, const gate_error_t *error);
    /* begin, head, data and end at once, keeping data; takes the release in
     * every case. NULL: they are put. */
    gate_err_t (*keep)(gate_call_t *self, const gi_huge_begin_t *begin,
                       gate_bytes_t head, gate_bytes_t data,
                       void (*release)(void *data));
    /* Reads fd (taken in every case) elsewhere, so that the handler returns at
     * once; gives what it must return. NULL: it is read here. */
    gate_err_t (*read)(gate_call_t *self, const gi_huge_begin_t *begin,
                       gate_bytes_t head, int fd, uint64_t size);
};

/* What a value of that kind and size begins with; how many bytes that is. */
size_t gi_huge_head(gate_huge_kind_t kind, uint64_t size, unsigned char out[5]);

/* Parts as items, by the call's own yield. */
extern const gi_huge_ops_t gi_huge_by_items;

/* Puts what fd gives, size bytes or (UINT64_MAX) all there is, looking every
 * 100 ms whether anybody wants it still. Closes fd. */
gate_err_t gi_huge_read(gate_call_t *call, const gi_huge_ops_t *ops, int fd,
                        uint64_t size) GATE_MUST;

/* Reads one of those items: its kind, or 0 when it is none. */
int gi_huge_item(const void *data, size_t size, gate_bytes_t *part);
/* The part of a 'B'; false: malformed. */
bool gi_huge_item_begin(gate_bytes_t part, gi_huge_begin_t *out);

/* ---- huge_file.c ----------------------------------------------------------- */
/* What a descriptor has: a size that was said, or a large file's; of a small
 * file its content itself, read to its end. */
typedef struct gi_huge_file {
    uint64_t size; /* UINT64_MAX: not known */
    bool regular;
    gi_buf_t content; /* data not NULL: all of it; given */
} gi_huge_file_t;
gate_err_t gi_huge_file_look(int fd, const gate_huge_options_t *o,
                             gi_huge_file_t *out) GATE_MUST;

#endif
