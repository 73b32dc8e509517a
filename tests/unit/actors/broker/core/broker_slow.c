/* SPDX-License-Identifier: BSD-3-Clause */
/* Peers that are full or gone: nothing is lost without a word. */
#include "broker_kit.h"

static void s_retry(kit_t *k) {
    gi_broker_core_retry(k->core, 64, k->now);
    kit_check(k);
}

Test(full, replies_wait_in_order_and_go_on) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "d", "S", "3");
    k.full[0] = "c";
    reply(&k, "w", "c", "1", "one");
    cr_expect(gi_broker_core_blocked(k.core));
    cr_expect_not(gi_broker_core_idle(k.core));
    reply(&k, "w", "d", "3", "three"); /* nobody else waits */
    got_reply(&k, "d", "S", "3", "three");
    s_retry(&k);
    got_nothing(&k, "c");
    k.full[0] = NULL;
    reply(&k, "w", "c", "2",
          "two"); /* behind the first, though there is room */
    got_nothing(&k, "c");
    s_retry(&k);
    got_reply(&k, "c", "S", "1", "one");
    got_reply(&k, "c", "S", "2", "two");
    cr_expect_not(gi_broker_core_blocked(k.core));
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(full, the_ring_is_walked_a_bit_at_a_time) {
    static const char *const ids[] = {"a", "b", "c", "d"};
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    for (int i = 0; i < 4; i++) {
        request(&k, ids[i], "S", "1");
        k.full[i] = ids[i];
        reply(&k, "w", ids[i], "1", "x");
    }
    kit_forget(&k);
    k.full[0] = k.full[1] = k.full[2] = k.full[3] = NULL;
    gi_broker_core_retry(k.core, 3, k.now);
    kit_check(&k);
    got_reply(&k, "a", "S", "1", "x");
    got_reply(&k, "b", "S", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    got_nothing(&k, "d");
    gi_broker_core_retry(k.core, 3, k.now);
    got_reply(&k, "d", "S", "1", "x");
    kit_end(&k);
}

Test(full, a_stream_that_overflows_ends_with_an_error) {
    kit_t k;
    kit_init(&k);
    k.settings->peer_queue_max = 16;
    kit_start(&k);
    kit_worker(&k, "w", "S:d:2");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    k.full[0] = "c";
    for (int i = 0; i < 40; i++)
        reply(&k, "w", "c", "1", STREAM, "\x01");
    counted(&k, "streams_overflowed", 1);
    counted(&k, "replies_late", 40 - 17);
    k.full[0] = NULL;
    s_retry(&k);
    for (int i = 0; i < 16; i++)
        got_reply(&k, "c", "S", "1", STREAM, "\x01");
    got_tagged_error(&k, "c", "1", "StreamOverflowError", "peer_queue_max");
    got_nothing(&k, "c");
    got_nothing(&k, "w"); /* a plain worker knows no cancel */
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    got_request(&k, "w", "c", "2");
    got_nothing(&k, "w"); /* the credit comes with the final message */
    reply(&k, "w", "c", "1", STREAM, GI_STREAM_END);
    got_nothing(&k, "c");
    got_request(&k, "w", "c", "3");
    kit_end(&k);
}

Test(full, a_huge_result_that_overflows_ends_with_an_error) {
    kit_t k;
    kit_init(&k);
    k.settings->peer_queue_max = 16;
    kit_start(&k);
    kit_worker(&k, "w", "S:d:2");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    k.full[0] = "c";
    for (int i = 0; i < 40; i++)
        reply(&k, "w", "c", "1", HUGE_, "chunk");
    counted(&k, "streams_overflowed", 1);
    k.full[0] = NULL;
    s_retry(&k);
    for (int i = 0; i < 16; i++)
        got_reply(&k, "c", "S", "1", HUGE_, "chunk");
    said_t *m = kit_take(&k, "c");
    cr_assert(m && m->n == 7);
    cr_expect(kit_frame_is(m, 4, HUGE_));
    cr_expect(kit_frame_is(m, 5, GI_STREAM_EXCEPTION));
    cr_expect(memmem(m->f[6].data, m->f[6].size, "StreamOverflowError", 19));
    free(m);
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(full, bytes_are_bounded_too) {
    char item[2000];
    kit_t k;
    kit_init(&k);
    k.settings->peer_queue_max_bytes = 65536;
    kit_start(&k);
    kit_ext_worker(&k, "w", "S:d:2");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    memset(item, 'x', sizeof item);
    item[sizeof item - 1] = 0;
    k.full[0] = "c";
    for (int i = 0; i < 40; i++)
        reply(&k, "w", "c", "1", STREAM, item);
    counted(&k, "streams_overflowed", 1);
    got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(full, a_single_reply_that_overflows_becomes_an_error) {
    kit_t k;
    char id[8];
    kit_init(&k);
    k.settings->peer_queue_max = 16;
    kit_start(&k);
    kit_worker(&k, "w", "S:d:900");
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof id, "%d", i);
        request(&k, "c", "S", id);
    }
    kit_forget(&k);
    k.full[0] = "c";
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof id, "%d", i);
        reply(&k, "w", "c", id, "x");
    }
    k.full[0] = NULL;
    s_retry(&k);
    for (int i = 0; i < 16; i++) {
        snprintf(id, sizeof id, "%d", i);
        got_reply(&k, "c", "S", id, "x");
    }
    for (int i = 16; i < 16 + 256; i++) { /* in the reserve */
        snprintf(id, sizeof id, "%d", i);
        got_error(&k, "c", id, "BusyWorkerError", "peer_queue_max");
    }
    got_nothing(&k, "c");
    cr_expect_eq(gi_broker_core_count(k.core, "dropped_full") > 0, true);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(full, a_full_worker_gets_its_requests_later) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    k.full[0] = "w";
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    got_nothing(&k, "w");
    k.full[0] = NULL;
    s_retry(&k);
    got_request(&k, "w", "c", "1");
    got_request(&k, "w", "c", "2");
    kit_end(&k);
}

Test(full, a_worker_whose_queue_is_at_its_bound_gets_no_more) {
    kit_t k;
    char id[8];
    kit_init(&k);
    k.settings->peer_queue_max = 16;
    kit_start(&k);
    kit_worker(&k, "w", "S:d:900");
    k.full[0] = "w";
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof id, "%d", i);
        request(&k, "c", "S", id);
    }
    got_nothing(&k, "c");
    k.full[0] = NULL;
    s_retry(&k); /* empties its queue, which lets the service's queue go on */
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof id, "%d", i);
        got_request(&k, "w", "c", id);
    }
    kit_end(&k);
}

Test(full, what_never_left_goes_to_another_worker) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:9");
    request(&k, "c", "S", "0");
    got_request(&k, "w1", "c", "0");
    k.full[0] = "w1";
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    kit_worker(&k, "w2", "S:d:1");
    k.full[0] = NULL;
    k.gone[0] = "w1";
    s_retry(&k);
    got_request(&k, "w2", "c", "1");
    got_error(&k, "c", "0", "WorkerLostError", "closed");
    got_nothing(&k, "c");
    counted(&k, "requeued", 2);
    reply(&k, "w2", "c", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    got_request(&k, "w2", "c", "2");
    kit_end(&k);
}

Test(gone, a_client_orphans_its_calls) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:2");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3"); /* waits */
    kit_forget(&k);
    k.gone[0] = "c";
    reply(&k, "w1", "c", "1", STREAM, "\x01");
    got_nothing(&k, "w1"); /* it may come back */
    kit_wait(&k, HB);
    got(&k, "w1", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    got(&k, "w1", "", "MDPW01", "\6", "c", "", "2", CANCEL);
    got_nothing(&k, "w1");
    counted(&k, "orphaned", 3);
    reply(&k, "w1", "c", "1", STREAM, "\x02");
    reply(&k, "w1", "c", "1", STREAM, GI_STREAM_END);
    k.gone[0] = NULL;
    reply(&k, "w1", "c", "2", "x");
    got_nothing(&k, "c");
    counted(&k, "replies_late", 3);
    cr_expect(gi_broker_core_idle(k.core));
    request(&k, "c", "S", "4"); /* it is back */
    got_request(&k, "w1", "c", "4");
    reply(&k, "w1", "c", "4", "x");
    got_reply(&k, "c", "S", "4", "x");
    kit_end(&k);
}

Test(gone, a_full_client_that_vanishes_takes_its_queue_with_it) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    kit_forget(&k);
    k.full[0] = "c";
    reply(&k, "w", "c", "1", "x");
    k.full[0] = NULL;
    k.gone[0] = "c";
    s_retry(&k);
    kit_wait(&k, HB);
    cr_expect_not(gi_broker_core_blocked(k.core));
    counted(&k, "dropped_gone", 1);
    reply(&k, "w", "c", "2", "x");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(gone, a_closed_client_without_business_is_forgotten) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    say_fd(&k, FRONT, "c", 21, "", "MDPC01", "S", "1", "\xa1g");
    gi_broker_core_closed(k.core, FRONT, 21, k.now);
    kit_check(&k);
    reply(&k, "w", "c", "1", "x"); /* it had business: still known */
    got_reply(&k, "c", "S", "1", "x");
    gi_broker_core_closed(k.core, FRONT, 21, k.now);
    kit_check(&k);
    gi_broker_core_closed(k.core, FRONT, 21, k.now);
    kit_check(&k);
    kit_end(&k);
}

/* A worker that streams an answer to a request which it cannot have. */
Test(full, what_a_liar_has_answered_goes_nowhere_else) {
    kit_t k;
    kit_init(&k);
    k.settings->peer_queue_max = 16;
    kit_start(&k);
    kit_worker(&k, "w1", "S:d:1");
    k.full[0] = "w1";
    k.full[1] = "c";
    request(&k, "c", "S", "1");
    for (int i = 0; i < 20; i++)
        reply(&k, "w1", "c", "1", STREAM, "\x01"); /* muted by overflow */
    request(&k, "d", "S", "2");
    kit_worker(&k, "w2", "S:d:0");
    k.full[0] = NULL;
    k.gone[0] = "w1";
    gi_broker_core_retry(k.core, 64, k.now);
    kit_check(&k);
    counted(&k, "requeued", 0);
    kit_end(&k);
}

/* ---- pace ---------------------------------------------------------------- */
static unsigned s_items(kit_t *k, const char *to) {
    unsigned n = 0;
    for (said_t *m; (m = kit_take(k, to)); free(m))
        n += kit_frame_is(m, 4, STREAM);
    return n;
}

/* A Python client: order is kept only while it is not far behind. */
Test(pace, a_long_stream_goes_in_time_to_who_gives_no_credit) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    for (int i = 0; i < 3000; i++)
        reply(&k, "w", "c", "1", STREAM, "\x01");
    reply(&k, "w", "c", "1", STREAM, GI_STREAM_END);
    unsigned n = s_items(&k, "c");
    cr_expect(n >= 900 && n <= 1010, "%u at once", n);
    for (int i = 0; i < 10; i++) {
        k.now += 100;
        gi_broker_core_retry(k.core, 9, k.now);
        unsigned more = s_items(&k, "c");
        cr_expect(more >= 90 && more <= 160, "%u in 100 ms", more);
        n += more;
    }
    for (int i = 0; i < 30; i++) {
        k.now += 100;
        gi_broker_core_retry(k.core, 9, k.now);
        n += s_items(&k, "c");
    }
    cr_expect_eq(n, 3001);
    cr_expect_not(gi_broker_core_blocked(k.core));
    kit_end(&k);
}

/* Such a client gets less done then: a tenth of a CPU, a fifth of the rate. */
Test(pace, a_busy_machine_is_slower) {
    kit_t k;
    kit_busy = 0.1;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    kit_forget(&k);
    for (int i = 0; i < 1500; i++)
        reply(&k, "w", "c", "1", STREAM, "\x01");
    unsigned n = s_items(&k, "c");
    cr_expect(n >= 900 && n <= 930, "%u at once", n);
    for (int i = 0; i < 10; i++) {
        k.now += 100;
        gi_broker_core_retry(k.core, 9, k.now);
        unsigned more = s_items(&k, "c");
        cr_expect(more >= 15 && more <= 50, "%u in 100 ms", more);
    }
    kit_end(&k);
    kit_busy = 1;
}

Test(pace, who_gives_credit_is_not_paced) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", CREDIT);
    got(&k, "w", "", "MDPW01", "\2", "c", "", "1",
        "\xa1"
        "f",
        "\x90", "\x80", CREDIT);
    for (int i = 0; i < 3000; i++)
        reply(&k, "w", "c", "1", STREAM, "\x01");
    cr_expect_eq(s_items(&k, "c"), 3000);
    got_nothing(&k, "w");
    kit_end(&k);
}
