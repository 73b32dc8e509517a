/* SPDX-License-Identifier: BSD-3-Clause */
/* keeper.c -- see keeper.h. A poke that comes while the function runs makes it
 * run again: none is lost. */
#include "sync/keeper.h"
#include "sync/actor_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"

struct gi_keeper {
    const char *name;
    gi_keeper_fn *fn;
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock; /* of the two flags */
    pthread_cond_t wake;
    bool poked, ending;
};

static void s_wait(gi_keeper_t *self, int64_t until_ms) {
    struct timespec at = {.tv_sec = until_ms / 1000,
                          .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int rc = 0;
    while (!self->poked && !self->ending && rc != ETIMEDOUT)
        if (until_ms == INT64_MAX)
            rc = pthread_cond_wait(&self->wake, &self->lock);
        else
            rc = pthread_cond_timedwait(&self->wake, &self->lock, &at);
    self->poked = false;
}

static void *s_main(void *arg) {
    gi_keeper_t *self = arg;
    gi_thread_in_t in;
    gi_thread_enter(&in, self->ctx);
    prctl(PR_SET_NAME, self->name, 0, 0, 0);
    pthread_mutex_lock(&self->lock);
    while (!self->ending) {
        pthread_mutex_unlock(&self->lock);
        int64_t next = self->fn(self->ctx, gi_clock_ms());
        pthread_mutex_lock(&self->lock);
        s_wait(self, next);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static int s_spawn(gi_keeper_t *self) {
    sigset_t all, before; /* signals are the host program's */
    gi_thread_signals(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&self->thread, NULL, s_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void s_free(gi_keeper_t *self) {
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->wake);
    gi_mem_free(self);
}

gate_err_t gi_keeper_new(const char *name, gi_keeper_fn *fn, void *ctx,
                         gi_keeper_t **out) {
    pthread_condattr_t attr;
    gi_keeper_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL)
        return gi_err(GATE_NOMEM, "no memory for a thread");
    self->name = name;
    self->fn = fn;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&self->wake, &attr);
    pthread_condattr_destroy(&attr);
    *out = self;
    int rc = s_spawn(self);
    if (rc == 0)
        return GATE_OK;
    *out = NULL;
    s_free(self);
    return gi_thread_refused(rc, name);
}

void gi_keeper_poke(gi_keeper_t *self) {
    pthread_mutex_lock(&self->lock);
    self->poked = true;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
}

void gi_keeper_destroy(gi_keeper_t **self_p) {
    gi_keeper_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    pthread_mutex_lock(&self->lock);
    self->ending = true;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    s_free(self);
}
