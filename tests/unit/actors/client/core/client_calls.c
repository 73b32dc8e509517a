/* SPDX-License-Identifier: BSD-3-Clause */
/* client_calls.c -- a call's life in the client's core: sent, answered, tried
 * again, cancelled, too late; its credit, its chunks both ways. */
#include "client_kit.h"

Test(calls, one_waits_for_a_connection_and_is_answered_once) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_one(&k, &c);
    cr_expect_null(kit_take(&k));
    gi_client_core_connected(k.core, k.now);
    gi_client_core_tick(k.core, k.now);
    said_t *s = kit_take_func(&k, "\xa1"
                                  "f");
    cr_assert(s && kit_is(s, 2, "Math") && kit_is(s, 5, "\x90") &&
              kit_is(s, 6, "\x80"));
    cr_expect_eq(memcmp(s->frames[3], c.call.id, GI_ID_SIZE), 0);
    hear(&k, &c, OK_FIVE);
    cr_expect(c.answers == 1 && c.left == 1);
    hear(&k, &c, OK_FIVE);
    cr_expect_eq(c.answers, 1);
    counted(&k, "late", 1);
    kit_end(&k);
}

Test(calls, those_that_wait_keep_their_order) {
    kit_t k;
    kit_call_t c[3];
    kit_start(&k, true);
    kit_up(&k);
    k.full = EAGAIN;
    for (int i = 0; i < 3; i++)
        kit_one(&k, &c[i]);
    k.full = 0;
    gi_client_core_tick(k.core, k.now);
    for (int i = 0; i < 3; i++) {
        said_t *s = kit_take(&k);
        cr_assert(s);
        cr_expect_eq(memcmp(s->frames[3], c[i].call.id, GI_ID_SIZE), 0, "%d",
                     i);
    }
    kit_end(&k);
}

Test(calls, a_deadline_ends_it_and_tells_its_worker) {
    kit_t k;
    kit_call_t c;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    kit_pass(&k, 450);
    cr_expect_eq(c.fails, 0);
    kit_pass(&k, 100);
    failed(&c, GATE_TIMEOUT, "no answer from Math.f within 500 ms");
    cr_expect_null(strchr(c.text, ':'), "%s", c.text);
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect(ext.cancel);
    counted(&k, "timeouts", 1);
    kit_end(&k);
}

Test(calls, one_without_any_time_is_not_sent) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &c, false);
    c.call.deadline_ms = k.now;
    gi_client_core_start(k.core, &c.call, k.now);
    gi_client_core_tick(k.core, k.now);
    cr_expect(c.fails == 1 && c.code == GATE_TIMEOUT);
    cr_expect_eq(k.n_sent, 0);
    kit_end(&k);
}

/* Its caller's clock passed a millisecond that the pass has not seen. */
Test(calls, nor_when_its_caller_is_ahead_of_the_pass) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &c, false);
    c.call.timeout_ms = 0;
    c.call.deadline_ms = k.now + 1;
    gi_client_core_start(k.core, &c.call, k.now);
    gi_client_core_tick(k.core, k.now);
    cr_expect(c.fails == 1 && c.code == GATE_TIMEOUT);
    cr_expect_eq(k.n_sent, 0);
    kit_end(&k);
}

/* Nor one whose items have no time each. */
Test(calls, nor_is_a_stream) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &c, true);
    c.call.timeout_ms = 0;
    c.call.deadline_ms = k.now + 1;
    gi_client_core_start(k.core, &c.call, k.now);
    gi_client_core_tick(k.core, k.now);
    cr_expect(c.fails == 1 && c.code == GATE_TIMEOUT);
    cr_expect_eq(k.n_sent, 0);
    kit_end(&k);
}

Test(calls, cancelled_once_and_never_again) {
    kit_t k;
    kit_call_t c;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    k.n_sent = 0;
    gi_client_core_cancel(k.core, &c.call, k.now);
    failed(&c, GATE_CANCELLED, "cancelled by its caller");
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect(ext.cancel);
    gi_client_core_cancel(k.core, &c.call, k.now);
    gi_client_core_credit(k.core, &c.call, 5, 5, k.now);
    gi_client_core_inflated(k.core, &c.call, GATE_OK, k.now);
    gi_client_core_abort(k.core, &c.call);
    cr_expect_null(kit_take(&k));
    kit_end(&k);
}

Test(calls, a_stream_ends_with_its_end_or_its_exception) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_stream(&k, &c);
    hear(&k, &c, STREAM, KIT_BYTES("\x01"));
    hear(&k, &c, STREAM, KIT_BYTES("\xc0"));
    hear(&k, &c, STREAM, KIT_BYTES(GI_STREAM_END));
    cr_expect(c.items == 2 && c.ends == 1 && c.left == 1);
    kit_stream(&k, &c);
    hear(&k, &c, STREAM, KIT_BYTES(GI_STREAM_EXCEPTION),
         KIT_BYTES("\x93\xaaValueError\xa5"
                   "value\xa0"));
    failed(&c, GATE_RAISED, "value");
    kit_one(&k, &c);
    hear(&k, &c, STREAM, KIT_BYTES("\x01"));
    failed(&c, GATE_BADARG, "open it with gate_client_open");
    kit_end(&k);
}

Test(calls, a_reader_that_takes_nothing_more_ends_its_stream) {
    kit_t k;
    kit_call_t c;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_stream(&k, &c);
    k.n_sent = 0;
    k.refuse = GATE_BUSY;
    hear(&k, &c, STREAM, KIT_BYTES("\x01"));
    failed(&c, GATE_BUSY, "refused by the test");
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect(ext.cancel);
    k.refuse = GATE_OK;
    kit_end(&k);
}

Test(calls, a_stream_that_nobody_reads_ends) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_stream(&k, &c);
    for (int i = 0; i < 5; i++)
        kit_pass(&k, 400);
    cr_expect_eq(c.fails, 0, "somebody reads");
    k.idle_ms = 600;
    kit_pass(&k, 600);
    failed(&c, GATE_TIMEOUT, "a stream of Math.f was not read for 500 ms");
    kit_end(&k);
}

Test(calls, a_stream_without_time_has_no_answer) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &c, true);
    c.call.timeout_ms = 0;
    c.call.deadline_ms = k.now;
    kit_call(&k, &c);
    k.idle_ms = 1;
    kit_pass(&k, 1);
    failed(&c, GATE_TIMEOUT, "no answer from Math.f within 0 ms");
    kit_end(&k);
}

Test(calls, all_end_when_the_client_is_closed_and_are_cancelled) {
    kit_t k;
    kit_call_t c[3], late;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c[0]);
    kit_stream(&k, &c[1]);
    k.full = EAGAIN;
    kit_one(&k, &c[2]);
    k.full = 0;
    k.n_sent = 0;
    cr_expect(gi_client_core_stop(k.core, k.now));
    for (int i = 0; i < 3; i++)
        failed(&c[i], GATE_CLOSED, "the client was closed");
    for (int i = 0; i < 2; i++) {
        cr_assert(kit_take_ext(&k, &ext));
        cr_expect(ext.cancel);
    }
    cr_expect_null(kit_take(&k), "the third was not sent");
    kit_one(&k, &late);
    failed(&late, GATE_CLOSED, "the client was closed");
    kit_end(&k);
}

Test(calls, no_more_than_there_is_room_for) {
    kit_t k;
    kit_call_t c[64];
    int refused = 0;
    kit_start(&k, true);
    for (int i = 0; i < 64; i++) {
        kit_one(&k, &c[i]);
        refused += c[i].fails;
    }
    cr_expect_eq(refused, 64 - 32); /* message_max and 16 */
    kit_end(&k);
}

/* ---- another try --------------------------------------------------------- */
Test(again, one_that_was_turned_away_is_sent_again) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &c, false);
    c.call.retries = 1;
    kit_call(&k, &c);
    k.n_sent = 0;
    hear(&k, &c, UNAVAILABLE);
    cr_expect_eq(c.answers, 0);
    cr_expect_eq(c.call.state, GI_CCALL_PAUSE);
    hear(&k, &c, OK_FIVE); /* of the first try: it ran not */
    cr_expect_eq(c.answers, 0);
    kit_pass(&k, 50);
    cr_expect(kit_take_func(&k, "\xa1"
                                "f"));
    hear(&k, &c, UNAVAILABLE);
    cr_expect_eq(c.answers, 1, "no try is left");
    counted(&k, "retries", 1);
    kit_end(&k);
}

Test(again, the_budget_holds_for_all) {
    kit_t k;
    kit_call_t c[16];
    kit_start(&k, true);
    k.settings->retry_budget = 0;
    kit_up(&k);
    for (int i = 0; i < 16; i++) {
        kit_prepare(&k, &c[i], false);
        c[i].call.retries = 1;
        kit_call(&k, &c[i]);
        hear(&k, &c[i], UNAVAILABLE);
    }
    counted(&k, "retries", 10);
    counted(&k, "retries_denied", 6);
    kit_end(&k);
}

/* ---- credit -------------------------------------------------------------- */
Test(credit, what_the_socket_does_not_take_is_owed_and_paid_once) {
    kit_t k;
    kit_call_t c;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_stream(&k, &c);
    k.n_sent = 0;
    k.full = EAGAIN;
    gi_client_core_credit(k.core, &c.call, 3, 30, k.now);
    gi_client_core_credit(k.core, &c.call, 4, 40, k.now);
    cr_expect(c.call.owed_items == 7 && c.call.owed_bytes == 70);
    k.full = 0;
    kit_pass(&k, 100);
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect(ext.credit_items == 7 && ext.credit_bytes == 70);
    kit_pass(&k, 300);
    cr_expect_null(kit_take(&k), "and not again");
    kit_end(&k);
}

/* It was late for ever while it owed something. */
Test(credit, one_that_owes_has_a_deadline_as_well) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    k.full = EAGAIN;
    hear(&k, &c, HUGE, KIT_BYTES("chunk"));
    cr_expect_gt(c.call.owed_bytes, 0);
    kit_pass(&k, 700);
    cr_expect_eq(c.fails, 1);
    cr_expect_eq(c.code, GATE_TIMEOUT);
    kit_end(&k);
}

Test(credit, none_to_a_broker_that_knows_none) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    kit_inform(&k, 0);
    kit_stream(&k, &c);
    k.n_sent = 0;
    gi_client_core_credit(k.core, &c.call, 3, 30, k.now);
    gi_client_core_cancel(k.core, &c.call, k.now);
    cr_expect_null(kit_take(&k));
    kit_end(&k);
}

/* ---- huge answers -------------------------------------------------------- */
Test(huge, each_chunk_is_a_sign_of_life) {
    kit_t k;
    kit_call_t c;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    k.n_sent = 0;
    for (int i = 0; i < 4; i++) {
        hear(&k, &c, HUGE, KIT_BYTES("chunk"));
        kit_pass(&k, 400);
    }
    cr_expect(c.begun == 1 && c.chunks == 4 && c.fails == 0);
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect_gt(ext.credit_bytes, 0);
    hear(&k, &c, HUGE, KIT_BYTES(GI_HUGE_END));
    cr_expect(c.chunk_ends == 1 && c.left == 0, "it is being inflated");
    c.answers++; /* the shell gives it */
    gi_client_core_inflated(k.core, &c.call, GATE_OK, k.now);
    cr_expect_eq(c.left, 1);
    kit_end(&k);
}

Test(huge, empty_chunks_are_silence) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    hear(&k, &c, HUGE, KIT_BYTES("chunk"));
    for (int i = 0; i < 4 && !c.fails; i++) {
        hear(&k, &c, HUGE, KIT_BYTES(""));
        kit_pass(&k, 200);
    }
    failed(&c, GATE_TIMEOUT, "no chunk of a huge result from Math.f");
    kit_end(&k);
}

Test(huge, what_cannot_be_inflated_ends_the_call) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    hear(&k, &c, HUGE, KIT_BYTES("chunk"));
    gi_client_core_inflated(k.core, &c.call, gi_err(GATE_BADDATA, "a bomb"),
                            k.now);
    failed(&c, GATE_BADDATA, "a bomb");
    kit_end(&k);
}

/* As gate-rpc's broker sends it: two messages. */
Test(huge, an_exception_whose_story_follows) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    kit_inform(&k, 0);
    kit_one(&k, &c);
    hear(&k, &c, HUGE, KIT_BYTES(GI_HUGE_EXCEPTION));
    cr_expect_eq(c.fails, 0);
    hear(&k, &c, HUGE,
         KIT_BYTES("\x93\xaaValueError\xa4"
                   "late\xa0"));
    failed(&c, GATE_RAISED, "late");
    kit_end(&k);
}

/* ---- another broker -------------------------------------------------------- */
/* Answers Gate.info: that is its name. */
static void s_meets(kit_t *k, char name) {
    char body[] =
        "\x82\xa9"
        "exception\xc0\xa6result\x81\xa5my_id\xc4\x10----------------";
    memset(body + sizeof body - 17, name, 16);
    said_t *s = kit_take_func(k, "\xa4info");
    cr_assert(s);
    kit_hear(k, 0, s->frames[3], 1, &(gate_bytes_t){body, sizeof body - 1});
    gi_client_core_tick(k->core, k->now);
    kit_check(k);
}

static void s_cut_between(kit_t *k, kit_call_t *c, bool stream, char before,
                          char after) {
    kit_start(k, true);
    gi_client_core_connected(k->core, k->now);
    s_meets(k, before);
    kit_prepare(k, c, stream);
    c->call.deadline_ms = k->now + 60000;
    kit_call(k, c);
    gi_client_core_closed(k->core, 0, k->now);
    k->n_sent = 0;
    gi_client_core_connected(k->core, k->now);
    s_meets(k, after);
}

Test(cut, ends_when_another_broker_answers) {
    for (int stream = 0; stream < 2; stream++) {
        kit_t k;
        kit_call_t c;
        s_cut_between(&k, &c, stream, 'a', 'b');
        if (stream)
            cr_expect_eq(c.fails, 1);
        else
            failed(&c, GATE_LOST, "was cut while a call");
        kit_end(&k);
    }
}

Test(cut, the_same_broker_may_still_answer) {
    kit_t k;
    kit_call_t c;
    s_cut_between(&k, &c, false, 'a', 'a');
    kit_pass(&k, 2 * KIT_HB - 100);
    cr_expect_eq(c.fails, 0);
    hear(&k, &c, OK_FIVE);
    cr_expect_eq(c.answers, 1);
    kit_end(&k);
}

/* ---- what goes along ------------------------------------------------------ */
/* With metadata: as much as a frame of extensions has room for. */
static void s_with_meta(kit_t *k, kit_call_t *c) {
    kit_prepare(k, c, false);
    c->call.body = (const unsigned char *)"\xa1"
                                          "f\x90\x80\x81\xa1k\xa1v";
    c->call.request.meta_size = 5;
    kit_call(k, c);
}

static said_t *s_the_call(kit_t *k) {
    gi_client_core_tick(k->core, k->now);
    return kit_take_func(k, "\xa1"
                            "f");
}

static bool s_has_meta(const said_t *s) {
    gi_ext_t ext;
    return s->n == 8 &&
           !gi_ext_parse((gate_bytes_t){s->frames[7], s->size[7]}, &ext) &&
           ext.meta.size == 5 &&
           memcmp(ext.meta.data, "\x81\xa1k\xa1v", 5) == 0;
}

Test(along, waits_until_the_broker_has_said_what_it_takes) {
    kit_t k;
    kit_call_t c, behind;
    kit_start(&k, true);
    s_with_meta(&k, &c);
    gi_client_core_connected(k.core, k.now);
    kit_one(&k, &behind);
    gi_client_core_tick(k.core, k.now);
    cr_expect_eq(c.call.state, GI_CCALL_UNSENT);
    cr_expect_eq(behind.call.state, GI_CCALL_UNSENT, "in order");
    kit_inform(&k, 1);
    said_t *s = s_the_call(&k);
    cr_assert(s && s_has_meta(s), "it was dropped");
    cr_expect(s_the_call(&k), "and the one behind it");
    kit_end(&k);
}

Test(along, what_needs_nothing_does_not_wait) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    kit_one(&k, &c);
    cr_expect_eq(c.call.state, GI_CCALL_SENT);
    kit_end(&k);
}

/* Credit of a stream, and a deadline that its worker is to keep. */
Test(along, is_more_than_metadata) {
    kit_t k;
    kit_call_t stream, timed;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    kit_stream(&k, &stream);
    kit_prepare(&k, &timed, false);
    timed.call.deadline_travels = true;
    kit_call(&k, &timed);
    kit_inform(&k, 1);
    for (int i = 0; i < 2; i++) {
        said_t *s = s_the_call(&k);
        cr_expect(s && s->n == 8, "without its extension frame");
    }
    kit_end(&k);
}

Test(along, a_broker_without_extensions_has_said_so) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    s_with_meta(&k, &c);
    kit_inform(&k, 0);
    said_t *s = s_the_call(&k);
    cr_expect(s && s->n == 7);
    kit_end(&k);
}

/* It answers the second question and not the first. */
Test(along, a_broker_that_will_not_say_delays_nothing) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    s_with_meta(&k, &c);
    said_t *s = kit_take_func(&k, "\xacget_services");
    cr_assert(s);
    kit_hear(&k, 0, s->frames[3], 1, &OK_FIVE);
    s = s_the_call(&k);
    cr_expect(s && s->n == 7);
    kit_end(&k);
}

Test(along, waits_no_longer_than_its_deadline) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    s_with_meta(&k, &c);
    kit_pass(&k, 600);
    failed(&c, GATE_TIMEOUT, "is connected and answers nothing");
    kit_inform(&k, 1);
    cr_expect_null(s_the_call(&k), "it is over");
    kit_end(&k);
}

/* ---- uploads ------------------------------------------------------------- */
#define CREDIT                        \
    KIT_BYTES(GI_EXT_MAGIC "\x81\xa2" \
                           "cb\x06")

static void s_upload(kit_t *k, kit_call_t *c) {
    kit_prepare(k, c, false);
    c->call.upload = GI_CUPLOAD_WAITS;
    c->call.args_size = 1000000;
    kit_call(k, c);
}

Test(upload, nothing_but_the_head_before_there_is_room) {
    kit_t k;
    kit_call_t c;
    const gate_bytes_t chunk = {"chunk", 5}, end = {NULL, 0};
    kit_start(&k, true);
    kit_up(&k);
    s_upload(&k, &c);
    said_t *s = kit_take(&k);
    cr_assert(s && s->n == 8 && kit_is(s, 5, "\x90") && kit_is(s, 6, "\x80"));
    cr_expect(!gi_client_core_may_upload(k.core, &c.call));
    hear(&k, &c, CREDIT);
    cr_expect_eq(c.uploads, 1);
    cr_expect(gi_client_core_may_upload(k.core, &c.call));
    k.full = EAGAIN;
    cr_expect_eq(gi_client_core_upload(k.core, &c.call, chunk),
                 GATE_WOULDBLOCK);
    k.full = 0;
    cr_expect_eq(gi_client_core_upload(k.core, &c.call, chunk), GATE_OK);
    cr_expect(gi_client_core_may_upload(k.core, &c.call), "one byte is left");
    cr_expect_eq(gi_client_core_upload(k.core, &c.call, chunk), GATE_OK);
    cr_expect(!gi_client_core_may_upload(k.core, &c.call));
    hear(&k, &c, CREDIT);
    cr_expect_eq(c.uploads, 1, "it runs already");
    cr_expect_eq(gi_client_core_upload(k.core, &c.call, end), GATE_OK);
    hear(&k, &c, CREDIT);
    cr_expect(!gi_client_core_may_upload(k.core, &c.call));
    counted(&k, "dropped", 1);
    for (int i = 0; i < 3; i++)
        s = kit_take(&k);
    cr_expect(s && kit_is(s, 4, GI_HUGE_TAG) && kit_is(s, 5, GI_HUGE_END));
    hear(&k, &c, OK_FIVE);
    cr_expect_eq(c.answers, 1);
    kit_end(&k);
}

Test(upload, a_plain_broker_takes_none) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    s_upload(&k, &c);
    cr_expect_eq(c.fails, 0, "it may be one of ours");
    kit_inform(&k, 1);
    gi_client_core_tick(k.core, k.now);
    failed(&c, GATE_TOOBIG,
           "in chunks, of which the broker at tcp://here "
           "knows nothing");
    kit_end(&k);
}

/* What it could do was forgotten with the connection; arguments were lost. */
Test(upload, a_new_broker_is_asked_first) {
    static const unsigned char none[GI_ID_SIZE];
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_hear(&k, 0, none, 1, &KIT_BYTES(GI_EXT_MAGIC "\x81\xa2mv\xc3"));
    gi_client_core_connected(k.core, k.now);
    s_upload(&k, &c);
    cr_expect_eq(c.call.state, GI_CCALL_UNSENT);
    kit_inform(&k, 2);
    gi_client_core_tick(k.core, k.now);
    said_t *s = kit_take_func(&k, "\xa1"
                                  "f");
    cr_assert(s);
    cr_expect_eq(s->n, 8, "with its sizes");
    kit_end(&k);
}

Test(upload, a_cut_stops_it) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    s_upload(&k, &c);
    hear(&k, &c, CREDIT);
    gi_client_core_closed(k.core, 0, k.now);
    kit_up(&k);
    cr_expect(!gi_client_core_may_upload(k.core, &c.call));
    kit_end(&k);
}

/* ---- ids ----------------------------------------------------------------- */
Test(ids, what_is_not_ours_is_not_answered) {
    kit_t k;
    kit_call_t c;
    unsigned char id[GI_ID_SIZE];
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    k.n_sent = 0;
    memset(id, 'x', sizeof id);
    kit_hear(&k, 0, id, 1, &CREDIT);
    cr_expect_null(kit_take(&k), "nothing is repeated that a broker made up");
    hear(&k, &c, OK_FIVE);
    hear(&k, &c, CREDIT); /* its worker waits for one that has ended */
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect(ext.cancel);
    kit_end(&k);
}
