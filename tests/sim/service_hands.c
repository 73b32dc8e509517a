/* SPDX-License-Identifier: BSD-3-Clause */
/* service_hands.c -- who works for a service's calls: two threads, two worker
 * processes, keepers; and the mail by which what they did comes to the actor.
 * What a handler does is written in its call's arguments: it ends at once,
 * later, never, raises, keeps its call, streams, does not hear that it was
 * cancelled, has an item that cannot be sent. */
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/origin.h"

typedef enum s_kind {
    S_RETURNED,
    S_FINISHED,
    S_JOBDONE,
    S_ITEM,
    S_LOST,
    S_CREDIT,
    S_CANCEL,
    S_OPEN
} s_kind_t;

struct sim_mail {
    sim_mail_t *next;
    s_kind_t kind;
    int64_t at; /* it is read then, or later */
    sim_scall_t *call;
    gate_err_t said;
    unsigned n; /* which item, or how many */
};

/* ---- mail ---------------------------------------------------------------- */
/* It has a reference to the call: a new one, or its sender's. */
static void s_post(sim_scall_t *c, s_kind_t kind, gate_err_t said, unsigned n) {
    sim_service_t *self = c->service;
    sim_mail_t *mail = calloc(1, sizeof *mail);
    int64_t at = self->w->now + sim_dice(self->w, 3);
    self->mail_ms = at > self->mail_ms ? at : self->mail_ms;
    *mail = (sim_mail_t){NULL, kind, self->mail_ms, c, said, n};
    *self->mail_last = mail;
    self->mail_last = &mail->next;
}

static void s_post_new(sim_scall_t *c, s_kind_t kind, unsigned n) {
    c->refs++;
    s_post(c, kind, GATE_OK, n);
}

void sim_hands_credit(sim_scall_t *c, unsigned items) {
    s_post_new(c, S_CREDIT, items);
}

void sim_hands_cancel(sim_scall_t *c) { s_post_new(c, S_CANCEL, 0); }

/* The sender's reference is the core's. */
void sim_hands_open(sim_scall_t *c) { s_post_new(c, S_OPEN, 0); }

static void s_item(sim_scall_t *c, unsigned n) {
    unsigned char data[2] = {0xcc, (unsigned char)n};
    gi_life_item(&c->life, data, sizeof data);
}

/* ---- what a method does -------------------------------------------------- */
sim_handler_t sim_handler(const char *func, unsigned what, unsigned how) {
    unsigned more = how / SIM_WAYS;
    bool stream = strcmp(func, "gen") == 0;
    return (sim_handler_t){.way = (sim_way_t)(how % SIM_WAYS),
                           .stream = stream,
                           .idempotent = strcmp(func, "again") == 0,
                           .raises = more % 7 == 1,
                           .deaf = more % 5 == 2,
                           .never = more % 11 == 3,
                           .chained = more % 3 == 0,
                           .bulky = stream && more % 13 == 4,
                           .items = stream ? what : 0,
                           .bad = what / 2,
                           .run_ms = 40 * (int64_t)what};
}

static int64_t s_run_ms(const sim_handler_t *does) {
    return does->stream  ? SIM_YIELD_MS
           : does->never ? SIM_DEAF_MS
                         : does->run_ms;
}

gate_err_t sim_hands_outcome(const sim_handler_t *does) {
    if (does->raises)
        return does->way == SIM_PROCESS && does->chained ? GATE_WORKERLOST
                                                         : GATE_RAISED;
    return does->stream ? GATE_EOS : GATE_OK;
}

/* ---- who has it comes back ----------------------------------------------- */
static bool s_is_job(const sim_scall_t *c) { return c->does.way == SIM_JOB; }

/* Its word, and its reference, go by mail. */
static void s_done(sim_scall_t *c, gate_err_t said) {
    c->act_ms = INT64_MAX;
    if (c->keeper) {
        c->keeper = false;
        s_post(c, S_FINISHED, said, 0);
        return;
    }
    c->hand = SIM_NOBODY;
    if (c->does.way == SIM_EARLY && !c->halted) { /* kept, ended, then back */
        c->refs++;
        s_post(c, S_FINISHED, said, 0);
        said = GATE_KEPT;
    }
    s_post(c, s_is_job(c) ? S_JOBDONE : S_RETURNED, said, 0);
}

/* ---- items of threads, keepers, processes -------------------------------- */
/* A job is the first of two; a thread leaves the rest to a generator. */
static bool s_is_first(const sim_scall_t *c) {
    return c->does.chained && !c->after_job &&
           (s_is_job(c) || c->does.way == SIM_THREAD);
}

static unsigned s_last_item(const sim_scall_t *c) {
    return s_is_first(c) ? c->does.bad : c->does.items;
}

static bool s_may_yield(sim_scall_t *c) {
    return c->in_process ? c->lent > 0 : gi_credit_any(&c->life.credit);
}

/* Nothing to do until its reader gives credit. */
static bool s_waits(sim_scall_t *c) {
    return c->does.stream && !c->halted && c->next_item < s_last_item(c) &&
           !s_may_yield(c);
}

static void s_yield(sim_scall_t *c) {
    if (c->in_process)
        c->lent--;
    else if (gi_credit_try(&c->life.credit, 2))
        c->credit--;
    else
        return; /* cancelled just now */
    unsigned n = c->next_item++;
    if (c->in_process && c->does.bulky && n >= c->does.bad) {
        if (n == c->does.bad)
            s_post_new(c, S_LOST, 0);
        return;
    }
    s_post_new(c, S_ITEM, n);
}

static void s_step(sim_scall_t *c) {
    c->act_ms = c->service->w->now + SIM_YIELD_MS;
    if (c->does.raises && c->next_item >= c->does.bad)
        s_done(c, sim_hands_outcome(&c->does));
    else if (c->next_item < s_last_item(c))
        s_yield(c);
    else if (c->does.way == SIM_THREAD && s_is_first(c)) {
        c->after_job = c->generator = true;
        s_done(c, GATE_KEPT);
    } else if (c->does.never && !c->stays) {
        c->stays = true;
        c->act_ms = c->service->w->now + SIM_DEAF_MS;
    } else
        s_done(c, GATE_EOS);
}

static void s_act(sim_scall_t *c) {
    if (c->halted && (c->does.stream || !c->does.deaf))
        s_done(c, GATE_CANCELLED);
    else if (c->does.stream)
        s_step(c);
    else
        s_done(c, sim_hands_outcome(&c->does));
}

/* ---- pools --------------------------------------------------------------- */
static unsigned s_count(const sim_service_t *self, bool process,
                        sim_hand_t hand) {
    unsigned n = 0;
    for (const sim_scall_t *c = self->used; c; c = c->next)
        n += c->hand == hand && c->in_process == process;
    return n;
}

static void s_queue(sim_scall_t *c, bool process) {
    c->hand = SIM_QUEUED;
    c->in_process = process;
    c->turn = ++c->service->turns;
    c->act_ms = INT64_MAX;
}

static bool s_is_full(const sim_service_t *self, bool process) {
    return s_count(self, process, SIM_QUEUED) >= SIM_POOL_MAX;
}

/* A pool's window: it is lent one at least. */
static void s_lend(sim_scall_t *c) {
    int64_t credit = c->life.credit.items;
    c->lent = credit > 0 ? credit : 1;
}

static void s_begin(sim_scall_t *c) {
    int64_t now = c->service->w->now;
    c->hand = SIM_WORKS;
    if (c->halted)
        s_done(c, GATE_CANCELLED);
    else if (c->life.deadline_ms <= now)
        s_done(c, GATE_TIMEOUT);
    else
        c->act_ms = now + s_run_ms(&c->does);
}

static void s_pool_work(sim_service_t *self, bool process) {
    while (s_count(self, process, SIM_WORKS) < SIM_POOL) {
        sim_scall_t *first = NULL;
        for (sim_scall_t *c = self->used; c; c = c->next)
            if (c->hand == SIM_QUEUED && c->in_process == process &&
                (!first || c->turn < first->turn))
                first = c;
        if (!first)
            return;
        s_begin(first);
    }
}

static bool s_is_due(sim_scall_t *c, int64_t now) {
    return (c->hand == SIM_WORKS || c->keeper) && c->act_ms <= now &&
           !s_waits(c);
}

void sim_hands_work(sim_service_t *self) {
    for (sim_scall_t *c = self->used; c; c = c->next)
        if (s_is_due(c, self->w->now))
            s_act(c);
    s_pool_work(self, false);
    s_pool_work(self, true);
}

/* ---- to whom a call is given --------------------------------------------- */
bool sim_hands_to_process(sim_scall_t *c) {
    if (s_is_full(c->service, true))
        return false;
    c->refs++;
    s_lend(c);
    s_queue(c, true);
    return true;
}

void sim_hands_to_thread(sim_scall_t *c) {
    c->hand = SIM_GATHERED;
    c->refs++;
    c->service->gathered = true;
}

void sim_hands_to_keeper(sim_scall_t *c) {
    c->keeper = true;
    c->refs++;
    c->act_ms = c->service->w->now + s_run_ms(&c->does);
}

int64_t sim_hands_next(const sim_service_t *self) {
    int64_t next = INT64_MAX;
    for (sim_scall_t *c = self->used; c; c = c->next)
        if ((c->hand == SIM_WORKS || c->keeper) && !s_waits(c) &&
            c->act_ms < next)
            next = c->act_ms;
    return next;
}

void sim_hands_submit(sim_service_t *self) {
    static const gate_error_t full = {GATE_BUSY, "BusyWorkerError",
                                      "The thread pool is full.", GI_UNRUN};
    sim_scall_t *next;
    if (!self->gathered)
        return;
    self->gathered = false; /* refusing may bring new ones */
    for (sim_scall_t *c = self->used; c; c = next) {
        next = c->next;
        if (c->hand != SIM_GATHERED)
            continue;
        if (!s_is_full(self, false)) {
            s_queue(c, false);
            continue;
        }
        c->hand = SIM_NOBODY;
        if (c->life.state == GI_LIFE_RUNNING)
            gi_life_refuse(&c->life, &full);
        sim_scall_drop(c);
    }
}

/* ---- what comes back ----------------------------------------------------- */
static void s_job_back(sim_scall_t *c, gate_err_t said) {
    if (!gi_life_job_back(&c->life))
        return;
    if (c->answers)
        sim_fail(c->service->w, "call %u goes on after its end", c->call);
    bool fine = said == GATE_OK || said == GATE_EOS;
    if (!fine || !c->does.chained || c->after_job) {
        gi_life_returned(&c->life, said, GI_LIFE_KEPT);
        return;
    }
    c->after_job = true;
    c->generator = c->does.stream && c->does.items % 2;
    gi_life_returned(&c->life, GATE_KEPT,
                     c->generator ? GI_LIFE_PULLED : GI_LIFE_JOB);
}

static void s_lost(sim_scall_t *c) {
    c->broken = true;
    (void)gi_err(GATE_NOMEM, "no memory for an item of a stream");
    gi_life_item_lost(&c->life);
}

static void s_credit(sim_scall_t *c, unsigned items) {
    c->credit += items; /* booked first: it may be spent at once */
    gi_life_credit(&c->life, items, 2 * (int64_t)items);
}

static void s_read(const sim_mail_t *mail) {
    sim_scall_t *c = mail->call;
    switch (mail->kind) {
    case S_RETURNED:
        gi_life_returned(&c->life, mail->said,
                         c->generator ? GI_LIFE_PULLED : GI_LIFE_KEPT);
        break;
    case S_FINISHED:
        c->last = mail->said;
        gi_life_finished(&c->life);
        break;
    case S_JOBDONE:
        s_job_back(c, mail->said);
        break;
    case S_ITEM:
        s_item(c, mail->n);
        break;
    case S_LOST:
        s_lost(c);
        break;
    case S_CREDIT:
        s_credit(c, mail->n);
        break;
    case S_CANCEL:
        gi_life_cancel(&c->life);
        break;
    case S_OPEN:
        sim_local_open(c);
    }
}

bool sim_hands_mail(sim_service_t *self) {
    bool any = false;
    while (self->mail && self->mail->at <= self->w->now) {
        sim_mail_t *mail = self->mail;
        self->mail = mail->next;
        if (!self->mail)
            self->mail_last = &self->mail;
        s_read(mail);
        sim_scall_drop(mail->call);
        free(mail);
        sim_service_check(self);
        any = true;
    }
    return any;
}

int64_t sim_hands_mail_next(const sim_service_t *self) {
    return self->mail ? self->mail->at : INT64_MAX;
}

void sim_hands_end(sim_service_t *self) {
    sim_mail_t *mail;
    while ((mail = self->mail)) {
        self->mail = mail->next;
        free(mail);
    }
}
