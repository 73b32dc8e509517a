/* SPDX-License-Identifier: BSD-3-Clause */
/* map.h -- what the files of maps share; room-internal.
 *   map.c       its life, its inputs, its reader; a pool that others have filled
 *   map_run.c   jobs and results: what is submitted when, and what comes back
 *
 * At most GI_MAP_WINDOW inputs are between "submitted" and "read": under way in
 * the pool, waiting for their turn (ordered), or in the stream. The same in
 * bytes: what waits and what those under way will probably bring stay below
 * GI_MAP_BYTES, or one input alone is under way.
 *
 * Law: the mutex is never held while the pool, the stream's user or the
 * generator is called; streams are pushed to with it held, which keeps the
 * items in order. */
#ifndef GI_MAP_H
#define GI_MAP_H

#include <pthread.h>
#include <stdint.h>
#include "async/stream.h"
#include "base/buf.h"
#include "base/err.h"
#include "jobs/submit.h"
#include "sync/ref.h"

#define GI_MAP_WINDOW 1024
#define GI_MAP_BYTES ((size_t)64 << 20)
#define GI_MAP_BLIND 16 /* under way before the size of any result is known */
#define GI_MAP_CHUNK 64 /* inputs of one job */
#define GI_MAP_CHUNK_NS 50000 /* which take about so long */

typedef struct gi_map gi_map_t;

/* The inputs [index, index + n) of one job, under way or to be done again. */
typedef struct gi_map_try {
    struct gi_map_try *next, *prev;
    gi_map_t *map;
    size_t index, n;
    size_t n_done;             /* answered */
    gi_ticket_t ticket;        /* 0 until submit has returned */
    const unsigned char *data; /* args arrays, one behind the other */
    unsigned char *own;        /* the same when it is the try's; or NULL */
    uint32_t ends[];           /* where each ends */
} gi_map_try_t;

typedef struct gi_map_result {
    char *data; /* NULL: not there yet */
    size_t size;
    bool failed; /* data is a gi_error_t */
} gi_map_result_t;

struct gi_map {
    gi_ref_t ref; /* the starter's, the stream's producer side, one per try */
    gi_pool_shared_t *pool; /* entered for each use: it may have gone */
    const gate_settings_t *settings; /* that outlive it */
    gate_fn *fn;
    gate_map_more_t more;
    gate_job_options_t job;
    int64_t deadline_ms;
    bool chunks;           /* several short inputs may be one job */
    gate_stream_t *stream; /* producer's side */
    pthread_mutex_t mutex; /* of everything below */
    pthread_cond_t still;  /* nobody pumps any more */
    bool pumping, again;   /* somebody pumps; and shall look once more */
    pthread_t pumper;      /* who, while pumping */
    bool waiting;          /* a thread waits for room in the pool */
    bool over;             /* ended or failed: nothing more is pushed */
    bool stopping;         /* nothing more is submitted */
    size_t n;              /* inputs; SIZE_MAX: the generator knows */
    size_t submitted;      /* taken from the inputs */
    size_t pushed;         /* results in the stream, or read */
    size_t under_way;      /* inputs */
    size_t unread;         /* in the stream */
    size_t waiting_bytes;  /* of results, in the stream or before */
    size_t usual;       /* size of a result: the largest of late; 0: unknown */
    size_t chunk;       /* inputs of the next job */
    gi_map_try_t *redo; /* what shall be submitted first, by next */
    size_t fail_at;     /* the lowest index that ends the map; SIZE_MAX: none */
    gi_error_t error;
    gate_err_t ended;       /* what the generator said last; by whoever pumps */
    gi_error_t end_error;   /* its story */
    gi_map_result_t *early; /* ordered: results of index % GI_MAP_WINDOW */
    gi_buf_t packed;        /* all inputs as args arrays; none of a generator */
    size_t *ends;           /* where each ends in packed */
    gi_map_try_t tries; /* ring of those under way; last, for its open end */
};

/* ---- map.c --------------------------------------------------------------- */
void gi_map_drop(gi_map_t *self);
/* At most n inputs from number submitted on as a try that nobody has yet; NULL:
 * there are no more (self->n is set), or with the story set. Not with the
 * mutex; by whoever pumps. */
gi_map_try_t *gi_map_take(gi_map_t *self, size_t n);

/* ---- map_run.c ----------------------------------------------------------- */
/* Submits what the window allows. reader: the generator may be called here. */
void gi_map_run(gi_map_t *self, bool reader);
void gi_map_run_cancel(gi_map_t *self);
void gi_map_run_free(gi_map_try_t *try);
/* The map ends at that input with err; with the mutex held. */
void gi_map_run_fail(gi_map_t *self, size_t index, const gate_error_t *err);

/* ---- map.c --------------------------------------------------------------- */
/* Runs it again when the pool has room; self->waiting until then. */
void gi_map_room_wait(gi_map_t *self);

#endif
