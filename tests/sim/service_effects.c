/* SPDX-License-Identifier: BSD-3-Clause */
/* service_effects.c -- what a service's core wants done, and what it must not
 * want: a second run, job, answer or end, an item behind the answer. */
#include "service.h"

#include "base/err.h"
#include "base/origin.h"

/* ---- its handler --------------------------------------------------------- */
static void s_ran(sim_scall_t *c) {
    sim_call_t *call = &c->service->w->call[c->call];
    if (c->ran || c->answers)
        sim_fail(c->service->w, "call %u runs twice in a service", c->call);
    c->ran = true;
    if (call->runs++ && !call->idempotent)
        sim_fail(c->service->w, "call %u runs for the %u. time", c->call,
                 call->runs);
}

static void s_run_process(sim_scall_t *c) {
    static const gate_error_t full = {GATE_BUSY, "BusyWorkerError",
                                      "The process pool is full.", GI_UNRUN};
    if (!sim_hands_to_process(c))
        gi_life_refuse(&c->life, &full);
}

static void s_run(gi_life_t *life) {
    sim_scall_t *c = sim_scall_of(life);
    sim_service_t *self = c->service;
    s_ran(c);
    switch (c->does.way) {
    case SIM_AT_ONCE:
        c->generator = c->does.stream;
        self->w->node[self->node].busy_ms =
            self->w->now + (c->does.never ? c->does.run_ms / 40 : 0);
        if (c->generator)
            gi_life_returned(life, GATE_KEPT, GI_LIFE_PULLED);
        else
            gi_life_returned(life, sim_hands_outcome(&c->does), GI_LIFE_KEPT);
        break;
    case SIM_KEEPER:
        sim_hands_to_keeper(c);
        gi_life_returned(life, GATE_KEPT, GI_LIFE_KEPT);
        break;
    case SIM_JOB:
        gi_life_returned(life, GATE_KEPT, GI_LIFE_JOB);
        break;
    case SIM_PROCESS:
        s_run_process(c);
        break;
    default:
        sim_hands_to_thread(c);
    }
}

static gate_err_t s_submit(gi_life_t *life) {
    sim_scall_t *c = sim_scall_of(life);
    if (c->hand != SIM_NOBODY || c->answers)
        sim_fail(c->service->w, "call %u has two jobs", c->call);
    return sim_hands_to_process(c)
               ? GATE_OK
               : gi_err(GATE_BUSY, "the process pool is full");
}

static gate_err_t s_pull(gi_life_t *life) {
    sim_scall_t *c = sim_scall_of(life);
    unsigned char data[2] = {0xcc, (unsigned char)c->next_item};
    if (!c->generator || c->answers)
        sim_fail(c->service->w, "call %u is pulled after its end", c->call);
    if (c->does.raises && c->next_item == c->does.bad)
        return GATE_RAISED;
    if (c->next_item == c->does.items)
        return c->does.never ? GATE_OK : GATE_EOS;
    gate_err_t e = gi_life_pulled_item(life, data, sizeof data);
    c->next_item++;
    return c->does.deaf ? GATE_OK : e;
}

static bool s_may_pull(gi_life_t *life) {
    return !sim_link_is_full(sim_scall_of(life)->service);
}

static void s_unpull(gi_life_t *life) {
    sim_scall_t *c = sim_scall_of(life);
    if (!c->generator || c->unpulls++)
        sim_fail(c->service->w, "call %u: its generator is freed twice",
                 c->call);
    c->generator = false;
}

static gate_err_t s_send(gi_life_t *life, const void *data, size_t size,
                         bool *queued) {
    sim_scall_t *c = sim_scall_of(life);
    unsigned n = ((const unsigned char *)data)[size - 1];
    if (c->answers)
        sim_fail(c->service->w, "call %u: item %u behind its answer", c->call,
                 n);
    if (c->does.bulky && n == c->does.bad) {
        c->broken = true;
        return gi_err(GATE_TOOBIG, "an item too large");
    }
    if (c->in_process || life->pulling)
        c->credit--;
    c->said_ms = c->service->w->now;
    if (life->remote)
        sim_link_item(c, n, queued);
    else
        sim_local_item(c, n);
    c->credit += !life->credited && !*queued;
    return GATE_OK;
}

static void s_give(gi_life_t *life, int64_t items, int64_t bytes) {
    sim_scall_t *c = sim_scall_of(life);
    (void)bytes;
    if (!c->in_process)
        sim_fail(c->service->w, "call %u: credit for no process", c->call);
    c->lent += items;
}

/* Who looks whether it was cancelled does so soon. */
static void s_halt(gi_life_t *life) {
    sim_scall_t *c = sim_scall_of(life);
    c->halted = true;
    if (c->does.stream || !c->does.deaf)
        c->act_ms = c->service->w->now + SIM_HEARS_MS;
}

static gate_err_t s_last(gi_life_t *life) { return sim_scall_of(life)->last; }

static bool s_wants_bulk(const gi_life_t *life) {
    (void)life;
    return false;
}

static void s_no_bulk(gi_life_t *life, const gate_error_t *story) {
    const sim_scall_t *c = sim_scall_of(life);
    sim_fail(c->service->w, "call %u: a huge result: %s", c->call,
             story ? story->text : "");
}

static gate_err_t s_bulk(gi_life_t *life, gate_err_t outcome) {
    s_no_bulk(life, NULL);
    return outcome;
}

static void s_no_chunks(gi_life_t *life) { s_no_bulk(life, NULL); }

static void s_cut(gi_life_t *life, const gate_error_t *story, bool streams) {
    sim_scall_t *c = sim_scall_of(life);
    if (c->answers++ || c->overs)
        sim_fail(c->service->w, "call %u is answered twice", c->call);
    if (!streams && life->sent)
        sim_fail(c->service->w, "call %u: a single answer behind items",
                 c->call);
    if (life->remote)
        sim_link_answer(c, story, streams);
    else
        sim_local_answer(c, story, streams);
}

static void s_answer(gi_life_t *life, gate_err_t outcome, bool streams) {
    gate_error_t story = {outcome, gi_err_class(outcome),
                          gate_err_text(outcome), ""};
    s_cut(life, outcome ? &story : NULL, streams);
}

static void s_list(gi_life_t *life, bool on) { (void)life, (void)on; }

static int64_t s_idle(const gi_life_t *life, int64_t now_ms) {
    const sim_scall_t *c = (const sim_scall_t *)(const void *)life;
    return c->unread ? now_ms - c->unread_ms : 0;
}

static void s_over(gi_life_t *life) {
    sim_scall_t *c = sim_scall_of(life);
    if (c->overs++ || c->answers != 1)
        sim_fail(c->service->w, "call %u is over with %u answers", c->call,
                 c->answers);
    sim_scall_drop(c);
}

const gi_life_ops_t sim_service_ops = {.run = s_run,
                                       .gather = s_no_chunks,
                                       .look = s_no_chunks,
                                       .submit = s_submit,
                                       .pull = s_pull,
                                       .may_pull = s_may_pull,
                                       .unpull = s_unpull,
                                       .send = s_send,
                                       .give = s_give,
                                       .halt = s_halt,
                                       .last = s_last,
                                       .wants_bulk = s_wants_bulk,
                                       .bulk = s_bulk,
                                       .bulk_fail = s_no_bulk,
                                       .answer = s_answer,
                                       .cut = s_cut,
                                       .list = s_list,
                                       .idle = s_idle,
                                       .over = s_over};
