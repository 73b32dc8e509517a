/* SPDX-License-Identifier: BSD-3-Clause */
/* The internal service: wire.md, and tests/wire/vectors/call_gate_*.json. */
#include "../core/broker_kit.h"

#include <gaterpc/call.h>

#define CALL(k, ...) say(k, FRONT, "c", "", "MDPC01", "Gate", "id", __VA_ARGS__)
#define OK_PREFIX "\x82\xa6result"
#define OK_SUFFIX \
    "\xa9"        \
    "exception\xc0"

/* The answer is a plain result with exactly these packed bytes. */
static bool s_result(kit_t *k, const void *packed, size_t size) {
    said_t *m = kit_take(k, "c");
    const size_t head = strlen(OK_PREFIX), tail = strlen(OK_SUFFIX);
    bool same = m && m->n == 5 && kit_frame_is(m, 2, "Gate") &&
                kit_frame_is(m, 3, "id") &&
                m->f[4].size == head + size + tail &&
                memcmp(m->f[4].data, OK_PREFIX, head) == 0 &&
                memcmp(m->f[4].data + head, packed, size) == 0 &&
                memcmp(m->f[4].data + head + size, OK_SUFFIX, tail) == 0;
    free(m);
    return same;
}
#define got_result(k, packed) cr_expect(s_result(k, packed, sizeof packed - 1))

Test(gate, get_services_lists_names_in_order_and_itself_last) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "GateRPC:d:1");
    CALL(&k,
         "\xac"
         "get_services",
         "\x90", "\x80");
    got_result(&k, "\x92\xa7GateRPC\xa4Gate"); /* call_connect.json */
    kit_worker(&k, "v", "Another:d:1");
    CALL(&k, "\xac"
             "get_services");
    got_result(&k, "\x93\xa7GateRPC\xa7"
                   "Another\xa4Gate");
    kit_end(&k);
}

Test(gate, query_service_gives_the_description_or_nil) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "GateRPC:gate-rpc service:1");
    CALL(&k, "\xadquery_service", "\x91\xa7GateRPC", "\x80");
    got_result(&k, "\xb0gate-rpc service");
    CALL(&k, "\xadquery_service", "\x91\xa6NoSuch", "\x80");
    got_result(&k, "\xc0");
    CALL(&k, "\xadquery_service", "\x91\xc4\x08\xa7GateRPC", "\x80");
    got_result(&k, "\xc0"); /* call_query_service_double_packed.json */
    CALL(&k, "\xadquery_service", "\x90", "\x80");
    got_error(&k, "c", "id", "TypeError", "one argument");
    CALL(&k, "\xadquery_service", "\xc1", "\x80");
    got_error(&k, "c", "id", "ValueError", "");
    kit_end(&k);
}

Test(gate, info_names_the_extension) {
    static const char info[] = "\x83\xa5my_id\xc4\x10"
                               "0123456789abcdef"
                               "\xa8services\x91\xa1S\xa3"
                               "ext\x93\xa3GX1\xa3HA1\xa3TR1";
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    CALL(&k, "\xa4info", "\x90", "\x80");
    got_result(&k, info);
    kit_end(&k);
}

Test(gate, keepalive_is_bin_200_and_else_400) {
    kit_t k;
    kit_begin(&k);
    CALL(&k, "\xa9keepalive", "\x91\xc4\x09heartbeat", "\x80");
    got_result(&k, "\xc4\x03"
                   "200");
    CALL(&k, "\xa9keepalive", "\x91\xa9heartbeat", "\x80");
    got_result(&k, "\xc4\x03"
                   "400");
    CALL(&k, "\xa9keepalive");
    got_error(&k, "c", "id", "TypeError", "one argument");
    kit_end(&k);
}

Test(gate, stats_names_services_and_counters) {
    kit_t k;
    gate_value_t *value;
    int64_t n;
    gi_buf_t out = {0};
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:2");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    kit_wait(&k, 100);
    cr_assert_eq(gi_broker_core_stats(k.core, &out), GATE_OK);
    cr_assert_eq(gate_value_decode(out.data, out.size, NULL, &value), GATE_OK);
    static const struct {
        const char *path;
        int64_t is;
    } expected[] = {
        {"services.S.workers", 1},
        {"services.S.credit", 0},
        {"services.S.queued", 1},
        {"services.S.oldest_ms", 100},
        {"services.S.calls", 2},
        {"services.S.errors", 0},
        {"peers", 2},
        {"workers", 1},
        {"in_flight", 2},
        {"queued", 1},
        {"blocked_peers", 0},
        {"lanes", 0},
        {"requests", 3},
        {"finished", 0},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cr_assert_eq(gate_value_read_(value, expected[i].path, gate_oi64(&n)),
                     GATE_OK, "%s", expected[i].path);
        cr_expect_eq(n, expected[i].is, "%s is %lld", expected[i].path,
                     (long long)n);
    }
    gate_value_destroy(&value);
    gi_buf_fini(&out);
    kit_end(&k);
}

Test(gate, answers_what_it_cannot_do) {
    kit_t k;
    kit_begin(&k);
    CALL(&k, "\xa4nope", "\x90", "\x80"); /* unknown_method_secure_false.json */
    got_error(&k, "c", "id", "AttributeError",
              "AttributeError('Function not found: nope')");
    CALL(&k, "\xa2\xff\xfe", "\x90", "\x80");
    got_error(&k, "c", "id", "Error", "");
    CALL(&k, "\xa9"
             "ab");
    got_error(&k, "c", "id", "ValueError", "");
    CALL(&k, "\x05");
    got_error(&k, "c", "id", "TypeError", "");
    CALL(&k, "\xa4info", "\x90", "\x80", "?");
    got_error(&k, "c", "id", "ValueError", "");
    CALL(&k, "\xa4info", "\x90", "\x80", CREDIT);
    said_t *m = kit_take(&k, "c");
    cr_expect(m && memmem(m->f[4].data, m->f[4].size, "GX1", 3));
    free(m);
    kit_end(&k);
}

Test(gate, works_while_draining) {
    kit_t k;
    kit_begin(&k);
    gi_broker_core_drain(k.core);
    CALL(&k, "\xa9keepalive", "\x91\xc4\x09heartbeat", "\x80");
    got_result(&k, "\xc4\x03"
                   "200");
    kit_end(&k);
}

/* ---- the program's functions --------------------------------------------- */
static gate_err_t s_double(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, 2 * n + *(int *)gate_call_ctx(call));
}

static gate_err_t s_boom(gate_call_t *call) {
    return gate_raise(call, "KeyError", "bb");
}

static gate_err_t s_stream(gate_call_t *call) {
    for (int i = 1; i < 3; i++) {
        gate_err_t e = gate_yield(call, i);
        if (e)
            return e;
    }
    return GATE_OK;
}

static gate_err_t s_stream_boom(gate_call_t *call) {
    gate_err_t e = gate_yield(call, 1);
    return e ? e : gate_raise(call, "KeyError", "bb");
}

static gate_err_t s_flood(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (int i = 0; i < 100 && !e; i++)
        e = gate_yield(call, 1);
    return e;
}

static gate_err_t s_keep(gate_call_t *call) {
    cr_expect_null(gate_call_keep(call));
    return GATE_KEPT;
}

static int s_at, s_freed;

static gate_err_t s_next(gate_call_t *call, void *state) {
    int *at = state;
    return ++*at > 2 ? GATE_EOS : gate_yield(call, *at);
}

static void s_free(void *state) { s_freed += *(int *)state > 0; }

static gate_err_t s_gen(gate_call_t *call) {
    s_at = 0;
    return gate_generate(call, s_next, &s_at, s_free);
}

/* Does not care what became of its items. */
static gate_err_t s_more(gate_call_t *call, void *state) {
    (void)state;
    gate_err_t e = gate_yield(call, 1);
    (void)e;
    return GATE_OK;
}

static gate_err_t s_gen_flood(gate_call_t *call) {
    return gate_generate(call, s_more, NULL, NULL);
}

static const gate_method_t s_table[] = {
    {.name = "double", .fn = s_double},
    {.name = "boom", .fn = s_boom},
    {.name = "stream", .fn = s_stream},
    {.name = "stream_boom", .fn = s_stream_boom},
    {.name = "flood", .fn = s_flood},
    {.name = "keep", .fn = s_keep},
    {.name = "gen", .fn = s_gen},
    {.name = "gen_flood", .fn = s_gen_flood},
    {.name = NULL},
};

static void s_begin(kit_t *k) {
    static int seven = 7;
    kit_init(k);
    k->settings->peer_queue_max = 16;
    kit_start(k);
    cr_assert_eq(gi_broker_core_methods(k->core, s_table, &seven, NULL),
                 GATE_OK);
}

Test(gate, user_functions_run) {
    kit_t k;
    s_begin(&k);
    CALL(&k,
         "\xa6"
         "double",
         "\x91\x05", "\x80");
    got_result(&k, "\x11");
    CALL(&k,
         "\xa6"
         "double",
         "\x91\xa1x", "\x80");
    got_error(&k, "c", "id", "TypeError", "");
    CALL(&k,
         "\xa6"
         "double",
         "\xc1", "\x80");
    got_error(&k, "c", "id", "ValueError", "");
    CALL(&k,
         "\xa4"
         "boom",
         "\x90", "\x80"); /* call_gate_bboom.json */
    got_error(&k, "c", "id", "\xa8KeyError", "KeyError('bb')");
    CALL(&k,
         "\xa4"
         "keep",
         "\x90", "\x80");
    got_error(&k, "c", "id", "NotImplementedError", "at once");
    CALL(&k,
         "\xa6"
         "double",
         "\x91\x05"); /* after all that: still */
    got_result(&k, "\x11");
    kit_end(&k);
}

Test(gate, user_functions_stream) {
    kit_t k;
    s_begin(&k);
    CALL(&k, "\xa6stream", "\x90", "\x80");
    got_reply(&k, "c", "Gate", "id", STREAM, "\x01");
    got_reply(&k, "c", "Gate", "id", STREAM, "\x02");
    got_reply(&k, "c", "Gate", "id", STREAM, GI_STREAM_END);
    CALL(&k, "\xabstream_boom", "\x90", "\x80");
    got_reply(&k, "c", "Gate", "id", STREAM, "\x01");
    got_tagged_error(&k, "c", "id", "KeyError", "bb");
    got_nothing(&k, "c");
    k.full[0] = "c";
    CALL(&k,
         "\xa5"
         "flood",
         "\x90", "\x80");
    k.full[0] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    for (int i = 0; i < 16; i++)
        got_reply(&k, "c", "Gate", "id", STREAM, "\x01");
    got_tagged_error(&k, "c", "id", "StreamOverflowError", "slow");
    got_nothing(&k, "c");
    CALL(&k,
         "\xa3"
         "gen",
         "\x90", "\x80");
    got_reply(&k, "c", "Gate", "id", STREAM, "\x01");
    got_reply(&k, "c", "Gate", "id", STREAM, "\x02");
    got_reply(&k, "c", "Gate", "id", STREAM, GI_STREAM_END);
    cr_expect_eq(s_freed, 1);
    k.full[0] = "c";
    CALL(&k, "\xa9gen_flood", "\x90", "\x80");
    k.full[0] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    for (int i = 0; i < 16; i++)
        got_reply(&k, "c", "Gate", "id", STREAM, "\x01");
    got_tagged_error(&k, "c", "id", "StreamOverflowError", "slow");
    kit_end(&k);
}

/* A core that nobody gave one: it is a service that is not there. */
Test(gate, a_core_without_one_refuses_its_calls) {
    gi_broker_effects_t effects = kit_effects;
    kit_t k;
    effects.gate = NULL;
    kit_begin(&k);
    k.core->effects = &effects;
    kit_worker(&k, "w", "S:d:1");
    CALL(&k, "\xac"
             "get_services");
    got_error(&k, "c", "id", "ServiceUnAvailableError", "");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    kit_end(&k);
}
