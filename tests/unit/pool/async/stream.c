/* SPDX-License-Identifier: BSD-3-Clause */
#include "async/stream.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/mem.h"
#include "wire/rpc.h"

static int s_released, s_stops, s_owner_released;
static size_t s_credit_items, s_credit_bytes, s_credits;

static void s_release(void *hint) {
    s_released++;
    free(hint);
}

static void s_credit(void *ctx, size_t items, size_t bytes) {
    cr_assert_eq(ctx, &s_credits);
    s_credits++;
    s_credit_items += items;
    s_credit_bytes += bytes;
}

static void s_stop(void *ctx) {
    cr_assert_eq(ctx, &s_credits);
    s_stops++;
}

static void s_owner(void *owner) { ++*(int *)owner; }

static const gi_stream_ops_t s_ops = {.credit = s_credit, .stop = s_stop};

static gate_stream_t *s_stream(size_t max_items, size_t max_bytes,
                               int64_t timeout_ms) {
    gi_stream_options_t options = {.timeout_ms = timeout_ms,
                                   .max_items = max_items,
                                   .max_bytes = max_bytes,
                                   .ops = &s_ops,
                                   .ctx = &s_credits,
                                   .release_owner = s_owner,
                                   .owner = &s_owner_released};

    return gi_stream_new(NULL, &options);
}

static gate_err_t s_push(gate_stream_t *s, gate_arg_t v, size_t index) {
    gate_value_t *value = gate_value_new_(v);
    gate_bytes_t packed = gate_value_bytes(value);
    char *bytes = malloc(packed.size);

    memcpy(bytes, packed.data, packed.size);
    gate_err_t e =
        gi_stream_push(s, bytes, packed.size, s_release, bytes, index);
    gate_value_destroy(&value);
    return e;
}

static bool s_readable(gate_stream_t *s) {
    struct pollfd item = {gate_stream_fd(s), POLLIN, 0};

    return poll(&item, 1, 0) == 1;
}

Test(stream, items_in_order_then_the_end) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    int64_t n;

    for (int i = 0; i < 100; i++)
        cr_assert_eq(s_push(producer, gate_int(i), (size_t)i), GATE_OK);
    gi_stream_end(producer);
    gi_stream_release(&producer);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
        cr_assert_eq(n, i);
        cr_assert_eq(gate_stream_index(s), i);
    }
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    cr_assert_eq(gate_stream_error(s)->code, GATE_OK);
    cr_assert_not(gate_stream_single(s));
    gate_stream_destroy(&s);
    cr_assert_null(s);
    cr_assert_eq(s_released, 100);
    cr_assert_eq(s_stops, 0, "it had ended by itself");
    cr_assert_eq(s_owner_released, 1);
}

Test(stream, nil_is_an_item) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    gate_value_t *value = NULL;

    s_push(producer, gate_null(NULL), 0);
    gi_stream_end(producer);
    gi_stream_release(&producer);
    cr_assert_eq(gate_stream_next(s, &value), GATE_OK);
    cr_assert_eq(gate_value_object(value)->type, MSGPACK_OBJECT_NIL);
    cr_assert_eq(gate_stream_next(s, NULL), GATE_EOS);
    gate_value_destroy(&value);
    gate_stream_destroy(&s);
}

Test(stream, strings_live_until_the_next_call) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    const char *text;

    s_push(producer, gate_str("one"), 0);
    s_push(producer, gate_str("two"), 1);
    cr_assert_eq(gate_stream_next(s, &text), GATE_OK);
    cr_assert_str_eq(text, "one");
    cr_assert_eq(gate_stream_next(s, &text), GATE_OK);
    cr_assert_str_eq(text, "two");
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
}

Test(stream, failure_after_what_was_sent) {
    gate_error_t story = {GATE_RAISED, "ValueError", "boom", "tb"};
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    int64_t n;

    s_push(producer, gate_int(1), 0);
    gi_stream_fail(producer, &story);
    gi_stream_end(producer); /* what came first counts */
    gi_stream_release(&producer);
    cr_assert_eq(gate_stream_error(s)->code, GATE_OK, "not yet");
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(gate_stream_next(s, &n), GATE_RAISED);
    cr_assert_str_eq(gate_error()->cls, "ValueError");
    cr_assert_str_eq(gate_stream_error(s)->text, "boom");
    gate_stream_destroy(&s);
}

Test(stream, producer_leaves_without_a_word) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;

    gi_stream_release(&producer);
    cr_assert_null(producer);
    cr_assert_eq(gate_stream_next(s, NULL), GATE_CLOSED);
    gate_stream_destroy(&s);
    cr_assert_eq(s_stops, 0);
}

Test(stream, try_and_timeout) {
    gate_stream_t *s = s_stream(0, 0, 30), *producer = s;
    int64_t n, start = gi_clock_ms();

    cr_assert_eq(gate_stream_try(s, &n), GATE_BUSY);
    cr_assert_eq(gate_stream_next(s, &n), GATE_TIMEOUT);
    cr_assert_geq(gi_clock_ms() - start, 29);
    s_push(producer, gate_int(4), 0);
    cr_assert_eq(gate_stream_try(s, &n), GATE_OK, "still usable");
    cr_assert_eq(n, 4);
    gi_actor_thread_mark("broker");
    cr_assert_eq(gate_stream_next(s, &n), GATE_WOULDBLOCK);
    gi_actor_thread_mark(NULL);
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
}

Test(stream, bounded) {
    gate_stream_t *s = s_stream(3, 10, -1), *producer = s;
    char big[100] = "";
    int64_t n;

    for (int i = 0; i < 3; i++)
        cr_assert_eq(s_push(producer, gate_int(i), 0), GATE_OK);
    cr_assert_eq(s_push(producer, gate_int(3), 0), GATE_BUSY);
    cr_assert_eq(s_released, 1, "the item is dropped");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(s_push(producer, gate_bin(big, 100), 0), GATE_OK,
                 "bytes may be passed by one item");
    cr_assert_eq(s_push(producer, gate_int(3), 0), GATE_BUSY);
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
    cr_assert_eq(s_released, 6);
}

Test(stream, credit_in_batches) {
    gate_stream_t *s = s_stream(100, 0, -1), *producer = s;
    int64_t n;

    for (int i = 0; i < 100; i++)
        s_push(producer, gate_int(1), 0);
    for (int i = 0; i < 24; i++)
        gate_stream_next(s, &n) == GATE_OK ? (void)0 : abort();
    cr_assert_eq(s_credits, 0);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(s_credit_items, 25);
    for (int i = 0; i < 75; i++)
        cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(s_credit_items, 100, "nothing is kept when it ran empty");
    cr_assert_eq(s_credit_bytes, 100);
    cr_assert_eq(s_credits, 4);
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
}

Test(stream, early_destroy_stops_once) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;

    s_push(producer, gate_int(1), 0);
    cr_assert_not(gi_stream_abandoned(producer));
    gate_stream_destroy(&s);
    cr_assert_eq(s_stops, 1);
    cr_assert_eq(s_released, 1);
    cr_assert(gi_stream_abandoned(producer));
    cr_assert_eq(s_push(producer, gate_int(2), 0), GATE_CANCELLED);
    cr_assert_eq(s_released, 2);
    gi_stream_release(&producer);
    cr_assert_eq(s_stops, 1);
    cr_assert_eq(s_owner_released, 1);
}

Test(stream, bad_item_ends_it) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    char *bytes = malloc(1);

    *bytes = (char)0xc1;
    cr_assert_eq(gi_stream_push(producer, bytes, 1, s_release, bytes, 0),
                 GATE_OK);
    s_push(producer, gate_int(2), 1);
    cr_assert_eq(gate_stream_next(s, NULL), GATE_BADDATA);
    cr_assert_eq(s_stops, 1);
    cr_assert_eq(gate_stream_next(s, NULL), GATE_BADDATA);
    cr_assert_eq(s_push(producer, gate_int(3), 2), GATE_CANCELLED);
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
    cr_assert_eq(s_stops, 1);
    cr_assert_eq(s_released, 3);
}

Test(stream, single_reply) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    size_t size = GI_RPC_OK_OVERHEAD + 1;
    char *bytes = malloc(size);
    int64_t n;

    memcpy(bytes, gi_rpc_ok_prefix, 8);
    bytes[8] = 17;
    memcpy(bytes + 9, gi_rpc_ok_suffix, 11);
    gi_stream_push_reply(producer, bytes, size, s_release, bytes);
    gi_stream_release(&producer);
    cr_assert_eq(gate_stream_next(s, &n), GATE_OK);
    cr_assert_eq(n, 17);
    cr_assert(gate_stream_single(s));
    cr_assert_eq(gate_stream_next(s, &n), GATE_EOS);
    gate_stream_destroy(&s);
    cr_assert_eq(s_released, 1);
}

Test(stream, fd_is_level_triggered) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;
    int64_t n;

    s_push(producer, gate_int(1), 0);
    cr_assert(s_readable(s), "made late");
    s_push(producer, gate_int(1), 0);
    cr_assert_eq(gate_stream_try(s, &n), GATE_OK);
    cr_assert(s_readable(s));
    cr_assert_eq(gate_stream_try(s, &n), GATE_OK);
    cr_assert_not(s_readable(s));
    gi_stream_end(producer);
    cr_assert(s_readable(s), "the end waits");
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
}

Test(stream, idle) {
    gate_stream_t *s = s_stream(0, 0, -1), *producer = s;

    cr_assert_eq(gi_stream_idle_ms(producer, gi_clock_ms()), 0);
    s_push(producer, gate_int(1), 0);
    usleep(50000);
    cr_assert_geq(gi_stream_idle_ms(producer, gi_clock_ms()), 45);
    cr_assert_eq(gate_stream_next(s, NULL), GATE_OK);
    cr_assert_eq(gi_stream_idle_ms(producer, gi_clock_ms()), 0);
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
}

static void *s_produce(void *arg) {
    gate_stream_t *producer = arg;

    for (int i = 0; i < 1000; i++)
        if (s_push(producer, gate_int(i), (size_t)i) != GATE_OK)
            break;
    gi_stream_end(producer);
    gi_stream_release(&producer);
    return NULL;
}

Test(stream, reader_waits, .timeout = 20) {
    gate_stream_t *s = s_stream(0, 0, -1);
    pthread_t thread;
    int64_t n, expected = 0;

    pthread_create(&thread, NULL, s_produce, s);
    while (gate_stream_next(s, &n) == GATE_OK)
        cr_assert_eq(n, expected++);
    cr_assert_eq(expected, 1000);
    pthread_join(thread, NULL);
    gate_stream_destroy(&s);
}

Test(stream, no_memory) {
    gate_stream_t *s;

    gi_mem_fail_at(1, false);
    cr_assert_null(s_stream(0, 0, -1));
    s = s_stream(0, 0, -1);
    gate_stream_t *producer = s;
    gi_mem_fail_at(1, false);
    char *bytes = malloc(1);
    *bytes = 1;
    cr_assert_eq(gi_stream_push(producer, bytes, 1, s_release, bytes, 0),
                 GATE_NOMEM);
    gi_mem_fail_at(0, false);
    cr_assert_eq(s_released, 1);
    gi_stream_release(&producer);
    gate_stream_destroy(&s);
}
