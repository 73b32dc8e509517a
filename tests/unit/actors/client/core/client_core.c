/* SPDX-License-Identifier: BSD-3-Clause */
/* client_core.c -- the connection as the client's core sees it: what it asks,
 * what it says is wrong, when it tries anew, where calls go when it moves. */
#include "client_kit.h"

Test(connection, asks_first_what_the_broker_can_do) {
    kit_t k;
    bool ready;
    kit_start(&k, true);
    cr_expect(strstr(k.trouble, "no broker at tcp://here"), "%s", k.trouble);
    cr_expect_null(kit_take(&k));
    gi_client_core_connected(k.core, k.now);
    said_t *s = kit_take(&k);
    cr_assert(s && kit_is(s, 0, "") && kit_is(s, 1, "MDPC01") &&
              kit_is(s, 2, "Gate") && kit_is(s, 4, "\xa4info"));
    cr_expect(strstr(k.trouble, "answers nothing"), "%s", k.trouble);
    s = kit_take(&k);
    cr_assert(s && kit_is(s, 4, "\xacget_services"));
    cr_expect_eq(gi_client_core_ready(k.core, &ready), GATE_OK);
    cr_expect(!ready);
    kit_hear(&k, 0, s->frames[3], 1, &OK_FIVE);
    cr_expect_eq(gi_client_core_ready(k.core, &ready), GATE_OK);
    cr_expect(ready && !*k.trouble);
    kit_end(&k);
}

Test(connection, credentials_go_along_in_each_envelope) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    cr_assert_eq(gi_login_set(&k.login.user, "ann"), GATE_OK);
    cr_assert_eq(gi_login_set(&k.login.password, "secret"), GATE_OK);
    gi_client_core_connected(k.core, k.now);
    k.n_sent = 0;
    kit_one(&k, &c);
    said_t *s = kit_take(&k);
    cr_assert(s && kit_is(s, 3, "PLAIN") && kit_is(s, 4, "ann") &&
              kit_is(s, 5, "secret") &&
              kit_is(s, 7,
                     "\xa1"
                     "f"));
    kit_end(&k);
}

Test(connection, a_keepalive_where_nothing_else_was_said) {
    kit_t k;
    kit_start(&k, true);
    kit_up(&k);
    kit_pass(&k, KIT_HB - 100);
    cr_expect_null(kit_take(&k));
    kit_pass(&k, 200);
    cr_expect(kit_take_func(&k, "\xa9keepalive"));
    kit_end(&k);
}

Test(connection, silence_is_a_cut) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &c, false);
    c.call.timeout_ms = 60000;
    c.call.deadline_ms = k.now + 60000;
    kit_call(&k, &c);
    kit_pass(&k, KIT_HB * k.settings->mdp_heartbeat_liveness - 100);
    cr_expect_eq(k.reopens, 0);
    kit_pass(&k, 200);
    cr_expect_eq(k.reopens, 1);
    cr_expect(k.fresh);
    cr_expect(strstr(k.trouble, "was lost"), "%s", k.trouble);
    kit_pass(&k, 2 * KIT_HB + 100);
    failed(&c, GATE_LOST, "the connection to tcp://here was cut");
    counted(&k, "lost", 1);
    counted(&k, "reconnects", 1);
    kit_end(&k);
}

/* Everybody may have stood still, and what was sent is still unread. */
Test(connection, a_pause_of_our_own_is_no_silence) {
    kit_t k;
    int64_t window;
    kit_start(&k, true);
    kit_up(&k);
    window = KIT_HB * k.settings->mdp_heartbeat_liveness;
    k.now += 5 * window;
    gi_client_core_tick(k.core, k.now);
    cr_expect_eq(k.reopens, 0);
    kit_pass(&k, window - 100);
    cr_expect_eq(k.reopens, 0);
    kit_pass(&k, 200);
    cr_expect_eq(k.reopens, 1);
    kit_end(&k);
}

/* A ROUTER does not hear the second one. */
Test(trouble, another_client_may_have_our_identity) {
    kit_t k;
    kit_call_t c;
    char ours[] = "ours";
    kit_start(&k, true);
    k.login.identity = ours;
    gi_client_core_connected(k.core, k.now);
    kit_one(&k, &c);
    kit_pass(&k, 600);
    failed(&c, GATE_TIMEOUT, "another client has our identity");
    k.login.identity = NULL;
    kit_end(&k);
}

Test(connection, an_answer_after_a_cut_still_counts) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    gi_client_core_closed(k.core, 0, k.now);
    kit_up(&k);
    hear(&k, &c, OK_FIVE);
    cr_expect(c.answers == 1 && c.left == 1);
    kit_end(&k);
}

/* An item that was on its way is lost, and nothing says so: what comes then is no
 * whole stream. Its worker is told when the broker says that it can be. */
Test(connection, a_stream_ends_with_its_connection) {
    kit_t k;
    kit_call_t c;
    gi_ext_t ext;
    kit_start(&k, true);
    kit_up(&k);
    kit_stream(&k, &c);
    hear(&k, &c, STREAM, KIT_BYTES("\x01"));
    gi_client_core_closed(k.core, 0, k.now);
    gi_client_core_connected(k.core, k.now);
    hear(&k, &c, STREAM, KIT_BYTES("\x03"));
    cr_expect(c.items == 1 && c.fails == 0);
    kit_inform(&k, 2);
    failed(&c, GATE_LOST, "was cut while a call to Math was in flight");
    cr_assert(kit_take_ext(&k, &ext));
    cr_expect(ext.cancel);
    kit_end(&k);
}

Test(connection, nor_is_one_whole_that_comes_to_its_end) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_stream(&k, &c);
    gi_client_core_closed(k.core, 0, k.now);
    gi_client_core_connected(k.core, k.now);
    hear(&k, &c, STREAM, KIT_BYTES(GI_STREAM_END));
    failed(&c, GATE_LOST, "was cut");
    kit_end(&k);
}

Test(connection, chunks_of_a_huge_answer_are_parts_as_well) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &c);
    hear(&k, &c, HUGE, KIT_BYTES("chunk"));
    gi_client_core_closed(k.core, 0, k.now);
    kit_up(&k);
    failed(&c, GATE_LOST, "was cut");
    cr_expect_eq(c.chunks, 1);
    kit_end(&k);
}

/* As Python's broker does to whom it does not let in. */
Test(trouble, a_broker_that_never_spoke_has_cut_nothing) {
    kit_t k;
    kit_call_t short_one, long_one, stream;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    kit_one(&k, &short_one);
    kit_prepare(&k, &long_one, false);
    long_one.call.deadline_ms = k.now + 60000;
    long_one.call.timeout_ms = 60000;
    kit_call(&k, &long_one);
    kit_stream(&k, &stream);
    k.idle_ms = 0;
    kit_pass(&k, 600);
    failed(&short_one, GATE_TIMEOUT,
           "no answer from Math.f within 500 ms: the "
           "broker at tcp://here is connected and "
           "answers nothing");
    kit_pass(&k, KIT_HB * k.settings->mdp_heartbeat_liveness);
    cr_expect_eq(k.reopens, 1);
    kit_pass(&k, 2 * KIT_HB + 100);
    failed(&long_one, GATE_TIMEOUT, "answers nothing");
    failed(&stream, GATE_TIMEOUT, "answers nothing");
    counted(&k, "lost", 0);
    kit_end(&k);
}

Test(trouble, nobody_there_is_said_with_the_reason) {
    kit_t k;
    kit_call_t c;
    kit_start(&k, true);
    kit_one(&k, &c);
    gi_client_core_unreached(k.core, "Connection refused", k.now);
    cr_expect_str_eq(k.trouble, "no broker at tcp://here: Connection refused");
    kit_pass(&k, 600);
    failed(&c, GATE_TIMEOUT,
           "no answer from Math.f within 500 ms: no broker at "
           "tcp://here: Connection refused");
    kit_up(&k);
    gi_client_core_closed(k.core, 0, k.now);
    cr_expect_str_eq(k.trouble,
                     "the broker at tcp://here was lost: nobody answers there");
    gi_client_core_unreached(k.core, "No route to host", k.now);
    cr_expect_str_eq(k.trouble,
                     "the broker at tcp://here was lost: No route to host");
    kit_end(&k);
}

Test(trouble, a_refusal_is_told_at_once_and_tried_again) {
    kit_t k;
    kit_call_t before, after, then;
    bool ready;
    kit_start(&k, true);
    kit_one(&k, &before);
    gi_client_core_refused(k.core, "no key", k.now);
    kit_check(&k);
    failed(&before, GATE_REFUSED, "tcp://here does not let us in: no key");
    kit_one(&k, &after);
    failed(&after, GATE_REFUSED, "no key");
    cr_expect_eq(gi_client_core_ready(k.core, &ready), GATE_REFUSED);
    cr_expect_eq(k.closes, 1);
    cr_expect_eq(k.reopens, 0);
    kit_pass(&k, KIT_HB + 100);
    cr_expect_eq(k.reopens, 1);
    kit_up(&k);
    cr_expect_eq(gi_client_core_ready(k.core, &ready), GATE_OK);
    cr_expect(ready && !*k.trouble);
    kit_one(&k, &then);
    cr_expect(kit_take_func(&k, "\xa1"
                                "f"));
    kit_end(&k);
}

Test(trouble, a_broker_that_refuses_in_band_is_named) {
    kit_t k;
    bool ready;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    said_t *s = kit_take(&k);
    kit_hear(&k, 0, s->frames[3], 1, &DENIED);
    cr_expect_eq(gi_client_core_ready(k.core, &ready), GATE_REFUSED);
    cr_expect(*k.trouble);
    kit_end(&k);
}

Test(own, odd_answers_to_our_own_questions_do_no_harm) {
    static const gate_bytes_t odd[][3] = {{STREAM, {"\x01", 1}, {NULL, 0}},
                                          {STREAM, KIT_BYTES(GI_STREAM_END)},
                                          {HUGE, {"chunk", 5}},
                                          {HUGE, KIT_BYTES(GI_HUGE_END)},
                                          {HUGE, KIT_BYTES(GI_HUGE_EXCEPTION)}};
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        kit_t k;
        kit_start(&k, true);
        gi_client_core_connected(k.core, k.now);
        said_t *s = kit_take(&k);
        kit_hear(&k, 0, s->frames[3], 2, odd[i]);
        counted(&k, "dropped", 1);
        kit_end(&k);
    }
}

Test(own, what_passes_is_asked_again) {
    kit_t k;
    kit_start(&k, true);
    gi_client_core_connected(k.core, k.now);
    said_t *s = kit_take(&k);
    kit_hear(&k, 0, s->frames[3], 1, &UNAVAILABLE);
    k.n_sent = 0;
    kit_pass(&k, 2 * KIT_HB + 100);
    cr_expect(kit_take_func(&k, "\xa4info"));
    kit_end(&k);
}

/* ---- moving -------------------------------------------------------------- */
static void s_moved(kit_t *k) {
    static const unsigned char none[GI_ID_SIZE];
    kit_hear(k, 0, none, 1, &KIT_BYTES(GI_EXT_MAGIC "\x81\xa2mv\xc3"));
}

Test(move, what_is_under_way_stays_and_what_is_new_goes) {
    kit_t k;
    kit_call_t old, fresh;
    kit_start(&k, true);
    kit_up(&k);
    kit_one(&k, &old);
    s_moved(&k);
    cr_expect(k.moves == 1 && old.call.former == 1);
    cr_expect(!gi_client_core_former_over(k.core, 1));
    kit_one(&k, &fresh);
    cr_expect_eq(fresh.call.state, GI_CCALL_UNSENT);
    kit_up(&k);
    gi_client_core_tick(k.core, k.now);
    cr_expect_eq(fresh.call.state, GI_CCALL_SENT);
    hear(&k, &old, OK_FIVE);
    cr_expect_eq(old.answers, 1);
    cr_expect(gi_client_core_former_over(k.core, 1));
    hear(&k, &fresh, OK_FIVE);
    cr_expect_eq(fresh.answers, 1);
    kit_end(&k);
}

Test(move, a_former_broker_that_dies_cuts_its_calls_alone) {
    kit_t k;
    kit_call_t old, fresh;
    kit_start(&k, true);
    kit_up(&k);
    kit_prepare(&k, &old, false);
    old.call.deadline_ms = k.now + 60000;
    kit_call(&k, &old);
    s_moved(&k);
    kit_up(&k);
    kit_one(&k, &fresh);
    gi_client_core_closed(k.core, 1, k.now);
    cr_expect(gi_client_core_former_over(k.core, 1));
    hear(&k, &fresh, OK_FIVE);
    cr_expect_eq(fresh.answers, 1);
    kit_pass(&k, 2 * KIT_HB + 100);
    failed(&old, GATE_LOST, "was cut");
    kit_end(&k);
}

Test(move, not_beyond_the_former_ones_there_is_room_for) {
    kit_t k;
    kit_call_t c[GI_CFORMERS_MAX + 1];
    kit_start(&k, true);
    for (unsigned i = 0; i <= GI_CFORMERS_MAX; i++) {
        kit_up(&k);
        kit_one(&k, &c[i]);
        s_moved(&k);
    }
    cr_expect_eq(k.moves, GI_CFORMERS_MAX);
    counted(&k, "moves", GI_CFORMERS_MAX);
    kit_end(&k);
}

/* ---- numbers ------------------------------------------------------------- */
Test(stats, a_map_of_all_counters) {
    kit_t k;
    gi_buf_t out = {0};
    gate_value_t *value;
    unsigned n = 1; /* in_flight */
#define GI_C(name, meaning) n++;
#include "client/core/client_counters.def"
#undef GI_C
    kit_start(&k, true);
    gi_client_core_stats(k.core, 7, &out);
    cr_assert_eq(gate_value_decode(out.data, out.size, NULL, &value), GATE_OK);
    cr_expect_eq(gate_value_object(value)->via.map.size, n);
    gate_value_destroy(&value);
    gi_buf_fini(&out);
    kit_end(&k);
}

Test(life, no_memory_is_no_core) {
    kit_t k;
    kit_start(&k, false);
    cr_expect(strstr(k.trouble, "nobody in this process has bound it"));
    kit_end(&k);
}
