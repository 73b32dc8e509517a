/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.h -- a worker process, from the zygote's fork to its end.
 * It believes its parent. Thread: one; it never touches ZeroMQ. */
#ifndef GI_WORKER_H
#define GI_WORKER_H

#include "jobs/call.h"
#include "shared/shm.h"

#define GI_EXIT_SPOILT 126 /* a job, maybe an earlier one, spoilt it */
#define GI_WORKER_FDS 15   /* of one job: queues and a large payload */

typedef struct gi_worker {
    gate_call_t call; /* of the job that runs; first, ops come back by it */
    gi_shm_t shm;
    gi_worker_config_t config;
    gate_settings_t settings; /* defaults with config's limits and hooks */
    void *ctx;                /* what init returned */
    pid_t zygote;
    int bell_fd, ctl_fd, inbox_fd, outbox_fd;
    uint32_t req_head, rsp_tail;
    uint64_t lane_tail;    /* of the response lane */
    uint32_t unreported;   /* responses the parent was not woken for */
    int64_t unreported_ns; /* since when */
    int64_t began_ns;      /* of the job that runs */
    int64_t ended_ns;   /* when the clock was last read; 0 = we waited since */
    bool brief;         /* the last mean of run times */
    uint32_t unclocked; /* jobs that ended since */
    uint32_t spin_misses; /* in a row */
    uint32_t spin_skip;   /* waits that do not spin */
    uint32_t streak;      /* jobs since the requests last ran out */
    /* the job that runs */
    gi_req_cell_t *cell;
    uint64_t id;
    uint64_t items, bytes; /* yielded */
    uint32_t inputs_left;  /* behind the one that runs, of several */
    struct gate_queue *queues[GI_WORKER_FDS];
    int n_queues;
    gi_run_ref_t runs[GI_JOB_RUNS];
    /* inbox and outbox as far as they are mapped (worker_shared.c) */
    unsigned char *inbox, *outbox;
    size_t inbox_size, outbox_size;
    uint32_t *given; /* by unit of the outbox, as exchange.h has it */
    uint32_t cursor;
    uint32_t lent_at, lent_units;
    size_t lent_size; /* the result of the job that runs */
} gi_worker_t;

/* Its descriptors, in the order of zygote.h. */
void gi_worker_main(const int *fds) __attribute__((noreturn));
/* Takes jobs until it is told to quit and has none; also of tests, in whose
 * threads workers run. */
void gi_worker_loop(gi_worker_t *self);
/* worker_job.c: runs the job at req_head, unless it was revoked. */
void gi_worker_job(gi_worker_t *self);
/* worker_out.c: waits until ready(self); the parent knows all we said. */
typedef bool gi_worker_ready_fn(const gi_worker_t *self);
void gi_worker_wait(gi_worker_t *self, gi_worker_ready_fn *ready,
                    gi_sleep_t what);
/* A response, in chunks when it must be; waits for room. */
void gi_worker_respond(gi_worker_t *self, gi_rsp_kind_t kind, const void *data,
                       size_t size);
/* The result that was built in the outbox. */
void gi_worker_respond_lent(gi_worker_t *self, size_t size);
/* worker_shared.c: ops of a call. */
gate_err_t gi_worker_refer(gate_call_t *call) GATE_MUST;
void *gi_worker_lend(gate_call_t *call, size_t size);
/* A job closed what it had not opened (closefrom): nobody would hear us. */
void gi_worker_no_bell(void) __attribute__((noreturn));
/* Wakes the parent if it sleeps and was not told of something. */
void gi_worker_ring(gi_worker_t *self);

#endif
