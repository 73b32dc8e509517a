/* SPDX-License-Identifier: BSD-3-Clause */
/* Idempotent calls run again when their worker is lost; deadlines. */
#include "broker_kit.h"

/* {"im": "e,f,gg"} */
#define EXT_IM           \
    EXT "\x81\xa2im\xa6" \
        "e,f,gg"
#define EXT_A2     \
    EXT "\x81\xa1" \
        "a\x02"
#define EXT_A3     \
    EXT "\x81\xa1" \
        "a\x03"
#define EXT_T EXT "\x81\xa1t\xcd\x03\xe8" /* {"t": 1000} */
#define BODY \
    "\xa1"   \
    "f",     \
        "\x90", "\x80"
#define got_run(k, w, c, id, ext) \
    got(k, w, "", "MDPW01", "\2", c, "", id, BODY, ext)

static void s_worker(kit_t *k, const char *w, const char *line) {
    kit_worker(k, w, line);
    say(k, BACK, w, "", "MDPW01", "\4", EXT_IM);
}

/* Two workers of ours; the call "1" is at the first one. */
static void s_begin(kit_t *k) {
    kit_begin(k);
    s_worker(k, "w1", "S:d:9");
    request(k, "c", "S", "1");
    got_request(k, "w1", "c", "1");
    s_worker(k, "w2", "S:d:9");
}

Test(again, a_worker_that_says_goodbye) {
    kit_t k;
    s_begin(&k);
    bye(&k, "w1");
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    got_nothing(&k, "c");
    reply(&k, "w1", "c", "1", "late");
    got_nothing(&k, "c");
    reply(&k, "w2", "c", "1\2", "x");
    got_reply(&k, "c", "S", "1", "x");
    got_nothing(&k, "c");
    counted(&k, "ran_again", 1);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(again, a_worker_whose_connection_is_closed) {
    kit_t k;
    s_begin(&k);
    k.gone[0] = "w1";
    kit_wait(&k, HB + 10);
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    reply(&k, "w2", "c", "1\2", "x");
    got_reply(&k, "c", "S", "1", "x");
    kit_end(&k);
}

Test(again, a_silent_worker_that_comes_back) {
    kit_t k;
    s_begin(&k);
    for (int i = 0; i < 4; i++) {
        kit_wait(&k, HB);
        beat(&k, "w2");
    }
    counted(&k, "workers_expired", 1);
    counted(&k, "ran_again", 1);
    reply(&k, "w1", "c", "1", "late");
    reply(&k, "w2", "c", "1\2", "x");
    got_reply(&k, "c", "S", "1", "x");
    got_nothing(&k, "c");
    ready(&k, "w1", "S:d:9");
    reply(&k, "w1", "c", "1", "later");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(again, three_runs_at_most) {
    kit_t k;
    s_begin(&k);
    bye(&k, "w1");
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    s_worker(&k, "w3", "S:d:9");
    bye(&k, "w2");
    got_run(&k, "w3", "c", "1\3", EXT_A3);
    s_worker(&k, "w4", "S:d:9");
    bye(&k, "w3");
    got_error(&k, "c", "1", "WorkerLostError", "lost");
    got_nothing(&k, "w4");
    counted(&k, "ran_again", 2);
    kit_end(&k);
}

Test(again, other_methods_are_lost_with_their_worker) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:9");
    say(&k, FRONT, "c", "", "MDPC01", "S", "1",
        "\xa1"
        "g",
        "\x90", "\x80");
    say(&k, FRONT, "c", "", "MDPC01", "S", "2", "\xc1", "\x90");
    request(&k, "c", "S", "3");
    s_worker(&k, "w2", "S:d:9");
    bye(&k, "w1");
    got_error(&k, "c", "1", "WorkerLostError", "lost");
    got_error(&k, "c", "2", "WorkerLostError", "lost");
    got_nothing(&k, "c");
    got_run(&k, "w2", "c", "3\2", EXT_A2);
    counted(&k, "ran_again", 1);
    kit_end(&k);
}

Test(again, nobody_announced_nothing_runs_again) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:9");
    request(&k, "c", "S", "1");
    s_worker(&k, "w2", "S:d:9");
    bye(&k, "w1");
    got_error(&k, "c", "1", "WorkerLostError", "lost");
    kit_end(&k);
}

Test(again, the_last_announcement_holds) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:9");
    hello(&k, "w1");
    request(&k, "c", "S", "1");
    s_worker(&k, "w2", "S:d:9");
    bye(&k, "w1");
    got_error(&k, "c", "1", "WorkerLostError", "lost");
    kit_end(&k);
}

Test(again, a_stream_that_has_begun_is_lost) {
    kit_t k;
    s_begin(&k);
    reply(&k, "w1", "c", "1", STREAM, "\x01");
    got_reply(&k, "c", "S", "1", STREAM, "\x01");
    bye(&k, "w1");
    got_tagged_error(&k, "c", "1", "WorkerLostError", "lost");
    kit_end(&k);
}

Test(again, a_stream_that_has_not_begun_runs_again) {
    kit_t k;
    s_begin(&k);
    bye(&k, "w1");
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    reply(&k, "w2", "c", "1\2", STREAM, "\x01");
    reply(&k, "w2", "c", "1\2", STREAM, GI_STREAM_END);
    got_reply(&k, "c", "S", "1", STREAM, "\x01");
    got_reply(&k, "c", "S", "1", STREAM, GI_STREAM_END);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(again, a_cancelled_call_does_not) {
    kit_t k;
    s_begin(&k);
    control(&k, "c", "1", CANCEL);
    bye(&k, "w1");
    got_nothing(&k, "w2");
    got_nothing(&k, "c");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(again, it_is_cancelled_where_it_runs) {
    kit_t k;
    s_begin(&k);
    bye(&k, "w1");
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    control(&k, "c", "1", CANCEL);
    got(&k, "w2", "", "MDPW01", "\6", "c", "", "1\2", CANCEL);
    kit_end(&k);
}

Test(again, it_waits_for_room_ahead_of_the_others) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w1", "c", "1");
    s_worker(&k, "w2", "S:d:1");
    request(&k, "c", "S", "2");
    got_request(&k, "w2", "c", "2");
    request(&k, "c", "S", "3");
    bye(&k, "w1");
    got_nothing(&k, "w2");
    reply(&k, "w2", "c", "2", "x");
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    reply(&k, "w2", "c", "1\2", "x");
    got_request(&k, "w2", "c", "3");
    kit_end(&k);
}

Test(again, a_plain_worker_takes_over_unknowing) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT_T);
    got_run(&k, "w1", "c", "1", EXT_T);
    kit_worker(&k, "w2", "S:d:9");
    bye(&k, "w1");
    got_request(&k, "w2", "c", "1");
    kit_end(&k);
}

Test(again, the_time_left_shrinks) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT_T);
    got_run(&k, "w1", "c", "1", EXT_T);
    s_worker(&k, "w2", "S:d:9");
    kit_wait(&k, 400);
    bye(&k, "w1");
    got_run(&k, "w2", "c", "1\2",
            EXT "\x82\xa1t\xcd\x02\x58\xa1"
                "a\x02");
    kit_end(&k);
}

Test(again, nothing_runs_after_its_callers_time) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT_T);
    got_run(&k, "w1", "c", "1", EXT_T);
    s_worker(&k, "w2", "S:d:9");
    kit_wait(&k, HB);
    kit_forget(&k);
    bye(&k, "w1");
    got_nothing(&k, "w2");
    got_error(&k, "c", "1", "TimeoutError", "deadline");
    counted(&k, "expired", 1);
    kit_end(&k);
}

Test(again, a_call_that_waited_has_less_time) {
    kit_t k;
    kit_begin(&k);
    s_worker(&k, "w1", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w1", "c", "1");
    request_ext(&k, "c", "S", "2", EXT_T);
    kit_wait(&k, 400);
    reply(&k, "w1", "c", "1", "x");
    got_run(&k, "w1", "c", "2", EXT "\x81\xa1t\xcd\x02\x58");
    kit_end(&k);
}

/* ---- lives --------------------------------------------------------------- */
/* w1 has died and come again, w2 was between: what w1's first life still says
 * of the call is no answer of its second. */
Test(again, a_late_answer_of_an_earlier_run_is_none) {
    kit_t k;
    s_begin(&k);
    bye(&k, "w1");
    got_run(&k, "w2", "c", "1\2", EXT_A2);
    s_worker(&k, "w1", "S:d:9");
    bye(&k, "w2");
    got_run(&k, "w1", "c", "1\3", EXT_A3);
    reply(&k, "w1", "c", "1", "of the first life");
    reply(&k, "w1", "c", "1\2", "of nobody's");
    got_nothing(&k, "c");
    counted(&k, "replies_unknown", 2);
    reply(&k, "w1", "c", "1\3", "x");
    got_reply(&k, "c", "S", "1", "x");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

#define EPOCH(n)   \
    EXT "\x81\xa1" \
        "e" n

Test(again, another_life_under_an_identity_is_told_apart) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:d:9");
    say(&k, BACK, "w1", "", "MDPW01", "\4", EPOCH("\x05"));
    say(&k, BACK, "w1", "", "MDPW01", "\4", EPOCH("\x05"));
    counted(&k, "epochs_differ", 0);
    request(&k, "c", "S", "1");
    got_request(&k, "w1", "c", "1");
    say(&k, BACK, "w1", "", "MDPW01", "\4", EPOCH("\x06"));
    got(&k, "w1", "", "MDPW01", "\5");
    got_error(&k, "c", "1", "WorkerLostError", "another life");
    counted(&k, "epochs_differ", 1);
    ready(&k, "w1", "S:d:9");
    reply(&k, "w1", "c", "1", "late");
    got_nothing(&k, "c");
    kit_end(&k);
}

/* ---- how often ----------------------------------------------------------- */
/* {"im": "f=5"} */
#define EXT_IM5          \
    EXT "\x81\xa2im\xa3" \
        "f=5"

static int s_runs_until_lost(kit_t *k) {
    char name[8] = "v1", next[8];
    int runs = 1;
    kit_worker(k, name, "S:d:9");
    say(k, BACK, name, "", "MDPW01", "\4", EXT_IM5);
    request(k, "c", "S", "1");
    for (; runs < 20; runs++) {
        uint64_t before = gi_broker_core_count(k->core, "ran_again");
        snprintf(next, sizeof next, "v%d", runs + 1);
        kit_worker(k, next, "S:d:9");
        say(k, BACK, next, "", "MDPW01", "\4", EXT_IM5);
        bye(k, name);
        if (gi_broker_core_count(k->core, "ran_again") == before)
            break;
        strcpy(name, next);
    }
    got_error(k, "c", "1", "WorkerLostError", "lost");
    return runs;
}

Test(again, as_often_as_the_service_says) {
    kit_t k;
    kit_begin(&k);
    cr_expect_eq(s_runs_until_lost(&k), 5);
    kit_end(&k);
}

Test(again, but_never_more_often_than_the_setting) {
    kit_t k;
    kit_init(&k);
    k.settings->attempts_max = 2;
    kit_start(&k);
    cr_expect_eq(s_runs_until_lost(&k), 2);
    kit_end(&k);
}

/* ---- priority ------------------------------------------------------------ */
/* {"m": {"priority": "high"}} */
#define EXT_HIGH        \
    EXT "\x81\xa1m\x81" \
        "\xa8priority\xa4high"
#define EXT_LOW         \
    EXT "\x81\xa1m\x81" \
        "\xa8priority\xa3low"

Test(again, urgent_calls_overtake_where_they_wait) {
    static const struct {
        const char *id, *ext;
    } calls[] = {{"2", NULL}, {"3", EXT_LOW},  {"4", EXT_HIGH},
                 {"5", NULL}, {"6", EXT_HIGH}, {"7", EXT_HIGH}};
    static const char order[] = "467235";
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w1", "c", "1");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].ext)
            request_ext(&k, "c", "S", calls[i].id, calls[i].ext);
        else
            request(&k, "c", "S", calls[i].id);
    control(&k, "c", "7", CANCEL); /* the last of the urgent ones leaves */
    request_ext(&k, "c", "S", "7", EXT_HIGH);
    reply(&k, "w1", "c", "1", "x");
    for (const char *p = order; *p; p++) {
        char id[2] = {*p, 0};
        got_request(&k, "w1", "c", id);
        reply(&k, "w1", "c", id, "x");
    }
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}
