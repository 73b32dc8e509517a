/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_source.h -- the bytes of one huge argument, from whoever has them to the
 * client that sends them.
 *
 *   put ... end  ->  queue     \
 *   a descriptor ->  job, queue  >  peek, used  ->  leave
 *   memory, kept              /
 *
 * Thread: the giver one at a time, on any; peek and used the sender's.
 * Blocks: put, while S_ROOM bytes wait; leave, while ready is being called.
 * Law: it gives exactly as many bytes as it was made for, or an error.
 * Owns: the memory (its release) and the descriptor it was given. */
#ifndef GI_HUGE_SOURCE_H
#define GI_HUGE_SOURCE_H

#include <gaterpc/huge.h>
#include "jobs/pool.h"

typedef struct gi_huge_source gi_huge_source_t;

/* One that is fed size bytes by put; NULL: no memory. */
gi_huge_source_t *gi_huge_source_new(uint64_t size);
gi_huge_source_t *gi_huge_source_share(gi_huge_source_t *self);
void gi_huge_source_drop(gi_huge_source_t **self_p);
/* Before anybody sends it: instead of put, kept memory, a descriptor. */
void gi_huge_source_memory(gi_huge_source_t *self, const void *data,
                           void (*release)(void *data));
void gi_huge_source_file(gi_huge_source_t *self, int fd, bool regular);

/* ---- the giver ------------------------------------------------------------*/
/* Copies. GATE_CANCELLED: nobody wants it any more; GATE_BADARG: no call was
 * started with it, or it is not fed. */
gate_err_t gi_huge_source_put(gi_huge_source_t *self, const void *data,
                              size_t size) GATE_MUST;
/* What was put before goes out without waiting for more. */
gate_err_t gi_huge_source_flush(gi_huge_source_t *self) GATE_MUST;
/* NULL: that was all. Of memory and descriptors nothing is to be said. */
void gi_huge_source_end(gi_huge_source_t *self, const gate_error_t *error);

/* ---- the sender: one, once ------------------------------------------------*/
/* GATE_BADARG: it has one already. ready: something may be there, on any
 * thread, no lock held. */
gate_err_t gi_huge_source_attach(gi_huge_source_t *self,
                                 void (*ready)(void *ctx), void *ctx) GATE_MUST;
/* It wants no more: what it was made of is released now. */
void gi_huge_source_leave(gi_huge_source_t *self);
/* Borrows until used. GATE_WOULDBLOCK: none yet; GATE_EOS: that was all; else
 * why there are no more, published. Descriptors are read by jobs of pool. */
gate_err_t gi_huge_source_peek(gi_huge_source_t *self, gate_pool_t *pool,
                               gate_bytes_t *out) GATE_MUST;
void gi_huge_source_used(gi_huge_source_t *self, size_t size);
/* A flush was asked for behind what has been used, once for each. */
bool gi_huge_source_flushes(gi_huge_source_t *self);

/* True: all of it can be had without waiting for anybody. */
bool gi_huge_source_here(const gi_huge_source_t *self);
/* Then: all of it into to; it counts as sent. */
gate_err_t gi_huge_source_fill(gi_huge_source_t *self, void *to) GATE_MUST;

#endif
