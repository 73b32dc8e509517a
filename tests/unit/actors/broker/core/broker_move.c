/* SPDX-License-Identifier: BSD-3-Clause */
/* A broker that is replaced, and the one that replaces it (docs/extensions.md,
 * moving). */
#include "broker_kit.h"

#define MOVED EXT "\x82\xa2mv\xc3\xa2tr\xc3"
#define INFO "\xa4info"

static void s_ask_info(kit_t *k, const char *client) {
    say(k, FRONT, client, "", "MDPC01", "Gate", "i", INFO, "\x90");
}

static void s_drop(kit_t *k, const char *to) {
    said_t *m = kit_take(k, to);
    cr_expect_not_null(m);
    free(m);
}

/* The notice: an unasked reply with a request id of zeros. */
static bool s_told(kit_t *k, const char *client) {
    static const char zeros[16];
    said_t *m = kit_take(k, client);
    bool told = m && m->n == 5 && m->f[3].size == sizeof zeros &&
                memcmp(m->f[3].data, zeros, sizeof zeros) == 0 &&
                kit_frame_is(m, 4, MOVED);
    free(m);
    return told;
}

Test(move, tells_workers_that_know_and_clients_that_asked) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    kit_worker(&k, "plain", "S:d:9");
    s_ask_info(&k, "ours");
    s_drop(&k, "ours");
    request(&k, "python", "S", "1");
    kit_forget(&k);
    gi_broker_core_move(k.core, true, k.now);
    kit_check(&k);
    got(&k, "w", "", "MDPW01", "\4", MOVED);
    cr_expect(s_told(&k, "ours"));
    got_nothing(&k, "plain");
    got_nothing(&k, "python");
    s_ask_info(&k, "late"); /* it connected before */
    s_drop(&k, "late");
    cr_expect(s_told(&k, "late"));
    s_ask_info(&k, "late");
    s_drop(&k, "late");
    got_nothing(&k, "late"); /* once */
    kit_end(&k);
}

Test(move, serves_on_and_takes_it_back) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    s_ask_info(&k, "c");
    s_drop(&k, "c");
    gi_broker_core_move(k.core, true, k.now);
    kit_forget(&k);
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    reply(&k, "w", "c", "1", "yes");
    got_reply(&k, "c", "S", "1", "yes");
    gi_broker_core_move(k.core, false, k.now);
    kit_forget(&k);
    ready(&k, "w2", "S:d:9");
    got_beat(&k, "w2"); /* nothing about moving */
    gi_broker_core_move(k.core, true, k.now);
    cr_expect(s_told(&k, "c")); /* again */
    kit_end(&k);
}

Test(move, a_peer_that_is_gone_or_full) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    kit_ext_worker(&k, "v", "S:d:9");
    s_ask_info(&k, "c");
    s_ask_info(&k, "e");
    kit_forget(&k);
    k.gone[0] = "w";
    k.gone[1] = "c";
    k.full[0] = "v";
    k.full[1] = "e";
    gi_broker_core_move(k.core, true, k.now);
    kit_check(&k);
    counted(&k, "workers_lost", 1);
    k.full[0] = k.full[1] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    got(&k, "v", "", "MDPW01", "\4", MOVED);
    cr_expect(s_told(&k, "e"));
    kit_end(&k);
}

Test(move, who_is_quiet) {
    kit_t k;
    bool told;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    say_fd(&k, FRONT, "c", 7, "", "MDPC01", "S", "1",
           "\xa1"
           "f",
           "\x90", "\x80");
    cr_expect_eq(gi_broker_core_quiet(k.core, FRONT, 7, k.now, &told), -1);
    reply(&k, "w", "c", "1", "yes");
    k.now += 30;
    cr_expect_eq(gi_broker_core_quiet(k.core, FRONT, 7, k.now, &told), 30);
    cr_expect_not(told);
    cr_expect_eq(gi_broker_core_quiet(k.core, FRONT, 8, k.now, &told),
                 INT64_MAX);
    cr_expect_eq(gi_broker_core_quiet(k.core, FRONT, -1, k.now, &told),
                 INT64_MAX);
    kit_end(&k);
}

/* ---- the new one --------------------------------------------------------- */
Test(expect, calls_wait_for_workers_that_are_to_come) {
    kit_t k;
    kit_begin(&k);
    gi_broker_core_expect(k.core, k.now + 3000);
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    got_nothing(&k, "c");
    kit_worker(&k, "w", "S:what it does:9");
    got_request(&k, "w", "c", "1");
    got_request(&k, "w", "c", "2");
    say(&k, FRONT, "c", "", "MDPC01", "Gate", "q", "\xadquery_service",
        "\x91\xa1S");
    said_t *m = kit_take(&k, "c");
    cr_expect(m && memmem(m->f[4].data, m->f[4].size, "what it does", 12));
    free(m);
    kit_end(&k);
}

Test(expect, who_has_not_come_is_not_there) {
    kit_t k;
    kit_begin(&k);
    gi_broker_core_expect(k.core, k.now + 1000);
    request(&k, "c", "S", "1");
    say(&k, FRONT, "d", "", "MDPC01", "Gate", "g", "\xacget_services", "\x90");
    said_t *m = kit_take(&k, "d");
    cr_expect(m && !memmem(m->f[4].data, m->f[4].size, "\xa1S", 2),
              "a guess is not listed");
    free(m);
    kit_wait(&k, 1100);
    got_error(&k, "c", "1", "ServiceUnAvailableError", "unavailable");
    request(&k, "c", "S", "2");
    got_error(&k, "c", "2", "ServiceUnAvailableError", "unavailable");
    kit_end(&k);
}

Test(expect, a_worker_that_comes_and_goes) {
    kit_t k;
    kit_begin(&k);
    gi_broker_core_expect(k.core, k.now + 2000);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    request(&k, "c", "S", "2"); /* waits */
    bye(&k, "w");
    got_error(&k, "c", "1", "WorkerLostError", "goodbye");
    got_nothing(&k, "c");
    kit_worker(&k, "v", "S:d:1");
    got_request(&k, "v", "c", "2");
    kit_end(&k);
}

Test(expect, names_that_are_none_are_refused) {
    kit_t k;
    kit_begin(&k);
    gi_broker_core_expect(k.core, k.now + 2000);
    request(&k, "c", "\xff\xfe", "1");
    got_error(&k, "c", "1", "ServiceUnAvailableError", "unavailable");
    kit_end(&k);
}

Test(expect, the_end_answers_whoever_waits) {
    kit_t k;
    kit_begin(&k);
    gi_broker_core_expect(k.core, k.now + 2000);
    request(&k, "c", "S", "1");
    gi_broker_core_stop(k.core, k.now);
    got_error(&k, "c", "1", "ServiceUnAvailableError", "unavailable");
    kit_end(&k);
}
