/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_credentials.c -- in-band credentials, verdicts, outages; users, rules and
 * rates: the core alone, with a clock that tests turn. */
#include "rules/access.h"
#include "../core/broker_kit.h"
#include "broker/trust/broker_credentials.h"
#include "base/mem.h"

#define P "PLAIN"
/* Somebody's request with credentials. */
#define ask(k, c, id, user, password)                          \
    say(k, FRONT, c, "", "MDPC01", "S", P, user, password, id, \
        "\xa1"                                                 \
        "f",                                                   \
        "\x90", "\x80")
#define zready(k, w, user, password) \
    say(k, BACK, w, "", "MDPW01", "\1", P, user, password, "S:d:5")
#define zbeat(k, w, user, password) \
    say(k, BACK, w, "", "MDPW01", "\4", P, user, password)

static void s_begin(kit_t *k) {
    kit_init(k);
    k->settings->zap_cache_ttl_s = 60;
    k->settings->zap_reply_timeout = 5;
    kit_start(k);
    cr_assert_eq(gi_broker_core_zap(k->core, "dom", "self", "pw"), GATE_OK);
}

/* Answers the oldest question; false: there is none. */
static bool s_answer(kit_t *k, const char *status, const char *user) {
    gi_frames_t in = {0};
    said_t *q = kit_take(k, "zap");
    if (!q)
        return false;
    cr_assert_eq(q->n, 9);
    cr_assert(kit_frame_is(q, 0, "") && kit_frame_is(q, 1, "1.0"));
    cr_assert(kit_frame_is(q, 3, "dom") && kit_frame_is(q, 6, P));
    cr_assert(gi_frames_add(&in, "", 0) && gi_frames_add(&in, "1.0", 3));
    cr_assert(gi_frames_add(&in, q->f[2].data, q->f[2].size));
    cr_assert(gi_frames_add(&in, status, 3) && gi_frames_add(&in, "text", 4));
    cr_assert(gi_frames_add(&in, user, strlen(user)));
    cr_assert(gi_frames_add(&in, "", 0));
    free(q);
    gi_broker_core_verdict(k->core, &in, k->now);
    cr_assert_eq(in.n, 0);
    kit_check(k);
    return true;
}

static void s_worker(kit_t *k, const char *w) {
    zready(k, w, "srv", "pw");
    got_nothing(k, w);
    cr_assert(s_answer(k, "200", "srv"));
    got_beat(k, w);
}

Test(auth, waits_for_the_verdict_and_believes_it) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    ask(&k, "c", "1", "joe", "x");
    ask(&k, "c", "2", "joe", "x");
    got_nothing(&k, "w");
    cr_assert(s_answer(&k, "200", "joe"));
    got_request(&k, "w", "c", "1");
    got_request(&k, "w", "c", "2");
    ask(&k, "c", "3", "joe", "x");
    got_request(&k, "w", "c", "3");
    cr_assert(!s_answer(&k, "200", "joe"), "asked once");
    counted(&k, "zap_asked", 2);
    kit_end(&k);
}

Test(auth, the_question_is_as_the_peers_have_it) {
    kit_t k;
    s_begin(&k);
    zready(&k, "wid", "u", "p");
    said_t *q = kit_take(&k, "zap");
    cr_assert(q && q->n == 9);
    cr_expect_eq(q->f[2].size, 7 + 1 + 1 + 16);
    cr_expect(memcmp(q->f[2].data, "worker_\1-", 9) == 0);
    cr_expect(kit_frame_is(q, 4, "wid") && kit_frame_is(q, 5, "wid"));
    cr_expect(kit_frame_is(q, 7, "u") && kit_frame_is(q, 8, "p"));
    free(q);
    ask(&k, "cid", "req", "u", "p");
    q = kit_take(&k, "zap");
    cr_assert(q && q->f[2].size == 3 + 1 + 16);
    cr_expect(memcmp(q->f[2].data, "req-", 4) == 0);
    free(q);
    kit_end(&k);
}

Test(auth, refuses) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    ask(&k, "c", "1", "joe", "bad");
    cr_assert(s_answer(&k, "400", ""));
    got_error(&k, "c", "1", "AccessDeniedError", "Wrong user or password");
    ask(&k, "c", "2", "joe", "bad");
    cr_assert(s_answer(&k, "200", "joe"), "a no is not remembered");
    got_request(&k, "w", "c", "2");
    request(&k, "c", "S", "3");
    got_error(&k, "c", "3", "AccessDeniedError", "PLAIN");
    counted(&k, "zap_missing", 1);
    zready(&k, "v", "srv", "bad");
    cr_assert(s_answer(&k, "400", ""));
    got_bye(&k, "v");
    kit_end(&k);
}

Test(auth, other_credentials_are_asked_about_in_order) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    ask(&k, "c", "1", "joe", "bad");
    ask(&k, "c", "2", "joe", "good");
    ask(&k, "c", "3", "joe", "bad");
    cr_assert(s_answer(&k, "400", ""));
    got_error(&k, "c", "1", "AccessDeniedError", "");
    got_nothing(&k, "w");
    cr_assert(s_answer(&k, "200", "joe"));
    got_request(&k, "w", "c", "2");
    cr_assert(s_answer(&k, "400", ""));
    got_error(&k, "c", "3", "AccessDeniedError", "");
    ask(&k, "c", "4", "joe", "good");
    got_request(&k, "w", "c", "4");
    cr_assert(!s_answer(&k, "200", "joe"));
    kit_end(&k);
}

Test(auth, an_outage_is_told_and_not_remembered) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    ask(&k, "c", "1", "joe", "x");
    for (int i = 0; i < 5; i++) { /* its heartbeats go on */
        zbeat(&k, "w", "srv", "pw");
        kit_wait(&k, 1001);
    }
    got_error(&k, "c", "1", "ServiceUnAvailableError",
              "authentication service does not answer");
    counted(&k, "zap_outages", 1);
    cr_assert(s_answer(&k, "200", "joe"), "too late");
    counted(&k, "zap_late", 1);
    kit_forget(&k);
    k.mute = EAGAIN;
    ask(&k, "c", "2", "joe", "x");
    got_error(&k, "c", "2", "ServiceUnAvailableError", "authentication");
    k.mute = 0;
    ask(&k, "c", "3", "joe", "x");
    cr_assert(s_answer(&k, "500", ""));
    got_error(&k, "c", "3", "ServiceUnAvailableError", "authentication");
    ask(&k, "c", "4", "joe", "x");
    cr_assert(s_answer(&k, "200", "joe"));
    got_request(&k, "w", "c", "4");
    kit_end(&k);
}

Test(auth, a_yes_expires_and_is_renewed_before) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    for (int i = 0; i < 29; i++) {
        kit_wait(&k, 1000);
        zbeat(&k, "w", "srv", "pw");
    }
    cr_assert(!s_answer(&k, "200", "srv"), "in its first half");
    for (int i = 0; i < 4; i++) {
        kit_wait(&k, 1000);
        zbeat(&k, "w", "srv", "pw");
    }
    kit_forget(&k); /* an outage in the second half goes by unnoticed */
    for (int i = 0; i < 20; i++) {
        kit_wait(&k, 1000);
        zbeat(&k, "w", "srv", "pw");
        said_t *m = kit_take(&k, "w");
        cr_expect(m && kit_frame_is(m, 2, "\4"));
        free(m);
    }
    kit_forget(&k);
    for (int i = 0; i < 30; i++) { /* the end */
        kit_wait(&k, 1000);
        zbeat(&k, "w", "srv", "pw");
    }
    counted(&k, "workers_lost", 1);
    kit_end(&k);
}

Test(auth, a_revoked_password_ends_the_belief) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    kit_wait(&k, 1500);
    zbeat(&k, "w", "srv", "pw");
    for (int i = 0; i < 30; i++) {
        kit_wait(&k, 1000);
        zbeat(&k, "w", "srv", "pw");
    }
    cr_assert(s_answer(&k, "400", ""));
    kit_forget(&k);
    zbeat(&k, "w", "srv", "pw");
    cr_assert(s_answer(&k, "400", ""));
    got_bye(&k, "w");
    counted(&k, "workers_lost", 1);
    kit_end(&k);
}

Test(auth, verdicts_are_bounded) {
    kit_t k;
    kit_init(&k);
    k.settings->zap_cache_max = 2;
    kit_start(&k);
    cr_assert_eq(gi_broker_core_zap(k.core, "dom", NULL, NULL), GATE_OK);
    s_worker(&k, "w");
    const char *c[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        ask(&k, c[i], "1", "joe", "x");
        cr_assert(s_answer(&k, "200", "joe"));
    }
    ask(&k, "a", "2", "joe", "x");
    cr_assert(s_answer(&k, "200", "joe"), "the oldest was forgotten");
    kit_end(&k);
}

Test(auth, guessing_is_slow) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    char id[8];
    unsigned asked = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        ask(&k, "c", id, "joe", id);
        asked += s_answer(&k, "400", "");
        cr_expect_eq(kit_got_error(&k, "c", id, 5, "AccessDeniedError", ""),
                     i < 10, "%d: held from the eleventh on", i);
    }
    kit_wait(&k, 50);
    for (int i = 10; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        cr_expect(kit_got_error(&k, "c", id, 5, "AccessDeniedError", ""));
    }
    cr_expect_eq(asked, 10, "%u", asked);
    counted(&k, "zap_throttled", 90);
    kit_wait(&k, 1000);
    kit_forget(&k);
    for (int i = 0; i < 100; i++) {
        ask(&k, "c", "x", "joe", "bad");
        asked += s_answer(&k, "400", "");
    }
    cr_expect_eq(asked, 15, "%u", asked);
    ask(&k, "other", "1", "joe", "x"); /* an honest one is not held up */
    cr_assert(s_answer(&k, "200", "joe"));
    got_request(&k, "w", "other", "1");
    kit_end(&k);
}

/* A new identity for every guess, as one who reconnects has. */
static unsigned s_guesses(kit_t *k, unsigned n, const char *user) {
    char client[32];
    unsigned asked = 0;
    for (unsigned i = 0; i < n; i++) {
        snprintf(client, sizeof client, "%u.%.8s", i, user ? user : "");
        ask(k, client, "1", user ? user : client, "bad");
        asked += s_answer(k, "400", "");
    }
    kit_wait(k, 50);
    for (unsigned i = 0; i < n; i++) {
        snprintf(client, sizeof client, "%u.%.8s", i, user ? user : "");
        cr_expect(kit_got_error(k, client, "1", 5, "AccessDeniedError", ""));
    }
    return asked;
}

Test(auth, guessing_is_slow_over_fresh_connections_too) {
    kit_t k;
    s_begin(&k);
    k.address = "10.0.0.1";
    s_worker(&k, "w");
    cr_expect_eq(s_guesses(&k, 100, "joe"), 10);
    kit_wait(&k, 1000);
    kit_forget(&k);
    cr_expect_eq(s_guesses(&k, 100, "joe"), 5);
    ask(&k, "amy", "1", "amy", "x"); /* another user, same address */
    cr_assert(s_answer(&k, "200", "amy"));
    got_request(&k, "w", "amy", "1");
    k.address = "10.0.0.2";
    ask(&k, "joe", "1", "joe", "x"); /* the same user from elsewhere */
    cr_assert(s_answer(&k, "200", "joe"));
    got_request(&k, "w", "joe", "1");
    kit_end(&k);
}

Test(auth, nor_do_many_user_names_help) {
    kit_t k;
    s_begin(&k);
    k.address = ":1000:1000:4711"; /* ipc: the process does not count */
    unsigned asked = s_guesses(&k, 60, NULL);
    k.address = ":1000:1000:4712";
    asked += s_guesses(&k, 240, NULL);
    cr_expect(asked == 100 || asked == 101, "%u: the wait earns one", asked);
    kit_end(&k);
}

Test(auth, who_leaves_before_the_answer_has_guessed) {
    kit_t k;
    char client[16];
    unsigned asked = 0;
    s_begin(&k);
    k.address = "10.0.0.1";
    for (unsigned i = 0; i < 30; i++) {
        snprintf(client, sizeof client, "c%u", i);
        int fd = 100 + (int)i;
        say_fd(&k, FRONT, client, fd, "", "MDPC01", "S", P, "joe", "bad", "1",
               "\xa1"
               "f");
        gi_broker_core_closed(k.core, FRONT, fd, k.now);
        asked += s_answer(&k, "400", "");
        kit_forget(&k);
    }
    cr_expect_eq(asked, 10, "%u", asked);
    kit_end(&k);
}

/* Its number was another connection's before, whose end is heard of only now:
 * what waits is answered all the same. */
Test(auth, a_number_that_was_used_before_loses_nothing) {
    kit_t k;
    s_begin(&k);
    say_fd(&k, FRONT, "c", 100, "", "MDPC01", "S", P, "joe", "bad", "1",
           "\xa1"
           "f");
    gi_broker_core_closed(k.core, FRONT, 100, k.now);
    cr_assert(s_answer(&k, "400", ""));
    cr_expect(kit_got_error(&k, "c", "1", 5, "AccessDeniedError", ""));
    kit_end(&k);
}

Test(auth, what_waits_is_bounded) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    char id[8];
    for (int i = 0; i < 1100; i++) {
        snprintf(id, sizeof id, "%d", i);
        ask(&k, "c", id, "joe", "x");
    }
    counted(&k, "zap_overflows", 1100 - 1024);
    got_error(&k, "c", "1024", "BusyWorkerError", "authentication");
    cr_assert(!gi_broker_core_idle(k.core));
    cr_assert(s_answer(&k, "400", ""));
    counted(&k, "errors", 1100);
    kit_end(&k);
}

Test(auth, the_brokers_own_client) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    ask(&k, "c", "1", "self", "pw");
    got_request(&k, "w", "c", "1");
    ask(&k, "c", "2", "self", "pX");
    cr_assert(s_answer(&k, "400", ""));
    kit_end(&k);
}

Test(auth, a_peer_that_goes_while_it_waits) {
    kit_t k;
    s_begin(&k);
    say_fd(&k, FRONT, "c", 7, "", "MDPC01", "S", P, "joe", "x", "1", "\xa1",
           "\x90", "\x80");
    gi_broker_core_closed(k.core, FRONT, 7, k.now);
    kit_check(&k);
    k.gone[0] = "c";
    cr_assert(s_answer(&k, "200", "joe"));
    kit_wait(&k, HB);
    counted(&k, "dropped_gone", 1);
    cr_assert(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(auth, garbage_from_the_service) {
    kit_t k;
    s_begin(&k);
    for (unsigned n = 0; n < 10; n++) {
        gi_frames_t in = {0};
        for (unsigned i = 0; i < n; i++)
            cr_assert(gi_frames_add(&in, "0123456789abcdefghij", i ? 20 : 0));
        gi_broker_core_verdict(k.core, &in, k.now);
        kit_check(&k);
    }
    counted(&k, "zap_late", 10);
    kit_end(&k);
}

/* ---- the user's way to the handler --------------------------------------- */
static const char *s_user_at(kit_t *k, const char *w) {
    static char user[64];
    said_t *m = kit_take(k, w);
    gi_ext_t ext;
    *user = 0;
    cr_assert(m);
    gate_bytes_t last = {m->f[m->n - 1].data, m->f[m->n - 1].size};
    if (gi_ext_is(last) && gi_ext_parse(last, &ext) == GATE_OK)
        snprintf(user, sizeof user, "%.*s", (int)ext.user.size,
                 (const char *)ext.user.data);
    else
        strcpy(user, "-");
    free(m);
    return user;
}

Test(users, extended_workers_learn_the_user) {
    kit_t k;
    kit_begin(&k);
    k.user = "ann";
    kit_worker(&k, "w", "S:d:50");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    hello(&k, "w");
    request(&k, "c", "S", "2");
    cr_expect_str_eq(s_user_at(&k, "w"), "ann");
    request_ext(&k, "c", "S", "3",
                EXT "\x81\xa1u\xa3"
                    "eve");
    cr_expect_str_eq(s_user_at(&k, "w"), "ann");
    say(&k, FRONT, "c", "", "MDPC01", "S", "4",
        "\xa1"
        "f",
        EXT "\x81\xa1u\xa3"
            "eve");
    cr_expect_str_eq(s_user_at(&k, "w"), "ann", "behind fewer frames");
    request_ext(&k, "c", "S", "5", EXT "\x82\xa1u"); /* torn */
    cr_expect_str_eq(s_user_at(&k, "w"), "ann");
    kit_end(&k);
}

Test(users, nobody_is_nobody) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:50");
    hello(&k, "w");
    request_ext(&k, "c", "S", "1",
                EXT "\x81\xa1u\xa3"
                    "eve");
    cr_expect_str_eq(s_user_at(&k, "w"), "");
    say(&k, FRONT, "c", "", "MDPC01", "S", "2",
        "\xa1"
        "f",
        EXT "\x81\xa1u\xa3"
            "eve");
    cr_expect_str_eq(s_user_at(&k, "w"), "");
    kit_end(&k);
}

Test(users, a_worker_belongs_to_its_user) {
    kit_t k;
    kit_begin(&k);
    k.user = "ann";
    kit_worker(&k, "w", "S:d:5");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    k.user = "eve";
    reply(&k, "w", "c", "1", "\x01");
    got_bye(&k, "w");
    counted(&k, "users_differ", 1);
    got_error(&k, "c", "1", "WorkerLostError", "another user");
    kit_end(&k);
}

/* ---- rules and rates ----------------------------------------------------- */
Test(rules, decide_by_user_service_and_method) {
    kit_t k;
    gi_access_t *access = NULL;
    kit_begin(&k);
    cr_assert_eq(
        gi_access_parse("deny eve S.f; deny - S.*; deny * Gate.stats", &access),
        GATE_OK);
    gi_broker_core_access(k.core, access);
    k.user = "ann";
    kit_worker(&k, "w", "S:d:5");
    kit_worker(&k, "x", "Free:d:5");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    request(&k, "c", "Gate", "2");
    got_error(&k, "c", "2", "AttributeError", "");
    say(&k, FRONT, "c", "", "MDPC01", "Gate", "3", "\xa5stats");
    got_error(&k, "c", "3", "AccessDeniedError", "Gate.stats");
    k.user = "eve";
    request(&k, "c", "S", "4");
    got_error(&k, "c", "4", "AccessDeniedError", "User eve may not call S.f");
    say(&k, FRONT, "c", "", "MDPC01", "S", "5", "\xff");
    got_error(&k, "c", "5", "Error", "");
    say(&k, FRONT, "c", "", "MDPC01", "Free", "6", "\xff");
    cr_expect(kit_got(&k, "x", "", "MDPW01", "\2", "c", "", "6", "\xff", NULL),
              "no rules, not looked at");
    k.user = NULL;
    request(&k, "c", "S", "7");
    got_error(&k, "c", "7", "AccessDeniedError", "not authenticated");
    counted(&k, "denied", 3);
    kit_end(&k);
    gi_access_destroy(&access);
}

Test(rules, rates) {
    kit_t k;
    kit_init(&k);
    k.settings->rate_limit_peer = 3;
    k.settings->rate_limit_user = 5;
    kit_start(&k);
    k.user = "ann";
    kit_worker(&k, "w", "S:d:500");
    for (int i = 0; i < 4; i++)
        request(&k, "c", "S", i == 0 ? "1" : i == 1 ? "2" : i == 2 ? "3" : "4");
    got_error(&k, "c", "4", "BusyWorkerError", "rate_limit_peer");
    request(&k, "d", "S", "1");
    request(&k, "d", "S", "2");
    request(&k, "d", "S", "3");
    got_error(&k, "d", "3", "BusyWorkerError", "rate_limit_user");
    kit_wait(&k, 1000);
    kit_forget(&k);
    beat(&k, "w");
    request(&k, "c", "S", "5");
    got_request(&k, "w", "c", "5");
    counted(&k, "peer_rates", 1);
    counted(&k, "user_rates", 1);
    kit_end(&k);
}

Test(auth, no_memory_anywhere) {
    for (long n = 1; n < 80; n++) {
        kit_t k;
        s_begin(&k);
        s_worker(&k, "w");
        hello(&k, "w");
        gi_mem_fail_at(n, n % 2);
        ask(&k, "c", "1", "joe", "x");
        s_answer(&k, "200", "joe");
        ask(&k, "c", "2", "joe", "y");
        s_answer(&k, "400", "");
        gi_mem_fail_at(0, false);
        kit_end(&k);
    }
}

/* ---- workers with a wrong password --------------------------------------- */
/* As a Python worker with _reconnect does: DISCONNECT brings it back at once. */
Test(auth, a_worker_that_comes_again_and_again_is_told_seldom) {
    kit_t k;
    char w[8];
    s_begin(&k);
    k.address = "10.0.0.1";
    for (int i = 0; i < 8; i++) {
        snprintf(w, sizeof w, "w%d", i);
        zready(&k, w, "bob", "bad");
        cr_assert(s_answer(&k, "400", ""));
    }
    counted(&k, "disconnects", 1);
    kit_wait(&k, HB);
    zready(&k, "w9", "bob", "bad");
    cr_assert(s_answer(&k, "400", ""));
    counted(&k, "disconnects", 2);
    zready(&k, "w9", "ann", "bad"); /* somebody else's */
    cr_assert(s_answer(&k, "400", ""));
    counted(&k, "disconnects", 3);
    kit_end(&k);
}

/* All tries of the pair are used up; who was let in from there before is looked
 * at all the same. */
Test(auth, others_mistakes_do_not_lock_the_right_ones_out) {
    kit_t k;
    char c[8];
    s_begin(&k);
    k.address = "10.0.0.1";
    s_worker(&k, "w");
    ask(&k, "c", "1", "bob", "good");
    cr_assert(s_answer(&k, "200", "bob"));
    for (int i = 0; i < 12; i++) {
        snprintf(c, sizeof c, "x%d", i);
        ask(&k, c, "1", "bob", "bad");
        s_answer(&k, "400", "");
    }
    counted(&k, "zap_throttled", 0);
    ask(&k, "y", "1", "bob", "bad"); /* not looked at */
    cr_assert(!s_answer(&k, "400", ""));
    ask(&k, "d", "1", "bob", "good"); /* a new connection */
    cr_assert(s_answer(&k, "200", "bob"));
    ask(&k, "e", "1", "bob", "other"); /* was never right */
    cr_assert(!s_answer(&k, "400", ""));
    k.address = "10.0.0.2"; /* nor from there, but it has tries of its own */
    ask(&k, "f", "1", "bob", "good");
    cr_assert(s_answer(&k, "200", "bob"));
    kit_end(&k);
}

/* A Python worker that is told DISCONNECT ends for good. */
Test(auth, an_outage_does_not_end_a_plain_worker_for_good) {
    kit_t k;
    s_begin(&k);
    s_worker(&k, "w");
    kit_wait(&k, HB);
    ask(&k, "c", "1", "joe", "x");
    cr_assert(s_answer(&k, "200", "joe"));
    for (int i = 0; i < 62; i++) { /* until it is asked about again */
        kit_wait(&k, HB);
        zbeat(&k, "w", "srv", "pw");
        while (s_answer(&k, "500", ""))
            ;
    }
    counted(&k, "workers_lost", 1);
    counted(&k, "disconnects", 0);
    kit_forget(&k);
    kit_wait(&k, HB + 50);
    said_t *m = kit_take(&k, "w"); /* it is asked on */
    cr_assert(m && kit_frame_is(m, 2, "\4"));
    free(m);
    zbeat(&k, "w", "srv", "pw");
    cr_assert(s_answer(&k, "200", "srv"));
    counted(&k, "restored", 1);
    kit_end(&k);
}
