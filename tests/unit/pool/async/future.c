/* SPDX-License-Identifier: BSD-3-Clause */
#include "async/future.h"

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

static int s_released;

static void s_release(void *hint) {
    s_released++;
    free(hint);
}

/* {"result": value, "exception": nil} in memory of its own. */
static void s_complete_reply(gate_future_t *f, gate_arg_t v) {
    gate_value_t *value = gate_value_new_(v);
    gate_bytes_t packed = gate_value_bytes(value);
    size_t size = packed.size + GI_RPC_OK_OVERHEAD;
    char *bytes = malloc(size);

    memcpy(bytes, gi_rpc_ok_prefix, 8);
    memcpy(bytes + 8, packed.data, packed.size);
    memcpy(bytes + 8 + packed.size, gi_rpc_ok_suffix, 11);
    gate_value_destroy(&value);
    gi_future_complete_reply(f, bytes, size, s_release, bytes);
}

static void s_complete_exception(gate_future_t *f) {
    gi_buf_t buf = {0};
    char *bytes;

    cr_assert_eq(gi_rpc_pack_exception(&buf, "ValueError", "no good", "tb"),
                 GATE_OK);
    bytes = malloc(buf.size);
    memcpy(bytes, buf.data, buf.size);
    gi_future_complete_reply(f, bytes, buf.size, s_release, bytes);
    gi_buf_fini(&buf);
}

static gate_future_t *s_future(void) { return gi_future_new(NULL, NULL, NULL); }

Test(future, value) {
    gate_future_t *f = s_future();
    int64_t n = 0;

    cr_assert_not(gate_future_ready(f));
    cr_assert_eq(gate_future_wait(f, 0, &n), GATE_TIMEOUT);
    cr_assert_eq(gate_future_error(f)->code, GATE_OK);
    gi_future_complete(f, gate_value_new(42));
    cr_assert(gate_future_ready(f));
    for (int i = 0; i < 3; i++) { /* as often as one likes */
        n = 0;
        cr_assert_eq(gate_future_wait(f, -1, &n), GATE_OK);
        cr_assert_eq(n, 42);
    }
    gate_future_destroy(&f);
    cr_assert_null(f);
}

Test(future, reply_is_decoded_by_the_waiter) {
    gate_future_t *f = s_future();
    const char *text = NULL, *again = NULL;

    s_complete_reply(f, gate_str("hello"));
    cr_assert_eq(s_released, 0);
    cr_assert_eq(gate_future_wait(f, -1, &text), GATE_OK);
    cr_assert_str_eq(text, "hello");
    cr_assert_eq(gate_future_wait(f, -1, &again), GATE_OK);
    cr_assert_str_eq(text, "hello", "lives as long as the future");
    gate_future_destroy(&f);
    cr_assert_eq(s_released, 1);
}

Test(future, remote_exception) {
    gate_future_t *f = s_future();

    s_complete_exception(f);
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_RAISED);
    cr_assert_str_eq(gate_error()->cls, "ValueError");
    cr_assert_str_eq(gate_future_error(f)->traceback, "tb");
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_RAISED);
    gate_future_destroy(&f);
    cr_assert_eq(s_released, 1);
}

Test(future, garbage_reply) {
    gate_future_t *f = s_future();
    char *bytes = malloc(3);

    memcpy(bytes, "\xc1\xff\x91", 3);
    gi_future_complete_reply(f, bytes, 3, s_release, bytes);
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_BADDATA);
    gate_future_destroy(&f);
    cr_assert_eq(s_released, 1);
}

Test(future, reply_nobody_reads) {
    gate_future_t *f = s_future();

    s_complete_reply(f, gate_int(1));
    gate_future_destroy(&f);
    cr_assert_eq(s_released, 1);
}

Test(future, wrong_type_is_told_each_time) {
    gate_future_t *f = s_future();
    int64_t n;
    const char *text;

    gi_future_complete(f, gate_value_new("text"));
    cr_assert_eq(gate_future_wait(f, -1, &n), GATE_BADARG);
    cr_assert_eq(gate_future_wait(f, -1, &text), GATE_OK);
    gate_future_destroy(&f);
}

Test(future, failed) {
    gate_error_t story = {GATE_BUSY, "BusyWorkerError", "full", ""};
    gate_future_t *f = gi_future_failed(&story);

    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_BUSY);
    cr_assert_str_eq(gate_error()->text, "full");
    gate_future_destroy(&f);
    gi_mem_fail_at(1, true);
    f = gi_future_failed(&story);
    cr_assert_not_null(f, "never NULL");
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_NOMEM);
    gate_future_cancel(f);
    gate_future_destroy(&f);
    cr_assert_null(s_future());
    gi_mem_fail_at(0, false);
}

Test(future, waits_as_told) {
    gate_future_t *f = s_future();
    int64_t start = gi_clock_ms();

    cr_assert_eq(gate_future_wait(f, 30, NULL), GATE_TIMEOUT);
    cr_assert_geq(gi_clock_ms() - start, 29);
    gi_future_complete(f, gate_value_new(1));
    gate_future_destroy(&f);
}

Test(future, not_on_an_actor) {
    gate_future_t *f = s_future();

    gi_actor_thread_mark("service");
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_WOULDBLOCK);
    gi_future_complete(f, gate_value_new(1));
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_OK, "no wait, no block");
    gi_actor_thread_mark(NULL);
    gate_future_destroy(&f);
}

static int s_asked;

static void s_on_cancel(void *ctx, gate_future_t *f) {
    cr_assert_eq(ctx, &s_asked);
    cr_assert_not_null(f);
    s_asked++;
}

Test(future, cancel) {
    gate_future_t *f = s_future();

    gi_future_on_cancel(f, s_on_cancel, &s_asked);
    gate_future_cancel(f);
    gate_future_cancel(f);
    cr_assert_eq(s_asked, 1, "at most once");
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_CANCELLED);
    s_complete_reply(f, gate_int(3)); /* too late: freed */
    cr_assert_eq(s_released, 1);
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_CANCELLED);
    gate_future_destroy(&f);
}

Test(future, cancel_comes_too_late) {
    gate_future_t *f = s_future();

    gi_future_on_cancel(f, s_on_cancel, &s_asked);
    gi_future_complete(f, gate_value_new(1));
    gate_future_cancel(f);
    cr_assert_eq(s_asked, 0);
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_OK);
    gate_future_destroy(&f);
}

static void s_fail_at_once(void *ctx, gate_future_t *f) {
    gate_error_t story = {GATE_CANCELLED, "CancelledError", "dropped", ""};

    (void)ctx;
    gi_future_fail(f, &story); /* on the cancelling thread: no deadlock */
}

Test(future, cancel_that_completes, .timeout = 10) {
    gate_future_t *f = s_future();

    gi_future_on_cancel(f, s_fail_at_once, NULL);
    gate_future_cancel(f);
    cr_assert_eq(gate_future_wait(f, -1, NULL), GATE_CANCELLED);
    cr_assert_str_eq(gate_error()->text, "dropped");
    gate_future_destroy(&f);
}

static void s_owner_gone(void *owner) { ++*(int *)owner; }

Test(future, forgotten_and_owner) {
    int gone = 0;
    gate_future_t *f = gi_future_new(NULL, s_owner_gone, &gone), *completer = f;

    gate_future_destroy(&f);
    cr_assert_eq(gone, 0);
    gi_future_complete(completer, gate_value_new(1));
    cr_assert_eq(gone, 1);
}

/* ---- then, completion queues --------------------------------------------- */
static int s_ran;
static gate_err_t s_code;
static int64_t s_value;

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    cr_assert_eq(ctx, &s_ran);
    s_ran++;
    s_code = e;
    cr_assert_eq(value == NULL, e != GATE_OK);
    if (value)
        cr_assert_eq(gate_value_read(value, "", &s_value), GATE_OK);
    else
        cr_assert_eq(gate_error()->code, e);
}

Test(future, then_here) {
    gate_future_t *f = s_future(), *completer = f;

    gate_future_then(&f, NULL, s_done, &s_ran);
    cr_assert_null(f);
    cr_assert_eq(s_ran, 0);
    s_complete_reply(completer, gate_int(7));
    cr_assert_eq(s_ran, 1);
    cr_assert_eq(s_value, 7);
    cr_assert_eq(s_released, 1);
    f = s_future(); /* and when the answer is there */
    s_complete_exception(f);
    gate_future_then(&f, NULL, s_done, &s_ran);
    cr_assert_eq(s_ran, 2);
    cr_assert_eq(s_code, GATE_RAISED);
}

static bool s_readable(const gate_cq_t *cq) {
    struct pollfd item = {gate_cq_fd(cq), POLLIN, 0};

    return poll(&item, 1, 0) == 1;
}

Test(cq, level_triggered, .timeout = 20) {
    gate_cq_t *cq = gate_cq_new();
    gate_future_t *f, *completers[5];

    for (int i = 0; i < 5; i++) {
        f = completers[i] = s_future();
        gate_future_then(&f, cq, s_done, &s_ran);
    }
    cr_assert_not(s_readable(cq));
    cr_assert_eq(gate_cq_wait(cq, 10, 20), 0);
    for (int i = 0; i < 5; i++)
        gi_future_complete(completers[i], gate_value_new(i));
    cr_assert_eq(s_ran, 0, "only inside dispatch");
    for (int i = 0; i < 5; i++) {
        cr_assert(s_readable(cq));
        cr_assert_eq(gate_cq_dispatch(cq, 1), 1);
        cr_assert_eq(s_value, i, "in the order of completion");
    }
    cr_assert_not(s_readable(cq));
    cr_assert_eq(gate_cq_dispatch(cq, 1), 0);
    gate_cq_destroy(&cq);
}

Test(cq, destroyed_before_completions) {
    gate_cq_t *cq = gate_cq_new();
    gate_future_t *a = s_future(), *b = s_future(), *later = b;

    s_complete_reply(a, gate_int(1));
    gate_future_then(&a, cq, s_done, &s_ran);
    gate_future_then(&b, cq, s_done, &s_ran);
    gate_cq_destroy(&cq);
    cr_assert_eq(s_released, 1, "dropped with its value");
    s_complete_reply(later, gate_int(2));
    cr_assert_eq(s_released, 2);
    cr_assert_eq(s_ran, 0);
}

static void *s_complete_later(void *f) {
    usleep(30000);
    gi_future_complete(f, gate_value_new(5));
    return NULL;
}

Test(cq, wait_wakes, .timeout = 20) {
    gate_cq_t *cq = gate_cq_new();
    gate_future_t *f = s_future(), *completer = f;
    pthread_t thread;

    gate_future_then(&f, cq, s_done, &s_ran);
    pthread_create(&thread, NULL, s_complete_later, completer);
    cr_assert_eq(gate_cq_wait(cq, 10, -1), 1);
    cr_assert_eq(s_value, 5);
    pthread_join(thread, NULL);
    gate_cq_destroy(&cq);
}

/* ---- synchronous calls --------------------------------------------------- */
Test(future, wait_call_keeps_strings_until_the_next, .timeout = 20) {
    const char *first, *second;
    gate_future_t *f = s_future();

    s_complete_reply(f, gate_str("one"));
    cr_assert_eq(gi_future_wait_call(&f, -1, gate_ostr(&first)), GATE_OK);
    cr_assert_null(f);
    cr_assert_eq(s_released, 0);
    cr_assert_str_eq(first, "one");
    f = s_future();
    s_complete_reply(f, gate_str("two"));
    cr_assert_eq(gi_future_wait_call(&f, -1, gate_ostr(&second)), GATE_OK);
    cr_assert_eq(s_released, 1);
    cr_assert_str_eq(second, "two");
}

static void *s_call_and_end(void *arg) {
    gate_future_t *f = s_future();

    s_complete_reply(f, gate_int(1));
    return gi_future_wait_call(&f, -1, gate_onone(NULL)) == GATE_OK ? NULL
                                                                    : arg;
}

Test(future, wait_call_is_freed_with_its_thread) {
    pthread_t thread;
    void *failed;

    pthread_create(&thread, NULL, s_call_and_end, &s_ran);
    pthread_join(thread, &failed);
    cr_assert_null(failed);
    cr_assert_eq(s_released, 1);
}
