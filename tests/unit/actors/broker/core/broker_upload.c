/* SPDX-License-Identifier: BSD-3-Clause */
/* Huge arguments at the broker: who may get them, chunks one way, credit the
 * other (docs/extensions.md). */
#include "broker_kit.h"
#include "broker/core/broker_calls.h"

/* \x40: ten bytes; strings in hex where a letter would be read as a digit */
#define TAKES EXT "\x81\xa1h\xc3"                  /* {"h": true} */
#define HA EXT "\x81\xa2\x68\x61\x0a"              /* {"ha": 10} */
#define HA_HK EXT "\x82\xa2\x68\x61\x0a\xa2hk\x05" /* and {"hk": 5} */
#define CB EXT "\x81\xa2\x63\x62\x64"              /* {"cb": 100} */
#define BODY \
    "\xa1"   \
    "f",     \
        "\x90", "\x80"
#define chunk(k, c, id, bytes) \
    say(k, FRONT, c, "", "MDPC01", "S", id, HUGE_, bytes)
#define credit(k, w, c, id) say(k, BACK, w, "", "MDPW01", "\6", c, "", id, CB)
#define got_head(k, w, c, id, ext) \
    got(k, w, "", "MDPW01", "\2", c, "", id, BODY, ext)
#define got_chunk(k, w, c, id, bytes) \
    got(k, w, "", "MDPW01", "\6", c, "", id, HUGE_, bytes)
#define got_control(k, w, c, id, ext) \
    got(k, w, "", "MDPW01", "\6", c, "", id, ext)

static void s_taker(kit_t *k, const char *w, const char *line) {
    kit_worker(k, w, line);
    say(k, BACK, w, "", "MDPW01", "\4", TAKES);
}

static int64_t s_size(const char *ext, size_t n) {
    gate_bytes_t body[4] = {{"f", 1}, {"\x90", 1}, {"\x80", 1}, {ext, n}};
    gi_broker_call_t call = {0};
    gi_broker_args_note(&call, body, ext ? 4 : 3);
    return call.args_size;
}

Test(args, their_size_is_what_the_head_says) {
    static const char most[] =
        EXT "\x82\xa2\x68\x61\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"
            "\xa2hk\xcf\x7f\xff\xff\xff\xff\xff\xff\xff";
    cr_expect_eq(s_size(HA, strlen(HA)), 10);
    cr_expect_eq(s_size(HA_HK, strlen(HA_HK)), 15);
    cr_expect_eq(s_size(most, sizeof most - 1), INT64_MAX); /* no overflow */
    cr_expect_eq(s_size(TAKES, strlen(TAKES)), -1);
    cr_expect_eq(s_size(HA, strlen(HA) - 1), -1); /* cut short */
    cr_expect_eq(s_size("\x80", 1), -1);
    cr_expect_eq(s_size(NULL, 0), -1);
}

Test(args, only_a_worker_that_announced_it_gets_the_head) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "plain", "S:d:9");
    kit_ext_worker(&k, "ext", "S:d:9");
    request_ext(&k, "c", "S", "1", HA);
    got_error(&k, "c", "1", "ValueError", "no worker of S has announced");
    counted(&k, "args_refused", 1);
    s_taker(&k, "w", "S:d:9");
    for (int i = 2; i < 6; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        request_ext(&k, "c", "S", id, HA);
        got_head(&k, "w", "c", id, HA);
    }
    got_nothing(&k, "plain");
    got_nothing(&k, "ext");
    bye(&k, "w"); /* and none who has left */
    kit_forget(&k);
    request_ext(&k, "c", "S", "9", HA);
    got_error(&k, "c", "9", "ValueError", "10 bytes");
    kit_end(&k);
}

/* A call without such arguments would have room: it must not wait behind one
 * that has not. */
Test(args, busy_takers_refuse_where_others_have_room) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "plain", "S:d:9");
    s_taker(&k, "w", "S:d:1");
    request_ext(&k, "c", "S", "1", HA);
    got_head(&k, "w", "c", "1", HA);
    request_ext(&k, "c", "S", "2", HA);
    got_error(&k, "c", "2", "BusyWorkerError", "are busy");
    request(&k, "c", "S", "3");
    got_request(&k, "plain", "c", "3");
    counted(&k, "args_refused", 1);
    kit_end(&k);
}

Test(args, where_all_are_busy_the_head_waits) {
    kit_t k;
    kit_begin(&k);
    s_taker(&k, "w", "S:d:1");
    request_ext(&k, "c", "S", "1", HA);
    got_head(&k, "w", "c", "1", HA);
    request_ext(&k, "c", "S", "2", HA_HK);
    got_nothing(&k, "c");
    got_nothing(&k, "w");
    chunk(&k, "c", "2", "early"); /* nobody asked for it */
    got_nothing(&k, "w");
    counted(&k, "control_unknown", 1);
    reply(&k, "w", "c", "1", "done");
    got_reply(&k, "c", "S", "1", "done");
    got_head(&k, "w", "c", "2", HA_HK);
    kit_end(&k);
}

Test(args, chunks_and_credit_pass_unread) {
    kit_t k;
    kit_begin(&k);
    s_taker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", HA);
    got_head(&k, "w", "c", "1", HA);
    credit(&k, "w", "c", "1");
    got_reply(&k, "c", "S", "1", CB);
    chunk(&k, "c", "1", "abc");
    got_chunk(&k, "w", "c", "1", "abc");
    chunk(&k, "c", "1", "");
    got_chunk(&k, "w", "c", "1", "");
    chunk(&k, "c", "1", GI_HUGE_END);
    got_chunk(&k, "w", "c", "1", GI_HUGE_END);
    counted(&k, "args_chunks", 3);
    reply(&k, "w", "c", "1", "done");
    got_reply(&k, "c", "S", "1", "done");
    chunk(&k, "c", "1", "late");
    got_nothing(&k, "w");
    counted(&k, "control_unknown", 1);
    kit_end(&k);
}

Test(args, chunks_of_nothing_go_nowhere) {
    kit_t k;
    kit_begin(&k);
    s_taker(&k, "w", "S:d:9");
    chunk(&k, "c", "7", "abc"); /* no such call */
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    chunk(&k, "c", "1", "abc"); /* it has its arguments */
    chunk(&k, "d", "1", "abc"); /* another's */
    got_nothing(&k, "w");
    counted(&k, "control_unknown", 3);
    counted(&k, "args_chunks", 0);
    kit_end(&k);
}

Test(args, credit_for_nobody_is_cancelled) {
    kit_t k;
    kit_begin(&k);
    s_taker(&k, "w", "S:d:9");
    s_taker(&k, "v", "S:d:9");
    credit(&k, "w", "c", "7"); /* no such call */
    got_control(&k, "w", "c", "7", CANCEL);
    request_ext(&k, "c", "S", "1", HA);
    got_head(&k, "w", "c", "1", HA);
    credit(&k, "v", "c", "1"); /* another worker's */
    got_control(&k, "v", "c", "1", CANCEL);
    got_nothing(&k, "c");
    control(&k, "c", "1", CANCEL);
    got_control(&k, "w", "c", "1", CANCEL);
    credit(&k, "w", "c", "1"); /* which is on its way */
    got_control(&k, "w", "c", "1", CANCEL);
    got_nothing(&k, "c");
    request(&k, "c", "S", "2"); /* one without such arguments */
    kit_forget(&k);
    credit(&k, "v", "c", "2");
    got_nothing(&k, "c");
    counted(&k, "control_unknown", 4);
    say(&k, BACK, "w", "", "MDPW01", "\6", "c", "", "1", "no ext");
    say(&k, BACK, "w", "", "MDPW01", "\6", "c", "", "1", CB, "more");
    counted(&k, "malformed", 2);
    kit_end(&k);
}

Test(args, deaths) {
    kit_t k;
    kit_begin(&k);
    s_taker(&k, "w", "S:d:9");
    s_taker(&k, "v", "S:d:9");
    request_ext(&k, "c", "S", "1", HA);
    got_head(&k, "w", "c", "1", HA);
    credit(&k, "w", "c", "1");
    chunk(&k, "c", "1", "abc");
    kit_forget(&k);
    bye(&k, "w"); /* half of it is there: it goes to no other worker */
    got_error(&k, "c", "1", "WorkerLostError", "");
    got_nothing(&k, "v");
    chunk(&k, "c", "1", "def");
    got_nothing(&k, "v");
    request_ext(&k, "d", "S", "2", HA);
    got_head(&k, "v", "d", "2", HA);
    k.gone[0] = "d";
    credit(&k, "v", "d", "2");
    kit_wait(&k, HB);
    counted(&k, "dropped_gone", 1);
    counted(&k, "orphaned", 1);
    kit_end(&k);
}

/* What a worker does not take is bounded, and named. */
Test(args, a_worker_that_does_not_keep_up) {
    kit_t k;
    kit_init(&k);
    k.settings->peer_queue_max = 16;
    kit_start(&k);
    s_taker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", HA);
    got_head(&k, "w", "c", "1", HA);
    credit(&k, "w", "c", "1");
    kit_forget(&k);
    k.full[0] = "w";
    for (int i = 0; i < 40 && !k.said; i++)
        chunk(&k, "c", "1", "abc");
    got_error(&k, "c", "1", "BusyWorkerError", "does not keep up");
    kit_end(&k);
}
