/* SPDX-License-Identifier: BSD-3-Clause */
/* items.c -- arguments that live as long as gate_items_t, and lists that died. */
#include "faults.h"
#include "value/value.h"

#include <string.h>

static void s_packs_alike(const gate_arg_t *a, const char *want, size_t size) {
    gi_buf_t buf = {0};
    cr_assert_eq(gi_arg_pack(&buf, a, NULL), GATE_OK, "%s", gate_error()->text);
    cr_assert_eq(buf.size, size);
    cr_assert_arr_eq(buf.data, want, size);
    gi_buf_fini(&buf);
}
#define PACKS_ALIKE(a, bytes) s_packs_alike(a, bytes, sizeof(bytes) - 1)

/* Everything that was borrowed is overwritten before it is packed. */
Test(items, own_what_they_hold) {
    gate_items_t *items = gate_items_new();
    for (int i = 0; i < 40; i++) {
        char text[8] = "t", key[8] = "k", raw[] = "\x93\1\2\3";
        text[1] = key[1] = (char)('a' + i % 26);
        gate_value_t *v = gate_value_new(gate_list(i, "v"));
        cr_assert_eq(
            gate_items_add(
                items,
                gate_list(i, text, gate_map(gate_kw(key, gate_bin(text, 2))),
                          gate_raw(raw, 4), gate_value_object(v), (_Bool)1)),
            GATE_OK);
        gate_value_destroy(&v);
        memset(text, 'X', sizeof text - 1);
        memset(key, 'X', sizeof key - 1);
        memset(raw, 0, sizeof raw);
    }
    cr_assert_eq(gate_items_size(items), 40);
    const gate_arg_t *data = gate_items_data(items);
    PACKS_ALIKE(&data[0],
                "\x96\0\xa2ta\x81\xa2ka\xc4\2ta\x93\1\2\3\x92\0\xa1v\xc3");
    PACKS_ALIKE(&data[27], "\x96\x1b\xa2tb\x81\xa2kb\xc4\2tb\x93\1\2\3"
                           "\x92\x1b\xa1v\xc3");
    gate_arg_t all = gate_items_list(items);
    gate_value_t *whole = gate_value_new(all);
    int64_t n = 0;
    cr_assert_eq(gate_value_read(whole, "39.0", &n), GATE_OK);
    cr_assert_eq(n, 39);
    gate_value_destroy(&whole);
    gate_items_destroy(&items);
    cr_assert_null(items);
    gate_items_destroy(&items);
}

Test(items, none_are_an_empty_list) {
    gate_items_t *items = gate_items_new();
    gate_arg_t none = gate_items_list(items);
    PACKS_ALIKE(&none, "\x90");
    gate_items_destroy(&items);
}

/* What does not fit changes nothing; each allocation fails once. */
static void s_with_faults(void) {
    gate_items_t *items = gate_items_new();
    if (!items)
        return;
    gate_err_t e = GATE_OK;
    for (int i = 0; i < 20 && !e; i++)
        e = gate_items_add(items, gate_list(i, gate_map(gate_kw("a", "text"))));
    cr_assert(e == GATE_OK || e == GATE_NOMEM);
    for (size_t i = 0; i < gate_items_size(items); i++)
        cr_assert_eq(gate_items_data(items)[i].type, GATE_A_LIST);
    gate_items_destroy(&items);
}

Test(items, survive_lack_of_memory) {
    for (long n = 1; n < 30; n++) {
        gi_mem_fail_at(n, false);
        s_with_faults();
        gi_mem_fail_at(0, false);
    }
}

/* As a loop does it: the literal of the next turn lies where the last one's
 * did. Here the memory is the test's own, so that this is defined. */
Test(items, a_list_that_died_is_refused) {
    gate_arg_t place[2] = {gate_int(1), gate_int(2)};
    gate_arg_t first = gate_list_here_(place, 2);
    gate_arg_t named[1] = {gate_kw("a", 1)};
    gate_arg_t map = gate_map_here_(named, 1);
    PACKS_ALIKE(&first, "\x92\1\2");
    PACKS_ALIKE(&map, "\x81\xa1"
                      "a\1");
    place[1] = gate_int(3);
    named[0] = gate_kw("b", 1);
    gate_arg_t second = gate_list_here_(place, 2);
    PACKS_ALIKE(&second, "\x92\1\3");
    gi_buf_t buf = {0};
    cr_assert_eq(gi_arg_pack(&buf, &first, NULL), GATE_BADARG);
    cr_assert_not_null(strstr(gate_error()->text, "gate_items_t"));
    cr_assert_eq(gi_arg_pack(&buf, &map, NULL), GATE_BADARG);
    gate_items_t *items = gate_items_new();
    cr_assert_eq(gate_items_add(items, first), GATE_BADARG);
    cr_assert_eq(gate_items_size(items), 0);
    gate_items_destroy(&items);
    gi_buf_fini(&buf);
}

/* gate_list_ borrows an array that its owner may fill later. */
Test(items, an_array_of_the_users_may_change) {
    gate_arg_t place[2] = {gate_int(1), gate_int(2)};
    gate_arg_t list = gate_list_(place, 2);
    place[0] = gate_int(9);
    PACKS_ALIKE(&list, "\x92\x09\2");
}

static const char *const s_bad[] = {"caf\xe9", "\xff\xfe", "\xed\xa0\x80",
                                    "abcdefgh\xc3"};

static void s_refused(gate_arg_t a, const char *what) {
    gi_buf_t buf = {0};
    cr_assert_eq(gi_arg_pack(&buf, &a, NULL), GATE_BADARG, "%s", what);
    cr_assert_not_null(strstr(gate_error()->text, "UTF-8"), "%s: %s", what,
                       gate_error()->text);
    gi_buf_fini(&buf);
}

Test(text, that_is_no_utf8_does_not_leave) {
    for (size_t i = 0; i < sizeof s_bad / sizeof *s_bad; i++) {
        const char *bad = s_bad[i];
        s_refused(gate_str(bad), "a str");
        s_refused(gate_list(1, bad), "in a list");
        s_refused(gate_map(gate_kw(bad, 1)), "a key");
        s_refused(gate_map(gate_kw("k", bad)), "in a map");
        msgpack_object str = {.type = MSGPACK_OBJECT_STR};
        str.via.str.ptr = bad;
        str.via.str.size = (uint32_t)strlen(bad);
        s_refused(gate_obj(&str), "an object");
        char raw[16] = {(char)(0xa0 | strlen(bad))};
        strcpy(raw + 1, bad);
        s_refused(gate_raw(raw, strlen(bad) + 1), "raw");
    }
    gate_arg_t bin = gate_bin(s_bad[0], 4);
    PACKS_ALIKE(&bin, "\xc4\4"
                      "caf\xe9");
}
