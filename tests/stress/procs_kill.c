/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_kill.c -- every job ends exactly once whatever dies. 64 jobs in flight
 * while workers are killed, stopped, crash, exit and scribble; cancels race
 * with ends; the zygote is killed; the parent is killed. Afterwards
 * descriptors, zombies and mappings are what they were. GATE_LONG=1: 60 s each
 * instead of 4 s, and the figures are asserted. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <gaterpc.h>
#include "sync/clock.h"
#include "sync/futex.h"
#include "jobs/pool.h"
#include "shared/shm.h"
#include "procs/zygote.h"
#include "check.h"

#define FLIGHT 64
#define WORKERS 3
#define PAUSE 250

static unsigned s_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* ---- jobs ---------------------------------------------------------------- */

static gate_err_t work(gate_call_t *call) {
    long n, us;
    gate_err_t e = gate_args(call, &n, &us);
    if (e)
        return e;
    int64_t until = gi_clock_ns() + us * 1000;
    while (gi_clock_ns() < until)
        ;
    return gate_return(call, n);
}

static gate_err_t segv(gate_call_t *call) {
    (void)call;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return GATE_OK;
}

static gate_err_t quit3(gate_call_t *call) {
    (void)call;
    _exit(3);
}

static gate_err_t scribble(gate_call_t *call) {
    char line[512];
    unsigned long from = 0, to = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "memfd:gate-worker") && strstr(line, " rw") &&
            sscanf(line, "%lx-%lx", &from, &to) == 2)
            break;
    if (maps)
        fclose(maps);
    unsigned seed = (unsigned)getpid();
    volatile unsigned char *m = (volatile unsigned char *)from;
    for (int i = 0; i < 2000; i++) /* rings and control words */
        m[s_random(&seed) % 60000] = (unsigned char)s_random(&seed);
    return gate_return(call, 1);
}

/* ---- one job's record ---------------------------------------------------- */

typedef struct s_job {
    atomic_int ends;
    bool idempotent, harmful, cancelled;
    long n;
    gi_ticket_t ticket;
} s_job_t;

static _Atomic uint32_t s_flying;
static atomic_long s_ok, s_lost, s_cancelled, s_other;

static void s_done(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    s_job_t *job = ctx;
    (void)data;
    CHECK(atomic_fetch_add(&job->ends, 1) == 0, "job %ld ended twice", job->n);
    if (!err) {
        CHECK(size > 0, "job %ld: no result", job->n);
        atomic_fetch_add(&s_ok, 1);
    } else if (err->code == GATE_WORKERLOST || err->code == GATE_BUSY) {
        CHECK(!job->idempotent || job->harmful,
              "idempotent job %ld was lost: %s", job->n, err->text);
        atomic_fetch_add(&s_lost, 1);
    } else if (err->code == GATE_CANCELLED) {
        CHECK(job->cancelled, "job %ld was not cancelled", job->n);
        atomic_fetch_add(&s_cancelled, 1);
    } else {
        atomic_fetch_add(&s_other, 1);
        CHECK(job->harmful, "job %ld: %s: %s", job->n, err->cls, err->text);
    }
    atomic_fetch_sub(&s_flying, 1);
    gi_futex_wake(&s_flying);
}

static const gi_sink_t s_sink = {.done = s_done};

static void s_wait_below(uint32_t n) {
    int64_t until = gi_clock_ms() + 30000;
    for (uint32_t now; (now = atomic_load(&s_flying)) >= n;) {
        gi_futex_wait(&s_flying, now, 1000);
        CHECK(gi_clock_ms() < until, "hung with %u in flight", now);
    }
}

static void s_submit(gate_pool_t *pool, s_job_t *job, gate_fn *fn, long us) {
    unsigned char args[32], *p = args;
    *p++ = 0x92;
    *p++ = 0xce;
    for (int i = 24; i >= 0; i -= 8)
        *p++ = (unsigned char)(job->n >> i);
    *p++ = 0xce;
    for (int i = 24; i >= 0; i -= 8)
        *p++ = (unsigned char)(us >> i);
    gi_request_t r = {.fn = fn,
                      .name = "stress",
                      .args = {args, (size_t)(p - args)},
                      .options = {.idempotent = job->idempotent},
                      .deadline_ms = INT64_MAX,
                      .sink = &s_sink,
                      .ctx = job};
    /* an idempotent job may meet more than two kills here */
    r.options.max_attempts = 3;
    atomic_fetch_add(&s_flying, 1);
    gate_err_t e = gi_pool_submit(pool, &r, &job->ticket);
    CHECK(e == GATE_OK, "submit: %s", gate_error()->text);
}

/* ---- the machine --------------------------------------------------------- */

static int s_count(const char *path) {
    DIR *dir = opendir(path);
    int n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

/* Shared memory that is mapped: rings, exchanges, queues. */
static int s_memfds(void) {
    char line[512];
    int n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        n += strstr(line, "memfd:gate") != NULL;
    if (maps)
        fclose(maps);
    return n;
}

/* The zygote's children that live (or all, zombies included). */
static int s_children(pid_t zygote, int *pids, int max, bool zombies) {
    char path[64], state;
    int n = 0, pid;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", zygote, zygote);
    FILE *f = fopen(path, "r");
    while (f && n < max && fscanf(f, "%d", &pid) == 1) {
        char stat[64];
        snprintf(stat, sizeof stat, "/proc/%d/stat", pid);
        FILE *g = fopen(stat, "r");
        if (g && fscanf(g, "%*d (%*[^)]) %c", &state) == 1 &&
            (zombies ? state == 'Z' : state != 'Z'))
            pids[n++] = pid;
        if (g)
            fclose(g);
    }
    if (f)
        fclose(f);
    return n;
}

static gate_pool_t *s_pool(int grace_ms) {
    static gi_pool_base_t base;
    base.settings = gi_settings_defaults();
    gate_pool_options_t o = {.name = "stress",
                             .workers = WORKERS,
                             .grace_ms = grace_ms,
                             .restart_max = 100000};
    gate_pool_t *pool = gi_pool_procs(&base, &o);
    CHECK(pool, "%s", gate_error()->text);
    return pool;
}

/* ---- scenarios ----------------------------------------------------------- */

typedef enum s_what { KILL, STOP } s_what_t;
static atomic_bool s_stop;
static int64_t s_replaced[4096];
static int s_n_replaced;

static void s_await_new(pid_t zygote, pid_t gone, int64_t began) {
    int pids[64];
    for (int i = 0; i < 2000 && !s_stop; i++) {
        int n = s_children(zygote, pids, 64, false), old = 0;
        for (int k = 0; k < n; k++)
            old += pids[k] == gone;
        if (n >= WORKERS && !old)
            break;
        usleep(200);
    }
    if (s_n_replaced < 4096)
        s_replaced[s_n_replaced++] = gi_clock_ns() - began;
}

static void *s_killer(void *ctx) {
    s_what_t what = *(s_what_t *)ctx;
    pid_t zygote = gi_zygote_pid();
    unsigned seed = 1;
    bool slow = getenv("GATE_LONG") != NULL;
    while (!s_stop) {
        int pids[64];
        usleep(50000);
        int n = s_children(zygote, pids, 64, false);
        if (n == 0)
            continue;
        pid_t pid = pids[s_random(&seed) % (unsigned)n];
        if (what == KILL) {
            int64_t began = gi_clock_ns();
            kill(pid, SIGKILL);
            s_await_new(zygote, pid, began);
        } else {
            kill(pid, SIGSTOP);
            usleep((slow ? 1000000 : 100000) * (1 + s_random(&seed) % 5));
            kill(pid, SIGCONT);
        }
    }
    return NULL;
}

static void s_reset(void) {
    s_ok = s_lost = s_cancelled = s_other = 0;
    s_n_replaced = 0;
    s_stop = false;
}

static int s_by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void s_storm(const char *name, s_what_t what, bool harmful,
                    int seconds) {
    pthread_t killer;
    unsigned seed = 7;
    size_t room = 1 << 12, n = 0, at = 0;
    s_job_t *jobs = calloc(room, sizeof *jobs); /* records are reused in turn */
    gate_pool_t *pool = s_pool(0);
    int64_t until = gi_clock_ms() + seconds * 1000;
    s_reset();
    if (!harmful)
        pthread_create(&killer, NULL, s_killer, &what);
    while (gi_clock_ms() < until) {
        /* now and then all of it ends: what was forgotten shows */
        s_wait_below(n % PAUSE ? FLIGHT : 1);
        s_job_t *job;
        do /* one that waits in a dying worker may be overtaken by thousands */
            job = &jobs[at++ % room];
        while (job->n && job->ends == 0);
        n++;
        CHECK(!job->n || job->ends == 1, "job %ld ended %d times", job->n,
              job->ends);
        unsigned kind = harmful ? s_random(&seed) % 50 : 50;
        job->ends = 0;
        job->n = (long)n;
        job->idempotent = kind >= 3 && s_random(&seed) % 2;
        job->harmful = kind < 3;
        /* innocent jobs are never lost to a guilty one's death */
        if (harmful && !job->harmful)
            job->idempotent = true;
        s_submit(pool, job,
                 kind == 0   ? segv
                 : kind == 1 ? quit3
                 : kind == 2 ? scribble
                             : work,
                 s_random(&seed) % 300);
    }
    s_wait_below(1);
    s_stop = true;
    if (!harmful)
        pthread_join(killer, NULL);
    long ended = s_ok + s_lost + s_cancelled + s_other;
    CHECK(ended == (long)n, "%zu jobs, %ld ends", n, ended);
    qsort(s_replaced, (size_t)s_n_replaced, sizeof *s_replaced, s_by_size);
    double p99 =
        s_n_replaced ? (double)s_replaced[s_n_replaced * 99 / 100] / 1e6 : 0;
    printf("%-10s %zu jobs: %ld ok, %ld lost, %ld other; %d kills, "
           "replacement p99 %.1f ms\n",
           name, n, (long)s_ok, (long)s_lost, (long)s_other, s_n_replaced, p99);
    if (getenv("GATE_LONG") && what == KILL && !harmful)
        CHECK(p99 < 20, "replacement p99 %.1f ms", p99);
    gate_pool_destroy(&pool);
    free(jobs);
}

static void s_cancels(int n) {
    unsigned seed = 3;
    s_job_t *jobs = calloc((size_t)n, sizeof *jobs);
    gate_pool_t *pool = s_pool(1);
    s_reset();
    for (int i = 0; i < n; i++) {
        s_wait_below(8);
        jobs[i].n = i;
        jobs[i].cancelled = i % 2;
        s_submit(pool, &jobs[i], work, s_random(&seed) % 200);
        if (!jobs[i].cancelled)
            continue;
        int64_t until = gi_clock_ns() + s_random(&seed) % 400 * 1000;
        while (gi_clock_ns() < until)
            ;
        gi_pool_cancel(pool, jobs[i].ticket);
        gi_pool_cancel(pool, jobs[i].ticket); /* stale or again: harmless */
    }
    s_wait_below(1);
    CHECK(s_lost == 0 && s_other == 0,
          "%ld lost, %ld other: a kill hit another", (long)s_lost,
          (long)s_other);
    CHECK(s_ok + s_cancelled == n, "%ld ok, %ld cancelled", (long)s_ok,
          (long)s_cancelled);
    printf("cancel     %d jobs: %ld ok, %ld cancelled\n", n, (long)s_ok,
           (long)s_cancelled);
    gate_pool_destroy(&pool);
    free(jobs);
}

static bool s_lives(int pid) {
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    if (f)
        fclose(f);
    return state != 'Z' && state != 'X'; /* whoever adopts it may be slow */
}

static void s_await_gone(const int *pids, int n, int ms) {
    int64_t until = gi_clock_ms() + ms;
    for (int i = 0; i < n; i++)
        while (s_lives(pids[i])) {
            CHECK(gi_clock_ms() < until, "worker %d survives", pids[i]);
            usleep(1000);
        }
}

/* Runs in a process of its own: makes a pool, reports, waits to be killed. */
static void s_victim(int out) {
    int pids[64], n = 0;
    CHECK(gate_process_init() == GATE_OK, "%s", gate_error()->text);
    gate_pool_t *pool = s_pool(0);
    static s_job_t jobs[FLIGHT];
    for (int i = 0; i < FLIGHT; i++)
        s_submit(pool, &jobs[i], work, 1000000);
    for (int i = 0; i < 500 && n < WORKERS; i++, usleep(10000))
        n = s_children(gi_zygote_pid(), pids, 63, false);
    pids[n++] = gi_zygote_pid();
    if (write(out, pids, (size_t)n * sizeof *pids) < 0)
        _exit(1);
    for (;;)
        pause();
}

static void s_parent_killed(void) {
    int pipes[2], pids[64], status;
    CHECK(pipe(pipes) == 0, "pipe");
    pid_t victim = fork();
    if (victim == 0)
        s_victim(pipes[1]);
    ssize_t got = read(pipes[0], pids, sizeof pids);
    CHECK(got > 0, "no pids");
    kill(victim, SIGKILL);
    waitpid(victim, &status, 0);
    s_await_gone(pids, (int)((size_t)got / sizeof *pids), 1000);
    close(pipes[0]);
    close(pipes[1]);
    printf("parent     killed: no worker left\n");
}

/* How many children of ours have that name, but for the zygote, which may have
 * its old one yet; sig: what they get, 0 = nothing. */
static int s_named(const char *name, int sig) {
    char path[64], line[64];
    int found = 0, pids[64];
    int n = s_children(getpid(), pids, 64, false);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "/proc/%d/comm", pids[i]);
        FILE *f = fopen(path, "re");
        if (f && pids[i] != gi_zygote_pid() && fgets(line, sizeof line, f) &&
            strncmp(line, name, strlen(name)) == 0)
            found += kill(pids[i], sig) == 0;
        if (f)
            fclose(f);
    }
    return found;
}

/* A zygote that has just taken over makes itself a spare first: one that is
 * killed before that has none to follow it. */
static void s_await_spare(void) {
    int64_t until = gi_clock_ms() + 30000;
    for (; s_named("gate-spare", 0) == 0; usleep(1000))
        CHECK(gi_clock_ms() < until, "no spare");
}

/* Another than that one. */
static void s_await_zygote(pid_t than) {
    int64_t until = gi_clock_ms() + 30000;
    for (pid_t pid; (pid = gi_zygote_pid()) == 0 || pid == than; usleep(1000))
        CHECK(gi_clock_ms() < until, "zygote %d after %d", (int)pid, (int)than);
}

/* Under load, `rounds` times: what ran is lost, what waited is not, and the
 * spare goes on. */
static void s_zygote_killed(int rounds) {
    s_job_t *jobs = calloc(FLIGHT, sizeof *jobs);
    gate_pool_t *pool = s_pool(0);
    for (int round = 0; round < rounds; round++) {
        pid_t before = gi_zygote_pid();
        s_await_spare();
        s_reset();
        memset(jobs, 0, FLIGHT * sizeof *jobs);
        for (int i = 0; i < FLIGHT; i++) {
            jobs[i].n = i;
            s_submit(pool, &jobs[i], work, 2000);
        }
        usleep(10000); /* some run; it may be that all have */
        kill(before, SIGKILL);
        s_wait_below(1);
        CHECK(s_ok + s_lost == FLIGHT, "%ld ok, %ld lost", (long)s_ok,
              (long)s_lost);
        CHECK(s_lost <= WORKERS, "%ld lost", (long)s_lost);
        s_await_zygote(before);
    }
    printf("zygote     killed %d times: the last %ld ok, %ld lost\n", rounds,
           (long)s_ok, (long)s_lost);
    gate_pool_destroy(&pool);
    free(jobs);
}

static void s_zygote_and_spare_killed(void) {
    s_job_t *jobs = calloc(FLIGHT, sizeof *jobs);
    gate_pool_t *pool = s_pool(0);
    s_reset();
    s_await_spare();
    for (int i = 0; i < FLIGHT; i++) {
        jobs[i].n = i;
        s_submit(pool, &jobs[i], work, 20000);
    }
    usleep(30000);
    CHECK(s_named("gate-spare", SIGKILL) > 0, "no spare");
    kill(gi_zygote_pid(), SIGKILL);
    s_wait_below(1);
    CHECK(s_ok + s_lost == FLIGHT, "%ld ok, %ld lost", (long)s_ok,
          (long)s_lost);
    gi_request_t r = {.fn = work, .sink = &s_sink, .deadline_ms = INT64_MAX};
    gi_ticket_t t;
    gate_err_t e = gi_pool_submit(pool, &r, &t);
    CHECK(e == GATE_CLOSED, "%s", gate_err_name(e));
    printf("both       killed: %ld ok, %ld lost, then refused: %s\n",
           (long)s_ok, (long)s_lost, gate_error()->text);
    gate_pool_destroy(&pool);
    free(jobs);
}

static bool s_asked(const char *only, const char *what) {
    return !only || strcmp(only, what) == 0;
}

/* procs_kill [what [seconds]]: one storm alone. */
int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int seconds = getenv("GATE_LONG") ? 60 : 4, pids[64];
    const char *only = argc > 1 ? argv[1] : NULL;
    if (argc > 2)
        seconds = atoi(argv[2]);
    s_parent_killed(); /* forks: before any thread */
    CHECK(gate_process_init() == GATE_OK, "%s", gate_error()->text);
    gate_pool_t *warm = s_pool(0);
    gate_pool_destroy(&warm);
    int fds = s_count("/proc/self/fd"), shm = s_memfds();
    if (s_asked(only, "kill"))
        s_storm("kill", KILL, false, seconds);
    if (s_asked(only, "stop"))
        s_storm("stop", STOP, false, seconds);
    if (s_asked(only, "harm"))
        s_storm("harm", KILL, true, seconds);
    if (s_asked(only, "cancel"))
        s_cancels(getenv("GATE_LONG") ? 10000 : 3000);
    CHECK(s_count("/proc/self/fd") == fds, "descriptors: %d, were %d",
          s_count("/proc/self/fd"), fds);
    CHECK(s_memfds() == shm, "shared memory: %d maps, were %d", s_memfds(),
          shm);
    usleep(100000);
    CHECK(s_children(gi_zygote_pid(), pids, 64, true) == 0, "zombies");
    CHECK(s_children(gi_zygote_pid(), pids, 64, false) == 0, "workers");
    s_zygote_killed(getenv("GATE_LONG") ? 200 : 10);
    s_zygote_and_spare_killed();
    puts("ok");
    return 0;
}
