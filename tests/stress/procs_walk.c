/* SPDX-License-Identifier: BSD-3-Clause */
/* A random walk: three threads submit, cancel, forget, wait, map, read streams,
 * resize and ask; a fourth takes away descriptors, has memfd_create, socketpair,
 * clone and pidfd_open refused here and in the zygote, kills workers and the
 * zygote, changes who this process is (setuid); the pool is stopped or destroyed in the midst of it. Each future ends once, with a result
 * that is right or an error that can be; afterwards no descriptor and no worker
 * is left. procs_walk [SECONDS [SEED]] */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <gaterpc.h>
#include "mail/logring.h"
#include "procs/zygote.h"
#include "sync/clock.h"
#include "check.h"

#define THREADS 3
#define HELD 100
#define WAIT_MS 60000

static gate_pool_t *s_pool;
static atomic_bool s_stop;
static atomic_long s_ends[GATE_ERR_COUNT];

static unsigned s_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* ---- what is refused ------------------------------------------------------ */

/* By whom it is asked for: one page that all forks share. */
typedef enum s_call { MEMFD, SOCKETPAIR, CLONE, PIDFD, CALLS } s_call_t;
typedef struct s_refused {
    atomic_int left[CALLS]; /* so many of the next are */
    atomic_long n[CALLS];   /* were, in all */
} s_refused_t;
static s_refused_t *s_refused;

static bool s_refuse(s_call_t what, int error) {
    if (!s_refused || atomic_load(&s_refused->left[what]) <= 0 ||
        atomic_fetch_sub(&s_refused->left[what], 1) <= 0)
        return false;
    atomic_fetch_add(&s_refused->n[what], 1);
    errno = error;
    return true;
}

static bool s_all_refused(void) {
    for (int i = 0; i < CALLS; i++)
        if (atomic_load(&s_refused->n[i]) == 0)
            return false;
    return true;
}

int memfd_create(const char *name, unsigned flags) {
    return s_refuse(MEMFD, ENFILE)
               ? -1
               : (int)syscall(SYS_memfd_create, name, (unsigned long)flags);
}

int socketpair(int domain, int type, int protocol, int pair[2]) {
    return s_refuse(SOCKETPAIR, ENFILE)
               ? -1
               : (int)syscall(SYS_socketpair, (long)domain, (long)type,
                              (long)protocol, pair);
}

/* Where the zygote's forks and pidfd_open come through. */
long syscall(long n, ...) {
    static long (*real)(long, ...);
    long a[6];
    va_list ap;
    if ((n == SYS_clone && s_refuse(CLONE, EAGAIN)) ||
        (n == SYS_pidfd_open && s_refuse(PIDFD, EMFILE)))
        return -1;
    va_start(ap, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (!real)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- jobs ---------------------------------------------------------------- */

static gate_err_t same(gate_call_t *call) {
    long x;
    gate_err_t e = gate_args(call, &x);
    return e ? e : gate_return(call, x);
}

static gate_err_t nap(gate_call_t *call) {
    long ms;
    gate_err_t e = gate_args(call, &ms);
    if (!e)
        usleep((useconds_t)ms % 20 * 1000);
    return e ? e : gate_return(call, ms);
}

static gate_err_t die(gate_call_t *call) {
    (void)call;
    kill(getpid(), SIGKILL);
    return GATE_OK;
}

static gate_err_t size_of(gate_call_t *call) {
    gate_bytes_t b;
    long x;
    gate_err_t e = gate_args(call, &x, &b);
    return e ? e : gate_return(call, b.size == 5u << 20 ? x : -1);
}

static gate_err_t count(gate_call_t *call) {
    long n;
    gate_err_t e = gate_args(call, &n);
    for (long i = 0; i < n && !e; i++)
        e = gate_yield(call, i);
    return e;
}

/* ---- three threads ------------------------------------------------------- */

typedef struct s_held {
    gate_future_t *f;
    long x;
} s_held_t;

static char s_large[5 << 20];

static void s_submit(s_held_t *h, unsigned *r) {
    gate_job_options_t o = {.priority = s_random(r) % 2,
                            .idempotent = s_random(r) % 2};
    unsigned what = s_random(r) % 100;
    if (s_random(r) % 8 == 0)
        o.hard_ms = 5 + s_random(r) % 40;
    h->x = (long)(s_random(r) % 1000);
    if (what < 70)
        h->f = gate_submit_with(s_pool, same, &o, h->x);
    else if (what < 85)
        h->f = gate_submit_with(s_pool, nap, &o, h->x,
                                gate_timeout_ms(1 + s_random(r) % 200));
    else if (what < 88)
        h->f = gate_submit_with(s_pool, die, &o);
    else
        h->f = gate_submit_with(s_pool, size_of, &o, h->x,
                                gate_bin(s_large, sizeof s_large));
}

static void s_end(s_held_t *h, int64_t timeout_ms) {
    long x = -2;
    gate_err_t e = gate_future_wait(h->f, timeout_ms, &x);
    if (e == GATE_TIMEOUT && !gate_future_ready(h->f)) {
        CHECK(timeout_ms < WAIT_MS, "a future does not end");
        return;
    }
    atomic_fetch_add(&s_ends[e], 1);
    if (e == GATE_OK)
        CHECK(x == h->x, "%ld came as %ld", h->x, x);
    else
        CHECK(e == GATE_WORKERLOST || e == GATE_CANCELLED ||
                  e == GATE_TIMEOUT || e == GATE_BUSY || e == GATE_SYSTEM ||
                  e == GATE_NOMEM || e == GATE_CLOSED,
              "%s: %s", gate_err_name(e), gate_error()->text);
    gate_future_destroy(&h->f);
}

static void s_stream(unsigned *r) {
    gate_stream_t *stream = NULL;
    long n = s_random(r) % 500, stop = s_random(r) % 600, x, k = 0;
    gate_job_options_t o = {.hard_ms = s_random(r) % 2 ? 50 : 0};
    gate_err_t e = gate_submit_stream_with(s_pool, count, &o, &stream, n);
    if (e)
        return;
    while (k < stop && !(e = gate_stream_next(stream, &x))) {
        CHECK(x == k, "item %ld came as %ld", k, x);
        k++;
    }
    CHECK(e != GATE_EOS || k == n, "%ld of %ld items", k, n);
    gate_stream_destroy(&stream);
}

typedef struct s_source {
    long n, end;
} s_source_t;

static gate_err_t s_next(void *ctx, gate_arg_t *input) {
    s_source_t *self = ctx;
    if (self->n == self->end)
        return GATE_EOS;
    *input = gate_int(self->n++);
    return GATE_OK;
}

/* Each input is answered once, in order or not, by a result or an error of its
 * own; without those the first error ends the map. */
static void s_map(unsigned *r) {
    enum { MOST = 3000 };
    char got[MOST] = {0};
    long n = s_random(r) % 4 ? 50 : MOST, stop = n * 6 / 5, x, k = 0;
    s_source_t source = {.end = n};
    gate_job_options_t job = {.idempotent = s_random(r) % 2};
    gate_map_more_t more = {.size = sizeof more,
                            .ordered = s_random(r) % 2,
                            .errors = s_random(r) % 2,
                            .job = s_random(r) % 4 ? NULL : &job,
                            .next = s_next,
                            .ctx = &source};
    gate_stream_t *stream = NULL;
    gate_err_t e = gate_pool_map_more(s_pool, same, NULL, 0, &more, &stream);
    if (e)
        return;
    if (s_random(r) % 4 == 0)
        stop = s_random(r) % n;
    while (k < stop && (e = gate_stream_next(stream, &x)) != GATE_EOS) {
        long at = (long)gate_stream_index(stream);
        if (e && (!more.errors || gate_stream_error(stream)->code))
            break;
        CHECK(at < n && !got[at] && (!more.ordered || at == k),
              "result %ld came as the %ldth of %ld", at, k, n);
        CHECK(e || x == at, "result %ld came as %ld", at, x);
        got[at] = 1;
        k++;
    }
    CHECK(e != GATE_EOS || k == n, "%ld of %ld results", k, n);
    gate_stream_destroy(&stream);
}

static void *s_walk(void *arg) {
    unsigned r = *(unsigned *)arg;
    static _Thread_local s_held_t held[HELD];
    while (!s_stop) {
        s_held_t *h = &held[s_random(&r) % HELD];
        unsigned what = s_random(&r) % 1000;
        if (!h->f)
            s_submit(h, &r);
        else if (what < 700)
            s_end(h, what % 3);
        else if (what < 800)
            gate_future_cancel(h->f);
        else if (what < 820)
            gate_future_destroy(&h->f);
        else if (what < 825)
            s_stream(&r);
        else if (what < 830)
            s_map(&r);
        else if (what < 832)
            (void)!gate_pool_resize(s_pool, 1 + (int)(s_random(&r) % 4));
        else if (what < 840) {
            gate_value_t *v = gate_pool_stats(s_pool);
            gate_value_destroy(&v);
        }
    }
    for (int i = 0; i < HELD; i++)
        if (held[i].f)
            s_end(&held[i], WAIT_MS);
    return NULL;
}

/* ---- the fourth ---------------------------------------------------------- */

static int s_children(pid_t of, int *pids, int max) {
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", of, of);
    FILE *f = of > 0 ? fopen(path, "re") : NULL;
    while (f && n < max && fscanf(f, "%d", &pids[n]) == 1)
        n++;
    if (f)
        fclose(f);
    return n;
}

static void s_short_of_files(pid_t pid, int ms) {
    struct rlimit old, few = {3, 0};
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &old) != 0)
        return;
    few.rlim_max = old.rlim_max;
    prlimit(pid, RLIMIT_NOFILE, &few, NULL);
    usleep((useconds_t)ms * 1000);
    prlimit(pid, RLIMIT_NOFILE, &old, NULL);
}

/* For a while this process may not signal the workers that it has. */
static void s_somebody_else(int ms) {
    if (getuid() != 0 || setresuid(65534, 65534, 0) != 0)
        return;
    usleep((useconds_t)ms * 1000);
    CHECK(setresuid(0, 0, 0) == 0, "setresuid: %s", strerror(errno));
}

static void *s_faults(void *arg) {
    unsigned r = *(unsigned *)arg;
    while (!s_stop) {
        int pids[64], n = s_children(gi_zygote_pid(), pids, 64);
        unsigned what = s_random(&r) % 100;
        usleep(20000);
        if (what < 40 && n > 0)
            kill(pids[s_random(&r) % (unsigned)n], SIGKILL);
        else if (what < 60)
            s_short_of_files(getpid(), 1 + (int)(s_random(&r) % 30));
        else if (what < 75 && gi_zygote_pid() > 0)
            s_short_of_files(gi_zygote_pid(), 1 + (int)(s_random(&r) % 30));
        else if (what < 80) {
            pid_t zygote = gi_zygote_pid();
            if (zygote > 0)
                kill(zygote, SIGKILL);
        } else if (what < 94)
            atomic_store(&s_refused->left[what % CALLS],
                         1 + (int)(s_random(&r) % 4));
        else
            s_somebody_else(1 + (int)(s_random(&r) % 60));
    }
    return NULL;
}

/* ---- lives --------------------------------------------------------------- */

static int s_files(void) {
    int n = 0;
    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void s_live(gate_runtime_t *rt, unsigned seed, int ms) {
    pthread_t threads[THREADS + 1];
    unsigned seeds[THREADS + 1];
    gate_pool_options_t o = {.workers = 2, .grace_ms = 20, .restart_max = 1000};
    s_stop = false;
    s_pool = gate_procs_with(rt, &o, .idle_ms = seed % 2 ? 50 : 0);
    if (!s_pool) { /* the zygote had just been killed, twice */
        CHECK(gate_process_init() == GATE_OK ||
                  gate_error()->code == GATE_CLOSED,
              "%s", gate_error()->text);
        return;
    }
    for (int i = 0; i <= THREADS; i++) {
        seeds[i] = seed + (unsigned)i * 7919;
        pthread_create(&threads[i], NULL, i < THREADS ? s_walk : s_faults,
                       &seeds[i]);
    }
    usleep((useconds_t)ms * 1000);
    if (seed % 3 == 0) {
        gate_err_t e = gate_pool_stop(
            s_pool, GATE_STOP_QUEUED | GATE_STOP_RUNNING, WAIT_MS);
        CHECK(e == GATE_OK, "stop: %s", gate_error()->text);
    }
    s_stop = true;
    for (int i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    int64_t began = gi_clock_ms();
    gate_pool_destroy(&s_pool);
    CHECK(gi_clock_ms() - began < WAIT_MS, "destroy took %lld ms",
          (long long)(gi_clock_ms() - began));
}

int main(int argc, char **argv) {
    int seconds = argc > 1 ? atoi(argv[1]) : getenv("GATE_LONG") ? 600 : 6;
    unsigned seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    int files = 0, pids[64], left = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    s_refused = mmap(NULL, sizeof *s_refused, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s_refused != MAP_FAILED, "mmap");
    CHECK(gate_process_init() == GATE_OK, "%s", gate_error()->text);
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "process_slab_bytes", 1L << 20);
    gate_settings_set(settings, "process_late_fork", true);
    gate_runtime_t *rt = gate_runtime_new(settings);
    CHECK(rt && gate_runtime_start(rt) == GATE_OK, "%s", gate_error()->text);
    int64_t until = gi_clock_ms() + (int64_t)seconds * 1000;
    /* and on, until all that can be refused was */
    for (int lives = 0; gi_clock_ms() < until ||
                        (!s_all_refused() && gi_clock_ms() < until + WAIT_MS);
         lives++) {
        s_live(rt, seed + (unsigned)lives, 800);
        if (lives == 0)
            files = s_files();
        CHECK(s_files() <= files + 2, "descriptors: %d, were %d", s_files(),
              files); /* a spare's socket may have come */
    }
    for (int i = 0; i < 500 && left; i++, usleep(10000))
        left = s_children(gi_zygote_pid(), pids, 64);
    CHECK(left == 0, "%d workers are left", left);
    for (int i = 0; i < GATE_ERR_COUNT; i++)
        if (s_ends[i])
            printf("%s %ld\n", gate_err_name((gate_err_t)i), (long)s_ends[i]);
    CHECK(s_ends[GATE_OK] > 0, "nothing ran well");
    printf("refused: memfd_create %ld, socketpair %ld, clone %ld, pidfd_open "
           "%ld\n",
           (long)s_refused->n[MEMFD], (long)s_refused->n[SOCKETPAIR],
           (long)s_refused->n[CLONE], (long)s_refused->n[PIDFD]);
    CHECK(s_all_refused(), "one of them was never refused");
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
    puts("ok");
    return 0;
}
