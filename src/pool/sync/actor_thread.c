/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/actor_thread.h"

#include <pthread.h>
#include <stdatomic.h>

#include <pthread.h>
#include <stddef.h>

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

/* ---- processes ------------------------------------------------------------- */

static _Atomic uint32_t s_births;

void gi_born_again(void) { atomic_fetch_add(&s_births, 1); }

uint32_t gi_born_now(void) {
    return atomic_load_explicit(&s_births, memory_order_relaxed);
}

__attribute__((constructor)) static void s_watch_forks(void) {
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
