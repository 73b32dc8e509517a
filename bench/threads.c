/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/threads.c -- ns per empty task as a program of one's own has it: ours by
 * gate_submit and gate_future_wait, and by gate_submit_then, beside a list under
 * a mutex, GLib, libuv, OpenMP and oneTBB (where they were found). Two workers each; one thread
 * submits and waits, so many tasks under way. Pinned: all on one CPU.
 *   bench_threads [size] [only]   rounds of size * 2,000 tasks, default 20
 * Medians of five rounds taken in turns; JSON on stdout. */
#include <gaterpc.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef GI_BENCH_GLIB
#include <glib.h>
#endif
#ifdef GI_BENCH_LIBUV
#include <uv.h>
#endif

enum { S_WORKERS = 2, S_ROUNDS = 5, S_WINDOW_MAX = 1000 };

static int64_t s_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- ours ---------------------------------------------------------------- */
static gate_pool_t *s_pool;

static gate_err_t s_nothing(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

static void s_ours_up(void) {
    if (s_pool)
        return;
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    s_pool = gate_threads_new(gate_runtime_new(settings),
                              &(gate_pool_options_t){.workers = S_WORKERS});
    if (!s_pool)
        abort();
}

static void s_ours(size_t n, size_t window) {
    static gate_future_t *under_way[S_WINDOW_MAX];
    for (size_t i = 0; i < n + window; i++) {
        gate_future_t **slot = &under_way[i % window];
        if (i >= window && gate_future_wait(*slot, -1, NULL))
            abort();
        gate_future_destroy(slot);
        if (i < n)
            *slot = gate_submit(s_pool, s_nothing);
    }
}

/* The same without futures: a function counts. */
static atomic_size_t s_told;

static void s_tell(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)ctx, (void)value;
    if (e)
        abort();
    atomic_fetch_add(&s_told, 1);
}

static void s_then(size_t n, size_t window) {
    atomic_store(&s_told, 0);
    for (size_t i = 0; i < n + window; i++) {
        while (i >= window && atomic_load(&s_told) <= i - window)
            sched_yield();
        if (i < n && gate_submit_then(s_pool, s_nothing, s_tell, NULL))
            abort();
    }
}

/* ---- a list under a mutex ------------------------------------------------ */
typedef struct s_item {
    struct s_item *next;
    bool done;
} s_item_t;

static pthread_mutex_t s_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t s_work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t s_done = PTHREAD_COND_INITIALIZER;
static s_item_t *s_first, **s_last = &s_first;

static void *s_list_thread(void *unused) {
    pthread_mutex_lock(&s_mutex);
    for (;;) {
        s_item_t *item = s_first;
        if (!item) {
            pthread_cond_wait(&s_work, &s_mutex);
            continue;
        }
        if (!(s_first = item->next))
            s_last = &s_first;
        pthread_mutex_unlock(&s_mutex);
        pthread_mutex_lock(&s_mutex); /* what it ran */
        item->done = true;
        pthread_cond_signal(&s_done);
    }
    return unused;
}

static void s_list_up(void) {
    pthread_t thread;
    for (int i = 0; i < S_WORKERS; i++)
        if (pthread_create(&thread, NULL, s_list_thread, NULL))
            abort();
}

static s_item_t *s_list_submit(void) {
    s_item_t *item = calloc(1, sizeof *item);
    if (!item)
        abort();
    pthread_mutex_lock(&s_mutex);
    *s_last = item;
    s_last = &item->next;
    pthread_mutex_unlock(&s_mutex);
    pthread_cond_signal(&s_work);
    return item;
}

static void s_list_wait(s_item_t *item) {
    pthread_mutex_lock(&s_mutex);
    while (!item->done)
        pthread_cond_wait(&s_done, &s_mutex);
    pthread_mutex_unlock(&s_mutex);
    free(item);
}

static void s_list(size_t n, size_t window) {
    static s_item_t *under_way[S_WINDOW_MAX];
    for (size_t i = 0; i < n + window; i++) {
        s_item_t **slot = &under_way[i % window];
        if (i >= window)
            s_list_wait(*slot);
        if (i < n)
            *slot = s_list_submit();
    }
}

/* ---- GLib: a task says itself that it is done ---------------------------- */
#ifdef GI_BENCH_GLIB
static GThreadPool *s_glib_pool;
static GMutex s_glib_mutex;
static GCond s_glib_done;

static void s_glib_run(gpointer task, gpointer ctx) {
    (void)ctx;
    g_mutex_lock(&s_glib_mutex);
    *(bool *)task = true;
    g_cond_signal(&s_glib_done);
    g_mutex_unlock(&s_glib_mutex);
}

static void s_glib_up(void) {
    s_glib_pool = g_thread_pool_new(s_glib_run, NULL, S_WORKERS, TRUE, NULL);
}

static void s_glib(size_t n, size_t window) {
    static bool *under_way[S_WINDOW_MAX];
    for (size_t i = 0; i < n + window; i++) {
        bool **slot = &under_way[i % window];
        if (i >= window) {
            g_mutex_lock(&s_glib_mutex);
            while (!**slot)
                g_cond_wait(&s_glib_done, &s_glib_mutex);
            g_mutex_unlock(&s_glib_mutex);
            free(*slot);
        }
        if (i < n) {
            *slot = calloc(1, sizeof **slot);
            g_thread_pool_push(s_glib_pool, *slot, NULL);
        }
    }
}
#endif

/* ---- libuv --------------------------------------------------------------- */
#ifdef GI_BENCH_LIBUV
static void s_uv_run(uv_work_t *work) { (void)work; }
static void s_uv_after(uv_work_t *work, int status) {
    (void)status;
    *(bool *)work->data = true;
}

typedef struct s_uv_task {
    uv_work_t work;
    bool done;
} s_uv_task_t;

static void s_uv_up(void) {}

static void s_uv(size_t n, size_t window) {
    static s_uv_task_t *under_way[S_WINDOW_MAX];
    for (size_t i = 0; i < n + window; i++) {
        s_uv_task_t **slot = &under_way[i % window];
        if (i >= window) {
            while (!(*slot)->done)
                uv_run(uv_default_loop(), UV_RUN_ONCE);
            free(*slot);
        }
        if (i < n) {
            *slot = calloc(1, sizeof **slot);
            (*slot)->work.data = &(*slot)->done;
            if (uv_queue_work(uv_default_loop(), &(*slot)->work, s_uv_run,
                              s_uv_after))
                abort();
        }
    }
}
#endif

/* ---- oneTBB and OpenMP: in groups of window (threads_tbb.cpp) -- */
#ifdef GI_BENCH_TBB
void bench_threads_tbb(size_t n, size_t window);
#endif
#ifdef GI_BENCH_OPENMP
__attribute__((noinline)) static void s_omp_empty(size_t *i) {
    __asm__ volatile("" : : "r"(i) : "memory");
}

static void s_omp(size_t n, size_t window) {
#pragma omp parallel num_threads(S_WORKERS + 1)
#pragma omp single
    for (size_t i = 0; i < n; i += window) {
        for (size_t k = 0; k < window; k++)
#pragma omp task
            s_omp_empty(&k);
#pragma omp taskwait
    }
}
#endif

static const struct {
    const char *name;
    void (*up)(void); /* NULL: nothing to do */
    void (*run)(size_t n, size_t window);
} s_peers[] = {
    {"gaterpc", s_ours_up, s_ours},   {"then", s_ours_up, s_then},
    {"list", s_list_up, s_list},
#ifdef GI_BENCH_GLIB
    {"glib", s_glib_up, s_glib},
#endif
#ifdef GI_BENCH_LIBUV
    {"libuv", s_uv_up, s_uv},
#endif
#ifdef GI_BENCH_OPENMP
    {"openmp", NULL, s_omp},
#endif
#ifdef GI_BENCH_TBB
    {"tbb", NULL, bench_threads_tbb},
#endif
};
enum { S_PEERS = sizeof s_peers / sizeof *s_peers };

static int s_by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void s_measure(const char *how, size_t n, size_t window,
                      const char *only, bool last) {
    double ns[S_PEERS][S_ROUNDS];
    bool first = true;
    for (int round = -1; round < S_ROUNDS; round++) /* the first: to warm up */
        for (size_t p = 0; p < S_PEERS; p++) {
            if (only && strcmp(only, s_peers[p].name))
                continue;
            int64_t began = s_now_ns();
            s_peers[p].run(n, window);
            if (round >= 0)
                ns[p][round] = (double)(s_now_ns() - began) / (double)n;
        }
    printf("  \"%s x %zu\": {", how, window);
    for (size_t p = 0; p < S_PEERS; p++) {
        if (only && strcmp(only, s_peers[p].name))
            continue;
        qsort(ns[p], S_ROUNDS, sizeof ns[p][0], s_by_size);
        printf("%s\"%s\": [%.0f, %.0f, %.0f]", first ? "" : ", ",
               s_peers[p].name, ns[p][S_ROUNDS / 2], ns[p][0],
               ns[p][S_ROUNDS - 1]);
        first = false;
    }
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

/* In a process of its own: workers are born where it is pinned. */
static void s_measure_apart(bool pinned, size_t n, const char *only) {
    static const size_t windows[] = {1, 64, 1000};
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        abort();
    if (child == 0) {
        if (pinned)
            s_pin();
        for (size_t p = 0; p < S_PEERS; p++)
            if (s_peers[p].up && (!only || !strcmp(only, s_peers[p].name)))
                s_peers[p].up();
        for (size_t w = 0; w < 3; w++)
            s_measure(pinned ? "pinned" : "free", w ? n : n / 4, windows[w],
                      only, pinned && w == 2);
        fflush(stdout);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0)
        abort();
}

int main(int argc, char **argv) {
    size_t n = 2000 * (size_t)(argc > 1 ? atoi(argv[1]) : 20);
    const char *only = argc > 2 ? argv[2] : NULL;

    setenv("UV_THREADPOOL_SIZE", "2", 1);
    printf("{\"bench\": \"threads\", \"unit\": \"ns per task: median, least, "
           "most\", \"tasks\": %zu,\n",
           n);
    s_measure_apart(false, n, only);
    s_measure_apart(true, n, only);
    printf("}\n");
    return 0;
}
