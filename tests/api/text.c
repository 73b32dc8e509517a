/* SPDX-License-Identifier: BSD-3-Clause */
/* text.c -- a str that is no UTF-8 never reaches a peer (Python's cannot decode
 * it): whoever gives it hears a TypeError, wherever the handler runs. And lists
 * that a loop built. */
#include <criterion/criterion.h>
#include <string.h>
#include "rig.h"

#define BAD "caf\xe9"

static gate_err_t result(gate_call_t *call) { return gate_return(call, BAD); }
static gate_err_t key(gate_call_t *call) {
    return gate_return(call, gate_map(gate_kw(BAD, 1)));
}
static gate_err_t packed(gate_call_t *call) {
    msgpack_pack_str_with_body(gate_call_packer(call), BAD, strlen(BAD));
    return GATE_OK;
}
static gate_err_t later(gate_call_t *call) {
    gate_call_t *mine = gate_call_keep(call);
    gate_finish(&mine, BAD);
    return GATE_KEPT;
}
static gate_err_t item(gate_call_t *call) {
    gate_err_t e = gate_yield(call, "fine");
    return e ? e : gate_yield(call, BAD);
}
static gate_err_t raised(gate_call_t *call) {
    return gate_raise(call, "ValueError", BAD);
}
static gate_err_t add(gate_call_t *call) {
    int64_t a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static const gate_method_t s_methods[] = {
    {.fn = result, .name = "result"},
    {.fn = key, .name = "key"},
    {.fn = packed, .name = "packed"},
    {.fn = later, .name = "later"},
    {.fn = raised, .name = "raised"},
    {.fn = result, .name = "t_result", .runs = GATE_THREAD},
    {.fn = packed, .name = "t_packed", .runs = GATE_THREAD},
    {.fn = item, .name = "t_item", .runs = GATE_THREAD},
    GATE_END};

Test(text, results_that_are_no_utf8_are_type_errors, .timeout = 60) {
    static const char *const methods[] = {"result", "key",      "packed",
                                          "later",  "t_result", "t_packed"};
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        rig_up(&rig, way, NULL, s_methods, NULL);
        for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
            char name[32];
            snprintf(name, sizeof name, "Test.%s", methods[i]);
            gate_value_t *v = NULL;
            gate_err_t e =
                gate_client_call_(rig.client, name, gate_oval(&v), NULL, 0);
            cr_assert_neq(e, GATE_OK, "%s: %s", rig_name(way), name);
            cr_assert_str_eq(gate_error()->cls, "TypeError", "%s: %s: %s",
                             rig_name(way), name, gate_error()->text);
            cr_assert_not_null(strstr(gate_error()->text, "UTF-8"));
        }
        gate_value_t *v = NULL;
        cr_assert_neq(gate_client_call_(rig.client, "Test.raised",
                                        gate_oval(&v), NULL, 0),
                      GATE_OK);
        cr_assert_str_eq(gate_error()->cls, "ValueError");
        cr_assert_neq(gate_error()->text[0], 0);
        rig_down(&rig);
    }
}

Test(text, an_item_that_is_no_utf8_ends_the_stream, .timeout = 60) {
    for (rig_way_t way = RIG_INPROC; way < RIG_WAYS; way++) {
        rig_t rig;
        gate_stream_t *s = NULL;
        const char *text = NULL;
        rig_up(&rig, way, NULL, s_methods, NULL);
        cr_assert_eq(gate_client_open_(rig.client, "Test.t_item", &s, NULL, 0),
                     GATE_OK);
        cr_assert_eq(gate_stream_next(s, &text), GATE_OK);
        cr_assert_str_eq(text, "fine");
        cr_assert_eq(gate_stream_next(s, &text), GATE_RAISED, "%s",
                     rig_name(way));
        cr_assert_str_eq(gate_stream_error(s)->cls, "TypeError");
        gate_stream_destroy(&s);
        rig_down(&rig);
    }
}

Test(text, arguments_that_are_no_utf8_are_refused_at_once, .timeout = 60) {
    rig_t rig;
    rig_up(&rig, RIG_INPROC, NULL, s_methods, NULL);
    gate_arg_t args[][1] = {
        {gate_str(BAD)}, {gate_kw(BAD, 1)}, {gate_kw("k", BAD)}};
    for (size_t i = 0; i < 3; i++) {
        gate_value_t *v = NULL;
        cr_assert_eq(gate_client_call_(rig.client, "Test.result", gate_oval(&v),
                                       args[i], 1),
                     GATE_BADARG);
        cr_assert_not_null(strstr(gate_error()->text, "UTF-8"));
    }
    gate_value_t *v = NULL;
    cr_assert_eq(
        gate_client_call_(rig.client, "Test." BAD, gate_oval(&v), NULL, 0),
        GATE_BADARG);
    rig_down(&rig);
}

Test(text, a_loop_builds_the_inputs_of_a_map, .timeout = 60) {
    enum { N = 300 };
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_pool_t *pool = gate_threads_new(rt, NULL);
    gate_items_t *in = gate_items_new();
    for (int i = 0; i < N; i++)
        cr_assert_eq(gate_items_add(in, gate_list(i, 100 * i)), GATE_OK);
    gate_stream_t *results = NULL;
    cr_assert_eq(gate_pool_map(pool, add, gate_items_data(in),
                               gate_items_size(in), true, &results),
                 GATE_OK);
    gate_items_destroy(&in);
    for (int64_t i = 0, sum = 0; i < N; i++) {
        cr_assert_eq(gate_stream_next(results, &sum), GATE_OK);
        cr_assert_eq(sum, 101 * i);
    }
    gate_stream_destroy(&results);
    gate_pool_destroy(&pool);
    gate_runtime_destroy(&rt);
}
