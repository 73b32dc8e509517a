/* SPDX-License-Identifier: BSD-3-Clause */
/* service_own.h -- what a service's actor alone owns, for the files that run on
 * its thread. */
#ifndef GI_SERVICE_OWN_H
#define GI_SERVICE_OWN_H

#include "service/service_impl.h"
#include "net/frames.h"
#include "service/core/arrivals.h"
#include "service/core/service_core.h"
#include "service/service_link.h"
#include "wire/row.h"

typedef struct gi_readers gi_readers_t;

#define GI_SCALL_FEW 64 /* lists of calls by id, at first; power of two */
#define GI_SERVICE_JOBS 64

/* Calls as objects: service_table.c. */
typedef struct gi_stable {
    gi_scall_t *free;
    size_t n_free;
    gi_scall_t **lists; /* of brokers' calls, by hash; few until they grow */
    size_t n_lists, n_listed;
    gi_scall_t *few[GI_SCALL_FEW];
} gi_stable_t;

typedef struct gi_sstats {
    uint64_t dropped, huge, chunks;
} gi_sstats_t;

/* Small items of one stream that wait for others of this pass. */
typedef struct gi_swaiting {
    gi_scall_t *call; /* a reference; NULL: none waits */
    gi_row_t row;
} gi_swaiting_t;

typedef struct gi_service_own {
    gi_service_core_t core;
    gi_link_t *links;
    size_t n_links;
    gi_stable_t table;
    gi_job_t *jobs[GI_SERVICE_JOBS]; /* on their way to threads */
    size_t n_jobs;
    gate_pool_t *jobs_pool; /* theirs */
    size_t n_left;     /* local calls that ended and are still in gauge local */
    gi_shuge_t *huges; /* under way */
    gi_readers_t *readers;  /* callers that read huge results; NULL: none yet */
    gi_arrivals_t arrivals; /* the huge arguments under way */
    gi_smail_t *mail, **mail_last; /* to itself */
    gi_buf_t scratch;
    int64_t reached_ms, worked_ms; /* some broker had us; we looked last */
    int64_t born_ms;               /* when it began */
    bool idle;                     /* drained, and told so */
    gi_sstats_t stats;
    gi_swaiting_t *waiting; /* NULL: no stream took one yet */
    gi_frames_t in, out;    /* last: who has no broker touches neither */
} gi_service_own_t;

#define GI_SCALL_KEEP_BYTES 16384 /* larger buffers are not kept for reuse */

/* ---- service_actor.c ----------------------------------------------------- */
void gi_service_drain(gate_service_t *self); /* takes nothing new */
/* A connection more to the broker behind the link's listener. */
gate_err_t gi_service_follow(gi_link_t *link) GATE_MUST;

/* ---- service_trace.c ----------------------------------------------------- */
/* Appends one map: how this service stands. Waits for its pools' locks. */
void gi_service_report(gate_service_t *self, gi_buf_t *out);

#endif
