/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_state.h -- what a process pool knows: its jobs, its workers, itself.
 *
 * One mutex is over jobs, queues, tickets and what slots know of their jobs. It
 * is held while a job is written into a ring (a submitter may do that itself
 * when a worker has room), never while a sink is called. Only the dispatcher
 * thread reads responses, calls sinks, and changes a slot's process.
 *   slot:  EMPTY -> STARTING -> BORN -> UP -> DYING -> EMPTY | WAITING (a while)
 *   job:   FREE -> QUEUED <-> SENT -> ENDED -> FREE                          */
#ifndef GI_PROCS_STATE_H
#define GI_PROCS_STATE_H

#include <pthread.h>
#include "mail/doorbell.h"
#include "base/err.h"
#include "jobs/pool.h"
#include "procs/procs_fn.h"
#include "procs/procs_health.h"
#include "procs/procs_rsp.h"
#include "value/scan.h"
#include "shared/shm.h"
#include "procs/worker.h"
#include "procs/zygote.h"

#define GI_JOB_INLINE 160
#define GI_WORKERS_MAX 1024

typedef enum gi_job_state {
    GI_J_FREE,
    GI_J_QUEUED,
    GI_J_SENT,
    GI_J_ENDED
} gi_job_state_t;

struct gi_slot;
typedef struct gi_pjob {
    struct gi_pjob *next, *prev; /* in a queue, the ended or the free list */
    gi_job_state_t state;
    uint32_t index, generation; /* the ticket */
    struct gi_slot *slot;       /* where it was sent */
    uint32_t seq;               /* its cell there */
    uint64_t id;                /* of this sending, never used twice */
    uintptr_t fn_here;          /* its address in this process */
    uint64_t fn_at;             /* as gi_fn_ref_t */
    uint32_t args_len, kwargs_len;
    uint16_t name_len, user_len, meta_len, object_len;
    size_t size;         /* of the payload, which is all of the above */
    unsigned char *data; /* small or from gi_mem_alloc */
    int fd;              /* a large payload, in place of data; -1: none */
    unsigned char small[GI_JOB_INLINE];
    char name[48]; /* for texts */
    gate_job_options_t options;
    int64_t deadline_ms, queued_ms;
    int attempt, kills, doubts; /* deaths that others may have caused */
    unsigned n_inputs, n_parts; /* of several inputs; answered */
    bool plain;                 /* args are a peer's, and not huge */
    bool parked;                /* cannot be sent; tried again by the clock */
    int64_t parked_ms;          /* since when; 0 = never was */
    int park_error;             /* errno of the last time */
    bool streamed;              /* items were given: it cannot run again */
    bool soft_passed;           /* the flag is set */
    bool cancel_asked;
    int64_t kill_ms;                   /* when it is killed; INT64_MAX = not */
    gate_err_t kill_code;              /* how it ends then */
    size_t credit_items, credit_bytes; /* granted in all; 0 = unlimited */
    size_t items, bytes;               /* given */
    gate_queue_t *queues[GI_WORKER_FDS - 1];
    size_t n_queues;
    gi_run_t *runs[GI_JOB_RUNS];
    size_t n_runs;
    const gi_sink_t *sink;
    void *ctx;
    gi_error_t error; /* when ENDED, or an item was too large */
} gi_pjob_t;

typedef enum gi_slot_state {
    GI_S_EMPTY,    /* no process; to be started when wanted */
    GI_S_STARTING, /* asked the zygote */
    GI_S_BORN,     /* its init runs; gets no jobs yet */
    GI_S_UP,
    GI_S_DYING,  /* the process is dead; its status is on the way */
    GI_S_WAITING /* until retry_ms */
} gi_slot_state_t;

/* Why a worker ended. */
typedef enum gi_reason {
    GI_R_CRASH,
    GI_R_EXIT,
    GI_R_LIMIT,
    GI_R_CANCEL,
    GI_R_CORRUPT,
    GI_R_JOBS,
    GI_R_AGE,
    GI_R_RSS,
    GI_R_RESIZE,
    GI_R_IDLE,
    GI_R_SPAWN,
    GI_R_INIT,
    GI_R_ZYGOTE,
    GI_R_COUNT,
    GI_R_NONE = GI_R_COUNT
} gi_reason_t;

typedef struct gi_slot {
    struct gi_procs *pool;
    int index;
    uint64_t generation; /* of its process */
    gi_slot_state_t state;
    bool wanted;          /* false: to be let go by a resize */
    bool resting, hollow; /* it was idle; its memory has no pages */
    bool quitting;        /* gets no more jobs, leaves when it has none */
    bool doomed;          /* its job was ended, SIGKILL sent */
    bool stuck;           /* did not take what it was given; others go first */
    gi_reason_t reason;   /* of an end that we caused */
    gi_shm_t shm;
    gi_rsp_reader_t reader; /* the dispatcher's */
    gi_exchange_t *outbox;
    bool outbox_stuck; /* it cannot grow */
    int bell_fd, pidfd, out_fd, ctl_fd;
    pid_t pid;
    int status; /* as wait() gives it, -1 = not known */
    int64_t dying_ms, retry_ms, spawned_ms, rss_ms, quit_ms;
    int64_t ready_ms;
    bool was_ready;            /* when it died */
    bool began_any;            /* the dead one had begun a job */
    bool kill_again;           /* the zygote could not be asked yet */
    uint64_t n_done, rss_done; /* jobs of this process; when rss was read */
    /* requests: cells [front, tail) may hold jobs, [head, tail) are in use */
    uint32_t head, front, tail;
    int in_flight;
    gi_pjob_t **jobs;   /* by cell; NULL = ended or revoked */
    uint64_t *lane_end; /* by cell */
    uint64_t lane_tail, lane_free;
    int64_t front_ns; /* since when the front job is at the front */
    char line[900];   /* of its output, not yet ended */
    size_t line_len;
    int64_t held_ms; /* since when it is not read; 0 = it is */
} gi_slot_t;

typedef struct gi_jobq {
    gi_pjob_t *first, *last;
    size_t n;
} gi_jobq_t;

typedef struct gi_fn_known {
    uintptr_t fn;
    gi_fn_ref_t *ref; /* NULL = an address */
    bool stays;
    unsigned long long unloads; /* when it was looked up */
} gi_fn_known_t;

typedef struct gi_procs {
    char name[64];
    gate_pool_options_t options; /* resolved: no 0 that means a default */
    gate_pool_more_t more;
    gi_worker_config_t config; /* copied into each worker's memory */
    const gate_settings_t *settings;
    gi_limits_t limits, item_limits, part_limits; /* part: of a huge result */
    size_t result_max;
    pthread_t thread;
    gi_doorbell_t bell;
    int epoll_fd, channel;
    gi_exchange_t *inbox;
    gi_buf_t packed; /* a lent result for a sink that takes none */

    pthread_mutex_t resizing; /* one at a time; before lock */
    pthread_mutex_t lock;     /* over the rest */
    pthread_cond_t idle;      /* n_jobs became 0 */
    gi_slot_t **slots;        /* never freed before the pool */
    atomic_int n_slots;       /* made; only grows */
    int workers;              /* wanted */
    gi_jobq_t queue[3];       /* high, normal, parked */
    gi_jobq_t ended;          /* wait for the dispatcher to tell their sinks */
    gi_pjob_t *free;
    gi_pjob_t **jobs; /* all there ever were, by index */
    size_t n_all, room_all;
    size_t n_jobs;       /* not FREE */
    atomic_int n_fds;    /* of payloads */
    int64_t deadline_ms; /* the first that may have passed; INT64_MAX: none */
    int64_t unpark_ms;   /* when parked jobs are tried again */
    gi_fn_known_t known[64];
    uint64_t next_id, next_generation;
    int64_t run_ns;     /* a job's usual time, smoothed; gi_send_pace */
    int depth, pile;    /* what follows from it (procs_send.c) */
    int64_t tick_ms;    /* how long the dispatcher sleeps at most; 0 = awake */
    int64_t active_ns;  /* when it last had something to do */
    int64_t tidy_ns;    /* gi_limits_tidy then; INT64_MAX: all is */
    uint32_t n_tickets; /* generations of jobs, never used twice */
    bool closed, stopping, lost; /* lost: the zygote is gone */
    int64_t init_ms;             /* a worker has so long until it is ready */
    int room_wanted;             /* threads that wait for the queue to shrink */
    bool ending;    /* destroy: who waits for a reader is cancelled */
    int send_error; /* why the last gi_send could not; 0 = no room */
    gi_births_t births;
    gi_poison_t poison[GI_POISONS];
    int n_poison; /* functions that killed workers when they ran last */
    uint64_t done, failed, worker_lost, cancelled, restarts[GI_R_COUNT];
} gi_procs_t;

#endif
