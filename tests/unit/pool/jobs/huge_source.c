/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_source.h: the bytes of a huge argument, given by one side, taken by the
 * other. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/clock.h"
#include "base/err.h"
#include "jobs/huge_feed.h"
#include "jobs/huge_source.h"
#include "base/mem.h"

#define MIB ((size_t)1 << 20)

static atomic_int s_told, s_released;

static void s_ready(void *ctx) {
    cr_assert_eq(ctx, &s_told);
    s_told++;
}

static void s_release(void *data) {
    free(data);
    s_released++;
}

static gi_huge_source_t *s_new(uint64_t size) {
    gi_huge_source_t *self = gi_huge_source_new(size);
    cr_assert(self);
    s_told = s_released = 0;
    return self;
}

static void s_attach(gi_huge_source_t *self) {
    cr_assert_eq(gi_huge_source_attach(self, s_ready, &s_told), GATE_OK);
}

static int s_file(const char *data, size_t n) {
    char path[] = "/tmp/gate-source-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* All there is, in steps of at most so many bytes; waits for jobs. */
static gate_err_t s_drain(gi_huge_source_t *self, gate_pool_t *pool,
                          size_t step, char *out, size_t *n) {
    gate_bytes_t b;
    gate_err_t e = GATE_OK;
    int64_t end = gi_clock_ms() + 20000;
    for (*n = 0; gi_clock_ms() < end;) {
        e = gi_huge_source_peek(self, pool, &b);
        if (e == GATE_WOULDBLOCK)
            continue;
        if (e)
            return e;
        size_t size = b.size < step ? b.size : step;
        memcpy(out + *n, b.data, size);
        *n += size;
        gi_huge_source_used(self, size);
    }
    return e;
}

Test(huge_source, pieces_in_order) {
    gi_huge_source_t *self = s_new(7);
    gate_bytes_t b;
    char out[16];
    size_t n;
    cr_expect_eq(gi_huge_source_put(self, "x", 1), GATE_BADARG);
    s_attach(self);
    cr_expect_eq(gi_huge_source_attach(self, s_ready, &s_told), GATE_BADARG);
    cr_expect_not(gi_huge_source_here(self));
    cr_expect_eq(gi_huge_source_peek(self, NULL, &b), GATE_WOULDBLOCK);
    cr_expect_eq(gi_huge_source_put(self, "abc", 3), GATE_OK);
    cr_expect_eq(gi_huge_source_put(self, "defg", 4), GATE_OK);
    gi_huge_source_end(self, NULL);
    cr_expect_eq(s_told, 3);
    cr_expect_eq(s_drain(self, NULL, 2, out, &n), GATE_EOS);
    cr_expect(n == 7 && !memcmp(out, "abcdefg", 7));
    gi_huge_source_leave(self);
    cr_expect_eq(gi_huge_source_put(self, "x", 1), GATE_CANCELLED);
    gi_huge_source_drop(&self);
    cr_expect_null(self);
}

Test(huge_source, a_failure_comes_behind_what_was_put) {
    gi_huge_source_t *self = s_new(7);
    const gate_error_t story = {GATE_RAISED, "KeyError", "gone", ""};
    char out[16];
    size_t n;
    s_attach(self);
    cr_expect_eq(gi_huge_source_put(self, "abc", 3), GATE_OK);
    gi_huge_source_end(self, &story);
    cr_expect_eq(s_drain(self, NULL, 9, out, &n), GATE_RAISED);
    cr_expect_eq(n, 3);
    cr_expect_str_eq(gate_error()->cls, "KeyError");
    gi_huge_source_leave(self);
    gi_huge_source_drop(&self);
}

Test(huge_source, memory_is_released_once_and_when_it_went) {
    char out[16];
    size_t n;
    gi_huge_source_t *self = s_new(3);
    gi_huge_source_memory(self, strdup("abc"), s_release);
    cr_expect(gi_huge_source_here(self));
    cr_expect_eq(gi_huge_source_put(self, "x", 1), GATE_BADARG);
    gi_huge_source_t *mine = gi_huge_source_share(self);
    s_attach(self);
    cr_expect_eq(s_drain(self, NULL, 2, out, &n), GATE_EOS);
    cr_expect(n == 3 && !memcmp(out, "abc", 3));
    cr_expect_eq(s_released, 0);
    gi_huge_source_leave(self);
    cr_expect_eq(s_released, 1);
    gi_huge_source_end(mine, gate_error());
    gi_huge_source_drop(&self);
    gi_huge_source_drop(&mine);
    cr_expect_eq(s_released, 1);
    self = s_new(3); /* one that nobody ever sent */
    gi_huge_source_memory(self, strdup("abc"), s_release);
    gi_huge_source_drop(&self);
    cr_expect_eq(s_released, 1);
    self = s_new(3);
    gi_huge_source_memory(self, strdup("abc"), s_release);
    cr_expect_eq(gi_huge_source_fill(self, out), GATE_OK);
    cr_expect(s_released == 1 && !memcmp(out, "abc", 3));
    gi_huge_source_drop(&self);
}

Test(huge_source, of_nothing) {
    gate_bytes_t b;
    gi_huge_source_t *self = s_new(0);
    gi_huge_source_memory(self, NULL, NULL);
    cr_expect_eq(gi_huge_source_peek(self, NULL, &b), GATE_EOS);
    gi_huge_source_drop(&self);
    self = s_new(0);
    gi_huge_source_file(self, s_file("", 0), true);
    cr_expect_eq(gi_huge_source_peek(self, NULL, &b), GATE_EOS);
    gi_huge_source_drop(&self);
}

typedef struct s_putter {
    gi_huge_source_t *source;
    size_t done;
    gate_err_t e;
} s_putter_t;

static void *s_put(void *arg) {
    static const char piece[100000];
    s_putter_t *p = arg;
    while (!(p->e = gi_huge_source_put(p->source, piece, sizeof piece)))
        p->done += sizeof piece;
    return NULL;
}

/* Who puts waits for who takes, and is set free when that one leaves. */
Test(huge_source, room_is_bounded, .timeout = 20) {
    s_putter_t p = {.source = s_new(1u << 30)};
    gate_bytes_t b;
    pthread_t thread;
    s_attach(p.source);
    pthread_create(&thread, NULL, s_put, &p);
    for (size_t taken = 0; taken < 30 * MIB;) {
        gate_err_t e = gi_huge_source_peek(p.source, NULL, &b);
        cr_assert(!e || e == GATE_WOULDBLOCK);
        if (e)
            continue;
        taken += b.size;
        gi_huge_source_used(p.source, b.size);
    }
    gi_huge_source_leave(p.source);
    pthread_join(thread, NULL);
    cr_expect_eq(p.e, GATE_CANCELLED);
    cr_expect_leq(p.done, 30 * MIB + 2 * MIB);
    gi_huge_source_drop(&p.source);
}

static void s_files(gate_pool_t *pool, size_t n, bool regular) {
    char *data = malloc(n), *out = malloc(n + 1);
    size_t got;
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(i * i >> 7);
    gi_huge_source_t *self = s_new(n);
    gi_huge_source_file(self, s_file(data, n), regular);
    cr_expect_eq(gi_huge_source_here(self), regular);
    s_attach(self);
    cr_expect_eq(s_drain(self, pool, 70000, out, &got), GATE_EOS);
    cr_expect(got == n && !memcmp(data, out, n));
    gi_huge_source_leave(self);
    gi_huge_source_drop(&self);
    self = s_new(n + 1); /* it became shorter */
    gi_huge_source_file(self, s_file(data, n), regular);
    s_attach(self);
    cr_expect_eq(s_drain(self, pool, 70000, out, &got), GATE_SYSTEM);
    cr_expect_eq(got, n);
    gi_huge_source_leave(self);
    gi_huge_source_drop(&self);
    self = s_new(n); /* left while a job reads */
    gi_huge_source_file(self, s_file(data, n), regular);
    s_attach(self);
    gate_bytes_t b;
    gate_err_t e = gi_huge_source_peek(self, pool, &b);
    cr_expect(!e || e == GATE_WOULDBLOCK);
    gi_huge_source_leave(self);
    gi_huge_source_drop(&self);
    free(data);
    free(out);
}

Test(huge_source, files, .timeout = 60) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = 2, .queue_max = 100};
    gate_pool_t *pool = gi_pool_threads(&base, &options);
    cr_assert(pool);
    s_files(pool, 1, true);
    s_files(pool, 9 * MIB + 5, true);
    s_files(pool, 9 * MIB + 5, false);
    gate_pool_destroy(&pool);
}

/* ---- the sender leaves while the job tells it ----------------------------- */
static atomic_bool s_telling, s_leaving;

static void *s_leave(void *source) {
    while (!s_telling)
        usleep(100);
    s_leaving = true;
    gi_huge_source_leave(source); /* until s_slow_ready has returned */
    return NULL;
}

static void s_slow_ready(void *ctx) {
    (void)ctx;
    s_telling = true;
    while (!s_leaving)
        usleep(100);
    usleep(20000); /* that it waits inside: else there is nothing to be seen */
}

/* One of the two lets go of what it was made of: under TSan both are seen. */
Test(huge_source, left_while_the_job_tells, .timeout = 20) {
    gi_pool_base_t base = {0};
    gate_pool_options_t options = {.workers = 1, .queue_max = 10};
    gate_pool_t *pool = gi_pool_threads(&base, &options);
    gi_huge_source_t *self = s_new(5);
    gate_bytes_t b;
    pthread_t thread;
    gi_huge_source_file(self, s_file("12345", 5), true);
    cr_assert_eq(gi_huge_source_attach(self, s_slow_ready, NULL), GATE_OK);
    pthread_create(&thread, NULL, s_leave, self);
    cr_expect_eq(gi_huge_source_peek(self, pool, &b), GATE_WOULDBLOCK);
    pthread_join(thread, NULL);
    gi_huge_source_drop(&self);
    gate_pool_destroy(&pool);
}

Test(huge_source, no_memory_is_an_error) {
    gi_mem_fail_at(1, true);
    cr_expect_null(gi_huge_source_new(3));
    gi_mem_fail_at(0, false);
    gi_huge_source_t *self = s_new(3);
    s_attach(self);
    gi_mem_fail_at(1, true);
    cr_expect_eq(gi_huge_source_put(self, "abc", 3), GATE_NOMEM);
    gi_mem_fail_at(0, false);
    gi_huge_source_leave(self);
    gi_huge_source_drop(&self);
    for (long n = 1; n < 4; n++) {
        gi_mem_fail_at(n, true);
        gate_huge_t *h = gate_huge_arg_data(strdup("abc"), 3, s_release, NULL);
        gi_mem_fail_at(0, false);
        gate_huge_destroy(&h);
    }
    cr_expect_eq(s_released, 3); /* given in every case */
}
