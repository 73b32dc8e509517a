/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers that die, lie, hang or stop: what each costs, and whom. */
#include "procs_kit.h"
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "sync/clock.h"
#include "shared/shm.h"

static gate_err_t add(gate_call_t *call) {
    long a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t die(gate_call_t *call) {
    int sig = SIGKILL;
    gate_err_t e = gate_args(call, gate_opt(&sig));
    if (e)
        return e;
    signal(sig, SIG_DFL); /* a sanitizer's handler */
    raise(sig);
    return gate_return(call, 0);
}

static gate_err_t leave(gate_call_t *call) {
    (void)call;
    _exit(3);
}

static gate_err_t pid(gate_call_t *call) {
    return gate_return(call, (int)getpid());
}

static gate_err_t nap(gate_call_t *call) {
    int ms;
    gate_err_t e = gate_args(call, &ms);
    if (e)
        return e;
    usleep((useconds_t)ms * 1000);
    return gate_return(call, (int)getpid());
}

/* Dies on its first runs: how often is argument 2. */
static gate_err_t die_until(gate_call_t *call) {
    int n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    if (gate_call_attempt(call) <= n)
        kill(getpid(), SIGKILL);
    return gate_return(call, gate_call_attempt(call));
}

static long s_stat(gate_pool_t *pool, const char *path) {
    GATE_OWN(gate_value) v = gate_pool_stats(pool);
    long n = -1;
    if (gate_value_read(v, path, &n) != GATE_OK)
        return 0;
    return n;
}

Test(crash, killed_job_is_lost_and_says_how) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, die, SIGSEGV);
    GATE_OWN(gate_future) g = gate_submit(pool, add, 1, 2);
    long x;
    fails(gate_future_wait(f, 5000, &x), GATE_WORKERLOST);
    cr_assert(strstr(gate_error()->text, "signal 11"), "%s",
              gate_error()->text);
    ok(gate_future_wait(g, 5000, &x));
    cr_assert_eq(x, 3);
    cr_assert_eq(s_stat(pool, "lost"), 1);
    cr_assert_eq(s_stat(pool, "restarts.crash"), 1);
}

Test(crash, exit_is_a_death_too) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, leave);
    long x;
    fails(gate_future_wait(f, 5000, &x), GATE_WORKERLOST);
    cr_assert(strstr(gate_error()->text, "status 3"), "%s", gate_error()->text);
}

Test(crash, idempotent_runs_again_and_knows_it) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_job_options_t o = {.idempotent = true};
    GATE_OWN(gate_future) f = gate_submit_with(pool, die_until, &o, 2);
    long x;
    ok(gate_future_wait(f, 5000, &x));
    cr_assert_eq(x, 3);
}

Test(crash, three_kills_are_quarantine) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_job_options_t o = {.idempotent = true, .max_attempts = 10};
    GATE_OWN(gate_future) f = gate_submit_with(pool, die_until, &o, 9);
    long x;
    fails(gate_future_wait(f, 5000, &x), GATE_WORKERLOST);
    cr_assert(strstr(gate_error()->text, "quarantined"), "%s",
              gate_error()->text);
    cr_assert_eq(s_stat(pool, "restarts.crash"), 3);
}

Test(crash, jobs_behind_a_killed_one_are_run) {
    enum { N = 200 };
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_future_t *f[N], *dead;
    for (int i = 0; i < 100; i++) { /* let it prefetch */
        GATE_OWN(gate_future) w = gate_submit(pool, add, 1, 1);
        long x;
        ok(gate_future_wait(w, 5000, &x));
    }
    dead = gate_submit(pool, die);
    for (int i = 0; i < N; i++)
        f[i] = gate_submit(pool, add, i, i);
    long x;
    fails(gate_future_wait(dead, 5000, &x), GATE_WORKERLOST);
    gate_future_destroy(&dead);
    for (int i = 0; i < N; i++) {
        ok(gate_future_wait(f[i], 5000, &x));
        cr_assert_eq(x, 2 * i);
        gate_future_destroy(&f[i]);
    }
}

Test(crash, cancel_kills_after_grace_and_nothing_else) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .grace_ms = 50};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    GATE_OWN(gate_future) f = gate_submit(pool, nap, 5000);
    long x;
    fails(gate_future_wait(f, 100, &x), GATE_TIMEOUT);
    int64_t began = gi_clock_ms();
    gate_future_cancel(f);
    fails(gate_future_wait(f, 3000, &x), GATE_CANCELLED);
    GATE_OWN(gate_future) g = gate_submit(pool, add, 2, 2);
    ok(gate_future_wait(g, 3000, &x));
    cr_assert_lt(gi_clock_ms() - began, 2500);
    cr_assert_eq(s_stat(pool, "restarts.cancel"), 1);
}

static gate_err_t until_cancelled(gate_call_t *call) {
    for (int i = 0; i < 5000 && !gate_call_cancelled(call); i++)
        usleep(1000);
    return gate_return(call, (int)getpid());
}

Test(crash, soft_limit_is_a_flag) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t o = {.soft_ms = 50};
    GATE_OWN(gate_future) p = gate_submit(pool, pid);
    GATE_OWN(gate_future) f = gate_submit_with(pool, until_cancelled, &o);
    long before, after;
    ok(gate_future_wait(p, 3000, &before));
    ok(gate_future_wait(f, 3000, &after));
    cr_assert_eq(before, after);
}

Test(crash, hard_limit_kills) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t o = {.hard_ms = 50};
    GATE_OWN(gate_future) f = gate_submit_with(pool, nap, &o, 5000);
    GATE_OWN(gate_future) g = gate_submit(pool, add, 2, 2);
    long x;
    fails(gate_future_wait(f, 3000, &x), GATE_TIMEOUT);
    ok(gate_future_wait(g, 3000, &x));
    cr_assert_eq(s_stat(pool, "restarts.limit"), 1);
}

/* Stopped before it took its job: another takes it. */
Test(crash, stopped_worker_keeps_nobody) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    GATE_OWN(gate_future) p = gate_submit(pool, pid);
    int stopped = 0;
    ok(gate_future_wait(p, 3000, &stopped));
    kill(stopped, SIGSTOP);
    for (int i = 0; i < 20; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, add, i, 1);
        long x;
        ok(gate_future_wait(f, 3000, &x));
        cr_assert_eq(x, i + 1);
    }
    kill(stopped, SIGCONT);
    GATE_OWN(gate_future) a = gate_submit(pool, nap, 100);
    GATE_OWN(gate_future) b = gate_submit(pool, nap, 100);
    long x, y;
    ok(gate_future_wait(a, 3000, &x));
    ok(gate_future_wait(b, 3000, &y));
    cr_assert_neq(x, y, "the stopped worker is used again");
}

/* ---- liars --------------------------------------------------------------- */

/* What the worker may write of its shared memory. */
static unsigned char *s_memory(size_t *size) {
    char line[512];
    unsigned long from = 0, to = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "memfd:gate-worker") && strstr(line, " rw") &&
            sscanf(line, "%lx-%lx", &from, &to) == 2)
            break;
    if (maps)
        fclose(maps);
    *size = to - from;
    return (unsigned char *)from;
}

static gate_err_t scribble(gate_call_t *call) {
    size_t size;
    int how;
    unsigned char *m = s_memory(&size);
    gi_shm_own_t *own = (void *)m;
    gate_err_t e = gate_args(call, &how);
    if (e)
        return e;
    switch (how) {
    case 0: /* everything */
        memset(m, 0xff, size);
        break;
    case 1:
        memset(m, 0, size);
        break;
    case 2:
        atomic_store(&own->rsp_tail, atomic_load(&own->rsp_tail) + 100000);
        break;
    case 3:
        atomic_store(&own->req_head, atomic_load(&own->req_head) + 77);
        break;
    case 4: /* a response of garbage */
        memset(m + 4096, 0x55, size - 4096);
        atomic_fetch_add(&own->rsp_tail, 1);
        break;
    case 5: /* holes in its memory */
        madvise(m, size, MADV_REMOVE);
        break;
    default: /* what is the parent's */
        signal(SIGSEGV, SIG_DFL);
        m[-1] = 1;
        break;
    }
    usleep(50000);
    return gate_return(call, how);
}

Test(crash, scribbling_costs_its_own_job) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    for (int how = 0; how < 7; how++) {
        gate_future_t *f[40];
        gate_job_options_t o = {.hard_ms = 1500};
        GATE_OWN(gate_future) liar = gate_submit_with(pool, scribble, &o, how);
        for (int i = 0; i < 40; i++)
            f[i] = gate_submit(pool, add, i, how);
        long x;
        for (int i = 0; i < 40; i++) {
            ok(gate_future_wait(f[i], 5000, &x));
            cr_assert_eq(x, i + how);
            gate_future_destroy(&f[i]);
        }
        gate_err_t e = gate_future_wait(liar, 15000, &x);
        cr_assert(e == GATE_OK || e == GATE_WORKERLOST, "%d: %s", how,
                  gate_err_name(e));
    }
    GATE_OWN(gate_future) g = gate_submit(pool, add, 2, 2);
    long x;
    ok(gate_future_wait(g, 3000, &x));
}

/* Changes claims from one state to another: its own, or of jobs behind it. */
static gate_err_t forge(gate_call_t *call) {
    size_t size;
    uint64_t from, to;
    unsigned char *m = s_memory(&size);
    gi_claim_cell_t *claims = (void *)(m + 4096);
    gate_err_t e = gate_args(call, &from, &to);
    if (e)
        return e;
    for (int64_t i = 0; i < gi_settings_defaults()->process_ring; i++)
        if ((atomic_load(&claims[i].word) & 7) == from)
            atomic_store(&claims[i].word,
                         (atomic_load(&claims[i].word) & ~7ULL) | to);
    return gate_return(call, 1);
}

/* A job that says it is to be killed, and one that makes its worker pass over
 * those behind it: nobody works at anything then. */
Test(crash, forged_claims_hang_nobody) {
    static const int how[][2] = {{GI_RUNNING, GI_DOOMED},
                                 {GI_READY, GI_REVOKED}};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        GATE_OWN(gate_pool) pool = s_pool(1);
        gate_job_options_t again = {.idempotent = true};
        gate_future_t *f[20];
        long x;
        for (int k = 0; k < 200; k++) { /* let it prefetch */
            GATE_OWN(gate_future) w = gate_submit(pool, add, 1, 1);
            ok(gate_future_wait(w, 5000, &x));
        }
        GATE_OWN(gate_future) first = gate_submit(pool, nap, 20);
        GATE_OWN(gate_future)
        liar = gate_submit(pool, forge, how[i][0], how[i][1]);
        for (int k = 0; k < 20; k++)
            f[k] = gate_submit_with(pool, add, &again, k, 1);
        ok(gate_future_wait(first, 5000, &x));
        gate_err_t e = gate_future_wait(liar, 10000, &x);
        cr_assert(e == GATE_OK || e == GATE_WORKERLOST, "%s", gate_err_name(e));
        for (int k = 0; k < 20; k++) {
            ok(gate_future_wait(f[k], 10000, &x));
            cr_assert_eq(x, k + 1);
            gate_future_destroy(&f[k]);
        }
        cr_assert_eq(s_stat(pool, "restarts.corrupt"), 1);
    }
}

/* ---- restarts ------------------------------------------------------------ */

/* Waits for the pool's state; false: it does not come. */
static bool s_await_state(gate_pool_t *pool, const char *wanted) {
    const char *state = "";
    for (int i = 0; i < 500; i++, usleep(10000)) {
        GATE_OWN(gate_value) v = gate_pool_stats(pool);
        ok(gate_value_read(v, "state", &state));
        if (strcmp(state, wanted) == 0)
            return true;
    }
    return false;
}

Test(crash, deaths_with_a_job_cost_that_job_and_no_pause) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .restart_max = 50};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    long x;
    for (int i = 0; i < 100; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, die);
        GATE_OWN(gate_future) g = gate_submit(pool, add, i, 1);
        fails(gate_future_wait(f, 3000, &x), GATE_WORKERLOST);
        if (i % 40 == 39) { /* it is not dead each time */
            GATE_OWN(gate_future) h = gate_submit(pool, die, SIGCHLD);
            ok(gate_future_wait(h, 3000, &x));
        }
        ok(gate_future_wait(g, 3000, &x));
        cr_assert_eq(x, i + 1);
    }
    cr_assert(s_await_state(pool, "running"));
    cr_assert_eq(s_stat(pool, "lost"), 100);
}

Test(crash, a_function_that_only_kills_is_refused_by_name) {
    gate_pool_options_t o = {
        .name = "t", .workers = 1, .restart_max = 3, .restart_period_ms = 300};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    long x;
    gate_fn_register("die_by_name", die);
    for (int i = 0; i < 3; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, die);
        fails(gate_future_wait(f, 3000, &x), GATE_WORKERLOST);
        cr_assert_null(strstr(gate_error()->text, "refused"));
    }
    int64_t lost = s_stat(pool, "lost");
    GATE_OWN(gate_future) f = gate_submit(pool, die);
    fails(gate_future_wait(f, 3000, &x), GATE_BUSY); /* it has not run */
    cr_assert(strstr(gate_error()->text, "not run: die_by_name is refused"),
              "%s", gate_error()->text);
    cr_assert_eq(s_stat(pool, "lost"), lost);
    GATE_OWN(gate_future) g = gate_submit(pool, add, 2, 2); /* others run */
    ok(gate_future_wait(g, 5000, &x));
    usleep(350000);
    GATE_OWN(gate_future) h = gate_submit(pool, die, SIGCHLD); /* well again */
    ok(gate_future_wait(h, 5000, &x));
    GATE_OWN(gate_future) k = gate_submit(pool, die, SIGCHLD);
    ok(gate_future_wait(k, 5000, &x));
    cr_assert_eq(s_stat(pool, "restarts.crash"), 3);
}

/* ---- births -------------------------------------------------------------- */

static bool *s_init_dies; /* shared with the workers */

static void *init_that_may_die(void) {
    if (*s_init_dies)
        abort();
    return NULL;
}

static gate_pool_t *s_dying_pool(int workers) {
    gate_pool_options_t o = {.name = "t",
                             .workers = workers,
                             .init = init_that_may_die,
                             .restart_max = 8,
                             .restart_period_ms = 500};
    return s_pool_with(&o);
}

/* Before the zygote is forked. */
__attribute__((constructor(101))) static void s_share(void) {
    s_init_dies = mmap(NULL, sizeof *s_init_dies, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

Test(crash, an_init_that_dies_ends_what_waits_and_what_comes) {
    *s_init_dies = true;
    for (int workers = 1; workers <= 3; workers += 2) {
        GATE_OWN(gate_pool) pool = s_dying_pool(workers);
        int64_t began = gi_clock_ms();
        long x;
        GATE_OWN(gate_future) f = gate_submit(pool, add, 1, 1);
        fails(gate_future_wait(f, 10000, &x), GATE_BUSY);
        cr_assert(strstr(gate_error()->text, "did not run") &&
                      strstr(gate_error()->text, "signal 6") &&
                      strstr(gate_error()->text, "init"),
                  "%s", gate_error()->text);
        cr_assert_leq(gi_clock_ms() - began, 5000); /* a second, loaded */
        GATE_OWN(gate_future) g = gate_submit(pool, add, 1, 1);
        fails(gate_future_wait(g, 0, &x), GATE_BUSY);
        cr_assert(s_await_state(pool, "broken"));
    } /* and destroy ends */
}

Test(crash, a_broken_pool_works_again_when_a_worker_comes_up) {
    *s_init_dies = true;
    GATE_OWN(gate_pool) pool = s_dying_pool(2);
    long x;
    GATE_OWN(gate_future) f = gate_submit(pool, add, 1, 1);
    fails(gate_future_wait(f, 10000, &x), GATE_BUSY);
    *s_init_dies = false;
    gate_err_t e = GATE_BUSY;
    for (int i = 0; i < 1000 && e == GATE_BUSY; i++, usleep(10000)) {
        GATE_OWN(gate_future) g = gate_submit(pool, add, 1, 1);
        e = gate_future_wait(g, 5000, &x);
    }
    ok(e);
    cr_assert(s_await_state(pool, "running"));
}

Test(crash, recycled_by_jobs) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .max_jobs = 10};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    gate_future_t *f[100];
    for (int i = 0; i < 100; i++)
        f[i] = gate_submit(pool, pid);
    int runs = 0, last = 0, same = 0;
    for (int i = 0; i < 100; i++) {
        int p;
        ok(gate_future_wait(f[i], 5000, &p));
        gate_future_destroy(&f[i]);
        same = p == last ? same + 1 : 1;
        runs += p != last;
        last = p;
        cr_assert_leq(same, 10);
    }
    cr_assert_eq(runs, 10);
    cr_assert_geq(s_stat(pool, "restarts.jobs"), 9);
}

Test(crash, recycled_by_age) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .max_age_ms = 100};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    GATE_OWN(gate_future) a = gate_submit(pool, pid);
    int x, y;
    ok(gate_future_wait(a, 3000, &x));
    usleep(300000);
    GATE_OWN(gate_future) b = gate_submit(pool, pid);
    ok(gate_future_wait(b, 3000, &y));
    cr_assert_neq(x, y);
}

static gate_err_t hoard(gate_call_t *call) {
    char *p = malloc(64 << 20);
    memset(p, 1, 64 << 20); /* kept: a leak */
    __asm__ volatile("" : : "r"(p) : "memory");
    return gate_return(call, (int)getpid());
}

Test(crash, recycled_by_memory) {
    gate_pool_options_t o = {
        .name = "t", .workers = 1, .max_rss_bytes = 200 << 20};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    int64_t until = gi_clock_ms() + 20000;
    while (s_stat(pool, "restarts.rss") == 0 && gi_clock_ms() < until) {
        GATE_OWN(gate_future) f = gate_submit(pool, hoard);
        int x;
        ok(gate_future_wait(f, 5000, &x));
        usleep(100000);
    }
    cr_assert_gt(s_stat(pool, "restarts.rss"), 0);
}
