/* SPDX-License-Identifier: BSD-3-Clause */
/* Kills are decided on the claim of one job: a limit that is due meets every
 * word that the worker may have written by then, and a thread that goes from
 * job to job while limits fire. What was not claimed for this very job is not
 * killed, and tickets of jobs that have ended do nothing. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <gaterpc.h>
#include "sync/clock.h"
#include "procs/procs_core.h"

enum { CELLS = 8, RACES = 20000 };

static gi_procs_t s_pool;
static gi_slot_t *s_slot;

/* Which functions a worker would know by their addresses. */
__attribute__((constructor)) static void s_zygote(void) {
    if (gate_process_init() != GATE_OK)
        abort();
}

static gate_err_t s_fn(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

static void s_setup(void) {
    memset(&s_pool, 0, sizeof s_pool);
    pthread_mutex_init(&s_pool.lock, NULL);
    pthread_cond_init(&s_pool.idle, NULL);
    s_pool.channel = s_pool.epoll_fd = -1;
    s_pool.config.cells = CELLS;
    s_pool.config.lane_bytes = 4096;
    s_pool.options.queue_max = 100;
    s_pool.next_id = 1;
    s_pool.slots = &s_slot;
    cr_assert_eq(gi_slot_new(&s_pool, &s_slot), GATE_OK);
    s_pool.n_slots = 1;
    gi_send_pace(&s_pool, 1000);
    s_slot->state = GI_S_UP;
    s_slot->reason = GI_R_NONE;
}

static void s_teardown(void) {
    gi_slot_free(s_slot);
    gi_pjob_fini_all(&s_pool);
}

/* Sent, and due at once. */
static gi_pjob_t *s_send_due(void) {
    static const gi_sink_t sink;
    gi_request_t r = {.fn = s_fn, .sink = &sink, .deadline_ms = INT64_MAX};
    gi_pjob_t *job;
    cr_assert_eq(gi_pjob_new(&s_pool, &r, &job), GATE_OK);
    cr_assert(gi_send(s_slot, job));
    job->kill_ms = gi_clock_ms();
    job->kill_code = GATE_TIMEOUT;
    return job;
}

static _Atomic uint64_t *s_word(const gi_pjob_t *job) {
    return gi_shm_claim(&s_slot->shm, job->seq);
}

static void s_forget_ended(void) {
    while (s_pool.ended.first) {
        gi_pjob_t *job = s_pool.ended.first;
        s_pool.ended.first = job->next;
        gi_pjob_free(&s_pool, job);
    }
    memset(&s_pool.ended, 0, sizeof s_pool.ended);
}

Test(limits, what_runs_is_killed) {
    s_setup();
    gi_pjob_t *job = s_send_due();
    atomic_store(s_word(job), GI_CLAIM(job->id, GI_RUNNING));
    gi_limits_check(&s_pool, gi_clock_ms());
    cr_assert_eq(atomic_load(s_word(job)), GI_CLAIM(job->id, GI_DOOMED));
    cr_assert(s_slot->doomed);
    cr_assert_eq(s_slot->reason, GI_R_LIMIT);
    cr_assert_eq(s_pool.ended.first, job);
    s_forget_ended();
    s_teardown();
}

Test(limits, what_was_not_begun_is_taken_back) {
    s_setup();
    gi_pjob_t *job = s_send_due();
    gi_limits_check(&s_pool, gi_clock_ms());
    cr_assert_eq(s_slot->reason, GI_R_NONE);
    cr_assert_eq(job->state, GI_J_QUEUED);
    cr_assert_eq(job->kill_ms, INT64_MAX);
    gi_pjob_unqueue(&s_pool, job);
    gi_pjob_free(&s_pool, job);
    s_teardown();
}

/* It has just ended, its answer is not read, and the next one runs. */
Test(limits, a_stale_limit_does_not_kill_the_next) {
    s_setup();
    gi_pjob_t *job = s_send_due(), *next = s_send_due();
    next->kill_ms = INT64_MAX;
    atomic_store(s_word(job), GI_CLAIM(job->id, GI_DONE));
    atomic_store(s_word(next), GI_CLAIM(next->id, GI_RUNNING));
    for (int i = 0; i < 100; i++)
        cr_assert_gt(gi_limits_check(&s_pool, gi_clock_ms()), gi_clock_ms());
    cr_assert_eq(s_slot->reason, GI_R_NONE, "killed");
    cr_assert_eq(atomic_load(s_word(job)), GI_CLAIM(job->id, GI_DONE));
    cr_assert_eq(atomic_load(s_word(next)), GI_CLAIM(next->id, GI_RUNNING));
    gi_send_leave(s_slot, job, false, gi_clock_ns());
    gi_limits_check(&s_pool, gi_clock_ms());
    cr_assert_eq(s_slot->reason, GI_R_NONE, "killed");
    gi_send_leave(s_slot, next, false, gi_clock_ns());
    gi_pjob_free(&s_pool, job);
    gi_pjob_free(&s_pool, next);
    s_teardown();
}

/* What waited in front of it was cancelled before it began: its time begins
 * then. */
Test(limits, the_time_of_a_revoked_one_is_not_the_nexts) {
    s_setup();
    gi_pjob_t *job = s_send_due(), *next = s_send_due();
    next->kill_ms = INT64_MAX;
    next->options.hard_ms = 1000;
    s_slot->front_ns -= (int64_t)2000 * 1000000; /* it waited for so long */
    cr_assert(gi_send_revoke(s_slot, job));
    atomic_store(s_word(next), GI_CLAIM(next->id, GI_RUNNING));
    gi_limits_check(&s_pool, gi_clock_ms());
    cr_assert_eq(s_slot->reason, GI_R_NONE, "killed");
    gi_limits_check(&s_pool, gi_clock_ms() + 1001);
    cr_assert_eq(s_slot->reason, GI_R_LIMIT, "not killed when it is time");
    gi_pjob_free(&s_pool, job);
    s_forget_ended();
    s_teardown();
}

/* The word is of another generation: the job is never doomed by it. An honest
 * worker cannot write that, so it is a corrupt one's. */
Test(limits, another_generation_is_refused) {
    static const uint64_t states[] = {GI_READY, GI_RUNNING, GI_DONE,
                                      GI_REVOKED};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        s_setup();
        gi_pjob_t *job = s_send_due();
        uint64_t word = GI_CLAIM(job->id + 1, states[i]);
        atomic_store(s_word(job), word);
        gi_limits_check(&s_pool, gi_clock_ms());
        cr_assert_eq(atomic_load(s_word(job)), word);
        cr_assert_not(s_slot->doomed);
        cr_assert_eq(s_slot->reason, GI_R_CORRUPT);
        cr_assert_eq(s_pool.ended.n, 0);
        gi_send_leave(s_slot, job, false, gi_clock_ns());
        gi_pjob_free(&s_pool, job);
        s_teardown();
    }
}

Test(limits, a_stale_ticket_finds_nothing) {
    s_setup();
    gi_pjob_t *job = s_send_due();
    gi_ticket_t old = gi_pjob_ticket(job);
    cr_assert_eq(gi_pjob_find(&s_pool, old), job);
    gi_send_leave(s_slot, job, false, gi_clock_ns());
    gi_pjob_free(&s_pool, job);
    gi_pjob_t *next = s_send_due();
    cr_assert_eq(next, job, "the same memory");
    cr_assert_null(gi_pjob_find(&s_pool, old));
    cr_assert_eq(gi_pjob_find(&s_pool, gi_pjob_ticket(next)), next);
    gi_send_leave(s_slot, next, false, gi_clock_ns());
    gi_pjob_free(&s_pool, next);
    s_teardown();
}

/* ---- the race ------------------------------------------------------------ */

static _Atomic(gi_pjob_t *) s_running; /* what the thread is given */
static atomic_int s_did;               /* 1: done, 2: was doomed */

static void *s_race(void *arg) {
    unsigned seed = 1;
    for (gi_pjob_t *job; (job = atomic_exchange(&s_running, NULL)) != arg;) {
        if (!job) {
            sched_yield();
            continue;
        }
        uint64_t ready = GI_CLAIM(job->id, GI_READY);
        uint64_t running = GI_CLAIM(job->id, GI_RUNNING);
        _Atomic uint64_t *word = s_word(job);
        seed = seed * 1103515245u + 12345u;
        for (volatile unsigned i = (seed >> 8) % 400; i > 0; i--)
            ;
        bool claimed = atomic_compare_exchange_strong(word, &ready, running);
        seed = seed * 1103515245u + 12345u;
        for (volatile unsigned i = (seed >> 8) % 400; i > 0; i--)
            ;
        bool done =
            claimed && atomic_compare_exchange_strong(
                           word, &running, (running & ~(uint64_t)7) | GI_DONE);
        atomic_store(&s_did, done ? 1 : claimed ? 2 : 3);
    }
    return NULL;
}

/* Limits fire while a job begins and ends: it is done, or killed, or taken
 * back; the worker is doomed exactly when its job was. */
Test(limits, done_or_killed_never_both, .timeout = 120) {
    static gi_pjob_t stop;
    unsigned seed = 7;
    long n[4] = {0};
    pthread_t thread;
    s_setup();
    pthread_create(&thread, NULL, s_race, &stop);
    for (int i = 0; i < RACES; i++) {
        gi_pjob_t *job = s_send_due();
        int did;
        atomic_store(&s_did, 0);
        atomic_store(&s_running, job);
        seed = seed * 1103515245u + 12345u;
        for (volatile unsigned k = (seed >> 8) % 1200; k > 0; k--)
            ;
        if (i % 16) /* now and then none is due: it is done */
            gi_limits_check(&s_pool, gi_clock_ms());
        while (!(did = atomic_load(&s_did)))
            sched_yield();
        n[did]++;
        cr_assert_eq(s_slot->doomed, did == 2);
        cr_assert_eq(s_slot->reason, did == 2 ? GI_R_LIMIT : GI_R_NONE);
        cr_assert_eq(s_pool.ended.n, did == 2 ? 1 : 0);
        if (did == 1) {
            gi_send_leave(s_slot, job, false, gi_clock_ns());
            gi_pjob_free(&s_pool, job);
        } else if (did == 3) {
            cr_assert_eq(job->state, GI_J_QUEUED);
            gi_pjob_unqueue(&s_pool, job);
            gi_pjob_free(&s_pool, job);
        }
        s_forget_ended();
        atomic_store(&s_slot->shm.own->req_head, s_slot->tail);
        s_slot->doomed = s_slot->quitting = s_slot->stuck = false;
        s_slot->reason = GI_R_NONE;
    }
    atomic_store(&s_running, &stop);
    pthread_join(thread, NULL);
    s_teardown();
    cr_log_info("%ld done, %ld doomed, %ld taken back\n", n[1], n[2], n[3]);
    cr_assert(n[1] > 0 && n[1] + n[2] + n[3] == RACES);
}
