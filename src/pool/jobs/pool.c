/* SPDX-License-Identifier: BSD-3-Clause */
/* pool.c -- what all kinds of pools have in common, and the names of functions.
 */
#include "jobs/pool.h"

#include <gaterpc/log.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/err.h"
#include "shared/exchange.h"
#include "sync/actor_thread.h"
#include "sync/later.h"
#include "sync/ref.h"

struct gi_pool_shared {
    gi_ref_t ref;
    gate_settings_t *settings;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t empty;
    gate_pool_t *pool; /* NULL: it was destroyed */
    size_t inside;
};

/* ---- what outlives the pool ---------------------------------------------- */
static gi_pool_shared_t *s_shared_new(const gate_settings_t *from,
                                      gate_pool_t *pool) {
    gi_pool_shared_t *self = gi_mem_calloc(1, sizeof *self);

    if (!self)
        return NULL;
    self->settings = gate_settings_dup(from ? from : gi_settings_defaults());
    if (!self->settings) {
        gi_mem_free(self);
        return NULL;
    }
    self->pool = pool;
    gi_ref_init(&self->ref);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->empty, NULL);
    return self;
}

gi_pool_shared_t *gi_pool_share(gate_pool_t *self) {
    gi_ref_take(&self->shared->ref);
    return self->shared;
}

void gi_pool_shared_release(void *shared) {
    gi_pool_shared_t *self = shared;

    if (!gi_ref_drop(&self->ref))
        return;
    pthread_cond_destroy(&self->empty);
    pthread_mutex_destroy(&self->mutex);
    gate_settings_destroy(&self->settings);
    gi_mem_free(self);
}

gate_pool_t *gi_pool_enter(gi_pool_shared_t *self) {
    gate_pool_t *pool;

    pthread_mutex_lock(&self->mutex);
    pool = self->pool;
    if (pool)
        self->inside++;
    pthread_mutex_unlock(&self->mutex);
    return pool;
}

void gi_pool_leave(gi_pool_shared_t *self) {
    pthread_mutex_lock(&self->mutex);
    if (--self->inside == 0)
        pthread_cond_broadcast(&self->empty);
    pthread_mutex_unlock(&self->mutex);
}

/* Nobody enters any more, nobody is inside. */
static void s_shut(gi_pool_shared_t *self) {
    pthread_mutex_lock(&self->mutex);
    self->pool = NULL;
    while (self->inside)
        pthread_cond_wait(&self->empty, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
}

/* ---- life ---------------------------------------------------------------- */
gate_pool_t *gi_pool_make(const gi_pool_base_t *base, const gi_pool_ops_t *ops,
                          void *impl) {
    gate_pool_t *self = gi_mem_calloc(1, sizeof *self);

    if (self)
        self->shared = s_shared_new(base->settings, self);
    if (!self || !self->shared) {
        gi_mem_free(self);
        gi_err(GATE_NOMEM, "a pool");
        return NULL;
    }
    self->born = gi_born_now();
    self->ops = ops;
    self->impl = impl;
    self->settings = self->shared->settings;
    self->runtime = base->runtime;
    self->release_owner = base->release_owner;
    self->owner = base->owner;
    return self;
}

/* Whether we are the process that made it; sets the story when not. */
static bool s_ours(const gate_pool_t *self) {
    if (self->born == gi_born_now())
        return true;
    (void)gi_err(GATE_CLOSED, "this pool was made before fork(): use it in the "
                              "process that made it");
    return false;
}

static void s_destroy(void *pool) {
    gate_pool_t *self = pool;

    s_shut(self->shared);
    self->ops->destroy(self);
    gi_pool_shared_release(self->shared);
    if (self->release_owner)
        self->release_owner(self->owner);
    gi_mem_free(self);
}

/* This thread runs one of its jobs, or tells of its end. */
static bool s_inside(gate_pool_t *self) {
    return gi_thread_is_in(self->impl) ||
           (self->ops->group && gi_thread_is_in(self->ops->group(self)));
}

/* Of a pool that was inherited by fork() nothing works, and its locks are as
 * other threads had them: it is let go of, unfreed. */
void gate_pool_destroy(gate_pool_t **self_p) {
    gate_pool_t *self = self_p ? *self_p : NULL;

    if (!self)
        return;
    *self_p = NULL;
    if (!s_ours(self)) {
        if (self->ops->abandon)
            self->ops->abandon(self);
        return;
    }
    bool inside = s_inside(self);
    if (inside)
        gate_log(GATE_WARN, "pool",
                 "gate_pool_destroy in a job or callback of that pool: it ends "
                 "when that has returned");
    if (!inside && !gi_actor_thread())
        s_destroy(self);
    else if (!gi_later(s_destroy, self) && !inside)
        s_destroy(self);
    /* else there is no thread for it: it stays until the process ends */
}

/* Who waits for all jobs in one of them waits for itself. */
static gate_err_t s_outside(gate_pool_t *self, const char *what,
                            int64_t timeout_ms) {
    if (!s_ours(self))
        return GATE_CLOSED;
    if (timeout_ms == 0 || !s_inside(self))
        return GATE_OK;
    return gi_err(GATE_WOULDBLOCK,
                  "%s in a job or callback of that pool would wait for itself: "
                  "a timeout of 0 does not wait",
                  what);
}

/* ---- by kind ------------------------------------------------------------- */
gate_err_t gate_pool_drain(gate_pool_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_pool_drain"))
        return GATE_BADARG;
    gate_err_t e = s_outside(self, "gate_pool_drain", timeout_ms);
    return e ? e : self->ops->drain(self, timeout_ms);
}

gate_err_t gate_pool_stop(gate_pool_t *self, unsigned what,
                          int64_t timeout_ms) {
    if (gi_err_null(self, "gate_pool_stop"))
        return GATE_BADARG;
    gate_err_t e = s_outside(self, "gate_pool_stop", timeout_ms);
    if (e)
        return e;
    if (self->ops->stop)
        self->ops->stop(self, what);
    return self->ops->drain(self, timeout_ms);
}

gate_err_t gate_pool_ready(gate_pool_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_pool_ready"))
        return GATE_BADARG;
    gate_err_t e = self->ops->ready
                       ? s_outside(self, "gate_pool_ready", timeout_ms)
                   : s_ours(self) ? GATE_OK
                                  : GATE_CLOSED;
    return e || !self->ops->ready ? e : self->ops->ready(self, timeout_ms);
}

gate_err_t gate_pool_room(gate_pool_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_pool_room"))
        return GATE_BADARG;
    gate_err_t e = self->ops->processes
                       ? s_outside(self, "gate_pool_room", timeout_ms)
                   : s_ours(self) ? GATE_OK
                                  : GATE_CLOSED;
    return e || !self->ops->room ? e : self->ops->room(self, timeout_ms);
}

gate_err_t gate_pool_resize(gate_pool_t *self, int workers) {
    if (gi_err_null(self, "gate_pool_resize"))
        return GATE_BADARG;
    return s_ours(self) ? self->ops->resize(self, workers) : GATE_CLOSED;
}

gate_value_t *gate_pool_stats(gate_pool_t *self) {
    if (gi_err_null(self, "gate_pool_stats"))
        return NULL;
    gi_pool_numbers_t inherited = {.kind = self->ops->kind,
                                   .state = "inherited"};

    return s_ours(self) ? self->ops->stats(self)
                        : gi_pool_numbers_value(&inherited);
}

gate_err_t gi_pool_submit(gate_pool_t *self, const gi_request_t *request,
                          gi_ticket_t *ticket) {
    return s_ours(self) ? self->ops->submit(self, request, ticket)
                        : GATE_CLOSED;
}

void gi_pool_cancel(gate_pool_t *self, gi_ticket_t ticket) {
    if (ticket && s_ours(self))
        self->ops->cancel(self, ticket);
}

void gi_pool_cancel_room(gate_pool_t *self, void *room) {
    if (self->ops->cancel_room && s_ours(self))
        self->ops->cancel_room(self, room);
}

void gi_pool_credit(gate_pool_t *self, gi_ticket_t ticket, size_t items,
                    size_t bytes) {
    if (ticket && s_ours(self))
        self->ops->credit(self, ticket, items, bytes);
}

gate_err_t gi_pool_run(gate_pool_t *self, gi_job_t *job) {
    if (!s_ours(self))
        return GATE_CLOSED;
    return self->ops->run ? self->ops->run(self, job) : GATE_BADARG;
}

size_t gi_pool_run_many(gate_pool_t *self, gi_job_t *const *jobs, size_t n,
                        gate_err_t *e) {
    size_t taken = 0;

    if (self->ops->run_many && s_ours(self))
        return self->ops->run_many(self, jobs, n, e);
    *e = GATE_OK;
    while (taken < n && (*e = gi_pool_run(self, jobs[taken])) == GATE_OK)
        taken++;
    return taken;
}

bool gi_pool_is_procs(const gate_pool_t *self) { return self->ops->processes; }

bool gi_pool_chunks(gate_pool_t *self) { return self->ops->chunks(self); }

gate_value_t *gi_pool_numbers_value(const gi_pool_numbers_t *self) {
    const gate_arg_t entries[] = {
        gate_kw("kind", self->kind),
        gate_kw("workers", self->workers),
        gate_kw("queued", self->queued),
        gate_kw("oldest_ms", self->oldest_ms),
        gate_kw("running", self->running),
        gate_kw("done", self->done),
        gate_kw("failed", self->failed),
        gate_kw("lost", self->lost),
        gate_kw("cancelled", self->cancelled),
        gate_kw_("restarts", gate_map_(self->restarts, self->n_restarts)),
        gate_kw("state", self->state),
    };

    return gate_value_new_(
        gate_map_(entries, sizeof entries / sizeof *entries));
}

/* ---- names of functions -------------------------------------------------- */
/* Open addressing, only ever added to: readers need no lock. A slot's name is
 * stored before its function (release), so whoever sees the one has the other.
 */
#define S_NAMES 1024

static struct {
    _Atomic(gate_fn *) fn;
    char *name;
} s_names[S_NAMES];
static pthread_mutex_t s_names_mutex = PTHREAD_MUTEX_INITIALIZER;

static void s_names_fresh(void) { pthread_mutex_init(&s_names_mutex, NULL); }

__attribute__((constructor)) static void s_watch_forks(void) {
    (void)pthread_atfork(NULL, NULL, s_names_fresh);
}

/* The slot of fn or the free one where it belongs; S_NAMES: none. */
static size_t s_name_slot(gate_fn *fn) {
    size_t hash = (size_t)((uintptr_t)fn * 0x9e3779b97f4a7c15u >> 32), i;

    for (i = 0; i < S_NAMES; i++) {
        size_t at = (hash + i) % S_NAMES;
        gate_fn *there =
            atomic_load_explicit(&s_names[at].fn, memory_order_acquire);

        if (!there || there == fn)
            return at;
    }
    return S_NAMES;
}

void gate_fn_register(const char *name, gate_fn *fn) {
    size_t at;

    if (gi_err_null(name, "gate_fn_register: the name"))
        return;
    if (!fn) {
        gi_err_null_say("gate_fn_register: the function");
        return;
    }
    pthread_mutex_lock(&s_names_mutex);
    at = s_name_slot(fn);
    if (at < S_NAMES && !atomic_load(&s_names[at].fn) &&
        (s_names[at].name = gi_mem_strdup(name)))
        atomic_store_explicit(&s_names[at].fn, fn, memory_order_release);
    pthread_mutex_unlock(&s_names_mutex);
}

const char *gi_pool_fn_name(gate_fn *fn) {
    size_t at = s_name_slot(fn);

    return at < S_NAMES && atomic_load(&s_names[at].fn) == fn ? s_names[at].name
                                                              : NULL;
}

gate_err_t gi_pool_take(gate_pool_t *self, size_t size, gi_run_t **out) {
    return gi_exchange_take(self->ops->inbox(self), size, out);
}

bool gi_pool_in_inbox(gate_pool_t *self, const void *data) {
    return gi_exchange_has(self->ops->inbox(self), data);
}

gi_run_t *gi_pool_run_of(gate_pool_t *self, const void *data, size_t size) {
    return gi_exchange_find(self->ops->inbox(self), data, size);
}
