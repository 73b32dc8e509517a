/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor_core.c -- see supervisor_core.h. One step at a time: stops come
 * before starts, the last child first, so that nobody starts on top of what is
 * about to go. */
#include "supervisor/supervisor_core.h"

#include "base/err.h"
#include "base/mem.h"

/* ---- life ---------------------------------------------------------------- */
gate_err_t gi_sup_init(gi_sup_t *self,
                       const gate_supervisor_options_t *options) {
    *self = (gi_sup_t){.strategy = options->strategy,
                       .intensity = options->intensity,
                       .period_ms = options->period_ms,
                       .backoff_ms = options->backoff_ms,
                       .backoff_max_ms = options->backoff_max_ms};
    self->times =
        gi_mem_calloc((size_t)self->intensity + 1, sizeof *self->times);
    return self->times ? GATE_OK
                       : gi_err(GATE_NOMEM, "no memory for a supervisor");
}

void gi_sup_fini(gi_sup_t *self) {
    gi_mem_free(self->times);
    self->times = NULL;
}

bool gi_sup_add(gi_sup_t *self, gate_restart_t restart, int64_t now_ms) {
    if (self->n == GI_SUP_CHILDREN_MAX)
        return false;
    self->child[self->n++] = (gi_sup_child_t){
        .restart = restart, .due_ms = now_ms, .backoff_ms = self->backoff_ms};
    return true;
}

/* ---- deaths -------------------------------------------------------------- */
static bool s_too_many(gi_sup_t *self, int64_t now_ms) {
    size_t room = (size_t)self->intensity + 1;
    self->times[self->n_times++ % room] = now_ms;
    return self->n_times >= room &&
           now_ms - self->times[self->n_times % room] <= self->period_ms;
}

void gi_sup_stop(gi_sup_t *self) {
    self->stopping = true;
    for (size_t i = 0; i < self->n; i++) {
        self->child[i].doomed = true;
        self->child[i].again = false;
    }
}

/* They are well, so they do not wait. */
static void s_take_along(gi_sup_t *self, size_t from, size_t but,
                         int64_t now_ms) {
    for (size_t i = from; i < self->n; i++) {
        gi_sup_child_t *c = &self->child[i];
        if (i == but || c->state != GATE_CHILD_RUNNING || c->doomed)
            continue;
        c->doomed = c->again = true;
        c->due_ms = now_ms;
    }
}

static void s_back_off(gi_sup_t *self, gi_sup_child_t *c, int64_t lived_ms,
                       int64_t now_ms) {
    if (lived_ms >= self->period_ms)
        c->backoff_ms = self->backoff_ms;
    c->due_ms = now_ms + c->backoff_ms;
    c->backoff_ms = c->backoff_ms > self->backoff_max_ms / 2
                        ? self->backoff_max_ms
                        : 2 * c->backoff_ms;
}

/* A mistake in the program or its settings does not go away. */
static bool s_is_final(gate_err_t e) {
    return e == GATE_BADARG || e == GATE_NOTIMPL;
}

static void s_restart(gi_sup_t *self, size_t child, int64_t lived_ms,
                      int64_t now_ms) {
    gi_sup_child_t *c = &self->child[child];
    if (s_is_final(c->last) || s_too_many(self, now_ms)) {
        self->gave_up = true;
        gi_sup_stop(self);
        return;
    }
    c->restarts++;
    c->doomed = c->again = true;
    s_back_off(self, c, lived_ms, now_ms);
    if (self->strategy == GATE_REST_FOR_ONE)
        s_take_along(self, child + 1, child, now_ms);
    else if (self->strategy == GATE_ONE_FOR_ALL)
        s_take_along(self, 0, child, now_ms);
}

void gi_sup_died(gi_sup_t *self, size_t child, gate_err_t e, int64_t now_ms) {
    gi_sup_child_t *c = &self->child[child];
    if (c->state != GATE_CHILD_RUNNING || c->doomed)
        return;
    c->last = e;
    if (c->restart == GATE_TEMPORARY ||
        (c->restart == GATE_TRANSIENT && e == GATE_OK)) {
        c->doomed = true;
        c->again = false;
    } else {
        s_restart(self, child, now_ms - c->since_ms, now_ms);
    }
}

void gi_sup_started(gi_sup_t *self, size_t child, gate_err_t e,
                    int64_t now_ms) {
    gi_sup_child_t *c = &self->child[child];
    c->since_ms = now_ms;
    if (e == GATE_OK) {
        c->state = GATE_CHILD_RUNNING;
        return;
    }
    c->state = GATE_CHILD_WAITING;
    c->last = e;
    if (c->restart == GATE_TEMPORARY)
        c->doomed = true;
    else
        s_restart(self, child, 0, now_ms);
}

void gi_sup_stopped(gi_sup_t *self, size_t child, int64_t now_ms) {
    gi_sup_child_t *c = &self->child[child];
    (void)now_ms;
    c->state = c->again ? GATE_CHILD_WAITING : GATE_CHILD_ENDED;
    c->doomed = c->again = false;
}

/* ---- what to do ---------------------------------------------------------- */
static bool s_stop_one(gi_sup_t *self, size_t *child) {
    for (size_t i = self->n; i-- > 0;) {
        gi_sup_child_t *c = &self->child[i];
        if (!c->doomed)
            continue;
        if (c->state == GATE_CHILD_RUNNING) {
            c->state = GATE_CHILD_STOPPING;
            *child = i;
            return true;
        }
        if (c->state == GATE_CHILD_WAITING)
            gi_sup_stopped(self, i, 0); /* there is nothing to stop */
    }
    return false;
}

/* Those that depend on others start after them. */
static bool s_has_its_turn(const gi_sup_t *self, size_t child) {
    if (self->stopping || self->child[child].state != GATE_CHILD_WAITING)
        return false;
    for (size_t i = 0; i < child && self->strategy != GATE_ONE_FOR_ONE; i++)
        if (self->child[i].state != GATE_CHILD_RUNNING &&
            self->child[i].state != GATE_CHILD_ENDED)
            return false;
    return true;
}

gi_sup_do_t gi_sup_next(gi_sup_t *self, int64_t now_ms, size_t *child) {
    if (s_stop_one(self, child))
        return GI_SUP_STOP;
    for (size_t i = 0; i < self->n; i++) {
        gi_sup_child_t *c = &self->child[i];
        if (!s_has_its_turn(self, i) || c->due_ms > now_ms)
            continue;
        c->state = GATE_CHILD_STARTING;
        *child = i;
        return GI_SUP_START;
    }
    return GI_SUP_NOTHING;
}

int64_t gi_sup_due(const gi_sup_t *self) {
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < self->n; i++)
        if (s_has_its_turn(self, i) && self->child[i].due_ms < due)
            due = self->child[i].due_ms;
    return due;
}

bool gi_sup_over(const gi_sup_t *self) {
    for (size_t i = 0; i < self->n; i++)
        if (self->child[i].state != GATE_CHILD_ENDED)
            return false;
    return true;
}

bool gi_sup_valid(const gi_sup_t *self) {
    for (size_t i = 0; i < self->n; i++) {
        const gi_sup_child_t *c = &self->child[i];
        if (c->again && !c->doomed)
            return false;
        if (self->stopping && c->again)
            return false;
        if (c->backoff_ms > self->backoff_max_ms &&
            c->backoff_ms > self->backoff_ms)
            return false;
    }
    return self->n <= GI_SUP_CHILDREN_MAX && (!self->gave_up || self->stopping);
}
