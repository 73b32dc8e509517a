/* SPDX-License-Identifier: BSD-3-Clause */
/* service_core.h -- a service's calls, from the request that was taken to the
 * one answer: what came in and the time go in, what is to be done comes out
 * through a table of functions. Knows no socket, no thread and no clock, so
 * tests and the fuzzer drive it as the actor does. Thread: one. Blocks: never.
 * Units: ms on the caller's monotonic clock. Owns: who is under way, who waits,
 * whose generator is pulled, when each must have ended. Law:
 * gi_service_core_valid; each life that arrived is answered once (answer or
 * cut), whatever its handler does, and is over once. Survives: events that come
 * late, twice or never.
 *
 *   NEW -> [WAITING] -> [ARRIVING] -> RUNNING -> answered: DONE
 *                                        |  ^        ^
 *                                        |  `- JOB --+   the job of gate_call_run
 *                                        +--> KEPT --+   its keeper's last word
 *                                        +--> PULLED +   items, then their end
 *                                        `--> BULK --'   a huge result's last chunk
 */
#ifndef GI_SERVICE_CORE_H
#define GI_SERVICE_CORE_H

#include <gaterpc/error.h>
#include "mail/credit.h"
#include "service/core/life.h"
#include "sync/wheel.h"

/* What is to be done. None may come back into the core about another life; run,
 * gather and submit may end their own (gi_life_returned, gi_life_refuse). */
typedef struct gi_life_ops {
    /* Its handler runs now, or its pool has it until gi_life_returned. */
    void (*run)(gi_life_t *life);
    /* Asks for arguments that come in chunks, until gi_life_gathered. */
    void (*gather)(gi_life_t *life);
    /* While they come: does somebody still send them? */
    void (*look)(gi_life_t *life);
    /* Its job to a pool, until gi_life_job_back. The story says why not. */
    gate_err_t (*submit)(gi_life_t *life);
    /* One step of its generator: GATE_OK, GATE_EOS or what it failed with. */
    gate_err_t (*pull)(gi_life_t *life);
    bool (*may_pull)(gi_life_t *life);
    void (*unpull)(gi_life_t *life); /* frees the generator's state */
    /* One item to its reader. *queued: it went no further than our queue. The
     * story says why it cannot be. */
    gate_err_t (*send)(gi_life_t *life, const void *data, size_t size,
                       bool *queued);
    /* So much credit more for the pool's job. */
    void (*give)(gi_life_t *life, int64_t items, int64_t bytes);
    /* Whoever works for it may stop: nobody reads it any more. */
    void (*halt)(gi_life_t *life);
    /* A keeper's last word becomes its outcome. */
    gate_err_t (*last)(gi_life_t *life);
    /* The result for a caller elsewhere goes in chunks, though none was begun. */
    bool (*wants_bulk)(const gi_life_t *life);
    /* Its handler is back with outcome: the chunks go on alone. */
    gate_err_t (*bulk)(gi_life_t *life, gate_err_t outcome);
    void (*bulk_fail)(gi_life_t *life, const gate_error_t *story);
    /* The answer, once: its result or error, or the end of its stream. */
    void (*answer)(gi_life_t *life, gate_err_t outcome, bool streams);
    /* The same, before who has it gave it back: that story. */
    void (*cut)(gi_life_t *life, const gate_error_t *story, bool streams);
    /* It can be found by its id, or not any more. */
    void (*list)(gi_life_t *life, bool on);
    /* How long items have waited for a reader in this process. */
    int64_t (*idle)(const gi_life_t *life, int64_t now_ms);
    /* The core knows it no more. */
    void (*over)(gi_life_t *life);
} gi_life_ops_t;

typedef struct gi_service_core {
    const gi_life_ops_t *ops;
    const char *name;    /* of the service */
    int64_t limit;       /* calls under way; as many of brokers' may wait,
                            and of this process whatever was let in */
    int64_t call_max_ms; /* without a deadline; 0: for ever */
    int64_t now_ms;
    bool draining, stopping;
    gi_wheel_t *wheel;
    gi_life_t *live;
    size_t n_live;
    gi_life_t *waiting_head, **waiting_tail;
    size_t n_waiting, n_waiting_remote;
    gi_life_t *pulled;
    int64_t late_ms; /* when a late call was logged last */
    uint64_t n_late; /* since then */
    struct {
        uint64_t calls, errors, refused, items, cancelled;
    } stats;
} gi_service_core_t;

/* Borrows name and ops until fini. GATE_NOMEM. */
gate_err_t gi_service_core_init(gi_service_core_t *self, const char *name,
                                const gi_life_ops_t *ops,
                                int64_t now_ms) GATE_MUST;
void gi_service_core_fini(gi_service_core_t *self);
/* Deadlines, and those who wait for room. True: something was due. */
bool gi_service_core_tick(gi_service_core_t *self, int64_t now_ms);
int64_t gi_service_core_next(const gi_service_core_t *self);
/* The connection's callers are gone. */
void gi_service_core_lost(gi_service_core_t *self, const void *owner);
/* The service's end: everybody is told. */
void gi_service_core_stop(gi_service_core_t *self);
/* After each event: asserts the law, but in release builds. */
#ifdef GI_CHECK_LAWS
void gi_service_core_check(const gi_service_core_t *self);
#else
static inline void gi_service_core_check(const gi_service_core_t *self) {
    (void)self;
}
#endif
/* The law; walks everything. */
bool gi_service_core_valid(const gi_service_core_t *self);

/* ---- life_stream.c ------------------------------------------------------- */
/* Generators with credit, each for a while. True: there was one. */
bool gi_life_pull_all(gi_service_core_t *self);
/* A connection takes items again: what was owed for those in its queue is credit. */
void gi_life_unblock_all(gi_service_core_t *self, const void *owner);
void gi_life_wake(gi_life_t *life);  /* into the list of those to pull */
void gi_life_pause(gi_life_t *life); /* out of it */

/* ---- life.c: between its files ------------------------------------------- */
void gi_life_start(gi_life_t *life); /* there is room */
void gi_life_go(gi_life_t *life, gi_life_state_t next);
void gi_life_submit(gi_life_t *life);

/* ---- service_core.c: between its files ----------------------------------- */
void gi_service_core_list(gi_life_t *life);
void gi_service_core_unlist(gi_life_t *life);
void gi_service_core_wait(gi_life_t *life);
void gi_service_core_unwait(gi_life_t *life);
void gi_service_core_arm(gi_life_t *life);

#endif
