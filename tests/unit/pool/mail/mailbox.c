/* SPDX-License-Identifier: BSD-3-Clause */
#include "mail/mailbox.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "sync/clock.h"
#include "base/mem.h"

#define PRODUCERS 4
#define ITEMS 50000

static void *s_item(uintptr_t n) { return (void *)n; }

static void *s_produce(void *arg) {
    gi_mailbox_t *box = *(gi_mailbox_t **)arg;
    static atomic_int ids;
    uintptr_t id = (uintptr_t)(ids++ % PRODUCERS);

    for (uintptr_t i = 1; i <= ITEMS; i++)
        if (gi_mailbox_push(box, s_item(id << 32 | i), -1) != GATE_OK)
            return s_item(1);
    return NULL;
}

static bool s_readable(int fd, int timeout_ms) {
    struct pollfd item = {fd, POLLIN, 0};

    return poll(&item, 1, timeout_ms) == 1;
}

/* Producers wait for room, the owner sleeps in between. */
static void s_order(size_t capacity) {
    gi_mailbox_t *box = gi_mailbox_new(capacity);
    pthread_t threads[PRODUCERS];
    uintptr_t last[PRODUCERS] = {0};
    size_t got = 0;
    void *items[8], *failed;

    for (int i = 0; i < PRODUCERS; i++)
        pthread_create(&threads[i], NULL, s_produce, &box);
    while (got < PRODUCERS * ITEMS) {
        size_t n = gi_mailbox_pop(box, items, 8);

        for (size_t i = 0; i < n; i++) {
            uintptr_t item = (uintptr_t)items[i], id = item >> 32;

            cr_assert_eq(item & 0xffffffff, last[id] + 1);
            last[id]++;
        }
        got += n;
        if (!n && gi_mailbox_sleep(box)) {
            cr_assert(s_readable(gi_mailbox_fd(box), 10000), "lost wake-up");
            gi_mailbox_wake(box);
        }
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], &failed);
        cr_assert_null(failed);
    }
    gi_mailbox_destroy(&box);
    cr_assert_null(box);
}

Test(mailbox, order_per_producer, .timeout = 60) { s_order(16); }

/* It grows twice on the way. */
Test(mailbox, order_per_producer_while_it_grows, .timeout = 60) {
    s_order(65536);
}

static void s_push_all(gi_mailbox_t *box, uintptr_t from, uintptr_t to) {
    for (uintptr_t i = from; i < to; i++)
        cr_assert_eq(gi_mailbox_push(box, s_item(i), 0), GATE_OK, "item %zu",
                     (size_t)i);
}

static void s_pop_all(gi_mailbox_t *box, uintptr_t from, uintptr_t to) {
    void *item;

    for (uintptr_t i = from; i < to; i++) {
        cr_assert_eq(gi_mailbox_pop(box, &item, 1), 1, "item %zu", (size_t)i);
        cr_assert_eq(item, s_item(i), "item %zu", (size_t)i);
    }
    cr_assert_eq(gi_mailbox_pop(box, &item, 1), 0);
}

/* Whatever lies where: all of it has room, and comes in order. */
Test(mailbox, holds_what_was_asked_for) {
    gi_mailbox_t *box = gi_mailbox_new(60000);

    for (int round = 0; round < 3; round++) {
        s_push_all(box, 1, 60001);
        s_pop_all(box, 1, 60001);
        cr_assert(gi_mailbox_sleep(box));
        gi_mailbox_wake(box);
    }
    s_push_all(box, 1, 65537);
    cr_assert_eq(gi_mailbox_push(box, s_item(1), 0), GATE_BUSY);
    s_pop_all(box, 1, 65537);
    gi_mailbox_destroy(&box);
}

Test(mailbox, a_sleeper_hears_of_the_ring_that_follows) {
    gi_mailbox_t *box = gi_mailbox_new(65536);

    s_push_all(box, 1, 300);
    gi_mailbox_close(box);
    cr_assert_eq(gi_mailbox_push(box, s_item(1), -1), GATE_CLOSED);
    cr_assert_not(gi_mailbox_sleep(box));
    s_pop_all(box, 1, 300);
    gi_mailbox_destroy(&box);
    box = gi_mailbox_new(65536);
    s_push_all(box, 1, 300);
    s_pop_all(box, 1, 300);
    cr_assert(gi_mailbox_sleep(box));
    s_push_all(box, 1, 2);
    cr_assert(s_readable(gi_mailbox_fd(box), 0));
    gi_mailbox_wake(box);
    s_pop_all(box, 1, 2);
    gi_mailbox_destroy(&box);
}

/* Without memory for a larger one it stays as large as it is. */
Test(mailbox, no_memory_to_grow) {
    gi_mailbox_t *box = gi_mailbox_new(65536);

    s_push_all(box, 1, 257);
    gi_mem_fail_at(1, true);
    cr_assert_eq(gi_mailbox_push(box, s_item(257), 0), GATE_BUSY);
    gi_mem_fail_at(0, false);
    s_push_all(box, 257, 400);
    s_pop_all(box, 1, 400);
    gi_mailbox_destroy(&box);
}

Test(mailbox, full_is_busy_and_waits_as_told) {
    gi_mailbox_t *box = gi_mailbox_new(4);
    int64_t start;
    void *items[8];

    for (uintptr_t i = 1; i <= 4; i++)
        cr_assert_eq(gi_mailbox_push(box, s_item(i), 0), GATE_OK);
    cr_assert_eq(gi_mailbox_push(box, s_item(5), 0), GATE_BUSY);
    start = gi_clock_ms();
    cr_assert_eq(gi_mailbox_push(box, s_item(5), 30), GATE_BUSY);
    cr_assert_geq(gi_clock_ms() - start, 29);
    cr_assert_eq(gi_mailbox_pop(box, items, 8), 4);
    cr_assert_eq(items[0], s_item(1));
    cr_assert_eq(items[3], s_item(4));
    cr_assert_eq(gi_mailbox_pop(box, items, 8), 0);
    gi_mailbox_destroy(&box);
}

Test(mailbox, rings_only_a_sleeper) {
    gi_mailbox_t *box = gi_mailbox_new(8);
    void *items[8];

    gi_mailbox_push(box, s_item(1), 0);
    cr_assert_not(s_readable(gi_mailbox_fd(box), 0), "nobody slept");
    cr_assert_not(gi_mailbox_sleep(box), "an item waits");
    cr_assert_eq(gi_mailbox_pop(box, items, 8), 1);
    cr_assert(gi_mailbox_sleep(box));
    gi_mailbox_push(box, s_item(2), 0);
    gi_mailbox_push(box, s_item(3), 0);
    cr_assert(s_readable(gi_mailbox_fd(box), 0));
    gi_mailbox_wake(box);
    cr_assert_not(s_readable(gi_mailbox_fd(box), 0), "wake empties it");
    cr_assert_eq(gi_mailbox_pop(box, items, 8), 2);
    gi_mailbox_destroy(&box);
}

Test(mailbox, close_leaves_what_is_in_it) {
    gi_mailbox_t *box = gi_mailbox_new(8);
    void *items[8];

    gi_mailbox_push(box, s_item(1), 0);
    gi_mailbox_close(box);
    cr_assert_eq(gi_mailbox_push(box, s_item(2), -1), GATE_CLOSED);
    cr_assert_eq(gi_mailbox_pop(box, items, 8), 1);
    cr_assert_eq(gi_mailbox_pop(box, items, 8), 0);
    gi_mailbox_destroy(&box);
}

static void *s_push_one(void *arg) {
    return s_item(gi_mailbox_push(*(gi_mailbox_t **)arg, s_item(9), -1));
}

Test(mailbox, close_ends_waiting_pushes, .timeout = 20) {
    gi_mailbox_t *box = gi_mailbox_new(2);
    pthread_t thread;
    void *e;

    gi_mailbox_push(box, s_item(1), 0);
    gi_mailbox_push(box, s_item(2), 0);
    pthread_create(&thread, NULL, s_push_one, &box);
    gi_mailbox_close(box);
    pthread_join(thread, &e);
    cr_assert_eq((gate_err_t)(uintptr_t)e, GATE_CLOSED);
    gi_mailbox_destroy(&box);
}

Test(mailbox, no_memory) {
    for (long n = 1; n <= 2; n++) {
        gi_mem_fail_at(n, false);
        cr_assert_null(gi_mailbox_new(64));
    }
    gi_mem_fail_at(0, false);
}
