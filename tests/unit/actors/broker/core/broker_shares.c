/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may have how much: what waits for whoever does not read, calls under way,
 * names without workers, and what libzmq holds. */
#include "broker_kit.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"

#define MIB (1 << 20)

static void s_begin(kit_t *k, int64_t room) {
    kit_init(k);
    k->settings->broker_queue_max_bytes = room;
    kit_start(k);
}

/* So many requests to a service that is not there. */
static void s_refused(kit_t *k, const char *client, int n) {
    char id[16];
    for (int i = 0; i < n; i++) {
        snprintf(id, sizeof id, "%d", i);
        request(k, client, "No", id);
    }
}

/* Answers to what was not taken: half of the room, in shares. */
Test(shares, refusals_of_who_does_not_read_are_bounded) {
    static const char *const sleepers[] = {"s1", "s2", "s3", "s4"};
    kit_t k;
    s_begin(&k, 200000);
    kit_worker(&k, "w", "S:d:0");
    for (int i = 0; i < 4; i++)
        k.full[i] = sleepers[i];
    s_refused(&k, "s1", 2000);
    cr_expect_gt(k.core->queued_bytes, 50000u);
    cr_expect_lt(k.core->queued_bytes, 101000u);
    for (int i = 1; i < 4; i++)
        s_refused(&k, sleepers[i], 500);
    cr_expect_lt(k.core->queued_bytes, 101000u);
    cr_expect_gt(gi_broker_core_count(k.core, "dropped_full"), 3000u);
    for (int i = 0; i < 100; i++) { /* there is room for a call */
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        request(&k, "c", "S", id);
    }
    got_nothing(&k, "c");
    k.full[0] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    kit_check(&k);
    got_error(&k, "s1", "0", "ServiceUnAvailableError", "No");
    kit_end(&k);
}

/* Alone it has half; the next finds some of the rest. */
Test(shares, of_the_queues) {
    kit_t k;
    char id[16];
    s_begin(&k, 100000);
    kit_worker(&k, "w", "S:d:0");
    int n = 0;
    for (; n < 1000; n++) {
        snprintf(id, sizeof id, "%d", n);
        request(&k, "greedy", "S", id);
        if (gi_broker_core_count(k.core, "queue_full"))
            break;
    }
    got_error(&k, "greedy", id, "BusyWorkerError", "broker_queue_max_bytes");
    size_t used = k.core->queued_bytes;
    cr_expect(used > 10000 && used < 50000, "%zu", used);
    for (int i = 0; i < n / 3; i++) {
        snprintf(id, sizeof id, "%d", i);
        request(&k, "modest", "S", id);
    }
    got_nothing(&k, "modest");
    counted(&k, "queue_full", 1);
    kit_end(&k);
}

static bool s_takes(kit_t *k, const char *client, int i) {
    char id[16];
    uint64_t before = gi_broker_core_count(k->core, "calls_full");
    snprintf(id, sizeof id, "%d", i);
    request(k, client, "S", id);
    kit_forget(k);
    return gi_broker_core_count(k->core, "calls_full") == before;
}

/* Whatever a worker announces, and though nothing waits anywhere. */
Test(shares, of_calls_under_way) {
    kit_t k;
    int n = 0, m = 0;
    s_begin(&k, MIB);
    kit_worker(&k, "w", "S:d:999999999999999");
    kit_worker(&k, "v", "S:d:999999999999999");
    while (n < 20000 && s_takes(&k, "greedy", n))
        n++;
    cr_expect_eq(n, 8192);
    cr_expect_eq(k.core->queued_bytes, 0);
    while (m < 20000 && s_takes(&k, "modest", m))
        m++;
    cr_expect_eq(m, 4096);
    control(&k, "greedy", "1", CANCEL);
    request(&k, "greedy", "S", "more");
    got_error(&k, "greedy", "more", "BusyWorkerError", "under way");
    reply(&k, "w", "greedy", "0", "done");
    reply(&k, "v", "modest", "1", "done");
    kit_forget(&k);
    cr_expect(s_takes(&k, "modest", 5000));
    kit_end(&k);
}

Test(shares, what_a_worker_announces_is_believed_up_to_a_million) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:999999999999999");
    say(&k, FRONT, "c", "", "MDPC01", "Gate", "id", "\xa5stats");
    said_t *m = kit_take(&k, "c");
    cr_assert(m && m->n == 5);
    cr_expect(memmem(m->f[4].data, m->f[4].size, "\xce\x00\x0f\x42\x40", 5));
    free(m);
    kit_end(&k);
}

/* ---- names --------------------------------------------------------------- */
static void s_come_and_go(kit_t *k, const char *who, const char *name, int n,
                          int bytes) {
    char line[16384];
    for (int i = 0; i < n; i++) {
        snprintf(line, sizeof line, "%s%d:%0*d:1", name, i, bytes, 0);
        ready(k, who, line);
        bye(k, who);
        kit_forget(k);
    }
}

static bool s_knows(kit_t *k, const char *name) {
    return gi_broker_service_find(k->core,
                                  (gate_bytes_t){name, strlen(name)}) != NULL;
}

Test(shares, of_names_without_workers) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "here", "Here:d:1");
    s_come_and_go(&k, "w", "mine", 10, 1);
    s_come_and_go(&k, "x", "n", 500, 10000);
    cr_expect_eq(k.core->n_services, 1u + 10u + 64u);
    cr_expect(s_knows(&k, "n499") && s_knows(&k, "n436"));
    cr_expect_not(s_knows(&k, "n435"));
    cr_expect(s_knows(&k, "mine0") && s_knows(&k, "Here"));
    for (int i = 0; i < 60; i++) { /* another connection each time */
        char who[8];
        snprintf(who, sizeof who, "y%d", i);
        s_come_and_go(&k, who, who, 64, 10000);
    }
    cr_expect_lt(k.core->parked_bytes, 8u << 20);
    cr_expect_not(s_knows(&k, "mine0"));
    cr_expect(s_knows(&k, "y5963") && s_knows(&k, "Here"));
    kit_worker(&k, "z", "y5963:d:1"); /* one of them comes back */
    bye(&k, "z");
    kit_wait(&k, 60 * HB);
    cr_expect_eq(k.core->n_services, 0); /* all have been silent */
    kit_end(&k);
}

Test(shares, a_description_is_cut_between_characters) {
    kit_t k;
    kit_begin(&k);
    char line[4096], *at = line + sprintf(line, "S:");
    for (int i = 0; i < 900; i++)
        at += sprintf(at, "\xe2\x82\xac"); /* three bytes each */
    strcpy(at, ":7");
    kit_worker(&k, "w", line);
    gi_broker_service_t *s =
        gi_broker_service_find(k.core, (gate_bytes_t){"S", 1});
    cr_assert(s);
    cr_expect_eq(s->description_size, 1023);
    cr_expect_eq(strlen(s->description), 1023);
    kit_end(&k);
}

/* ---- what libzmq holds ---------------------------------------------------- */
static bool s_dry;

static bool s_writable(void *ctx, int fd) {
    (void)ctx;
    return fd == 7 && s_dry;
}

static void s_answer(kit_t *k, int i, const char *body) {
    char id[16];
    snprintf(id, sizeof id, "%d", i);
    say_fd(k, FRONT, "c", 7, "", "MDPC01", "S", id,
           "\xa1"
           "f");
    reply(k, "w", "c", id, body);
}

static unsigned s_said_to(kit_t *k, const char *to) {
    unsigned n = 0;
    for (said_t *m; (m = kit_take(k, to)) != NULL; n++)
        free(m);
    return n;
}

/* A quarter of peer_queue_max_bytes, the rest waits here, and then no more. */
Test(shares, what_is_handed_over_counts) {
    static char body[2001];
    gi_broker_effects_t effects = kit_effects;
    kit_t k;
    effects.writable = s_writable;
    memset(body, 'x', 2000);
    kit_init(&k);
    k.settings->peer_queue_max_bytes = 400000;
    kit_start(&k);
    k.core->effects = &effects;
    kit_worker(&k, "w", "S:d:999");
    for (int i = 0; i < 300; i++)
        s_answer(&k, i, body);
    unsigned n = s_said_to(&k, "c");
    cr_expect(n > 30 && n <= 40, "%u were handed over", n);
    cr_expect_gt(k.core->queued_bytes, 290000u);
    cr_expect_lt(k.core->queued_bytes, 345000u); /* with the errors */
    cr_expect_gt(gi_broker_core_count(k.core, "dropped_full"), 0u);
    s_dry = true;
    for (int i = 0; i < 50 && gi_broker_core_blocked(k.core); i++) {
        gi_broker_core_retry(k.core, 64, k.now += 3);
        kit_check(&k);
    }
    cr_expect_eq(k.core->queued_bytes, 0);
    cr_expect_gt(s_said_to(&k, "c"), 140u);
    kit_end(&k);
}

/* One look says nothing: libzmq may not have begun to write. */
Test(shares, one_look_at_a_socket_is_none) {
    static char body[2001];
    gi_broker_effects_t effects = kit_effects;
    kit_t k;
    effects.writable = s_writable;
    s_dry = true;
    memset(body, 'x', 2000);
    kit_init(&k);
    k.settings->peer_queue_max_bytes = 400000;
    kit_start(&k);
    k.core->effects = &effects;
    kit_worker(&k, "w", "S:d:999");
    for (int i = 0; i < 100; i++)
        s_answer(&k, i, body);
    cr_expect_leq(s_said_to(&k, "c"), 40u);
    cr_expect(gi_broker_core_blocked(k.core));
    kit_end(&k);
}

/* All that do not read have an eighth of the room at libzmq, and whoever reads
 * gets its answers all the same; nor does what many got once count for ever. */
Test(shares, what_is_handed_to_many_counts_together) {
    static char body[2001];
    gi_broker_effects_t effects = kit_effects;
    kit_t k;
    effects.writable = s_writable;
    memset(body, 'x', 2000);
    kit_init(&k);
    k.settings->peer_queue_max_bytes = 4 << 20;
    k.settings->broker_queue_max_bytes = 8 << 20;
    kit_start(&k);
    k.core->effects = &effects;
    kit_worker(&k, "w", "S:d:99999");
    for (int i = 0; i < 40; i++) { /* each would have a MiB by itself */
        char client[8], id[16];
        snprintf(client, sizeof client, "c%d", i);
        for (int j = 0; j < 50; j++) {
            snprintf(id, sizeof id, "%d-%d", i, j);
            say_fd(&k, FRONT, client, 100 + i, "", "MDPC01", "S", id,
                   "\xa1"
                   "f");
            reply(&k, "w", client, id, body);
        }
        kit_check(&k);
    }
    cr_expect_gt(k.core->handed, 900000u);
    cr_expect_lt(k.core->handed, (1u << 20) + 40 * GI_HANDED_LITTLE);
    s_dry = true;
    for (int j = 0; j < 100; j++) { /* descriptor 7 takes what it is sent */
        s_answer(&k, j, body);
        k.now += 3;
        gi_broker_core_retry(k.core, 64, k.now);
        kit_check(&k);
    }
    cr_expect_gt(s_said_to(&k, "c"), 95u);
    kit_end(&k);
}

/* ---- messages that wait --------------------------------------------------- */
Test(shares, what_waited_is_as_it_was) {
    static char frames[4][20000];
    static const size_t sizes[4] = {0, 29, 8192, 20000};
    kit_t k;
    kit_begin(&k);
    request(&k, "c", "No", "1");
    gi_broker_peer_t *peer = k.core->sockets[FRONT].last;
    cr_assert(peer);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < 4; i++) {
            memset(frames[i], 'a' + i, sizes[i]);
            cr_assert(gi_frames_add(&k.core->out, frames[i], sizes[i]));
        }
        gi_broker_message_t *m =
            turn == 2 ? gi_broker_message_copy(k.core, peer)
                      : gi_broker_message_keep(k.core, &k.core->out, peer);
        gi_frames_close(&k.core->out);
        cr_assert(m);
        cr_expect_eq(peer->weight, m->weight);
        cr_expect(m->weight > 28221 && m->weight < 28221 + 300);
        if (turn == 1) { /* it could not be sent */
            cr_assert(gi_broker_message_open(&k.core->out, m));
            gi_broker_message_shut(k.core, m);
        }
        cr_assert(gi_broker_message_restore(k.core, &k.core->out, m));
        gate_bytes_t view[GI_FRAMES_MAX];
        gi_frames_view(&k.core->out, 0, view);
        cr_assert_eq(k.core->out.n, 4);
        for (int i = 0; i < 4; i++) {
            cr_expect_eq(view[i].size, sizes[i]);
            cr_expect_eq(memcmp(view[i].data, frames[i], sizes[i]), 0);
        }
        gi_frames_close(&k.core->out);
        cr_expect_eq(peer->weight, 0);
    }
    kit_check(&k);
    kit_end(&k);
}

/* ---- turns --------------------------------------------------------------- */
#define BIG 1900
#define WINDOW (512 << 10)

static void s_big(kit_t *k, const char *client, int n) {
    char args[BIG + 1], id[16];
    memset(args, 'x', BIG);
    args[BIG] = 0;
    snprintf(id, sizeof id, "%d", n);
    say(k, FRONT, client, "", "MDPC01", "S", id,
        "\xa1"
        "f",
        args, "\x80");
}

/* Takes what went to w: how many requests before the first of that client, and
 * in all; how many heartbeats. */
static int s_before(kit_t *k, const char *client, int *n, int *beats) {
    int before = -1;
    *n = *beats = 0;
    for (said_t *m; (m = kit_take(k, "w")); free(m)) {
        bool call = kit_frame_is(m, 2, "\2");
        *beats += kit_frame_is(m, 2, "\4");
        if (call && before < 0 && kit_frame_is(m, 3, client))
            before = *n;
        *n += call;
    }
    return before;
}

/* Behind a worker's credit, too, clients take turns. */
Test(turns, who_comes_late_with_one_call_waits_for_few_of_anothers) {
    kit_t k;
    char id[16];
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%d", i);
        request(&k, "c", "S", id);
    }
    request(&k, "d", "S", "1");
    int n, beats, taken = 0;
    while (s_before(&k, "d", &n, &beats) != 0) {
        snprintf(id, sizeof id, "%d", taken++);
        reply(&k, "w", "c", id, "x");
    }
    cr_expect_leq(taken, 17, "%d of another's came first", taken);
    kit_end(&k);
}

/* Nor does one wait behind megabytes that are on their way to it. */
Test(turns, a_worker_gets_no_more_than_it_reads) {
    kit_t k;
    int n, beats;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:999");
    s_big(&k, "c", 9999);
    s_big(&k, "d", 9999); /* two use it */
    for (int i = 0; i < 600; i++)
        s_big(&k, "c", i);
    s_before(&k, "c", &n, &beats);
    cr_expect_eq(beats, 1);
    cr_expect_geq(n, WINDOW / (BIG + 200));
    cr_expect_leq(n, WINDOW / BIG + 1);
    request(&k, "d", "S", "1");
    kit_forget(&k);
    beat(&k, "w"); /* it has read half of it */
    cr_expect_leq((unsigned)s_before(&k, "d", &n, &beats), 16u);
    cr_expect_eq(beats, 1);
    cr_expect_geq(n, WINDOW / 2 / (BIG + 200));
    cr_expect_leq(n, WINDOW / 2 / BIG + 8, "%d", n);
    beat(&k, "w");
    beat(&k, "w");
    beat(&k, "w");
    cr_expect_eq(k.core->n_queued, 0u); /* all of them, in the end */
    kit_end(&k);
}

/* Alone a client has several times as much. */
Test(turns, one_client_alone_has_a_larger_window) {
    kit_t k;
    int n, beats;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9999");
    for (int i = 0; i < 4000; i++)
        s_big(&k, "c", i);
    s_before(&k, "c", &n, &beats);
    cr_expect_eq(beats, 1);
    cr_expect_geq(n, 6 * (WINDOW / (BIG + 200)), "%d", n);
    cr_expect_leq(n, 8 * (WINDOW / BIG + 1));
    kit_end(&k);
}

/* A worker that cannot be asked gets all that its credit and its queue take. */
Test(turns, a_plain_worker_has_no_window) {
    kit_t k;
    int n, beats;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:999");
    for (int i = 0; i < 600; i++)
        s_big(&k, "c", i);
    s_before(&k, "c", &n, &beats);
    cr_expect_eq(n, 600);
    cr_expect_eq(beats, 0);
    kit_end(&k);
}

/* One that does not answer about what it has read answers a heartbeat later. */
Test(turns, an_answer_that_is_lost_holds_calls_up_for_a_heartbeat) {
    kit_t k;
    int n, beats;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:999");
    s_big(&k, "d", 9999);
    for (int i = 0; i < 600; i++)
        s_big(&k, "c", i);
    kit_forget(&k);
    kit_wait(&k, HB);
    s_before(&k, "c", &n, &beats);
    cr_expect_eq(beats, 1);
    beat(&k, "w");
    s_before(&k, "c", &n, &beats);
    cr_expect_gt(n, 0);
    kit_end(&k);
}
