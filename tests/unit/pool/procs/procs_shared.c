/* SPDX-License-Identifier: BSD-3-Clause */
/* Large bytes to and from workers in place: right, never given out twice, and
 * not lost with the worker that wrote or read them. */
#include "procs_kit.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "shared/exchange.h"

#define MIB ((size_t)1 << 20)

static unsigned s_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

static void s_stamp(void *data, size_t size, unsigned seed) {
    unsigned char *p = data;
    for (size_t i = 0; i < size; i += 4096)
        memcpy(p + i, &seed, sizeof seed);
    p[size - 1] = (unsigned char)seed;
}

static bool s_stamped(const void *data, size_t size, unsigned seed) {
    const unsigned char *p = data;
    for (size_t i = 0; i + 4096 < size; i += 4096)
        if (memcmp(p + i, &seed, sizeof seed) != 0)
            return false;
    return p[size - 1] == (unsigned char)seed;
}

/* The bytes, their seed; gives as many back, stamped with seed + 1. */
static gate_err_t turn(gate_call_t *call) {
    gate_bytes_t b;
    long seed;
    void *out;
    gate_err_t e = gate_args(call, &b, &seed);
    if (e)
        return e;
    if (!s_stamped(b.data, b.size, (unsigned)seed))
        return gate_raise(call, "ValueError", "wrong bytes");
    e = gate_return_shared(call, b.size, &out);
    if (!e)
        s_stamp(out, b.size, (unsigned)seed + 1);
    return e;
}

static gate_err_t turn_later(gate_call_t *call) {
    usleep(20000);
    return turn(call);
}

static gate_err_t turn_at_last(gate_call_t *call) {
    if (gate_call_attempt(call) < 2)
        raise(SIGKILL);
    return turn(call);
}

static gate_err_t scribble(gate_call_t *call) {
    gate_bytes_t b;
    gate_err_t e = gate_args(call, &b);
    if (!e)
        memset((void *)(uintptr_t)b.data, 0, b.size);
    return e;
}

static gate_err_t die(gate_call_t *call) {
    (void)call;
    raise(SIGKILL);
    return GATE_OK;
}

static gate_future_t *s_turn(gate_pool_t *pool, gate_fn *fn, size_t size,
                             unsigned seed, const gate_job_options_t *o) {
    GATE_OWN(gate_shared) s = gate_shared_new(pool, size);
    cr_assert(s, "%s", gate_error()->text);
    s_stamp(gate_shared_data(s), size, seed);
    return gate_submit_with(pool, fn, o, gate_shared_arg(s), (long)seed);
}

/* In memory that a worker wrote. */
static bool s_in_place(gate_bytes_t b) {
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && !found && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        found = strstr(line, "memfd:gate-outbox") &&
                sscanf(line, "%lx-%lx", &from, &to) == 2 &&
                (uintptr_t)b.data >= from && (uintptr_t)b.data < to;
    }
    if (maps)
        fclose(maps);
    return found;
}

/* Pages come after the first result, which is copied. */
static void s_warm(gate_pool_t *pool, size_t size) {
    for (int i = 0; i < 100; i++) {
        GATE_OWN(gate_future) f = s_turn(pool, turn, size, 1, NULL);
        gate_bytes_t b;
        ok(gate_future_wait(f, 5000, &b));
        if (s_in_place(b))
            return;
    }
    cr_assert(false, "no result in place");
}

Test(shared, there_and_back_in_place) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    s_warm(pool, MIB);
    for (unsigned i = 0; i < 50; i++) {
        size_t size = 1 + (size_t)i * 40000;
        GATE_OWN(gate_future) f = s_turn(pool, turn, size, i, NULL);
        gate_bytes_t b;
        ok(gate_future_wait(f, 5000, &b));
        cr_assert_eq(b.size, size);
        cr_assert(s_stamped(b.data, size, i + 1));
    }
}

Test(shared, a_job_keeps_what_it_was_given) {
    enum { N = 64 };
    GATE_OWN(gate_pool) pool = s_pool(2);
    gate_future_t *f[N];
    for (unsigned i = 0; i < N; i++) /* each is destroyed at once */
        f[i] = s_turn(pool, i % 8 ? turn : turn_later, 200000, 7 * i, NULL);
    for (unsigned i = 0; i < N; i++) {
        gate_bytes_t b;
        ok(gate_future_wait(f[i], 20000, &b));
        cr_assert(s_stamped(b.data, b.size, 7 * i + 1));
    }
    for (unsigned i = 0; i < N; i++) /* none overwrote another's */ {
        gate_bytes_t b;
        ok(gate_future_wait(f[i], 0, &b));
        cr_assert(s_stamped(b.data, b.size, 7 * i + 1));
        gate_future_destroy(&f[i]);
    }
}

Test(shared, parts_and_keywords) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_shared) s = gate_shared_new(pool, MIB);
    s_stamp((char *)gate_shared_data(s) + 4096, 100000, 9);
    gate_bytes_t part = {(char *)gate_shared_data(s) + 4096, 100000}, b;
    GATE_OWN(gate_future) f = gate_submit(pool, turn, part, 9L);
    ok(gate_future_wait(f, 5000, &b));
    cr_assert(s_stamped(b.data, b.size, 10));
}

Test(shared, a_job_runs_again_on_another_worker) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    gate_job_options_t o = {.idempotent = true};
    GATE_OWN(gate_future) f = s_turn(pool, turn_at_last, MIB, 5, &o);
    gate_bytes_t b;
    ok(gate_future_wait(f, 10000, &b));
    cr_assert(s_stamped(b.data, b.size, 6));
}

Test(shared, a_result_survives_its_worker) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    s_warm(pool, MIB);
    GATE_OWN(gate_future) held = s_turn(pool, turn, MIB, 100, NULL);
    gate_bytes_t b;
    ok(gate_future_wait(held, 5000, &b));
    cr_assert(s_in_place(b));
    for (int i = 0; i < 3; i++) {
        int x;
        GATE_OWN(gate_future) dead = gate_submit(pool, die);
        fails(gate_future_wait(dead, 5000, &x), GATE_WORKERLOST);
        for (unsigned k = 0; k < 40; k++) { /* more than what is free */
            GATE_OWN(gate_future) f = s_turn(pool, turn, MIB, k, NULL);
            gate_bytes_t c;
            ok(gate_future_wait(f, 5000, &c));
            cr_assert(s_stamped(c.data, c.size, k + 1));
            cr_assert_neq(c.data, b.data);
        }
        cr_assert(s_stamped(b.data, b.size, 101));
    }
}

Test(shared, both_outlive_the_pool) {
    gate_pool_t *pool = s_pool(1);
    s_warm(pool, MIB);
    GATE_OWN(gate_shared) s = gate_shared_new(pool, MIB);
    GATE_OWN(gate_future) f = s_turn(pool, turn, MIB, 3, NULL);
    gate_bytes_t b;
    ok(gate_future_wait(f, 5000, &b));
    gate_pool_destroy(&pool);
    cr_assert(s_stamped(b.data, b.size, 4));
    memset(gate_shared_data(s), 1, MIB);
}

Test(shared, an_argument_cannot_be_written) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_shared) s = gate_shared_new(pool, 100000);
    s_stamp(gate_shared_data(s), 100000, 8);
    int x;
    GATE_OWN(gate_future) f = gate_submit(pool, scribble, gate_shared_arg(s));
    fails(gate_future_wait(f, 5000, &x), GATE_WORKERLOST);
    cr_assert(s_stamped(gate_shared_data(s), 100000, 8));
}

Test(shared, refusals) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    cr_assert_null(gate_shared_new(pool, 0));
    cr_assert_eq(gate_error()->code, GATE_BADARG);
    cr_assert_null(gate_shared_new(pool, (size_t)1 << 40));
    cr_assert_eq(gate_error()->code, GATE_BADARG);
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    GATE_OWN(gate_pool) threads = gi_pool_threads(&base, NULL);
    cr_assert_null(gate_shared_new(threads, 10));
    cr_assert_eq(gate_error()->code, GATE_BADARG);
}

Test(shared, on_threads_it_is_copied) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_pool) threads = gi_pool_threads(&base, NULL);
    GATE_OWN(gate_shared) s = gate_shared_new(pool, 5000);
    s_stamp(gate_shared_data(s), 5000, 2);
    GATE_OWN(gate_future)
    f = gate_submit(threads, turn, gate_shared_arg(s), 2L);
    gate_bytes_t b;
    ok(gate_future_wait(f, 5000, &b));
    cr_assert(s_stamped(b.data, b.size, 3));
}

/* ---- the books ----------------------------------------------------------- */

Test(shared, runs_never_overlap) {
    enum { UNITS = 64, MAX = 32 };
    gi_exchange_t *x = gi_exchange_new("t", UNITS);
    gi_run_t *runs[MAX];
    unsigned seed = 3, refused = 0;
    int n = 0;
    for (int i = 0; i < 20000; i++) {
        gi_run_t *run;
        if (n < MAX && s_random(&seed) % 2) {
            size_t size = 1 + s_random(&seed) % (6 * GI_UNIT_BYTES);
            gate_err_t e = gi_exchange_take(x, size, &run);
            refused += e == GATE_BUSY;
            if (e)
                continue;
            char *a = gi_run_data(run);
            for (int k = 0; k < n; k++) {
                char *b = gi_run_data(runs[k]);
                cr_assert(a + size <= b || b + gi_run_size(runs[k]) <= a);
            }
            gi_run_t *found = gi_exchange_find(x, a + size - 1, 1);
            cr_assert_eq(found, run);
            gi_run_release(found);
            cr_assert_null(gi_exchange_find(x, a + size - 1, 2));
            runs[n++] = run;
        } else if (n > 0) {
            int k = (int)(s_random(&seed) % (unsigned)n);
            gi_run_release(runs[k]);
            runs[k] = runs[--n];
        }
    }
    cr_assert_gt(refused, 10);
    while (n > 0)
        gi_run_release(runs[--n]);
    gi_exchange_release(&x);
}

Test(shared, a_worker_can_lend_only_what_is_free) {
    gi_exchange_t *x = gi_exchange_new("t", 512);
    static _Atomic uint32_t returned[512];
    static uint32_t given[512];
    gi_exchange_count(x, returned, given);
    cr_assert_null(gi_exchange_lend(x, 0, 10), "no pages yet");
    uint32_t ready = gi_exchange_grow(x, 4);
    cr_assert(ready >= 4 && ready < 512);
    gi_run_t *run = gi_exchange_lend(x, 2, 2 * GI_UNIT_BYTES);
    cr_assert(run);
    cr_assert_null(gi_exchange_lend(x, 2, 1));
    cr_assert_null(gi_exchange_lend(x, 3, 1));
    cr_assert_null(gi_exchange_lend(x, 1, GI_UNIT_BYTES + 1));
    cr_assert_null(gi_exchange_lend(x, 0, 0));
    cr_assert_null(gi_exchange_lend(x, ready, 1));
    cr_assert_null(gi_exchange_lend(x, ready - 1, GI_UNIT_BYTES + 1));
    cr_assert_null(gi_exchange_lend(x, UINT32_MAX, SIZE_MAX));
    cr_assert_null(gi_exchange_lend(x, UINT32_MAX, 100));
    gi_exchange_count(x, returned, given); /* the next worker */
    cr_assert(given[2] == 1 && given[3] == 1 && given[1] == 0);
    gi_run_release(run);
    cr_assert_eq(returned[2], 1);
    cr_assert_eq(returned[4], 0);
    run = gi_exchange_lend(x, 3, 1);
    cr_assert(run);
    gi_exchange_release(&x);
    gi_run_release(run);
    cr_assert_eq(returned[3], 1, "counted nowhere once the worker is gone");
}
