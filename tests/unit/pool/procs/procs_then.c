/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs without a future, on every kind of pool: who is told hears of each once,
 * of its result or why there is none, and never of one that was not taken. */
#include "procs_kit.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"

#define MANY 5000
#define LARGE (3 << 20)

static gate_err_t add(gate_call_t *call) {
    long a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t no(gate_call_t *call) {
    return gate_raise(call, "ValueError", "no %d", 7);
}

static gate_err_t yields(gate_call_t *call) { return gate_yield(call, 1); }

static gate_err_t blob(gate_call_t *call) {
    gate_bytes_t b;
    gate_err_t e = gate_args(call, &b);
    return e ? e : gate_return(call, b);
}

static sem_t s_in, s_go;
static gate_err_t holds(gate_call_t *call) {
    sem_post(&s_in);
    while (sem_wait(&s_go) < 0) {
    }
    return gate_return(call, gate_call_cancelled(call));
}

/* ---- who is told --------------------------------------------------------- */
typedef struct s_told {
    sem_t sem;
    atomic_int n;
    gate_err_t e;
    char cls[32], text[80];
    long got;
    size_t size;
} s_told_t;

static void s_hear(void *ctx, gate_err_t e, const gate_value_t *value) {
    s_told_t *self = ctx;
    gate_bytes_t b = {0};
    self->e = e;
    if (e) {
        cr_expect_null(value);
        snprintf(self->cls, sizeof self->cls, "%s", gate_error()->cls);
        snprintf(self->text, sizeof self->text, "%s", gate_error()->text);
    } else if (gate_value_read(value, "", &self->got) &&
               !gate_value_read(value, "", &b)) {
        self->size = b.size;
    }
    atomic_fetch_add(&self->n, 1);
    sem_post(&self->sem);
}

static void s_wait(s_told_t *self) {
    while (sem_wait(&self->sem) < 0) {
    }
}

/* ---- pools --------------------------------------------------------------- */
static void *s_thread(void *arg) {
    void **owed = arg;
    ((void (*)(void *))(uintptr_t)owed[0])(owed[1]);
    free(owed);
    return NULL;
}

static gate_err_t s_spawn(void *ctx, void (*run)(void *), void *arg) {
    void **owed = malloc(2 * sizeof *owed);
    pthread_t thread;
    (void)ctx;
    owed[0] = (void *)(uintptr_t)run;
    owed[1] = arg;
    if (pthread_create(&thread, NULL, s_thread, owed))
        abort();
    pthread_detach(thread);
    return GATE_OK;
}

static gate_pool_t *s_kind(int kind) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    const gate_pool_options_t o = {.workers = 2, .queue_max = 2 * MANY};
    return kind == 0   ? gi_pool_threads(&base, &o)
           : kind == 1 ? gi_pool_procs(&base, &o)
                       : gi_pool_custom(&base, s_spawn, NULL);
}

static void s_each(gate_pool_t *pool, s_told_t *told) {
    char *large = calloc(1, LARGE);
    ok(gate_submit_then(pool, add, s_hear, told, 2, 3));
    s_wait(told);
    ok(told->e);
    cr_expect_eq(told->got, 5);
    ok(gate_submit_then(pool, no, s_hear, told));
    s_wait(told);
    cr_expect_eq(told->e, GATE_RAISED);
    cr_expect_str_eq(told->cls, "ValueError");
    cr_expect_str_eq(told->text, "no 7");
    ok(gate_submit_then(pool, yields, s_hear, told));
    s_wait(told);
    cr_expect(told->e == GATE_BADARG || told->e == GATE_NOTIMPL);
    cr_expect(strstr(told->text, "stream"), "%s", told->text);
    ok(gate_submit_then(pool, blob, s_hear, told, gate_bin(large, LARGE)));
    s_wait(told);
    ok(told->e);
    cr_expect_eq(told->size, LARGE);
    ok(gate_submit_then(pool, blob, NULL, NULL, gate_bin(large, LARGE)));
    ok(gate_submit_then(pool, no, NULL, NULL));
    ok(gate_submit_then_with(pool, add,
                             (&(gate_job_options_t){.priority = GATE_HIGH}),
                             s_hear, told, 20, 22));
    s_wait(told);
    cr_expect_eq(told->got, 42);
    ok(gate_pool_drain(pool, 20000));
    fails(gate_submit_then(pool, add, s_hear, told, 1, 1), GATE_CLOSED);
    cr_expect_eq(atomic_load(&told->n), 5);
    free(large);
}

static void s_each_of(int kind) {
    gate_pool_t *pool = s_kind(kind);
    s_told_t told = {.got = 0};
    cr_assert(pool, "%s", gate_error()->text);
    sem_init(&told.sem, 0, 0);
    s_each(pool, &told);
    gate_pool_destroy(&pool);
    cr_expect_eq(atomic_load(&told.n), 5);
    sem_destroy(&told.sem);
}

Test(then, on_threads, .timeout = 60) { s_each_of(0); }
Test(then, in_processes, .timeout = 60) { s_each_of(1); }
Test(then, on_an_executor_of_ones_own, .timeout = 60) { s_each_of(2); }

/* ---- many ---------------------------------------------------------------- */
static atomic_long s_sum, s_n;

static void s_count(void *ctx, gate_err_t e, const gate_value_t *value) {
    long got = -1;
    cr_assert_eq(e, GATE_OK);
    cr_assert_eq(gate_value_read(value, "", &got), GATE_OK);
    cr_assert_eq(got, 1 + (long)(intptr_t)ctx);
    atomic_fetch_add(&s_sum, got);
    atomic_fetch_add(&s_n, 1);
}

static void s_many(int kind) {
    gate_pool_t *pool = s_kind(kind);
    long sum = 0;
    for (long i = 0; i < MANY; i++, sum += i)
        ok(gate_submit_then(pool, add, i % 3 ? s_count : NULL,
                            (void *)(intptr_t)i, 1, i));
    gate_pool_destroy(&pool);
    for (long i = 0; i < MANY; i += 3)
        sum -= i + 1;
    cr_expect_eq(atomic_load(&s_sum), sum);
    cr_expect_eq(atomic_load(&s_n), MANY - (MANY + 2) / 3);
}

Test(then, many_on_threads, .timeout = 60) { s_many(0); }
Test(then, many_in_processes, .timeout = 60) { s_many(1); }

/* ---- what waits ---------------------------------------------------------- */
Test(then, a_full_queue_and_a_pool_that_is_stopped, .timeout = 60) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_t *pool = gi_pool_threads(
        &base, &(gate_pool_options_t){.workers = 1, .queue_max = 2});
    s_told_t told = {.got = -1};
    gate_err_t e = GATE_OK;
    int taken = 0;
    sem_init(&told.sem, 0, 0);
    sem_init(&s_in, 0, 0);
    sem_init(&s_go, 0, 0);
    ok(gate_submit_then(pool, holds, s_hear, &told));
    while (sem_wait(&s_in) < 0) {
    }
    while (!(e = gate_submit_then(pool, add, s_hear, &told, 1, 1)))
        taken++;
    cr_expect_eq(e, GATE_BUSY);
    cr_expect(strstr(gate_error()->text, "full"), "%s", gate_error()->text);
    cr_expect_geq(taken, 2);
    e = gate_pool_stop(pool, GATE_STOP_QUEUED, 0); /* one runs on */
    cr_expect_eq(e, GATE_TIMEOUT);
    sem_post(&s_go);
    for (int i = 0; i < taken + 1; i++)
        s_wait(&told);
    cr_expect_eq(told.e, GATE_CANCELLED);
    gate_pool_destroy(&pool);
    cr_expect_eq(atomic_load(&told.n), taken + 1);
}

/* A deadline of the arguments is the job's. */
Test(then, too_late, .timeout = 60) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_t *pool =
        gi_pool_threads(&base, &(gate_pool_options_t){.workers = 1});
    s_told_t told = {.got = -1};
    sem_init(&told.sem, 0, 0);
    sem_init(&s_in, 0, 0);
    sem_init(&s_go, 0, 0);
    ok(gate_submit_then(pool, holds, NULL, NULL));
    while (sem_wait(&s_in) < 0) {
    }
    ok(gate_submit_then(pool, add, s_hear, &told, 1, 1, gate_timeout_ms(1)));
    usleep(20000);
    sem_post(&s_go);
    s_wait(&told);
    cr_expect_eq(told.e, GATE_TIMEOUT);
    gate_pool_destroy(&pool);
}
