/* SPDX-License-Identifier: BSD-3-Clause */
/* The load of gate bench, on lanes that are made up: closed and open loop. */
#include "bench/rigs/load.h"

#include <criterion/criterion.h>
#include "bench/rigs/proc.h"
#include <unistd.h>

/* A system that answers at once, but stands still once for stall_ns. */
typedef struct s_fake {
    uint64_t stamps[8192];
    int n;
    int64_t most; /* under way at once */
    uint64_t stall_at, stall_ns;
    bool fails, mute;
} s_fake_t;

static s_fake_t s_fake;
static gi_sample_t s_sample;

static void s_clear(void) { s_fake = (s_fake_t){.n = 0}; }

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_fake_t *self = lane->self;
    self->stamps[self->n++] = stamp;
    if (lane->out > self->most)
        self->most = lane->out;
    return true;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_fake_t *self = lane->self;
    if (self->stall_ns && gi_proc_now() > self->stall_at) {
        usleep((useconds_t)(self->stall_ns / 1000));
        self->stall_ns = 0;
    }
    if (!self->n && wait_ns)
        usleep((useconds_t)(wait_ns / 1000 < 200 ? wait_ns / 1000 : 200));
    if (self->mute) {
        self->n = 0;
        return;
    }
    while (self->n)
        gi_lane_done(lane, self->stamps[--self->n], !self->fails);
}

static gi_lane_t s_lane(void) {
    return (gi_lane_t){.self = &s_fake, .send = s_send, .reap = s_reap};
}

TestSuite(load, .init = s_clear);

Test(load, a_closed_loop_keeps_so_many_under_way) {
    gi_lane_t lane = s_lane();
    gi_load_t load = {.outstanding = 7, .seconds = 0.05, .sample_every = 1};
    gi_load_run(&lane, &load, NULL, NULL, &s_sample);
    cr_assert_eq(s_fake.most, 7);
    cr_assert_gt(s_sample.n, 100);
    cr_assert_eq(s_sample.errors, 0);
    cr_assert_eq(s_sample.hist.n, s_sample.n);
    cr_assert_float_eq(s_sample.seconds, 0.05, 0.04);
}

Test(load, only_one_in_so_many_is_timed) {
    gi_lane_t lane = s_lane();
    gi_load_t load = {.outstanding = 4, .seconds = 0.02, .sample_every = 16};
    gi_load_run(&lane, &load, NULL, NULL, &s_sample);
    cr_assert_gt(s_sample.n, 1000);
    cr_assert_lt(s_sample.hist.n, s_sample.n / 8);
    cr_assert_gt(s_sample.hist.n, s_sample.n / 32);
}

/* The law of the open loop: a stall of 100 ms at 1,000 calls/s is felt by about
 * 100 calls, 50 ms each on average. A closed loop would feel one. */
Test(load, an_open_loop_counts_from_when_a_call_was_due) {
    gi_lane_t lane = s_lane();
    gi_load_t load = {.seconds = 0.4, .rate = 1000, .sample_every = 1};
    s_fake.stall_at = gi_proc_now() + 100000000;
    s_fake.stall_ns = 100000000;
    gi_load_run(&lane, &load, NULL, NULL, &s_sample);
    cr_assert(s_sample.n >= 398 && s_sample.n <= 401, "%lu", s_sample.n);
    cr_assert_geq(gi_hist_at(&s_sample.hist, 0.82), 10000000);
    cr_assert_geq(s_sample.hist.max, 95000000);
}

Test(load, what_fails_is_an_error) {
    gi_lane_t lane = s_lane();
    gi_load_t load = {.outstanding = 1, .seconds = 0.01, .sample_every = 1};
    s_fake.fails = true;
    gi_load_run(&lane, &load, NULL, NULL, &s_sample);
    cr_assert_gt(s_sample.errors, 0);
    cr_assert_eq(s_sample.n, 0);
}

Test(load, what_never_ends_is_an_error) {
    gi_lane_t lane = s_lane();
    gi_load_t load = {.outstanding = 3, .seconds = 0.01, .sample_every = 1};
    s_fake.mute = true;
    gi_load_run(&lane, &load, NULL, NULL, &s_sample);
    cr_assert_eq(s_sample.errors, 3);
}
