/* SPDX-License-Identifier: BSD-3-Clause */
/* A worker's life at the broker: wire.md, broker and worker. */
#include "broker_kit.h"

Test(life, ready_is_answered_by_a_heartbeat_at_once) {
    kit_t k;
    kit_begin(&k);
    ready(&k, "w", "S:text:3");
    got_beat(&k, "w");
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(life, a_call_goes_there_and_back) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:3");
    request(&k, "c", "S", "id1");
    got_request(&k, "w", "c", "id1");
    reply(&k, "w", "c", "id1", "answer");
    got_reply(&k, "c", "S", "id1", "answer");
    counted(&k, "finished", 1);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(life, bodies_of_one_to_three_frames_pass_and_a_fourth_too) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:9");
    say(&k, FRONT, "c", "", "MDPC01", "S", "1", "\xa1g");
    got(&k, "w", "", "MDPW01", "\2", "c", "", "1", "\xa1g");
    say(&k, FRONT, "c", "", "MDPC01", "S", "2", "\xa1g", "\x90");
    got(&k, "w", "", "MDPW01", "\2", "c", "", "2", "\xa1g", "\x90");
    say(&k, FRONT, "c", "", "MDPC01", "S", "3", "\xa1g", "\x90", "\x80", "?");
    got(&k, "w", "", "MDPW01", "\2", "c", "", "3", "\xa1g", "\x90", "\x80",
        "?");
    kit_end(&k);
}

Test(life, a_bare_name_registers) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S");
    request(&k, "c", "S", "id");
    got_request(&k, "w", "c", "id");
    kit_end(&k);
}

Test(life, ready_twice_ends_the_registration) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:3");
    request(&k, "c", "S", "id");
    got_request(&k, "w", "c", "id");
    ready(&k, "w", "S:text:3");
    got_bye(&k, "w");
    got_nothing(&k, "w");
    got_error(&k, "c", "id", "WorkerLostError", "S");
    request(&k, "c", "S", "id2");
    got_error(&k, "c", "id2", "ServiceUnAvailableError",
              "The S Service unavailable.");
    kit_worker(&k, "w", "S:text:3"); /* the next one registers again */
    kit_end(&k);
}

Test(life, a_new_connection_with_ready_replaces_the_old_worker) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\1", "S:text:3");
    got_beat(&k, "w");
    request(&k, "c", "S", "id");
    got_request(&k, "w", "c", "id");
    say_fd(&k, BACK, "w", 12, "", "MDPW01", "\1", "S:text:3");
    got_beat(&k, "w"); /* and no DISCONNECT */
    got_nothing(&k, "w");
    got_error(&k, "c", "id", "WorkerLostError", "replaced");
    request(&k, "c", "S", "id2");
    got_request(&k, "w", "c", "id2");
    kit_end(&k);
}

Test(life, an_ext_worker_on_a_new_connection_must_register) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\1", "S:text:3");
    got_beat(&k, "w");
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\4", HELLO);
    say_fd(&k, BACK, "w", 12, "", "MDPW01", "\4");
    got_bye(&k, "w");
    counted(&k, "workers_lost", 1);
    kit_end(&k);
}

Test(life, bad_lines_and_the_reserved_name_are_refused) {
    static const char *const lines[] = {"S:no max:x", "S:one colon", ":d:1",
                                        "Gate:d:1",   "S\xff:d:1",   "S:d:-1"};
    kit_t k;
    kit_begin(&k);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        ready(&k, "w", lines[i]);
        got_bye(&k, "w");
    }
    counted(&k, "workers_rejected", sizeof lines / sizeof *lines);
    kit_end(&k);
}

Test(life, heartbeats_go_only_when_nothing_else_does) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:30");
    kit_wait(&k, HB + 20);
    got_beat(&k, "w");
    got_nothing(&k, "w");
    for (int i = 0; i < 4; i++) { /* traffic every 0.6 of an interval */
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        kit_wait(&k, HB * 6 / 10);
        request(&k, "c", "S", id);
        got_request(&k, "w", "c", id);
        got_nothing(&k, "w");
        beat(&k, "w");
    }
    kit_wait(&k, HB + 20);
    got_beat(&k, "w");
    kit_end(&k);
}

Test(life, a_silent_worker_is_expelled_and_its_calls_answered) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:text:9");
    kit_wait(&k, 2 * HB);
    beat(&k, "w"); /* liveness counts from the last message */
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    reply(&k, "w", "c", "2", STREAM, "item");
    request(&k, "c", "S", "3");
    reply(&k, "w", "c", "3", HUGE_, "chunk");
    kit_forget(&k);
    kit_wait(&k, 3 * HB - 50);
    got_nothing(&k, "c");
    kit_wait(&k, 100);
    got_error(&k, "c", "1", "WorkerLostError", "silent");
    said_t *m = kit_take(&k, "c");
    cr_assert(m && m->n == 7);
    cr_expect(kit_frame_is(m, 3, "2"));
    cr_expect(kit_frame_is(m, 4, STREAM));
    cr_expect(kit_frame_is(m, 5, GI_STREAM_EXCEPTION));
    free(m);
    m = kit_take(&k, "c");
    cr_assert(m && m->n == 7);
    cr_expect(kit_frame_is(m, 3, "3"));
    cr_expect(kit_frame_is(m, 4, HUGE_));
    cr_expect(kit_frame_is(m, 5, GI_STREAM_EXCEPTION));
    free(m);
    while ((m = kit_take(&k, "w")) && kit_frame_is(m, 2, "\4"))
        free(m);
    cr_assert(m && kit_frame_is(m, 2, "\5"));
    free(m);
    counted(&k, "workers_expired", 1);
    reply(&k, "w", "c", "1", "late"); /* unknown now: told so */
    got_bye(&k, "w");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(life, unsolicited_heartbeats_prolong_and_replies_too) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:9");
    for (int i = 0; i < 5; i++) {
        kit_wait(&k, 2 * HB);
        beat(&k, "w");
        kit_wait(&k, 2 * HB);
        reply(&k, "w", "nobody", "x", "y");
    }
    counted(&k, "workers_expired", 0);
    counted(&k, "replies_unknown", 5);
    kit_end(&k);
}

Test(life, unknown_workers_are_told_a_few_times_per_heartbeat) {
    kit_t k;
    kit_begin(&k);
    for (int i = 0; i < 2; i++) {
        beat(&k, "w");
        got_bye(&k, "w");
        reply(&k, "w", "c", "id", "body");
        got_bye(&k, "w");
        for (int j = 0; j < 20; j++)
            beat(&k, "w");
        got_bye(&k, "w");
        got_bye(&k, "w");
        got_nothing(&k, "w");
        kit_wait(&k, HB);
    }
    bye(&k, "w"); /* no answer to a goodbye */
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(life, goodbye_ends_a_worker) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2"); /* waits */
    got_request(&k, "w", "c", "1");
    bye(&k, "w");
    got_error(&k, "c", "1", "WorkerLostError", "S");
    got_error(&k, "c", "2", "ServiceUnAvailableError",
              "The S Service unavailable.");
    got_nothing(&k, "w");
    counted(&k, "workers_lost", 0);
    kit_wait(&k, 4 * HB);
    got_nothing(&k, "w"); /* no heartbeat after it */
    kit_end(&k);
}

Test(life, a_gone_worker_loses_its_calls_but_not_the_one_being_sent) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:text:9");
    request(&k, "c", "S", "1");
    got_request(&k, "w1", "c", "1");
    kit_ext_worker(&k, "w2", "S:text:9");
    request(&k, "c", "S", "2"); /* w2: less to do */
    got_request(&k, "w2", "c", "2");
    k.gone[0] = "w1";
    request(&k, "c", "S", "3"); /* w1 was next */
    got_request(&k, "w2", "c", "3");
    got_error(&k, "c", "1", "WorkerLostError", "closed");
    got_nothing(&k, "c");
    k.gone[1] = "w2";
    request(&k, "c", "S", "4");
    got_error(&k, "c", "4", "ServiceUnAvailableError", "S");
    got_error(&k, "c", "2", "WorkerLostError", "closed");
    got_error(&k, "c", "3", "WorkerLostError", "closed");
    kit_end(&k);
}

Test(life, a_closed_connection_is_probed) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w1", 11, "", "MDPW01", "\1", "S:text:3");
    say_fd(&k, BACK, "w2", 12, "", "MDPW01", "\1", "S:text:3");
    say_fd(&k, BACK, "w1", 11, "", "MDPW01", "\4", HELLO);
    say_fd(&k, BACK, "w2", 12, "", "MDPW01", "\4", HELLO);
    request(&k, "c", "S", "1");
    kit_forget(&k);
    gi_broker_core_closed(k.core, BACK, 12, k.now); /* an old one's fd */
    got_beat(&k, "w2");
    got_nothing(&k, "w1");
    kit_wait(&k, 2 * HB);
    counted(&k, "workers_lost", 0);
    k.gone[0] = "w1";
    gi_broker_core_closed(k.core, BACK, 11, k.now);
    kit_check(&k);
    got_error(&k, "c", "1", "WorkerLostError", "closed");
    gi_broker_core_closed(k.core, BACK, 99, k.now);
    gi_broker_core_closed(k.core, BACK, -1, k.now);
    kit_end(&k);
}

Test(life, a_probe_is_repeated_for_one_heartbeat) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\1", "S:text:3");
    say_fd(&k, BACK, "w", 11, "", "MDPW01", "\4", HELLO);
    request(&k, "c", "S", "1");
    gi_broker_core_closed(k.core, BACK, 11, k.now); /* libzmq lags */
    kit_wait(&k, 100);
    k.gone[0] = "w";
    kit_wait(&k, HB / 2);
    kit_forget(&k);
    counted(&k, "workers_lost", 1);
    kit_end(&k);
}

Test(life, services_stay_listed_for_a_while) {
    kit_t k;
    gi_buf_t out = {0};
    kit_begin(&k);
    kit_worker(&k, "w", "Svc:text:3");
    bye(&k, "w");
    kit_wait(&k, 5 * HB);
    cr_assert_eq(gi_broker_core_stats(k.core, &out), GATE_OK);
    cr_expect(memmem(out.data, out.size, "Svc", 3));
    kit_wait(&k, 40 * HB);
    gi_buf_reset(&out, 0);
    cr_assert_eq(gi_broker_core_stats(k.core, &out), GATE_OK);
    cr_expect(!memmem(out.data, out.size, "Svc", 3));
    gi_buf_fini(&out);
    kit_end(&k);
}

Test(life, stop_says_goodbye_and_answers_everybody) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:text:1");
    kit_worker(&k, "w2", "T:text:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    kit_forget(&k);
    gi_broker_core_stop(k.core, k.now);
    kit_check(&k);
    got_bye(&k, "w1");
    got_bye(&k, "w2");
    got_error(&k, "c", "1", "WorkerLostError", "the broker stopped");
    got_error(&k, "c", "2", "ServiceUnAvailableError", "S");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(life, a_draining_broker_refuses_and_finishes) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:text:3");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    gi_broker_core_drain(k.core);
    cr_expect_not(gi_broker_core_idle(k.core));
    request(&k, "c", "S", "2");
    got_error(&k, "c", "2", "BusyWorkerError", "The broker is draining.");
    reply(&k, "w", "c", "1", "answer");
    got_reply(&k, "c", "S", "1", "answer");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(life, malformed_messages_are_counted) {
    kit_t k;
    kit_begin(&k);
    say(&k, FRONT, "c", "x");
    say(&k, FRONT, "c", "", "MDPC02", "S", "1", "\xa1g");
    say(&k, FRONT, "c", "", "MDPC01", "S");
    say(&k, BACK, "w", "", "MDPW01", "\x09");
    say(&k, BACK, "w", "", "MDPW01");
    say(&k, FRONT, "c", "", "MDPC01", "S", "1"); /* can be answered */
    counted(&k, "malformed", 6);
    got_error(&k, "c", "1", "ValueError", "body");
    got_nothing(&k, "c");
    gate_bytes_t many[GI_FRAMES_MAX - 1];
    for (unsigned i = 0; i < GI_FRAMES_MAX - 1; i++)
        many[i] = (gate_bytes_t){"S", 1};
    many[0].size = 0;
    many[1] = (gate_bytes_t){"MDPC01", 6};
    kit_worker(&k, "w", "S:d:3");
    kit_hear(&k, FRONT, "c", -1, many, GI_FRAMES_MAX - 1);
    counted(&k, "malformed", 7);
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(life, idle_clients_are_forgotten_and_busy_ones_are_not) {
    kit_t k;
    gi_buf_t out = {0};
    kit_init(&k);
    k.settings->timeout = 1000;
    kit_start(&k);
    kit_worker(&k, "w", "S:d:3");
    request(&k, "c1", "S", "1");
    request(&k, "c2", "S", "2");
    reply(&k, "w", "c2", "2", "x");
    for (int i = 0; i < 100; i++) {
        kit_wait(&k, HB);
        beat(&k, "w");
    }
    reply(&k, "w", "c1", "1", "late but right");
    kit_forget(&k);
    cr_assert_eq(gi_broker_core_stats(k.core, &out), GATE_OK);
    const char peers[] = "\xa5peers\xcf\0\0\0\0\0\0\0\2"; /* w and c1 */
    cr_expect(memmem(out.data, out.size, "\xa5peers\x02", 7) ||
              memmem(out.data, out.size, peers, sizeof peers - 1));
    gi_buf_fini(&out);
    kit_end(&k);
}

Test(life, our_own_standstill_is_nobodys_silence) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    kit_wait(&k, HB / 2);
    k.now += 20 * HB; /* stopped and continued */
    gi_broker_core_tick(k.core, k.now);
    kit_check(&k);
    counted(&k, "workers_expired", 0);
    got_beat(&k, "w");
    kit_wait(&k, 3 * HB + 100);
    counted(&k, "workers_expired", 1);
    kit_end(&k);
}
