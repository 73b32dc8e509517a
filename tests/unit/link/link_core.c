/* SPDX-License-Identifier: BSD-3-Clause */
/* The link's law over a carrier in memory: what is delivered is a prefix of what
 * was put, each block comes back once, and once the carrier is well everything
 * arrives. */
#include <criterion/criterion.h>
#include "../../kit/link_world.h"
#include "link/link_impl.h"

static void s_until_up(w_world_t *w) {
    for (int i = 0; i < 100 && !(w->half[0].up && w->half[1].up); i++)
        w_pass(w, 10);
    cr_assert(w->half[0].up && w->half[1].up);
}

Test(link_core, both_halves_come_up_and_records_pass_in_order) {
    w_world_t w;
    w_init(&w, 1);
    s_until_up(&w);
    for (int i = 0; i < 1000; i++) {
        w_put(&w, i % 2, 3, 100);
        w_pass(&w, 1);
        w_use(&w, 0, 100);
        w_use(&w, 1, 100);
    }
    cr_assert(w_settle(&w));
    cr_assert_eq(w.half[1].next_in, 1500u);
    cr_assert_eq(gi_link_core_counts(w.half[0].link)->resent, 0u);
    w_fini(&w);
}

Test(link_core, nothing_is_lost_when_half_of_all_messages_are) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        w_world_t w;
        w_init(&w, seed);
        s_until_up(&w);
        w.loss = 30;
        w.twice = 20;
        w.slow = 30;
        for (int i = 0; i < 400; i++) {
            w_put(&w, i % 2, 1, 50);
            w_pass(&w, 1);
            w_use(&w, 0, 100);
            w_use(&w, 1, 100);
        }
        cr_assert(w_settle(&w));
        cr_assert_eq(w.half[0].lives, 1u, "seed %d", (int)seed);
        cr_assert_eq(w.half[1].next_in, 200u);
        w_fini(&w);
    }
}

Test(link_core, what_is_not_used_stops_the_sender_at_its_grant) {
    w_world_t w;
    w_init(&w, 3);
    s_until_up(&w);
    for (int i = 0; i < 200; i++) {
        w_put(&w, 0, 1, 60000);
        w_pass(&w, 2);
    }
    size_t came = w.half[1].unused_bytes;
    cr_assert_geq(came, (size_t)256 << 10);
    cr_assert_leq(came, ((size_t)256 << 10) + 65536);
    uint64_t stalled = gi_link_core_counts(w.half[0].link)->stalled_ms;
    cr_assert(stalled > 300 && stalled <= 400, "%llu ms of 400",
              (unsigned long long)stalled);
    cr_assert_eq(gi_link_core_counts(w.half[1].link)->stalled_ms, 0u);
    cr_assert(w_settle(&w));
    cr_assert_eq(w.half[1].next_in, 200u);
    w_fini(&w);
}

/* One batch there, used after it came. */
static void s_used_at_the_other_side(w_world_t *w) {
    w_put(w, 0, 1, 10);
    w_pass(w, 1);
    w_pass(w, 1);
    w_use(w, 1, 9);
    w_pass(w, 1);
}

Test(link_core, an_acknowledgement_goes_with_the_answer_or_soon_after) {
    w_world_t w;
    w_init(&w, 4);
    s_until_up(&w);
    for (int i = 0; i < 20; i++)
        w_pass(&w, 1);
    s_used_at_the_other_side(&w);
    cr_assert_eq(w.n_flight, 0u);
    w_put(&w, 1, 1, 10);
    w_pass(&w, 1);
    cr_assert_eq(w.n_flight, 1u);
    w_pass(&w, 1);
    cr_assert_eq(w.half[0].given_back, 1u);
    w_use(&w, 0, 9);
    w_pass(&w, 5);
    w_pass(&w, 5);
    s_used_at_the_other_side(&w);
    cr_assert_eq(w.n_flight, 0u);
    w_pass(&w, 1);
    cr_assert_eq(w.n_flight, 1u);
    w_pass(&w, 1);
    cr_assert_eq(w.half[0].given_back, 2u);
    w_fini(&w);
}

Test(link_core, small_blocks_that_wait_become_one_batch) {
    w_world_t w;
    w_init(&w, 4);
    s_until_up(&w);
    gi_link_core_carrier(w.half[0].link, false, w.now_ms);
    for (int i = 0; i < 1000; i++)
        w_put(&w, 0, 1, 40);
    gi_link_core_carrier(w.half[0].link, true, w.now_ms);
    cr_assert(w_settle(&w));
    cr_assert_leq(gi_link_core_counts(w.half[0].link)->batches_out, 2u);
    w_fini(&w);
}

Test(link_core, silence_is_named_within_three_heartbeats_and_it_comes_back) {
    w_world_t w;
    w_init(&w, 5);
    s_until_up(&w);
    w_put(&w, 0, 1, 10);
    w_pass(&w, 5);
    w.cut[0] = w.cut[1] = true;
    int64_t at = w.now_ms;
    while (w.half[0].up || w.half[1].up) {
        w_pass(&w, 10);
        cr_assert_leq(w.now_ms - at, 3200);
    }
    cr_assert_eq(w.half[0].put, w.half[0].given_back);
    w.cut[0] = w.cut[1] = false;
    at = w.now_ms;
    while (!w.half[0].up || !w.half[1].up) {
        w_pass(&w, 10);
        cr_assert_leq(w.now_ms - at, 2000);
    }
    w_fini(&w);
}

Test(link_core, one_way_is_as_bad_as_none) {
    w_world_t w;
    w_init(&w, 6);
    s_until_up(&w);
    w.cut[1] = true;
    w_put(&w, 0, 1, 10);
    int64_t at = w.now_ms;
    while (w.half[0].up || w.half[1].up) {
        w_pass(&w, 10);
        cr_assert_leq(w.now_ms - at, 3300);
    }
    w_fini(&w);
}

Test(link_core, another_life_is_noticed_at_once) {
    unsigned char me[8] = {1, 1}, node[8] = {0, 1};
    w_world_t w;
    w_init(&w, 7);
    s_until_up(&w);
    gi_link_core_destroy(&w.half[1].link);
    w.half[1].up = false;
    w.half[1].link =
        gi_link_core_new(me, node, 1000, 99, &w_effects, &w.half[1], w.now_ms);
    gi_link_core_carrier(w.half[1].link, true, w.now_ms);
    for (int i = 0; i < 10 && w.half[0].losses == 0; i++)
        w_pass(&w, 10);
    cr_assert_eq(w.half[0].losses, 1u);
    s_until_up(&w);
    w_put(&w, 1, 1, 10);
    cr_assert(w_settle(&w));
    w_fini(&w);
}

/* What was idle for long has not refused anything. */
Test(link_core, records_after_a_long_silence_do_not_end_the_link) {
    w_world_t w;
    w_init(&w, 10);
    s_until_up(&w);
    for (int i = 0; i < 1000; i++) { /* 10 s of announcements alone */
        gi_link_core_heard(w.half[0].link, 1000, w.now_ms);
        gi_link_core_heard(w.half[1].link, 1000, w.now_ms);
        w_pass(&w, 10);
    }
    w_put(&w, 0, 1, 10);
    gi_link_core_tick(w.half[0].link, w.now_ms);
    cr_assert(w.half[0].up);
    cr_assert(w_settle(&w));
    cr_assert_eq(w.half[0].lives, 1u);
    w_fini(&w);
}

Test(link_core, the_end_is_told) {
    w_world_t w;
    w_init(&w, 8);
    s_until_up(&w);
    gi_link_core_end(w.half[0].link, "the broker ends", w.now_ms);
    w_pass(&w, 5);
    cr_assert_not(w.half[1].up);
    w_fini(&w);
}

Test(link_core, a_process_that_stood_still_reads_before_it_judges) {
    w_world_t w;
    w_init(&w, 9);
    s_until_up(&w);
    w_pass(&w, 20000); /* for both: nobody was silent, the clock jumped */
    cr_assert(w.half[0].up && w.half[1].up);
    w_fini(&w);
}

Test(link_core, the_law_holds_for_many_random_lives) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        w_world_t w;
        w_init(&w, seed);
        for (int i = 0; i < 400; i++)
            w_step(&w, (unsigned)w_random(&w, 256),
                   (unsigned)w_random(&w, 256));
        w_heal(&w);
        w_fini(&w);
    }
}

/* ---- servers that take small messages, peers that say what cannot be ------ */
Test(link_core, what_is_joined_fits_the_servers_messages) {
    w_world_t w;
    w_init(&w, 11);
    s_until_up(&w);
    w_server(&w, 65536); /* a batch and its head would be more */
    gi_link_core_carrier(w.half[0].link, false, w.now_ms);
    for (int i = 0; i < 4000; i++)
        w_put(&w, 0, 1, 40);
    gi_link_core_carrier(w.half[0].link, true, w.now_ms);
    cr_assert(w_settle(&w)); /* and no message was larger */
    cr_assert_eq(w.half[1].next_in, 4000u);
    cr_assert_eq(w.half[0].losses, 0u);
    w_fini(&w);
}

/* Not after three heartbeats of saying it in vain. */
Test(link_core, a_batch_that_the_next_server_does_not_take_ends_the_life) {
    w_world_t w;
    w_init(&w, 12);
    s_until_up(&w);
    w.cut[1] = true;
    w_put(&w, 0, 1, 60000);
    w_pass(&w, 1);
    gi_link_core_carrier(w.half[0].link, false, w.now_ms);
    w.cut[1] = false;
    w_server(&w, 50000);
    int64_t at = w.now_ms;
    for (int i = 0; i < 10 && w.half[0].up; i++)
        w_pass(&w, 1);
    cr_assert_not(w.half[0].up);
    cr_assert_leq(w.now_ms - at, 10);
    s_until_up(&w);
    w_put(&w, 0, 1, 40000);
    cr_assert(w_settle(&w));
    w_fini(&w);
}

/* A word of the other half's life, with these numbers. */
static void s_forge(w_world_t *w, gi_link_kind_t kind, uint64_t seq,
                    uint64_t ack, uint64_t grant) {
    const gi_link_core_t *to = w->half[0].link, *from = w->half[1].link;
    gi_link_head_t head = {.kind = kind,
                           .gen = from->gen,
                           .peer_gen = to->gen,
                           .seq = seq,
                           .ack = ack,
                           .grant = grant};
    gi_link_core_message(w->half[0].link, &head, (gate_bytes_t){"", 0},
                         w->now_ms);
}

Test(link_core, numbers_that_were_never_sent_are_counted_and_nothing_else) {
    w_world_t w;
    w_init(&w, 13);
    s_until_up(&w);
    w.cut[1] = true;
    w_put(&w, 0, 1, 10);
    w_pass(&w, 1);
    w.cut[1] = false;
    s_forge(&w, GI_LINK_RESUME, UINT64_MAX, 1, 0);
    s_forge(&w, GI_LINK_RESUME, 3, 1, 0);
    s_forge(&w, GI_LINK_HELLO, 0, 3, 0);
    s_forge(&w, GI_LINK_HELLO, 0, UINT64_MAX, 0);
    s_forge(&w, GI_LINK_RESUME, 0, 0, 0);
    cr_assert_eq(gi_link_core_counts(w.half[0].link)->malformed, 4u);
    cr_assert_eq(w.half[0].given_back, 0u);
    cr_assert(w_settle(&w)); /* what is missing is still resumed */
    cr_assert_eq(w.half[1].next_in, 1u);
    cr_assert_eq(w.half[0].lives, 1u);
    w_fini(&w);
}
