/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_timers.c -- timers against jobs that have just finished: a kill never
 * hits the next job. Short jobs in turns: with a hard limit that is about as
 * long as they are; cancelled at about their end, with a grace of a
 * millisecond, and once more when the ticket is stale; innocent ones right
 * behind them. Each ends exactly once; an innocent one always well; a limit
 * never strikes before its time; a cancel only what was cancelled.
 * GATE_LONG=1: 20,000 jobs. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <gaterpc.h>
#include "sync/clock.h"
#include "sync/futex.h"
#include "mail/logring.h"
#include "jobs/pool.h"
#include "check.h"

#define FLIGHT 8
#define HARD_MS 2

static unsigned s_random(unsigned below) {
    static unsigned seed = 1;
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % below;
}

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

typedef enum s_kind { LIMITED, CANCELLED, INNOCENT, ENDLESS, KINDS } s_kind_t;

typedef struct s_job {
    atomic_int ends;
    s_kind_t kind;
    uint32_t n;
    int64_t sent_ns;
    gi_ticket_t ticket;
} s_job_t;

static _Atomic uint32_t s_flying;
static atomic_long s_ok[KINDS], s_killed[KINDS];

/* The result is the job's own number: 0xce and four bytes. */
static void s_check_result(const s_job_t *job, const void *data, size_t size) {
    const unsigned char *p = data;
    uint32_t n = 0;
    for (size_t i = p[0] == 0xce || p[0] == 0xcd || p[0] == 0xcc; i < size; i++)
        n = n << 8 | p[i];
    CHECK(n == job->n, "job %u got the result of %u", job->n, n);
}

static void s_done(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    s_job_t *job = ctx;
    int64_t took_ns = gi_clock_ns() - job->sent_ns;
    CHECK(atomic_fetch_add(&job->ends, 1) == 0, "job %u ended twice", job->n);
    if (!err) {
        CHECK(job->kind != ENDLESS, "job %u outlived its limit", job->n);
        s_check_result(job, data, size);
        atomic_fetch_add(&s_ok[job->kind], 1);
    } else {
        bool limit = job->kind == LIMITED || job->kind == ENDLESS;
        CHECK(job->kind != INNOCENT, "innocent job %u: %s", job->n, err->text);
        CHECK(err->code == (limit ? GATE_TIMEOUT : GATE_CANCELLED),
              "job %u: %s: %s", job->n, err->cls, err->text);
        /* the pool's clock for it counts whole milliseconds */
        CHECK(!limit || took_ns > (HARD_MS - 1) * 1000000,
              "job %u was killed after %lld ns", job->n, (long long)took_ns);
        atomic_fetch_add(&s_killed[job->kind], 1);
    }
    atomic_fetch_sub(&s_flying, 1);
    gi_futex_wake(&s_flying);
}

static void s_wait_below(uint32_t n) {
    int64_t until = gi_clock_ms() + 60000;
    for (uint32_t now; (now = atomic_load(&s_flying)) >= n;) {
        gi_futex_wait(&s_flying, now, 1000);
        CHECK(gi_clock_ms() < until, "hung with %u in flight", now);
    }
}

static void s_submit(gate_pool_t *pool, s_job_t *job, uint32_t us) {
    static const gi_sink_t sink = {.done = s_done};
    uint32_t of[2] = {job->n, us};
    unsigned char args[11] = {0x92}, *p = args + 1;
    for (int k = 0; k < 2; k++) {
        *p++ = 0xce;
        for (int i = 24; i >= 0; i -= 8)
            *p++ = (unsigned char)(of[k] >> i);
    }
    gi_request_t r = {.fn = work,
                      .name = "timed",
                      .args = {args, sizeof args},
                      .deadline_ms = INT64_MAX,
                      .sink = &sink,
                      .ctx = job};
    if (job->kind == LIMITED || job->kind == ENDLESS)
        r.options.hard_ms = HARD_MS;
    atomic_fetch_add(&s_flying, 1);
    job->sent_ns = gi_clock_ns();
    gate_err_t e = gi_pool_submit(pool, &r, &job->ticket);
    CHECK(e == GATE_OK, "submit: %s", gate_error()->text);
}

/* About as long as the limit, or as the time until the cancel. */
static uint32_t s_us(s_kind_t kind) {
    return kind == ENDLESS    ? 3600000000u
           : kind == INNOCENT ? s_random(100)
           : kind == LIMITED  ? HARD_MS * 1000 - 1000 + s_random(2000)
                              : s_random(1000);
}

/* At about its end; then its ticket, or that of one that ended long ago. */
static void s_cancel(gate_pool_t *pool, const s_job_t *jobs, int i) {
    int64_t until = gi_clock_ns() + s_random(4000) * 1000;
    while (gi_clock_ns() < until && !jobs[i].ends)
        ;
    gi_pool_cancel(pool, jobs[i].ticket);
    gi_pool_cancel(pool, jobs[i].ticket);
    for (int k = i - FLIGHT * 2; k >= 0 && k > i - FLIGHT * 4; k--)
        if (jobs[k].ends) /* its memory is another job's by now */
            gi_pool_cancel(pool, jobs[k].ticket);
}

int main(void) {
    const char *scale = getenv("GATE_SCALE");
    int n = (int)(1200 * (scale ? atof(scale) : 1));
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_options_t o = {
        .name = "timers", .workers = 3, .grace_ms = 1, .restart_max = 1000000};
    if (getenv("GATE_LONG"))
        n = 20000;
    if (n < 200)
        n = 200;
    gi_log_levels(GATE_ERROR, ""); /* each kill is a line */
    CHECK(gate_process_init() == GATE_OK, "%s", gate_error()->text);
    gate_pool_t *pool = gi_pool_procs(&base, &o);
    s_job_t *jobs = calloc((size_t)n, sizeof *jobs);
    CHECK(pool && jobs, "%s", gate_error()->text);
    for (int i = 0; i < n; i++) {
        jobs[i].n = (uint32_t)i;
        jobs[i].kind = i % 64 == 0  ? ENDLESS
                       : i % 4 == 1 ? LIMITED
                       : i % 4 == 3 ? CANCELLED
                                    : INNOCENT;
        s_wait_below(FLIGHT);
        s_submit(pool, &jobs[i], s_us(jobs[i].kind));
        if (jobs[i].kind == CANCELLED)
            s_cancel(pool, jobs, i);
    }
    s_wait_below(1);
    for (int i = 0; i < n; i++)
        CHECK(jobs[i].ends == 1, "job %d ended %d times", i, jobs[i].ends);
    CHECK(s_killed[ENDLESS] == (n + 63) / 64, "%ld", (long)s_killed[ENDLESS]);
    printf("%d jobs: limited %ld well, %ld killed; cancelled %ld well, %ld "
           "not; innocent %ld, all well; endless %ld, all killed\n",
           n, (long)s_ok[LIMITED], (long)s_killed[LIMITED],
           (long)s_ok[CANCELLED], (long)s_killed[CANCELLED],
           (long)s_ok[INNOCENT], (long)s_killed[ENDLESS]);
    gate_pool_destroy(&pool);
    free(jobs);
    return 0;
}
