/* SPDX-License-Identifier: BSD-3-Clause */
/* tally.h -- how calls of a service end: by outcome, by class of error, by
 * method, and how long they took. What comes from peers (names, classes, texts)
 * is cut, repaired where it is no UTF-8, and bounded in number: what is beyond
 * goes to "_other".
 * Thread: one. Blocks: never. Law: the outcomes of the methods and of other sum
 * up to the service's. */
#ifndef GI_TALLY_H
#define GI_TALLY_H

#include <gaterpc/base.h>
#include <msgpack.h>
#include "tally/lat.h"

typedef enum gi_outcome {
    GI_OUT_OK,
    GI_OUT_EXCEPTION, /* the handler's, or its service's for it */
    GI_OUT_REFUSED,   /* nobody ran it: no room, no worker, not allowed */
    GI_OUT_LOST,      /* its worker was */
    GI_OUT_EXPIRED,   /* its caller's time was over before it could run */
    GI_OUT_CANCELLED,
    GI_OUT_ORPHANED, /* its caller went away */
    GI_OUTCOMES
} gi_outcome_t;
extern const char *const gi_tally_outcomes[GI_OUTCOMES];

#define GI_TALLY_METHOD 32  /* bytes of a method's name that are kept, + 1 */
#define GI_TALLY_METHODS 64 /* of a service */
#define GI_TALLY_CLASSES 32 /* of a service */
#define GI_TALLY_CLASS 64   /* bytes of a class's name, NUL included */
#define GI_TALLY_TEXT 160   /* of its last text */

/* What a call carries until it ends: the first bytes of its method's name, the
 * rest zeros, all zeros: it had none. */
typedef struct gi_tally_name {
    union {
        char text[GI_TALLY_METHOD];
        uint64_t word[GI_TALLY_METHOD / 8];
    };
} gi_tally_name_t;

typedef struct gi_tally_class {
    struct gi_tally_class *next;
    uint64_t n;
    int64_t last_ms; /* by the caller's clock */
    char name[GI_TALLY_CLASS], text[GI_TALLY_TEXT];
} gi_tally_class_t;

typedef struct gi_tally_method {
    gi_tally_name_t name;
    uint64_t outcome[GI_OUTCOMES];
    gi_lat_t run; /* from the worker's getting it to its end */
} gi_tally_method_t;

/* What all tallies of one owner may take. */
typedef struct gi_tally_room {
    size_t left;     /* bytes */
    uint64_t folded; /* times that something went to "_other" for want of it */
} gi_tally_room_t;

typedef struct gi_tally {
    gi_tally_room_t *room;
    uint64_t outcome[GI_OUTCOMES];
    gi_lat_t total, wait; /* from the request's coming; in the queue alone */
    gi_tally_class_t *classes; /* in the order of their first coming */
    gi_tally_class_t *more;    /* "_other", in classes */
    unsigned n_classes, n_methods;
    gi_tally_method_t *last; /* looked at first */
    gi_tally_method_t *methods[GI_TALLY_METHODS];
    uint64_t other[GI_OUTCOMES];         /* of methods without a row */
    uint8_t index[2 * GI_TALLY_METHODS]; /* by hash: number of the row + 1 */
} gi_tally_t;

typedef struct gi_tally_error {
    gate_bytes_t cls, text; /* no class: "Exception" */
    int64_t now_ms;
} gi_tally_error_t;

/* Keeps room. NULL: no memory, or no room. */
gi_tally_t *gi_tally_new(gi_tally_room_t *room);
void gi_tally_destroy(gi_tally_t **self_p);
/* From the func frame of a request, whatever bytes that has. name is all zeros
 * before. */
void gi_tally_name(gi_tally_name_t *name, gate_bytes_t func);
/* One call's end. error NULL: none is told. */
void gi_tally_count(gi_tally_t *self, const gi_tally_name_t *method,
                    gi_outcome_t outcome, const gi_tally_error_t *error,
                    int64_t total_ns, int64_t wait_ns);
/* What from counted was counted here: self's counts never go back when from is
 * no more. */
void gi_tally_fold(gi_tally_t *self, const gi_tally_t *from);
/* All that ended otherwise than well. */
uint64_t gi_tally_errors(const gi_tally_t *self);

/* An exception's class and text from a single reply's frame, or from a packed
 * triple: of frames that end calls. False: it is none. */
bool gi_tally_reply(gate_bytes_t frame, gate_bytes_t *cls, gate_bytes_t *text);
/* False: a single reply is none for sure; where its result is not None. */
static inline bool gi_tally_may_fail(gate_bytes_t frame) {
    return frame.size > 8 && ((const unsigned char *)frame.data)[8] == 0xc0;
}
bool gi_tally_triple(gate_bytes_t frame, gate_bytes_t *cls, gate_bytes_t *text);

/* ---- tally_pack.c -------------------------------------------------------- */
/* Five entries of a map: outcomes, total, wait, classes and methods; these two
 * are lists of maps with "name". */
#define GI_TALLY_ENTRIES 5
void gi_tally_pack(const gi_tally_t *self, msgpack_packer *pk, int64_t now_ms);
/* {n, p50_us, p99_us, sum_us, slots: [slot, count, ...]}: those that are not 0.
 */
void gi_tally_pack_lat(const gi_lat_t *lat, msgpack_packer *pk);
/* A str of a peer's: cut, what is no UTF-8 or cannot be printed is '?'. */
void gi_tally_pack_text(msgpack_packer *pk, const char *text, size_t size);

#endif
