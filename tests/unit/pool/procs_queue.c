/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues between this process and a job, in both directions, and what the end
 * of either side means to the other. */
#include "procs_kit.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static gate_queue_t *s_queue(size_t items, size_t bytes) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_queue_t *q = gi_queue_new(&base, items, bytes);
    cr_assert(q, "%s", gate_error()->text);
    return q;
}

static gate_err_t produce(gate_call_t *call) {
    gate_queue_t *q = NULL;
    int n, die = 0;
    gate_err_t e = gate_args(call, &q, &n, gate_opt(&die));
    for (int i = 0; e == GATE_OK && i < n; i++)
        e = gate_queue_put(q, i, 5000);
    if (die)
        kill(getpid(), SIGKILL);
    gate_queue_destroy(&q);
    return e ? e : gate_return(call, n);
}

static gate_err_t consume(gate_call_t *call) {
    gate_queue_t *q = NULL;
    int die_after = -1, x;
    long sum = 0;
    gate_err_t e = gate_args(call, &q, gate_opt(&die_after));
    while (e == GATE_OK && (e = gate_queue_get(q, &x, 5000)) == GATE_OK) {
        sum += x;
        if (--die_after == 0)
            kill(getpid(), SIGKILL);
    }
    gate_queue_destroy(&q);
    return e == GATE_EOS ? gate_return(call, sum) : e;
}

Test(queue, alone) {
    GATE_OWN(gate_queue) q = s_queue(4, 1000);
    int x;
    fails(gate_queue_get(q, &x, 0), GATE_TIMEOUT);
    for (int i = 0; i < 4; i++)
        ok(gate_queue_put(q, i, 0));
    fails(gate_queue_put(q, 9, 0), GATE_BUSY);
    fails(gate_queue_put(q, 9, 20), GATE_BUSY);
    for (int i = 0; i < 4; i++) {
        ok(gate_queue_get(q, &x, 0));
        cr_assert_eq(x, i);
    }
    fails(gate_queue_get(q, &x, 20), GATE_TIMEOUT);
    char big[2000] = {0};
    fails(gate_queue_put(q, ((gate_bytes_t){big, sizeof big}), 0), GATE_TOOBIG);
    fails(gate_queue_get(q, &x, 0), GATE_TIMEOUT);
}

Test(queue, strings_of_all_sizes_wrap) {
    GATE_OWN(gate_queue) q = s_queue(100, 997);
    char text[900];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < 5000; i++) {
        size_t n = i * 7919 % sizeof text;
        gate_bytes_t back;
        ok(gate_queue_put(q, ((gate_bytes_t){text, n}), 0));
        ok(gate_queue_get(q, &back, 0));
        cr_assert_eq(back.size, n);
        cr_assert_eq(memcmp(back.data, text, n), 0);
    }
}

Test(queue, from_a_job) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(16, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, produce, q, 10000);
    int x;
    for (int i = 0; i < 10000; i++) {
        ok(gate_queue_get(q, &x, 5000));
        cr_assert_eq(x, i);
    }
    fails(gate_queue_get(q, &x, 5000), GATE_EOS);
    ok(gate_future_wait(f, 5000, &x));
    cr_assert_eq(x, 10000);
}

Test(queue, to_a_job) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(16, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, consume, q);
    long sum;
    for (int i = 0; i < 10000; i++)
        ok(gate_queue_put(q, i, 5000));
    gate_queue_close(q);
    ok(gate_future_wait(f, 5000, &sum));
    cr_assert_eq(sum, 10000L * 9999 / 2);
}

Test(queue, between_two_jobs) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    GATE_OWN(gate_queue) q = s_queue(16, 4096);
    GATE_OWN(gate_future) a = gate_submit(pool, produce, q, 1000);
    GATE_OWN(gate_future) b = gate_submit(pool, consume, q);
    long x;
    ok(gate_future_wait(a, 5000, &x));
    ok(gate_future_wait(b, 5000, &x));
    cr_assert_eq(x, 1000L * 999 / 2);
}

Test(queue, producer_dies) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(16, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, produce, q, 10, 1);
    int x;
    for (int i = 0; i < 10; i++)
        ok(gate_queue_get(q, &x, 5000));
    fails(gate_queue_get(q, &x, -1), GATE_WORKERLOST);
    fails(gate_future_wait(f, 5000, &x), GATE_WORKERLOST);
}

Test(queue, consumer_dies) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(4, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, consume, q, 10);
    gate_err_t e = GATE_OK;
    int n = 0;
    while (e == GATE_OK && n++ < 1000)
        e = gate_queue_put(q, n, -1);
    cr_assert_eq(e, GATE_WORKERLOST);
    int x;
    fails(gate_future_wait(f, 5000, &x), GATE_WORKERLOST);
}

static gate_err_t crash(gate_call_t *call) {
    (void)call;
    kill(getpid(), SIGKILL);
    return GATE_OK;
}

Test(queue, dies_before_it_used_it) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(4, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, crash, q);
    int x;
    fails(gate_queue_get(q, &x, -1), GATE_WORKERLOST);
}

static gate_err_t ignore(gate_call_t *call) { return gate_return(call, 1); }

Test(queue, job_ends_without_using_it) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(1, 4096);
    GATE_OWN(gate_queue) r = s_queue(1, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, ignore, q, r);
    int x;
    fails(gate_queue_get(q, &x, -1), GATE_EOS);
    gate_err_t e = GATE_OK;
    for (int i = 0; i < 3 && !e; i++)
        e = gate_queue_put(r, 1, -1);
    cr_assert_eq(e, GATE_CLOSED);
}

Test(queue, handler_leaves_first) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_queue_t *q = s_queue(2, 4096);
    GATE_OWN(gate_future) f = gate_submit(pool, produce, q, 10000);
    int x;
    ok(gate_queue_get(q, &x, 5000));
    gate_queue_destroy(&q);
    fails(gate_future_wait(f, 5000, &x), GATE_CLOSED);
}

Test(queue, a_queue_is_not_for_threads_that_do_not_have_it) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, consume, 5);
    int x;
    fails(gate_future_wait(f, 5000, &x), GATE_BADARG);
}

/* Scribbles over all that the job can reach of the queue. */
static gate_err_t scribble(gate_call_t *call) {
    char line[512];
    unsigned long from = 0, to = 0;
    gate_queue_t *q;
    int byte;
    gate_err_t e = gate_args(call, &q, &byte);
    if (!e)
        e = gate_queue_put(q, 1, 0);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "memfd:gate-queue") &&
            sscanf(line, "%lx-%lx", &from, &to) == 2)
            memset((void *)from, byte, to - from);
    if (maps)
        fclose(maps);
    return e ? e : gate_return(call, 1);
}

Test(queue, scribbled) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    for (int byte = 0; byte < 256; byte += 51) {
        GATE_OWN(gate_queue) q = s_queue(4, 4096);
        GATE_OWN(gate_queue) r = s_queue(4, 4096);
        GATE_OWN(gate_future) f = gate_submit(pool, scribble, q, byte);
        int x;
        gate_err_t e = gate_future_wait(f, 5000, &x);
        cr_assert_eq(e, GATE_OK);
        for (int i = 0; i < 10; i++) {
            e = gate_queue_get(q, &x, 10);
            (void)e;
        }
    }
}
