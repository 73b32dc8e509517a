/* SPDX-License-Identifier: BSD-3-Clause */
/* base.c -- mem, buf, identity, utf8. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/identity.h"
#include "base/mem.h"
#include "base/utf8.h"

Test(mem, nth_allocation_fails_alone) {
    gi_mem_fail_at(2, false);
    void *a = gi_mem_alloc(1), *b = gi_mem_calloc(1, 1),
         *c = gi_mem_strdup("c");
    cr_assert(a && !b && c);
    cr_assert_eq(gi_mem_asked(), 3);
    gi_mem_fail_at(0, false);
    gi_mem_free(a);
    gi_mem_free(c);
}

Test(mem, all_fail_from_the_nth_on) {
    gi_mem_fail_at(2, true);
    void *a = gi_mem_alloc(1);
    cr_assert(a && !gi_mem_alloc(1) && !gi_mem_realloc(a, 9) &&
              gi_mem_refused());
    gi_mem_fail_at(0, false);
    cr_assert_not(gi_mem_refused());
    gi_mem_free(a);
}

Test(mem, dup_ends_in_nul) {
    char *copy = gi_mem_dup("abc", 2);
    cr_assert_str_eq(copy, "ab");
    gi_mem_free(copy);
    copy = gi_mem_dup(NULL, 0);
    cr_assert_str_eq(copy, "");
    gi_mem_free(copy);
}

Test(buf, grows_and_keeps) {
    gi_buf_t buf = {0};
    for (int i = 0; i < 10000; i++)
        cr_assert(gi_buf_append(&buf, "0123456789", 10));
    cr_assert_eq(buf.size, 100000);
    cr_assert_arr_eq(buf.data + 99990, "0123456789", 10);
    gi_buf_reset(&buf, 1 << 20);
    cr_assert(buf.data && !buf.size);
    gi_buf_append(&buf, "x", 1);
    gi_buf_reset(&buf, 10);
    cr_assert_null(buf.data);
}

Test(buf, failed_append_keeps_the_rest) {
    gi_buf_t buf = {0};
    cr_assert(gi_buf_append(&buf, "abc", 3));
    gi_mem_fail_at(1, false);
    cr_assert_not(gi_buf_append(&buf, (char[1000]){0}, 1000));
    gi_mem_fail_at(0, false);
    cr_assert(buf.failed);
    cr_assert_eq(buf.size, 3);
    cr_assert_not(gi_buf_reserve(&buf, SIZE_MAX - 1));
    gi_buf_reset(&buf, 1000);
    cr_assert_not(buf.failed);
    gi_buf_fini(&buf);
}

Test(buf, take_leaves_it_empty) {
    gi_buf_t buf = {0};
    size_t size;
    gi_buf_write(&buf, "abc", 3);
    unsigned char *data = gi_buf_take(&buf, &size);
    cr_assert(size == 3 && !buf.data && !buf.size && !buf.room);
    gi_mem_free(data);
}

static void s_check_id(const char *name, const char *hex) {
    unsigned char id[GI_ID_SIZE];
    char text[2 * GI_ID_SIZE + 1];
    gi_identity_of(name, id);
    for (int i = 0; i < GI_ID_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    cr_assert_str_eq(text, hex, "%s", name);
}

/* tests/wire/vectors/constants.json */
Test(identity, is_uuid5_of_the_dns_namespace) {
    s_check_id("vec-client", "9af2f414309c52bf972e517bcffb8e5a");
    s_check_id("GateCluster", "7a6ffafc9c865df289b642699deddb34");
    s_check_id("\u5821\u5792", "9da642b9852656c8b1a6f1359d7ee6ca");
}

Test(identity, fresh_names_differ) {
    char a[20], b[20];
    gi_identity_fresh("gc-", a, sizeof a);
    gi_identity_fresh("gc-", b, sizeof b);
    cr_assert_eq(strlen(a), 19);
    cr_assert_eq(strspn(a + 3, "0123456789abcdef"), 16);
    cr_assert_str_neq(a, b);
}

Test(utf8, knows_valid_from_invalid) {
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xc3",
                                      "\xe2\x82"};
    cr_assert(gi_utf8_valid("a\u00e9\u20ac\U0001f600\0z", 12));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not(gi_utf8_valid(bad[i], strlen(bad[i])), "%zu", i);
}

/* A bad byte at every place of texts around the eight that are looked at at
 * once, and behind longer sequences. */
Test(utf8, says_where_it_ends) {
    static const char euro[] = "\xe2\x82\xac";
    for (size_t n = 0; n < 40; n++) {
        char text[48];
        memset(text, 'a', sizeof text);
        cr_assert_eq(gi_utf8_prefix(text, n), n);
        cr_assert(gi_utf8_valid(text, n));
        for (size_t at = 0; at < n; at++) {
            text[at] = '\xff';
            cr_assert_eq(gi_utf8_prefix(text, n), at, "%zu of %zu", at, n);
            cr_assert_not(gi_utf8_valid(text, n), "%zu of %zu", at, n);
            text[at] = 'a';
            if (at + 3 > n)
                continue;
            memcpy(text + at, euro, 3);
            cr_assert_eq(gi_utf8_prefix(text, n), n, "%zu of %zu", at, n);
            cr_assert(gi_utf8_valid(text, n), "%zu of %zu", at, n);
            cr_assert_eq(gi_utf8_prefix(text, at + 2), at); /* cut */
            memset(text + at, 'a', 3);
        }
    }
}

Test(utf8, writes_what_it_reads) {
    static const uint32_t codes[] = {1,      0x7f,   0x80,    0x7ff,   0x800,
                                     0xd7ff, 0xe000, 0x10000, 0x10ffff};
    unsigned char out[4];
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        size_t n = gi_utf8_put(codes[i], out);
        cr_assert_eq(gi_utf8_next(out, n), n);
    }
    cr_assert_eq(gi_utf8_put(0xd800, out), 3);
    cr_assert_arr_eq(out, "\xef\xbf\xbd", 3);
}
