/* SPDX-License-Identifier: BSD-3-Clause */
/* service_core.c -- all calls together: who is under way, who waits for room,
 * who is late. */
#include "service/core/service_core.h"

#include <assert.h>
#include "mail/logring.h"
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/moment.h"

#define S_OF(timer_) \
    ((gi_life_t *)(void *)((char *)(timer_)-offsetof(gi_life_t, timer)))

/* ---- life ---------------------------------------------------------------- */
gate_err_t gi_service_core_init(gi_service_core_t *self, const char *name,
                                const gi_life_ops_t *ops, int64_t now_ms) {
    *self = (gi_service_core_t){.ops = ops,
                                .name = name,
                                .limit = INT64_MAX,
                                .now_ms = now_ms,
                                .wheel = gi_wheel_new(now_ms)};
    self->waiting_tail = &self->waiting_head;
    return self->wheel ? GATE_OK : gi_err(GATE_NOMEM, "no memory for timers");
}

void gi_service_core_fini(gi_service_core_t *self) {
    gi_wheel_destroy(&self->wheel);
}

/* ---- those under way ----------------------------------------------------- */
static void s_find(gi_life_t *life, bool on) {
    if (life->found == on)
        return;
    life->found = on;
    life->core->ops->list(life, on);
}

void gi_service_core_list(gi_life_t *life) {
    gi_service_core_t *self = life->core;
    if (life->listed)
        return;
    life->listed = true;
    life->prev = NULL;
    life->next = self->live;
    if (life->next)
        life->next->prev = life;
    self->live = life;
    self->n_live++;
    s_find(life, true);
    gi_service_core_arm(life);
}

void gi_service_core_unlist(gi_life_t *life) {
    gi_service_core_t *self = life->core;
    s_find(life, false);
    if (!life->listed)
        return;
    life->listed = false;
    if (life->prev)
        life->prev->next = life->next;
    else
        self->live = life->next;
    if (life->next)
        life->next->prev = life->prev;
    self->n_live--;
    gi_wheel_cancel(self->wheel, &life->timer);
}

/* ---- those who wait for room --------------------------------------------- */
/* Urgent ones before others. */
void gi_service_core_wait(gi_life_t *life) {
    gi_service_core_t *self = life->core;
    gi_life_t **at = self->waiting_tail;
    if (life->urgent)
        for (at = &self->waiting_head; *at && (*at)->urgent;)
            at = &(*at)->wait_next;
    gi_life_go(life, GI_LIFE_WAITING);
    life->wait_next = *at;
    *at = life;
    if (!life->wait_next)
        self->waiting_tail = &life->wait_next;
    self->n_waiting++;
    self->n_waiting_remote += life->remote;
    s_find(life, true);
    gi_service_core_arm(life);
}

void gi_service_core_unwait(gi_life_t *life) {
    gi_service_core_t *self = life->core;
    if (life->state != GI_LIFE_WAITING)
        return;
    gi_life_t **p = &self->waiting_head;
    while (*p != life)
        p = &(*p)->wait_next;
    *p = life->wait_next;
    if (!*p)
        self->waiting_tail = p;
    self->n_waiting--;
    self->n_waiting_remote -= life->remote;
    gi_wheel_cancel(self->wheel, &life->timer);
}

static void s_next_waiting(gi_service_core_t *self) {
    while (self->waiting_head && (int64_t)self->n_live < self->limit) {
        gi_life_t *life = self->waiting_head;
        gi_service_core_unwait(life);
        gi_life_start(life);
    }
}

/* ---- deadlines ----------------------------------------------------------- */
#define S_GRACE_MS 100  /* a caller elsewhere has a clock of its own */
#define S_LOOK_MS 60000 /* between looks at a stream that may stay unread */
#define S_LOG_MS 1000   /* between lines about late calls */

/* A stream has no deadline: its reader times each item. Elsewhere it is one when
 * something went out. */
static bool s_is_stream(const gi_life_t *life) {
    return life->streamed || (life->remote && life->sent);
}

/* When nothing of it has gone out for too long. */
static int64_t s_quiet_until(const gi_life_t *life) {
    int64_t max = life->core->call_max_ms;
    return max ? gi_time_after(life->quiet_ms, max) : GI_NEVER;
}

static void s_arm(gi_life_t *life, int64_t at) {
    if (at != GI_NEVER)
        gi_wheel_arm(life->core->wheel, &life->timer, at);
}

void gi_service_core_arm(gi_life_t *life) {
    int64_t due =
        gi_time_after(life->deadline_ms, life->remote ? S_GRACE_MS : 0);
    if (life->streamed)
        s_arm(life, life->core->now_ms);
    else
        s_arm(life, due == GI_NEVER ? s_quiet_until(life) : due);
}

/* One line tells of many. */
static void s_log_late(gi_life_t *life, const char *text) {
    gi_service_core_t *self = life->core;
    bool away = life->state == GI_LIFE_RUNNING || life->submitted;
    self->n_late++;
    if (self->late_ms && self->now_ms - self->late_ms < S_LOG_MS)
        return;
    gi_logring_about(GATE_WARN, "service", self->name, life->method,
                     "%s%s (%llu calls since the last line)", text,
                     away ? "; it still runs"
                     : life->state == GI_LIFE_KEPT
                         ? "; whoever keeps it has not ended it"
                         : "",
                     (unsigned long long)self->n_late);
    self->late_ms = self->now_ms;
    self->n_late = 0;
}

static void s_too_late(gi_life_t *life, const char *what, int64_t ms) {
    char text[256];
    snprintf(text, sizeof text, "%s.%s: %s %lld ms", life->core->name,
             life->method, what, (long long)ms);
    s_log_late(life, text);
    gi_life_cut(life, &(gate_error_t){GATE_TIMEOUT, gi_err_class(GATE_TIMEOUT),
                                      text, ""});
}

static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* Items that nobody reads; look again when there could be some. */
static bool s_is_read(const gi_life_t *life, int64_t *look) {
    int64_t max = life->item_timeout_ms, now = life->core->now_ms;
    int64_t idle = life->core->ops->idle(life, now);
    int64_t wait = max < 0 ? S_LOOK_MS : max - idle;
    *look = gi_time_after(now, wait > 10 ? wait : 10);
    return max < 0 || idle < max;
}

static void s_look(gi_life_t *life) {
    int64_t look = GI_NEVER, now = life->core->now_ms;
    if (life->streamed && !s_is_read(life, &look)) {
        s_too_late(life, "its stream was not read for", life->item_timeout_ms);
        return;
    }
    if (life->sent != life->looked)
        life->quiet_ms = now;
    life->looked = life->sent;
    if (s_quiet_until(life) <= now)
        s_too_late(life, "nothing of its stream went out for",
                   life->core->call_max_ms);
    else
        s_arm(life, s_min(look, s_quiet_until(life)));
}

static void s_expire(gi_life_t *life) {
    if (life->state == GI_LIFE_ARRIVING)
        life->core->ops->look(life);
    else if (s_is_stream(life))
        s_look(life);
    else
        s_too_late(life, "no answer within",
                   life->remote ? life->core->now_ms - life->begun_ms
                                : life->item_timeout_ms);
}

bool gi_service_core_tick(gi_service_core_t *self, int64_t now_ms) {
    gi_timer_t *timer;
    bool any = false;
    self->now_ms = now_ms;
    while ((timer = gi_wheel_expire(self->wheel, now_ms))) {
        s_expire(S_OF(timer));
        any = true;
    }
    s_next_waiting(self);
    return any;
}

int64_t gi_service_core_next(const gi_service_core_t *self) {
    return gi_wheel_next(self->wheel);
}

/* ---- connections, the end ------------------------------------------------ */
static void s_each(gi_service_core_t *self, const void *owner,
                   void (*fn)(gi_life_t *)) {
    gi_life_t *next;
    for (gi_life_t *life = self->waiting_head; life; life = next) {
        next = life->wait_next;
        if (!owner || life->owner == owner)
            fn(life);
    }
    for (gi_life_t *life = self->live; life; life = next) {
        next = life->next;
        if (!owner || life->owner == owner)
            fn(life);
    }
}

void gi_service_core_lost(gi_service_core_t *self, const void *owner) {
    s_each(self, owner, gi_life_cancel);
}

/* What its keeper does not end stays with what it refers to. */
static void s_tell_kept(const gi_service_core_t *self) {
    size_t n = 0;
    const char *method = NULL;
    for (const gi_life_t *life = self->live; life; life = life->next)
        if (life->state == GI_LIFE_KEPT) {
            method = life->method;
            n++;
        }
    if (n)
        gi_logring_about(
            GATE_WARN, "service", self->name, method,
            "%s is stopped while %zu of its calls are kept (%s is one): "
            "they are told; their memory, and the service's, stays until "
            "their keepers end them",
            self->name, n, method);
}

static void s_stop(gi_life_t *life) {
    static const gate_error_t stopped = {GATE_WORKERLOST, "WorkerLostError",
                                         "the service was stopped", ""};
    life->core->stats.cancelled++;
    gi_life_cut(life, &stopped);
}

void gi_service_core_stop(gi_service_core_t *self) {
    self->stopping = true;
    s_tell_kept(self);
    s_each(self, NULL, s_stop);
}

/* ---- the law ------------------------------------------------------------- */
static bool s_life_valid(const gi_life_t *life) {
    gi_life_state_t s = life->state;
    return s > GI_LIFE_WAITING && s < GI_LIFE_DONE && life->listed &&
           life->found && !(life->awake && s != GI_LIFE_PULLED) &&
           !(life->submitted && s != GI_LIFE_JOB) &&
           !(life->last && s != GI_LIFE_RUNNING) &&
           (s != GI_LIFE_BULK || life->bulk) &&
           (!life->bulk_closed || s == GI_LIFE_RUNNING || life->submitted) &&
           (s != GI_LIFE_ARRIVING || life->gathers) &&
           (!life->cancelled || s == GI_LIFE_RUNNING || life->submitted) &&
           life->unsent_items >= 0 && life->sent >= life->looked &&
           !life->pulling;
}

/* Whoever can be late has a timer. */
static bool s_timed(const gi_life_t *life) {
    return gi_timer_armed(&life->timer) || life->state == GI_LIFE_ARRIVING ||
           (!life->core->call_max_ms &&
            (life->streamed || life->sent || life->deadline_ms == GI_NEVER));
}

static bool s_live_valid(const gi_service_core_t *self) {
    const gi_life_t *prev = NULL;
    size_t n = 0;
    for (const gi_life_t *life = self->live; life; life = life->next, n++) {
        if (life->prev != prev || !s_life_valid(life) || !s_timed(life))
            return false;
        prev = life;
    }
    return n == self->n_live;
}

static bool s_waiting_valid(const gi_service_core_t *self) {
    gi_life_t *const *tail = &self->waiting_head;
    bool urgent = true;
    size_t n = 0, remote = 0;
    for (; *tail; tail = &(*tail)->wait_next, n++) {
        const gi_life_t *life = *tail;
        remote += life->remote;
        if (life->state != GI_LIFE_WAITING || life->listed || !life->found ||
            (life->urgent && !urgent) || !s_timed(life))
            return false;
        urgent = life->urgent;
    }
    return n == self->n_waiting && tail == self->waiting_tail &&
           remote == self->n_waiting_remote && (int64_t)remote <= self->limit;
}

static bool s_pulled_valid(const gi_service_core_t *self) {
    const gi_life_t *prev = NULL;
    for (const gi_life_t *life = self->pulled; life; life = life->pull_next) {
        if (life->pull_prev != prev || !life->awake)
            return false;
        prev = life;
    }
    return true;
}

bool gi_service_core_valid(const gi_service_core_t *self) {
    return s_live_valid(self) && s_waiting_valid(self) && s_pulled_valid(self);
}

#ifdef GI_CHECK_LAWS
#define S_MANY 256 /* beyond that the walk is for some events only */

void gi_service_core_check(const gi_service_core_t *self) {
    static _Thread_local unsigned n;
    if (self->n_live + self->n_waiting <= S_MANY || ++n % S_MANY == 0)
        assert(gi_service_core_valid(self));
}
#endif
