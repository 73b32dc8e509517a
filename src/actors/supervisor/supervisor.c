/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor.c -- the thread around the core: it starts, looks at, stops and
 * reports what the core decides. Callbacks run without the lock, so they may
 * take their time and ask for statistics.
 * Law: the core changes under the lock; children's functions are called by one
 * thread at a time: the keeper's, and once that has ended the destroyer's. */
#include <gaterpc/log.h>
#include <gaterpc/supervisor.h>
#include <string.h>
#include "base/buf.h"
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "sync/actor_thread.h"
#include "sync/later.h"
#include "supervisor/supervisor_impl.h"

#define S_PART "supervisor"
#define S_SOON_MS 5 /* between looks at who has just been started */

/* ---- building one -------------------------------------------------------- */
static void s_stick(gate_supervisor_t *self, gate_err_t e) {
    if (e && !self->stuck.story.code)
        gi_error_set(&self->stuck, gate_error());
}

static void s_complete(gate_supervisor_options_t *o, const gate_settings_t *s) {
    o->intensity = o->intensity ? o->intensity : (int)s->supervise_intensity;
    o->period_ms = o->period_ms ? o->period_ms : s->supervise_period_ms;
    o->backoff_ms = o->backoff_ms ? o->backoff_ms : s->supervise_backoff_ms;
    o->backoff_max_ms =
        o->backoff_max_ms ? o->backoff_max_ms : s->supervise_backoff_max_ms;
    o->check_ms = o->check_ms ? o->check_ms : s->supervise_check_ms;
}

static gate_err_t s_check_options(const gate_supervisor_options_t *o) {
    if (o->intensity < 0 || o->intensity > 10000 || o->period_ms < 0 ||
        o->backoff_ms < 0 || o->backoff_max_ms < 0 || o->check_ms < 0)
        return gi_err(GATE_BADARG, "supervisor: intensity 0 to 10000 and times "
                                   "of 0 or more expected");
    return GATE_OK;
}

gate_supervisor_t *
gate_supervisor_new(gate_runtime_t *rt,
                    const gate_supervisor_options_t *options) {
    if (gi_err_null(rt, "gate_supervisor_new"))
        return NULL;
    gate_supervisor_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL) {
        (void)gi_err(GATE_NOMEM, "no memory for a supervisor");
        return NULL;
    }
    gi_error_init(&self->stuck);
    gi_error_init(&self->final);
    gi_lock_init(&self->lock);
    gi_news_init(&self->news);
    self->rt = gi_runtime_share(rt);
    if (options)
        self->options = *options;
    s_stick(self, s_check_options(&self->options));
    if (self->stuck.story.code)
        self->options = (gate_supervisor_options_t){0};
    s_complete(&self->options, gi_runtime_settings(rt));
    if (gi_sup_init(&self->core, &self->options) != GATE_OK)
        gate_supervisor_destroy(&self);
    return self;
}

void gi_supervisor_add(gate_supervisor_t *self, const gi_supervised_t *child,
                       const char *name) {
    char *copy = name && *name ? gi_mem_strdup(name) : NULL;
    gate_err_t e = GATE_OK;
    if (self->started)
        e = gi_err(GATE_BADARG, "supervisor: children are added before start");
    else if (name == NULL || *name == 0 || child->is.start == NULL)
        e = gi_err(GATE_BADARG, "supervisor: a child needs a name and start");
    for (size_t i = 0; i < self->core.n && !e; i++)
        if (strcmp(self->child[i].is.name, name) == 0)
            e = gi_err(GATE_BADARG, "supervisor: two children named %s", name);
    if (!e && copy == NULL)
        e = gi_err(GATE_NOMEM, "no memory for a child");
    if (!e && !gi_sup_add(&self->core, child->is.restart, gi_clock_ms()))
        e = gi_err(GATE_TOOBIG, "supervisor: more than %d children",
                   GI_SUP_CHILDREN_MAX);
    if (e) {
        gi_mem_free(copy);
        if (child->free)
            child->free(child->is.ctx);
        s_stick(self, e);
        return;
    }
    gi_supervised_t *at = &self->child[self->core.n - 1];
    *at = *child;
    at->is.name = copy;
    gi_error_init(&at->error);
}

void gate_supervisor_add(gate_supervisor_t *self, const gate_child_t *child) {
    if (gi_err_null(self, "gate_supervisor_add"))
        return;
    if (gi_err_null(child, "gate_supervisor_add: the child")) {
        s_stick(self, GATE_BADARG);
        return;
    }
    gi_supervised_t supervised = {.is = *child};
    gi_supervisor_add(self, &supervised, child->name);
}

void gi_supervisor_stick(gate_supervisor_t *self, gate_err_t e) {
    s_stick(self, e);
}

/* ---- a supervisor below -------------------------------------------------- */
static gate_err_t s_sub_start(void *ctx) { return gate_supervisor_start(ctx); }

static gate_err_t s_sub_check(void *ctx) { return gate_supervisor_check(ctx); }

static bool s_sub_ready(void *ctx) {
    return gate_supervisor_ready(ctx, 0) == GATE_OK;
}

static void s_sub_free(void *ctx) {
    gate_supervisor_t *sub = ctx;
    gate_supervisor_destroy(&sub);
}

static void s_halt(gate_supervisor_t *self);

/* It can be started again. */
static void s_sub_stop(void *ctx) {
    gate_supervisor_t *self = ctx;
    s_halt(self);
    int64_t now = gi_clock_ms();
    self->started = false;
    self->core.stopping = self->core.gave_up = false;
    self->core.n_times = 0;
    gi_error_fini(&self->final);
    gi_error_init(&self->final);
    for (size_t i = 0; i < self->core.n; i++) {
        gi_sup_child_t *c = &self->core.child[i];
        *c = (gi_sup_child_t){.restart = c->restart,
                              .restarts = c->restarts,
                              .due_ms = now,
                              .backoff_ms = self->core.backoff_ms};
    }
}

void gate_supervisor_add_supervisor(gate_supervisor_t *self, const char *name,
                                    gate_supervisor_t **sub_p) {
    if (gi_err_null(self, "gate_supervisor_add_supervisor"))
        return;
    if (gi_err_null(sub_p ? *sub_p : NULL,
                    "gate_supervisor_add_supervisor: the one below")) {
        s_stick(self, GATE_BADARG);
        return;
    }
    gi_supervised_t child = {.is = {.start = s_sub_start,
                                    .check = s_sub_check,
                                    .stop = s_sub_stop,
                                    .ctx = *sub_p},
                             .ready = s_sub_ready,
                             .free = s_sub_free};
    (*sub_p)->below = true;
    *sub_p = NULL;
    gi_supervisor_add(self, &child, name);
}

/* ---- telling ------------------------------------------------------------- */
static void s_log(const gi_supervised_t *child,
                  const gate_child_event_t *event) {
    const char *why = child->told ? child->error.story.text : "";
    const char *open = child->told ? " (" : "", *shut = child->told ? ")" : "";
    if (event->error == GATE_EOS && event->state == GATE_CHILD_ENDED)
        gate_log(GATE_INFO, S_PART, "%s has ended, and stays down",
                 event->name);
    else if (event->error && event->gave_up)
        gate_log(
            GATE_ERROR, S_PART,
            "%s died%s%s%s: too often, or of what does not go away: giving "
            "up",
            event->name, open, why, shut);
    else if (event->error)
        gate_log(GATE_WARN, S_PART, "%s died%s%s%s: %s in %lld ms", event->name,
                 open, why, shut,
                 event->state == GATE_CHILD_ENDED ? "stays down" : "restart",
                 (long long)event->wait_ms);
    else
        gate_log(GATE_DEBUG, S_PART, "%s is %s", event->name,
                 gate_child_state_text(event->state));
}

/* The child's state as it is now. */
static void s_tell(gate_supervisor_t *self, size_t i, gate_err_t died) {
    gi_lock(&self->lock);
    const gi_sup_child_t *c = &self->core.child[i];
    bool goes = c->doomed && !c->again;
    int64_t wait = c->due_ms - gi_clock_ms();
    gate_child_event_t event = {.name = self->child[i].is.name,
                                .state = !died  ? c->state
                                         : goes ? GATE_CHILD_ENDED
                                                : GATE_CHILD_WAITING,
                                .error = died,
                                .wait_ms = died && !goes && wait > 0 ? wait : 0,
                                .gave_up = died && self->core.gave_up};
    gi_unlock(&self->lock);
    s_log(&self->child[i], &event);
    if (self->options.event)
        self->options.event(self->options.ctx, &event);
}

/* Whoever made it give up is why. Under the lock. */
static void s_remember(gate_supervisor_t *self, size_t i) {
    if (self->core.gave_up && !self->final.story.code)
        gi_error_set(&self->final, &self->child[i].error.story);
}

/* This thread's story, when it is about e. */
static void s_note(gi_supervised_t *child, gate_err_t e) {
    gate_error_t plain = {e, gi_err_class(e), gate_err_text(e), ""};
    child->told = gate_error()->code == e;
    gi_error_set(&child->error, child->told ? gate_error() : &plain);
}

static void s_died(gate_supervisor_t *self, size_t i, gate_err_t e) {
    gi_lock(&self->lock);
    bool before = self->core.gave_up;
    s_note(&self->child[i], e);
    gi_sup_died(&self->core, i, e == GATE_EOS ? GATE_OK : e, gi_clock_ms());
    if (!before)
        s_remember(self, i);
    gi_unlock(&self->lock);
    s_tell(self, i, e);
}

/* ---- the keeper's work --------------------------------------------------- */
static bool s_is_running(gate_supervisor_t *self, size_t i) {
    gi_lock(&self->lock);
    const gi_sup_child_t *c = &self->core.child[i];
    bool running = c->state == GATE_CHILD_RUNNING && !c->doomed;
    gi_unlock(&self->lock);
    return running;
}

static gate_err_t s_take_report(gate_supervisor_t *self, size_t i) {
    gi_lock(&self->lock);
    gate_err_t e = self->child[i].report;
    self->child[i].report = GATE_OK;
    gi_unlock(&self->lock);
    return e;
}

/* Asked until it says so. */
static void s_look_ready(gate_supervisor_t *self, gi_supervised_t *child) {
    if (child->ready_seen) /* this thread alone writes it */
        return;
    bool ready = !child->ready || child->ready(child->is.ctx);
    gi_lock(&self->lock);
    child->ready_seen = ready;
    gi_unlock(&self->lock);
    if (!ready)
        self->unready = true;
}

static void s_look(gate_supervisor_t *self, bool check) {
    for (size_t i = 0; i < self->core.n; i++) {
        gi_supervised_t *child = &self->child[i];
        gate_err_t e = s_take_report(self, i);
        if (!s_is_running(self, i))
            continue;
        if (!e && check && child->is.check)
            e = child->is.check(child->is.ctx);
        if (e)
            s_died(self, i, e);
        else
            s_look_ready(self, child);
    }
}

static void s_start_one(gate_supervisor_t *self, size_t i) {
    gi_supervised_t *child = &self->child[i];
    gate_err_t e = child->is.start(child->is.ctx);
    gi_lock(&self->lock);
    if (e)
        s_note(child, e);
    child->report = GATE_OK;
    child->ready_seen = false;
    gi_sup_started(&self->core, i, e, gi_clock_ms());
    if (e)
        s_remember(self, i);
    gi_unlock(&self->lock);
    s_tell(self, i, e);
}

static void s_stop_one(gate_supervisor_t *self, size_t i) {
    gi_supervised_t *child = &self->child[i];
    if (child->is.stop)
        child->is.stop(child->is.ctx);
    gi_lock(&self->lock);
    gi_sup_stopped(&self->core, i, gi_clock_ms());
    gi_unlock(&self->lock);
    s_tell(self, i, GATE_OK);
}

/* Does what there is to do now; true: there was something. */
static bool s_act(gate_supervisor_t *self) {
    for (bool any = false;; any = true) {
        size_t i = 0;
        gi_lock(&self->lock);
        gi_sup_do_t what = gi_sup_next(&self->core, gi_clock_ms(), &i);
        gi_unlock(&self->lock);
        if (what == GI_SUP_NOTHING)
            return any;
        if (what == GI_SUP_START)
            s_start_one(self, i);
        else
            s_stop_one(self, i);
    }
}

static int64_t s_keep(void *ctx, int64_t now_ms) {
    gate_supervisor_t *self = ctx;
    bool check = now_ms >= self->look_ms;
    if (check)
        self->look_ms = now_ms + self->options.check_ms;
    self->unready = false;
    s_look(self, check);
    bool started = s_act(self);
    gi_lock(&self->lock);
    int64_t due = gi_sup_due(&self->core);
    gi_unlock(&self->lock);
    gi_news_tell(&self->news);
    int64_t next =
        started || self->unready ? now_ms + S_SOON_MS : self->look_ms;
    return due < next ? due : next;
}

/* ---- life ---------------------------------------------------------------- */
/* Nothing changes any more, so that the runtime can drain what there is. */
static void s_hold(void *ctx) {
    gate_supervisor_t *self = ctx;
    gi_lock(&self->lock);
    gi_keeper_t *keeper = self->keeper;
    self->keeper = NULL;
    gi_unlock(&self->lock);
    gi_keeper_destroy(&keeper);
}

static void s_begin(void *ctx) { (void)ctx; }

static bool s_idle(void *ctx) {
    (void)ctx;
    return true;
}

static gate_err_t s_failed(void *ctx) { return gate_supervisor_check(ctx); }

gate_err_t gate_supervisor_start(gate_supervisor_t *self) {
    if (gi_err_null(self, "gate_supervisor_start"))
        return GATE_BADARG;
    if (self->stuck.story.code)
        return gi_error_publish(&self->stuck);
    if (self->started)
        return gi_err(GATE_BADARG, "supervisor: it runs already");
    gate_err_t e = gate_runtime_start(self->rt);
    if (e)
        return e;
    self->started = true;
    self->forks = gi_actor_thread_forks;
    self->drainable = (gi_drainable_t){.self = self,
                                       .begin = s_begin,
                                       .idle = s_idle,
                                       .hold = s_hold,
                                       .failed = self->below ? NULL : s_failed};
    gi_keeper_t *keeper = NULL;
    e = gi_keeper_new("gate-super", s_keep, self, &keeper);
    gi_lock(&self->lock);
    self->keeper = keeper;
    gi_unlock(&self->lock);
    if (!e)
        gi_runtime_add(self->rt, &self->drainable);
    else
        self->started = false; /* there is no thread that reads it */
    return e;
}

static void s_halt(gate_supervisor_t *self) {
    s_hold(self);
    if (self->started)
        gi_runtime_remove(self->rt, &self->drainable);
    gi_lock(&self->lock);
    gi_sup_stop(&self->core);
    gi_unlock(&self->lock);
    self->ending = true;
    (void)s_act(self);
    self->ending = false;
}

static void s_end(void *supervisor) {
    gate_supervisor_t *self = supervisor;
    s_halt(self);
    for (size_t i = 0; i < self->core.n; i++) {
        gi_supervised_t *child = &self->child[i];
        if (child->free)
            child->free(child->is.ctx);
        gi_error_fini(&child->error);
        gi_mem_free((void *)(uintptr_t)child->is.name);
    }
    gi_sup_fini(&self->core);
    gi_error_fini(&self->stuck);
    gi_error_fini(&self->final);
    gi_lock_fini(&self->lock);
    gi_runtime_release(self->rt);
    gi_mem_free(self);
}

/* In a function of a child, or its event, it cannot wait for itself. */
void gate_supervisor_destroy(gate_supervisor_t **self_p) {
    gate_supervisor_t *self = self_p ? *self_p : NULL;
    if (self == NULL)
        return;
    *self_p = NULL;
    if (self->started && self->forks != gi_actor_thread_forks)
        return; /* a child of fork(): it is the parent's */
    if (!gi_thread_is_in(self))
        s_end(self);
    else if (gi_later(s_end, self)) /* no thread for it: it stays */
        gate_log(GATE_WARN, S_PART,
                 "destroyed in its child's function: it "
                 "ends when that has returned");
}

/* ---- asking one ---------------------------------------------------------- */
gate_err_t gate_supervisor_check(gate_supervisor_t *self) {
    if (gi_err_null(self, "gate_supervisor_check"))
        return GATE_BADARG;
    gi_lock(&self->lock);
    gate_err_t e =
        self->core.gave_up ? gi_error_publish(&self->final) : GATE_OK;
    gi_unlock(&self->lock);
    return e;
}

bool gate_supervisor_over(gate_supervisor_t *self) {
    if (gi_err_null(self, "gate_supervisor_over"))
        return false;
    gi_lock(&self->lock);
    bool over = self->started && gi_sup_over(&self->core);
    gi_unlock(&self->lock);
    return over;
}

static bool s_all_ready(gate_supervisor_t *self) {
    gi_lock(&self->lock);
    bool ready = self->started;
    for (size_t i = 0; i < self->core.n && ready; i++) {
        gate_child_state_t state = self->core.child[i].state;
        ready = state == GATE_CHILD_ENDED ||
                (state == GATE_CHILD_RUNNING && !self->core.child[i].doomed &&
                 self->child[i].ready_seen);
    }
    gi_unlock(&self->lock);
    return ready;
}

gate_err_t gate_supervisor_ready(gate_supervisor_t *self, int64_t timeout_ms) {
    if (gi_err_null(self, "gate_supervisor_ready"))
        return GATE_BADARG;
    if (self->started && self->forks != gi_actor_thread_forks)
        return gi_err(GATE_CLOSED, "supervisor: made before fork()");
    int64_t end = timeout_ms < 0 ? INT64_MAX : gi_clock_deadline_ms(timeout_ms);
    for (;;) {
        unsigned seen = gi_news_read(&self->news);
        gate_err_t e = gate_supervisor_check(self);
        if (e || s_all_ready(self))
            return e;
        if (timeout_ms && gi_thread_is_in(self))
            return gi_err(GATE_WOULDBLOCK, "gate_supervisor_ready in a "
                                           "function of its child");
        if (!gi_news_wait(&self->news, seen, end))
            return gi_err(GATE_TIMEOUT,
                          "supervisor: not all children run within %lld ms",
                          (long long)timeout_ms);
    }
}

void gate_supervisor_failed(gate_supervisor_t *self, const char *name,
                            gate_err_t e) {
    if (gi_err_null(self, "gate_supervisor_failed"))
        return;
    if (gi_err_null(name, "gate_supervisor_failed: the name"))
        return;
    gi_lock(&self->lock);
    for (size_t i = 0; i < self->core.n; i++)
        if (strcmp(self->child[i].is.name, name) == 0)
            self->child[i].report = e ? e : GATE_EOS;
    if (self->keeper)
        gi_keeper_poke(self->keeper);
    gi_unlock(&self->lock);
}
