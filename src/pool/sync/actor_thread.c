/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/actor_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include <gaterpc/log.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include "base/err.h"
#include "sync/clock.h"

#define S_ASKED_MAX 64

static _Thread_local const char *s_name;

void gi_actor_thread_mark(const char *name) { s_name = name; }

const char *gi_actor_thread(void) { return s_name; }

void gi_thread_signals(sigset_t *set) {
    static const int own[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                              SIGTRAP, SIGABRT, SIGSYS};

    sigfillset(set);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(set, own[i]);
}

gate_err_t gi_thread_refused(int error, const char *whose) {
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    char most[32] = "unlimited";
    getrlimit(RLIMIT_NPROC, &limit);
    if (limit.rlim_cur != RLIM_INFINITY)
        snprintf(most, sizeof most, "%llu", (unsigned long long)limit.rlim_cur);
    errno = error;
    return gi_err_errno("no thread can be had for %s (ulimit -u is %s, for all "
                        "of this user; or TasksMax, pids.max, memory)",
                        whose, most);
}

static void *s_until(void *mutex) {
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

gate_err_t gi_thread_left(size_t n, const char *whose) {
    pthread_t threads[S_ASKED_MAX];
    pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;
    size_t made = 0;
    int rc = 0;
    pthread_mutex_lock(&all); /* none ends before the last is there */
    while (made < n && made < S_ASKED_MAX && rc == 0) {
        rc = pthread_create(&threads[made], NULL, s_until, &all);
        made += rc == 0;
    }
    pthread_mutex_unlock(&all);
    while (made)
        pthread_join(threads[--made], NULL);
    return rc ? gi_thread_refused(rc, whose) : GATE_OK;
}

/* ---- processes ------------------------------------------------------------- */

static _Atomic uint32_t s_births;

void gi_born_again(void) { atomic_fetch_add(&s_births, 1); }

uint32_t gi_born_now(void) {
    return atomic_load_explicit(&s_births, memory_order_relaxed);
}

/* In our threads all signals are blocked, and a child inherits that. It is its
 * own process: what it blocks is what its host was started with. */
static sigset_t s_first_mask;
static _Thread_local bool s_ours;

void gi_thread_mark(void) { s_ours = true; }

static _Thread_local gi_thread_in_t *s_in;

void gi_thread_enter(gi_thread_in_t *self, const void *of) {
    *self = (gi_thread_in_t){of, s_in};
    s_in = self;
}

void gi_thread_leave(gi_thread_in_t *self) { s_in = self->outer; }

bool gi_thread_is_in(const void *of) {
    const gi_thread_in_t *in = s_in;
    while (in && in->of != of)
        in = in->outer;
    return in != NULL;
}

bool gi_thread_works(void) { return s_ours || s_name || s_in; }

static void s_open_signals(void) {
    if (s_ours || s_name)
        pthread_sigmask(SIG_SETMASK, &s_first_mask, NULL);
}

__attribute__((constructor)) static void s_watch_forks(void) {
    pthread_sigmask(SIG_SETMASK, NULL, &s_first_mask);
    (void)pthread_atfork(NULL, NULL, s_open_signals);
    /* without memory for it the pid is still what zygotes are known by */
    (void)pthread_atfork(NULL, NULL, gi_born_again);
}

/* ---- forks --------------------------------------------------------------- */
unsigned gi_actor_thread_forks; /* written where there is one thread */

static void s_child(void) { gi_actor_thread_forks++; }

static void s_watch(void) { pthread_atfork(NULL, NULL, s_child); }

void gi_actor_thread_watch(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, s_watch);
}

/* ---- threads that wait for each other ------------------------------------ */
#define S_LOG_MS 1000 /* between lines about one group */

static _Thread_local gi_thread_wait_t *s_group;

void gi_thread_wait_mark(gi_thread_wait_t *group) { s_group = group; }

const void *gi_thread_wait_group(void) { return s_group; }

void gi_thread_wait_begin(void) {
    if (!s_group)
        return;
    atomic_fetch_add(&s_group->n, 1);
    s_group->told(s_group);
}

void gi_thread_wait_end(void) {
    if (s_group)
        atomic_fetch_sub(&s_group->n, 1);
}

void gi_thread_wait_look(gi_thread_wait_t *group, const char *name,
                         size_t members, size_t jobs) {
    if (!jobs || (size_t)atomic_load(&group->n) < members)
        return;
    int64_t now = gi_clock_ms(), last = atomic_load(&group->logged_ms);
    if ((last && now - last < S_LOG_MS) ||
        !atomic_compare_exchange_strong(&group->logged_ms, &last, now))
        return;
    gate_log(GATE_WARN, "pool",
             "%s: all %zu threads wait for answers to calls, and jobs wait for "
             "a thread: a call that needs one of these threads waits for "
             "itself (more threads, or gate_call_run and kept calls)",
             name, members);
}
