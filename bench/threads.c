/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/threads.c -- ns per empty task: our thread pool against GLib's and
 * libuv's (where they were found), two workers each, submitted by one thread,
 * in one run. Pinned: everything on one CPU, so that no wake-up crosses; free:
 * anywhere. bench_threads [size]   size * 100,000 tasks, default 20. The best
 * of five rounds each; JSON on stdout. A task counts in a line of its thread's
 * own: one counter for all would be what is measured. Tasks that are their
 * caller's memory (ours, libuv's) lie in the same memory each round, as those
 * that a library allocates (GLib's, TBB's) do. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef GI_BENCH_GLIB
#include <glib.h>
#endif
#ifdef GI_BENCH_LIBUV
#include <uv.h>
#endif

#include "sync/clock.h"
#include "jobs/threads.h"

#define WORKERS 2
#define ROUNDS 5
#define THREADS_MAX 1024 /* of all pools, over all rounds */

static struct { _Alignas(64) atomic_size_t n; } s_ran[THREADS_MAX];
static atomic_uint s_threads;
static _Thread_local atomic_size_t *s_mine;

static void s_count(void) {
    if (!s_mine) {
        unsigned i = atomic_fetch_add(&s_threads, 1);
        if (i >= THREADS_MAX)
            abort();
        s_mine = &s_ran[i].n;
    }
    atomic_store_explicit(
        s_mine, atomic_load_explicit(s_mine, memory_order_relaxed) + 1,
        memory_order_release);
}

static size_t s_all(void) {
    size_t all = 0;
    for (unsigned i = 0; i < atomic_load(&s_threads); i++)
        all += atomic_load_explicit(&s_ran[i].n, memory_order_acquire);
    return all;
}

static void s_wait(size_t n) {
    static size_t before;
    while (s_all() < before + n)
        sched_yield();
    before += n;
}

static void *s_memory(size_t size) {
    static void *memory;
    static size_t room;
    if (room < size) {
        free(memory);
        memory = calloc(1, room = size);
        if (!memory)
            abort();
    }
    return memory;
}

/* ---- ours ---------------------------------------------------------------- */
static void s_run(gi_job_t *job) {
    (void)job;
    s_count();
}

static void s_ours(size_t n) {
    gi_job_t *jobs = s_memory(n * sizeof *jobs);
    gi_threads_t *pool;

    if (gi_threads_new("bench", WORKERS, n, &pool) != GATE_OK)
        abort();
    for (size_t i = 0; i < n; i++) {
        jobs[i].run = s_run;
        if (gi_threads_submit(pool, &jobs[i]) != GATE_OK)
            abort();
    }
    s_wait(n);
    gi_threads_destroy(&pool);
}

/* ---- GLib ---------------------------------------------------------------- */
#ifdef GI_BENCH_GLIB
static void s_glib_run(gpointer task, gpointer ctx) {
    (void)task;
    (void)ctx;
    s_count();
}

static void s_glib(size_t n) {
    GThreadPool *pool =
        g_thread_pool_new(s_glib_run, NULL, WORKERS, TRUE, NULL);

    for (size_t i = 0; i < n; i++)
        g_thread_pool_push(pool, pool, NULL);
    s_wait(n);
    g_thread_pool_free(pool, FALSE, TRUE);
}
#endif

/* ---- libuv --------------------------------------------------------------- */
#ifdef GI_BENCH_LIBUV
static void s_uv_run(uv_work_t *work) {
    (void)work;
    s_count();
}

static void s_uv(size_t n) {
    uv_work_t *works = s_memory(n * sizeof *works);

    for (size_t i = 0; i < n; i++)
        if (uv_queue_work(uv_default_loop(), &works[i], s_uv_run, NULL) != 0)
            abort();
    s_wait(n);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
#endif

/* ---- TBB ----------------------------------------------------------------- */
#ifdef GI_BENCH_TBB
void bench_tbb(int workers, size_t n, void (*ran)(void), void (*wait)(size_t));

static void s_tbb(size_t n) { bench_tbb(WORKERS, n, s_count, s_wait); }
#endif

static const struct {
    const char *name;
    void (*run)(size_t n);
} s_pools[] = {
    {"gaterpc", s_ours},
#ifdef GI_BENCH_GLIB
    {"glib", s_glib},
#endif
#ifdef GI_BENCH_LIBUV
    {"libuv", s_uv},
#endif
#ifdef GI_BENCH_TBB
    {"tbb", s_tbb},
#endif
};

static double s_best(void (*run)(size_t n), size_t n) {
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = gi_clock_ns();

        run(n);
        double ns = (double)(gi_clock_ns() - start) / (double)n;
        best = ns < best ? ns : best;
    }
    return best;
}

static void s_measure(const char *how, size_t n, bool last) {
    printf("  \"%s\": {", how);
    for (size_t i = 0; i < sizeof s_pools / sizeof *s_pools; i++)
        printf("%s\"%s\": %.1f", i ? ", " : "", s_pools[i].name,
               s_best(s_pools[i].run, n));
    printf("}%s\n", last ? "" : ",");
}

static void s_pin(void) {
    cpu_set_t one, all;
    size_t cpu = 0;

    sched_getaffinity(0, sizeof all, &all);
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* In a process of its own: libuv's workers live as long as theirs. */
static void s_measure_apart(bool pinned, size_t n) {
    pid_t child;
    int status;

    fflush(stdout);
    child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        if (pinned)
            s_pin();
        s_measure(pinned ? "pinned" : "free", n, pinned);
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        abort();
}

int main(int argc, char **argv) {
    size_t n = 100000 * (size_t)(argc > 1 ? atoi(argv[1]) : 20);

    setenv("UV_THREADPOOL_SIZE", "2", 1);
    printf(
        "{\"bench\": \"threads\", \"unit\": \"ns per task\", \"tasks\": %zu,\n",
        n);
    s_measure_apart(false, n);
    s_measure_apart(true, n);
    printf("}\n");
    return 0;
}
