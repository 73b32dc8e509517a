/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.h -- where work runs: threads, forked worker processes, or an executor
 * of your own. Usable without any RPC; the same function is later a method. */
#ifndef GATERPC_POOL_H
#define GATERPC_POOL_H

#include <gaterpc/future.h>
#include <gaterpc/stream.h>

GATE_BEGIN_DECLS

/* A handler or job. It reads its arguments with gate_args, answers with
 * gate_return (or gate_raise, gate_yield, ...) and returns what those gave. */
typedef gate_err_t gate_fn(gate_call_t *call);

/* 0 = the setting's value or no limit. */
typedef struct gate_pool_options {
    const char *name;       /* in logs and process titles */
    int workers;            /* threads or processes */
    int queue_max;          /* jobs waiting; beyond: GATE_BUSY */
    int64_t max_jobs;       /* process: recycled after so many jobs */
    int64_t max_age_ms;     /* process: recycled at this age */
    int64_t max_rss_bytes;  /* process: recycled beyond this resident size */
    int64_t soft_ms;        /* a job's soft limit: gate_call_cancelled() */
    int64_t hard_ms;        /* process: a job's hard limit: killed */
    int64_t grace_ms;       /* process: from cancel to kill */
    int nice;               /* process */
    const char *cpus;       /* process: affinity, "0-3,6" */
    int64_t limit_as_bytes; /* process: RLIMIT_AS */
    int64_t limit_cpu_s;    /* process: RLIMIT_CPU */
    int64_t limit_files;    /* process: RLIMIT_NOFILE */
    bool core_dumps;        /* process: allowed */
    int restart_max; /* process: deaths within restart_period_ms before */
    int64_t restart_period_ms; /*   the pool is degraded and backs off */
    void *(*init)(void); /* process: runs in each new worker; gate_call_ctx */
} gate_pool_options_t;

/* A worker process, as its start sees it. */
typedef struct gate_worker {
    const char *pool;    /* its name */
    int number;          /* 0 .. workers - 1; its successor has the same */
    uint64_t generation; /* of all workers of the pool; never twice */
    void *ctx;           /* what init gave; what gate_call_ctx shall give */
} gate_worker_t;

/* What process pools can be told besides; all zero = nothing. It grows at its
 * end: size says what the program knows of it, and gate_procs_with fills it
 * in. Everything is copied, but what start is given. */
typedef struct gate_pool_more {
    size_t size; /* sizeof(gate_pool_more_t) */
    /* Who jobs run as: a name or a number. NULL: as this process is when the
     * worker starts, also when that has changed since gate_process_init. */
    const char *user, *group;
    const char *chdir;      /* done as that user */
    const char *umask;      /* octal */
    const char *const *env; /* "NAME=value", NULL at the end: added */
    /* Runs in each new worker, after init, before its first job. An error and
     * the worker leaves: the pool is broken when none comes up. */
    gate_err_t (*start)(gate_worker_t *self, void *arg);
    void *arg;              /* of start; as it was when the zygote was forked */
    void (*end)(void *ctx); /* before a worker leaves that is asked to */
    bool by_exit;    /* it leaves by exit(): atexit, gcov, sanitizers; also
                        * the handlers that the program had registered before
                        * gate_process_init */
    int64_t init_ms; /* init and start are killed after; 0 = 60 s, -1 = no */
    /* A worker that had no job for so long leaves, and its memory goes back;
     * 0 or -1 = it stays. Jobs that wait bring workers back. idle_workers stay
     * in any case. */
    int64_t idle_ms;
    int idle_workers;
} gate_pool_more_t;

/* A pool of threads; gate_procs_new: of worker processes, gate_procs_new_with:
 * with what more says. NULL options = all defaults. NULL with gate_error() set
 * when the threads, the zygote or the memory cannot be had. */
GATE_API gate_pool_t *gate_threads_new(gate_runtime_t *rt,
                                       const gate_pool_options_t *options);
GATE_API gate_pool_t *gate_procs_new(gate_runtime_t *rt,
                                     const gate_pool_options_t *options);
GATE_API gate_pool_t *gate_procs_new_with(gate_runtime_t *rt,
                                          const gate_pool_options_t *options,
                                          const gate_pool_more_t *more);
/* Must run run(arg) exactly once, on any thread, now or later, or return an
 * error and never run it. */
typedef gate_err_t gate_submit_fn(void *ctx, void (*run)(void *arg), void *arg);
/* An executor of your own. NULL: no memory, or no submit. */
GATE_API gate_pool_t *gate_pool_custom(gate_runtime_t *rt,
                                       gate_submit_fn *submit, void *ctx);
/* Refuses new jobs, waits for those under way, frees. A job that would wait for
 * its stream's reader is cancelled. Futures and streams may live on. In a job or
 * callback of its own it does not wait: it ends when that has returned, and
 * gate_pool_drain, _stop (but with a timeout of 0), of processes also _ready and
 * _room, are GATE_WOULDBLOCK there. In a child of fork() it lets go of a pool that the
 * parent made, whose every other verb is GATE_CLOSED there. */
GATE_API void gate_pool_destroy(gate_pool_t **self_p);
/* Refuses new jobs and waits up to timeout_ms until none is left. */
GATE_API gate_err_t gate_pool_drain(gate_pool_t *self,
                                    int64_t timeout_ms) GATE_MUST;
/* Refuses new jobs, ends what `what` names with GATE_CANCELLED, and waits up to
 * timeout_ms until none is left. GATE_STOP_RUNNING: a worker process is killed
 * with all that it started; a thread cannot be, its job is asked to stop
 * (gate_call_cancelled). Destroy is what comes next. */
typedef enum gate_stop {
    GATE_STOP_QUEUED = 1, /* jobs that nobody has begun */
    GATE_STOP_RUNNING = 2
} gate_stop_t;
GATE_API gate_err_t gate_pool_stop(gate_pool_t *self, unsigned what,
                                   int64_t timeout_ms) GATE_MUST;
/* Process pools: waits up to timeout_ms until a worker has come up (its init
 * has ended). GATE_BUSY: none does, and why; GATE_CLOSED: none can any more.
 * Others are ready when they are made. */
GATE_API gate_err_t gate_pool_ready(gate_pool_t *self,
                                    int64_t timeout_ms) GATE_MUST;
/* Waits up to timeout_ms until fewer than queue_max jobs wait, so that the next
 * submission is taken; with one submitting thread it is. A custom pool's room
 * is not known: GATE_OK. */
GATE_API gate_err_t gate_pool_room(gate_pool_t *self,
                                   int64_t timeout_ms) GATE_MUST;
/* Process and thread pools: changes the number of workers while running. */
GATE_API gate_err_t gate_pool_resize(gate_pool_t *self, int workers) GATE_MUST;
/* Gives: {kind, workers, queued, oldest_ms, running, done, failed, lost,
 * cancelled, restarts: {reason: n}, state}, of processes also alive and
 * starting. queued: nobody has begun it, wherever it waits. state: running,
 * closed; of processes also degraded (births are delayed), broken (no worker
 * comes up: jobs are refused), lost (none can any more); and each: of the first
 * 64 workers [pid, "idle", "run", "new" or "dead", ms in its job, jobs done, name
 * of its job]. NULL only for lack of memory. */
GATE_API gate_value_t *gate_pool_stats(gate_pool_t *self);

/* GATE_HIGH: before all jobs that wait and are not (a custom pool's order is
 * its own). */
typedef enum gate_priority { GATE_NORMAL, GATE_HIGH } gate_priority_t;
/* Of one job; 0 = usual. Copied. */
typedef struct gate_job_options {
    gate_priority_t priority;
    bool idempotent;          /* may run again when its worker dies */
    int max_attempts;         /* with idempotent; 0 = 3 */
    int64_t soft_ms, hard_ms; /* 0 = the pool's */
} gate_job_options_t;

/* Gives, never NULL; a full queue is GATE_BUSY in the future. */
GATE_API gate_future_t *gate_submit_(gate_pool_t *self, gate_fn *fn,
                                     const gate_arg_t *args, size_t n);
/* The same, of a job with options. */
GATE_API gate_future_t *gate_submit_with_(gate_pool_t *self, gate_fn *fn,
                                          const gate_job_options_t *options,
                                          const gate_arg_t *args, size_t n);
/* A job without a future. GATE_OK: done is told once how it ended, as by
 * gate_future_then without a queue: on the thread that ends it, so it must not
 * block; it may submit. done NULL: nobody is told (gate_pool_stats counts what
 * failed). Any other error: it is not run, and done is not called. options may
 * be NULL. */
GATE_API gate_err_t gate_submit_then_(gate_pool_t *self, gate_fn *fn,
                                      const gate_job_options_t *options,
                                      gate_done_fn *done, void *ctx,
                                      const gate_arg_t *args,
                                      size_t n) GATE_MUST;
/* Opens a job that yields: gives its stream. */
GATE_API gate_err_t gate_submit_stream_(gate_pool_t *self, gate_fn *fn,
                                        gate_stream_t **stream,
                                        const gate_arg_t *args,
                                        size_t n) GATE_MUST;
/* The same with options; their soft_ms and hard_ms are the whole job's. */
GATE_API gate_err_t gate_submit_stream_with_(gate_pool_t *self, gate_fn *fn,
                                             const gate_job_options_t *options,
                                             gate_stream_t **stream,
                                             const gate_arg_t *args,
                                             size_t n) GATE_MUST;

/* ---- one function, many inputs ------------------------------------------- */
/* Runs fn over each input (a list is spread over the parameters) and gives the
 * results as a stream, in the order of the inputs or as they come. A failure
 * of one ends the stream with its error. Inputs are copied; what a loop builds
 * them in is gate_items_t. While the reader is slow, or the first in order is,
 * at most 1,024 results and about 64 MiB of them are kept: no further input is
 * given to the pool meanwhile. A pool whose queue others have filled is waited
 * for. */
GATE_API gate_err_t gate_pool_map(gate_pool_t *self, gate_fn *fn,
                                  const gate_arg_t *inputs, size_t n,
                                  bool ordered,
                                  gate_stream_t **results) GATE_MUST;
/* What a map can be told besides; all zero = as they come, the first failure
 * ends it. It grows at its end: gate_pool_map_with fills in size. */
typedef struct gate_map_more {
    size_t size; /* sizeof(gate_map_more_t) */
    bool ordered;
    /* A failure is that input's alone: gate_stream_next gives its error in its
     * place (gate_stream_index: whose), and goes on. Then gate_stream_error
     * has code GATE_OK; an error of the stream itself is the map's end. */
    bool errors;
    const gate_job_options_t *job; /* of each input; copied */
    int64_t timeout_ms;            /* what nobody has begun then, from now, is
                         * GATE_TIMEOUT; 0 or -1 = no */
    /* Instead of inputs: gives the next one, borrowed until it is called
     * again; GATE_EOS: there are no more; another error ends the map with it.
     * Called by gate_pool_map_with and by whoever reads the stream, one at a
     * time, when the window allows: inputs need never be there all at once. */
    gate_err_t (*next)(void *ctx, gate_arg_t *input);
    void *ctx;
    /* At most so many short inputs are one job of the pool, which pays once for
     * them; 0 = 64, as many as take about 50 us by what was measured. With
     * limits or retries, the pool's or the job's, each is a job of its own. */
    int chunk;
} gate_map_more_t;
/* A map as more says, else as gate_pool_map. */
GATE_API gate_err_t gate_pool_map_more(gate_pool_t *self, gate_fn *fn,
                                       const gate_arg_t *inputs, size_t n,
                                       const gate_map_more_t *more,
                                       gate_stream_t **results) GATE_MUST;
/* Names a function, so that statistics and errors can; optional. */
GATE_API void gate_fn_register(const char *name, gate_fn *fn);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_procs_with(rt, &options, .user = "nobody", .umask = "077") */
#define gate_procs_with(rt, options, ...) \
    gate_procs_new_with(                  \
        rt, options,                      \
        &(gate_pool_more_t){.size = sizeof(gate_pool_more_t), __VA_ARGS__})
/* gate_submit(pool, fn, args...) */
#define gate_submit(pool, ...) \
    gate_submit_(pool, GATE_1(__VA_ARGS__, 0), GATE_TAIL(__VA_ARGS__))
/* gate_submit_with(pool, fn, &options, args...) */
#define gate_submit_with(pool, fn, ...) \
    gate_submit_with_(pool, fn, GATE_1(__VA_ARGS__, 0), GATE_TAIL(__VA_ARGS__))
/* gate_submit_then(pool, fn, done, ctx, args...) */
#define gate_submit_then(pool, fn, done, ...)                       \
    gate_submit_then_(pool, fn, NULL, done, GATE_1(__VA_ARGS__, 0), \
                      GATE_TAIL(__VA_ARGS__))
/* gate_submit_then_with(pool, fn, &options, done, ctx, args...) */
#define gate_submit_then_with(pool, fn, options, done, ...)            \
    gate_submit_then_(pool, fn, options, done, GATE_1(__VA_ARGS__, 0), \
                      GATE_TAIL(__VA_ARGS__))
/* gate_pool_map_with(pool, fn, inputs, n, &results, .errors = true) */
#define gate_pool_map_with(pool, fn, inputs, n, results, ...)             \
    gate_pool_map_more(                                                   \
        pool, fn, inputs, n,                                              \
        &(gate_map_more_t){.size = sizeof(gate_map_more_t), __VA_ARGS__}, \
        results)
/* gate_submit_stream_with(pool, fn, &options, &stream, args...) */
#define gate_submit_stream_with(pool, fn, options, ...)                 \
    gate_submit_stream_with_(pool, fn, options, GATE_1(__VA_ARGS__, 0), \
                             GATE_TAIL(__VA_ARGS__))
/* gate_submit_stream(pool, fn, &stream, args...) */
#define gate_submit_stream(pool, fn, ...)                 \
    gate_submit_stream_(pool, fn, GATE_1(__VA_ARGS__, 0), \
                        GATE_TAIL(__VA_ARGS__))
#endif

#endif
