/* SPDX-License-Identifier: BSD-3-Clause */
/* Far workers and far clients: local first, never far to far, what came back
 * unrun goes on, who is lost with a node (docs/uplink.md). */
#include "../core/broker_kit.h"
#include "broker/core/broker_services.h"
#include "broker/far/broker_far.h"
#include "rules/access.h"

#define A "nodeAAAA"
#define B "nodeBBBB"
#define BODY \
    "\xa1"   \
    "f",     \
        "\x90", "\x80"
#define id_of(node) ((const unsigned char *)(node))

static unsigned s_workers, s_clients;

static void s_begin(kit_t *k) {
    kit_begin(k);
    cr_assert_eq(gi_broker_core_far(k->core, true, &s_workers, &s_clients),
                 GATE_OK);
}

static void s_offer(kit_t *k, const char *node, const char *name,
                    const char *service, int64_t max, const char *idempotent) {
    gi_link_offer_t offer = {.index = 7,
                             .name = {service, strlen(service)},
                             .description = {"", 0},
                             .idempotent = {idempotent, strlen(idempotent)},
                             .workers = 1,
                             .max = max};
    gi_broker_far_news_t news = {.name = {name, strlen(name)},
                                 .offers = &offer,
                                 .n_offers = *service != 0};
    gi_broker_core_far_news(k->core, id_of(node), &news, k->now);
    kit_check(k);
}

static unsigned s_frames(gate_bytes_t *f, va_list list) {
    unsigned n = 0;
    for (const char *s; (s = va_arg(list, const char *)) != NULL; n++)
        f[n] = (gate_bytes_t){s, strlen(s)};
    return n;
}

static bool s_answer(kit_t *k, const char *node, unsigned flags, ...) {
    gate_bytes_t f[16];
    va_list list;
    va_start(list, flags);
    unsigned n = s_frames(f, list);
    va_end(list);
    bool ok =
        gi_broker_core_far_reply(k->core, id_of(node), flags, f, n, k->now);
    kit_check(k);
    return ok;
}
#define answer(k, node, flags, ...) \
    cr_expect(s_answer(k, node, flags, __VA_ARGS__, NULL))

static bool s_ask(kit_t *k, const char *node, int64_t age_ms, ...) {
    gate_bytes_t f[16];
    va_list list;
    va_start(list, age_ms);
    unsigned n = s_frames(f, list);
    va_end(list);
    bool ok =
        gi_broker_core_far_request(k->core, id_of(node), f, n, age_ms, k->now);
    kit_check(k);
    return ok;
}
#define ask(k, node, ...) cr_expect(s_ask(k, node, 0, __VA_ARGS__, NULL))

#define got_far(k, node, c, id) \
    got(k, node, "", "MDPW01", "\2", c, "", id, BODY)

/* Of a far client's error: the flags that it came with. */
static int s_flags(kit_t *k, const char *to, const char *id) {
    said_t *m = kit_take(k, to);
    int flags = m && m->n >= 4 && kit_frame_is(m, 3, id) && m->f[0].size == 1
                    ? m->f[0].data[0]
                    : -1;
    free(m);
    return flags;
}

Test(far, a_call_goes_there_when_nobody_is_here_and_the_answer_comes_back) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 9, "");
    request(&k, "c", "S", "1");
    got_far(&k, B, "c", "1");
    answer(&k, B, 0, "c", "1", "result");
    got_reply(&k, "c", "S", "1", "result");
    counted(&k, "far_replies_in", 1);
    counted(&k, "finished", 1);
    answer(&k, B, 0, "c", "1", "again"); /* of no call */
    got_nothing(&k, "c");
    counted(&k, "replies_unknown", 1);
    kit_end(&k);
}

Test(far, nobody_there_is_our_own_service) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "Gate", 9, "");
    int64_t to, from;
    size_t services;
    gi_broker_core_far_load(k.core, id_of(B), &to, &from, &services);
    cr_expect_eq(services, 0u);
    cr_expect_null(gi_broker_service_find(k.core, (gate_bytes_t){"Gate", 4}));
    counted(&k, "no_memory", 0);
    kit_end(&k);
}

Test(far, local_workers_come_first) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 9, "");
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    request(&k, "c", "S", "2"); /* it is full */
    got_far(&k, B, "c", "2");
    reply(&k, "w", "c", "1", "r");
    request(&k, "c", "S", "3");
    got_request(&k, "w", "c", "3");
    kit_end(&k);
}

Test(far, its_share_is_kept_and_more_of_it_wakes_the_queue) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 1, "");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    got_far(&k, B, "c", "1");
    got_nothing(&k, B);
    gi_broker_core_far_share(k.core, id_of(B), 7, 1, k.now);
    kit_check(&k);
    got_far(&k, B, "c", "2");
    gi_broker_core_far_share(k.core, id_of(B), 8, 1, k.now); /* of nothing */
    kit_check(&k);
    kit_end(&k);
}

Test(far, what_waits_for_a_full_uplink_says_so) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 1, "");
    k.full[0] = B;
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    got_nothing(&k, B);
    kit_wait(&k, 5001);
    got_error(&k, "c", "2", "BusyWorkerError",
              "The uplink to B is full: uplink_node_bytes.");
    k.full[0] = NULL;
    cr_expect(gi_broker_core_retry(k.core, 9, k.now));
    got_far(&k, B, "c", "1");
    request(&k, "c", "S", "3"); /* its share is full, not the way there */
    kit_wait(&k, 5001);
    got_error(&k, "c", "3", "BusyWorkerError", "No idle worker.");
    kit_end(&k);
}

Test(far, a_far_client_gets_local_workers_alone) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 9, "");
    ask(&k, A, "S", "c", "1", BODY);
    cr_expect_eq(s_flags(&k, A "c", "1"), GI_LINK_UNRUN);
    got_nothing(&k, B);
    kit_worker(&k, "w", "S:d:1");
    ask(&k, A, "S", "c", "2", BODY);
    got_request(&k, "w", A "c", "2");
    ask(&k, A, "S", "c", "3", BODY); /* waits, though B has room */
    got_nothing(&k, B);
    request(&k, "here", "S", "4"); /* ours need not */
    got_far(&k, B, "here", "4");
    reply(&k, "w", A "c", "2", "r");
    got(&k, A "c", "", "MDPC01", "S", "2", "r");
    got_request(&k, "w", A "c", "3");
    ask(&k, A, "S", "c", "5", BODY);
    bye(&k, "w"); /* and no local one is left */
    cr_expect_eq(s_flags(&k, A "c", "3"), GI_LINK_LOST);
    cr_expect_eq(s_flags(&k, A "c", "5"), GI_LINK_UNRUN);
    kit_end(&k);
}

Test(far, what_did_not_run_goes_on_three_times_at_most) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, A, "A", "S", 9, "");
    request(&k, "c", "S", "1");
    got_far(&k, A, "c", "1");
    s_offer(&k, B, "B", "S", 9, "");
    answer(&k, A, GI_LINK_UNRUN, "c", "1", "no");
    got_far(&k, B, "c", "1");
    got_nothing(&k, "c");
    answer(&k, B, GI_LINK_UNRUN, "c", "1", "no");
    got_nothing(&k, A); /* both are waited for: they say when there is room */
    gi_broker_core_far_share(k.core, id_of(A), 7, 1, k.now);
    got_far(&k, A, "c", "1");
    answer(&k, A, GI_LINK_UNRUN, "c", "1", "no");
    gi_broker_core_far_share(k.core, id_of(B), 7, 1, k.now);
    got_far(&k, B, "c", "1");
    answer(&k, B, GI_LINK_UNRUN, "c", "1", "no");
    got_reply(&k, "c", "S", "1", "no");
    counted(&k, "unrun", 4);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(far, a_lost_node_is_named_and_its_clients_calls_are_cancelled) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "the other one", "S", 9, "");
    kit_ext_worker(&k, "w", "T:d:9");
    request(&k, "c", "S", "1");
    got_far(&k, B, "c", "1");
    ask(&k, B, "T", "d", "2", BODY);
    got_request(&k, "w", B "d", "2");
    gi_broker_core_far_lost(k.core, id_of(B), k.now);
    kit_check(&k);
    got_error(&k, "c", "1", "WorkerLostError",
              "The broker the other one is lost.");
    got(&k, "w", "", "MDPW01", "\6", B "d", "", "2", CANCEL);
    counted(&k, "far_lost", 1);
    reply(&k, "w", B "d", "2", "late");
    request(&k, "c", "S", "3");
    got_error(&k, "c", "3", "ServiceUnAvailableError", "S");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(far, idempotent_calls_run_again_elsewhere) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, A, "A", "S", 9, "f");
    request(&k, "c", "S", "1");
    got_far(&k, A, "c", "1");
    s_offer(&k, B, "B", "S", 9, "f");
    gi_broker_core_far_lost(k.core, id_of(A), k.now);
    kit_check(&k);
    said_t *m = kit_take(&k, B);
    cr_assert(m && m->f[5].size == 2 && m->f[5].data[1] == 2); /* run 2 */
    free(m);
    answer(&k, B, 0, "c", "1", "of another run");
    got_nothing(&k, "c");
    answer(&k, B, 0, "c", "1\2", "r");
    got_reply(&k, "c", "S", "1", "r");
    counted(&k, "ran_again", 1);
    kit_end(&k);
}

Test(far, a_worker_lost_there_is_run_again_by_us_alone) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 9, "f");
    request(&k, "c", "S", "1");
    request(&k, "c", "T", "2");
    got_far(&k, B, "c", "1");
    answer(&k, B, GI_LINK_LOST, "c", "1", "its worker is lost");
    said_t *m = kit_take(&k, B);
    cr_assert(m && m->f[5].size == 2);
    free(m);
    answer(&k, B, 0, "c", "1\2", "r");
    kit_forget(&k);
    s_offer(&k, B, "B", "S", 9, ""); /* not idempotent any more */
    request(&k, "c", "S", "3");
    got_far(&k, B, "c", "3");
    answer(&k, B, GI_LINK_LOST, "c", "3", "its worker is lost");
    got_reply(&k, "c", "S", "3", "its worker is lost");
    kit_end(&k);
}

Test(far, cancel_from_afar_reaches_the_worker_and_the_end_goes_back) {
    kit_t k;
    gate_bytes_t f[4] = {
        {"\0\0\0\1", 4}, {"c", 1}, {"1", 1}, {CANCEL, strlen(CANCEL)}};
    s_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    ask(&k, A, "S", "c", "1", BODY);
    got_request(&k, "w", A "c", "1");
    cr_expect(gi_broker_core_far_control(k.core, id_of(A), f, 4, k.now));
    kit_check(&k);
    got(&k, "w", "", "MDPW01", "\6", A "c", "", "1", CANCEL);
    reply(&k, "w", A "c", "1", STREAM, "item");
    got_nothing(&k, A "c");
    reply(&k, "w", A "c", "1", STREAM, GI_STREAM_END);
    got(&k, A "c", "", "MDPC01", "S", "1", STREAM, GI_STREAM_END);
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(far, our_caller_cancels_and_the_end_from_there_closes_the_call) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 9, "");
    request(&k, "c", "S", "1");
    got_far(&k, B, "c", "1");
    control(&k, "c", "1", CANCEL);
    got(&k, B, "", "MDPW01", "\6", "c", "", "1", CANCEL);
    answer(&k, B, 0, "c", "1", "r");
    got_nothing(&k, "c");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(far, a_service_that_is_not_offered_any_more_finishes_what_it_has) {
    kit_t k;
    s_begin(&k);
    s_offer(&k, B, "B", "S", 9, "");
    request(&k, "c", "S", "1");
    got_far(&k, B, "c", "1");
    s_offer(&k, B, "B", "", 0, "");
    answer(&k, B, 0, "c", "1", "r");
    got_reply(&k, "c", "S", "1", "r");
    request(&k, "c", "S", "2");
    got_error(&k, "c", "2", "ServiceUnAvailableError", "S");
    kit_end(&k);
}

Test(far, a_draining_broker_gives_calls_back) {
    kit_t k;
    s_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    gi_broker_core_drain(k.core);
    ask(&k, A, "S", "c", "1", BODY);
    cr_expect_eq(s_flags(&k, A "c", "1"), GI_LINK_UNRUN);
    kit_end(&k);
}

Test(far, time_in_the_link_counts) {
    kit_t k;
    s_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    cr_expect(s_ask(&k, A, 600, "S", "c", "1", BODY,
                    EXT "\x81\xa1t\xcd\x01\xf4", NULL)); /* t: 500 */
    got_error(&k, A "c", "1", "TimeoutError", "deadline");
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(far, rules_hold_for_the_user_that_the_link_names) {
    kit_t k;
    gi_access_t *access = NULL;
    s_begin(&k);
    cr_assert_eq(gi_access_parse("allow bob S.*; deny * S.*", &access),
                 GATE_OK);
    gi_broker_core_access(k.core, access);
    kit_worker(&k, "w", "S:d:9");
    ask(&k, A, "S", "c", "1", BODY,
        EXT "\x81\xa1u\xa3"
            "bob");
    got_request(&k, "w", A "c", "1");
    ask(&k, A, "S", "c", "2", BODY,
        EXT "\x81\xa1u\xa3"
            "eve");
    got_error(&k, A "c", "2", "AccessDeniedError", "eve");
    gi_broker_core_access(k.core, NULL);
    kit_end(&k);
    gi_access_destroy(&access);
}

Test(far, frames_that_are_none_are_said_to_be) {
    kit_t k;
    gate_bytes_t f[8] = {{"S", 1}, {"c", 1}, {"", 0}};
    s_begin(&k);
    cr_expect_not(gi_broker_core_far_request(k.core, id_of(A), f, 3, 0, k.now));
    cr_expect_not(gi_broker_core_far_request(k.core, id_of(A), f, 4, 0, k.now));
    cr_expect_not(gi_broker_core_far_control(k.core, id_of(A), f, 4, k.now));
    cr_expect_not(gi_broker_core_far_reply(k.core, id_of(A), 0, f, 2, k.now));
    cr_expect_not(gi_broker_core_far_credit(k.core, id_of(A), f, 3, k.now));
    gi_broker_core_far_lost(k.core, id_of(B), k.now);
    kit_check(&k);
    kit_end(&k);
}
