/* SPDX-License-Identifier: BSD-3-Clause */
/* actor.c -- the shell. A pair of sockets carries commands; sleeping and data
 * are ours: a message over the pipe costs as much as a whole call. zactor_new
 * would wait for ever for want of a thread, and abort for want of a socket: both
 * are made here. The thread inherits blocked signals: they are the host's. */
#include "net/actor.h"
#include "net/sock.h"

#include <czmq.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>
#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/err.h"
#include "base/handover.h"
#include "sync/lock.h"
#include "sync/luck.h"
#include "base/mem.h"

#define S_MAIL_BATCH 256
#define S_NAME_MAX 32     /* of a command */
#define S_LOOK_EVERY 64   /* busy passes between two looks at all descriptors */
#define S_SLEEP_MAX 60000 /* ms */
#define S_ASLEEP INT64_MAX
#define S_FRAME __attribute__((noinline)) static
#define S_FDS_FEW 16 /* as most actors have: the rest stays untouched stack */

struct gi_actor {
    const gi_actor_ops_t *ops;
    void *self; /* the talker */
    gi_mailbox_t *mailbox;
    void *pipe;  /* this end; NULL: the thread has ended */
    void *inner; /* the thread's end of it */
    pthread_t thread;
    gi_lock_t lock; /* one command at a time on the pipe */
    sem_t started;  /* posted once start_error stands */
    gi_error_t start_error;
    unsigned forks;  /* gi_actor_thread_forks when it was made */
    bool terminated; /* $TERM was read; the actor's thread only */
    int pipe_fd;     /* the inner end's; the thread only, as: */
    bool pipe_maybe; /* a command may wait */
    bool crowded;    /* its descriptors are many */
    gi_luck_t luck;  /* of lingering */
    int64_t busy_poll_ns;
    int64_t worked_ns;       /* when there was work; with busy_poll_ns only */
    _Atomic int64_t pass_ms; /* when its pass began; S_ASLEEP: in none */
};

static _Thread_local const gi_actor_t *s_mine; /* whose thread this is */

/* ---- commands, on the actor's thread ------------------------------------- */
static bool s_send_part(void *raw, const void *data, size_t size, int more) {
    int rc;
    do
        rc = zmq_send(raw, data, size, more);
    while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

/* Receives one part as a NUL-terminated string; false when there is none. */
static bool s_recv_part(void *raw, int flags, zmq_msg_t *part, bool *more) {
    int rc;
    zmq_msg_init(part);
    do
        rc = zmq_msg_recv(part, raw, flags);
    while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        zmq_msg_close(part);
        return false;
    }
    *more = zmq_msg_more(part);
    return true;
}

static char *s_part_text(void *raw, int flags, bool *more) {
    zmq_msg_t part;
    if (!s_recv_part(raw, flags, &part, more))
        return NULL;
    char *text = gi_mem_dup(zmq_msg_data(&part), zmq_msg_size(&part));
    zmq_msg_close(&part);
    return text;
}

static void s_answer(gi_actor_t *actor, void *raw, gate_err_t e,
                     const gi_buf_t *out) {
    const gate_error_t *story = gate_error();
    unsigned char code = (unsigned char)e;
    const char *cls = e ? story->cls : "";
    const char *text = e ? story->text : "";
    if (e && story->code != e) {
        cls = gi_err_class(e);
        text = gate_err_text(e);
    }
    GI_HANDOVER_SENDS(actor);
    s_send_part(raw, &code, 1, ZMQ_SNDMORE);
    s_send_part(raw, cls, strlen(cls), ZMQ_SNDMORE);
    s_send_part(raw, text, strlen(text), ZMQ_SNDMORE);
    s_send_part(raw, out->data, out->size, 0);
}

static void s_dispatch(gi_actor_t *actor, void *raw, const char *name,
                       const char *arg) {
    gi_buf_t out = {0};
    gate_err_t e = GATE_BADARG;
    const gi_command_t *c = actor->ops->commands;
    while (c && c->name && strcmp(c->name, name) != 0)
        c++;
    if (c && c->name)
        e = c->run(actor->self, arg, &out);
    else
        (void)gi_err(e, "%s: no such command: %s", actor->ops->name, name);
    if (!e && out.failed)
        e = gi_err(GATE_NOMEM, "%s: no memory for the answer to %s",
                   actor->ops->name, name);
    s_answer(actor, raw, e, &out);
    gi_buf_fini(&out);
}

/* Not allocated: a command is answered whatever memory there is, and $TERM is
 * never missed. */
static bool s_recv_name(void *raw, char name[S_NAME_MAX], bool *more) {
    zmq_msg_t part;
    if (!s_recv_part(raw, ZMQ_DONTWAIT, &part, more))
        return false;
    size_t n =
        zmq_msg_size(&part) < S_NAME_MAX ? zmq_msg_size(&part) : S_NAME_MAX - 1;
    memcpy(name, zmq_msg_data(&part), n);
    name[n] = 0;
    zmq_msg_close(&part);
    return true;
}

static void s_one(gi_actor_t *actor, void *raw, const char *name, bool more) {
    gi_buf_t none = {0};
    if (strcmp(name, "$TERM") == 0) {
        actor->terminated = true;
        return;
    }
    char *arg = more ? s_part_text(raw, 0, &more) : gi_mem_strdup("");
    if (arg)
        s_dispatch(actor, raw, name, arg);
    else
        s_answer(actor, raw, gi_err(GATE_NOMEM, "no memory for %s", name),
                 &none);
    gi_mem_free(arg);
}

/* All commands that wait; true when there was one. */
static bool s_commands(gi_actor_t *actor, void *raw) {
    char name[S_NAME_MAX];
    bool any = false, more = false;
    if (!actor->pipe_maybe)
        return false;
    actor->pipe_maybe = false; /* this goes on until none is left */
    while (!actor->terminated && s_recv_name(raw, name, &more)) {
        GI_HANDOVER_RECEIVED(actor);
        any = true;
        s_one(actor, raw, name, more);
    }
    return any;
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
    gi_polled_add(&polled, actor->pipe_fd, &actor->pipe_maybe);
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

S_FRAME bool s_poll_few(gi_actor_t *actor, int timeout_ms) {
    struct pollfd fds[S_FDS_FEW];
    bool *flags[S_FDS_FEW];
    return s_poll_in(
        actor, timeout_ms,
        (gi_polled_t){.room = S_FDS_FEW, .fds = fds, .flags = flags});
}

S_FRAME bool s_poll_many(gi_actor_t *actor, int timeout_ms) {
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
    atomic_store_explicit(&actor->pass_ms, S_ASLEEP, memory_order_relaxed);
    s_poll(actor, wait > S_SLEEP_MAX ? S_SLEEP_MAX : (int)wait);
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

static void s_run(gi_actor_t *actor, void *raw) {
    unsigned pass = 0;
    int64_t looked_ms = 0;
    while (!actor->terminated) {
        int64_t now = gi_clock_ms();
        atomic_store_explicit(&actor->pass_ms, now, memory_order_relaxed);
        bool busy = s_mail(actor, now);
        busy |= actor->ops->work(actor->self, now);
        busy |= s_commands(actor, raw);
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

static void s_close(void **raw_p) {
    if (*raw_p)
        zsys_close(*raw_p, "gaterpc", 0);
    *raw_p = NULL;
}

static void *s_main(void *arg) {
    gi_actor_t *actor = arg;
    void *raw = actor->inner;
    size_t size = sizeof actor->pipe_fd;
    bool more;
    prctl(PR_SET_NAME, actor->ops->name, 0, 0, 0);
    gi_actor_thread_mark(actor->ops->name);
    s_mine = actor;
    gate_err_t e = actor->ops->start(actor->self);
    if (e)
        gi_error_set(&actor->start_error, gate_error());
    sem_post(&actor->started);
    if (e) {
        char *term = s_part_text(raw, 0, &more); /* only $TERM can come */
        gi_mem_free(term);
    } else {
        zmq_getsockopt(raw, ZMQ_FD, &actor->pipe_fd, &size);
        s_run(actor, raw);
        actor->ops->stop(actor->self);
    }
    gi_actor_thread_mark(NULL);
    s_close(&actor->inner);
    return NULL;
}

/* ---- life ---------------------------------------------------------------- */
static void s_free(gi_actor_t *actor) {
    gi_mailbox_destroy(&actor->mailbox);
    gi_lock_fini(&actor->lock);
    sem_destroy(&actor->started);
    gi_error_fini(&actor->start_error);
    gi_mem_free(actor);
}

bool gi_actor_own(const gi_actor_t *actor) { return actor && s_mine == actor; }

bool gi_actor_foreign(const gi_actor_t *actor) {
    return actor && actor->forks != gi_actor_thread_forks;
}

/* A command that is under way is answered first; none comes behind it. */
void gi_actor_stop(gi_actor_t *actor) {
    if (!actor || gi_actor_foreign(actor))
        return;
    gi_lock(&actor->lock);
    void *pipe = actor->pipe;
    actor->pipe = NULL;
    gi_unlock(&actor->lock);
    if (!pipe)
        return;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    GI_HANDOVER_SENDS(actor);
    s_send_part(pipe, "$TERM", 5, 0);
    pthread_join(actor->thread, NULL);
    s_close(&pipe);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A name may still be that of an actor that was here: the reaper has it. */
static gate_err_t s_pipe(gi_actor_t *actor) {
    char name[64];
    int rc = -1;
    actor->pipe = zsys_socket(ZMQ_PAIR, "gaterpc", 0);
    actor->inner = actor->pipe ? zsys_socket(ZMQ_PAIR, "gaterpc", 0) : NULL;
    for (unsigned i = 0; actor->inner && rc < 0; i++) {
        snprintf(name, sizeof name, "inproc://gate-actor-%p-%u", (void *)actor,
                 i);
        rc = zmq_bind(actor->inner, name);
        if (rc < 0 && errno != EADDRINUSE)
            break;
    }
    if (rc == 0 && zmq_connect(actor->pipe, name) == 0)
        return GATE_OK;
    gate_err_t e = gi_sock_none_left("an actor");
    s_close(&actor->inner);
    s_close(&actor->pipe);
    return e;
}

static gate_err_t s_begin(gi_actor_t *actor) {
    sigset_t all, before;
    gate_err_t e = s_pipe(actor);
    if (e)
        return e;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&actor->thread, NULL, s_main, actor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return GATE_OK;
    s_close(&actor->inner);
    s_close(&actor->pipe);
    return gi_thread_refused(rc, actor->ops->name);
}

static gi_actor_t *s_new(const gi_actor_ops_t *ops, void *self,
                         size_t mailbox_max) {
    gi_actor_t *actor = gi_mem_calloc(1, sizeof *actor);
    if (!actor) {
        (void)gi_err(GATE_NOMEM, "no memory for the %s actor", ops->name);
        return NULL;
    }
    gi_actor_thread_watch();
    *actor = (gi_actor_t){.ops = ops,
                          .self = self,
                          .forks = gi_actor_thread_forks,
                          .pipe_maybe = true};
    atomic_init(&actor->pass_ms, S_ASLEEP);
    gi_lock_init(&actor->lock);
    sem_init(&actor->started, 0, 0);
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
        while (sem_wait(&actor->started) < 0) {
        }
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
static gate_err_t s_read_answer(void *raw, gi_buf_t *out) {
    bool more = false;
    zmq_msg_t part;
    if (!s_recv_part(raw, 0, &part, &more))
        return gi_err_errno("no answer from an actor");
    gate_err_t e = zmq_msg_size(&part) ? *(unsigned char *)zmq_msg_data(&part)
                                       : GATE_BADDATA;
    zmq_msg_close(&part);
    char *cls = more ? s_part_text(raw, 0, &more) : NULL;
    char *text = more ? s_part_text(raw, 0, &more) : NULL;
    if (more && s_recv_part(raw, 0, &part, &more)) {
        if (out)
            gi_buf_append(out, zmq_msg_data(&part), zmq_msg_size(&part));
        zmq_msg_close(&part);
    }
    if (e)
        (void)gi_err_story(e, cls, text, NULL);
    else if (out && out->failed)
        e = gi_err(GATE_NOMEM, "no memory for an actor's answer");
    gi_mem_free(cls);
    gi_mem_free(text);
    return e;
}

static gate_err_t s_ask(gi_actor_t *actor, const char *name, const char *arg,
                        gi_buf_t *out) {
    if (!actor->pipe)
        return gi_err(GATE_CLOSED, "%s: the actor does not run", name);
    GI_HANDOVER_SENDS(actor);
    s_send_part(actor->pipe, name, strlen(name), ZMQ_SNDMORE);
    s_send_part(actor->pipe, arg ? arg : "", arg ? strlen(arg) : 0, 0);
    gate_err_t e = s_read_answer(actor->pipe, out);
    GI_HANDOVER_RECEIVED(actor);
    return e;
}

gate_err_t gi_actor_command(gi_actor_t *actor, const char *name,
                            const char *arg, gi_buf_t *out) {
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
    gi_lock(&actor->lock);
    gate_err_t e = s_ask(actor, name, arg, out);
    gi_unlock(&actor->lock);
    return e;
}
