/* SPDX-License-Identifier: BSD-3-Clause */
/* shm.h -- the memory that one worker process shares with its parent: one memfd
 * with a ring of requests, a ring of responses and a lane of payload for each.
 *
 *   the parent writes:  gi_shm_ctl_t | request cells | request lane
 *   the worker writes:  gi_shm_own_t | claims | response cells | response lane
 *
 * Made, sized, prefaulted and sealed by the parent; mapped by that worker
 * alone, the first half for reading only: a job with a wild pointer dies of it
 * instead of changing the arguments of the jobs behind it. The parent computes
 * every address from its own numbers and believes nothing that the worker
 * writes.
 *
 * Memory orders (the whole argument: docs/processes.md). A ring's tail is
 * stored release or stronger after its cells were written and loaded acquire
 * before they are read: that publishes the cells. A head is stored release
 * after the cells were read, loaded acquire before they are written again.
 * `sleeping` words pair with the tail as Dekker's algorithm does: the sleeper
 * stores sleeping, then looks at the tail; the producer stores the tail, then
 * looks at sleeping; all four seq_cst, or with a full fence between the
 * producer's two, so at least one sees the other and no wake-up is lost. (A
 * waker that takes the word to 0 saves the next ones theirs: the sleeper, once
 * awake, stores sleeping anew and looks again before it sleeps, and those
 * stores and looks are ordered as before.) A claim word changes by
 * compare-and-swap only (acq_rel): whoever moves it owns what follows. */
#ifndef GI_SHM_H
#define GI_SHM_H

#include <gaterpc/error.h>
#include <stdatomic.h>
#include "shared/exchange.h"
#include "shared/worker_config.h"
#include "settings/settings.h"

/* ---- a job's claim word: id << 3 | state --------------------------------- */
/*   READY --worker--> RUNNING --worker--> DONE
 *     |                  +------parent--> DOOMED (then SIGKILL)
 *     +------parent--> REVOKED (taken back, never run)                      */
enum gi_claim { GI_READY = 1, GI_RUNNING, GI_DONE, GI_DOOMED, GI_REVOKED };
#define GI_CLAIM(id, state) ((uint64_t)(id) << 3 | (state))

#define GI_REQ_INLINE 112
typedef struct gi_req_cell {
    /* credit in all, UINT64_MAX = unlimited; grows while the job runs */
    _Alignas(64) _Atomic uint64_t items;
    _Atomic uint64_t bytes;
    _Atomic uint32_t cancel; /* the handler is asked to stop */
    uint32_t attempt;
    int64_t deadline_ms;
    uint32_t args_len, kwargs_len;
    /* the payload is these, in this order, name, user and object with NUL */
    uint16_t name_len, user_len, meta_len, object_len;
    uint16_t n_queues; /* descriptors on the control socket */
    uint16_t where;    /* gi_where_t of the payload */
    uint16_t n_runs;   /* payload ends with so many gi_run_ref_t */
    uint8_t takes;     /* huge items; plain args, as a peer may send */
    uint8_t n_inputs;  /* args are so many, kwargs where each ends */
    uint64_t id;       /* what its claim word must say */
    uint64_t fn;       /* address, or offset in object */
    uint64_t at;       /* offset in the lane, or size of the descriptor */
    unsigned char data[GI_REQ_INLINE];
} gi_req_cell_t;
_Static_assert(sizeof(gi_req_cell_t) == 192, "64 of control, 128 of payload");

/* An argument that lies in the pool's inbox; unaligned. */
typedef struct gi_run_ref {
    uint64_t at, size;
} gi_run_ref_t;
#define GI_JOB_RUNS 8
typedef enum gi_where { GI_INLINE, GI_LANE, GI_FD } gi_where_t;
enum { GI_TAKES_HUGE = 1, GI_TAKES_PLAIN = 2 };

#define GI_RSP_INLINE 104
typedef enum gi_rsp_kind {
    GI_RSP_DONE = 1, /* a packed result */
    GI_RSP_EOS,      /* the end after items */
    GI_RSP_ERROR,    /* code and strings, gi_shm_error */
    GI_RSP_ITEM,     /* one packed item */
    GI_RSP_PART,     /* the packed result of one of several inputs */
    GI_RSP_FAULT     /* its error */
} gi_rsp_kind_t;
#define GI_RSP_IN_LANE 1u
#define GI_RSP_MORE 2u /* a chunk: goes on in the next cell */
#define GI_RSP_LENT 4u /* size bytes in the outbox, from unit `at` on */
typedef struct gi_rsp_cell {
    uint64_t id;
    uint8_t kind, flags;
    uint16_t sum; /* rsp_sum.h */
    uint32_t size;
    uint32_t run_ns; /* how long the job ran; advice only */
    uint32_t at;     /* offset in the lane, in GI_LANE_ALIGN, or a unit */
    unsigned char data[GI_RSP_INLINE];
} gi_rsp_cell_t;
_Static_assert(sizeof(gi_rsp_cell_t) == 128, "two cache lines");

/* The worker reads it. */
typedef struct gi_shm_ctl {
    _Alignas(64) _Atomic uint32_t req_tail;
    _Atomic uint32_t rsp_head;
    _Atomic uint32_t bell; /* the worker's futex */
    _Atomic uint32_t quit;
    _Atomic uint64_t rsp_free;  /* response lane: free below this position */
    _Atomic uint32_t out_units; /* of the outbox that have pages */
    _Alignas(64) gi_worker_config_t config;
    /* outbox (exchange.h): how often each unit came back, and at the start how
     * often it had been given */
    _Alignas(64) _Atomic uint32_t returned[GI_OUTBOX_UNITS];
    uint32_t given[GI_OUTBOX_UNITS];
} gi_shm_ctl_t;

typedef struct gi_shm_own {
    _Alignas(64) _Atomic uint32_t req_head;
    _Atomic uint32_t rsp_tail;
    _Atomic uint32_t out_wanted; /* units that the outbox should have */
    _Atomic uint32_t ready;      /* 1: its init has ended */
    char why[200];               /* it could not become what it should */
    /* gi_sleep_t; 0 = awake or being woken; each submission looks at it, so it
     * is not in a line that each job writes */
    _Alignas(64) _Atomic uint32_t sleeping;
    /* set by the parent before it sleeps, cleared by whoever wakes it */
    _Alignas(64) _Atomic uint32_t parent_sleeping;
} gi_shm_own_t;

/* One a request cell, each in a cache line of its own. */
typedef struct gi_claim_cell {
    _Alignas(64) _Atomic uint64_t word;
} gi_claim_cell_t;

/* One side's view; plain numbers of its own. */
typedef struct gi_shm {
    int fd; /* -1 once closed */
    unsigned char *base;
    size_t size;
    gi_shm_ctl_t *ctl;
    gi_shm_own_t *own;
    gi_claim_cell_t *claims;
    gi_req_cell_t *req;
    gi_rsp_cell_t *rsp;
    unsigned char *req_lane, *rsp_lane;
    uint32_t cells; /* of each ring, a power of two */
    uint64_t lane_bytes;
} gi_shm_t;

/* Brings a line that this side writes next from the other's cache. */
static inline void gi_shm_prefetch(const void *line) {
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* The claim word of the request with number seq. */
static inline _Atomic uint64_t *gi_shm_claim(const gi_shm_t *self,
                                             uint32_t seq) {
    return &self->claims[seq & (self->cells - 1)].word;
}
static inline gi_req_cell_t *gi_shm_request(const gi_shm_t *self,
                                            uint32_t seq) {
    return &self->req[seq & (self->cells - 1)];
}
/* Parent: makes one with all its pages: a full machine is GATE_NOMEM or
 * GATE_SYSTEM now, no SIGBUS later. cells is rounded up, lane_bytes down. */
gate_err_t gi_shm_new(gi_shm_t *self, uint32_t cells,
                      uint64_t lane_bytes) GATE_MUST;
/* Worker: maps what fd holds; its own children do not inherit it. */
gate_err_t gi_shm_map(gi_shm_t *self, int fd) GATE_MUST;
void gi_shm_fini(gi_shm_t *self);
/* Parent, without a worker: pages go; come again, false with errno. */
void gi_shm_hollow(gi_shm_t *self);
bool gi_shm_fill(gi_shm_t *self) GATE_MUST;
/* Parent: as new, for the next worker; the last one must be dead. */
void gi_shm_reset(gi_shm_t *self);
/* What a worker sleeps for. */
typedef enum gi_sleep {
    GI_SLEEP_WORK = 1, /* a request, or to quit */
    GI_SLEEP_ROOM = 2, /* in the response ring or lane */
    GI_SLEEP_CREDIT = 4
} gi_sleep_t;
/* Parent: wakes the worker if it sleeps for that; after storing it. Whoever
 * takes the word pays for the system call, later ones nothing. */
void gi_shm_wake(gi_shm_t *self, gi_sleep_t what);

/* False: the machine has fewer pages left; tmpfs would call the OOM killer. */
bool gi_shm_fits(size_t size);
/* Makes the pages of [from, from + size) of a mapped memfd; false with errno. */
bool gi_shm_pages(int fd, void *base, size_t from, size_t size);
/* A sealed memfd of size bytes, all pages there, mapped; errno says why not. */
gate_err_t gi_shm_memfd(const char *name, size_t size, int *fd,
                        void **base) GATE_MUST;

/* An error as a response's payload: 4 uint32_t (code, lengths of class, text
 * and traceback), then the strings, each with a NUL. Returns the size; parts
 * are cut to fit room. */
size_t gi_shm_error_pack(const gate_error_t *story, unsigned char *out,
                         size_t room);
/* Borrows from data; false for what no pack has written. */
bool gi_shm_error_read(const void *data, size_t size, gate_error_t *story);

#endif
