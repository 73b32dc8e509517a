/* SPDX-License-Identifier: BSD-3-Clause */
/* runtime.c -- what the parts of one program share. It is counted: each child
 * holds a reference, so the last of them frees it, whatever the order.
 * Birth: settings, log, pools on first use. Death: pools, log, settings. */
#include "runtime/runtime.h"

#include <string.h>
#include "net/actor.h"
#include "net/affinity.h"
#include "rules/bucket.h"
#include "sync/clock.h"
#include "base/err.h"
#include <gaterpc/log.h>
#include <gaterpc/queue.h>
#include "sync/gauge.h"
#include "sync/lock.h"
#include "runtime/logd.h"
#include "base/mem.h"
#include "sync/actor_thread.h"
#include "sync/later.h"
#include "jobs/pool.h"
#include "shared/cgroup.h"
#include "shared/queue.h"
#include "sync/ref.h"
#include "runtime/registry.h"
#include "runtime/notify.h"
#include "runtime/signals.h"
#include "settings/settings.h"
#include "net/sock.h"
#include "runtime/sysmem.h"

/* Who looks at rules may do so still when there are others: they are kept. */
typedef struct s_rules {
    struct s_rules *before;
    gi_access_t *access; /* NULL: none */
} s_rules_t;

struct gate_runtime {
    gi_ref_t refs;
    gate_settings_t *settings;
    gi_registry_t *registry;
    gi_lock_t lock; /* of all below */
    bool started;
    unsigned forks; /* then */
    gate_pool_t *threads, *procs, *helpers;
    gi_drainable_t *drainables;
    s_rules_t *rules; /* those in force first, then the ones before them */
    gi_gauge_t ruled; /* how often there were some */
    gi_bucket_t rate; /* of local_user */
};

enum { S_BROKEN_MS = 5000, S_LOOK_MS = 100, S_IDLE_MS = 5 };

/* ---- life ---------------------------------------------------------------- */
static void s_free(void *runtime) {
    gate_runtime_t *self = runtime;
    gate_pool_destroy(&self->procs);
    gate_pool_destroy(&self->threads);
    gate_pool_destroy(&self->helpers);
    gi_registry_destroy(&self->registry);
    if (self->started)
        gi_logd_release();
    while (self->rules) {
        s_rules_t *before = self->rules->before;
        gi_access_destroy(&self->rules->access);
        gi_mem_free(self->rules);
        self->rules = before;
    }
    gate_settings_destroy(&self->settings);
    gi_lock_fini(&self->lock);
    gi_mem_free(self);
}

gate_runtime_t *gate_runtime_new(const gate_settings_t *settings) {
    gate_runtime_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        goto err;
    gi_ref_init(&self->refs);
    gi_lock_init(&self->lock);
    gi_gauge_init(&self->ruled);
    self->settings =
        settings ? gate_settings_dup(settings) : gate_settings_new();
    self->registry = gi_registry_new();
    if (self->settings)
        gi_sysmem_fit(self->settings);
    if (self->settings && self->registry)
        return self;
    s_free(self);
err:
    (void)gi_err(GATE_NOMEM, "no memory for a runtime");
    return NULL;
}

gate_runtime_t *gi_runtime_share(gate_runtime_t *self) {
    gi_ref_take(&self->refs);
    return self;
}

void gi_runtime_release(gate_runtime_t *self) {
    if (gi_ref_drop(&self->refs) &&
        (!gi_thread_works() || !gi_later(s_free, self)))
        s_free(self);
}

void gate_runtime_destroy(gate_runtime_t **self_p) {
    gate_runtime_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    if (!gi_thread_works())
        gi_later_wait(); /* what was destroyed in callbacks has ended */
    gi_runtime_release(self);
}

/* Under the lock. */
static gate_err_t s_add_rules(gate_runtime_t *self,
                              const gate_settings_t *settings) {
    s_rules_t *rules = gi_mem_calloc(1, sizeof *rules);
    if (!rules)
        return gi_err(GATE_NOMEM, "no memory for access rules");
    gate_err_t e = gi_access_parse(settings->access, &rules->access);
    if (e) {
        gi_mem_free(rules);
        return e;
    }
    rules->before = self->rules;
    self->rules = rules;
    if (rules->access)
        gi_gauge_add(&self->ruled);
    return GATE_OK;
}

gate_err_t gate_runtime_start(gate_runtime_t *self) {
    if (gi_err_null(self, "gate_runtime_start"))
        return GATE_BADARG;
    gate_err_t e = gate_settings_check(self->settings);
    if (self->started && self->forks != gi_actor_thread_forks)
        return gi_err(GATE_CLOSED, "this runtime was started before fork(): "
                                   "make another in the child");
    gi_lock(&self->lock);
    if (!e && !self->started) {
        e = gi_affinity_check(self->settings);
        if (!e)
            e = gi_sock_context(self->settings);
        if (!e && !self->rules)
            e = s_add_rules(self, self->settings);
        if (!e)
            e = gi_logd_share(self->settings);
        self->started = !e;
        self->forks = gi_actor_thread_forks;
        if (!e && *gi_settings_warning(self->settings))
            gate_log(GATE_WARN, "settings", "%s",
                     gi_settings_warning(self->settings));
    }
    gi_unlock(&self->lock);
    return e;
}

const gate_settings_t *gate_runtime_settings(const gate_runtime_t *self) {
    return gi_err_null(self, "gate_runtime_settings") ? NULL : self->settings;
}

const gi_access_t *gi_runtime_access(gate_runtime_t *self) {
    gi_lock(&self->lock);
    const gi_access_t *access = self->rules ? self->rules->access : NULL;
    gi_unlock(&self->lock);
    return access;
}

bool gi_runtime_ruled(const gate_runtime_t *self) {
    return gi_gauge_read(&self->ruled) > 0;
}

bool gi_runtime_rate(gate_runtime_t *self, int64_t now_ms) {
    double per_s = (double)self->settings->rate_limit_user;
    if (per_s == 0 || !*self->settings->local_user)
        return true;
    gi_lock(&self->lock);
    bool take = gi_bucket_take(&self->rate, per_s, per_s, now_ms);
    gi_unlock(&self->lock);
    return take;
}

gi_registry_t *gi_runtime_registry(gate_runtime_t *rt) { return rt->registry; }

/* ---- pools --------------------------------------------------------------- */
static void s_release(void *rt) { gi_runtime_release(rt); }
static gi_pool_base_t s_base(gate_runtime_t *rt) {
    return (gi_pool_base_t){.settings = rt->settings,
                            .runtime = rt,
                            .release_owner = s_release,
                            .owner = gi_runtime_share(rt)};
}

/* A maker that failed has not taken the reference. */
static gate_pool_t *s_made(gate_runtime_t *rt, gate_pool_t *pool) {
    if (!pool)
        gi_runtime_release(rt);
    return pool;
}

typedef gate_pool_t *s_make_fn(const gi_pool_base_t *base,
                               const gate_pool_options_t *options);

static gate_pool_t *s_make(s_make_fn *make, const gi_pool_base_t *base,
                           const gate_pool_options_t *options) {
    gi_affinity_loosen();
    gate_pool_t *pool = make(base, options);
    gi_affinity_tighten();
    return pool;
}

/* A pool may be all that a program has: then nothing else looks at what it set.
 * False: with the story. */
static bool s_heeds(gate_runtime_t *rt) {
    if (gate_settings_check(rt->settings))
        return false;
    gi_logd_levels(rt->settings);
    return true;
}

gate_pool_t *gate_threads_new(gate_runtime_t *rt,
                              const gate_pool_options_t *options) {
    if (gi_err_null(rt, "gate_threads_new") || !s_heeds(rt))
        return NULL;
    gi_pool_base_t base = s_base(rt);
    return s_made(rt, s_make(gi_pool_threads, &base, options));
}

gate_pool_t *gate_procs_new(gate_runtime_t *rt,
                            const gate_pool_options_t *options) {
    return gate_procs_new_with(rt, options, NULL);
}

gate_pool_t *gate_procs_new_with(gate_runtime_t *rt,
                                 const gate_pool_options_t *options,
                                 const gate_pool_more_t *more) {
    if (gi_err_null(rt, "gate_procs_new_with") || !s_heeds(rt))
        return NULL;
    gi_pool_base_t base = s_base(rt);
    gi_affinity_loosen();
    gate_pool_t *pool = gi_pool_procs_more(&base, options, more);
    gi_affinity_tighten();
    return s_made(rt, pool);
}

gate_pool_t *gate_pool_custom(gate_runtime_t *rt, gate_submit_fn *submit,
                              void *ctx) {
    if (gi_err_null(rt, "gate_pool_custom"))
        return NULL;
    gi_pool_base_t base = s_base(rt);
    return s_made(rt, gi_pool_custom(&base, submit, ctx));
}

gate_queue_t *gate_queue_new(gate_runtime_t *rt, size_t n_items,
                             size_t size_bytes) {
    if (gi_err_null(rt, "gate_queue_new"))
        return NULL;
    gi_pool_base_t base = s_base(rt);
    gate_queue_t *queue = gi_queue_new(&base, n_items, size_bytes);
    if (!queue) /* it has not taken the reference */
        gi_runtime_release(rt);
    return queue;
}

/* A default pool is the runtime's own and holds no reference to it. */
static gate_pool_t *s_default(gate_runtime_t *self, gate_pool_t **slot,
                              s_make_fn *make,
                              const gate_pool_options_t *options) {
    gi_pool_base_t base = {.settings = self->settings, .runtime = self};
    gi_lock(&self->lock);
    if (!*slot)
        *slot = s_make(make, &base, options);
    gate_pool_t *pool = *slot;
    gi_unlock(&self->lock);
    return pool;
}

gate_pool_t *gate_runtime_threads(gate_runtime_t *self) {
    return gi_err_null(self, "gate_runtime_threads")
               ? NULL
               : s_default(self, &self->threads, gi_pool_threads, NULL);
}

gate_pool_t *gate_runtime_procs(gate_runtime_t *self) {
    return gi_err_null(self, "gate_runtime_procs")
               ? NULL
               : s_default(self, &self->procs, gi_pool_procs, NULL);
}

gate_pool_t *gi_runtime_helpers(gate_runtime_t *self) {
    long cores = gi_cgroup_cpus();
    gate_pool_options_t options = {.name = "gate-helper",
                                   .workers = cores > 2 ? (int)cores : 2,
                                   .queue_max = 1 << 20};
    return s_default(self, &self->helpers, gi_pool_threads, &options);
}

/* ---- waiting for the end ------------------------------------------------- */
void gi_runtime_add(gate_runtime_t *self, gi_drainable_t *d) {
    gi_lock(&self->lock);
    d->next = self->drainables;
    self->drainables = d;
    gi_unlock(&self->lock);
}

void gi_runtime_remove(gate_runtime_t *self, gi_drainable_t *d) {
    gi_lock(&self->lock);
    gi_drainable_t **p = &self->drainables;
    while (*p && *p != d)
        p = &(*p)->next;
    if (*p)
        *p = d->next;
    gi_unlock(&self->lock);
}

#define S_DRAINABLES_MAX 1024

static size_t s_drainables(gate_runtime_t *self, gi_drainable_t **out) {
    size_t n = 0;
    gi_lock(&self->lock);
    for (gi_drainable_t *d = self->drainables; d && n < S_DRAINABLES_MAX;
         d = d->next)
        out[n++] = d;
    gi_unlock(&self->lock);
    return n;
}

static bool s_all_told(gate_runtime_t *self) {
    gi_lock(&self->lock);
    bool told = false, all = true;
    for (gi_drainable_t *d = self->drainables; d && all; d = d->next)
        if (!d->hold) {
            told = d->told && d->told(d->self);
            all = told;
        }
    gi_unlock(&self->lock);
    return told && all;
}

/* The error that a supervisor gave up with. */
static gate_err_t s_failed(gate_runtime_t *self) {
    gate_err_t e = GATE_OK;
    gi_lock(&self->lock);
    for (gi_drainable_t *d = self->drainables; d && !e; d = d->next)
        if (d->failed)
            e = d->failed(d->self);
    gi_unlock(&self->lock);
    return e;
}

gate_err_t gate_runtime_ready(gate_runtime_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_runtime_ready"))
        return GATE_BADARG;
    gi_lock(&self->lock);
    gate_pool_t *procs = self->procs;
    gi_unlock(&self->lock);
    return procs ? gate_pool_ready(procs, timeout_ms) : GATE_OK;
}

/* Without workers nothing of a service's process methods works: whoever
 * started the program shall know. At once when no worker can come any more;
 * when they fail to come, not before they had S_BROKEN_MS. */
static gate_err_t s_pool_failed(gate_runtime_t *self, int64_t *since_ms) {
    gate_err_t e = gate_runtime_ready(self, 0);
    int64_t now_ms = gi_clock_ms();
    if (e != GATE_BUSY)
        *since_ms = now_ms;
    if (e != GATE_CLOSED && now_ms < *since_ms + S_BROKEN_MS)
        return GATE_OK;
    gate_log(GATE_ERROR, "runtime", "leaving: %s", gate_error()->text);
    return e;
}

/* Supervisors add and remove services: no more, before these are listed. */
static void s_hold_supervisors(gate_runtime_t *self) {
    gi_drainable_t *list[S_DRAINABLES_MAX];
    size_t n = 0;
    gi_lock(&self->lock);
    for (gi_drainable_t *d = self->drainables; d && n < S_DRAINABLES_MAX;
         d = d->next)
        if (d->hold)
            list[n++] = d;
    gi_unlock(&self->lock);
    while (n-- > 0)
        list[n]->hold(list[n]->self);
}

static bool s_all_idle(gi_drainable_t **list, size_t n) {
    bool idle = true;
    for (size_t i = 0; i < n; i++)
        idle &= list[i]->idle(list[i]->self);
    return idle;
}

/* ---- anew ---------------------------------------------------------------- */
static gate_err_t s_replace_rules(gate_runtime_t *self,
                                  const gate_settings_t *settings) {
    gi_lock(&self->lock);
    gate_err_t e = s_add_rules(self, settings);
    gi_unlock(&self->lock);
    return e;
}

gate_err_t gate_runtime_reload(gate_runtime_t *self) {
    gi_drainable_t *list[S_DRAINABLES_MAX];
    GATE_OWN(gate_settings) fresh = NULL;
    if (!self)
        return gi_err(GATE_BADARG, "a runtime to be reloaded is NULL");
    gi_lock(&self->lock);
    bool started = self->started;
    gi_unlock(&self->lock);
    if (!started)
        return gi_err(GATE_CLOSED, "the runtime has not started: there is "
                                   "nothing to reload");
    gate_err_t e = gi_settings_again(self->settings, &fresh);
    if (!e)
        e = s_replace_rules(self, fresh);
    size_t n = e ? 0 : s_drainables(self, list);
    for (size_t i = 0; i < n; i++)
        if (list[i]->reload)
            list[i]->reload(list[i]->self);
    gate_err_t log = gi_logd_again(e ? self->settings : fresh);
    if (!e)
        e = log;
    if (e)
        gate_log(GATE_ERROR, "runtime", "%s; what was read before holds",
                 gate_error()->text);
    else
        gi_logd_taken(self->settings, fresh);
    return e;
}

static int s_exit_code(gate_err_t failed) {
    int code = gate_exit_code(failed);
    return failed && code == 0 ? 1 : code;
}

static void s_watch(gate_runtime_t *self, gi_notify_watch_t *watch,
                    int64_t now_ms) {
    bool stuck = false;
    if (!gi_notify_due(watch, now_ms))
        return;
    gi_lock(&self->lock);
    for (gi_drainable_t *d = self->drainables; d && !stuck; d = d->next)
        stuck = d->actor && gi_actor_stuck(d->actor, now_ms - watch->every_ms);
    gi_unlock(&self->lock);
    gi_notify_alive(watch, stuck, now_ms);
}

/* Another thread may take a signal: it looks now and then as well. */
static void s_wait_a_bit(gate_runtime_t *self, const gi_signals_t *signals,
                         gi_notify_watch_t *watch) {
    gi_signals_wait(signals, S_LOOK_MS);
    s_watch(self, watch, gi_clock_ms());
    if (!gi_signals_reload())
        return;
    gi_notify_reloading();
    if (gate_runtime_reload(self)) {
        /* it is in the log */
    }
    gi_notify_reloaded();
}

int gate_runtime_wait(gate_runtime_t *self) {
    if (gi_err_null(self, "gate_runtime_wait"))
        return 1;
    if (gi_thread_works())
        return gate_exit_code(
            gi_err(GATE_WOULDBLOCK, "gate_runtime_wait in a job or callback"));
    gi_drainable_t *list[S_DRAINABLES_MAX];
    gi_signals_t signals;
    gi_notify_watch_t watch;
    gate_err_t failed = GATE_OK;
    int64_t since_ms = gi_clock_ms();
    if (self->started && self->forks != gi_actor_thread_forks) {
        gate_log(GATE_ERROR, "runtime", "made before fork(): fork first");
        return 1;
    }
    gi_signals_take(&signals);
    gi_notify_begin(&watch, since_ms);
    while (!gi_signals_ends() && !s_all_told(self) &&
           !(failed = s_failed(self)) &&
           !(failed = s_pool_failed(self, &since_ms)))
        s_wait_a_bit(self, &signals, &watch);
    gi_notify_stopping(self->settings->drain_timeout_ms);
    s_hold_supervisors(self);
    size_t n = s_drainables(self, list);
    gate_log(GATE_INFO, "runtime", "draining");
    for (size_t i = 0; i < n; i++)
        list[i]->begin(list[i]->self);
    int64_t end = gi_clock_ms() + self->settings->drain_timeout_ms;
    while (gi_signals_ends() < 2 && gi_clock_ms() < end && !s_all_idle(list, n))
        gi_signals_wait(&signals, S_IDLE_MS);
    gi_signals_give(&signals);
    return s_exit_code(failed);
}
