/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs that yield, with credit, and what cuts them short. */
#include "procs_kit.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

static gate_err_t count(gate_call_t *call) {
    int n, die = -1;
    gate_err_t e = gate_args(call, &n, gate_opt(&die));
    for (int i = 0; i < n && e == GATE_OK; i++) {
        if (i == die)
            kill(getpid(), SIGKILL);
        e = gate_yield(call, i);
    }
    return e;
}

static gate_err_t big(gate_call_t *call) {
    int n;
    static char data[300000];
    gate_err_t e = gate_args(call, &n);
    for (int i = 0; i < n && e == GATE_OK; i++) {
        memset(data, i, sizeof data);
        e = gate_yield(call, ((gate_bytes_t){data, sizeof data}));
    }
    return e;
}

Test(stream, items_in_order) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_stream_t *s;
    ok(gate_submit_stream(pool, count, &s, 20000));
    int x;
    for (int i = 0; i < 20000; i++) {
        ok(gate_stream_next(s, &x));
        cr_assert_eq(x, i);
    }
    fails(gate_stream_next(s, &x), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(stream, large_items) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_stream_t *s;
    ok(gate_submit_stream(pool, big, &s, 200));
    gate_bytes_t b;
    for (int i = 0; i < 200; i++) {
        ok(gate_stream_next(s, &b));
        cr_assert_eq(b.size, 300000);
        cr_assert_eq(((const char *)b.data)[b.size - 1], (char)i);
    }
    fails(gate_stream_next(s, &b), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(stream, slow_reader_slows_the_job) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_stream_t *s;
    ok(gate_submit_stream(pool, count, &s, 100000));
    usleep(300000);
    int x;
    for (int i = 0; i < 100000; i++) {
        ok(gate_stream_next(s, &x));
        cr_assert_eq(x, i);
    }
    fails(gate_stream_next(s, &x), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(stream, reader_leaves) {
    gate_pool_options_t o = {.name = "t", .workers = 1, .grace_ms = 3000};
    GATE_OWN(gate_pool) pool = s_pool_with(&o);
    gate_stream_t *s;
    int x;
    ok(gate_submit_stream(pool, count, &s, 100000000));
    ok(gate_stream_next(s, &x));
    gate_stream_destroy(&s);
    ok(gate_submit_stream(pool, count, &s, 1)); /* the worker is free again */
    ok(gate_stream_next(s, &x));
    fails(gate_stream_next(s, &x), GATE_EOS);
    gate_stream_destroy(&s);
}

Test(stream, worker_dies) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_stream_t *s;
    int x;
    ok(gate_submit_stream(pool, count, &s, 100, 10));
    for (int i = 0; i < 10; i++)
        ok(gate_stream_next(s, &x));
    fails(gate_stream_next(s, &x), GATE_WORKERLOST);
    gate_stream_destroy(&s);
}

Test(stream, not_asked_for) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) f = gate_submit(pool, count, 100);
    int x;
    cr_assert_neq(gate_future_wait(f, 5000, &x), GATE_OK);
}

static gate_err_t square(gate_call_t *call) {
    long n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, n * n);
}

Test(stream, map) {
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_arg_t in[1000];
    for (int i = 0; i < 1000; i++)
        in[i] = gate_int(i);
    gate_stream_t *s;
    ok(gate_pool_map(pool, square, in, 1000, true, &s));
    for (long i = 0; i < 1000; i++) {
        long x;
        ok(gate_stream_next(s, &x));
        cr_assert_eq(x, i * i);
    }
    gate_stream_destroy(&s);
}
