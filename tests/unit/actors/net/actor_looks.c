/* SPDX-License-Identifier: BSD-3-Clause */
/* An actor that is never out of work looks at its descriptors all the same: at
 * least once a millisecond, however long its passes take. */
#include <criterion/criterion.h>

#include <semaphore.h>
#include <stdint.h>
#include <unistd.h>
#include "net/actor.h"
#include "sync/clock.h"

#define S_WRITES_AT 5
#define S_GIVES_UP 200

static sem_t s_done;
static int s_pipe[2];
static bool s_maybe;
static unsigned s_pass, s_seen_at;

static gate_err_t s_start(void *self) {
    (void)self;
    return GATE_OK;
}

static void s_stop(void *self) { (void)self; }

static void s_mail(void *self, void **items, size_t n, int64_t now_ms) {
    (void)self, (void)items, (void)n, (void)now_ms;
}

/* A pass of more than a millisecond; there is always more to do. */
static bool s_work(void *self, int64_t now_ms) {
    (void)self;
    if (++s_pass == S_WRITES_AT)
        cr_assert_eq(write(s_pipe[1], "x", 1), 1);
    if (s_maybe && s_seen_at == 0)
        s_seen_at = s_pass;
    if (s_pass == S_GIVES_UP || s_seen_at == s_pass)
        sem_post(&s_done);
    while (gi_clock_ms() < now_ms + 2)
        ;
    return true;
}

static int64_t s_next(void *self, int64_t now_ms) {
    (void)self;
    return now_ms;
}

static void s_fds(void *self, gi_polled_t *polled) {
    (void)self;
    gi_polled_add(polled, s_pipe[0], &s_maybe);
}

static const gi_actor_ops_t s_ops = {.name = "busy",
                                     .commands = (const gi_command_t[]){{0}},
                                     .start = s_start,
                                     .stop = s_stop,
                                     .mail = s_mail,
                                     .work = s_work,
                                     .next = s_next,
                                     .fds = s_fds};

Test(actor_looks, what_comes_while_it_is_busy_is_seen_in_the_next_pass) {
    gi_actor_t *actor;
    cr_assert_eq(pipe(s_pipe), 0);
    sem_init(&s_done, 0, 0);
    cr_assert_eq(gi_actor_new(&s_ops, NULL, 16, &actor), GATE_OK);
    while (sem_wait(&s_done) < 0)
        ;
    gi_actor_destroy(&actor);
    cr_expect_eq(s_seen_at, S_WRITES_AT + 1, "seen in pass %u", s_seen_at);
    close(s_pipe[0]);
    close(s_pipe[1]);
}
