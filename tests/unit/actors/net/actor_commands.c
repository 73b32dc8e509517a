/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an actor: answered in order while their askers wait, with what was
 * said and why; the actor sleeps meanwhile, however many descriptors it has. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "net/actor.h"

#define ASKERS 4
#define COMMANDS 2000
#define FDS_MAX 40

static int s_pipe[2];
static int s_n_fds; /* that it sleeps on */
static bool s_readable[FDS_MAX];
static atomic_int s_events;
static atomic_int s_slow;
static sem_t s_looked;
static gi_actor_t *s_actor;

static gate_err_t s_start(void *self) {
    (void)self;
    return GATE_OK;
}

static void s_stop(void *self) { (void)self; }

static void s_mail(void *self, void **items, size_t n, int64_t now_ms) {
    (void)self, (void)items, (void)n, (void)now_ms;
}

static bool s_work(void *self, int64_t now_ms) {
    char c;
    (void)self, (void)now_ms;
    if (!s_n_fds || !s_readable[s_n_fds - 1])
        return false;
    s_readable[s_n_fds - 1] = false;
    cr_assert_eq(read(s_pipe[0], &c, 1), 1);
    atomic_fetch_add(&s_events, 1);
    return true;
}

/* It is woken or sleeps for ever. */
static int64_t s_next(void *self, int64_t now_ms) {
    (void)self, (void)now_ms;
    if (atomic_exchange(&s_slow, 0)) { /* it has looked, and is yet to sleep */
        sem_post(&s_looked);
        usleep(5000);
    }
    return INT64_MAX;
}

/* The last one alone is ever readable. */
static void s_fds(void *self, gi_polled_t *polled) {
    (void)self;
    for (int i = 0; i < s_n_fds; i++)
        gi_polled_add(polled, s_pipe[i < s_n_fds - 1], &s_readable[i]);
}

static gate_err_t s_echo(void *self, const char *arg, gi_buf_t *out) {
    (void)self;
    gi_buf_append(out, arg, strlen(arg));
    return GATE_OK;
}

static gate_err_t s_tells(void *self, const char *arg, gi_buf_t *out) {
    (void)self, (void)out;
    return gi_err_story(GATE_BADARG, "PickyError", arg, NULL);
}

static gate_err_t s_silent(void *self, const char *arg, gi_buf_t *out) {
    (void)self, (void)arg, (void)out;
    return GATE_BUSY;
}

static gate_err_t s_inside(void *self, const char *arg, gi_buf_t *out) {
    (void)self, (void)out;
    return gi_actor_command(s_actor, "ECHO", arg, NULL);
}

static const gi_actor_ops_t s_ops = {
    .name = "asked",
    .commands = (const gi_command_t[]){{"ECHO", s_echo},
                                       {"TELLS", s_tells},
                                       {"SILENT", s_silent},
                                       {"INSIDE", s_inside},
                                       {NULL, NULL}},
    .start = s_start,
    .stop = s_stop,
    .mail = s_mail,
    .work = s_work,
    .next = s_next,
    .fds = s_fds};

static void s_up(int n_fds) {
    s_n_fds = n_fds;
    cr_assert_eq(pipe(s_pipe), 0);
    cr_assert_eq(gi_actor_new(&s_ops, NULL, 16, &s_actor), GATE_OK);
}

static void s_down(void) {
    gi_actor_destroy(&s_actor);
    close(s_pipe[0]);
    close(s_pipe[1]);
}

static void s_echoes(const char *text) {
    gi_buf_t out = {0};
    cr_assert_eq(gi_actor_command(s_actor, "ECHO", text, &out), GATE_OK);
    cr_assert_eq(out.size, strlen(text));
    cr_assert_eq(memcmp(out.data, text, out.size), 0);
    gi_buf_fini(&out);
}

static void *s_ask(void *who) {
    char text[32];
    int asker = *(int *)who;
    for (int i = 0; i < COMMANDS; i++) {
        snprintf(text, sizeof text, "%d %d", asker, i);
        s_echoes(text);
    }
    return NULL;
}

Test(actor_commands, each_asker_has_its_own_answer, .timeout = 60) {
    pthread_t askers[ASKERS];
    int who[ASKERS];
    s_up(0);
    for (int i = 0; i < ASKERS; i++) {
        who[i] = i;
        pthread_create(&askers[i], NULL, s_ask, &who[i]);
    }
    for (int i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    s_down();
}

/* Given between its look and its sleep, a command is not slept over. */
Test(actor_commands, who_is_about_to_sleep_hears_too, .timeout = 60) {
    s_up(0);
    sem_init(&s_looked, 0, 0);
    for (int i = 0; i < 20; i++) {
        atomic_store(&s_slow, 1);
        s_echoes("awake");
        while (sem_wait(&s_looked) < 0) {
        }
        s_echoes("looked, and not asleep yet");
    }
    s_down();
}

Test(actor_commands, what_was_wrong_comes_back, .timeout = 60) {
    s_up(0);
    cr_expect_eq(gi_actor_command(s_actor, "TELLS", "this one", NULL),
                 GATE_BADARG);
    cr_expect_str_eq(gate_error()->text, "this one");
    cr_expect_str_eq(gate_error()->cls, "PickyError");
    cr_expect_eq(gi_actor_command(s_actor, "SILENT", NULL, NULL), GATE_BUSY);
    cr_expect_eq(gate_error()->code, GATE_BUSY);
    cr_expect_str_eq(gate_error()->text, gate_err_text(GATE_BUSY));
    cr_expect_eq(gi_actor_command(s_actor, "NONE", NULL, NULL), GATE_BADARG);
    cr_expect(strstr(gate_error()->text, "no such command: NONE"));
    cr_expect_eq(gi_actor_command(s_actor, "INSIDE", NULL, NULL),
                 GATE_WOULDBLOCK);
    s_down();
    cr_expect_eq(gi_actor_command(NULL, "ECHO", NULL, NULL), GATE_CLOSED);
}

Test(actor_commands, no_memory_for_an_answer, .timeout = 60) {
    gi_buf_t out = {0};
    s_up(0);
    gi_mem_fail_at(1, true);
    gate_err_t e = gi_actor_command(s_actor, "ECHO", "some", &out);
    gi_mem_fail_at(0, false);
    cr_expect_eq(e, GATE_NOMEM);
    gi_buf_fini(&out);
    s_echoes("again");
    s_down();
}

/* Stop says so to who comes later, and lets who is there have the answer. */
static void *s_ask_until_closed(void *started) {
    gate_err_t e;
    while (!(e = gi_actor_command(s_actor, "ECHO", NULL, NULL)))
        atomic_fetch_add((atomic_int *)started, 1);
    return (void *)(uintptr_t)e;
}

Test(actor_commands, who_asks_while_it_is_stopped_does_not_wait,
     .timeout = 60) {
    atomic_int asked = 0;
    pthread_t asker;
    void *e;
    s_up(0);
    pthread_create(&asker, NULL, s_ask_until_closed, &asked);
    while (atomic_load(&asked) < 100)
        sched_yield();
    gi_actor_stop(s_actor);
    pthread_join(asker, &e);
    cr_expect_eq((uintptr_t)e, GATE_CLOSED);
    gi_actor_stop(s_actor);
    s_down();
}

/* More than it has room for at first; the last of them wakes it as well. */
static void s_hears(int n_fds) {
    s_up(n_fds);
    s_echoes("before");
    for (int i = 1; i <= 3; i++) {
        cr_assert_eq(write(s_pipe[1], "x", 1), 1);
        for (int k = 0; k < 20000 && atomic_load(&s_events) < i; k++)
            usleep(1000);
        cr_assert_eq(atomic_load(&s_events), i, "%d of %d descriptors", i,
                     n_fds);
        s_echoes("between");
    }
    s_down();
}

Test(actor_commands, one_descriptor, .timeout = 60) { s_hears(1); }
Test(actor_commands, as_many_as_it_has_room_for, .timeout = 60) { s_hears(15); }
Test(actor_commands, one_more, .timeout = 60) { s_hears(16); }
Test(actor_commands, many_descriptors, .timeout = 60) { s_hears(FDS_MAX); }
