/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_unpack.h -- inflates one huge value on a helper thread, chunk by chunk.
 *
 *   chunk ... end  ->  queue  ->  one job at most  ->  the value
 *                                  |  `- no room: rests until it is allowed more
 *                                  `-> tell: there are news
 *
 * Thread: the owner's, but share and tell. Blocks: never. Law: queue and flags
 * are under its lock, codec and value are the job's until the news are final.
 * Survives: any peer: queue, size and ratio are bounded. */
#ifndef GI_HUGE_UNPACK_H
#define GI_HUGE_UNPACK_H

#include "huge/join.h"
#include "sync/latch.h"
#include "jobs/pool.h"

#include <zmq.h>

typedef struct gi_huge_unpack gi_huge_unpack_t;

typedef struct gi_huge_unpack_options {
    gi_join_options_t join;
    uint64_t queued_max; /* compressed bytes that may wait */
    size_t size;         /* of the value, as its sender says; 0 = not known */
    size_t room;         /* make no more of it until allowed; 0 = all of it */
    const char *what;    /* "a huge result": for errors; keeps */
    gate_pool_t *pool;   /* where it inflates */
    gi_latch_t *latch;   /* held while a job is under way */
    /* On the job's thread when there are news: share first, under the lock and
     * only while the owner has not left (so ctx is there), then tell, which may
     * block and is once only until news is asked. */
    void (*share)(void *ctx);
    void (*tell)(void *ctx);
    void *ctx;
} gi_huge_unpack_options_t;

/* GATE_NOTIMPL: no such codec; GATE_NOMEM. */
gate_err_t gi_huge_unpack_new(const gi_huge_unpack_options_t *options,
                              gi_huge_unpack_t **out) GATE_MUST;
/* The owner is done with it, whether it has ended or not. */
void gi_huge_unpack_leave(gi_huge_unpack_t **self_p);
/* Takes the frame. GATE_TOOBIG: more waits than may; GATE_NOMEM; why no thread
 * can be had. */
gate_err_t gi_huge_unpack_chunk(gi_huge_unpack_t *self,
                                zmq_msg_t *frame) GATE_MUST;
gate_err_t gi_huge_unpack_end(gi_huge_unpack_t *self) GATE_MUST;
/* GATE_OK: it goes on; GATE_EOS: the value is complete; else why it is not,
 * published. *taken: compressed bytes inflated since the last time. */
gate_err_t gi_huge_unpack_news(gi_huge_unpack_t *self, size_t *taken) GATE_MUST;
/* How much there is of the value, as of the last news. */
size_t gi_huge_unpack_made(gi_huge_unpack_t *self);
/* So much of the value may be made now; 0 = all of it. Why no thread can be
 * had. */
gate_err_t gi_huge_unpack_allow(gi_huge_unpack_t *self, size_t room) GATE_MUST;
/* After GATE_EOS: gives the value (gi_spare_give, or gi_mem_free). */
void *gi_huge_unpack_take(gi_huge_unpack_t *self, size_t *size);

#endif
