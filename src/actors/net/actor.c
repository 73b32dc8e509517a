/* SPDX-License-Identifier: BSD-3-Clause */
/* actor.c -- the shell. A command is handed over in memory, as mail is, so an
 * actor that has no socket of its own has none. Signals are blocked while the
 * thread is made: it inherits that, signals are the host program's. */
#include "net/actor.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/err.h"
#include "sync/lock.h"
#include "sync/luck.h"
#include "base/mem.h"

#define S_MAIL_BATCH 256
#define S_LOOK_EVERY 64   /* busy passes between two looks at all descriptors */
#define S_SLEEP_MAX 60000 /* ms */
#define S_ASLEEP INT64_MAX
#define S_FDS_FEW 16 /* as most actors have: the rest stays untouched stack */

/* A command under way, on the stack of who waits for it. */
typedef struct s_asked {
    const char *name, *arg;
    gi_buf_t *out;
    gate_err_t e;
    gi_error_t error;
} s_asked_t;

struct gi_actor {
    const gi_actor_ops_t *ops;
    void *self; /* the talker */
    gi_mailbox_t *mailbox;
    pthread_t thread;
    gi_lock_t lock; /* one command at a time; of: */
    bool runs;      /* there is a thread to be told and joined */
    sem_t said;     /* start_error stands; a command is answered */
    gi_error_t start_error;
    unsigned forks;           /* gi_actor_thread_forks when it was made */
    s_asked_t *_Atomic asked; /* NULL: no command waits */
    atomic_bool told_to_end;
    bool crowded;   /* its descriptors are many; the actor's thread only */
    gi_luck_t luck; /* of lingering */
    int64_t busy_poll_ns;
    int64_t worked_ns;       /* when there was work; with busy_poll_ns only */
    _Atomic int64_t pass_ms; /* when its pass began; S_ASLEEP: in none */
};

static _Thread_local const gi_actor_t *s_mine; /* whose thread this is */

/* ---- commands, on the actor's thread ------------------------------------- */
static gate_err_t s_dispatch(gi_actor_t *actor, s_asked_t *asked,
                             gi_buf_t *out) {
    const gi_command_t *c = actor->ops->commands;
    while (c && c->name && strcmp(c->name, asked->name) != 0)
        c++;
    if (!c || !c->name)
        return gi_err(GATE_BADARG, "%s: no such command: %s", actor->ops->name,
                      asked->name);
    gate_err_t e = c->run(actor->self, asked->arg, out);
    return e || !out->failed
               ? e
               : gi_err(GATE_NOMEM, "%s: no memory for the answer to %s",
                        actor->ops->name, asked->name);
}

/* The command that waits; true when there was one. */
static bool s_command(gi_actor_t *actor) {
    if (!atomic_load_explicit(&actor->asked, memory_order_relaxed))
        return false;
    s_asked_t *asked = atomic_exchange(&actor->asked, NULL);
    gi_buf_t unwanted = {0};
    asked->e = s_dispatch(actor, asked, asked->out ? asked->out : &unwanted);
    if (asked->e && gate_error()->code == asked->e)
        gi_error_set(&asked->error, gate_error());
    else if (asked->e)
        gi_error_story(&asked->error, asked->e, NULL, gate_err_text(asked->e),
                       NULL);
    gi_buf_fini(&unwanted);
    sem_post(&actor->said);
    return true;
}

static bool s_is_told(gi_actor_t *actor) {
    return atomic_load(&actor->asked) || atomic_load(&actor->told_to_end);
}

/* ---- the loop ------------------------------------------------------------ */
static bool s_mail(gi_actor_t *actor, int64_t now_ms) {
    void *items[S_MAIL_BATCH];
    size_t n = gi_mailbox_pop(actor->mailbox, items, S_MAIL_BATCH);
    if (n)
        actor->ops->mail(actor->self, items, n, now_ms);
    return n > 0;
}

/* Polls everything and tells the flags; 0 ms is a look in between. False: there
 * are more descriptors than room. */
static bool s_poll_in(gi_actor_t *actor, int timeout_ms, gi_polled_t polled) {
    gi_polled_add(&polled, gi_mailbox_fd(actor->mailbox), NULL);
    actor->ops->fds(actor->self, &polled);
    if (polled.n == polled.room && polled.room < GI_ACTOR_FDS_MAX)
        return false;
    if (poll(polled.fds, (nfds_t)polled.n, polled.hurry ? 0 : timeout_ms) > 0)
        for (size_t i = 0; i < polled.n; i++)
            if (polled.fds[i].revents && polled.flags[i])
                *polled.flags[i] = true;
    return true;
}

__attribute__((noinline)) static bool s_poll_few(gi_actor_t *actor,
                                                 int timeout_ms) {
    struct pollfd fds[S_FDS_FEW];
    bool *flags[S_FDS_FEW];
    return s_poll_in(
        actor, timeout_ms,
        (gi_polled_t){.room = S_FDS_FEW, .fds = fds, .flags = flags});
}

__attribute__((noinline)) static bool s_poll_many(gi_actor_t *actor,
                                                  int timeout_ms) {
    struct pollfd fds[GI_ACTOR_FDS_MAX];
    bool *flags[GI_ACTOR_FDS_MAX];
    return s_poll_in(
        actor, timeout_ms,
        (gi_polled_t){.room = GI_ACTOR_FDS_MAX, .fds = fds, .flags = flags});
}

static void s_poll(gi_actor_t *actor, int timeout_ms) {
    if (!actor->crowded)
        actor->crowded = !s_poll_few(actor, timeout_ms);
    if (actor->crowded)
        s_poll_many(actor, timeout_ms);
}

/* True: something came while this thread let others run. */
static bool s_linger(gi_actor_t *actor) {
    if (!actor->ops->calm || !actor->ops->calm(actor->self))
        return false;
    gi_linger_t linger = gi_luck_begin(&actor->luck);
    bool came = false;
    while (!came && gi_linger(&linger))
        came =
            gi_mailbox_there(actor->mailbox) || actor->ops->there(actor->self);
    gi_luck_end(&actor->luck, &linger, came);
    return came;
}

static void s_sleep(gi_actor_t *actor, int64_t now_ms) {
    int64_t next = actor->ops->next(actor->self, now_ms);
    int64_t wait = next == INT64_MAX ? S_SLEEP_MAX : next - now_ms;
    if (wait <= 0 || s_linger(actor) || !gi_mailbox_sleep(actor->mailbox))
        return;
    if (!s_is_told(actor)) { /* before: seen here; from now on: it rings */
        atomic_store_explicit(&actor->pass_ms, S_ASLEEP, memory_order_relaxed);
        s_poll(actor, wait > S_SLEEP_MAX ? S_SLEEP_MAX : (int)wait);
    }
    gi_mailbox_wake(actor->mailbox);
}

/* True: it is too early to sleep, all descriptors were looked at. */
static bool s_busy_poll(gi_actor_t *actor, bool busy) {
    if (actor->busy_poll_ns == 0)
        return false;
    int64_t now_ns = gi_clock_ns();
    if (busy)
        actor->worked_ns = now_ns;
    else if (now_ns - actor->worked_ns < actor->busy_poll_ns)
        s_poll(actor, 0);
    else
        return false;
    return true;
}

static void s_run(gi_actor_t *actor) {
    unsigned pass = 0;
    int64_t looked_ms = 0;
    while (!atomic_load_explicit(&actor->told_to_end, memory_order_acquire)) {
        int64_t now = gi_clock_ms();
        atomic_store_explicit(&actor->pass_ms, now, memory_order_relaxed);
        bool busy = s_mail(actor, now);
        busy |= actor->ops->work(actor->self, now);
        busy |= s_command(actor);
        if (!s_busy_poll(actor, busy) && !busy) {
            s_sleep(actor, now);
        } else if (++pass % S_LOOK_EVERY == 0 || now != looked_ms) {
            looked_ms = now;
            s_poll(actor, 0);
        }
    }
    gi_mailbox_close(actor->mailbox);
    while (s_mail(actor, gi_clock_ms())) {
    }
}

static void *s_main(void *arg) {
    gi_actor_t *actor = arg;
    prctl(PR_SET_NAME, actor->ops->name, 0, 0, 0);
    gi_actor_thread_mark(actor->ops->name);
    s_mine = actor;
    gate_err_t e = actor->ops->start(actor->self);
    if (e)
        gi_error_set(&actor->start_error, gate_error());
    sem_post(&actor->said);
    if (!e) {
        s_run(actor);
        actor->ops->stop(actor->self);
    }
    gi_actor_thread_mark(NULL);
    return NULL;
}

/* ---- life ---------------------------------------------------------------- */
static void s_free(gi_actor_t *actor) {
    gi_mailbox_destroy(&actor->mailbox);
    gi_lock_fini(&actor->lock);
    sem_destroy(&actor->said);
    gi_error_fini(&actor->start_error);
    gi_mem_free(actor);
}

bool gi_actor_own(const gi_actor_t *actor) { return actor && s_mine == actor; }

bool gi_actor_foreign(const gi_actor_t *actor) {
    return actor && actor->forks != gi_actor_thread_forks;
}

static void s_wait(gi_actor_t *actor) {
    while (sem_wait(&actor->said) < 0) {
    }
}

/* A command that is under way is answered first; none comes behind it. */
void gi_actor_stop(gi_actor_t *actor) {
    if (!actor || gi_actor_foreign(actor))
        return;
    gi_lock(&actor->lock);
    bool runs = actor->runs;
    actor->runs = false;
    gi_unlock(&actor->lock);
    if (!runs)
        return;
    atomic_store(&actor->told_to_end, true);
    gi_mailbox_rouse(actor->mailbox);
    pthread_join(actor->thread, NULL);
}

static gate_err_t s_begin(gi_actor_t *actor) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&actor->thread, NULL, s_main, actor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    gi_lock(&actor->lock);
    actor->runs = rc == 0;
    gi_unlock(&actor->lock);
    return rc ? gi_thread_refused(rc, actor->ops->name) : GATE_OK;
}

static gi_actor_t *s_new(const gi_actor_ops_t *ops, void *self,
                         size_t mailbox_max) {
    gi_actor_t *actor = gi_mem_calloc(1, sizeof *actor);
    if (!actor) {
        (void)gi_err(GATE_NOMEM, "no memory for the %s actor", ops->name);
        return NULL;
    }
    gi_actor_thread_watch();
    *actor =
        (gi_actor_t){.ops = ops, .self = self, .forks = gi_actor_thread_forks};
    atomic_init(&actor->pass_ms, S_ASLEEP);
    gi_lock_init(&actor->lock);
    sem_init(&actor->said, 0, 0);
    gi_error_init(&actor->start_error);
    actor->mailbox = gi_mailbox_new(mailbox_max);
    if (actor->mailbox)
        return actor;
    s_free(actor);
    (void)gi_err(GATE_NOMEM, "no memory or descriptor for a mailbox");
    return NULL;
}

gate_err_t gi_actor_new(const gi_actor_ops_t *ops, void *self,
                        size_t mailbox_max, gi_actor_t **out) {
    gate_err_t e;
    gi_actor_t *actor = s_new(ops, self, mailbox_max);
    if (!actor)
        return gate_error()->code;
    *out = actor; /* start may already hand the mailbox to others */
    e = s_begin(actor);
    if (!e) {
        s_wait(actor);
        if (!actor->start_error.story.code)
            return GATE_OK;
        gi_actor_stop(actor);
        e = gi_error_publish(&actor->start_error);
    }
    *out = NULL;
    s_free(actor);
    return e;
}

void gi_actor_destroy(gi_actor_t **actor_p) {
    gi_actor_t *actor = *actor_p;
    if (!actor)
        return;
    *actor_p = NULL;
    if (gi_actor_foreign(actor))
        return; /* its locks may be held by nobody who is here */
    gi_actor_stop(actor);
    s_free(actor);
}

bool gi_actor_stuck(const gi_actor_t *actor, int64_t since_ms) {
    return atomic_load_explicit(&actor->pass_ms, memory_order_relaxed) <=
           since_ms;
}

gi_mailbox_t *gi_actor_mailbox(gi_actor_t *actor) { return actor->mailbox; }

void gi_actor_busy_poll(gi_actor_t *actor, int64_t us) {
    actor->busy_poll_ns = us * 1000;
}

/* ---- commands, from outside ---------------------------------------------- */
static gate_err_t s_ask(gi_actor_t *actor, s_asked_t *asked) {
    gi_lock(&actor->lock);
    bool runs = actor->runs;
    if (runs) {
        atomic_store(&actor->asked, asked);
        gi_mailbox_rouse(actor->mailbox);
        s_wait(actor);
    }
    gi_unlock(&actor->lock);
    return runs
               ? GATE_OK
               : gi_err(GATE_CLOSED, "%s: the actor does not run", asked->name);
}

gate_err_t gi_actor_command(gi_actor_t *actor, const char *name,
                            const char *arg, gi_buf_t *out) {
    s_asked_t asked = {.name = name, .arg = arg ? arg : "", .out = out};
    if (gi_actor_thread())
        return gi_err(GATE_WOULDBLOCK,
                      "%s would block the %s actor's thread: run it on a pool",
                      name, gi_actor_thread());
    if (!actor)
        return gi_err(GATE_CLOSED, "%s: the actor does not run", name);
    if (gi_actor_foreign(actor))
        return gi_err(GATE_CLOSED,
                      "%s: made before fork(): its thread is in "
                      "the parent alone",
                      actor->ops->name);
    gi_error_init(&asked.error);
    gate_err_t e = s_ask(actor, &asked);
    if (!e && asked.e)
        e = gi_error_publish(&asked.error);
    gi_error_fini(&asked.error);
    return e;
}
