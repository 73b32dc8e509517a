/* SPDX-License-Identifier: BSD-3-Clause */
/* slots.c -- a call's arguments against its parameters: the table of Python's
 * rules. */
#include "faults.h"
#include "value/value.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct s_call {
    gate_value_t *args, *kwargs;
    gi_arena_t arena;
} s_call_t;

static s_call_t s_call(gate_arg_t args, gate_arg_t kwargs) {
    return (s_call_t){gate_value_new(args), gate_value_new(kwargs), {0}};
}

static void s_end(s_call_t *self) {
    gate_value_destroy(&self->args);
    gate_value_destroy(&self->kwargs);
    gi_arena_fini(&self->arena);
}

static gate_err_t s_store(s_call_t *self, const gate_slot_t *slots, size_t n) {
    return gi_slots_store(slots, n, gate_value_object(self->args),
                          gate_value_object(self->kwargs), &self->arena, NULL,
                          NULL);
}

#define NO_KW gate_map_(NULL, 0)
#define NO_ARGS gate_list_(NULL, 0)
#define SLOTS(...) GATE_ARR(GATE_SLOT, 1, __VA_ARGS__) + 1, GATE_N(__VA_ARGS__)

/* one failing call: what it says, and that nothing was stored */
#define SAYS(want, args, kwargs, ...)                                     \
    do {                                                                  \
        s_call_t c = s_call(args, kwargs);                                \
        cr_assert_eq(s_store(&c, SLOTS(__VA_ARGS__)), GATE_BADARG, want); \
        cr_assert_str_eq(gate_error()->text, want);                       \
        cr_assert_str_eq(gate_error()->cls, "TypeError");                 \
        s_end(&c);                                                        \
    } while (0)

Test(slots, positional_and_keyword) {
    int64_t a = 0;
    double b = 0;
    const char *s = NULL;
    bool flag = false;
    s_call_t c =
        s_call(gate_list(1, 2), gate_map(gate_kw("s", "text"),
                                         gate_kw("flag", gate_bool(true))));
    cr_assert_eq(s_store(&c, SLOTS(&a, gate_named("b", &b), gate_named("s", &s),
                                   gate_kwopt("flag", &flag))),
                 GATE_OK);
    cr_assert(a == 1 && b == 2.0 && flag);
    cr_assert_str_eq(s, "text");
    s_end(&c);
}

Test(slots, optional_keeps_its_default) {
    int64_t a = 5;
    int b = 6;
    s_call_t c = s_call(NO_ARGS, NO_KW);
    cr_assert_eq(s_store(&c, SLOTS(gate_opt(&a), gate_kwopt("b", &b))),
                 GATE_OK);
    cr_assert(a == 5 && b == 6);
    cr_assert_eq(gi_slots_store(NULL, 0, NULL, NULL, &c.arena, NULL, NULL),
                 GATE_OK);
    s_end(&c);
}

Test(slots, python_s_words) {
    int64_t a = 42;
    const char *s = NULL;
    SAYS("takes 2 arguments, 3 given", gate_list(1, 2, 3), NO_KW, &a, &a);
    SAYS("takes 1 argument, 2 given", gate_list(1, 2), NO_KW, &a);
    SAYS("takes 1 to 2 arguments, 3 given", gate_list(1, 2, 3), NO_KW, &a,
         gate_opt(&a));
    SAYS("takes 2 arguments, argument 2 is missing", gate_list(1), NO_KW, &a,
         &a);
    SAYS("takes 2 arguments, argument 2 ('b') is missing", gate_list(1), NO_KW,
         &a, gate_named("b", &a));
    SAYS("got an unexpected keyword argument 'x'", gate_list(1),
         gate_map(gate_kw("x", 1)), &a);
    SAYS("got multiple values for argument 'a'", gate_list(1),
         gate_map(gate_kw("a", 1)), gate_named("a", &a));
    SAYS("got multiple values for argument 'a'", NO_ARGS,
         gate_map(gate_kw("a", 1), gate_kw("a", 2)), gate_named("a", &a));
    SAYS("argument 1 must be int, not str", gate_list("1"), NO_KW, &a);
    SAYS("argument 2 ('b') must be int, not str", gate_list(1, "2"), NO_KW, &a,
         gate_named("b", &a));
    SAYS("argument 1 must be str, not int", gate_list(1), NO_KW, &s);
    SAYS("arguments must be a list, not dict", NO_KW, NO_KW, &a);
    SAYS("keyword arguments must be a dict, not list", gate_list(1), NO_ARGS,
         &a);
    SAYS("keywords must be str, not int", NO_ARGS, gate_raw("\x81\1\1", 3), &a);
    cr_assert_eq(a, 42); /* nothing was stored */
}

Test(slots, types_are_strict) {
    int64_t i = 42;
    uint64_t u = 42;
    int n = 42;
    double d = 42;
    bool b = true;
    const char *s = "x";
    char *own = NULL;
    gate_bytes_t bytes = {"x", 1};
    gate_queue_t *q = NULL;
    SAYS("argument 1 must be int, not bool", gate_list(gate_bool(true)), NO_KW,
         &i);
    SAYS("argument 1 must be int, not float", gate_list(1.0), NO_KW, &i);
    SAYS("argument 1 must be int, not None", gate_list((void *)NULL), NO_KW,
         &i);
    SAYS("argument 1 must be an int from -9223372036854775808 to "
         "9223372036854775807, not 18446744073709551615",
         gate_list(UINT64_MAX), NO_KW, &i);
    SAYS("argument 1 must be an int from -2147483648 to 2147483647, not "
         "2147483648",
         gate_list(1L << 31), NO_KW, &n);
    SAYS("argument 1 must be an int from 0 to 18446744073709551615, not -1",
         gate_list(-1), NO_KW, &u);
    SAYS("argument 1 must be float, not bool", gate_list(gate_bool(true)),
         NO_KW, &d);
    SAYS("argument 1 must be bool, not int", gate_list(1), NO_KW, &b);
    SAYS("argument 1 must be str, not bytes", gate_list(gate_bin("x", 1)),
         NO_KW, &s);
    SAYS("argument 1 must be str without a NUL inside",
         gate_list(gate_strn("a\0b", 3)), NO_KW, &s);
    SAYS("argument 1 must be str without a NUL inside",
         gate_list(gate_strn("\0", 1)), NO_KW, &own);
    SAYS("argument 1 must be bytes or str, not int", gate_list(1), NO_KW,
         &bytes);
    SAYS("argument 1 cannot be a queue here", gate_list(1), NO_KW, &q);
    cr_assert(i == 42 && u == 42 && n == 42 && d == 42 && b && !own);
}

Test(slots, each_type_is_stored) {
    int64_t i;
    uint64_t u;
    int n;
    double d, e;
    const char *s, *empty;
    char *own;
    gate_bytes_t bytes;
    const msgpack_object *o;
    gate_value_t *v;
    gate_arg_t args[] = {
        gate_int(INT64_MIN), gate_uint(UINT64_MAX), gate_int(INT_MIN),
        gate_int(-3),        gate_f64(2.5),         gate_str("s"),
        gate_str(""),        gate_str("own"),       gate_bin("a\0b", 3),
        gate_list(1),        gate_list(2),          gate_null(NULL)};
    gate_slot_t slots[] = {
        gate_oi64(&i),     gate_ou64(&u),   gate_oint(&n),
        gate_of64(&d),     gate_of64(&e),   gate_ostr(&s),
        gate_ostr(&empty), gate_odup(&own), gate_obytes(&bytes),
        gate_oobj(&o),     gate_oval(&v),   gate_onone(NULL)};
    s_call_t c = s_call(gate_list_(args, 12), NO_KW);
    cr_assert_eq(s_store(&c, slots, 12), GATE_OK);
    cr_assert(i == INT64_MIN && u == UINT64_MAX && n == INT_MIN && d == -3.0 &&
              e == 2.5);
    cr_assert_str_eq(s, "s");
    cr_assert_str_eq(empty, "");
    cr_assert_str_eq(own, "own");
    cr_assert(bytes.size == 3 && !memcmp(bytes.data, "a\0b", 3));
    cr_assert_eq(o->via.array.ptr[0].via.u64, 1);
    s_end(&c);
    cr_assert_eq(gate_value_object(v)->via.array.ptr[0].via.u64, 2);
    gate_value_destroy(&v);
    free(own);
}

Test(slots, more_than_sixteen) {
    int64_t to[40] = {0};
    gate_arg_t args[40];
    gate_slot_t slots[40];
    for (int k = 0; k < 40; k++) {
        args[k] = gate_int(k);
        slots[k] = gate_oi64(&to[k]);
    }
    s_call_t c = s_call(gate_list_(args, 40), NO_KW);
    cr_assert_eq(s_store(&c, slots, 40), GATE_OK);
    cr_assert_eq(to[39], 39);
    s_end(&c);
}

/* ---- queues: resolved by the call ---------------------------------------- */
static int s_queue_object;

static gate_err_t s_resolve(void *ctx, const msgpack_object *o,
                            gate_queue_t **to) {
    ++*(int *)ctx;
    if (o->via.u64 != 7)
        return gi_err(GATE_BADARG, "no queue 7");
    *to = (gate_queue_t *)&s_queue_object;
    return GATE_OK;
}

Test(slots, queues_come_from_the_call_and_last) {
    int calls = 0;
    gate_queue_t *q = NULL;
    char *own = NULL;
    s_call_t c = s_call(gate_list(7, "x"), NO_KW);
    gate_slot_t slots[] = {gate_oqueue(&q), gate_odup(&own)};
    cr_assert_eq(gi_slots_store(slots, 2, gate_value_object(c.args), NULL,
                                &c.arena, s_resolve, &calls),
                 GATE_OK);
    cr_assert(calls == 1 && q == (gate_queue_t *)&s_queue_object);
    free(own);
    s_end(&c);
    c = s_call(gate_list(8, "x"), NO_KW);
    own = NULL;
    cr_assert_eq(gi_slots_store(slots, 2, gate_value_object(c.args), NULL,
                                &c.arena, s_resolve, &calls),
                 GATE_BADARG);
    cr_assert_null(own); /* taken back */
    s_end(&c);
}

/* ---- arena --------------------------------------------------------------- */
Test(arena, pieces_are_aligned_and_apart) {
    gi_arena_t arena = {0};
    for (size_t i = 1; i < 3000; i += 7) {
        char *p = gi_arena_alloc(&arena, i);
        cr_assert_eq((uintptr_t)p % 16, 0);
        memset(p, 1, i);
    }
    cr_assert_null(gi_arena_alloc(&arena, SIZE_MAX - 3));
    gi_arena_fini(&arena);
    cr_assert_null(arena.blocks);
}

/* ---- faults -------------------------------------------------------------- */
static gate_err_t s_store_all(void *ctx) {
    s_call_t *call = ctx;
    gi_arena_t arena = {0};
    char *a = NULL, *b = NULL;
    const char *s;
    gate_value_t *v = NULL, *w = NULL;
    const gate_slot_t slots[] = {gate_odup(&a), gate_oval(&v), gate_ostr(&s),
                                 gate_oval(&w), gate_odup(&b)};
    gate_err_t e = gi_slots_store(slots, 5, gate_value_object(call->args), NULL,
                                  &arena, NULL, NULL);
    if (e)
        cr_assert(!a && !b && !v && !w); /* what was given came back */
    free(a);
    free(b);
    gate_value_destroy(&v);
    gate_value_destroy(&w);
    gi_arena_fini(&arena);
    return e;
}

Test(slots, survive_every_allocation_failure) {
    s_call_t c = s_call(gate_list("a", gate_list(1), "s", "v", "b"), NO_KW);
    cr_assert_gt(test_every_fault(s_store_all, &c, GATE_OK), 5);
    s_end(&c);
}
