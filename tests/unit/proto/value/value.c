/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults.h"
#include "value/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static gate_value_t *s_decode(const void *data, size_t size) {
    gate_value_t *v = NULL;
    cr_assert_eq(gate_value_decode(data, size, NULL, &v), GATE_OK, "%s",
                 gate_error()->text);
    return v;
}
#define DECODE(bytes) s_decode(bytes, sizeof(bytes) - 1)

static void s_json_is(gate_value_t *v, const char *want) {
    char *json = gate_value_json(v);
    cr_assert_str_eq(json, want);
    free(json);
    gate_value_destroy(&v);
}

#define PACKS(arg, bytes)                                         \
    do {                                                          \
        gi_buf_t b = {0};                                         \
        gate_arg_t a = arg;                                       \
        cr_assert_eq(gi_arg_pack(&b, &a, NULL), GATE_OK);         \
        cr_assert_eq(b.size, sizeof(bytes) - 1, #arg);            \
        cr_assert_arr_eq(b.data, bytes, sizeof(bytes) - 1, #arg); \
        gi_buf_fini(&b);                                          \
    } while (0)

Test(arg, packs_the_shortest_form) {
    PACKS(GATE_ARG((void *)NULL), "\xc0");
    PACKS(GATE_ARG((_Bool)1), "\xc3");
    PACKS(gate_int(0), "\x00");
    PACKS(gate_int(127), "\x7f");
    PACKS(gate_int(128), "\xcc\x80");
    PACKS(gate_int(256), "\xcd\x01\x00");
    PACKS(gate_int(65536), "\xce\x00\x01\x00\x00");
    PACKS(gate_int(1LL << 32), "\xcf\0\0\0\1\0\0\0\0");
    PACKS(gate_uint(UINT64_MAX), "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    PACKS(gate_int(-32), "\xe0");
    PACKS(gate_int(-33), "\xd0\xdf");
    PACKS(gate_int(-129), "\xd1\xff\x7f");
    PACKS(gate_int(-32769), "\xd2\xff\xff\x7f\xff");
    PACKS(gate_int(INT64_MIN), "\xd3\x80\0\0\0\0\0\0\0");
    PACKS(gate_f64(1.5), "\xcb\x3f\xf8\0\0\0\0\0\0");
    PACKS(gate_str(NULL), "\xc0");
    PACKS(gate_str(""), "\xa0");
    PACKS(gate_strn("a\0b", 3), "\xa3"
                                "a\0b");
    PACKS(gate_bin("ab", 2), "\xc4\x02"
                             "ab");
    PACKS(gate_list(1, "a"), "\x92\1\xa1"
                             "a");
    PACKS(gate_map(gate_kw("k", 1)), "\x81\xa1k\1");
    PACKS(gate_raw("\x91\xc0", 2), "\x91\xc0");
    PACKS(gate_list_(NULL, 0), "\x90");
    PACKS(gate_val(NULL), "\xc0");
    PACKS(gate_obj(NULL), "\xc0");
}

/* Lengths around each change of form come back as they went. */
Test(arg, lengths_of_all_forms_come_back) {
    static const size_t sizes[] = {0,   1,   15,    16,    31,   32,
                                   255, 256, 65535, 65536, 70000};
    char *text = calloc(1, 70000);
    gate_arg_t *items = calloc(70000, sizeof *items);
    for (size_t i = 0; i < 70000; i++)
        items[i] = gate_kw_("k", gate_int(5));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        gate_value_t *v = gate_value_new(gate_strn(text, n));
        const msgpack_object *o = gate_value_object(v);
        cr_assert(o->type == MSGPACK_OBJECT_STR && o->via.str.size == n);
        gate_value_destroy(&v);
        v = gate_value_new(gate_bin(text, n));
        o = gate_value_object(v);
        cr_assert(o->type == MSGPACK_OBJECT_BIN && o->via.bin.size == n);
        gate_value_destroy(&v);
        v = gate_value_new(gate_list_(items, n));
        o = gate_value_object(v);
        cr_assert(o->type == MSGPACK_OBJECT_ARRAY && o->via.array.size == n);
        gate_value_destroy(&v);
        v = gate_value_new(gate_map_(items, n));
        o = gate_value_object(v);
        cr_assert(o->type == MSGPACK_OBJECT_MAP && o->via.map.size == n);
        gate_value_destroy(&v);
    }
    free(items);
    free(text);
}

static void s_refused(gate_arg_t arg, gate_err_t want, const char *said) {
    gi_buf_t b = {0};
    cr_assert_eq(gi_arg_pack(&b, &arg, NULL), want);
    cr_assert(strstr(gate_error()->text, said), "%s", gate_error()->text);
    cr_assert_null(gate_value_new(arg));
    gi_buf_fini(&b);
}

Test(arg, says_what_cannot_be_packed) {
    int queue; /* never looked into */
    gate_arg_t self = {0};
    self = gate_list_(&self, 1);
    s_refused(gate_raw("\x91", 1), GATE_BADARG, "raw argument: msgpack: cut");
    s_refused(gate_raw("\1\2", 2), GATE_BADARG, "1 bytes after");
    s_refused(gate_raw(NULL, 0), GATE_BADARG, "raw argument");
    s_refused(gate_ext(1, "x"), GATE_BADARG, "no prepare_pack hook");
    s_refused(gate_queue_arg((gate_queue_t *)&queue), GATE_BADARG, "a queue");
    s_refused(gate_timeout_ms(5), GATE_BADARG, "gate_timeout_ms");
    s_refused(self, GATE_BADARG, "nested deeper than 512");
    s_refused(
        gate_list_(
            &(gate_arg_t){.type = GATE_A_MAP, .n = 1, .as.p = &(gate_arg_t){0}},
            1),
        GATE_BADARG, "has no name");
    s_refused((gate_arg_t){.type = (gate_arg_type_t)99}, GATE_BADARG,
              "unknown type 99");
    s_refused(gate_strn("", (size_t)1 << 33), GATE_TOOBIG, "4 GiB");
}

Test(value, decodes_each_kind) {
    gate_value_t *v = DECODE(
        "\x9b\xc0\xc3\x01\xff\xd0\x05\xca\x3f\xc0\0\0"
        "\xcb\x3f\xf8\0\0\0\0\0\0\xa1s\xc4\x01z\xd4\x05x\x81\xa1k\x91\x02");
    const msgpack_object *o = gate_value_object(v)->via.array.ptr;
    cr_assert_eq(o[0].type, MSGPACK_OBJECT_NIL);
    cr_assert(o[1].type == MSGPACK_OBJECT_BOOLEAN && o[1].via.boolean);
    cr_assert(o[2].type == MSGPACK_OBJECT_POSITIVE_INTEGER);
    cr_assert(o[3].type == MSGPACK_OBJECT_NEGATIVE_INTEGER &&
              o[3].via.i64 == -1);
    cr_assert(o[4].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
              o[4].via.u64 == 5);
    cr_assert(o[5].type == MSGPACK_OBJECT_FLOAT32 && o[5].via.f64 == 1.5);
    cr_assert(o[6].type == MSGPACK_OBJECT_FLOAT64 && o[6].via.f64 == 1.5);
    cr_assert(o[9].type == MSGPACK_OBJECT_EXT && o[9].via.ext.type == 5 &&
              o[9].via.ext.size == 1);
    s_json_is(v, "[null,true,1,-1,5,1.5,1.5,\"s\",{\"$bin\":\"eg==\"},"
                 "{\"$ext\":[5,\"eA==\"]},{\"k\":[2]}]");
}

Test(value, decode_copies_and_keeps_the_bytes) {
    char data[] = "\x92\xa3"
                  "abc\x05";
    gate_value_t *v = s_decode(data, 6);
    memset(data, 'x', sizeof data);
    gate_bytes_t b = gate_value_bytes(v);
    cr_assert_eq(b.size, 6);
    cr_assert_arr_eq(b.data,
                     "\x92\xa3"
                     "abc\x05",
                     6);
    gate_value_t *again = gate_value_new(gate_val(v));
    gate_value_destroy(&v);
    s_json_is(again, "[\"abc\",5]");
}

Test(value, refuses_bad_bytes) {
    gate_value_t *v = NULL;
    unsigned char deep[600];
    memset(deep, 0x91, sizeof deep);
    deep[129] = 0xc0;
    cr_assert_eq(gate_value_decode("\x01\x02", 2, NULL, &v), GATE_BADDATA);
    cr_assert_eq(gate_value_decode("", 0, NULL, &v), GATE_BADDATA);
    cr_assert_eq(gate_value_decode(deep, 130, NULL, &v), GATE_TOOBIG);
    cr_assert_null(v);
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "msgpack_depth_max", 512);
    gate_settings_set(s, "msgpack_str_max", 16);
    deep[512] = 0xc0;
    memset(deep, 0x91, 512);
    cr_assert_eq(gate_value_decode(deep, 513, s, &v), GATE_OK);
    gate_value_t *copy = gate_value_new(gate_obj(gate_value_object(v)));
    cr_assert_eq(gate_value_bytes(copy).size, 513);
    gate_value_destroy(&copy);
    gate_value_destroy(&v);
    cr_assert_eq(gate_value_decode("\xb1"
                                   "0123456789abcdefg",
                                   18, s, &v),
                 GATE_TOOBIG);
    gate_settings_destroy(&s);
}

static void s_count_release(void *hint) { ++*(int *)hint; }

Test(value, take_releases_once) {
    int n = 0;
    gate_value_t *v = NULL;
    cr_assert_eq(gi_value_take("\x01", 1, s_count_release, &n, NULL, &v),
                 GATE_OK);
    cr_assert_eq(n, 0);
    gate_value_t *other = gate_value_share(v);
    gate_value_destroy(&v);
    gate_value_destroy(&v);
    cr_assert_eq(n, 0);
    gate_value_destroy(&other);
    cr_assert_eq(n, 1);
    cr_assert_eq(gi_value_take("\xc1", 1, s_count_release, &n, NULL, &v),
                 GATE_BADDATA);
    cr_assert_eq(n, 2);
    gi_mem_fail_at(1, true);
    cr_assert_eq(gi_value_take("\x01", 1, s_count_release, &n, NULL, &v),
                 GATE_NOMEM);
    gi_mem_fail_at(0, false);
    cr_assert_eq(n, 3);
}

Test(value, parts_share_the_whole) {
    int n = 0;
    gate_value_t *v = NULL, *part = NULL, *inner = NULL;
    cr_assert_eq(gi_value_take("\x82\xa1k\x92\x01\xa2xy\xa1l\xc0", 11,
                               s_count_release, &n, NULL, &v),
                 GATE_OK);
    cr_assert_eq(gate_value_read(v, "k", &part), GATE_OK);
    cr_assert_eq(gate_value_read(part, "1", &inner), GATE_OK);
    gate_value_destroy(&v);
    gate_bytes_t b = gate_value_bytes(part);
    cr_assert_eq(b.size, 5);
    cr_assert_arr_eq(b.data, "\x92\x01\xa2xy", 5);
    cr_assert_eq(gate_value_bytes(part).data, b.data);
    gate_value_destroy(&part);
    cr_assert_eq(n, 0);
    s_json_is(inner, "\"xy\"");
    cr_assert_eq(n, 1);
}

Test(value, reads_by_path) {
    gate_value_t *v = gate_value_new(
        gate_map(gate_kw("args", gate_list(7, "text", gate_list(1, 2))),
                 gate_kw("user", gate_map(gate_kw("name", "Bob")))));
    int64_t i = 0;
    const char *s = NULL, *again = NULL;
    char *own = NULL;
    cr_assert_eq(gate_value_read(v, "args.0", &i), GATE_OK);
    cr_assert_eq(i, 7);
    cr_assert_eq(gate_value_read(v, "args.2.1", &i), GATE_OK);
    cr_assert_eq(i, 2);
    cr_assert_eq(gate_value_read(v, "user.name", &s), GATE_OK);
    cr_assert_eq(gate_value_read(v, "args.1", &again), GATE_OK);
    cr_assert_str_eq(s, "Bob");
    cr_assert_str_eq(again, "text");
    cr_assert_eq(gate_value_read(v, "user.name", &own), GATE_OK);
    cr_assert_str_eq(own, "Bob");
    free(own);
    static const char *const absent[] = {"args.3",
                                         "args.x",
                                         "args.",
                                         "nope",
                                         "user.name.x",
                                         "args.-1",
                                         "args.99999999999999999999"};
    for (size_t n = 0; n < sizeof absent / sizeof *absent; n++) {
        cr_assert_eq(gate_value_read(v, absent[n], &i), GATE_BADARG, "%s",
                     absent[n]);
        cr_assert_eq(gate_value_read(v, absent[n], gate_opt(&i)), GATE_OK);
    }
    cr_assert_eq(gate_value_read(v, "user.name", &i), GATE_BADARG);
    cr_assert_str_eq(gate_error()->text, "user.name must be int, not str");
    cr_assert_eq(i, 2);
    gate_value_destroy(&v);
}

Test(value, decodes_into_a_zone) {
    msgpack_zone zone;
    msgpack_object o;
    msgpack_zone_init(&zone, 64);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(
            gi_value_decode_into("\x93\x01\x02\x91\x03", 5, &zone, NULL, &o),
            GATE_OK);
        cr_assert_eq(o.via.array.ptr[2].via.array.ptr[0].via.u64, 3);
        msgpack_zone_clear(&zone);
    }
    cr_assert_eq(gi_value_decode_into("\x93", 1, &zone, NULL, &o),
                 GATE_BADDATA);
    msgpack_zone_destroy(&zone);
}

/* ---- hooks --------------------------------------------------------------- */
typedef struct s_point {
    int x, y;
} s_point_t;

static gate_err_t s_pack_point(void *ctx, int8_t type, const void *object,
                               msgpack_packer *to) {
    const s_point_t *p = object;
    (void)ctx;
    if (type == 9) /* writes nothing */
        return GATE_OK;
    if (type == 8)
        return GATE_CLOSED;
    msgpack_pack_array(to, 2);
    msgpack_pack_int(to, p->x);
    msgpack_pack_int(to, p->y);
    return GATE_OK;
}

/* A list becomes the number of its items, plus what its own lists came to. */
static gate_err_t s_sum(void *ctx, msgpack_object *array, msgpack_zone *z) {
    uint64_t sum = array->via.array.size;
    (void)z;
    for (uint32_t i = 0; i < array->via.array.size; i++)
        sum += array->via.array.ptr[i].via.u64;
    array->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
    array->via.u64 = sum;
    ++*(int *)ctx;
    return GATE_OK;
}

static gate_err_t s_map_to_str(void *ctx, msgpack_object *map,
                               msgpack_zone *z) {
    char *text = msgpack_zone_malloc(z, 4);
    (void)ctx;
    if (!text)
        return GATE_NOMEM;
    memcpy(text, "map!", 4);
    map->type = MSGPACK_OBJECT_STR;
    map->via.str = (msgpack_object_str){4, text};
    return GATE_OK;
}

static gate_err_t s_fails(void *ctx, msgpack_object *map, msgpack_zone *z) {
    (void)ctx, (void)map, (void)z;
    return GATE_REFUSED;
}

Test(hooks, prepare_pack_writes_one_value) {
    gate_settings_t *s = gate_settings_new();
    s_point_t p = {1, 2};
    gi_buf_t b = {0};
    gate_settings_hooks(s, (gate_hooks_t){.prepare_pack = s_pack_point});
    gate_arg_t arg = gate_list(gate_ext(1, &p), 3);
    cr_assert_eq(gi_arg_pack(&b, &arg, s), GATE_OK);
    cr_assert_eq(b.size, 5);
    cr_assert_arr_eq(b.data, "\x92\x92\1\2\3", 5);
    arg = gate_ext(9, &p);
    cr_assert_eq(gi_arg_pack(&b, &arg, s), GATE_BADARG);
    cr_assert(strstr(gate_error()->text, "must write one value"));
    arg = gate_ext(8, &p);
    cr_assert_eq(gi_arg_pack(&b, &arg, s), GATE_CLOSED);
    gi_buf_fini(&b);
    gate_settings_destroy(&s);
}

Test(hooks, children_come_first_and_bytes_are_gone) {
    gate_settings_t *s = gate_settings_new();
    int calls = 0;
    gate_value_t *v = NULL;
    gate_settings_hooks(s, (gate_hooks_t){.list_hook = s_sum, .ctx = &calls});
    cr_assert_eq(gate_value_decode("\x92\x92\1\1\x91\5", 6, s, &v), GATE_OK);
    cr_assert_eq(calls, 3);
    cr_assert_eq(gate_value_object(v)->via.u64, 2 + 4 + 6);
    cr_assert_eq(gate_value_bytes(v).size, 0);
    gate_value_t *packed = gate_value_new(gate_val(v));
    gate_value_destroy(&v);
    s_json_is(packed, "12");
    cr_assert_eq(gate_value_decode("\x05", 1, s, &v), GATE_OK);
    cr_assert_eq(gate_value_bytes(v).size, 1); /* nothing to hook */
    gate_value_destroy(&v);
    gate_settings_destroy(&s);
}

Test(hooks, pairs_hook_comes_before_object_hook) {
    gate_settings_t *s = gate_settings_new();
    gate_value_t *v = NULL;
    gate_settings_hooks(s, (gate_hooks_t){.object_hook = s_fails});
    cr_assert_eq(gate_value_decode("\x80", 1, s, &v), GATE_REFUSED);
    cr_assert(strstr(gate_error()->text, "the map hook failed"));
    gate_settings_hooks(
        s, (gate_hooks_t){.object_hook = s_fails, .pairs_hook = s_map_to_str});
    cr_assert_eq(gate_value_decode("\x92\x80\x81\x01\x02", 5, s, &v), GATE_OK);
    s_json_is(v, "[\"map!\",\"map!\"]");
    gate_settings_destroy(&s);
}

/* ---- JSON ---------------------------------------------------------------- */
Test(json, escapes_and_numbers) {
    s_json_is(gate_value_new("\x01\t\"\\/\u00e9\x7f"),
              "\"\\u0001\\t\\\"\\\\/\u00e9\\u007f\"");
    s_json_is(gate_value_new("\xc2\x9b"
                             "2J"),
              "\"\\u009b2J\"");
    s_json_is(gate_value_new(gate_strn("a\0b", 3)), "\"a\\u0000b\"");
    s_json_is(DECODE("\xa4"
                     "a\xff\xc3z"),
              "\"a\xef\xbf\xbd\xef\xbf\xbdz\"");
    s_json_is(gate_value_new(gate_list(0.1, 1.0, -0.0, 1e300, 1e22, 5e-324)),
              "[0.1,1.0,-0.0,1e+300,1e+22,4.94065645841247e-324]");
    s_json_is(gate_value_new(
                  gate_list((double)NAN, (double)INFINITY, -(double)INFINITY)),
              "[{\"$float\":\"nan\"},{\"$float\":\"inf\"},"
              "{\"$float\":\"-inf\"}]");
    s_json_is(gate_value_new(gate_list(UINT64_MAX, INT64_MIN)),
              "[18446744073709551615,-9223372036854775808]");
    s_json_is(gate_value_new(gate_list(gate_bin("", 0), gate_bin("ab", 2),
                                       gate_bin("abc", 3))),
              "[{\"$bin\":\"\"},{\"$bin\":\"YWI=\"},{\"$bin\":\"YWJj\"}]");
    s_json_is(gate_value_new(gate_list_(NULL, 0)), "[]");
    s_json_is(gate_value_new(gate_map_(NULL, 0)), "{}");
}

Test(json, keys_become_strings) {
    s_json_is(DECODE("\x83\x01\x02\xc0\x03\xa1z\x04"),
              "{\"1\":2,\"null\":3,\"z\":4}");
}

/* What a map with such keys cannot say is said as pairs. */
Test(json, keys_that_are_none) {
    s_json_is(DECODE("\x84\x01\x02\xc4\x01z\x04\x90\x05\x80\x06"),
              "{\"$map\":[[1,2],[{\"$bin\":\"eg==\"},4],[[],5],[{},6]]}");
    s_json_is(DECODE("\x82\x01\x02\xa1"
                     "1\x03"),
              "{\"$map\":[[1,2],[\"1\",3]]}");
    s_json_is(DECODE("\x82\xa1"
                     "a\x02\xa1"
                     "a\x03"),
              "{\"$map\":[[\"a\",2],[\"a\",3]]}");
    s_json_is(DECODE("\x81\xa4$ext\x01"), "{\"$map\":[[\"$ext\",1]]}");
    s_json_is(DECODE("\x81\xa4$bin\x01"), "{\"$bin\":1}");
}

Test(json, many_keys) {
    enum { N = 1000 };
    gate_arg_t entries[N + 1];
    char names[N + 1][8];
    for (int i = 0; i <= N; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i % N);
        entries[i] = gate_kw_(names[i], gate_int(i));
    }
    for (size_t n = N; n <= N + 1; n++) {
        gate_value_t *v = gate_value_new_(gate_map_(entries, n));
        char *json = gate_value_json(v);
        cr_expect_eq(strncmp(json, "{\"$map\"", 7) == 0, n > N);
        free(json);
        gate_value_destroy(&v);
    }
}

/* ---- faults -------------------------------------------------------------- */
static gate_err_t s_everything(void *ctx) {
    const gate_settings_t *settings = ctx;
    gate_value_t *v = NULL, *part = NULL;
    const char *text = NULL;
    char *own = NULL, *json = NULL;
    gate_err_t e =
        gate_value_decode("\x92\x81\xa1k\xa2xy\x91\x05", 9, settings, &v);
    if (!e)
        e = gate_value_read(v, "0", &part);
    if (!e)
        e = gate_value_read(v, "0.k", &text);
    if (!e)
        e = gate_value_read(v, "0.k", &own);
    if (!e && !gate_value_bytes(part).size && !settings)
        e = GATE_NOMEM;
    if (!e && !(json = gate_value_json(part)))
        e = GATE_NOMEM;
    gate_value_t *copy = e ? NULL : gate_value_new(gate_val(part));
    if (!e && !copy)
        e = gate_error()->code;
    free(own);
    free(json);
    gate_value_destroy(&copy);
    gate_value_destroy(&part);
    gate_value_destroy(&v);
    return e;
}

static gate_err_t s_idle(void *ctx, msgpack_object *o, msgpack_zone *z) {
    (void)ctx, (void)o, (void)z;
    return GATE_OK;
}

Test(value, survives_every_allocation_failure) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_hooks(s, (gate_hooks_t){.list_hook = s_idle});
    cr_assert_gt(test_every_fault(s_everything, NULL, GATE_OK), 6);
    cr_assert_gt(test_every_fault(s_everything, s, GATE_OK), 6);
    gate_settings_destroy(&s);
}
