/* SPDX-License-Identifier: BSD-3-Clause */
/* A call alone, with a host that records what it is asked for. */
#include "jobs/call.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sync/clock.h"
#include "base/mem.h"

static int s_finished, s_generated;

static void s_finish(gate_call_t *self) {
    (void)self;
    s_finished++;
}

static gate_call_t *s_keep(gate_call_t *self) { return self; }

static const gi_call_ops_t s_none,
    s_keeps = {.finish = s_finish, .keep = s_keep};

static gate_call_t s_call;

static gate_call_t *s_make(const gi_call_ops_t *ops) {
    gi_call_init(&s_call, ops, NULL, gi_settings_defaults());
    return &s_call;
}

static gate_bytes_t s_bytes(const char *data, size_t size) {
    return (gate_bytes_t){data, size};
}

static gate_err_t s_add(gate_call_t *call) {
    int64_t a, b = 1;
    gate_err_t e = gate_args(call, &a, gate_kwopt("b", &b));

    return e == GATE_OK ? gate_return(call, a + b) : e;
}

static gate_err_t s_ok(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

Test(call, forms_of_arguments) {
    gate_call_t *call = s_make(&s_none);

    call->args_packed = s_bytes("\x91\x05", 2); /* [5], no kwargs given */
    cr_assert_eq(gi_call_invoke(call, s_add), GATE_OK);
    cr_assert_eq(call->out.size, 1);
    cr_assert_eq(call->out.data[0], 6);
    cr_assert_eq(gate_call_raw_args(call)->via.array.size, 1);
    cr_assert_eq(gate_call_raw_kwargs(call)->via.map.size, 0);
    gi_call_reset(call);
    call->args_packed = s_bytes("\x91\x05", 2);
    call->kwargs_packed = s_bytes("\x81\xa1"
                                  "b\x07",
                                  4);
    cr_assert_eq(gi_call_invoke(call, s_add), GATE_OK);
    cr_assert_eq(call->out.data[0], 12);
    gi_call_reset(call);
    cr_assert_eq(gi_call_invoke(call, s_ok), GATE_OK, "nothing given at all");
    gi_call_fini(call);
}

static void s_refused(const char *args, size_t n_args, const char *kwargs,
                      size_t n_kwargs, gate_err_t expected) {
    gate_call_t *call = s_make(&s_none);

    call->args_packed = s_bytes(args, n_args);
    call->kwargs_packed = s_bytes(kwargs, n_kwargs);
    /* The handler would accept anything: the call itself refuses. */
    cr_assert_eq(gi_call_invoke(call, s_ok), expected);
    cr_assert_eq(call->error.story.code, expected);
    cr_assert_eq(call->out.size, 0);
    gi_call_fini(call);
}

Test(call, malformed_arguments) {
    s_refused("\xc1", 1, "\x80", 1, GATE_BADDATA);
    s_refused("\x92\x01", 2, "\x80", 1, GATE_BADDATA);
    s_refused("\x90\x01", 2, "\x80", 1, GATE_BADDATA);
    s_refused("\x80", 1, "\x80", 1, GATE_BADARG);
    s_refused("\x90", 1, "\x90", 1, GATE_BADARG);
    s_refused("\x90", 1, "\x81\xa1", 2, GATE_BADDATA);
}

static gate_err_t s_long_story(gate_call_t *call) {
    char text[2000];

    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return gate_raise(call, "KeyError", "%s", text);
}

static gate_err_t s_raise_then_return(gate_call_t *call) {
    gate_raise(call, "KeyError", "first");
    return gate_return(call, 1);
}

static gate_err_t s_raise_then_ok(gate_call_t *call) {
    gate_raise(call, "KeyError", "kept");
    return GATE_OK;
}

static gate_err_t s_no_code(gate_call_t *call) {
    (void)call;
    return (gate_err_t)999;
}

Test(call, errors) {
    gate_call_t *call = s_make(&s_none);

    cr_assert_eq(gi_call_invoke(call, s_long_story), GATE_RAISED);
    cr_assert_str_eq(call->error.story.cls, "KeyError");
    cr_assert_eq(strlen(call->error.story.text), 1999);
    gi_call_reset(call);
    cr_assert_eq(gi_call_invoke(call, s_raise_then_return), GATE_OK);
    gi_call_reset(call);
    cr_assert_eq(gi_call_invoke(call, s_raise_then_ok), GATE_RAISED);
    gi_call_reset(call);
    cr_assert_eq(gi_call_invoke(call, s_no_code), GATE_RAISED);
    gi_call_fini(call);
}

static gate_err_t s_yield(gate_call_t *call) { return gate_yield(call, 1); }

static gate_err_t s_never(gate_call_t *call, void *state) {
    (void)call;
    (void)state;
    return GATE_EOS;
}

static void s_count_done(void *state) { ++*(int *)state; }

static gate_err_t s_generate(gate_call_t *call) {
    return gate_generate(call, s_never, &s_generated, s_count_done);
}

static gate_err_t s_keep_it(gate_call_t *call) {
    return gate_call_keep(call) ? GATE_KEPT : GATE_NOTIMPL;
}

Test(call, what_a_host_cannot_do_is_refused) {
    gate_call_t *call = s_make(&s_none);

    cr_assert_eq(gi_call_invoke(call, s_yield), GATE_WOULDBLOCK);
    gi_call_reset(call);
    cr_assert_eq(gi_call_invoke(call, s_generate), GATE_NOTIMPL);
    cr_assert_eq(s_generated, 1, "state is freed all the same");
    gi_call_reset(call);
    cr_assert_eq(gi_call_invoke(call, s_keep_it), GATE_NOTIMPL);
    cr_assert_eq(gate_call_run(call, NULL, s_ok, gate_int(1), NULL),
                 GATE_NOTIMPL);
    gi_call_fini(call);
}

Test(call, kept_calls_end_once) {
    gate_call_t *call = s_make(&s_keeps), *kept = call;

    cr_assert_eq(gi_call_invoke(call, s_keep_it), GATE_KEPT);
    gate_finish(&kept, 5);
    cr_assert_null(kept);
    cr_assert_eq(s_finished, 1);
    gate_finish(&kept, 6); /* nothing left to end */
    cr_assert_eq(s_finished, 1);
    kept = call;
    gate_fail(&kept, "OSError", "gone"); /* through a copy: the first counts */
    cr_assert_eq(s_finished, 1);
    cr_assert_eq(gi_call_take_last(call), GATE_OK);
    cr_assert_eq(call->out.data[0], 5);
    gi_call_reset(call);

    s_finished = 0;
    cr_assert_eq(gi_call_invoke(call, s_keep_it), GATE_KEPT);
    kept = call;
    gate_fail(&kept, "OSError", "gone");
    cr_assert_eq(s_finished, 1);
    cr_assert_eq(gi_call_take_last(call), GATE_RAISED);
    cr_assert_str_eq(call->error.story.cls, "OSError");
    gi_call_fini(call);
}

static gate_err_t s_keep_nothing(gate_call_t *call) {
    (void)call;
    return GATE_KEPT;
}

static gate_err_t s_keep_twice(gate_call_t *call) {
    return gate_call_keep(call) && gate_call_keep(call) ? GATE_KEPT
                                                        : gate_error()->code;
}

static gate_err_t s_keep_and_raise(gate_call_t *call) {
    gate_call_t *kept = gate_call_keep(call);
    (void)kept;
    return gate_raise(call, "OSError", "the queue is full");
}

static gate_err_t s_keep_and_forget(gate_call_t *call) {
    return gate_call_keep(call) ? GATE_OK : GATE_NOTIMPL;
}

static gate_err_t s_return_twice(gate_call_t *call) {
    gate_err_t e = gate_return(call, 1);
    return e ? e : gate_return(call, 2);
}

static gate_err_t s_finish_unkept(gate_call_t *call) {
    gate_call_t *mine = call;
    gate_finish(&mine, 1);
    return gate_error()->code;
}

/* What a handler says about later must be true, once. */
Test(call, slips_with_kept_calls_are_told) {
    static const struct {
        gate_fn *fn;
        const char *cls, *text;
    } slips[] = {
        {s_keep_nothing, "RuntimeError", "kept nothing"},
        {s_keep_twice, "TypeError", "gate_call_keep after gate_call_keep"},
        {s_keep_and_raise, "OSError", "the queue is full"},
        {s_keep_and_forget, "RuntimeError", "did not return GATE_KEPT"},
        {s_return_twice, "TypeError", "a second result"},
        {s_finish_unkept, "TypeError", "only a kept call"},
    };
    gate_call_t *call = s_make(&s_keeps);

    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        gate_err_t e = gi_call_invoke(call, slips[i].fn);
        cr_expect(e != GATE_OK && e != GATE_KEPT, "%zu", i);
        cr_expect_str_eq(call->error.story.cls, slips[i].cls, "%zu", i);
        cr_expect(strstr(call->error.story.text, slips[i].text), "%zu: %s", i,
                  call->error.story.text);
        gi_call_reset(call);
    }
    gi_call_fini(call);
}

Test(call, unpackable_end_is_an_error) {
    gate_call_t *call = s_make(&s_keeps), *kept = call;

    s_finished = 0;
    cr_assert_eq(gi_call_invoke(call, s_keep_it), GATE_KEPT);
    gate_finish(&kept, gate_raw("\xc1", 1));
    cr_assert_eq(s_finished, 1);
    cr_assert_neq(gi_call_take_last(call), GATE_OK);
    gi_call_fini(call);
}

Test(call, getters) {
    gate_call_t *call = s_make(&s_none);

    cr_assert_str_eq(gate_call_user(call), "");
    cr_assert_eq(gate_call_attempt(call), 1);
    cr_assert_eq(gate_call_time_left_ms(call), INT64_MAX);
    call->deadline_ms = gi_clock_ms() + 1000;
    cr_assert_leq(gate_call_time_left_ms(call), 1000);
    cr_assert_geq(gate_call_time_left_ms(call), 900);
    call->deadline_ms = 1;
    cr_assert_eq(gate_call_time_left_ms(call), 0);
    cr_assert_not(gate_call_cancelled(call));
    atomic_store(&call->cancel, true);
    cr_assert(gate_call_cancelled(call));
    gi_call_fini(call);
}

Test(call, no_memory) {
    for (long n = 1; n < 10; n++) {
        gate_call_t *call = s_make(&s_none);
        gate_err_t e;

        call->args_packed = s_bytes("\x91\x05", 2);
        gi_mem_fail_at(n, true);
        e = gi_call_invoke(call, s_add);
        gi_mem_fail_at(0, false);
        cr_assert(e == GATE_OK || e == GATE_NOMEM);
        gi_call_fini(call);
    }
}

/* A nil of one byte is an object of 24: what it would cost is known before
 * anything is made, and said. */
Test(call, arguments_cost_objects) {
    gate_settings_t *s = gate_settings_new();
    gate_call_t *call = &s_call;
    unsigned char args[64] = {0x93, 0x9f};

    gate_settings_set(s, "msgpack_objects_max", 32);
    args[17] = 0x9e;
    memset(args + 2, 0xc0, 15);
    memset(args + 18, 0xc0, 46);
    gi_call_init(call, &s_none, NULL, s);
    call->args_packed = s_bytes((char *)args, 33); /* 3 + 15 + 14 */
    cr_assert_eq(gi_call_invoke(call, s_ok), GATE_OK);
    gi_call_reset(call);
    args[17] = 0x9f;
    call->args_packed = s_bytes((char *)args, 34); /* one more */
    cr_assert_eq(gi_call_invoke(call, s_ok), GATE_TOOBIG);
    cr_assert(strstr(call->error.story.text, "msgpack_objects_max"));
    gi_call_fini(call);
    gate_settings_destroy(&s);
}
