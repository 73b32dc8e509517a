/* SPDX-License-Identifier: BSD-3-Clause */
/* Credit, load and queues: wire.md, flow control. */
#include "broker_kit.h"

Test(credit, comes_back_once_per_call_and_not_per_item) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    for (int i = 2; i < 8; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        request(&k, "c", "S", id);
    }
    for (int i = 0; i < 5; i++) {
        reply(&k, "w", "c", "1", STREAM, "\x01");
        got_reply(&k, "c", "S", "1", STREAM, "\x01");
        got_nothing(&k, "w");
    }
    reply(&k, "w", "c", "1", STREAM, GI_STREAM_END);
    got_reply(&k, "c", "S", "1", STREAM, GI_STREAM_END);
    got_request(&k, "w", "c", "2");
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(credit, comes_back_by_every_kind_of_final_message) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    reply(&k, "w", "c", "1", "single");
    request(&k, "c", "S", "2");
    reply(&k, "w", "c", "2", STREAM, GI_STREAM_EXCEPTION, "triple");
    request(&k, "c", "S", "3");
    reply(&k, "w", "c", "3", HUGE_, "chunk");
    reply(&k, "w", "c", "3", HUGE_, GI_HUGE_END);
    request(&k, "c", "S", "4");
    reply(&k, "w", "c", "4", HUGE_, GI_STREAM_EXCEPTION, "triple");
    request(&k, "c", "S", "5");
    kit_forget(&k);
    counted(&k, "finished", 4);
    reply(&k, "w", "c", "5", "what", "is", "this"); /* answered, not hung */
    got_error(&k, "c", "5", "ValueError", "malformed");
    request(&k, "c", "S", "6");
    got_request(&k, "w", "c", "6");
    kit_end(&k);
}

Test(credit, an_item_that_looks_packed_like_the_end_is_an_item) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    kit_forget(&k);
    reply(&k, "w", "c", "1", STREAM, "\xc4\x0dGateStreamEnd");
    got_reply(&k, "c", "S", "1", STREAM, "\xc4\x0dGateStreamEnd");
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(credit, of_none_never_gets_work) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:0");
    request(&k, "c", "S", "1");
    got_nothing(&k, "w");
    got_nothing(&k, "c");
    kit_wait(&k, 2 * HB);
    beat(&k, "w");
    kit_wait(&k, 2 * HB);
    beat(&k, "w");
    got_nothing(&k, "c");
    kit_wait(&k, HB + 100);
    got_error(&k, "c", "1", "BusyWorkerError", "No idle worker.");
    counted(&k, "queue_timeouts", 1);
    kit_end(&k);
}

Test(credit, the_least_loaded_gets_it_and_equals_take_turns) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:d:9");
    kit_worker(&k, "w2", "S:d:9");
    kit_worker(&k, "w3", "S:d:9");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    got_request(&k, "w1", "c", "1");
    got_request(&k, "w2", "c", "2");
    got_request(&k, "w3", "c", "3");
    reply(&k, "w2", "c", "2", "x");
    request(&k, "c", "S", "4");
    got_request(&k, "w2", "c", "4");
    request(&k, "c", "S", "5");
    request(&k, "c", "S", "6");
    request(&k, "c", "S", "7");
    got_request(&k, "w1", "c", "5");
    got_request(&k, "w3", "c", "6");
    got_request(&k, "w2", "c", "7");
    kit_end(&k);
}

Test(credit, loads_in_the_thousands_stay_even) {
    kit_t k;
    char id[16];
    int n1 = 0, n2 = 0;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:d:5000");
    kit_worker(&k, "w2", "S:d:5000");
    for (int i = 0; i < 6000; i++) {
        snprintf(id, sizeof id, "%d", i);
        request(&k, "c", "S", id);
        said_t *m = kit_take(&k, "w1");
        n1 += m != NULL;
        free(m);
        m = kit_take(&k, "w2");
        n2 += m != NULL;
        free(m);
    }
    cr_expect_eq(n1 + n2, 6000);
    cr_expect(abs(n1 - n2) < 600, "%d and %d", n1, n2);
    kit_end(&k);
}

Test(queue, is_first_in_first_out_and_goes_on_with_credit) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    request(&k, "d", "S", "2");
    request(&k, "c", "S", "3");
    got_request(&k, "w", "c", "1");
    got_nothing(&k, "w");
    reply(&k, "w", "c", "1", "x");
    got_request(&k, "w", "d", "2");
    kit_worker(&k, "w2", "S:d:1"); /* a new worker takes from it, too */
    got_request(&k, "w2", "c", "3");
    kit_end(&k);
}

Test(queue, at_its_bound_refuses_at_once) {
    kit_t k;
    kit_init(&k);
    k.settings->queue_max = 2;
    kit_start(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    request(&k, "c", "S", "4");
    got_error(&k, "c", "4", "BusyWorkerError",
              "The queue of service S is full.");
    got_nothing(&k, "c");
    kit_wait(&k, 2 * HB);
    beat(&k, "w");
    kit_wait(&k, 2 * HB);
    beat(&k, "w");
    kit_wait(&k, 2 * HB);
    got_error(&k, "c", "2", "BusyWorkerError", "No idle worker.");
    got_error(&k, "c", "3", "BusyWorkerError", "No idle worker.");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(queue, of_one_service_does_not_hold_up_another) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:d:1");
    kit_worker(&k, "w2", "T:d:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "c", "T", "3");
    got_request(&k, "w2", "c", "3");
    kit_end(&k);
}

Test(calls, an_unknown_service_is_an_error_at_once) {
    kit_t k;
    kit_begin(&k);
    request(&k, "c", "NoSuch", "1");
    got_error(&k, "c", "1", "ServiceUnAvailableError",
              "ServiceUnAvailableError('The NoSuch Service unavailable.')");
    request(&k, "c", "\xff\xfe", "2");
    got_error(&k, "c", "2", "ServiceUnAvailableError", "The ?? Service");
    kit_end(&k);
}

Test(calls, the_second_of_an_id_in_flight_is_dropped) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    got_nothing(&k, "w");
    counted(&k, "duplicate_ids", 1);
    request(&k, "d", "S", "1"); /* another client's is another call */
    got_request(&k, "w", "d", "1");
    reply(&k, "w", "c", "1", "x");
    request(&k, "c", "S", "1"); /* over: the id is free again */
    got_request(&k, "w", "c", "1");
    kit_end(&k);
}

Test(calls, replies_of_strangers_are_dropped) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w1", "S:d:9");
    kit_worker(&k, "w2", "T:d:9");
    request(&k, "c", "S", "1");
    reply(&k, "w2", "c", "1", "forged");
    reply(&k, "w1", "c", "2", "unknown id");
    reply(&k, "w1", "d", "1", "unknown client");
    got_nothing(&k, "c");
    got_nothing(&k, "d");
    counted(&k, "replies_unknown", 3);
    reply(&k, "w1", "c", "1", "true");
    got_reply(&k, "c", "S", "1", "true");
    reply(&k, "w1", "c", "1", "again");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(calls, ids_of_any_length_are_echoed) {
    char id[256];
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    for (size_t n = 1; n < sizeof id; n += 31) {
        memset(id, 'i', n);
        id[n] = 0;
        request(&k, "c", "S", id);
        got_request(&k, "w", "c", id);
        reply(&k, "w", "c", id, "x");
        got_reply(&k, "c", "S", id, "x");
    }
    kit_end(&k);
}
