/* SPDX-License-Identifier: BSD-3-Clause */
/* Peers whose connection closes: clients that are looked for, plain workers that
 * are suspended and come back under their id without a word. */
#include "broker_kit.h"

/* A reply to a request that nobody made. */
static bool s_got_probe(kit_t *k, const char *to) {
    static const char none[16];
    said_t *m = kit_take(k, to);
    bool is = m && m->n == 5 && kit_frame_is(m, 2, "Gate") &&
              m->f[3].size == 16 && memcmp(m->f[3].data, none, 16) == 0 &&
              kit_frame_is(m, 4, "\xc0");
    free(m);
    return is;
}

#define request_fd(k, c, fd, id) \
    say_fd(k, FRONT, c, fd, "", "MDPC01", "S", id, "\xa1g")
#define got_g(k, w, c, id) got(k, w, "", "MDPW01", "\2", c, "", id, "\xa1g")
#define ready_fd(k, w, fd, line) \
    say_fd(k, BACK, w, fd, "", "MDPW01", "\1", line)
#define beat_fd(k, w, fd) say_fd(k, BACK, w, fd, "", "MDPW01", "\4")

#define EIGHT_ITEMS   \
    "\xc1GX1\x81\xa2" \
    "ci\x08"

/* ---- clients ------------------------------------------------------------- */
/* Nothing is sent to it, so nothing but its closed connection tells. */
Test(away, a_dead_clients_calls_are_cancelled_within_a_heartbeat) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:1");
    k.open[21] = 7;
    request_fd(&k, "c", 21, "1");
    request_fd(&k, "c", 21, "2"); /* waits */
    got_g(&k, "w", "c", "1");
    k.gone[0] = "c";
    kit_closed(&k, FRONT, 21);
    got_nothing(&k, "w");
    kit_wait(&k, HB);
    got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    counted(&k, "orphaned", 2);
    reply(&k, "w", "c", "1", "x");
    cr_expect(gi_broker_core_idle(k.core));
    request(&k, "d", "S", "3"); /* the credit came back */
    while (kit_got(&k, "w", "", "MDPW01", "\4", HELLO, NULL))
        ;
    got_nothing(&k, "c");
    reply(&k, "w", "d", "3", "x");
    got_reply(&k, "d", "S", "3", "x");
    kit_end(&k);
}

static void s_ask_info(kit_t *k, const char *who, int fd) {
    say_fd(k, FRONT, who, fd, "", "MDPC01", "Gate", "9", "\xa4info", "\x90",
           "\x80");
    free(kit_take(k, who));
}

/* Its first chunks were lost, and the client, which has given no credit yet,
 * knows nothing of them: one of ours is told when it comes again; Python's reads
 * on. */
Test(away, a_huge_answer_that_has_begun_ends_with_its_connection) {
    for (int ours = 0; ours < 2; ours++) {
        kit_t k;
        kit_begin(&k);
        kit_ext_worker(&k, "w", "S:d:9");
        if (ours)
            s_ask_info(&k, "c", 21);
        request_fd(&k, "c", 21, "1");
        request_fd(&k, "c", 21, "2"); /* it may be answered yet */
        got_g(&k, "w", "c", "1");
        got_g(&k, "w", "c", "2");
        reply(&k, "w", "c", "1", HUGE_, "chunk");
        got_reply(&k, "c", "S", "1", HUGE_, "chunk");
        kit_closed(&k, FRONT, 21);
        request_fd(&k, "c", 22, "3");
        if (ours) {
            said_t *m = kit_take(&k, "c");
            cr_assert(m && m->n == 7 && kit_frame_is(m, 4, HUGE_) &&
                      kit_frame_is(m, 5, GI_STREAM_EXCEPTION));
            cr_expect(
                memmem(m->f[6].data, m->f[6].size, "ConnectionLostError", 19));
            free(m);
            got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
        }
        got_g(&k, "w", "c", "3");
        got_nothing(&k, "c");
        reply(&k, "w", "c", "2", "x");
        got_reply(&k, "c", "S", "2", "x");
        kit_end(&k);
    }
}

/* Items on their way were lost, or a cancel, and nobody can tell. */
Test(away, a_stream_ends_with_the_connection_that_it_was_sent_over) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    say_fd(&k, FRONT, "c", 21, "", "MDPC01", "S", "1", "\xa1g", "\x90", "\x80",
           EIGHT_ITEMS);
    got(&k, "w", "", "MDPW01", "\2", "c", "", "1", "\xa1g", "\x90", "\x80",
        EIGHT_ITEMS);
    request_fd(&k, "c", 21, "2"); /* it may be answered yet */
    got_g(&k, "w", "c", "2");
    kit_closed(&k, FRONT, 21);
    request_fd(&k, "c", 22, "3");
    got_error(&k, "c", "1", "ConnectionLostError", "some of it may be lost");
    got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    got_g(&k, "w", "c", "3");
    reply(&k, "w", "c", "1", "late");
    reply(&k, "w", "c", "2", "x");
    got_reply(&k, "c", "S", "2", "x");
    kit_end(&k);
}

/* Python's client goes on with what comes over its next connection: with items
 * missing it would end as if whole. One that stood still has them all. */
static void s_cut_after(int64_t ms, bool torn) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request_fd(&k, "c", 21, "1");
    got_g(&k, "w", "c", "1");
    reply(&k, "w", "c", "1", STREAM, "\x01");
    got_reply(&k, "c", "S", "1", STREAM, "\x01");
    k.now += ms;
    kit_closed(&k, FRONT, 21);
    request_fd(&k, "c", 22, "2");
    if (torn) {
        said_t *m = kit_take(&k, "c");
        cr_assert(m && m->n == 7 && kit_frame_is(m, 4, STREAM) &&
                  kit_frame_is(m, 5, GI_STREAM_EXCEPTION));
        cr_expect(
            memmem(m->f[6].data, m->f[6].size, "ConnectionLostError", 19));
        free(m);
    }
    got_g(&k, "w", "c", "2");
    reply(&k, "w", "c", "1", STREAM, "\x02");
    if (!torn)
        got_reply(&k, "c", "S", "1", STREAM, "\x02");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(away, a_plain_stream_that_moved_ends_with_its_connection) {
    s_cut_after(0, true);
    s_cut_after(1999, true);
    s_cut_after(2000, false);
}

/* It has a call before it has said that it can be told. */
Test(away, a_worker_that_introduces_itself_late_is_told_then) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
    got_beat(&k, "w");
    k.open[21] = 7;
    request_fd(&k, "c", 21, "1");
    got_g(&k, "w", "c", "1");
    k.gone[0] = "c";
    kit_closed(&k, FRONT, 21);
    kit_wait(&k, HB);
    counted(&k, "orphaned", 1);
    kit_forget(&k);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4", HELLO);
    got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4", HELLO);
    got_nothing(&k, "w"); /* once */
    reply(&k, "w", "c", "1", "x");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(away, a_dead_clients_calls_at_a_plain_worker_keep_their_slots) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    k.open[21] = 7;
    request_fd(&k, "c", 21, "1");
    got_g(&k, "w", "c", "1");
    k.gone[0] = "c";
    kit_closed(&k, FRONT, 21);
    kit_wait(&k, HB);
    counted(&k, "orphaned", 1);
    request(&k, "d", "S", "2"); /* it still runs the other: waits */
    kit_forget(&k);
    reply(&k, "w", "c", "1", "x");
    got_request(&k, "w", "d", "2");
    kit_end(&k);
}

/* It may never answer: its slot comes back in the end, and an answer then
 * answers nothing. */
Test(away, a_plain_worker_that_never_answers_has_its_slot_back) {
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        kit_t k;
        kit_begin(&k);
        kit_worker(&k, "w", "S:d:1");
        k.open[21] = 7;
        request_fd(&k, "c", 21, "1");
        got_g(&k, "w", "c", "1");
        if (cancelled) {
            say_fd(&k, FRONT, "c", 21, "", "MDPC01", "S", "1", CANCEL);
        } else {
            k.gone[0] = "c";
            kit_closed(&k, FRONT, 21);
        }
        int64_t end = k.now + gi_settings_reply_timeout_ms(k.settings) + 2 * HB;
        while (k.now < end) {
            counted(&k, "abandoned", 0);
            kit_wait(&k, HB / 2);
            beat(&k, "w");
            if (gi_broker_core_idle(k.core))
                break;
        }
        counted(&k, "abandoned", 1);
        cr_expect(gi_broker_core_idle(k.core));
        kit_forget(&k);
        request(&k, "d", "S", "2");
        got_request(&k, "w", "d", "2");
        reply(&k, "w", "c", "1", "x");
        got_nothing(&k, "c");
        counted(&k, "replies_unknown", 1);
        reply(&k, "w", "d", "2", "x");
        got_reply(&k, "d", "S", "2", "x");
        kit_end(&k);
    }
}

Test(away, a_client_that_is_back_has_lost_nothing) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    k.open[21] = 7;
    for (int i = 1; i <= 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        request_fd(&k, "c", 21, id);
    }
    k.gone[0] = "c";
    kit_closed(&k, FRONT, 21);
    reply(&k, "w", "c", "1", "x"); /* while it is away: waits for it */
    kit_wait(&k, HB / 4);
    got_nothing(&k, "c");
    k.gone[0] = NULL; /* libzmq has mended it; it has not spoken */
    kit_wait(&k, HB / 4);
    gi_broker_core_retry(k.core, 9, k.now);
    got_reply(&k, "c", "S", "1", "x");
    reply(&k, "w", "c", "2", "y");
    got_reply(&k, "c", "S", "2", "y");
    for (int i = 0; i < 9; i++) {
        kit_wait(&k, HB / 2);
        beat(&k, "w");
    }
    kit_forget(&k); /* probes, once a heartbeat */
    reply(&k, "w", "c", "3", "z");
    got_reply(&k, "c", "S", "3", "z");
    counted(&k, "orphaned", 0);
    kit_end(&k);
}

/* It is back, and dies before it has said a word. */
Test(away, who_is_back_and_silent_is_looked_for_again) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    k.open[21] = 7;
    request_fd(&k, "c", 21, "1");
    kit_closed(&k, FRONT, 21);
    kit_wait(&k, HB / 2);
    cr_expect(s_got_probe(&k, "c"));
    got_nothing(&k, "c");
    k.gone[0] = "c";
    beat(&k, "w");
    kit_wait(&k, 2 * HB);
    counted(&k, "orphaned", 1);
    kit_end(&k);
}

/* Another connection had the descriptor before, or the event is an old one. */
Test(away, an_innocent_clients_calls_stay) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    k.open[21] = 7;
    request_fd(&k, "c", 21, "1");
    gi_broker_core_closed(k.core, FRONT, 21, k.now);
    kit_wait(&k, 2 * HB);
    got_nothing(&k, "c"); /* not even a probe */
    reply(&k, "w", "c", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    counted(&k, "orphaned", 0);
    kit_end(&k);
}

/* The descriptor has another peer now: whoever had it is gone or elsewhere. */
Test(away, a_descriptor_that_somebody_else_has_tells_too) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    k.open[21] = 7;
    request_fd(&k, "c", 21, "1");
    k.gone[0] = "c";
    k.open[21] = 8;
    request_fd(&k, "d", 21, "2");
    kit_wait(&k, HB);
    counted(&k, "orphaned", 1);
    kit_end(&k);
}

/* What comes would be taken for the answer. */
Test(away, a_req_socket_gets_no_probe) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    k.open[21] = 7;
    k.strict = "c";
    request_fd(&k, "c", 21, "1");
    kit_closed(&k, FRONT, 21);
    kit_wait(&k, 2 * HB);
    got_nothing(&k, "c");
    reply(&k, "w", "c", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    kit_end(&k);
}

/* ---- plain workers ------------------------------------------------------- */
Test(suspended, a_cut_connection_costs_a_plain_worker_nothing) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    k.gone[0] = "w";
    kit_closed(&k, BACK, 11);
    counted(&k, "suspended", 1);
    request(&k, "c", "S", "2"); /* waits for it */
    got_nothing(&k, "c");
    kit_wait(&k, HB / 4);
    k.gone[0] =
        NULL; /* mended: it is asked, and gets nothing before it speaks */
    kit_wait(&k, HB / 4);
    got_beat(&k, "w");
    k.open[12] = 8;
    kit_forget(&k);
    beat_fd(&k, "w", 12);
    got_request(&k, "w", "c", "2");
    reply(&k, "w", "c", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    counted(&k, "workers_lost", 0);
    counted(&k, "disconnects", 0);
    kit_end(&k);
}

/* The request was lost with the connection and nobody will ever answer it. */
Test(suspended, a_call_that_was_lost_on_the_way_ends_in_time) {
    kit_t k;
    kit_init(&k);
    k.settings->reply_timeout = 20;
    kit_start(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:1");
    request(&k, "c", "S", "1");
    for (unsigned cut = 0; cut < 3; cut++) { /* later ones give no more time */
        k.gone[0] = "w";
        kit_closed(&k, BACK, 11);
        k.gone[0] = NULL;
        for (int i = 0; i < 5; i++) {
            k.open[11] = 8 + cut;
            beat_fd(&k, "w", 11);
            kit_wait(&k, HB);
        }
    }
    kit_forget(&k);
    got_nothing(&k, "c");
    for (int i = 0; i < 6; i++) {
        beat_fd(&k, "w", 11);
        kit_wait(&k, HB);
    }
    got_error(
        &k, "c", "1", "WorkerLostError",
        "The connection to the worker was cut, and no answer came since.");
    kit_forget(&k);
    request(&k, "c", "S", "2"); /* its slot is free */
    got_request(&k, "w", "c", "2");
    kit_end(&k);
}

/* Its answer comes over the new connection before the old one's end is known. */
Test(suspended, a_reply_over_another_connection_is_an_answer) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    request(&k, "c", "S", "1");
    k.open[12] = 8;
    say_fd(&k, BACK, "w", 12, "", "MDPW01", "\3", "c", "", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    counted(&k, "workers_lost", 0);
    kit_end(&k);
}

Test(suspended, a_stream_across_a_cut_ends_with_an_error) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:3");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\3", "c", "", "1", STREAM, "\x01");
    got_reply(&k, "c", "S", "1", STREAM, "\x01");
    kit_closed(&k, BACK, 11);
    kit_wait(&k, 50);
    got_tagged_error(&k, "c", "1", "WorkerLostError", "items may be missing");
    k.open[12] = 8;
    beat_fd(&k, "w", 12);
    say_fd(&k, BACK, "w", 12, "", "MDPW01", "\3", "c", "", "1", STREAM, "\x02");
    got_nothing(&k, "c");
    /* had begun before, for all that is known */
    say_fd(&k, BACK, "w", 12, "", "MDPW01", "\3", "c", "", "2", STREAM, "\x05");
    got_tagged_error(&k, "c", "2", "WorkerLostError", "items may be missing");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

/* Nobody would give the slot back: its end may have been lost with the cut. */
/* The event comes later, or after the whole stream. */
Test(suspended, a_stream_over_the_same_descriptor_ends_with_an_error) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:3");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    k.open[11] = 8; /* its first items went with the other one */
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\3", "c", "", "1", STREAM, "\x05");
    got_tagged_error(&k, "c", "1", "WorkerLostError", "items may be missing");
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\3", "c", "", "2", "x");
    got_reply(&k, "c", "S", "2", "x");
    request(&k, "c", "S", "3");
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\3", "c", "", "3", STREAM, "\x01");
    got_reply(&k, "c", "S", "3", STREAM, "\x01");
    counted(&k, "workers_lost", 0);
    kit_end(&k);
}

Test(suspended, an_abandoned_call_gives_its_slot_back_at_the_cut) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    control(&k, "c", "1", CANCEL);
    kit_closed(&k, BACK, 11);
    control(&k, "c", "2", CANCEL);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

/* It has moved without a right word, its new connection is said to be closed,
 * and somebody else has the descriptor before it was looked at (found by
 * fuzz_broker_core: nobody looked at it ever again, and its calls waited). */
Test(suspended,
     whose_descriptor_is_taken_while_it_is_suspended_is_lost_in_time) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    k.open[12] = 8;
    ready_fd(&k, "w", 11, "S:d:1");
    say_fd(&k, BACK, "w", 12, "", "MDPW01", "\7");
    counted(&k, "suspended", 1);
    gi_broker_core_closed(k.core, BACK, 12, k.now); /* an old event */
    kit_check(&k);
    request(&k, "c", "S", "1"); /* waits for it */
    k.open[12] = 9;
    beat_fd(&k, "v", 12);
    kit_wait(&k, HB);
    got_error(&k, "c", "1", "ServiceUnAvailableError", "S");
    kit_end(&k);
}

Test(suspended, who_stays_away_is_lost_and_restored_when_it_speaks) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    k.gone[0] = "w";
    kit_closed(&k, BACK, 11);
    kit_wait(&k, HB);
    got_error(&k, "c", "1", "WorkerLostError", "closed");
    request(&k, "c", "S", "2");
    got_error(&k, "c", "2", "ServiceUnAvailableError", "S");
    k.gone[0] = NULL;
    kit_wait(&k, HB / 2);
    got_beat(&k, "w"); /* it is asked all the same */
    k.open[12] = 8;
    kit_forget(&k);
    beat_fd(&k, "w", 12);
    counted(&k, "restored", 1);
    request(&k, "c", "S", "3");
    got_request(&k, "w", "c", "3");
    counted(&k, "disconnects", 0);
    kit_end(&k);
}

/* Python's broker looks every three heartbeats: a loop that is busy for four
 * costs nothing there. */
Test(suspended, a_silence_between_two_looks_costs_nothing) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:3");
    kit_wait(&k, HB / 2);
    beat(&k, "w");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    kit_forget(&k);
    kit_wait(&k, 3 * HB + 50);
    counted(&k, "suspended", 1);
    kit_worker(&k, "v", "S:d:1");
    request(&k, "c", "S", "3"); /* not to the silent one */
    got_request(&k, "v", "c", "3");
    kit_wait(&k, 2 * HB);
    reply(&k, "w", "c", "1", "x"); /* at last */
    got_reply(&k, "c", "S", "1", "x");
    got_nothing(&k, "c");
    counted(&k, "workers_lost", 0);
    counted(&k, "disconnects", 0);
    kit_end(&k);
}

Test(suspended, who_is_silent_at_the_second_look_is_lost) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:3");
    kit_wait(&k, HB / 2);
    beat(&k, "w");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    kit_wait(&k, 5 * HB + HB / 2 - 50);
    got_nothing(&k, "c");
    kit_wait(&k, 100);
    got_error(&k, "c", "1", "WorkerLostError", "silent");
    counted(&k, "disconnects", 1); /* as Python's */
    kit_end(&k);
}

Test(suspended, somebody_else_is_not_restored) {
    kit_t k;
    kit_begin(&k);
    k.user = "ann";
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    k.gone[0] = "w";
    kit_closed(&k, BACK, 11);
    kit_wait(&k, HB);
    k.gone[0] = NULL;
    k.user = "eve";
    k.open[12] = 8;
    beat_fd(&k, "w", 12);
    counted(&k, "restored", 0);
    k.user = "ann";
    request(&k, "c", "S", "1");
    got_error(&k, "c", "1", "ServiceUnAvailableError", "S");
    kit_end(&k);
}

Test(suspended, a_past_is_forgotten) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    k.gone[0] = "w";
    kit_closed(&k, BACK, 11);
    kit_wait(&k, 8 * HB);
    k.gone[0] = NULL;
    kit_forget(&k);
    k.open[12] = 8;
    beat_fd(&k, "w", 12);
    got_bye(&k, "w"); /* a stranger */
    counted(&k, "restored", 0);
    kit_end(&k);
}

/* Its goodbye is the end of it. */
Test(suspended, who_says_goodbye_is_not_waited_for) {
    kit_t k;
    kit_begin(&k);
    k.open[11] = 7;
    ready_fd(&k, "w", 11, "S:d:2");
    kit_closed(&k, BACK, 11);
    kit_wait(&k, HB);
    counted(&k, "workers_lost", 1);
    bye(&k, "w");
    kit_forget(&k);
    kit_wait(&k, 3 * HB);
    got_nothing(&k, "w");
    kit_end(&k);
}
