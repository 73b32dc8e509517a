/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may administer, and workers that somebody may have robbed of their
 * routing id. */
#include "broker_kit.h"
#include "broker/core/broker_state.h"

static bool s_are_ours;

static bool s_ours(void *ctx, int fd) {
    (void)ctx, (void)fd;
    return s_are_ours;
}

static gi_broker_effects_t s_effects;
static gi_access_t *s_rules;

static void s_begin(kit_t *k, const char *rules) {
    kit_init(k);
    kit_start(k);
    s_effects = kit_effects;
    s_effects.ours = s_ours;
    k->core->effects = &s_effects;
    s_rules = NULL;
    cr_assert_eq(gi_access_parse(rules, &s_rules), GATE_OK);
    gi_broker_core_access(k->core, s_rules);
    kit_worker(k, "w", "S:d:9");
}

static void s_end(kit_t *k) {
    kit_end(k);
    gi_access_destroy(&s_rules);
}

/* What happens when that user calls it; "" is nobody. */
static bool s_may(kit_t *k, const char *user, const char *func,
                  const char *args) {
    uint64_t before = gi_broker_core_count(k->core, "denied");
    k->user = user;
    say(k, FRONT, "c", "", "MDPC01", "Gate", "id", func, args);
    said_t *m = kit_take(k, "c");
    cr_assert(m && m->n == 5);
    bool denied = gi_broker_core_count(k->core, "denied") > before;
    cr_expect_eq(denied, memmem(m->f[4].data, m->f[4].size, "AccessDeniedError",
                                17) != NULL);
    free(m);
    return !denied;
}

#define DRAIN \
    "\xa5"    \
    "drain",  \
        "\x91\xa1S"
#define WORKERS \
    "\xa7"      \
    "workers",  \
        "\x91\xa1S"
#define STATS \
    "\xa5"    \
    "stats",  \
        "\x90"
#define NAMES       \
    "\xac"          \
    "get_services", \
        "\x90"

/* Nobody in particular: by where it is. */
Test(trust, whoever_is_not_ours_does_not_administer) {
    kit_t k;
    s_begin(&k, "");
    s_are_ours = false;
    cr_expect_not(s_may(&k, "", DRAIN));
    cr_expect_not(s_may(&k, "", WORKERS));
    cr_expect_not(s_may(&k, "", STATS));
    cr_expect(s_may(&k, "", NAMES));
    s_are_ours = true;
    cr_expect(s_may(&k, "", STATS));
    cr_expect(s_may(&k, "", WORKERS));
    cr_expect(s_may(&k, "", DRAIN));
    s_end(&k);
}

/* With a name: by the rules alone, wherever it is. */
Test(trust, who_has_a_name_needs_a_rule) {
    kit_t k;
    s_begin(&k, "allow ann Demo.*; allow root Gate.*; deny - Gate.stats");
    s_are_ours = true;
    cr_expect_not(s_may(&k, "ann", DRAIN));
    cr_expect_not(s_may(&k, "bob", STATS));
    cr_expect(s_may(&k, "root", DRAIN));
    cr_expect(s_may(&k, "root", STATS));
    cr_expect_not(s_may(&k, "", STATS)); /* a rule says no */
    s_end(&k);
}

Test(trust, a_denial_names_the_rule_that_is_missing) {
    kit_t k;
    s_begin(&k, "");
    s_are_ours = true;
    k.user = "bob";
    say(&k, FRONT, "c", "", "MDPC01", "Gate", "id", DRAIN);
    got_error(&k, "c", "id", "AccessDeniedError", "allow bob Gate.drain");
    s_end(&k);
}

/* ---- newcomers ------------------------------------------------------------ */
static void s_newcomer(kit_t *k) {
    gi_broker_core_newcomer(k->core, k->now);
    kit_check(k);
}

/* It is asked, and gets nothing until it has answered; then all, in order. */
Test(trust, a_doubted_worker_gets_nothing_until_it_speaks) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
    got_beat(&k, "w");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    s_newcomer(&k);
    got_beat(&k, "w");
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    got_nothing(&k, "w");
    got_nothing(&k, "c");
    s_newcomer(&k); /* not asked twice */
    got_nothing(&k, "w");
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4");
    got_request(&k, "w", "c", "2");
    got_request(&k, "w", "c", "3");
    s_newcomer(&k);
    got_beat(&k, "w");
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\3", "c", "", "1", "done");
    got_reply(&k, "c", "S", "1", "done"); /* a reply is an answer too */
    request(&k, "c", "S", "4");
    got_request(&k, "w", "c", "4");
    kit_end(&k);
}

/* Nor do cancels and chunks of arguments go to it. */
Test(trust, what_is_for_a_doubted_worker_waits) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4", HELLO);
    got_beat(&k, "w");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    s_newcomer(&k);
    got_beat(&k, "w");
    control(&k, "c", "1", CANCEL);
    gi_broker_core_retry(k.core, 64, k.now);
    got_nothing(&k, "w");
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4");
    gi_broker_core_retry(k.core, 64, k.now);
    got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    kit_end(&k);
}

/* Another one of the service serves meanwhile, and silence ends it as ever. */
Test(trust, others_serve_and_silence_ends_it) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
    say_fd(&k, BACK, "v", 6, "", "MDPW01", "\1", "S:d:9");
    say_fd(&k, BACK, "v", 6, "", "MDPW01", "\4", HELLO);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4", HELLO);
    kit_forget(&k);
    s_newcomer(&k);
    say_fd(&k, BACK, "v", 6, "", "MDPW01", "\4");
    kit_forget(&k);
    for (char id[2] = "1"; *id < '5'; ++*id) {
        request(&k, "c", "S", id);
        got_request(&k, "v", "c", id);
    }
    got_nothing(&k, "w");
    for (int i = 0; i < 4; i++) {
        kit_wait(&k, HB);
        say_fd(&k, BACK, "v", 6, "", "MDPW01", "\4");
    }
    counted(&k, "workers_expired", 1);
    kit_end(&k);
}

/* Whoever registers next under that routing id is not the one in doubt. */
static void s_next(kit_t *k) {
    say_fd(k, BACK, "w", 7, "", "MDPW01", "\1", "S:d:9");
    got_beat(k, "w");
    request(k, "c", "S", "1");
    got_request(k, "w", "c", "1");
}

Test(trust, a_doubt_ends_with_its_worker) {
    for (int silent = 0; silent <= 1; silent++) {
        kit_t k;
        kit_begin(&k);
        say_fd(&k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
        got_beat(&k, "w");
        s_newcomer(&k);
        for (int i = 0; silent && i < 5; i++)
            kit_wait(&k, HB);
        counted(&k, "workers_expired", (uint64_t)silent);
        kit_forget(&k);
        s_next(&k);
        kit_end(&k);
    }
}

/* Nothing goes to it that would tell that it has gone, but the question. */
Test(trust, a_doubted_worker_that_dies_is_lost) {
    kit_t k;
    kit_begin(&k);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4", HELLO);
    got_beat(&k, "w");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    s_newcomer(&k);
    got_beat(&k, "w");
    k.gone[0] = "w";
    kit_closed(&k, BACK, 5);
    kit_wait(&k, 500);
    got_error(&k, "c", "1", "WorkerLostError", "S");
    kit_end(&k);
}

/* ---- who is robbed -------------------------------------------------------- */
static int64_t s_sent; /* by each connection */
static int s_shut_fd;

static int64_t s_carried(void *ctx, int fd) {
    (void)ctx, (void)fd;
    return s_sent;
}

static bool s_shut(void *ctx, int fd) {
    (void)ctx;
    s_shut_fd = fd;
    return true;
}

/* A worker, extended or not, that somebody may have robbed. */
static void s_doubted(kit_t *k, bool ext) {
    kit_begin(k);
    s_effects = kit_effects;
    s_effects.carried = s_carried;
    s_effects.shut = s_shut;
    k->core->effects = &s_effects;
    s_shut_fd = -1;
    s_sent = 100;
    k->open[5] = 1;
    say_fd(k, BACK, "w", 5, "", "MDPW01", "\1", "S:d:9");
    if (ext)
        say_fd(k, BACK, "w", 5, "", "MDPW01", "\4", HELLO);
    kit_forget(k);
    request(k, "c", "S", "1");
    got_request(k, "w", "c", "1");
    s_newcomer(k);
    got_beat(k, "w");
}

/* Nothing of the question left over its connection: that is shut down, so that
 * it notices; its calls do not wait for its silence. */
Test(trust, a_robbed_worker_is_cut_off_at_once) {
    kit_t k;
    s_doubted(&k, true);
    kit_wait(&k, 400);
    got_beat(&k, "w");
    cr_expect_eq(s_shut_fd, -1, "libzmq's thread may have stood still");
    kit_wait(&k, 400);
    cr_expect_eq(s_shut_fd, 5);
    counted(&k, "workers_robbed", 1);
    got_error(&k, "c", "1", "WorkerLostError", "another took its routing id");
    kit_end(&k);
}

/* libzmq hears only the one that came last, whatever that says. */
Test(trust, a_robbed_connection_is_ended_when_the_thief_speaks) {
    kit_t k;
    s_doubted(&k, true);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4");
    k.open[9] = 1;
    say_fd(&k, BACK, "w", 9, "", "MDPW01", "\4");
    cr_expect_eq(s_shut_fd, 5);
    counted(&k, "workers_robbed", 1);
    kit_end(&k);
}

Test(trust, a_connection_that_is_closed_was_not_robbed) {
    kit_t k;
    s_doubted(&k, false);
    k.open[5] = 0;
    k.open[9] = 1;
    say_fd(&k, BACK, "w", 9, "", "MDPW01", "\4");
    cr_expect_eq(s_shut_fd, -1);
    counted(&k, "workers_robbed", 0);
    kit_end(&k);
}

/* Python's takes its id back: what it had is not lost. */
Test(trust, a_robbed_plain_worker_comes_back) {
    kit_t k;
    s_doubted(&k, false);
    for (int i = 0; i < 2; i++)
        kit_wait(&k, 400);
    cr_expect_eq(s_shut_fd, 5);
    kit_forget(&k);
    got_nothing(&k, "c");
    say_fd(&k, BACK, "w", 7, "", "MDPW01", "\4");
    kit_forget(&k);
    request(&k, "c", "S", "2");
    got_request(&k, "w", "c", "2");
    kit_end(&k);
}

/* It got the question, and is busy; or that waits in the kernel. */
Test(trust, a_slow_worker_keeps_its_connection) {
    kit_t k;
    s_doubted(&k, true);
    s_sent = 180;
    for (int i = 0; i < 3; i++) {
        kit_wait(&k, 500);
        got_beat(&k, "w"); /* asked again: the id may be taken meanwhile */
        s_sent = i < 1 ? 260 : -1;
    }
    cr_expect_eq(s_shut_fd, -1);
    say_fd(&k, BACK, "w", 5, "", "MDPW01", "\4");
    request(&k, "c", "S", "2");
    got_request(&k, "w", "c", "2");
    kit_end(&k);
}
