/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem_pools.c -- see nomem.c: pools without RPC: worker processes, their
 * shared memory and queues, executors of one's own. In a worker process the job
 * itself lets its allocations fail. */
#include "nomem.h"
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/mem.h"

#define HUGE 200000 /* bytes; no queue's item and no inline argument */

struct world {
    gate_runtime_t *runtime;
    gate_pool_t *procs;
};

static char s_bytes[HUGE];

static gate_err_t s_own_error(void) { return gate_error()->code; }

static gate_err_t s_want(gate_err_t e, int64_t got, int64_t want) {
    if (!e && got != want)
        nomem_die("a wrong answer", (long)got, e);
    return e;
}

static gate_err_t half(gate_call_t *call) {
    int64_t n = 0;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, n / 2);
}

static gate_err_t size(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, data.size);
}

/* ---- worker processes ---------------------------------------------------- */
static gate_err_t s_job(gate_future_t **future, int64_t want) {
    int64_t got = -1;
    gate_err_t e = gate_future_wait(*future, 10000, &got);
    gate_future_destroy(future);
    return s_want(e, got, want);
}

static gate_err_t s_procs(world_t *w) {
    gate_future_t *future = gate_submit(w->procs, half, (int64_t)14);
    gate_err_t e = s_job(&future, 7);
    if (e)
        return e;
    gate_job_options_t options = {.idempotent = true, .hard_ms = 5000};
    future = gate_submit_with(w->procs, half, &options, (int64_t)16);
    return s_job(&future, 8);
}

static gate_err_t three(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (int i = 0; i < 3 && !e; i++)
        e = gate_yield(call, i);
    return e ? e : GATE_EOS;
}

static gate_err_t s_add_up(gate_stream_t **stream, gate_err_t e) {
    int64_t item = 0, sum = 0;
    while (!e && !(e = gate_stream_next(*stream, &item)))
        sum += item;
    gate_stream_destroy(stream);
    return e == GATE_EOS ? s_want(GATE_OK, sum, 3) : e;
}

static gate_err_t s_procs_stream(world_t *w) {
    gate_stream_t *stream = NULL;
    gate_err_t e = gate_submit_stream(w->procs, three, &stream);
    return s_add_up(&stream, e);
}

static gate_err_t s_procs_map(world_t *w) {
    gate_stream_t *stream = NULL;
    gate_arg_t inputs[] = {gate_int(0), gate_int(2), gate_int(4)};
    gate_err_t e = gate_pool_map(w->procs, half, inputs, 3, true, &stream);
    return s_add_up(&stream, e);
}

static gate_err_t s_next_even(void *ctx, gate_arg_t *input) {
    int *n = ctx;
    if (*n == 6)
        return GATE_EOS;
    *input = gate_int(*n);
    *n += 2;
    return GATE_OK;
}

/* An input's error may be the memory's. */
static gate_err_t s_procs_map_more(world_t *w) {
    int n = 0;
    gate_stream_t *stream = NULL;
    gate_map_more_t more = {.size = sizeof more,
                            .ordered = true,
                            .errors = true,
                            .next = s_next_even,
                            .ctx = &n};
    gate_err_t e = gate_pool_map_more(w->procs, half, NULL, 0, &more, &stream);
    return s_add_up(&stream, e);
}

static gate_err_t s_procs_stream_with(world_t *w) {
    gate_job_options_t options = {.hard_ms = 5000};
    gate_stream_t *stream = NULL;
    gate_err_t e = gate_submit_stream_with(w->procs, three, &options, &stream);
    return s_add_up(&stream, e);
}

/* Who is told waits on a semaphore; nobody is told of what was not taken. */
typedef struct told {
    sem_t sem;
    gate_err_t e;
    int64_t got;
} told_t;

static void s_told(void *ctx, gate_err_t e, const gate_value_t *value) {
    told_t *told = ctx;
    told->e = e;
    if (!e)
        told->e = gate_value_read(value, "", &told->got);
    sem_post(&told->sem);
}

static gate_err_t s_procs_then(world_t *w) {
    told_t told = {.got = -1};
    sem_init(&told.sem, 0, 0);
    gate_err_t e = gate_submit_then(w->procs, half, s_told, &told, (int64_t)18);
    while (!e && sem_wait(&told.sem) < 0) {
    }
    sem_destroy(&told.sem);
    e = e ? e : told.e;
    return s_want(e, told.got, 9);
}

static gate_err_t s_shared(world_t *w) {
    gate_shared_t *shared = gate_shared_new(w->procs, HUGE);
    if (!shared)
        return s_own_error();
    memset(gate_shared_data(shared), 1, HUGE);
    gate_future_t *future =
        gate_submit(w->procs, size, gate_shared_arg(shared));
    gate_shared_destroy(&shared);
    return s_job(&future, HUGE);
}

/* In the worker. */
static gate_err_t down_and_up(gate_call_t *call) {
    GATE_OWN(gate_queue) down = NULL;
    GATE_OWN(gate_queue) up = NULL;
    int64_t n = 0;
    gate_err_t e = gate_args(call, &down, &up);
    e = e ? e : gate_queue_get(down, &n, 5000);
    e = e ? e : gate_queue_put(up, n / 2, 5000);
    if (up)
        gate_queue_close(up);
    return e ? e : gate_return(call, n);
}

static gate_err_t s_queues(world_t *w) {
    int64_t n = 0;
    gate_queue_t *down = gate_queue_new(w->runtime, 4, 1024);
    gate_queue_t *up = gate_queue_new(w->runtime, 4, 1024);
    gate_err_t e =
        down && up ? gate_queue_put(down, (int64_t)14, 0) : GATE_NOMEM;
    if (!e) {
        gate_future_t *future = gate_submit(w->procs, down_and_up, down, up);
        e = s_job(&future, 14);
        e = e ? e : gate_queue_get(up, &n, 5000);
        e = s_want(e, n, 7);
    }
    gate_queue_destroy(&down);
    gate_queue_destroy(&up);
    return e;
}

/* Its own allocations fail; what it says, in bytes, is how many there were. */
static gate_err_t s_in_worker(gate_call_t *call, gate_fn *part) {
    nomem_order_t order = {0, false};
    gate_err_t e = gate_args(call, &order.n, &order.on);
    if (e)
        return e;
    nomem_here(&order);
    e = part(call);
    int64_t asked = nomem_asked();
    return e ? gate_raise(call, "MemoryError", "%lld", (long long)asked) : e;
}

static gate_err_t s_part_shared(gate_call_t *call) {
    void *data = NULL;
    gate_err_t e = gate_return_shared(call, HUGE, &data);
    if (!e)
        memset(data, 1, HUGE);
    return e;
}

static gate_err_t s_part_return(gate_call_t *call) {
    return gate_return(call, gate_bin(s_bytes, HUGE));
}

static gate_err_t shared_there(gate_call_t *call) {
    return s_in_worker(call, s_part_shared);
}

static gate_err_t return_there(gate_call_t *call) {
    return s_in_worker(call, s_part_return);
}

/* Failed: it says how many it had asked for; else all of them. */
static gate_err_t s_there(world_t *w, gate_fn *job) {
    nomem_order_t order = nomem_order();
    gate_bytes_t got = {0};
    gate_future_t *future = gate_submit(w->procs, job, order.n, order.on);
    gate_err_t e = gate_future_wait(future, 10000, &got);
    if (e == GATE_RAISED && !strcmp(gate_error()->cls, "MemoryError"))
        nomem_there(atol(gate_error()->text));
    else if (e)
        nomem_die("in a worker", (long)order.n, e);
    else
        nomem_there(0);
    e = s_want(e, (int64_t)got.size, HUGE);
    gate_future_destroy(&future);
    return e;
}

static gate_err_t s_there_shared(world_t *w) {
    return s_there(w, shared_there);
}

static gate_err_t s_there_return(world_t *w) {
    return s_there(w, return_there);
}

static gate_err_t s_procs_life(world_t *w) {
    gate_pool_options_t options = {.name = "nomem", .workers = 1};
    gate_pool_t *pool = gate_procs_new_with(w->runtime, &options,
                                            &(gate_pool_more_t){.size = 8});
    gate_err_t e = pool ? gate_pool_resize(pool, 2) : s_own_error();
    e = e ? e : gate_runtime_ready(w->runtime, 1000);
    e = e ? e : gate_pool_ready(pool, 10000);
    e = e ? e : gate_pool_room(pool, 1000);
    if (!e) {
        gate_future_t *future = gate_submit(pool, half, (int64_t)14);
        e = s_job(&future, 7);
    }
    e = e ? e : gate_pool_drain(pool, 1000);
    e = e ? e : gate_pool_stop(pool, GATE_STOP_QUEUED, 1000);
    gate_pool_destroy(&pool);
    return e;
}

/* ---- the other pools ----------------------------------------------------- */
static gate_err_t s_at_once(void *ctx, void (*run)(void *arg), void *arg) {
    (void)ctx;
    run(arg);
    return GATE_OK;
}

static gate_err_t s_custom(world_t *w) {
    gate_pool_t *pool = gate_pool_custom(w->runtime, s_at_once, NULL);
    if (!pool)
        return s_own_error();
    gate_fn_register("half", half);
    gate_future_t *future = gate_submit(pool, half, (int64_t)14);
    gate_err_t e = s_job(&future, 7);
    gate_pool_destroy(&pool);
    return e;
}

static gate_err_t s_default_pools(world_t *w) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    if (!settings)
        return GATE_NOMEM;
    gate_settings_set(settings, "threads", 1);
    gate_settings_set(settings, "processes", 1);
    (void)w;
    GATE_OWN(gate_runtime) runtime = gate_runtime_new(settings);
    if (!runtime)
        return GATE_NOMEM;
    return gate_runtime_threads(runtime) && gate_runtime_procs(runtime)
               ? GATE_OK
               : s_own_error();
}

static const step_t s_all[] = {
    {"procs", s_procs, 0},
    {"procs stream", s_procs_stream, 0},
    {"procs map", s_procs_map, 0},
    {"procs map with", s_procs_map_more, 0},
    {"procs stream with", s_procs_stream_with, 0},
    {"procs then", s_procs_then, 0},
    {"shared", s_shared, 0},
    {"queues", s_queues, 0},
    {"shared, in a worker", s_there_shared, 0},
    {"return, in a worker", s_there_return, 0},
    {"procs life", s_procs_life, 7},
    {"custom", s_custom, 0},
    {"default pools", s_default_pools, 7},
};

/* ---- the world ----------------------------------------------------------- */
/* In a process of its own: a zygote that is forked while allocations fail goes
 * on with that. */
static void s_processes(void) {
    gate_err_t e = GATE_NOMEM;
    pid_t pid = fork();
    if (pid == 0) {
        for (long n = 1; e == GATE_NOMEM; n++) {
            gi_mem_fail_at(n, true);
            e = gate_process_init();
        }
        _exit(e ? 1 : 0);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        nomem_die("process init", 0, GATE_NOMEM);
    if ((e = gate_process_init()))
        nomem_die("process init", 0, e);
}

static void s_begin(world_t *w) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_pool_options_t one = {.workers = 1};
    gate_settings_set(settings, "log_level", "silent");
    w->runtime = gate_runtime_new(settings);
    w->procs = gate_procs_new(w->runtime, &one);
    if (!w->procs)
        nomem_die("world", 0, gate_error()->code);
}

int main(int argc, char **argv) {
    world_t w;
    nomem_init();
    s_processes();
    s_begin(&w);
    nomem_run(&w, s_all, sizeof s_all / sizeof *s_all, argc, argv);
    gate_pool_destroy(&w.procs);
    gate_runtime_destroy(&w.runtime);
    return 0;
}
