/* SPDX-License-Identifier: BSD-3-Clause */
/* life_kit.h -- calls without a service: a core whose functions only write down
 * what they were asked to do, on a clock that a test moves. */
#ifndef LIFE_KIT_H
#define LIFE_KIT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "service/core/service_core.h"

typedef struct kit_call {
    gi_life_t life; /* first */
    /* what happened */
    int ran, gathered, looked, submitted, pulled, unpulled, halted, answered,
        over, bulked;
    int64_t sent, given; /* items */
    gate_err_t outcome;
    bool streams; /* the answer was the end of a stream */
    char text[200];
    /* what is to happen */
    gate_err_t returns; /* in place; GATE_KEPT: then */
    gi_life_state_t then;
    gate_err_t refuses; /* submit */
    gate_err_t send_fails;
    bool queues;          /* the connection is full */
    gate_err_t pull_says; /* what its next step returns, after items */
    int items;            /* that its generator still has */
    gate_err_t last;      /* its keeper's word */
    bool wants_bulk;
    int64_t idle;
} kit_call_t;

typedef struct kit {
    gi_service_core_t core;
    kit_call_t calls[8];
} kit_t;

static kit_call_t *s_of(gi_life_t *life) { return (kit_call_t *)(void *)life; }

static void s_run(gi_life_t *life) {
    kit_call_t *call = s_of(life);
    call->ran++;
    if (life->in_place)
        gi_life_returned(life, call->returns, call->then);
}

static void s_gather(gi_life_t *life) { s_of(life)->gathered++; }

static void s_look(gi_life_t *life) { s_of(life)->looked++; }

static gate_err_t s_submit(gi_life_t *life) {
    kit_call_t *call = s_of(life);
    if (call->refuses)
        return gi_err(call->refuses, "the pool is full");
    call->submitted++;
    return GATE_OK;
}

static gate_err_t s_pull(gi_life_t *life) {
    kit_call_t *call = s_of(life);
    call->pulled++;
    if (!call->items)
        return call->pull_says;
    call->items--;
    return gi_life_pulled_item(life, "x", 1);
}

static bool s_may_pull(gi_life_t *life) { return !s_of(life)->queues; }

static void s_unpull(gi_life_t *life) { s_of(life)->unpulled++; }

static gate_err_t s_send(gi_life_t *life, const void *data, size_t size,
                         bool *queued) {
    kit_call_t *call = s_of(life);
    (void)data;
    (void)size;
    if (call->send_fails)
        return gi_err(call->send_fails, "an item got lost");
    call->sent++;
    *queued = call->queues;
    return GATE_OK;
}

static void s_give(gi_life_t *life, int64_t items, int64_t bytes) {
    (void)bytes;
    s_of(life)->given += items;
}

static void s_halt(gi_life_t *life) { s_of(life)->halted++; }

static gate_err_t s_last(gi_life_t *life) { return s_of(life)->last; }

static bool s_wants_bulk(const gi_life_t *life) {
    return ((const kit_call_t *)(const void *)life)->wants_bulk;
}

static gate_err_t s_bulk(gi_life_t *life, gate_err_t outcome) {
    s_of(life)->bulked++;
    if (!life->bulk)
        gi_life_bulk_begun(life);
    gi_life_bulk_fed(life);
    if (outcome)
        gi_life_bulk_closed(life, outcome);
    return GATE_OK;
}

static void s_bulk_fail(gi_life_t *life, const gate_error_t *story) {
    if (!life->bulk_closed)
        gi_life_bulk_closed(life, story->code);
}

static void s_answered(kit_call_t *call, gate_err_t outcome, bool streams,
                       const char *text) {
    call->answered++;
    call->outcome = outcome;
    call->streams = streams;
    snprintf(call->text, sizeof call->text, "%s", text);
}

static void s_answer(gi_life_t *life, gate_err_t outcome, bool streams) {
    s_answered(s_of(life), outcome, streams, "");
}

static void s_cut(gi_life_t *life, const gate_error_t *story, bool streams) {
    s_answered(s_of(life), story->code, streams, story->text);
}

static void s_list(gi_life_t *life, bool on) {
    (void)life;
    (void)on;
}

static int64_t s_idle(const gi_life_t *life, int64_t now_ms) {
    (void)now_ms;
    return ((const kit_call_t *)(const void *)life)->idle;
}

static void s_over(gi_life_t *life) { s_of(life)->over++; }

static const gi_life_ops_t s_ops = {.run = s_run,
                                    .gather = s_gather,
                                    .look = s_look,
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
                                    .bulk_fail = s_bulk_fail,
                                    .answer = s_answer,
                                    .cut = s_cut,
                                    .list = s_list,
                                    .idle = s_idle,
                                    .over = s_over};

/* Limit 4, an hour for calls without a deadline; at 1,000 ms. */
static inline void kit_new(kit_t *kit) {
    memset(kit, 0, sizeof *kit);
    cr_assert_eq(gi_service_core_init(&kit->core, "S", &s_ops, 1000), GATE_OK);
    kit->core.limit = 4;
    kit->core.call_max_ms = 3600000;
    for (size_t i = 0; i < 8; i++)
        gi_credit_init(&kit->calls[i].life.credit, 0, 0);
}

static inline void kit_check(kit_t *kit) {
    cr_assert(gi_service_core_valid(&kit->core));
}

static inline void kit_end(kit_t *kit) {
    gi_service_core_stop(&kit->core);
    kit_check(kit);
    cr_assert_eq(kit->core.n_live, 0);
    cr_assert_eq(kit->core.n_waiting, 0);
    for (size_t i = 0; i < 8; i++)
        gi_credit_fini(&kit->calls[i].life.credit);
    gi_service_core_fini(&kit->core);
}

/* The i-th call, with a window of 4 items from its reader; not arrived. */
static inline kit_call_t *kit_call(kit_t *kit, int i) {
    kit_call_t *call = &kit->calls[i];
    gi_life_reset(&call->life, &kit->core);
    call->life.credit.items = 4;
    call->life.credit.bytes = GI_CREDIT_FREE;
    call->life.credited = call->life.remote = true;
    call->life.method = "m";
    return call;
}

static inline void kit_arrive(kit_t *kit, kit_call_t *call) {
    gi_life_arrive(&call->life);
    kit_check(kit);
}

static inline void kit_at(kit_t *kit, int64_t ms) {
    gi_service_core_tick(&kit->core, ms);
    kit_check(kit);
}

/* It was answered once, so, and is over. */
static inline void kit_ended(kit_t *kit, kit_call_t *call, gate_err_t outcome,
                             const char *text) {
    kit_check(kit);
    cr_assert_eq(call->answered, 1, "%d answers", call->answered);
    cr_assert_eq(call->over, 1);
    cr_assert_eq(call->life.state, GI_LIFE_DONE);
    cr_assert_eq(call->outcome, outcome, "%s: %s", gate_err_name(call->outcome),
                 call->text);
    cr_assert(strstr(call->text, text), "%s", call->text);
}

#endif
