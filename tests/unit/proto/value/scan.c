/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults.h"
#include "value/scan.h"

#include <stdlib.h>
#include <string.h>

static const gi_limits_t s_small = {4, 3, 3, 2, 3, 9, .utf8 = false};

#define SCAN(bytes) gi_scan(bytes, sizeof(bytes) - 1, &s_small)

Test(scan, accepts_each_kind) {
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
#define ROW(b) {b, sizeof(b) - 1}
        ROW("\x00"),
        ROW("\x7f"),
        ROW("\xe0"),
        ROW("\xff"),
        ROW("\xc0"),
        ROW("\xc2"),
        ROW("\xc3"),
        ROW("\x80"),
        ROW("\x90"),
        ROW("\xa0"),
        ROW("\xa4"
            "abcd"),
        ROW("\xd9\x01z"),
        ROW("\xda\0\x01z"),
        ROW("\xdb\0\0\0\x01z"),
        ROW("\xc4\x01z"),
        ROW("\xc5\0\x01z"),
        ROW("\xc6\0\0\0\x01z"),
        ROW("\xc7\x01\x05z"),
        ROW("\xc8\0\x01\x05z"),
        ROW("\xc9\0\0\0\x01\x05z"),
        ROW("\xd4\x05z"),
        ROW("\xd5\x05zz"),
        ROW("\xca\0\0\0\0"),
        ROW("\xcb\0\0\0\0\0\0\0\0"),
        ROW("\xcc\0"),
        ROW("\xcd\0\0"),
        ROW("\xce\0\0\0\0"),
        ROW("\xcf\0\0\0\0\0\0\0\0"),
        ROW("\xd0\0"),
        ROW("\xd1\0\0"),
        ROW("\xd2\0\0\0\0"),
        ROW("\xd3\0\0\0\0\0\0\0\0"),
        ROW("\x93\1\2\3"),
        ROW("\xdc\0\1\1"),
        ROW("\xdd\0\0\0\1\1"),
        ROW("\x82\1\2\3\4"),
        ROW("\xde\0\1\1\2"),
        ROW("\xdf\0\0\0\1\1\2"),
        ROW("\x91\x91\x90"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t used = 0;
        /* a copy of that size, so that ASan sees a byte too far */
        char *exact = malloc(rows[i].size);
        memcpy(exact, rows[i].bytes, rows[i].size);
        cr_assert_eq(gi_scan(exact, rows[i].size, &s_small), GATE_OK, "%zu: %s",
                     i, gate_error()->text);
        cr_assert_eq(gi_scan_one(exact, rows[i].size, &s_small, &used),
                     GATE_OK);
        cr_assert_eq(used, rows[i].size);
        for (size_t cut = 0; cut < rows[i].size; cut++) {
            char *less = malloc(cut ? cut : 1);
            memcpy(less, exact, cut);
            cr_assert_eq(gi_scan(less, cut, &s_small), GATE_BADDATA,
                         "%zu cut at %zu", i, cut);
            free(less);
        }
        free(exact);
    }
}

Test(scan, enforces_each_limit) {
    cr_assert_eq(SCAN("\xa5"
                      "abcde"),
                 GATE_TOOBIG);
    cr_assert_str_eq(gate_error()->text,
                     "msgpack: str of 5 at byte 0: at most 4 "
                     "(msgpack_str_max)");
    cr_assert_eq(SCAN("\xc4\x04zzzz"), GATE_TOOBIG);
    cr_assert_eq(SCAN("\xd6\x05zzzz"), GATE_TOOBIG);
    cr_assert_eq(SCAN("\x94\1\2\3\4"), GATE_TOOBIG);
    cr_assert_eq(SCAN("\x83\1\2\3\4\5\6"), GATE_TOOBIG);
    cr_assert_eq(SCAN("\x91\x91\x91\x01"), GATE_OK);
    cr_assert_eq(SCAN("\x91\x91\x91\x90"), GATE_TOOBIG);
    cr_assert_str_eq(gate_error()->text,
                     "msgpack: deeper than 3 levels at byte 3");
}

Test(scan, refuses_what_is_no_value) {
    cr_assert_eq(SCAN("\xc1"), GATE_BADDATA);
    cr_assert_eq(SCAN("\x92\x01\xc1"), GATE_BADDATA);
    cr_assert_str_eq(gate_error()->text,
                     "msgpack: the reserved byte 0xc1 at byte 2");
    cr_assert_eq(SCAN("\x01\x02"), GATE_BADDATA);
    cr_assert_str_eq(gate_error()->text,
                     "msgpack: 1 bytes after the value's 1");
    cr_assert_eq(gi_scan(NULL, 0, &s_small), GATE_BADDATA);
}

Test(scan, counts_must_be_plausible) {
    gi_limits_t wide = gi_scan_limits(NULL);
    wide.array_max = wide.map_max = UINT32_MAX;
    cr_assert_eq(gi_scan("\xdd\xff\xff\xff\xff\1", 6, &wide), GATE_BADDATA);
    cr_assert(strstr(gate_error()->text, "more is announced"));
    cr_assert_eq(gi_scan("\xdf\x80\0\0\1\1\1", 7, &wide), GATE_BADDATA);
}

/* Objects are what costs: three lists of three fill it, wherever they are. */
Test(scan, counts_objects_of_all_containers_together) {
    cr_assert_eq(SCAN("\x92\x93\1\1\1\x93\1\1\1"), GATE_OK);   /* 8 */
    cr_assert_eq(SCAN("\x93\x93\1\1\1\x93\1\1\1\1"), GATE_OK); /* 9 */
    cr_assert_eq(SCAN("\x93\x93\1\1\1\x93\1\1\1\x91\1"), GATE_TOOBIG);
    cr_assert_str_eq(gate_error()->text,
                     "msgpack: at byte 9 more than 9 objects in all: "
                     "msgpack_objects_max");
    cr_assert_eq(SCAN("\x82\1\x82\1\1\1\1\1\x91\1"), GATE_OK);
    cr_assert_eq(SCAN("\x82\1\x82\1\1\1\1\1\x92\1\1"), GATE_TOOBIG);
}

/* The end of a refused value is not looked at: it is cut off. */
Test(scan, stops_where_there_are_too_many) {
    cr_assert_eq(SCAN("\x93\x93\1\1\1\x93\1\1\1\x93\xc1\xc1\xc1"), GATE_TOOBIG);
}

Test(scan, one_leaves_the_rest) {
    size_t used = 9;
    cr_assert_eq(gi_scan_one("\x92\1\2zzz", 6, &s_small, &used), GATE_OK);
    cr_assert_eq(used, 3);
}

Test(scan, five_hundred_levels_and_no_more) {
    unsigned char deep[520];
    gi_limits_t limits = gi_scan_limits(NULL);
    memset(deep, 0x91, sizeof deep);
    cr_assert_eq(limits.depth_max, 128);
    limits.depth_max = 512;
    deep[512] = 0xc0;
    cr_assert_eq(gi_scan(deep, 513, &limits), GATE_OK);
    deep[512] = 0x90;
    cr_assert_eq(gi_scan(deep, 513, &limits), GATE_TOOBIG);
    limits.depth_max = 100000; /* no setting allows it; the stack holds */
    cr_assert_eq(gi_scan(deep, 513, &limits), GATE_TOOBIG);
}
