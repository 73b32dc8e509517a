/* SPDX-License-Identifier: BSD-3-Clause */
/* life.c -- a call's way through the core of a service, step by step on a clock
 * of the test's: each is answered once, whatever its handler, keeper, job or
 * reader does. */
#include "life_kit.h"

/* ---- handlers ------------------------------------------------------------ */
Test(life, a_handler_in_place_answers_at_once) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.in_place = true;
    kit_arrive(&kit, call);
    kit_ended(&kit, call, GATE_OK, "");
    cr_assert_eq(kit.core.stats.calls, 1);
    cr_assert_eq(kit.core.stats.errors, 0);
    kit_end(&kit);
}

Test(life, a_handler_elsewhere_answers_when_it_is_back) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    kit_arrive(&kit, call);
    cr_assert_eq(call->ran, 1);
    cr_assert_eq(call->answered, 0);
    cr_assert_eq(kit.core.n_live, 1);
    gi_life_returned(&call->life, GATE_RAISED, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_RAISED, "");
    cr_assert_eq(kit.core.stats.errors, 1);
    kit_end(&kit);
}

Test(life, beyond_the_limit_they_wait_urgent_ones_first) {
    kit_t kit;
    kit_new(&kit);
    kit.core.limit = 2;
    for (int i = 0; i < 4; i++) {
        kit_call_t *call = kit_call(&kit, i);
        call->life.urgent = i == 3;
        kit_arrive(&kit, call);
    }
    cr_assert_eq(kit.core.n_waiting, 2);
    kit_call_t *fifth = kit_call(&kit, 4);
    kit_arrive(&kit, fifth);
    kit_ended(&kit, fifth, GATE_BUSY, "Request count exceeds");
    gi_life_returned(&kit.calls[0].life, GATE_OK, GI_LIFE_KEPT);
    kit_at(&kit, 1001);
    cr_assert_eq(kit.calls[3].ran, 1);
    cr_assert_eq(kit.calls[2].ran, 0);
    gi_life_cancel(&kit.calls[2].life);
    kit_ended(&kit, &kit.calls[2], GATE_CANCELLED, "the reader left");
    kit_end(&kit);
}

Test(life, arguments_that_come_in_chunks_are_waited_for) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0), *lost = kit_call(&kit, 1);
    call->life.gathers = lost->life.gathers = true;
    kit_arrive(&kit, call);
    kit_arrive(&kit, lost);
    cr_assert_eq(call->gathered, 1);
    cr_assert_eq(call->ran, 0);
    gi_life_gathered(&call->life);
    cr_assert_eq(call->ran, 1);
    gi_life_returned(&call->life, GATE_OK, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_OK, "");
    gi_life_cancel(&lost->life);
    kit_ended(&kit, lost, GATE_CANCELLED, "");
    kit_end(&kit);
}

/* ---- time ---------------------------------------------------------------- */
Test(life, a_deadline_ends_it_whoever_has_it) {
    kit_t kit;
    kit_new(&kit);
    for (int i = 0; i < 2; i++) {
        kit.calls[i].last = GATE_OK;
        kit_call(&kit, i)->life.deadline_ms = 1500;
        kit_arrive(&kit, &kit.calls[i]);
    }
    gi_life_returned(&kit.calls[1].life, GATE_KEPT, GI_LIFE_KEPT);
    kit_at(&kit, 1500); /* a caller elsewhere has 100 ms more */
    cr_assert_eq(kit.calls[0].answered, 0);
    kit_at(&kit, 1700);
    for (int i = 0; i < 2; i++) {
        kit_ended(&kit, &kit.calls[i], GATE_TIMEOUT, "S.m: no answer within");
        cr_assert_eq(kit.calls[i].halted, 1);
    }
    gi_life_returned(&kit.calls[0].life, GATE_OK, GI_LIFE_KEPT);
    gi_life_finished(&kit.calls[1].life);
    for (int i = 0; i < 2; i++)
        kit_ended(&kit, &kit.calls[i], GATE_TIMEOUT, "");
    kit_end(&kit);
}

Test(life, without_a_deadline_the_limit_ends_it) {
    kit_t kit;
    kit_new(&kit);
    kit.core.call_max_ms = 500;
    kit_call_t *call = kit_call(&kit, 0), *stream = kit_call(&kit, 1);
    kit_arrive(&kit, call);
    kit_arrive(&kit, stream);
    for (int i = 1; i <= 3; i++) { /* what goes out is a sign of life */
        gi_life_item(&stream->life, "x", 1);
        kit_at(&kit, 1000 + i * 500);
    }
    kit_ended(&kit, call, GATE_TIMEOUT, "no answer within");
    cr_assert_eq(stream->answered, 0);
    kit_at(&kit, 4000);
    kit_ended(&kit, stream, GATE_TIMEOUT, "nothing of its stream went out");
    cr_assert(stream->streams);
    kit_end(&kit);
}

Test(life, a_deadline_beyond_all_time_is_none) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.deadline_ms = INT64_MAX - 50; /* and 100 more */
    kit_arrive(&kit, call);
    kit_at(&kit, 100000);
    cr_assert_eq(call->answered, 0);
    gi_life_returned(&call->life, GATE_OK, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_OK, "");
    kit_end(&kit);
}

Test(life, a_stream_here_that_nobody_reads_ends) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.remote = false;
    call->life.streamed = true;
    call->life.item_timeout_ms = 300;
    kit_arrive(&kit, call);
    gi_life_item(&call->life, "x", 1);
    kit_at(&kit, 5000);
    cr_assert_eq(call->answered, 0, "its reader is inside next");
    call->idle = 300;
    kit_at(&kit, 5400);
    kit_ended(&kit, call, GATE_TIMEOUT, "was not read for 300 ms");
    kit_end(&kit);
}

/* ---- kept calls ---------------------------------------------------------- */
Test(life, a_kept_call_is_ended_before_or_after_its_handler_returns) {
    kit_t kit;
    kit_new(&kit);
    for (int i = 0; i < 2; i++) {
        kit_call_t *call = kit_call(&kit, i);
        call->last = GATE_RAISED;
        kit_arrive(&kit, call);
        if (i)
            gi_life_finished(&call->life);
        kit_check(&kit);
        cr_assert_eq(call->answered, 0);
        gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_KEPT);
        kit_check(&kit);
        if (!i)
            gi_life_finished(&call->life);
        kit_ended(&kit, call, GATE_RAISED, "");
    }
    kit_end(&kit);
}

/* The handler's word counts, the keeper's comes to nothing. */
Test(life, a_handler_that_answers_beside_its_keeper) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    kit_arrive(&kit, call);
    gi_life_finished(&call->life);
    gi_life_returned(&call->life, GATE_BADARG, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_BADARG, "");
    gi_life_finished(&call->life);
    kit_ended(&kit, call, GATE_BADARG, "");
    kit_end(&kit);
}

Test(life, a_caller_that_leaves_frees_a_kept_call_at_once) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *kept = kit_call(&kit, 0), *running = kit_call(&kit, 1);
    kit_arrive(&kit, kept);
    kit_arrive(&kit, running);
    gi_life_returned(&kept->life, GATE_KEPT, GI_LIFE_KEPT);
    gi_life_cancel(&kept->life);
    kit_ended(&kit, kept, GATE_CANCELLED, "the reader left");
    gi_life_cancel(&running->life); /* it notices by itself */
    kit_check(&kit);
    cr_assert_eq(running->halted, 1);
    cr_assert_eq(running->answered, 0);
    gi_life_returned(&running->life, GATE_KEPT, GI_LIFE_KEPT);
    kit_ended(&kit, running, GATE_CANCELLED, "");
    kit_end(&kit);
}

/* ---- jobs ---------------------------------------------------------------- */
static kit_call_t *s_with_job(kit_t *kit, int i) {
    kit_call_t *call = kit_call(kit, i);
    kit_arrive(kit, call);
    gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB);
    kit_check(kit);
    return call;
}

Test(life, a_job_runs_when_its_handler_has_returned) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = s_with_job(&kit, 0);
    cr_assert_eq(call->submitted, 1);
    cr_assert(gi_life_job_back(&call->life));
    gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB); /* and another */
    kit_check(&kit);
    cr_assert_eq(call->submitted, 2);
    cr_assert(gi_life_job_back(&call->life));
    gi_life_returned(&call->life, GATE_OK, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_OK, "");
    kit_end(&kit);
}

Test(life, a_pool_that_refuses_a_job_is_its_error) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->refuses = GATE_BUSY;
    kit_arrive(&kit, call);
    gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB);
    kit_ended(&kit, call, GATE_BUSY, "");
    kit_end(&kit);
}

/* The same credit never counts twice: a job gets a copy of what is left. */
Test(life, a_job_has_what_credit_is_left) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    kit_arrive(&kit, call);
    for (int i = 0; i < 4; i++) { /* a handler takes it itself */
        cr_assert(gi_credit_try(&call->life.credit, 1));
        gi_life_item(&call->life, "x", 1);
    }
    gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB);
    kit_check(&kit);
    cr_assert_eq(call->submitted, 0, "it would send one too many");
    gi_life_credit(&call->life, 2, 0);
    cr_assert_eq(call->submitted, 1);
    cr_assert_eq(call->given, 0, "in its window already");
    gi_life_item(&call->life, "x", 1);
    gi_life_credit(&call->life, 3, 0);
    cr_assert_eq(call->given, 3);
    cr_assert_eq(call->life.credit.items, 4);
    cr_assert(gi_life_job_back(&call->life));
    gi_life_returned(&call->life, GATE_EOS, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_OK, "");
    cr_assert(call->streams);
    cr_assert_eq(call->sent, 5);
    kit_end(&kit);
}

Test(life, a_job_that_waits_for_credit_ends_with_its_reader) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.credit.items = 1;
    kit_arrive(&kit, call);
    cr_assert(gi_credit_try(&call->life.credit, 1));
    gi_life_item(&call->life, "x", 1);
    gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_JOB);
    gi_life_cancel(&call->life);
    kit_ended(&kit, call, GATE_CANCELLED, "");
    cr_assert_eq(call->submitted, 0);
    kit_end(&kit);
}

/* ---- streams ------------------------------------------------------------- */
Test(life, an_item_that_cannot_be_sent_fails_its_stream) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    kit_arrive(&kit, call);
    gi_life_item(&call->life, "x", 1);
    call->send_fails = GATE_NOMEM;
    gi_life_item(&call->life, "x", 1);
    kit_ended(&kit, call, GATE_NOMEM, "an item got lost");
    cr_assert(call->streams);
    cr_assert_eq(call->halted, 1);
    call->send_fails = GATE_OK;
    gi_life_item(&call->life, "x", 1);
    gi_life_returned(&call->life, GATE_EOS, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_NOMEM, "");
    cr_assert_eq(call->sent, 1, "nothing behind a gap");
    kit_end(&kit);
}

Test(life, a_generator_is_pulled_while_there_is_credit) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.in_place = true;
    call->returns = GATE_KEPT;
    call->then = GI_LIFE_PULLED;
    call->items = 6;
    call->pull_says = GATE_EOS;
    kit_arrive(&kit, call);
    cr_assert(gi_life_pull_all(&kit.core));
    kit_check(&kit);
    cr_assert_eq(call->sent, 4);
    cr_assert_not(gi_life_pull_all(&kit.core));
    gi_life_credit(&call->life, 10, 0);
    cr_assert(gi_life_pull_all(&kit.core));
    kit_ended(&kit, call, GATE_OK, "");
    cr_assert_eq(call->sent, 6);
    cr_assert_eq(call->unpulled, 1);
    kit_end(&kit);
}

Test(life, a_generator_whose_item_is_lost_fails_whatever_it_says) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.in_place = true;
    call->returns = GATE_KEPT;
    call->then = GI_LIFE_PULLED;
    call->items = 2;
    call->send_fails = GATE_NOMEM;
    kit_arrive(&kit, call);
    gi_life_pull_all(&kit.core);
    kit_ended(&kit, call, GATE_NOMEM, "");
    cr_assert_eq(call->unpulled, 1);
    kit_end(&kit);
}

Test(life, readers_without_credit_are_bounded_by_their_connection) {
    kit_t kit;
    kit_new(&kit);
    int here;
    kit_call_t *call = kit_call(&kit, 0);
    call->life.credited = false;
    call->life.owner = &here;
    kit_arrive(&kit, call);
    cr_assert(gi_credit_try(&call->life.credit, 1));
    gi_life_item(&call->life, "x", 1);
    cr_assert_eq(call->life.credit.items, 4, "the socket took it");
    call->queues = true;
    cr_assert(gi_credit_try(&call->life.credit, 1));
    gi_life_item(&call->life, "x", 1);
    cr_assert_eq(call->life.credit.items, 3);
    gi_life_unblock_all(&kit.core, &here);
    cr_assert_eq(call->life.credit.items, 4);
    kit_end(&kit);
}

/* ---- huge results -------------------------------------------------------- */
Test(life, a_huge_result_goes_on_alone) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->wants_bulk = true;
    kit_arrive(&kit, call);
    gi_life_returned(&call->life, GATE_OK, GI_LIFE_KEPT);
    kit_check(&kit);
    cr_assert_eq(call->life.state, GI_LIFE_BULK);
    gi_life_bulk_closed(&call->life, GATE_OK);
    gi_life_settle(&call->life);
    cr_assert_eq(call->over, 1);
    cr_assert_eq(call->answered, 0, "its last chunk was the answer");
    kit_check(&kit);
    kit_end(&kit);
}

/* Its caller left while the handler ran: nobody would read a chunk of it. */
Test(life, a_huge_result_that_nobody_reads_is_not_begun) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->wants_bulk = true;
    kit_arrive(&kit, call);
    gi_life_cancel(&call->life);
    kit_check(&kit);
    gi_life_returned(&call->life, GATE_OK, GI_LIFE_KEPT);
    kit_ended(&kit, call, GATE_CANCELLED, "the reader left");
    kit_end(&kit);
}

/* Begun by a handler or job that has not looked. */
Test(life, a_huge_result_that_begins_too_late_ends_with_its_handler) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    kit_arrive(&kit, call);
    gi_life_cancel(&call->life);
    gi_life_bulk_begun(&call->life);
    kit_check(&kit);
    gi_life_bulk_fed(&call->life);
    gi_life_returned(&call->life, GATE_OK, GI_LIFE_KEPT);
    cr_assert_eq(call->life.state, GI_LIFE_DONE);
    cr_assert_eq(call->over, 1);
    kit_end(&kit);
}

Test(life, a_huge_result_that_is_never_ended_is_cut) {
    kit_t kit;
    kit_new(&kit);
    kit_call_t *call = kit_call(&kit, 0);
    call->life.deadline_ms = 1200;
    kit_arrive(&kit, call);
    gi_life_bulk_begun(&call->life);
    gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_KEPT);
    kit_at(&kit, 2000);
    kit_ended(&kit, call, GATE_TIMEOUT, "no answer within");
    gi_life_bulk_fed(&call->life); /* too late */
    gi_life_settle(&call->life);
    kit_ended(&kit, call, GATE_TIMEOUT, "");
    kit_end(&kit);
}

/* ---- connections, the end ------------------------------------------------ */
Test(life, a_lost_connection_takes_its_callers_along) {
    kit_t kit;
    int here, there;
    kit_new(&kit);
    for (int i = 0; i < 4; i++) {
        kit_call_t *call = kit_call(&kit, i);
        call->life.owner = i % 2 ? &here : &there;
        kit_arrive(&kit, call);
        gi_life_returned(&call->life, GATE_KEPT, GI_LIFE_KEPT);
    }
    gi_service_core_lost(&kit.core, &here);
    kit_check(&kit);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(kit.calls[i].over, i % 2);
    kit_end(&kit);
    for (int i = 0; i < 4; i += 2)
        cr_assert_eq(kit.calls[i].outcome, GATE_WORKERLOST);
}
