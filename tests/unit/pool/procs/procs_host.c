/* SPDX-License-Identifier: BSD-3-Clause */
/* What a worker is as a process, what it may be told, where its functions come
 * from, and what happens when the machine says no. */
#include "procs_kit.h"
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sync/clock.h"
#include "mail/logring.h"
#include "base/mem.h"
#include "procs/procs_fn.h"
#include "procs/zygote.h"

static int s_count(const char *path) {
    DIR *dir = opendir(path);
    int n = -1; /* its own descriptor */
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

/* Without those that only hold a number that the host had in use. */
static int s_count_usable(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFL);
        n += flags >= 0 && !(flags & O_PATH);
    }
    return n;
}

static gate_err_t describe(gate_call_t *call) {
    char name[17] = {0}, dir[256];
    struct sigaction sa;
    struct rlimit core, files;
    int death = 0, odd = 0;
    sigset_t mask;
    prctl(PR_GET_NAME, name);
    prctl(PR_GET_PDEATHSIG, &death);
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i < 32; i++) {
        sigaction(i, NULL, &sa);
        odd += (sa.sa_handler == SIG_IGN) + sigismember(&mask, i);
    }
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_NOFILE, &files);
    ssize_t n = readlink("/proc/self/fd/0", dir, sizeof dir - 1);
    dir[n < 0 ? 0 : n] = 0;
    return gate_return(
        call, gate_map(gate_kw("name", name), gate_kw("death", death),
                       gate_kw("odd", odd), gate_kw("stdin", dir),
                       gate_kw("core", (long)core.rlim_cur),
                       gate_kw("files", (long)files.rlim_cur),
                       gate_kw("fds", s_count_usable()),
                       gate_kw("nice", getpriority(PRIO_PROCESS, 0)),
                       gate_kw("cpus", ({
                                   cpu_set_t set;
                                   sched_getaffinity(0, sizeof set, &set);
                                   CPU_COUNT(&set);
                               }))));
}

static long s_number(const gate_value_t *v, const char *name) {
    long n = -1;
    ok(gate_value_read(v, name, &n));
    return n;
}

Test(host, a_worker_has_only_what_it_needs) {
    int extra = dup(0); /* not inherited: the zygote is older */
    int own = getpriority(PRIO_PROCESS, 0), nice = own < 16 ? own + 3 : 19;
    gate_pool_options_t o = {.name = "pool-7",
                             .workers = 1,
                             .nice = nice,
                             .cpus = "0",
                             .limit_files = 100};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    GATE_OWN(gate_future) f = gate_submit(pool, describe);
    GATE_OWN(gate_value) v = NULL;
    const char *name, *in;
    ok(gate_future_wait(f, 5000, &v));
    ok(gate_value_read(v, "name", &name));
    cr_assert_str_eq(name, "gate:pool-7");
    ok(gate_value_read(v, "stdin", &in));
    cr_assert_str_eq(in, "/dev/null");
    cr_assert_eq(s_number(v, "death"), SIGKILL);
    cr_assert_eq(s_number(v, "odd"), 0);
    cr_assert_eq(s_number(v, "core"), 0);
    cr_assert_eq(s_number(v, "files"), 100);
    cr_assert_eq(s_number(v, "nice"), nice);
    cr_assert_eq(s_number(v, "cpus"), 1);
    /* 0, 1, 2, doorbell, control, inbox, outbox */
    cr_assert_eq(s_number(v, "fds"), 7);
    close(extra);
}

static int s_state;
static void *init(void) {
    s_state = 41;
    return &s_state;
}

static gate_err_t use_ctx(gate_call_t *call) {
    int *state = gate_call_ctx(call);
    return gate_return(call, ++*state);
}

Test(host, init_runs_in_each_worker) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .init = init};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    GATE_OWN(gate_future) f = gate_submit(pool, use_ctx);
    int x;
    ok(gate_future_wait(f, 5000, &x));
    cr_assert_eq(x, 42);
    cr_assert_eq(s_state, 0);
}

static gate_err_t speak(gate_call_t *call) {
    printf("from stdout\n");
    fprintf(stderr, "from stderr\n");
    return gate_return(call, 1);
}

Test(host, what_it_prints_is_logged) {
    int fd, x, found = 0;
    ok(gi_logring_attach(&fd));
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, speak);
    ok(gate_future_wait(f, 5000, &x));
    for (int i = 0; i < 500 && found < 2; i++, usleep(10000)) {
        gi_log_line_t line;
        while (gi_logring_pop(&line))
            found += strcmp(line.part, "worker.t") == 0 &&
                     strstr(line.text, "from std") != NULL;
    }
    gi_logring_detach();
    cr_assert_eq(found, 2);
}

/* ---- functions ----------------------------------------------------------- */

static void *s_late_object(char *path, size_t room) {
    char command[512];
    snprintf(path, room, "/tmp/gate-late-%d.so", (int)getpid());
    snprintf(command, sizeof command,
             "echo 'int late(void *c) { return c ? %d : 0; }' | "
             "cc -shared -fPIC -x c - -o %s",
             (int)GATE_REFUSED, path);
    cr_assert_eq(system(command), 0);
    void *handle = dlopen(path, RTLD_NOW);
    cr_assert(handle, "%s", dlerror());
    return handle;
}

Test(host, a_function_loaded_after_the_fork) {
    char path[256];
    void *handle = s_late_object(path, sizeof path);
    gate_fn *late;
    *(void **)&late = dlsym(handle, "late");
    GATE_OWN(gate_pool) pool = s_pool(1);
    for (int i = 0; i < 2; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, late);
        int x;
        fails(gate_future_wait(f, 5000, &x), GATE_REFUSED);
    }
    unlink(path);
    /* a worker that does not know it yet */
    ok(gate_pool_resize(pool, 2));
    gate_err_t e = GATE_REFUSED;
    int64_t until = gi_clock_ms() + 20000;
    while (e == GATE_REFUSED && gi_clock_ms() < until) {
        gate_future_t *f[4];
        int x;
        for (int k = 0; k < 4; k++)
            f[k] = gate_submit(pool, late);
        for (int k = 0; k < 4; k++) {
            gate_err_t got = gate_future_wait(f[k], 5000, &x);
            if (got != GATE_REFUSED)
                e = got;
            gate_future_destroy(&f[k]);
        }
    }
    cr_assert_eq(e, GATE_BADARG);
    dlclose(handle);
}

/* Another object where the first one was: not what was known of that address.
 */
Test(host, an_object_in_the_place_of_another) {
    char path[256], other[300];
    GATE_OWN(gate_pool) pool = s_pool(1);
    void *handle = s_late_object(path, sizeof path), *second;
    gate_fn *late, *later;
    int x;
    *(void **)&late = dlsym(handle, "late");
    GATE_OWN(gate_future) f = gate_submit(pool, late);
    fails(gate_future_wait(f, 5000, &x), GATE_REFUSED);
    dlclose(handle);
    snprintf(other, sizeof other, "%s.other.so", path);
    char command[700];
    snprintf(command, sizeof command,
             "echo 'int late(void *c) { return c ? %d : 0; }' | "
             "cc -shared -fPIC -x c - -o %s",
             (int)GATE_TIMEOUT, other);
    cr_assert_eq(system(command), 0);
    second = dlopen(other, RTLD_NOW);
    cr_assert(second, "%s", dlerror());
    *(void **)&later = dlsym(second, "late");
    GATE_OWN(gate_future) g = gate_submit(pool, later);
    fails(gate_future_wait(g, 5000, &x), GATE_TIMEOUT);
    if (later != late)
        cr_log_info("the second object lies elsewhere");
    dlclose(second);
    unlink(path);
    unlink(other);
}

static gate_err_t use_pid(gate_call_t *call) {
    return gate_return(call, (int)getpid());
}

/* ---- refusals ------------------------------------------------------------ */

static void *s_sleep(void *arg) {
    usleep(300000);
    return arg;
}

/* In a child, which has no zygote of its own. */
static int s_late_init(const char *allowed) {
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        if (allowed)
            setenv("GATE_PROCESS_LATE_FORK", allowed, 1);
        pthread_create(&thread, NULL, s_sleep, NULL);
        pthread_detach(thread);
        gate_err_t e = gate_process_init();
        bool cure = strstr(gate_error()->text, "first in main") != NULL;
        _exit(e == GATE_OK ? 0 : e == GATE_CLOSED && cure ? 1 : 2);
    }
    int status;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

Test(host, too_late_is_an_error_that_names_the_cure) {
    cr_assert_eq(s_late_init(NULL), 1);
    cr_assert_eq(s_late_init("1"), 0);
}

Test(host, a_lost_zygote_is_replaced_where_that_is_allowed) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "process_late_fork", true);
    gi_pool_base_t base = {.settings = s};
    gate_pool_t *pool =
        gi_pool_procs(&base, &(gate_pool_options_t){.workers = 2});
    cr_assert(pool);
    pid_t before = gi_zygote_pid();
    for (int round = 0; round < 3; round++) {
        int x = 0;
        pid_t now = gi_zygote_pid();
        if (now > 0) /* the next may not be there yet */
            kill(now, SIGKILL);
        gate_err_t e = GATE_WORKERLOST;
        for (int i = 0; i < 50 && e == GATE_WORKERLOST; i++) {
            GATE_OWN(gate_future) f = gate_submit(pool, use_pid);
            e = gate_future_wait(f, 5000, &x);
        }
        ok(e);
    }
    cr_assert_neq(gi_zygote_pid(), before);
    gate_pool_destroy(&pool);
    gate_settings_destroy(&s);
}

Test(host, more_memory_than_there_is) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "process_slab_bytes", 1L << 40);
    gi_pool_base_t base = {.settings = s};
    gate_pool_t *pool = gi_pool_procs(&base, NULL);
    cr_assert_null(pool);
    cr_assert_eq(gate_error()->code, GATE_NOMEM);
    gate_settings_destroy(&s);
}

Test(host, no_descriptors) {
    struct rlimit old, few;
    getrlimit(RLIMIT_NOFILE, &old);
    few = old;
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    int before = s_count("/proc/self/fd");
    for (int n = before; n < before + 12; n++) {
        few.rlim_cur = (rlim_t)n;
        setrlimit(RLIMIT_NOFILE, &few);
        gate_pool_t *pool =
            gi_pool_procs(&base, &(gate_pool_options_t){.workers = 2});
        gate_pool_destroy(&pool); /* made or not: no crash, no leak */
        setrlimit(RLIMIT_NOFILE, &old);
        cr_assert_eq(s_count("/proc/self/fd"), before);
    }
}

static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }

Test(host, no_memory_at_any_allocation) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    int passed = 0;
    for (long n = 1; n < 400 && passed < 3; n++) {
        gi_mem_fail_at(n, false);
        gate_pool_t *pool =
            gi_pool_procs(&base, &(gate_pool_options_t){.workers = 1});
        gate_err_t e = pool ? GATE_OK : gate_error()->code;
        if (pool) {
            GATE_OWN(gate_future) f = gate_submit(pool, one);
            int x;
            e = gate_future_wait(f, 5000, &x);
        }
        cr_assert(e == GATE_OK || e == GATE_NOMEM, "%ld: %s", n,
                  gate_error()->text);
        passed = e == GATE_OK ? passed + 1 : 0;
        gi_mem_fail_at(0, false);
        gate_pool_destroy(&pool);
    }
    cr_assert_eq(passed, 3);
}

Test(host, bad_cpus) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    const char *const bad[] = {"x",  "3-1", "1,,2", "99999", "1-",
                               "-2", "0,",  " 0",   "+0",    "1023"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gate_pool_options_t o = {.workers = 1, .cpus = bad[i]};
        cr_assert_null(gi_pool_procs(&base, &o), "%s", bad[i]);
        cr_assert_eq(gate_error()->code, GATE_BADARG);
    }
}

/* ---- the pool's verbs ---------------------------------------------------- */

static gate_err_t nap(gate_call_t *call) {
    int ms;
    gate_err_t e = gate_args(call, &ms);
    if (e)
        return e;
    usleep((useconds_t)ms * 1000);
    return gate_return(call, ms);
}

Test(host, busy_when_full) {
    gate_pool_options_t o = {.workers = 1, .queue_max = 5};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    gate_future_t *f[20];
    int busy = 0, x;
    for (int i = 0; i < 20; i++)
        f[i] = gate_submit(pool, nap, 5);
    for (int i = 0; i < 20; i++) {
        gate_err_t e = gate_future_wait(f[i], 5000, &x);
        cr_assert(e == GATE_OK || e == GATE_BUSY);
        busy += e == GATE_BUSY;
        gate_future_destroy(&f[i]);
    }
    cr_assert_geq(busy, 10);
    cr_assert_lt(busy, 16);
}

static gate_err_t order(gate_call_t *call) {
    static int n; /* one worker */
    return gate_return(call, n++);
}

Test(host, high_priority_goes_first) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t high = {.priority = GATE_HIGH};
    GATE_OWN(gate_future) busy = gate_submit(pool, nap, 100);
    GATE_OWN(gate_future) low = gate_submit(pool, order);
    GATE_OWN(gate_future) low2 = gate_submit(pool, order);
    GATE_OWN(gate_future) up = gate_submit_with(pool, order, &high);
    int x, y;
    ok(gate_future_wait(busy, 5000, &x));
    ok(gate_future_wait(low2, 5000, &x));
    ok(gate_future_wait(up, 5000, &y));
    cr_assert_lt(y, x);
}

Test(host, drain_waits_and_refuses) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, nap, 300);
    fails(gate_pool_drain(pool, 20), GATE_TIMEOUT);
    GATE_OWN(gate_future) g = gate_submit(pool, nap, 1);
    int x;
    fails(gate_future_wait(g, 5000, &x), GATE_CLOSED);
    ok(gate_pool_drain(pool, 5000));
    ok(gate_future_wait(f, 0, &x));
}

Test(host, resize) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    for (int n = 1; n <= 5; n += 4) {
        ok(gate_pool_resize(pool, n));
        long alive = 0;
        for (int i = 0; i < 500 && alive != n; i++, usleep(10000)) {
            GATE_OWN(gate_value) v = gate_pool_stats(pool);
            alive = s_number(v, "alive");
        }
        cr_assert_eq(alive, n);
    }
    ok(gate_pool_resize(pool, 1));
    long alive = 0;
    for (int i = 0; i < 500 && alive != 1; i++, usleep(10000)) {
        GATE_OWN(gate_value) v = gate_pool_stats(pool);
        alive = s_number(v, "alive");
    }
    cr_assert_eq(alive, 1);
    fails(gate_pool_resize(pool, 0), GATE_BADARG);
}

static int64_t s_cpu_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

Test(host, an_idle_pool_costs_nothing) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    GATE_OWN(gate_future) f = gate_submit(pool, one);
    int x;
    ok(gate_future_wait(f, 5000, &x));
    usleep(200000);
    int64_t least = INT64_MAX; /* a sanitizer has a thread of its own */
    for (int i = 0; i < 10 && least > 250; i++) {
        int64_t began = s_cpu_us();
        usleep(250000);
        int64_t took = s_cpu_us() - began;
        least = took < least ? took : least;
    }
    cr_assert_leq(least, 250); /* a tick each ms costs ten times as much */
}
