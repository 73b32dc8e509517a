/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/origin.h"
#include "wire/exception.h"
#include "faults.h"
#include "wire/rpc.h"
#include "wire/row.h"

#include <stdlib.h>
#include <string.h>

#define BYTES(s) ((gate_bytes_t){s, sizeof(s) - 1})

/* ---- requests ------------------------------------------------------------ */
Test(rpc, request_is_three_values) {
    gi_buf_t b = {0};
    gi_rpc_request_t r;
    const gate_arg_t args[] = {gate_int(2), gate_kw("t", 1),
                               gate_timeout_ms(50), gate_str("x")};
    cr_assert_eq(gi_rpc_pack_request(&b, "add", 3, args, 4, NULL, &r), GATE_OK);
    cr_assert(r.func_size == 4 && r.args_size == 4 && r.kwargs_size == 4 &&
              r.timeout_ms == 50);
    cr_assert_arr_eq(b.data,
                     "\xa3"
                     "add\x92\x02\xa1x\x81\xa1t\x01",
                     12);
    gi_buf_reset(&b, 4096);
    cr_assert_eq(gi_rpc_pack_request(&b, "f", 1, NULL, 0, NULL, &r), GATE_OK);
    cr_assert_eq(r.timeout_ms, -1);
    cr_assert_arr_eq(b.data,
                     "\xa1"
                     "f\x90\x80",
                     4);
    const gate_arg_t bad = gate_raw("", 0);
    cr_assert_eq(gi_rpc_pack_request(&b, "f", 1, &bad, 1, NULL, &r),
                 GATE_BADARG);
    cr_assert_eq(b.size, 4); /* as it was */
    gi_buf_fini(&b);
}

static void s_split(const char *name, const char *service, const char *func) {
    gate_bytes_t s, f;
    cr_assert_eq(gi_rpc_split_name(name, "Def", &s, &f), GATE_OK);
    cr_assert(s.size == strlen(service) && !memcmp(s.data, service, s.size));
    cr_assert(f.size == strlen(func) && !memcmp(f.data, func, f.size));
}

Test(rpc, names_split_at_the_last_dot) {
    gate_bytes_t s, f;
    s_split("Demo.add", "Demo", "add");
    s_split("a.b.c", "a.b", "c");
    s_split("add", "Def", "add");
    cr_assert_eq(gi_rpc_split_name("Demo.", "Def", &s, &f), GATE_BADARG);
    cr_assert_eq(gi_rpc_split_name(".add", "Def", &s, &f), GATE_BADARG);
    cr_assert_eq(gi_rpc_split_name("", "Def", &s, &f), GATE_BADARG);
}

Test(rpc, func_is_a_str) {
    gate_bytes_t f;
    cr_assert_eq(gi_rpc_parse_func(BYTES("\xa3"
                                         "add"),
                                   &f),
                 GATE_OK);
    cr_assert(f.size == 3 && !memcmp(f.data, "add", 3));
    cr_assert_eq(gi_rpc_parse_func(BYTES("\x91\x01"), &f), GATE_BADARG);
    cr_assert_eq(gi_rpc_parse_func(BYTES("\xc4\x01z"), &f), GATE_BADARG);
    cr_assert_eq(gi_rpc_parse_func(BYTES("\xa3"
                                         "ad"),
                                   &f),
                 GATE_BADDATA);
    cr_assert_eq(gi_rpc_parse_func(BYTES("\xa1zz"), &f), GATE_BADDATA);
    cr_assert_eq(gi_rpc_parse_func(BYTES("\xdb\x7f\0\0\0"), &f), GATE_BADDATA);
    cr_assert_eq(gi_rpc_parse_func((gate_bytes_t){NULL, 0}, &f), GATE_BADDATA);
}

/* ---- replies ------------------------------------------------------------- */
static void s_count_release(void *hint) { ++*(int *)hint; }

static gate_err_t s_take(gate_bytes_t b, gate_value_t **v) {
    int n = 0;
    gate_err_t e =
        gi_rpc_take_reply(b.data, b.size, s_count_release, &n, NULL, v);
    cr_assert_eq(n, e != GATE_OK);
    if (!e)
        gi_value_keep(*v, NULL, NULL);
    return e;
}

static void s_result_is(gate_bytes_t reply, const char *json) {
    gate_value_t *v = NULL;
    cr_assert_eq(s_take(reply, &v), GATE_OK, "%s", gate_error()->text);
    char *text = gate_value_json(v);
    cr_assert_str_eq(text, json);
    free(text);
    gate_value_destroy(&v);
}

#define RESULT "\xa6result"
#define EXCEPTION \
    "\xa9"        \
    "exception"

/* wire.md 6: what Python's client takes */
Test(rpc, reply_leniency) {
    s_result_is(BYTES("\x82" RESULT "\x2a" EXCEPTION "\xc0"), "42");
    s_result_is(BYTES("\x82" EXCEPTION "\xc0" RESULT "\x2a"), "42");
    s_result_is(BYTES("\x81" RESULT "\x2a"), "42");
    s_result_is(BYTES("\x81" EXCEPTION "\xc0"), "null");
    s_result_is(BYTES("\x80"), "null");
    s_result_is(BYTES("\x83" RESULT "\x2a\xa1x\x01" EXCEPTION "\xc0"), "42");
    s_result_is(BYTES("\x82\xc4\x06result\x2a" EXCEPTION "\xc0"), "null");
    s_result_is(BYTES("\x82" RESULT "\x01" RESULT "\x02"), "2");
    s_result_is(BYTES("\xde\0\x02" RESULT "\x91\x07" EXCEPTION "\xc0"), "[7]");
    /* false in Python */
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\xc2"), "1");
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\x00"), "1");
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\xa0"), "1");
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\x90"), "1");
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\x80"), "1");
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\xcb\x80\0\0\0\0\0\0\0"),
                "1");
    s_result_is(BYTES("\x82" RESULT "\x01" EXCEPTION "\xca\x80\0\0\0"), "1");
}

/* Looks like the usual form at both ends and is another. */
Test(rpc, the_usual_form_is_not_guessed) {
    s_result_is(BYTES("\x82" RESULT "\x81" EXCEPTION "\xc0" EXCEPTION "\xc0"),
                "{\"exception\":null}");
    s_result_is(BYTES("\x82" RESULT "\x01\xaa" EXCEPTION "\xc0"), "1");
}

static void s_fails(gate_bytes_t reply, gate_err_t code, const char *cls,
                    const char *text) {
    gate_value_t *v = NULL;
    cr_assert_eq(s_take(reply, &v), code, "%s: %s", gate_error()->cls,
                 gate_error()->text);
    cr_assert_null(v);
    cr_assert_str_eq(gate_error()->cls, cls);
    if (text)
        cr_assert_str_eq(gate_error()->text, text);
}

Test(rpc, bad_replies) {
    s_fails(BYTES(""), GATE_BADDATA, "ValueError", NULL);
    s_fails(BYTES("\x2a"), GATE_BADDATA, "ValueError", "a reply must be a map");
    s_fails(BYTES("\x82" RESULT "\x2a" EXCEPTION), GATE_BADDATA, "ValueError",
            NULL);
    s_fails(BYTES("\x82" RESULT "\x2a" EXCEPTION "\xc0z"), GATE_BADDATA,
            "ValueError", NULL);
    s_fails(BYTES("\x81" EXCEPTION "\x92\xa1x\xa1y"), GATE_BADDATA,
            "ValueError", "an exception must have three parts");
    s_fails(BYTES("\x81" EXCEPTION "\x94\xa1x\xa1y\xa1z\xa1w"), GATE_BADDATA,
            "ValueError", NULL);
    s_fails(BYTES("\x81" EXCEPTION "\x81\xa1x\xa1y"), GATE_BADDATA,
            "ValueError", NULL);
    s_fails(BYTES("\x81" EXCEPTION "\x93\x01\xa1y\xa1z"), GATE_BADDATA,
            "ValueError", "an exception without a class");
}

Test(rpc, exceptions_of_replies) {
    s_fails(BYTES("\x81" EXCEPTION "\xa4oops"), GATE_RAISED, "RuntimeError",
            "oops");
    s_fails(BYTES("\x81" EXCEPTION "\x93\xaf"
                  "BusyWorkerError\xb3No idle worker now.\xc0"),
            GATE_BUSY, "BusyWorkerError", "No idle worker now.");
    s_fails(BYTES("\x81" EXCEPTION "\x93\xa1"
                  "E\xa3"
                  "E()\xa2tb"),
            GATE_RAISED, "E", "");
    cr_assert_str_eq(gate_error()->traceback, "tb");
}

/* ---- exceptions, there and back ------------------------------------------ */
static void s_repr(const char *text, const char *want) {
    gi_buf_t b = {0}, back = {0};
    gi_exception_repr(&b, "E", text);
    cr_assert_eq(b.size, strlen(want), "%.*s", (int)b.size, (char *)b.data);
    cr_assert_arr_eq(b.data, want, b.size);
    gi_exception_text(&back, want, strlen(want));
    cr_assert_eq(back.size, strlen(text));
    cr_assert(!back.size || !memcmp(back.data, text, back.size));
    gi_buf_fini(&b);
    gi_buf_fini(&back);
}

/* Each right side is what Python 3 prints for repr(E(left side)). */
Test(exception, repr_as_python_does) {
    s_repr("boom!", "E('boom!')");
    s_repr("it's", "E(\"it's\")");
    s_repr("say \"x\"", "E('say \"x\"')");
    s_repr("it's \"x\"", "E('it\\'s \"x\"')");
    s_repr("a\nb\tc\rd\\e", "E('a\\nb\\tc\\rd\\\\e')");
    s_repr("\x01\x7f", "E('\\x01\\x7f')");
    s_repr("\u00e9\u20ac\U0001f600", "E('\u00e9\u20ac\U0001f600')");
    s_repr("\xc2\x85", "E('\\x85')");
    s_repr("')", "E(\"')\")");
    s_repr("", "E()");
}

static void s_text(const char *repr, const char *want) {
    gi_buf_t b = {0};
    gi_exception_text(&b, repr, strlen(repr));
    gi_buf_append(&b, "", 1);
    cr_assert_str_eq((char *)b.data, want);
    gi_buf_fini(&b);
}

Test(exception, text_out_of_other_reprs) {
    s_text("E('x',)", "x");
    s_text("zmq.error.Again('x')", "x");
    s_text("E('\\u20ac\\U0001f600')", "\u20ac\U0001f600");
    s_text("E('')", "");
    /* not one quoted text: as it is */
    s_text("OSError(2, 'No such file')", "OSError(2, 'No such file')");
    s_text("E('a', 'b')", "E('a', 'b')");
    s_text("E('a'b')", "E('a'b')");
    s_text("E('a\\')", "E('a\\')");
    s_text("E('a\")", "E('a\")");
    s_text("E('", "E('");
    s_text("E(')", "E(')");
    s_text("('x')", "('x')");
    s_text("plain text", "plain text");
    s_text("f(x)()", "f(x)()");
    s_text("", "");
    /* escapes that are none */
    s_text("E('\\q\\x4\\xzz\\u12\\x00')", "\\q\\x4\\xzz\\u12\\x00");
}

Test(exception, there_and_back) {
    static const char *const texts[] = {"boom!", "", "it's \"x\"\n\\",
                                        "\u20ac \x01"};
    for (size_t i = 0; i < 4; i++) {
        gi_buf_t b = {0};
        cr_assert_eq(gi_rpc_pack_triple(&b, "KeyError", texts[i], "tb\n"),
                     GATE_OK);
        cr_assert_eq(
            gi_rpc_publish_triple((gate_bytes_t){b.data, b.size}, NULL),
            GATE_RAISED);
        cr_assert_str_eq(gate_error()->cls, "KeyError");
        cr_assert_str_eq(gate_error()->text, texts[i]);
        cr_assert_str_eq(gate_error()->traceback, "tb\n");
        gi_buf_fini(&b);
    }
}

/* A Python client drops a str that is not UTF-8. */
Test(exception, what_goes_out_is_utf8) {
    gi_buf_t b = {0};
    cr_assert_eq(gi_rpc_pack_triple(&b, "E\xff", "a\xff", "t\xc3"), GATE_OK);
    gate_bytes_t packed = {b.data, b.size};
    cr_assert_eq(gi_rpc_publish_triple(packed, NULL), GATE_RAISED);
    cr_assert_str_eq(gate_error()->cls, "E\xef\xbf\xbd");
    cr_assert_str_eq(gate_error()->traceback, "t\xef\xbf\xbd");
    cr_assert_null(memchr(b.data, 0xff, b.size));
    gi_buf_fini(&b);
}

Test(exception, tells_who_made_it) {
    static const struct {
        const char *cls, *traceback;
        gate_err_t code;
    } all[] = {
        {"BusyWorkerError", GI_UNRUN, GATE_BUSY},
        {"BusyWorkerError", "", GATE_BUSY},
        {"BusyWorkerError", GI_BY_HANDLER, GATE_RAISED},
        {"AccessDeniedError", "  in pay\n", GATE_RAISED},
        {"AttributeError", "  File \"Bank\", in pay\n", GATE_RAISED},
        {"ServiceUnAvailableError", /* Python's broker, Python's handler */
         "  File \"/x/core.py\", line 1807, in request_backend\n    raise\n",
         GATE_NOSERVICE},
        {"ServiceUnAvailableError",
         "  File \"/x/core.py\", line 558, in process_request\n    x\n"
         "  File \"/y.py\", line 3, in request_backend\n    raise\n",
         GATE_RAISED},
        {"AttributeError",
         "  File \"/x/core.py\", line 549, in process_request\n    raise\n",
         GATE_NOMETHOD}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        gi_buf_t b = {0};
        cr_assert_eq(
            gi_rpc_pack_exception(&b, all[i].cls, "t", all[i].traceback),
            GATE_OK);
        s_fails((gate_bytes_t){b.data, b.size}, all[i].code, all[i].cls, "t");
        cr_expect_eq(gi_origin_of(all[i].traceback) == GI_ORIGIN_UNRUN,
                     i == 0 || i == 5, "%zu", i);
        gi_buf_fini(&b);
    }
}

Test(exception, defaults) {
    gi_buf_t b = {0};
    cr_assert_eq(gi_rpc_pack_exception(&b, NULL, NULL, NULL), GATE_OK);
    s_fails((gate_bytes_t){b.data, b.size}, GATE_RAISED, "RuntimeError", "");
    cr_assert_eq(gi_rpc_publish_triple(BYTES(""), NULL), GATE_BADDATA);
    cr_assert_eq(gi_rpc_publish_triple(BYTES("\x01"), NULL), GATE_BADDATA);
    gi_buf_fini(&b);
}

/* ---- kinds --------------------------------------------------------------- */
static gi_body_kind_t s_kind(size_t n, const char *a, const char *b) {
    gate_bytes_t f[3] = {{a, strlen(a)}, {b, strlen(b)}, {"\xc0", 1}};
    return gi_rpc_body_kind(f, n);
}

Test(rpc, body_kinds) {
    cr_assert_eq(s_kind(0, "", ""), GI_BODY_BAD);
    cr_assert_eq(s_kind(1, "GateStreamGenerator", ""), GI_BODY_SINGLE);
    cr_assert_eq(s_kind(2, "x", "y"), GI_BODY_BAD);
    cr_assert_eq(s_kind(2, GI_STREAM_TAG, "\x05"), GI_BODY_ITEM);
    cr_assert_eq(s_kind(3, GI_STREAM_TAG, "\x05"), GI_BODY_BAD);
    cr_assert_eq(s_kind(2, GI_STREAM_TAG, GI_STREAM_END), GI_BODY_END);
    /* packed, it is an item: wire.md 6 (a) */
    cr_assert_eq(s_kind(2, GI_STREAM_TAG, "\xc4\x0dGateStreamEnd"),
                 GI_BODY_ITEM);
    cr_assert_eq(s_kind(3, GI_STREAM_TAG, GI_STREAM_EXCEPTION),
                 GI_BODY_EXCEPTION);
    cr_assert_eq(s_kind(2, GI_STREAM_TAG, GI_STREAM_EXCEPTION), GI_BODY_BAD);
    cr_assert_eq(s_kind(3, GI_STREAM_EXCEPTION, GI_STREAM_EXCEPTION),
                 GI_BODY_EXCEPTION);
    cr_assert_eq(s_kind(2, GI_HUGE_TAG, ""), GI_BODY_CHUNK);
    cr_assert_eq(s_kind(2, GI_HUGE_TAG, GI_HUGE_END), GI_BODY_HUGE_END);
    cr_assert_eq(s_kind(3, GI_HUGE_TAG, GI_STREAM_EXCEPTION),
                 GI_BODY_HUGE_EXCEPTION);
    cr_assert_eq(s_kind(2, GI_HUGE_TAG, GI_HUGE_EXCEPTION),
                 GI_BODY_HUGE_EXCEPTION);
    cr_assert_eq(s_kind(3, GI_HUGE_TAG, "data"), GI_BODY_BAD);
    gate_bytes_t with_ext[] = {{GI_HUGE_TAG, sizeof GI_HUGE_TAG - 1},
                               {"data", 4},
                               {GI_EXT_MAGIC "\x80", GI_EXT_MAGIC_SIZE + 1}};
    cr_assert_eq(gi_rpc_body_kind(with_ext, 3), GI_BODY_CHUNK);
    cr_assert_eq(s_kind(2, GI_ROW_TAG, "\0\1x"), GI_BODY_BAD);
    gate_bytes_t row[] = {{GI_ROW_TAG, GI_ROW_TAG_SIZE}, {"\0\1x", 3}};
    cr_assert_eq(gi_rpc_body_kind(row, 2), GI_BODY_ROW);
    static const bool final[] = {true,  false, false, true, true,
                                 false, true,  true,  false};
    for (int k = GI_BODY_SINGLE; k <= GI_BODY_BAD; k++)
        cr_assert_eq(gi_body_is_final((gi_body_kind_t)k), final[k], "%d", k);
}

/* ---- extensions ---------------------------------------------------------- */
Test(ext, there_and_back) {
    gi_ext_t a = {.credit_items = 5,
                  .credit_bytes = 1L << 40,
                  .cancel = true,
                  .timeout_ms = 0,
                  .attempt = 3,
                  .drain = true,
                  .huge = true,
                  .codecs = BYTES("zstd,gzip"),
                  .idempotent = BYTES("a,b"),
                  .user = BYTES("bob"),
                  .meta = BYTES("\x81\xa1k\x92\x01\x02"),
                  .look_ms = 1000,
                  .report = BYTES("\x81\xa1p\x07")};
    gi_ext_t b;
    gi_buf_t buf = {0};
    cr_assert_eq(gi_ext_pack(&buf, &a), GATE_OK);
    gate_bytes_t frame = {buf.data, buf.size};
    cr_assert(gi_ext_is(frame));
    cr_assert_eq(gi_ext_parse(frame, &b), GATE_OK);
    cr_assert(b.credit_items == 5 && b.credit_bytes == 1L << 40 && b.cancel &&
              b.timeout_ms == 0 && b.attempt == 3 && b.drain && b.huge);
    cr_assert(b.codecs.size == 9 && b.idempotent.size == 3 &&
              b.user.size == 3 && b.meta.size == 6 && b.look_ms == 1000 &&
              b.report.size == 4);
    cr_assert_arr_eq(b.meta.data, a.meta.data, 6);
    cr_assert_arr_eq(b.user.data, "bob", 3);
    for (size_t cut = 0; cut < buf.size; cut++)
        cr_assert_eq(gi_ext_parse((gate_bytes_t){buf.data, cut}, &b),
                     GATE_BADDATA);
    gi_buf_fini(&buf);
}

Test(ext, empty_map_says_nothing) {
    gi_ext_t x;
    gi_buf_t buf = {0};
    gi_ext_init(&x);
    cr_assert_eq(gi_ext_pack(&buf, &x), GATE_OK);
    cr_assert_eq(buf.size, 5);
    x.credit_items = 9;
    cr_assert_eq(gi_ext_parse((gate_bytes_t){buf.data, 5}, &x), GATE_OK);
    cr_assert(x.credit_items == -1 && x.credit_bytes == -1 &&
              x.timeout_ms == -1 && !x.cancel && !x.attempt && !x.meta.size);
    gi_buf_fini(&buf);
}

#define EXT(s) BYTES(GI_EXT_MAGIC s)

Test(ext, strict_about_what_it_knows) {
    gi_ext_t x;
    cr_assert_eq(gi_ext_parse(EXT("\x82\xa1q\x91\x01\xa2"
                                  "ci\x07"),
                              &x),
                 GATE_OK);
    cr_assert_eq(x.credit_items, 7);
    static const gate_bytes_t bad[] = {
        {GI_EXT_MAGIC "\x81\xa2"
                      "ci\xff",
         9},
        {GI_EXT_MAGIC "\x81\xa2"
                      "ci\xa1z",
         10},
        {GI_EXT_MAGIC "\x81\xa1x\x01", 8},
        {GI_EXT_MAGIC "\x81\xa1m\x90", 8},
        {GI_EXT_MAGIC "\x81\xa1u\x05", 8},
        {GI_EXT_MAGIC "\x81\x01\x02", 7},
        {GI_EXT_MAGIC "\x81\xa1"
                      "a\xce\xff\xff\xff\xff",
         12},
        {GI_EXT_MAGIC "\x90", 5},
        {GI_EXT_MAGIC "\x80z", 6},
        {"\xc1GX2\x80", 5},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(gi_ext_parse(bad[i], &x), GATE_BADDATA, "%zu", i);
    cr_assert_not(gi_ext_is(BYTES("\xc1GX")));
}

Test(ext, at_most_64_kib) {
    gi_ext_t x;
    gi_buf_t buf = {0};
    char *names = calloc(1, 70000);
    gi_ext_init(&x);
    x.idempotent = (gate_bytes_t){names, 70000};
    cr_assert_eq(gi_ext_pack(&buf, &x), GATE_TOOBIG);
    cr_assert_eq(buf.size, 0);
    x.idempotent.size = 65000;
    cr_assert_eq(gi_ext_pack(&buf, &x), GATE_OK);
    cr_assert_eq(gi_ext_parse((gate_bytes_t){buf.data, buf.size}, &x), GATE_OK);
    free(names);
    gi_buf_fini(&buf);
}

/* ---- faults -------------------------------------------------------------- */
static gate_err_t s_pack_all(void *ctx) {
    gi_buf_t b = {0};
    gi_rpc_request_t r;
    gi_ext_t x;
    const gate_arg_t arg = gate_strn(ctx, 3000);
    gate_err_t e = gi_rpc_pack_request(&b, "f", 1, &arg, 1, NULL, &r);
    if (!e)
        e = gi_rpc_pack_exception(&b, "E\xff", ctx, "t");
    gi_ext_init(&x);
    x.user = (gate_bytes_t){ctx, 3000};
    if (!e)
        e = gi_ext_pack(&b, &x);
    gi_buf_fini(&b);
    return e;
}

static gate_err_t s_take_ok(void *ctx) {
    gate_value_t *v = NULL;
    char *bytes = gi_mem_dup("\x82" RESULT "\x91\x05" EXCEPTION "\xc0", 21);
    (void)ctx;
    if (!bytes)
        return GATE_NOMEM;
    gate_err_t e = gi_rpc_take_reply(bytes, 21, gi_mem_free, bytes, NULL, &v);
    gate_value_destroy(&v);
    return e;
}

/* Without memory the story loses words, not its code. */
static gate_err_t s_take_exception(void *ctx) {
    gate_value_t *v = NULL;
    const gi_buf_t *b = ctx;
    gate_err_t e = gi_rpc_take_reply(b->data, b->size, NULL, NULL, NULL, &v);
    cr_assert_eq(e, GATE_RAISED, "text is a handler's traceback");
    cr_assert_str_eq(gate_error()->cls, "AccessDeniedError");
    return e;
}

Test(rpc, survives_every_allocation_failure) {
    char text[3001];
    gi_buf_t b = {0};
    memset(text, 'x', 3000);
    text[3000] = '\0';
    cr_assert_gt(test_every_fault(s_pack_all, text, GATE_OK), 3);
    cr_assert_eq(test_every_fault(s_take_ok, NULL, GATE_OK), 2);
    cr_assert_eq(gi_rpc_pack_exception(&b, "AccessDeniedError", text, text),
                 GATE_OK);
    cr_assert_gt(test_every_fault(s_take_exception, &b, GATE_RAISED), 2);
    gi_buf_fini(&b);
}
