/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of small items: what is put in comes out, and nothing else is a row. */
#include "wire/row.h"

#include <criterion/criterion.h>
#include <string.h>

static gate_bytes_t s_bytes(const gi_row_t *row) {
    return (gate_bytes_t){row->data, row->size};
}

Test(row, out_as_in) {
    static gi_row_t row;
    gate_bytes_t rest, item;
    char items[3][GI_ROW_ITEM];
    const size_t sizes[3] = {1, 300, GI_ROW_ITEM};
    for (int i = 0; i < 3; i++) {
        memset(items[i], 'a' + i, sizeof items[i]);
        cr_assert(gi_row_put(&row, items[i], sizes[i]));
    }
    rest = s_bytes(&row);
    cr_assert_eq(gi_row_count(rest), 3);
    for (int i = 0; i < 3; i++) {
        cr_assert(gi_row_next(&rest, &item));
        cr_assert_eq(item.size, sizes[i]);
        cr_assert_arr_eq(item.data, items[i], sizes[i]);
    }
    cr_assert_eq(rest.size, 0);
    cr_assert_not(gi_row_next(&rest, &item));
}

/* By items or by bytes: what has no room changes nothing. */
Test(row, is_full) {
    static gi_row_t small, large;
    static const char item[GI_ROW_ITEM + 1];
    for (unsigned i = 0; i < GI_ROW_ITEMS; i++)
        cr_assert(gi_row_put(&small, "x", 1));
    cr_assert_not(gi_row_put(&small, "x", 1));
    cr_assert_eq(gi_row_count(s_bytes(&small)), GI_ROW_ITEMS);
    unsigned n = 0;
    while (gi_row_put(&large, item, GI_ROW_ITEM))
        n++;
    cr_assert_eq(n, GI_ROW_BYTES / (GI_ROW_ITEM + GI_ROW_LENGTH));
    cr_assert_eq(gi_row_count(s_bytes(&large)), n);
    cr_assert_leq(large.size, (size_t)GI_ROW_BYTES);
}

Test(row, no_item_of_one) {
    static gi_row_t row;
    static const char item[GI_ROW_ITEM + 1];
    cr_assert_not(gi_row_put(&row, item, 0));
    cr_assert_not(gi_row_put(&row, item, sizeof item));
    cr_assert_eq(row.n + row.size, 0u);
}

Test(row, no_row) {
    static const struct {
        const char *data;
        size_t size;
    } bad[] = {{"", 0},        {"\0", 1},        {"\0\1", 2},
               {"\0\0", 2},    {"\0\0x", 3},     {"\0\2x", 3},
               {"\0\1x\0", 4}, {"\0\1x\0\1", 5}, {"\377\377x", 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(gi_row_count((gate_bytes_t){bad[i].data, bad[i].size}), 0,
                     "%zu", i);
    char many[3 * (GI_ROW_ITEMS + 1)];
    for (unsigned i = 0; i < sizeof many; i += 3)
        memcpy(many + i, "\0\1x", 3);
    cr_expect_eq(gi_row_count((gate_bytes_t){many, sizeof many}), 0);
    cr_expect_eq(gi_row_count((gate_bytes_t){many, sizeof many - 3}),
                 GI_ROW_ITEMS);
}
