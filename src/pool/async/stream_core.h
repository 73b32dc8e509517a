/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_core.h -- what the two files of streams share.
 *   stream.c       the queue: producer, credit, items as values
 *   stream_huge.c  the reader of bytes, and huge answers given whole */
#ifndef GI_STREAM_CORE_H
#define GI_STREAM_CORE_H

#include <gaterpc/stream.h>
#include <pthread.h>
#include "sync/actor_thread.h"
#include "base/err.h"
#include "base/buf.h"
#include "sync/ref.h"
#include "async/stream.h"

typedef struct gi_stream_item {
    const void *data;
    size_t size;
    gi_release_fn *release;
    void *hint;
    size_t index;
    bool reply;  /* a single reply, not an item */
    bool failed; /* data is a gi_error_t: there is no such item */
} gi_stream_item_t;

/* Bytes of a huge answer, or of a plain one, on their way to gate_stream_read.
 */
typedef struct gi_stream_reader {
    gi_stream_item_t chunk; /* being inflated; data NULL: none */
    gate_bytes_t in;        /* what is left of it */
    bool complete;          /* the inflater has said so */
    bool begun;             /* the head is known */
    bool content;           /* a str or bin: its bytes are given */
    unsigned char head[8];  /* first bytes that are to be given */
    size_t n_head, at_head;
    uint64_t done, total; /* bytes given; of all, UINT64_MAX not known */
    gi_buf_t whole;       /* of gate_stream_next, while it comes */
    gate_bytes_t plain;   /* what is left of a plain answer */
} gi_stream_reader_t;

struct gate_stream {
    pthread_mutex_t mutex; /* of what follows, up to the reader's own part */
    pthread_cond_t
        change; /* an item, the end, or the producer's callback over */
    gi_ref_t ref;
    gi_stream_options_t options;
    const gate_settings_t *settings;
    uint32_t born; /* gi_born_now() of who made it */
    gi_stream_item_t *ring;
    size_t room, head, count, bytes; /* room is a power of two or 0 */
    bool ended;                      /* nothing follows what is in the ring */
    bool reader_gone;                /* destroyed */
    bool producer_gone;
    bool stopped;     /* stop was called, or must not be any more */
    void *calling;    /* s_me() of the thread inside a callback */
    gi_error_t error; /* why it ended; GATE_OK: regularly */
    size_t taken_items, taken_bytes; /* since the last credit */
    bool reading;                    /* somebody is inside next */
    int64_t waiting_since_ns;        /* items wait with nobody inside next */
    int fd;                          /* -1 until asked for */
    bool rung;                       /* fd is readable */
    /* a huge answer's chunks are the items; set before the first */
    bool huge;
    const gi_inflate_t *inflate; /* NULL: they are the bytes as they are */
    void *inflater;
    uint64_t packed_size; /* of the msgpack bytes; UINT64_MAX not known */
    uint64_t wire;        /* bytes of chunks that came */
    /* the reader's own */
    gi_stream_reader_t reader; /* of bytes (stream_huge.c) */
    gi_error_t late;           /* its time was over; GATE_OK: it was not */
    gate_value_t *value;       /* the item handed out last */
    gi_arena_t arena;          /* its strings */
    size_t index;
    bool single;
};

/* GATE_CLOSED, with the story: it is the parent's, and we are a child of fork(). */
static inline gate_err_t gi_stream_unborn(const gate_stream_t *self) {
    return self->born == gi_born_now()
               ? GATE_OK
               : gi_err(GATE_CLOSED, "this stream was made before fork(): it "
                                     "is read in the parent alone");
}
/* With the mutex held. Waits for an item or the end, at most timeout_ms. */
gate_err_t gi_stream_await(gate_stream_t *self, int64_t timeout_ms);
/* With the mutex held. Takes the next item; reports credit. GATE_EOS, or the
 * code of the producer's error, when there is none. */
gate_err_t gi_stream_take(gate_stream_t *self, gi_stream_item_t *item);
/* This thread's story is why the stream ends here; the producer is stopped. */
void gi_stream_break(gate_stream_t *self);
/* Tells why nothing was waited for. */
gate_err_t gi_stream_tell_wait(gate_stream_t *self, gate_err_t e,
                               int64_t timeout_ms);
/* stream_huge.c: the whole answer as self->value. */
gate_err_t gi_stream_whole(gate_stream_t *self, int64_t timeout_ms) GATE_MUST;
void gi_stream_reader_fini(gate_stream_t *self);

#endif
