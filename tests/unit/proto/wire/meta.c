/* SPDX-License-Identifier: BSD-3-Clause */
/* A call's metadata: bounds, both forms, anybody's bytes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "wire/meta.h"

#define PACKED(s) ((gate_bytes_t){"" s "", sizeof s - 1})

static gate_bytes_t s_flat(const gi_buf_t *packed, char *to) {
    size_t n = gi_meta_flatten((gate_bytes_t){packed->data, packed->size}, to);
    return (gate_bytes_t){to, n};
}

Test(meta, goes_there_and_back) {
    gi_buf_t b = {0};
    char to[GI_META_BYTES_MAX];
    const char *value;
    gate_arg_t args[] = {gate_int(5), gate_meta("traceparent", "00-ab-cd-01"),
                         gate_timeout_ms(3), gate_meta("a", ""),
                         gate_meta("\xc3\xa9", "\xc3\xa8")};
    cr_assert_eq(gi_meta_pack(&b, args, 5), GATE_OK);
    gate_bytes_t flat = s_flat(&b, to);
    cr_expect_str_eq(gi_meta_find(flat, "traceparent"), "00-ab-cd-01");
    cr_expect_str_eq(gi_meta_find(flat, "a"), "");
    cr_expect_str_eq(gi_meta_find(flat, "\xc3\xa9"), "\xc3\xa8");
    cr_expect_null(gi_meta_find(flat, "b"));
    cr_expect_str_eq(gi_meta_at(flat, 1, &value), "a");
    cr_expect_str_eq(value, "");
    cr_expect_str_eq(gi_meta_at(flat, 2, NULL), "\xc3\xa9");
    cr_expect_null(gi_meta_at(flat, 3, NULL));
    gi_buf_fini(&b);
}

Test(meta, none_is_nothing) {
    gi_buf_t b = {0};
    gate_arg_t args[] = {gate_int(5), gate_meta("a", NULL)};
    cr_expect_eq(gi_meta_pack(&b, args, 2), GATE_OK);
    cr_expect_eq(b.size, 0);
    cr_expect_null(gi_meta_at((gate_bytes_t){NULL, 0}, 0, NULL));
    cr_expect_null(gi_meta_find((gate_bytes_t){NULL, 0}, "a"));
    gi_buf_fini(&b);
}

Test(meta, the_last_word_holds_and_NULL_takes_out) {
    gi_buf_t b = {0};
    char to[GI_META_BYTES_MAX], flat[] = "a\0one\0b\0two";
    gate_arg_t of = {.type = GATE_A_META, .n = sizeof flat, .as.p = flat};
    gate_arg_t args[] = {of, gate_meta("a", "three"), gate_meta("b", NULL),
                         gate_meta("c", "four")};
    cr_assert_eq(gi_meta_pack(&b, args, 4), GATE_OK);
    gate_bytes_t got = s_flat(&b, to);
    cr_expect_str_eq(gi_meta_find(got, "a"), "three");
    cr_expect_null(gi_meta_find(got, "b"));
    cr_expect_str_eq(gi_meta_find(got, "c"), "four");
    gi_buf_fini(&b);
}

/* Fills text with n letters. */
static const char *s_long(char *text, size_t n) {
    memset(text, 'x', n);
    text[n] = 0;
    return text;
}

Test(meta, is_bounded_and_says_by_what) {
    static char text[8000], key[20][8];
    gi_buf_t b = {0};
    gate_arg_t many[20];
    const struct {
        gate_arg_t arg;
        gate_err_t e;
        const char *says;
    } rows[] = {
        {gate_meta("", "v"), GATE_BADARG, "1 to 64"},
        {gate_meta(NULL, "v"), GATE_BADARG, "1 to 64"},
        {gate_meta(s_long(text, 65), "v"), GATE_BADARG, "1 to 64"},
        {gate_meta("k", s_long(text + 100, 1025)), GATE_TOOBIG, "1025 bytes"},
        {gate_meta("k", "\xff"), GATE_BADARG, "no UTF-8"},
        {gate_meta("\xff", "v"), GATE_BADARG, "UTF-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(gi_meta_pack(&b, &rows[i].arg, 1), rows[i].e, "%zu", i);
        cr_expect(strstr(gate_error()->text, rows[i].says), "%s",
                  gate_error()->text);
    }
    for (int i = 0; i < 20; i++) {
        snprintf(key[i], sizeof key[i], "k%d", i);
        many[i] = gate_meta(key[i], "v");
    }
    cr_expect_eq(gi_meta_pack(&b, many, 16), GATE_OK);
    cr_expect_eq(gi_meta_pack(&b, many, 17), GATE_TOOBIG);
    for (int i = 0; i < 5; i++)
        many[i] = gate_meta(key[i], s_long(text, 1000));
    cr_expect_eq(gi_meta_pack(&b, many, 5), GATE_TOOBIG);
    cr_expect(strstr(gate_error()->text, "4096"), "%s", gate_error()->text);
    gi_buf_fini(&b);
}

Test(meta, bytes_of_anybody) {
    char to[GI_META_BYTES_MAX];
    const gate_bytes_t bad[] = {
        PACKED(""),
        PACKED("\x90"),
        PACKED("\x81"),
        PACKED("\x81\xa1"),
        PACKED("\x81\xa1k"),
        PACKED("\x81\xa1k\x05"),
        PACKED("\x81\x05\xa1v"),
        PACKED("\x81\xa0\xa1v"),
        PACKED("\x81\xa1\0\xa1v"),
        PACKED("\x81\xa1k\xa1\0"),
        PACKED("\x81\xa1k\xa1\xff"),
        PACKED("\x81\xa1k\xa1v\xc0"),
        PACKED("\xde\x00\x11"),
        PACKED("\x81\xdb\xff\xff\xff\xffk"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(gi_meta_flatten(bad[i], to), 0, "%zu", i);
        cr_expect_not(gi_meta_urgent(bad[i]));
    }
    cr_expect_eq(gi_meta_flatten(PACKED("\x80"), to), 0);
}

Test(meta, priority) {
    cr_expect(gi_meta_urgent(PACKED("\x82\xa1k\xa1v\xa8priority\xa4high")));
    cr_expect_not(gi_meta_urgent(PACKED("\x81\xa8priority\xa3low")));
    cr_expect_not(gi_meta_urgent(PACKED("\x81\xa1k\xa4high")));
}
