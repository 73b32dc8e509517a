/* SPDX-License-Identifier: BSD-3-Clause */
/* worker.h -- a worker process, from the zygote's fork to its end.
 * It believes its parent. Thread: one; it never touches ZeroMQ. */
#ifndef GI_WORKER_H
#define GI_WORKER_H

#include "call.h"
#include "shm.h"

#define GI_WORKER_FDS 15 /* of one job: queues and a large payload */

typedef struct gi_worker {
    gate_call_t call; /* of the job that runs; first, ops come back by it */
    gi_shm_t shm;
    gi_worker_config_t config;
    gate_settings_t settings; /* defaults with config's limits and hooks */
    void *ctx;                /* what init returned */
    int bell_fd, ctl_fd;
    uint32_t req_head, rsp_tail;
    uint64_t lane_tail;    /* of the response lane */
    uint32_t unreported;   /* responses the parent was not woken for */
    int64_t unreported_ns; /* since when */
    int64_t began_ns;      /* of the job that runs */
    int64_t ended_ns;      /* of the job before it; 0 = we waited since */
    /* the job that runs */
    gi_req_cell_t *cell;
    uint64_t id;
    uint64_t items, bytes; /* yielded */
    struct gate_queue *queues[GI_WORKER_FDS];
    int n_queues;
} gi_worker_t;

/* The memfd, the parent's doorbell, where stdout and stderr go, the control
 * socket that descriptors come by. */
void gi_worker_main(int shm_fd, int bell_fd, int out_fd, int ctl_fd)
    __attribute__((noreturn));
/* worker_job.c: runs the job at req_head, unless it was revoked. */
void gi_worker_job(gi_worker_t *self);
/* worker_out.c: waits until ready(self); the parent knows all we said. */
typedef bool gi_worker_ready_fn(const gi_worker_t *self);
void gi_worker_wait(gi_worker_t *self, gi_worker_ready_fn *ready,
                    gi_sleep_t what);
/* A response, in chunks when it must be; waits for room. */
void gi_worker_respond(gi_worker_t *self, gi_rsp_kind_t kind, const void *data,
                       size_t size);
/* Wakes the parent if it sleeps and was not told of something. */
void gi_worker_ring(gi_worker_t *self);

#endif
