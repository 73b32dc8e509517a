/* SPDX-License-Identifier: BSD-3-Clause */
/* service_calls.c -- a service's calls as objects, and its laws, after every
 * event: the core's; an answer a call, in time; the credit that a reader gave is
 * what was sent and what is left; what waits is bounded; a call whose client is
 * gone was cancelled. */
#include "service.h"

#include <string.h>

/* ---- calls as objects ---------------------------------------------------- */
sim_scall_t *sim_scall_new(sim_service_t *self) {
    sim_scall_t *c = self->free;
    if (!c)
        return NULL;
    self->free = c->next;
    memset(&c->does, 0, sizeof *c - offsetof(sim_scall_t, does));
    gi_life_reset(&c->life, &self->core);
    c->act_ms = INT64_MAX;
    c->refs = 1;
    c->next = self->used;
    self->used = c;
    return c;
}

void sim_scall_drop(sim_scall_t *c) {
    sim_service_t *self = c->service;
    sim_scall_t **at = &self->used;
    if (--c->refs)
        return;
    if (!c->overs || c->generator || c->keeper || c->hand)
        sim_fail(self->w, "call %u is let go while somebody has it", c->call);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->next = self->free;
    self->free = c;
}

/* ---- laws ---------------------------------------------------------------- */
bool sim_scall_on_link(const sim_service_t *self, const sim_scall_t *c) {
    return c->life.remote && c->epoch == self->epoch;
}

static void s_check_credit(const sim_service_t *self, const sim_scall_t *c) {
    const gi_life_t *life = &c->life;
    if (life->state == GI_LIFE_NEW || life->state == GI_LIFE_DONE ||
        life->cancelled || c->broken)
        return;
    if (life->credit.items != c->credit)
        sim_fail(self->w, "call %u: %lld items of credit are left, not %lld",
                 c->call, (long long)life->credit.items, (long long)c->credit);
}

/* Whose connection is gone was cancelled; who is under way is with somebody, or
 * waits for what is not there. */
static void s_check_hands(const sim_service_t *self, const sim_scall_t *c) {
    const gi_life_t *life = &c->life;
    gi_life_state_t state = life->state;
    bool credit = life->credit.items > 0 && life->credit.bytes > 0;
    if (state == GI_LIFE_NEW || state == GI_LIFE_DONE)
        return;
    if (life->remote && c->epoch != self->epoch && !life->cancelled)
        sim_fail(self->w, "call %u goes on, and its connection is gone",
                 c->call);
    if (c->refs == 1 && (state == GI_LIFE_RUNNING || state == GI_LIFE_KEPT ||
                         (state == GI_LIFE_JOB && credit) ||
                         (state == GI_LIFE_PULLED && credit && !life->awake)))
        sim_fail(self->w, "call %u is under way, and nobody has it", c->call);
}

void sim_service_check(sim_service_t *self) {
    if (!gi_service_core_valid(&self->core))
        sim_fail(self->w, "service %u: its core's law is broken", self->node);
    if (self->out.n > SIM_OUT_MAX)
        sim_fail(self->w, "service %u: %u messages wait", self->node,
                 self->out.n);
    for (const sim_scall_t *c = self->used; c; c = c->next)
        s_check_credit(self, c), s_check_hands(self, c);
}

static int64_t s_later(int64_t a, int64_t b) { return a > b ? a : b; }

/* When it must have ended, or said something. A stream is looked at twice before
 * it is cut, the first time when a process that stood still goes on. */
static int64_t s_due_ms(const sim_scall_t *c) {
    const gi_life_t *life = &c->life;
    int64_t since =
        s_later(c->service->woke_ms, s_later(c->said_ms, life->begun_ms));
    if (life->streamed && c->unread)
        return c->unread_ms + SIM_ITEM_MS;
    if (life->streamed || life->sent)
        return since + 2 * SIM_SERVE_MAX + SIM_TIMER_MS + SIM_HEARTBEAT;
    return life->deadline_ms == INT64_MAX ? life->begun_ms + SIM_SERVE_MAX
                                          : life->deadline_ms + 100;
}

void sim_service_in_time(const sim_service_t *self) {
    for (const sim_scall_t *c = self->used; c; c = c->next)
        if (c->life.state != GI_LIFE_NEW && c->life.state != GI_LIFE_DONE &&
            s_due_ms(c) + SIM_TIMER_MS < self->w->now)
            sim_fail(self->w, "service %u: call %u is late by %d ms",
                     self->node, c->call, (int)(self->w->now - s_due_ms(c)));
}

/* The call of somebody who is no more was not cancelled. */
void sim_service_check_gone(const sim_service_t *self) {
    int64_t now = self->w->now;
    for (const sim_scall_t *c = self->used; c; c = c->next) {
        int64_t gone_ms = self->w->call[c->call].gone_ms;
        if (sim_scall_on_link(self, c) && self->ext_told && !c->hidden &&
            c->life.state != GI_LIFE_DONE && !c->life.cancelled &&
            gone_ms != INT64_MAX &&
            now > s_later(s_later(gone_ms, self->told_ms), self->woke_ms) +
                      SIM_GONE_MAX)
            sim_fail(self->w,
                     "service %u goes on with call %u, whose client has been "
                     "gone for %d ms",
                     self->node, c->call, (int)(now - gone_ms));
    }
}
