/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_core.h -- what the files of the process pool share.
 *
 * One mutex is over jobs, queues, tickets and what slots know of their jobs. It
 * is held while a job is written into a ring (a submitter may do that itself
 * when a worker has room), never while a sink is called. Only the dispatcher
 * thread reads responses, calls sinks, and changes a slot's process.
 *
 *   slot:  EMPTY -> STARTING -> UP -> DYING -> EMPTY | WAITING (back-off)
 *   job:   FREE -> QUEUED <-> SENT -> ENDED -> FREE                          */
#ifndef GI_PROCS_CORE_H
#define GI_PROCS_CORE_H

#include <pthread.h>
#include "mail/doorbell.h"
#include "base/err.h"
#include "jobs/pool.h"
#include "procs/procs.h"
#include "procs/procs_fn.h"
#include "procs/procs_rsp.h"
#include "value/scan.h"
#include "shared/shm.h"
#include "procs/worker.h"
#include "procs/zygote.h"

#define GI_KILLS_MAX 3 /* a job that killed so many workers is quarantined */
#define GI_JOB_INLINE 160

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
    unsigned char small[GI_JOB_INLINE];
    char name[48]; /* for texts */
    gate_job_options_t options;
    int64_t deadline_ms, queued_ms;
    int attempt, kills;
    bool streamed;    /* items were given: it cannot run again */
    bool soft_passed; /* the flag is set */
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
    gi_error_t error; /* when ENDED */
} gi_pjob_t;

typedef enum gi_slot_state {
    GI_S_EMPTY,    /* no process; to be started when wanted */
    GI_S_STARTING, /* asked the zygote */
    GI_S_UP,
    GI_S_DYING,  /* the process is dead; its status is on the way */
    GI_S_WAITING /* until retry_ms */
} gi_slot_state_t;

/* Why a worker ended; s_reasons in procs.c has their names. */
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
    GI_R_SPAWN,
    GI_R_ZYGOTE,
    GI_R_COUNT,
    GI_R_NONE = GI_R_COUNT
} gi_reason_t;

typedef struct gi_slot {
    struct gi_procs *pool;
    int index;
    uint64_t generation; /* of its process */
    gi_slot_state_t state;
    bool wanted;        /* false: to be let go by a resize */
    bool quitting;      /* gets no more jobs, leaves when it has none */
    bool doomed;        /* its job was ended, SIGKILL sent */
    bool stuck;         /* did not take what it was given; others go first */
    gi_reason_t reason; /* of an end that we caused */
    gi_shm_t shm;
    gi_rsp_reader_t reader; /* the dispatcher's */
    gi_exchange_t *outbox;
    bool outbox_stuck; /* it cannot grow */
    int bell_fd, pidfd, out_fd, ctl_fd;
    pid_t pid;
    int status; /* as wait() gives it, -1 = not known */
    int64_t dying_ms, retry_ms, spawned_ms, rss_ms, quit_ms;
    uint64_t n_done, rss_done; /* jobs of this process; when rss was read */
    /* requests: cells [front, tail) may hold jobs, [head, tail) are in use */
    uint32_t head, front, tail;
    int in_flight;
    gi_pjob_t **jobs;   /* by cell; NULL = ended or revoked */
    uint64_t *lane_end; /* by cell */
    uint64_t lane_tail, lane_free;
    int64_t front_ns; /* since when the front job is at the front */
    char line[512];   /* of its output, not yet ended */
    size_t line_len;
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
    gi_worker_config_t config;   /* copied into each worker's memory */
    const gate_settings_t *settings;
    gi_limits_t limits; /* of results */
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
    gi_jobq_t queue[2];       /* by priority: high, normal */
    gi_jobq_t ended;          /* wait for the dispatcher to tell their sinks */
    gi_pjob_t *free;
    gi_pjob_t **jobs; /* all there ever were, by index */
    size_t n_all, room_all;
    size_t n_jobs;        /* not FREE */
    size_t n_deadlines;   /* queued jobs that have one */
    int64_t deadlines_ms; /* when they were looked at */
    gi_fn_known_t known[64];
    uint64_t next_id, next_generation;
    int64_t run_ns;    /* a job's usual time, smoothed; gi_send_pace */
    int depth, pile;   /* what follows from it (procs_send.c) */
    int64_t tick_ms;   /* how long the dispatcher sleeps at most; 0 = awake */
    int64_t active_ns; /* when it last had something to do */
    bool closed, stopping, lost; /* lost: the zygote is gone */
    bool degraded;
    int64_t *deaths; /* times of the last restart_max, a ring */
    size_t n_deaths;
    int64_t backoff_ms;
    uint64_t done, failed, worker_lost, cancelled, restarts[GI_R_COUNT];
} gi_procs_t;

/* ---- procs_job.c: jobs; lock held unless said otherwise ------------------ */
/* Copies the request; lets the lock go while it copies a large one. */
gate_err_t gi_pjob_new(gi_procs_t *p, const gi_request_t *r,
                       gi_pjob_t **out) GATE_MUST;
gi_pjob_t *gi_pjob_find(gi_procs_t *p, gi_ticket_t ticket); /* NULL: stale */
gi_ticket_t gi_pjob_ticket(const gi_pjob_t *job);
void gi_pjob_queue(gi_procs_t *p, gi_pjob_t *job, bool first);
gi_pjob_t *gi_pjob_next(gi_procs_t *p); /* not taken out; NULL: none */
void gi_pjob_unqueue(gi_procs_t *p, gi_pjob_t *job);
/* Ends it with an error, told by the dispatcher. Not in a slot, not queued. */
void gi_pjob_fail(gi_procs_t *p, gi_pjob_t *job, gate_err_t code,
                  const char *fmt, ...) GATE_PRINTF(4, 5);
void gi_pjob_free(gi_procs_t *p, gi_pjob_t *job); /* its sink has been told */
void gi_pjob_fini_all(gi_procs_t *p);

/* ---- procs_send.c: jobs into rings and back; lock held ------------------- */
/* A job's usual time, and how many jobs a worker is sent ahead. */
void gi_send_pace(gi_procs_t *p, int64_t run_ns);
/* The best slot with room; NULL: none. */
gi_slot_t *gi_send_pick(gi_procs_t *p);
/* False: no room. Publishes; wake the slot afterwards. */
bool gi_send(gi_slot_t *slot, gi_pjob_t *job);
gi_pjob_t *gi_send_front(gi_slot_t *slot);
/* Takes the front job out of the slot: it was answered, or its end is known. */
void gi_send_leave(gi_slot_t *slot, gi_pjob_t *job, bool worker_died,
                   int64_t now_ns);
/* Takes a job that was not begun out of the slot; false: it has begun. */
bool gi_send_revoke(gi_slot_t *slot, gi_pjob_t *job);
/* False: the worker's head is a lie. */
bool gi_send_refresh(gi_slot_t *slot);
/* What no honest worker does with the job at the front; NULL: nothing. When all
 * answers are read, after gi_send_refresh. */
const char *gi_send_doubt(gi_slot_t *slot);
/* Queued jobs into slots with room; wakes them. */
void gi_send_fill(gi_procs_t *p);
/* Work waits behind work while others idle: takes it back. */
void gi_send_steal(gi_procs_t *p, int64_t now_ns);
/* False: its worker has not claimed it. */
bool gi_send_begun(const gi_slot_t *slot, const gi_pjob_t *job);

/* ---- procs_slot.c: processes; dispatcher --------------------------------- */
gate_err_t gi_slot_new(gi_procs_t *p, gi_slot_t **out) GATE_MUST;
void gi_slot_free(gi_slot_t *slot);
void gi_slot_spawn(gi_slot_t *slot);                       /* lock held */
void gi_slot_spawned(gi_slot_t *slot, int pid, int pidfd); /* lock held */
void gi_slot_failed(gi_slot_t *slot, int error);           /* lock held */
/* Kills the process for a reason; lock held. */
void gi_slot_kill(gi_slot_t *slot, gi_reason_t reason);
/* The process is dead and its responses are read: ends or requeues its jobs,
 * decides when it is started again. lock held. */
void gi_slot_bury(gi_slot_t *slot);
/* Asks it to leave once it has no jobs. lock held. */
void gi_slot_quit(gi_slot_t *slot, gi_reason_t reason);
/* Lines that it wrote to stdout and stderr, to the log; no lock. */
void gi_slot_output(gi_slot_t *slot, bool last);

/* ---- procs_limits.c: time and size; dispatcher, lock held ---------------- */
/* Looks at soft and hard limits, cancels, ages; returns when to look again. */
int64_t gi_limits_check(gi_procs_t *p, int64_t now_ms);

/* ---- procs_channel.c: the zygote's words; dispatcher --------------------- */
void gi_channel_read(gi_procs_t *p);
/* Its process has ended, by its pidfd or the zygote's report; lock held. */
void gi_channel_dead(gi_slot_t *slot);

/* ---- procs_dispatch.c ---------------------------------------------------- */
void *gi_dispatch_main(void *pool);
/* epoll data of a slot's descriptors. */
enum { GI_EP_BELL, GI_EP_CHANNEL, GI_EP_PIDFD, GI_EP_OUT, GI_EP_SLOTBELL };
bool gi_dispatch_watch(gi_procs_t *p, int fd, int kind, int slot);

#endif
