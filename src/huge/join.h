/* SPDX-License-Identifier: BSD-3-Clause */
/* join.h -- the receiver: chunks in, original bytes out, step by step.
 * Thread: one at a time. Survives: any peer. Law: a step writes no more than
 * its room; nothing beyond the caps is ever written; exactly one stream.
 *
 * It accepts what Python's client accepts (wire.md 7.1: also an END that came
 * in the last data frame or in pieces), less a wrong CRC or length. */
#ifndef GI_JOIN_H
#define GI_JOIN_H

#include "huge/codec.h"

/* Below it no ratio is looked at. */
#define GI_JOIN_RATIO_FROM ((uint64_t)1 << 20)

typedef struct gi_join_options {
    const char *codec;  /* NULL = gzip */
    uint64_t max_bytes; /* original bytes; 0 = no cap */
    uint64_t ratio_max; /* original : compressed beyond 1 MiB; 0 = no cap */
    uint64_t size;      /* original bytes that the sender announced; 0 = it did
                         * not. Then it is exactly these, and no ratio is looked
                         * at: what was accepted at the start is no surprise */
} gi_join_options_t;

typedef struct gi_join gi_join_t;

/* GATE_NOTIMPL: a codec that is not there; GATE_NOMEM. */
gate_err_t gi_join_new(const gi_join_options_t *options,
                       gi_join_t **out) GATE_MUST;
void gi_join_destroy(gi_join_t **self_p);
/* One step. *out_size in: room (at least 1), out: written. Repeat while *in is
 * not empty or the room was filled. GATE_BADDATA (not a stream, corrupted, data
 * after its end), GATE_TOOBIG (a cap), GATE_NOMEM; an error stays. */
gate_err_t gi_join_step(gi_join_t *self, gate_bytes_t *in, void *out,
                        size_t *out_size) GATE_MUST;
/* END has come: GATE_OK: call again, the room was filled; GATE_EOS: complete;
 * GATE_BADDATA: empty or truncated. */
gate_err_t gi_join_end(gi_join_t *self, void *out, size_t *out_size) GATE_MUST;
/* An END inside the data frames has come too: no END frame may follow. */
bool gi_join_saw_end(const gi_join_t *self);

#endif
