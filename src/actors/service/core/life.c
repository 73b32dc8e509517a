/* SPDX-License-Identifier: BSD-3-Clause */
/* life.c -- a call's way and its end: every answer of a service goes out from
 * here, and nowhere else is decided which. */
#include "service/core/life.h"

#include "base/origin.h"
#include "service/core/service_core.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- states -------------------------------------------------------------- */
#define S(state) (1u << GI_LIFE_##state)
#define S_LATER (S(KEPT) | S(JOB) | S(PULLED) | S(BULK))

static const unsigned s_next[] = {
    [GI_LIFE_NEW] = S(WAITING) | S(ARRIVING) | S(RUNNING) | S(DONE),
    [GI_LIFE_WAITING] = S(ARRIVING) | S(RUNNING) | S(DONE),
    [GI_LIFE_ARRIVING] = S(RUNNING) | S(DONE),
    [GI_LIFE_RUNNING] = S_LATER | S(DONE),
    [GI_LIFE_KEPT] = S(BULK) | S(DONE),
    [GI_LIFE_JOB] = S_LATER | S(DONE),
    [GI_LIFE_PULLED] = S(BULK) | S(DONE),
    [GI_LIFE_BULK] = S(DONE),
    [GI_LIFE_DONE] = 0};

void gi_life_go(gi_life_t *life, gi_life_state_t next) {
    assert(s_next[life->state] & (1u << next));
    life->state = next;
}

void gi_life_reset(gi_life_t *life, struct gi_service_core *core) {
    memset(&life->state, 0,
           offsetof(gi_life_t, listed) - offsetof(gi_life_t, state));
    life->core = core;
    life->method = "";
    life->deadline_ms = INT64_MAX;
    life->item_timeout_ms = -1;
    life->credit.cancelled = false;
}

/* ---- the end ------------------------------------------------------------- */
/* Before its answer goes out: who has that may ask for the numbers. */
static void s_count(gi_life_t *life, bool failed) {
    life->core->stats.calls++;
    life->core->stats.errors += failed;
    if (life->counts) {
        life->counts->calls++;
        life->counts->errors += failed;
    }
}

static void s_unpull(gi_life_t *life) {
    if (life->state != GI_LIFE_PULLED)
        return;
    gi_life_pause(life);
    life->core->ops->unpull(life);
}

static void s_over(gi_life_t *life) {
    const gi_life_ops_t *ops = life->core->ops;
    assert(!life->pulling);
    s_unpull(life);
    if (life->found)
        gi_service_core_unlist(life);
    gi_life_go(life, GI_LIFE_DONE);
    ops->over(life);
}

static bool s_streams(const gi_life_t *life) {
    return life->sent || life->ended || life->state == GI_LIFE_PULLED;
}

/* The story as it is: nobody has anything to add. */
static void s_tell(gi_life_t *life, const gate_error_t *story) {
    s_count(life, true);
    life->core->ops->cut(life, story, s_streams(life));
    s_over(life);
}

void gi_life_settle(gi_life_t *life) {
    if (!life->bulk_closed || life->state == GI_LIFE_RUNNING ||
        life->state == GI_LIFE_DONE || life->submitted)
        return;
    s_count(life, life->bulk_outcome != GATE_OK);
    s_over(life);
}

static void s_bulk(gi_life_t *life, gate_err_t outcome) {
    s_unpull(life);
    gi_life_go(life, GI_LIFE_BULK);
    gi_service_core_list(life);
    if (life->core->ops->bulk(life, outcome))
        s_tell(life, gate_error());
    else
        gi_life_settle(life);
}

static const gate_error_t s_reader_left = {GATE_CANCELLED, "CancelledError",
                                           "the reader left", ""};
static const gate_error_t s_stopped = {GATE_WORKERLOST, "WorkerLostError",
                                       "the service was stopped", ""};

static const gate_error_t *s_why(const gi_life_t *life) {
    return life->core->stopping ? &s_stopped : &s_reader_left;
}

/* Its outcome is there: answer, end. */
static void s_end(gi_life_t *life, gate_err_t outcome) {
    const gi_life_ops_t *ops = life->core->ops;
    if (outcome == GATE_EOS) {
        life->ended = true;
        outcome = GATE_OK;
    }
    bool streams = s_streams(life);
    bool large = !outcome && !streams && life->remote && ops->wants_bulk(life);
    if (large && life->cancelled && !life->bulk) { /* nobody reads it */
        s_tell(life, s_why(life));
        return;
    }
    if (large || life->bulk) {
        s_bulk(life, outcome);
        return;
    }
    s_count(life, outcome != GATE_OK);
    ops->answer(life, outcome, streams);
    s_over(life);
}

static void s_halt(gi_life_t *life) {
    life->cancelled = true;
    gi_credit_cancel(&life->credit);
    life->core->ops->halt(life);
}

void gi_life_cut(gi_life_t *life, const gate_error_t *story) {
    if (life->state == GI_LIFE_DONE)
        return;
    gi_service_core_unwait(life);
    s_halt(life);
    s_tell(life, story);
}

void gi_life_refuse(gi_life_t *life, const gate_error_t *story) {
    life->core->stats.refused++;
    gi_service_core_unwait(life);
    s_tell(life, story);
}

/* ---- its way in ---------------------------------------------------------- */
void gi_life_start(gi_life_t *life) {
    const gi_life_ops_t *ops = life->core->ops;
    if (life->gathers) {
        gi_life_go(life, GI_LIFE_ARRIVING);
        gi_service_core_list(life);
        ops->gather(life);
        return;
    }
    gi_life_go(life, GI_LIFE_RUNNING);
    if (!life->in_place)
        gi_service_core_list(life);
    ops->run(life);
}

/* Over the limit it waits here: a Python broker sends more than was announced
 * after each stream (docs/wire.md, flow control). */
void gi_life_arrive(gi_life_t *life) {
    gi_service_core_t *core = life->core;
    life->begun_ms = life->quiet_ms = core->now_ms;
    if (life->in_place || (int64_t)core->n_live < core->limit) {
        gi_life_start(life);
        return;
    }
    if (life->remote && (int64_t)core->n_waiting_remote >= core->limit) {
        char text[80];
        snprintf(text, sizeof text,
                 "Request count exceeds the maximum value(%lld).",
                 (long long)core->limit);
        gi_life_refuse(life, &(gate_error_t){GATE_BUSY, "BusyWorkerError", text,
                                             GI_UNRUN});
        return;
    }
    gi_service_core_wait(life);
}

/* They are there: it goes on as if they had come with it. */
void gi_life_gathered(gi_life_t *life) {
    life->gathers = false;
    gi_wheel_cancel(life->core->wheel, &life->timer);
    gi_service_core_arm(life);
    gi_life_start(life);
}

/* ---- its handler, its keeper, its job ------------------------------------ */
/* With items out and no credit left it would send one too many: its reader
 * gives some first. */
void gi_life_submit(gi_life_t *life) {
    if (life->sent && !gi_credit_any(&life->credit))
        return;
    life->submitted = true;
    gate_err_t e = life->core->ops->submit(life);
    if (!e)
        return;
    life->submitted = false;
    s_end(life, e);
}

void gi_life_returned(gi_life_t *life, gate_err_t said, gi_life_state_t then) {
    if (life->state == GI_LIFE_DONE) {
        if (said == GATE_KEPT && then == GI_LIFE_PULLED)
            life->core->ops->unpull(life);
        return;
    }
    if (said != GATE_KEPT) {
        s_end(life, said);
        return;
    }
    if (life->state != then) /* a job behind a job */
        gi_life_go(life, then);
    gi_service_core_list(life);
    if (life->bulk_closed)
        gi_life_settle(life);
    else if (life->bulk && life->bulk_fed)
        s_end(life, GATE_OK);
    else if (life->cancelled)
        gi_life_cut(life, s_why(life));
    else if (then == GI_LIFE_PULLED)
        gi_life_wake(life);
    else if (then == GI_LIFE_JOB)
        gi_life_submit(life);
    else if (life->last)
        s_end(life, life->core->ops->last(life));
}

void gi_life_finished(gi_life_t *life) {
    if (life->state == GI_LIFE_RUNNING)
        life->last = true;
    else if (life->state == GI_LIFE_KEPT)
        s_end(life, life->core->ops->last(life));
}

bool gi_life_job_back(gi_life_t *life) {
    life->submitted = false;
    return life->state == GI_LIFE_JOB;
}

/* ---- callers that leave -------------------------------------------------- */
/* A pool's handler or job notices; what nobody works on ends at once, a kept
 * call too: whoever keeps it may never look. */
void gi_life_cancel(gi_life_t *life) {
    if (life->state == GI_LIFE_DONE)
        return;
    life->core->stats.cancelled++;
    bool away = life->state == GI_LIFE_RUNNING || life->submitted;
    if (!away && life->state != GI_LIFE_BULK) {
        gi_life_cut(life, s_why(life));
        return;
    }
    s_halt(life);
    if (life->bulk)
        life->core->ops->bulk_fail(life, s_why(life));
    gi_life_settle(life);
}

/* ---- huge results -------------------------------------------------------- */
/* A pool's handler or job may begin it after its reader has left. */
void gi_life_bulk_begun(gi_life_t *life) {
    life->bulk = true;
    gi_service_core_list(life);
    if (life->cancelled)
        life->core->ops->bulk_fail(life, s_why(life));
}

void gi_life_bulk_fed(gi_life_t *life) {
    life->bulk_fed = true;
    if (life->state == GI_LIFE_KEPT)
        gi_life_go(life, GI_LIFE_BULK);
}

void gi_life_bulk_closed(gi_life_t *life, gate_err_t outcome) {
    life->bulk_closed = true;
    life->bulk_outcome = outcome;
}
