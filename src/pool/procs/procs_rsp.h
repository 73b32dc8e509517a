/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_rsp.h -- the parent's reader of a worker's response ring: copies first,
 * then looks, so that nothing changes under it. What does not fit is a lie and
 * costs the worker its life, never the parent.
 * Thread: the dispatcher. Owns: the copies, until the next read. */
#ifndef GI_PROCS_RSP_H
#define GI_PROCS_RSP_H

#include "base/buf.h"
#include "shared/shm.h"

#define GI_RSP_BATCH 64
#define GI_RSP_BATCH_BYTES ((size_t)256 << 10)

typedef struct gi_rsp_rec {
    uint64_t id;
    gi_rsp_kind_t kind;
    uint32_t run_ns;
    bool no_memory; /* the payload could not be copied */
    bool too_big;   /* it is msgpack, as far as it was looked at */
    gi_run_t *run;  /* a lent result: whoever takes rec releases it */
    const unsigned char *data;
    size_t size;
} gi_rsp_rec_t;

typedef struct gi_rsp_reader {
    gi_shm_t *shm;
    uint32_t head;
    uint64_t lane_tail;    /* where the worker's next run must lie */
    gi_exchange_t *outbox; /* NULL: nothing can be lent */
    size_t result_max;
    gi_buf_t batch;   /* payloads of recs */
    gi_buf_t partial; /* chunks of a payload under way */
    uint64_t partial_id;
    uint8_t partial_kind; /* 0 = none under way */
    bool partial_given;   /* to be emptied by the next read */
    const char *lie;      /* what was wrong; NULL = nothing */
    gi_rsp_rec_t recs[GI_RSP_BATCH];
    size_t n;
} gi_rsp_reader_t;

/* For a new worker on the same memory; keeps buffers. */
void gi_rsp_reset(gi_rsp_reader_t *self, gi_shm_t *shm, gi_exchange_t *outbox,
                  size_t result_max);
void gi_rsp_fini(gi_rsp_reader_t *self);
/* Reads a batch into recs; true when there may be more. After a lie (lie is
 * set) recs hold what came before it. */
bool gi_rsp_read(gi_rsp_reader_t *self);
/* A payload that came in chunks, as it was put together: the caller's
 * (gi_mem_free). NULL: it came in one. */
void *gi_rsp_take(gi_rsp_reader_t *self, const gi_rsp_rec_t *rec);

#endif
