/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues between this process and a job, in both directions, and what the end
 * of either side means to the other. */
#include "procs_kit.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "shared/queue.h"

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

/* Whichever end closes first, and whether it was used or not. */
Test(queue, closed_before_it_was_used_is_its_end) {
    int x;
    GATE_OWN(gate_queue) q = s_queue(4, 100);
    gate_queue_close(q);
    fails(gate_queue_get(q, &x, -1), GATE_EOS);
    fails(gate_queue_put(q, 1, -1), GATE_CLOSED);
    GATE_OWN(gate_queue) r = s_queue(4, 100);
    ok(gate_queue_put(r, 7, 0));
    gate_queue_close(r); /* the producer's end alone */
    ok(gate_queue_get(r, &x, -1));
    cr_assert_eq(x, 7);
    fails(gate_queue_get(r, &x, -1), GATE_EOS);
    GATE_OWN(gate_queue) s = s_queue(4, 100);
    fails(gate_queue_get(s, &x, 0), GATE_TIMEOUT);
    gate_queue_close(s); /* the consumer's */
    fails(gate_queue_get(s, &x, 0), GATE_CLOSED);
    fails(gate_queue_put(s, 1, 0), GATE_CLOSED);
}

static gate_err_t close_unused(gate_call_t *call) {
    gate_queue_t *q = NULL;
    gate_err_t e = gate_args(call, &q);
    if (e)
        return e;
    gate_queue_close(q);
    gate_queue_destroy(&q);
    return gate_return(call, 1);
}

Test(queue, a_job_closes_what_nobody_has_used) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_queue) q = s_queue(4, 100);
    GATE_OWN(gate_future) f = gate_submit(pool, close_unused, q);
    int x;
    ok(gate_future_wait(f, 5000, &x));
    fails(gate_queue_get(q, &x, -1), GATE_EOS);
}

/* ---- against a model ----------------------------------------------------- */

/* What a queue of so many items and bytes of ring must do. */
typedef struct model {
    size_t n_items, ring, used;
    size_t sizes[64];
    unsigned first, n, put; /* numbers */
} model_t;

static unsigned s_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

static void s_model_put(model_t *m, gate_queue_t *q, size_t size) {
    char data[600];
    size_t packed = size + (size < 256 ? 2 : 3) + 4;
    bool fits = m->n < m->n_items && m->used + packed <= m->ring;
    memset(data, (int)m->put, sizeof data);
    gate_err_t e = gate_queue_put(q, ((gate_bytes_t){data, size}), 0);
    cr_assert_eq(e,
                 packed > m->ring ? GATE_TOOBIG
                 : fits           ? GATE_OK
                                  : GATE_BUSY,
                 "%zu bytes, %u items, %zu of %zu used: %s", size, m->n,
                 m->used, m->ring, gate_err_name(e));
    if (e)
        return;
    m->sizes[m->put++ % 64] = size;
    m->used += packed;
    m->n++;
}

static void s_model_get(model_t *m, gate_queue_t *q, bool closed) {
    gate_bytes_t b;
    gate_err_t e = gate_queue_get(q, &b, 0);
    cr_assert_eq(e,
                 m->n     ? GATE_OK
                 : closed ? GATE_EOS
                          : GATE_TIMEOUT,
                 "%s", gate_err_name(e));
    if (e)
        return;
    size_t size = m->sizes[m->first % 64];
    cr_assert_eq(b.size, size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(((const unsigned char *)b.data)[i],
                     (unsigned char)m->first);
    m->used -= size + (size < 256 ? 2 : 3) + 4;
    m->first++;
    m->n--;
}

/* Two handles on one memory, as a handler and its job have them. */
Test(queue, does_what_its_model_does) {
    for (unsigned seed = 1; seed <= 60; seed++) {
        unsigned r = seed;
        size_t items = 1 + s_random(&r) % 40, bytes = 1 + s_random(&r) % 2000;
        model_t m = {.n_items = items,
                     .ring = bytes + 4 * (items < bytes ? items : bytes)};
        GATE_OWN(gate_queue) here = s_queue(items, bytes);
        gate_queue_t *there = NULL;
        ok(gi_queue_open(dup(gi_queue_fd(here)), gi_settings_defaults(),
                         &there));
        for (int i = 0; i < 2000; i++)
            if (s_random(&r) % 2)
                s_model_put(&m, here,
                            s_random(&r) % (s_random(&r) % 8 ? 60 : 600));
            else
                s_model_get(&m, there, false);
        gate_queue_close(here);
        while (m.n > 0)
            s_model_get(&m, there, true);
        s_model_get(&m, there, true);
        gate_queue_destroy(&there);
    }
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
