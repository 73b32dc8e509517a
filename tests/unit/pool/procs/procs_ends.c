/* SPDX-License-Identifier: BSD-3-Clause */
/* Every future ends, rightly and in time: what cannot be sent, what is too
 * large, limits of every attempt, deadlines and urgency of what was sent ahead,
 * a stream that nobody reads, a pool that is stopped. */
#include "procs_kit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "procs/procs_core.h"
#include "sync/clock.h"
#include "sync/later.h"

static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }

static gate_err_t size_of(gate_call_t *call) {
    gate_bytes_t b;
    gate_err_t e = gate_args(call, &b);
    return e ? e : gate_return(call, (long)b.size);
}

static gate_err_t nap(gate_call_t *call) {
    int ms;
    gate_err_t e = gate_args(call, &ms);
    if (!e)
        usleep((useconds_t)ms * 1000);
    return e ? e : gate_return(call, ms);
}

static gate_err_t blob(gate_call_t *call) {
    long n;
    gate_err_t e = gate_args(call, &n);
    char *p = e ? NULL : calloc(1, (size_t)n);
    if (p)
        e = gate_return(call, gate_bin(p, (size_t)n));
    free(p);
    return e;
}

static gate_err_t yields(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (int i = 0; i < 1000000 && !e; i++)
        e = gate_yield(call, i);
    return e;
}

/* Dies after ms in its first attempt, takes ms in its second. */
static gate_err_t dies_first(gate_call_t *call) {
    int ms;
    gate_err_t e = gate_args(call, &ms);
    if (e)
        return e;
    usleep((useconds_t)ms * 1000);
    if (gate_call_attempt(call) == 1)
        kill(getpid(), SIGKILL);
    return gate_return(call, ms);
}

Test(ends, what_cannot_be_sent_steps_aside_and_ends) {
    enum { SIZE = 5 << 20 };
    GATE_OWN(gate_pool) pool = s_pool(1);
    struct rlimit old, few;
    char *large = calloc(1, SIZE);
    long x;
    int fds[64], n = 0;
    ok(gate_pool_ready(pool, 20000));
    getrlimit(RLIMIT_NOFILE, &old);
    few = old;
    few.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &few);
    while (n < 64 && (fds[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    int64_t began = gi_clock_ms();
    GATE_OWN(gate_future) f = gate_submit(pool, size_of, gate_bin(large, SIZE));
    GATE_OWN(gate_future) g = gate_submit(pool, one); /* passes it */
    gate_err_t small = gate_future_wait(g, 20000, &x);
    int64_t passed = gi_clock_ms() - began;
    gate_err_t e = gate_future_wait(f, 20000, &x);
    while (n > 0)
        close(fds[--n]);
    setrlimit(RLIMIT_NOFILE, &old);
    ok(small);
    cr_assert_lt(passed, 2000); /* before the other ends */
    cr_assert_eq(e, GATE_SYSTEM);
    cr_assert(strstr(gate_error()->text, strerror(EMFILE)), "%s",
              gate_error()->text);
    GATE_OWN(gate_future) h = gate_submit(pool, size_of, gate_bin(large, SIZE));
    ok(gate_future_wait(h, 20000, &x));
    cr_assert_eq(x, SIZE);
    free(large);
}

/* What a job is given, gives and gives to a map may be as long as
 * huge_max_bytes, whatever a peer's plain values may be. */
static void s_large_values(gate_pool_t *pool, long size, gate_err_t wanted) {
    gate_arg_t input = gate_int(size);
    gate_stream_t *stream = NULL;
    gate_bytes_t b = {0};
    long x;
    char *large = calloc(1, (size_t)size);
    GATE_OWN(gate_future)
    f = gate_submit(pool, size_of, gate_bin(large, (size_t)size));
    GATE_OWN(gate_future) g = gate_submit(pool, blob, size);
    ok(gate_pool_map(pool, blob, &input, 1, true, &stream));
    gate_err_t got[] = {gate_future_wait(f, 20000, &x),
                        gate_future_wait(g, 20000, &b),
                        gate_stream_next(stream, &b)};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(got[i], wanted, "%d: %s", i, gate_err_name(got[i]));
    if (wanted) {
        cr_assert(strstr(gate_error()->text, "huge_max_bytes"), "%s",
                  gate_error()->text);
    } else {
        cr_assert_eq(x, size);
        cr_assert_eq(b.size, (size_t)size);
    }
    gate_stream_destroy(&stream);
    free(large);
}

Test(ends, large_values_are_bounded_by_huge_max_bytes, .timeout = 60) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "huge_max_bytes", 4L << 20);
    gate_settings_set(s, "msgpack_bin_max", 1L << 16);
    gi_pool_base_t base = {.settings = s};
    const gate_pool_options_t one_worker = {.workers = 1};
    for (int kind = 0; kind < 2; kind++) {
        gate_pool_t *pool =
            (kind ? gi_pool_threads : gi_pool_procs)(&base, &one_worker);
        cr_assert(pool);
        s_large_values(pool, 1L << 17, GATE_OK);
        s_large_values(pool, (4L << 20) - 1000, GATE_OK);
        s_large_values(pool, 5L << 20, GATE_TOOBIG);
        GATE_OWN(gate_value) v = gate_pool_stats(pool);
        long lost = -1;
        ok(gate_value_read(v, "lost", &lost));
        cr_assert_eq(lost, 0); /* no worker died of it */
        gate_pool_destroy(&pool);
    }
    gate_settings_destroy(&s);
}

Test(ends, limits_belong_to_the_attempt) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t o = {.idempotent = true, .hard_ms = 2000};
    GATE_OWN(gate_future) f = gate_submit_with(pool, dies_first, &o, 1200);
    int x;
    ok(gate_future_wait(f, 20000, &x));
}

Test(ends, none_is_none_and_negatives_are_refused) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    const int64_t none[] = {-1, INT64_MAX};
    for (int i = 0; i < 2; i++) {
        gate_job_options_t o = {.hard_ms = none[i], .soft_ms = none[i]};
        GATE_OWN(gate_future) f = gate_submit_with(pool, nap, &o, 50);
        GATE_OWN(gate_future)
        g = gate_submit_with(pool, nap, &o, 1, gate_timeout_ms(INT64_MAX));
        int x;
        ok(gate_future_wait(f, 20000, &x));
        ok(gate_future_wait(g, 20000, &x));
    }
    gate_job_options_t bad = {.hard_ms = -2};
    GATE_OWN(gate_future) f = gate_submit_with(pool, nap, &bad, 1);
    int x;
    fails(gate_future_wait(f, 20000, &x), GATE_BADARG);
    gate_pool_options_t o = {.workers = 1, .grace_ms = -7};
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    cr_assert_null(gi_pool_procs(&base, &o));
    cr_assert_eq(gate_error()->code, GATE_BADARG);
}

/* So many short jobs that it is sent ahead as much as there may be. */
static void s_train(gate_pool_t *pool) {
    for (int i = 0; i < 20000; i += 100) {
        gate_future_t *f[100];
        int x;
        for (int k = 0; k < 100; k++)
            f[k] = gate_submit(pool, one);
        for (int k = 0; k < 100; k++) {
            ok(gate_future_wait(f[k], 20000, &x));
            gate_future_destroy(&f[k]);
        }
    }
}

Test(ends, what_was_sent_ahead_obeys_urgency_and_deadline) {
    enum { N = 60 };
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t high = {.priority = GATE_HIGH};
    gate_future_t *f[N];
    int x;
    s_train(pool);
    for (int i = 0; i < N; i++)
        f[i] = gate_submit(pool, nap, 50); /* three seconds */
    int64_t began = gi_clock_ms();
    GATE_OWN(gate_future)
    late = gate_submit(pool, nap, 1, gate_timeout_ms(300));
    GATE_OWN(gate_future) up = gate_submit_with(pool, nap, &high, 1);
    ok(gate_future_wait(up, 20000, &x));
    cr_assert(!gate_future_ready(f[N / 2]), "it waited behind the others");
    GATE_OWN(gate_value) v = gate_pool_stats(pool);
    long running = -1, queued = -1;
    ok(gate_value_read(v, "running", &running));
    ok(gate_value_read(v, "queued", &queued));
    cr_assert_leq(running, 1);
    cr_assert_gt(queued, N / 2);
    fails(gate_future_wait(late, 20000, &x), GATE_TIMEOUT);
    cr_assert_lt(gi_clock_ms() - began, 2500);
    ok(gate_pool_stop(pool, GATE_STOP_QUEUED | GATE_STOP_RUNNING, 20000));
    int cancelled = 0;
    for (int i = 0; i < N; i++) {
        gate_err_t e = gate_future_wait(f[i], 0, &x);
        cr_assert(e == GATE_OK || e == GATE_CANCELLED, "%s", gate_err_name(e));
        cancelled += e == GATE_CANCELLED;
        gate_future_destroy(&f[i]);
    }
    cr_assert_gt(cancelled, 0);
}

Test(ends, destroy_does_not_wait_for_a_reader) {
    gate_pool_t *pool = s_pool(1);
    gate_stream_t *stream = NULL;
    ok(gate_submit_stream(pool, yields, &stream));
    usleep(100000);
    gate_pool_destroy(&pool); /* before the stream, by the same thread */
    gate_stream_destroy(&stream);
}

Test(ends, room_is_waited_for) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .queue_max = 2};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    gate_future_t *f[30];
    int x;
    for (int i = 0; i < 30; i++) {
        ok(gate_pool_room(pool, 20000));
        f[i] = gate_submit(pool, nap, 3);
    }
    for (int i = 0; i < 30; i++) {
        ok(gate_future_wait(f[i], 20000, &x));
        gate_future_destroy(&f[i]);
    }
}

/* ---- more options -------------------------------------------------------- */

static gate_err_t start(gate_worker_t *self, void *arg) {
    static char text[64];
    if (strcmp(arg, "refuse") == 0)
        return gi_err(GATE_SYSTEM, "no model %d", self->number);
    snprintf(text, sizeof text, "%s %s %d", self->pool, (const char *)arg,
             self->number);
    self->ctx = text;
    return GATE_OK;
}

static gate_err_t tell(gate_call_t *call) {
    return gate_return(call,
                       gate_map(gate_kw("ctx", (char *)gate_call_ctx(call)),
                                gate_kw("env", getenv("GATE_TEST_ENV")),
                                gate_kw("rand", rand())));
}

Test(ends, a_start_with_number_argument_and_error) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_options_t o = {.name = "m", .workers = 1};
    gate_pool_more_t more = {
        .size = sizeof more,
        .start = start,
        .arg = (char[]){"arg"},
        .env = (const char *const[]){"GATE_TEST_ENV=7", NULL}};
    static char arg[] = "arg", refuse[] = "refuse";
    more.arg = arg;
    gate_pool_t *pool = gi_pool_procs_more(&base, &o, &more);
    cr_assert(pool);
    const char *text;
    {
        GATE_OWN(gate_future) f = gate_submit(pool, tell);
        GATE_OWN(gate_value) v = NULL;
        ok(gate_future_wait(f, 20000, &v));
        ok(gate_value_read(v, "ctx", &text));
        cr_assert_str_eq(text, "m arg 0");
        ok(gate_value_read(v, "env", &text));
        cr_assert_str_eq(text, "7");
    }
    gate_pool_destroy(&pool);
    more.arg = refuse;
    pool = gi_pool_procs_more(&base, &o, &more);
    fails(gate_pool_ready(pool, 20000), GATE_BUSY);
    cr_assert(strstr(gate_error()->text, "no model 0"), "%s",
              gate_error()->text);
    gate_pool_destroy(&pool);
    more = (gate_pool_more_t){.size = sizeof more, .user = "no-such-user"};
    cr_assert_null(gi_pool_procs_more(&base, &o, &more));
    more = (gate_pool_more_t){.size = sizeof more, .umask = "99"};
    cr_assert_null(gi_pool_procs_more(&base, &o, &more));
    more.size = offsetof(gate_pool_more_t, umask); /* an older program */
    pool = gi_pool_procs_more(&base, &o, &more);
    cr_assert(pool);
    gate_pool_destroy(&pool);
}

/* ---- large arguments ------------------------------------------------------ */

static gate_err_t length(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, data.size);
}

static int s_fds(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Payloads that no lane takes lie in memory of their own from the submission
 * on, as far as descriptors go; the others are copied when they are sent.
 * Nothing of either is left. */
Test(procs_ends, many_large_arguments, .timeout = 60) {
    enum { JOBS = 70, SIZE = 3 << 20 };
    GATE_OWN(gate_pool) pool = s_pool(1);
    static char zeros[SIZE];
    gate_future_t *f[JOBS];
    int64_t x;
    ok(gate_pool_ready(pool, 30000));
    int before = s_fds();
    for (int i = 0; i < JOBS; i++)
        f[i] = gate_submit(pool, length, gate_bin(zeros, (size_t)(SIZE - i)));
    gate_future_cancel(f[JOBS - 1]);
    for (int i = 0; i < JOBS - 1; i++) {
        ok(gate_future_wait(f[i], 50000, &x));
        cr_assert_eq(x, SIZE - i);
    }
    for (int i = 0; i < JOBS; i++)
        gate_future_destroy(&f[i]);
    ok(gate_pool_drain(pool, 30000));
    cr_assert_leq(s_fds(), before);
}

/* ---- what is idle gives back ---------------------------------------------- */

static int64_t s_stat(gate_pool_t *pool, const char *name) {
    GATE_OWN(gate_value) stats = gate_pool_stats(pool);
    int64_t n = -1;
    ok(gate_value_read(stats, name, &n));
    return n;
}

static bool s_becomes(gate_pool_t *pool, const char *name, int64_t n) {
    int64_t until = gi_clock_ms() + 40000;
    while (s_stat(pool, name) != n && gi_clock_ms() < until)
        usleep(2000);
    return s_stat(pool, name) == n;
}

/* Of all shared memory of this process, in KiB. */
static long s_shared_kib(void) {
    char line[256];
    long all = 0, kib;
    FILE *f = fopen("/proc/self/smaps", "re");
    bool ours = false;
    cr_assert(f);
    while (fgets(line, sizeof line, f)) {
        if (strchr(line, '-') && strchr(line, ' ') && !strstr(line, "kB"))
            ours = strstr(line, "memfd:gate-") != NULL;
        if (ours && sscanf(line, "Rss: %ld kB", &kib) == 1)
            all += kib;
    }
    fclose(f);
    return all;
}

static gate_err_t slow(gate_call_t *call) {
    int64_t ms;
    gate_err_t e = gate_args(call, &ms);
    usleep((useconds_t)ms * 1000);
    return e ? e : gate_return(call, ms);
}

static gate_err_t me(gate_call_t *call) {
    return gate_return(call, (long)getpid());
}

Test(procs_ends, idle_workers_leave_and_come_back, .timeout = 120) {
    gate_pool_more_t more = {
        .size = sizeof more, .idle_ms = 200, .idle_workers = 1};
    gate_pool_options_t o = {.name = "t", .workers = 3};
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    GATE_OWN(gate_pool) pool = gi_pool_procs_more(&base, &o, &more);
    int64_t x;
    cr_assert(pool);
    for (int round = 0; round < 2; round++) {
        gate_future_t *f[30];
        for (int i = 0; i < 30; i++)
            f[i] = gate_submit(pool, slow, 20);
        for (int i = 0; i < 30; i++) {
            ok(gate_future_wait(f[i], 40000, &x));
            gate_future_destroy(&f[i]);
        }
        cr_assert(s_becomes(pool, "alive", 1));
        ok(gate_pool_ready(pool, 0));
    }
    GATE_OWN(gate_value) stats = gate_pool_stats(pool);
    ok(gate_value_read(stats, "restarts.idle", &x));
    cr_assert_geq(x, 2);
}

Test(procs_ends, none_need_stay, .timeout = 120) {
    gate_pool_more_t more = {.size = sizeof more, .idle_ms = 100};
    gate_pool_options_t o = {.name = "t", .workers = 2};
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    GATE_OWN(gate_pool) pool = gi_pool_procs_more(&base, &o, &more);
    int64_t x;
    ok(gate_pool_ready(pool, 40000));
    for (int round = 0; round < 3; round++) {
        cr_assert(s_becomes(pool, "alive", 0));
        ok(gate_pool_ready(pool, 0));
        GATE_OWN(gate_future) f = gate_submit(pool, me);
        ok(gate_future_wait(f, 40000, &x));
        cr_assert_gt(x, 0);
    }
    more.idle_ms = -2;
    cr_assert_null(gi_pool_procs_more(&base, &o, &more));
    cr_assert_eq(gate_error()->code, GATE_BADARG);
}

Test(procs_ends, a_shrunk_pool_gives_memory_back, .timeout = 120) {
    GATE_OWN(gate_pool) pool = s_pool(8);
    int64_t x;
    cr_assert(s_becomes(pool, "alive", 8));
    long before = s_shared_kib();
    cr_assert_gt(before, 8 * 8000, "%ld", before);
    ok(gate_pool_resize(pool, 1));
    int64_t until = gi_clock_ms() + 40000;
    while (s_shared_kib() >= before / 2 && gi_clock_ms() < until)
        usleep(5000);
    cr_assert_lt(s_shared_kib(), before / 2);
    ok(gate_pool_resize(pool, 8));
    cr_assert(s_becomes(pool, "alive", 8));
    for (int i = 0; i < 100; i++) {
        GATE_OWN(gate_future) f = gate_submit(pool, me);
        ok(gate_future_wait(f, 40000, &x));
    }
}

/* Jobs of a burst are given back; tickets of theirs name nobody any more. */
Test(procs_ends, a_burst_is_forgotten, .timeout = 120) {
    enum { JOBS = 3000 };
    gate_pool_options_t o = {.name = "t", .workers = 2, .queue_max = JOBS};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    static gate_future_t *f[JOBS];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < JOBS; i++)
            f[i] = i < 2 ? gate_submit(pool, slow, 300) : gate_submit(pool, me);
        for (int i = 0; i < JOBS; i++)
            ok(gate_future_wait(f[i], 60000, gate_onone(NULL)));
        gi_procs_t *p = pool->impl;
        int64_t until = gi_clock_ms() + 40000;
        size_t left = JOBS;
        while (left > 1024 && gi_clock_ms() < until) {
            usleep(5000);
            pthread_mutex_lock(&p->lock);
            left = p->n_all;
            pthread_mutex_unlock(&p->lock);
        }
        cr_assert_leq(left, 1024);
        for (int i = 0; i < JOBS; i++) {
            gate_future_cancel(f[i]);
            gate_future_destroy(&f[i]);
        }
    }
}

/* ---- in a callback --------------------------------------------------------- */

typedef struct s_waiter {
    gate_pool_t *pool;
    atomic_int got; /* 1 + what waiting gave */
} s_waiter_t;

static void s_wait_here(void *ctx, gate_err_t e, const gate_value_t *value) {
    s_waiter_t *self = ctx;
    GATE_OWN(gate_future) f = gate_submit(self->pool, me);
    gate_err_t waited = gate_future_wait(f, -1, gate_onone(NULL));
    (void)e;
    (void)value;
    gate_pool_destroy(&self->pool);
    atomic_store(&self->got, 1 + (int)waited);
}

/* It runs on the thread that would bring the answer. */
Test(procs_ends, a_callback_that_waits_is_told, .timeout = 60) {
    s_waiter_t w = {.pool = s_pool(1)};
    int64_t until = gi_clock_ms() + 40000;
    gate_future_t *f = gate_submit(w.pool, slow, 50);
    gate_future_then(&f, NULL, s_wait_here, &w);
    while (!atomic_load(&w.got) && gi_clock_ms() < until)
        usleep(1000);
    cr_assert_eq(atomic_load(&w.got), 1 + (int)GATE_WOULDBLOCK);
    gi_later_wait(); /* the pool has ended */
}

Test(procs_ends, a_job_without_a_deadline_of_its_own, .timeout = 60) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, slow, 20, gate_timeout_ms(-1));
    GATE_OWN(gate_future)
    g = gate_submit(pool, slow, 20, gate_timeout_ms(INT64_MAX));
    GATE_OWN(gate_future) h = gate_submit(pool, slow, 20, gate_timeout_ms(-2));
    ok(gate_future_wait(f, 40000, gate_onone(NULL)));
    ok(gate_future_wait(g, 40000, gate_onone(NULL)));
    fails(gate_future_wait(h, 40000, gate_onone(NULL)), GATE_BADARG);
}
