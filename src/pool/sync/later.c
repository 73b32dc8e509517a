/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/later.h"
#include "sync/actor_thread.h"

#include <pthread.h>
#include <signal.h>

#include "base/mem.h"

static pthread_mutex_t s_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t s_none = PTHREAD_COND_INITIALIZER;
static unsigned s_running;

typedef struct s_task {
    void (*fn)(void *arg);
    void *arg;
} s_task_t;

static void s_count(int by) {
    pthread_mutex_lock(&s_mutex);
    s_running += (unsigned)by;
    if (!s_running)
        pthread_cond_broadcast(&s_none);
    pthread_mutex_unlock(&s_mutex);
}

static void *s_run(void *arg) {
    s_task_t task = *(s_task_t *)arg;
    gi_mem_free(arg);
    task.fn(task.arg);
    s_count(-1);
    return NULL;
}

/* Detached, and with all signals blocked: those are the host program's. */
static bool s_thread(s_task_t *task) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attr))
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    gi_thread_signals(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, s_run, task);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

bool gi_later(void (*fn)(void *arg), void *arg) {
    s_task_t *task = gi_mem_alloc(sizeof *task);
    if (!task)
        return false;
    *task = (s_task_t){fn, arg};
    s_count(1);
    if (s_thread(task))
        return true;
    s_count(-1);
    gi_mem_free(task);
    return false;
}

void gi_later_wait(void) {
    pthread_mutex_lock(&s_mutex);
    while (s_running)
        pthread_cond_wait(&s_none, &s_mutex);
    pthread_mutex_unlock(&s_mutex);
}
