/* SPDX-License-Identifier: BSD-3-Clause */
/* batch.h -- packed messages that go together in one frame
 * (docs/extensions.md, batches). Pure: views in, bytes out, and back. */
#ifndef GI_BATCH_H
#define GI_BATCH_H

#include <gaterpc/error.h>

#include <stdbool.h>
#include <stdint.h>

#define GI_BATCH_MAGIC "\xc1GXB" /* 0xc1 is never valid msgpack */
#define GI_BATCH_HEAD 4
/* Larger frames do not lie in what libzmq reads at a time (8 KiB): they would
 * cost an allocation and a copy. */
#define GI_BATCH_BYTES 8000
#define GI_BATCH_MESSAGES 64 /* that a reader takes from one */
/* So many a writer puts into one: more gain nothing, and the other side starts
 * earlier. */
#define GI_BATCH_FULL 16

/* ---- writing ------------------------------------------------------------- */
typedef struct gi_batch {
    unsigned n;     /* messages in it */
    unsigned first; /* where the first of them begins, behind its length */
    size_t size;
    unsigned char data[GI_BATCH_BYTES];
} gi_batch_t;

typedef enum gi_batch_put {
    GI_BATCH_IN,
    GI_BATCH_NO_ROOM, /* once it is empty there is */
    GI_BATCH_ALONE    /* it has frames that are not packed: never */
} gi_batch_put_t;

void gi_batch_init(gi_batch_t *self); /* also: empties it */
/* Appends a message of these frames, without the empty one before them. */
gi_batch_put_t gi_batch_put(gi_batch_t *self, const gate_bytes_t *frames,
                            unsigned n);
/* Borrows until the next put: the frame to send. plain: one message alone is
 * itself, no batch. Not of an empty one. */
gate_bytes_t gi_batch_frame(const gi_batch_t *self, bool plain);

/* When to gather: what is alone goes at once. The first message of a pass does,
 * unless the last pass that had any had several. */
typedef struct gi_batch_pace {
    unsigned pass;
    bool several;
} gi_batch_pace_t;

/* The next message: it goes at once, if nothing waits. */
static inline bool gi_batch_alone(gi_batch_pace_t *self, unsigned pass) {
    bool several = self->several;
    self->several = self->pass == pass;
    self->pass = pass;
    return !several && !self->several;
}

/* ---- reading ------------------------------------------------------------- */
typedef struct gi_batch_reader {
    gate_bytes_t frame; /* borrowed */
    size_t at;
    unsigned n; /* messages that were read */
} gi_batch_reader_t;

/* Does it begin like one? */
bool gi_batch_is(gate_bytes_t frame);
void gi_batch_read(gi_batch_reader_t *self, gate_bytes_t frame);
static inline bool gi_batch_left(const gi_batch_reader_t *self) {
    return self->at < self->frame.size;
}
/* The next message: it begins like a packed one; borrows. GATE_BADDATA: it is no
 * batch, or what follows is none; nothing is left then. */
gate_err_t gi_batch_next(gi_batch_reader_t *self, gate_bytes_t *out) GATE_MUST;

#endif
