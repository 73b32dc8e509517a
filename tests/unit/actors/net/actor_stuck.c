/* SPDX-License-Identifier: BSD-3-Clause */
/* What a watchdog asks: an actor that sleeps is not stuck, one that is busy with
 * one thing is, until it goes on. */
#include <criterion/criterion.h>

#include <semaphore.h>
#include <stdint.h>
#include <unistd.h>
#include "net/actor.h"

static sem_t s_in, s_out;

static gate_err_t s_start(void *self) {
    (void)self;
    return GATE_OK;
}

static void s_stop(void *self) { (void)self; }

static void s_mail(void *self, void **items, size_t n, int64_t now_ms) {
    (void)self, (void)items, (void)n, (void)now_ms;
    sem_post(&s_in);
    while (sem_wait(&s_out) < 0)
        ;
}

static bool s_work(void *self, int64_t now_ms) {
    (void)self, (void)now_ms;
    return false;
}

static int64_t s_next(void *self, int64_t now_ms) {
    (void)self, (void)now_ms;
    return INT64_MAX;
}

static void s_fds(void *self, gi_polled_t *polled) { (void)self, (void)polled; }

static const gi_actor_ops_t s_ops = {.name = "slow",
                                     .commands = (const gi_command_t[]){{0}},
                                     .start = s_start,
                                     .stop = s_stop,
                                     .mail = s_mail,
                                     .work = s_work,
                                     .next = s_next,
                                     .fds = s_fds};

static void s_until(const gi_actor_t *actor, bool stuck) {
    for (int i = 0; i < 20000 && gi_actor_stuck(actor, INT64_MAX - 1) != stuck;
         i++)
        usleep(1000);
    cr_assert_eq(gi_actor_stuck(actor, INT64_MAX - 1), stuck);
}

Test(actor_stuck, who_is_busy_with_one_thing_is_and_who_sleeps_is_not) {
    gi_actor_t *actor;
    int item;
    sem_init(&s_in, 0, 0);
    sem_init(&s_out, 0, 0);
    cr_assert_eq(gi_actor_new(&s_ops, NULL, 16, &actor), GATE_OK);
    s_until(actor, false);
    cr_assert_eq(gi_mailbox_push(gi_actor_mailbox(actor), &item, 0), GATE_OK);
    while (sem_wait(&s_in) < 0)
        ;
    cr_expect(gi_actor_stuck(actor, INT64_MAX - 1));
    cr_expect_not(gi_actor_stuck(actor, 0)); /* not since then */
    sem_post(&s_out);
    s_until(actor, false);
    gi_actor_destroy(&actor);
}
