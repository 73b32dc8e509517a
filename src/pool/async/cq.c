/* SPDX-License-Identifier: BSD-3-Clause */
/* cq.c -- a list of completed futures linked through themselves, so it needs no
 * memory of its own. Who waits here sleeps on a condition. The eventfd is for
 * others' loops: from when it was first asked for it is readable exactly while
 * the list is not empty, rung and emptied under the mutex when that changes. */
#include "async/cq.h"

#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/err.h"
#include "sync/actor_thread.h"
#include "sync/ref.h"
#include "sync/mine.h"
#include "sync/wait.h"

/* Taken at once: others that dispatch get some too. */
#define TAKE_MAX 64
#define S_AHEAD 64

struct gate_cq {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    unsigned sleepers; /* in gate_cq_wait */
    gi_ref_t ref;      /* the user's and one for each future under way */
    uint32_t born;     /* gi_born_now() of who made it */
    int fd;
    bool armed;  /* somebody looks at fd */
    bool closed; /* the user has gone */
    gi_mine_t mine;
    unsigned spare; /* references taken ahead by the first thread */
    gate_future_t *first, *last;
};

gate_cq_t *gate_cq_new(void) {
    gate_cq_t *self = gi_mem_calloc(1, sizeof *self);

    if (!self)
        return NULL;
    self->fd = gi_wait_eventfd();
    if (self->fd < 0) {
        gi_mem_free(self);
        return NULL;
    }
    self->born = gi_born_now();
    gi_ref_init(&self->ref);
    gi_wait_mutex_init(&self->mutex);
    gi_wait_cond_init(&self->filled);
    return self;
}

/* In a child of fork() it is a copy: nothing of the parent's completes there, what
 * had completed is dispatched by the parent, and its lock is as other threads had
 * it. */
static bool s_foreign(const gate_cq_t *self) {
    return self->born != gi_born_now();
}

static gate_err_t s_check(const gate_cq_t *self, const char *what) {
    if (gi_err_null(self, what))
        return GATE_BADARG;
    return s_foreign(self)
               ? gi_err(GATE_CLOSED,
                        "%s: this completion queue was made before fork(): it "
                        "is the parent's",
                        what)
               : GATE_OK;
}

static void s_drop(gate_cq_t *self, unsigned n) {
    if (!gi_ref_drop_n(&self->ref, n))
        return;
    close(self->fd);
    pthread_cond_destroy(&self->filled);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self);
}

/* One for a future: the first thread takes them by the dozen. */
void gi_cq_share(gate_cq_t *self) {
    if (!gi_mine(&self->mine)) {
        gi_ref_take(&self->ref);
        return;
    }
    if (!self->spare) {
        gi_ref_take_n(&self->ref, S_AHEAD);
        self->spare = S_AHEAD;
    }
    self->spare--;
}

/* Runs or drops each future of a chain; how many. */
static size_t s_each(gate_future_t *chain,
                     void (*verb)(gate_future_t *future)) {
    size_t n = 0;

    while (chain) {
        gate_future_t *future = chain;

        chain = *gi_future_link(future);
        verb(future);
        n++;
    }
    return n;
}

void gi_cq_push(gate_cq_t *self, gate_future_t *first, gate_future_t *last,
                size_t n) {
    bool closed, asleep;

    *gi_future_link(last) = NULL;
    if (s_foreign(self)) {
        s_each(first, gi_future_drop_then);
        return;
    }
    pthread_mutex_lock(&self->mutex);
    closed = self->closed;
    if (!closed) {
        if (self->first)
            *gi_future_link(self->last) = first;
        else {
            self->first = first;
            if (self->armed)
                gi_wait_ring(self->fd);
        }
        self->last = last;
    }
    asleep = self->sleepers > 0;
    pthread_mutex_unlock(&self->mutex);
    if (asleep)
        pthread_cond_broadcast(&self->filled);
    if (closed)
        s_each(first, gi_future_drop_then);
    s_drop(self, (unsigned)n);
}

/* At most max futures, linked. */
static gate_future_t *s_take(gate_cq_t *self, size_t max) {
    gate_future_t *chain, *last;

    pthread_mutex_lock(&self->mutex);
    chain = last = self->first;
    while (last && --max && *gi_future_link(last))
        last = *gi_future_link(last);
    if (chain) {
        self->first = *gi_future_link(last);
        *gi_future_link(last) = NULL;
        if (!self->first && self->armed)
            gi_wait_hush(self->fd);
    }
    pthread_mutex_unlock(&self->mutex);
    return chain;
}

void gate_cq_destroy(gate_cq_t **self_p) {
    gate_cq_t *self = self_p ? *self_p : NULL;
    gate_future_t *chain;

    if (!self)
        return;
    *self_p = NULL;
    if (s_foreign(self)) {
        close(self->fd);
        return;
    }
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    pthread_mutex_unlock(&self->mutex);
    while ((chain = s_take(self, TAKE_MAX)))
        s_each(chain, gi_future_drop_then);
    s_drop(self, 1 + self->spare); /* nobody may give it futures any more */
}

int gate_cq_fd(const gate_cq_t *that) {
    gate_cq_t *self = (gate_cq_t *)(uintptr_t)that;

    if (s_check(that, "gate_cq_fd"))
        return -1;
    pthread_mutex_lock(&self->mutex);
    if (!self->armed && self->first)
        gi_wait_ring(self->fd);
    self->armed = true;
    pthread_mutex_unlock(&self->mutex);
    return self->fd;
}

size_t gate_cq_dispatch(gate_cq_t *self, size_t max) {
    if (s_check(self, "gate_cq_dispatch"))
        return 0;
    gate_future_t *chain;
    size_t n = 0;

    while (n < max &&
           (chain = s_take(self, max - n < TAKE_MAX ? max - n : TAKE_MAX)))
        n += s_each(chain, gi_future_run_then);
    return n;
}

/* Sleeps while the list is empty; false: it still is. */
static bool s_await(gate_cq_t *self, int64_t deadline_ns) {
    bool in_time = true, filled;

    pthread_mutex_lock(&self->mutex);
    self->sleepers++;
    while (!self->first && in_time)
        in_time = gi_wait_cond(&self->filled, &self->mutex, deadline_ns);
    self->sleepers--;
    filled = self->first != NULL;
    pthread_mutex_unlock(&self->mutex);
    return filled;
}

size_t gate_cq_wait(gate_cq_t *self, size_t max, int64_t timeout_ms) {
    if (s_check(self, "gate_cq_wait"))
        return 0;
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    size_t n = gate_cq_dispatch(self, max);
    if (!n && timeout_ms && gi_actor_thread()) {
        (void)gi_err(GATE_WOULDBLOCK,
                     "gate_cq_wait on the thread of actor %s: use "
                     "gate_cq_dispatch",
                     gi_actor_thread());
        return 0;
    }

    /* Another thread may take what woke us, so look until the time is over. */
    while (!n && max && s_await(self, deadline_ns))
        n = gate_cq_dispatch(self, max);
    return n;
}
