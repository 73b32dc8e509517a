/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.h (private) -- the producing side of streams: an ordered queue with
 * one producer and one reader. Two references: the reader's and the producer's.
 */
#ifndef GI_STREAM_H
#define GI_STREAM_H

#include <gaterpc/stream.h>
#include "base/err.h"
#include "value/value.h"

/* Called on the reader's thread, never after gi_stream_release has returned;
 * must not block. */
typedef struct gi_stream_ops {
    /* The reader took this much since the last report (batched: at least a
     * quarter of the window, or when the queue ran empty). */
    void (*credit)(void *ctx, size_t items, size_t bytes);
    /* The reader is gone: stop producing. */
    void (*stop)(void *ctx);
    /* Why nothing comes, where that is known: "" or text for the reader whose
     * time is over. May be NULL. */
    void (*trouble)(void *ctx, char *text, size_t room);
} gi_stream_ops_t;

typedef struct gi_stream_options {
    int64_t timeout_ms;                /* for each next; -1 = for ever */
    size_t max_items, max_bytes;       /* window or bound of the queue */
    size_t report_items, report_bytes; /* when to report; 0 = a quarter */
    const gi_stream_ops_t *ops;        /* may be NULL */
    void *ctx;
    gi_release_fn *release_owner; /* as for futures */
    void *owner;
    bool results; /* items are jobs' results: each as long as a huge value */
} gi_stream_options_t;
/* NULL: no memory. */
gate_stream_t *gi_stream_new(const gate_settings_t *settings,
                             const gi_stream_options_t *options);
/* How chunks become the msgpack bytes of a huge answer; called on the reader's
 * thread, one at a time. */
typedef struct gi_inflate {
    /* One step: consumes *in, writes at most *out_size bytes. end: no more
     * input comes. GATE_OK: again while *in is not empty or the room was filled
     * (with end: in any case); GATE_EOS: complete; else why not. */
    gate_err_t (*step)(void *self, gate_bytes_t *in, bool end, void *out,
                       size_t *out_size);
    void (*destroy)(void *self);
} gi_inflate_t;
/* From now on what is pushed are chunks of one huge answer; before the first of
 * them. Takes self. ops NULL: the chunks are the bytes. size: how many msgpack
 * bytes it has, UINT64_MAX when that is not known. */
void gi_stream_begin_huge(gate_stream_t *self, const gi_inflate_t *ops,
                          void *inflater, uint64_t size);
/* Takes an item's packed bytes in every case. GATE_BUSY: the queue is over its
 * bound (the item is dropped: fail the stream); GATE_CANCELLED: the reader
 * left. index as for gate_stream_index. */
gate_err_t gi_stream_push(gate_stream_t *self, const void *data, size_t size,
                          gi_release_fn *release, void *hint, size_t index);
/* In the place of an item: the error that next gives there; the stream goes on.
 * Takes error, a gi_error_t, as push does its bytes. */
gate_err_t gi_stream_push_error(gate_stream_t *self, const gi_error_t *error,
                                gi_release_fn *release, void *hint,
                                size_t index);
/* Takes the msgpack bytes of a huge answer that is here as a whole: an only
 * item, then the end. */
void gi_stream_push_huge(gate_stream_t *self, const void *data, size_t size,
                         gi_release_fn *release, void *hint);
/* Takes a single reply's bytes: an only item, then the end. */
void gi_stream_push_reply(gate_stream_t *self, const void *data, size_t size,
                          gi_release_fn *release, void *hint);
void gi_stream_end(gate_stream_t *self);
void gi_stream_fail(gate_stream_t *self, const gate_error_t *story);
/* Gives up the producer's reference; without an end or failure before it the
 * reader gets GATE_CLOSED. */
void gi_stream_release(gate_stream_t **self_p);
/* How long items have waited with nobody inside next; 0 when somebody is or
 * nothing waits. */
int64_t gi_stream_idle_ms(gate_stream_t *self, int64_t now_ms);
/* True when the reader has destroyed its end. */
bool gi_stream_abandoned(const gate_stream_t *self);

#endif
