/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/table.h"
#include "base/mem.h"

typedef struct item {
    gi_node_t node;
    unsigned key;
} item_t;

static item_t *s_find(gi_table_t *t, unsigned key) {
    uint64_t hash = gi_table_hash(7, &key, sizeof key);
    for (gi_node_t *n = gi_table_chain(t, hash); n; n = n->next)
        if (GI_OF(n, item_t, node)->key == key)
            return GI_OF(n, item_t, node);
    return NULL;
}

static void s_fill_and_empty(unsigned n, gi_table_t *t, item_t *items) {
    for (unsigned i = 0; i < n; i++) {
        items[i].key = i;
        items[i].node.hash = gi_table_hash(7, &i, sizeof i);
        gi_table_insert(t, &items[i].node);
    }
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(s_find(t, i), &items[i]);
    for (unsigned i = 0; i < n; i += 2)
        gi_table_remove(t, &items[i].node);
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(s_find(t, i), i % 2 ? &items[i] : NULL);
    for (unsigned i = 1; i < n; i += 2)
        gi_table_remove(t, &items[i].node);
    cr_assert_eq(t->n, 0);
}

Test(table, finds_what_is_in_and_nothing_else) {
    enum { N = 10000 };
    gi_table_t t;
    item_t *items = calloc(N, sizeof *items);
    cr_assert(gi_table_init(&t, 4));
    s_fill_and_empty(N, &t, items);
    cr_expect_geq(t.mask, N / 2); /* it has grown */
    gi_table_fini(&t);
    cr_assert(gi_table_init(&t, 4));
    gi_mem_fail_at(1, true); /* it cannot: slower, but right */
    s_fill_and_empty(200, &t, items);
    gi_mem_fail_at(0, false);
    cr_expect_eq(t.mask, 3);
    gi_table_fini(&t);
    free(items);
}

Test(table, hashes_depend_on_seed_size_and_every_byte) {
    unsigned char data[64] = {0};
    for (size_t size = 0; size < sizeof data; size++) {
        uint64_t h = gi_table_hash(7, data, size);
        cr_expect_neq(h, gi_table_hash(8, data, size));
        cr_expect_neq(h, gi_table_hash(7, data, size + 1));
        for (size_t i = 0; i < size; i++) {
            data[i] ^= 0x80;
            cr_expect_neq(h, gi_table_hash(7, data, size));
            data[i] ^= 0x80;
        }
    }
}

Test(list, keeps_its_order) {
    gi_list_t list, a, b, c;
    gi_list_init(&list);
    gi_list_init(&a);
    gi_list_append(&list, &b);
    gi_list_append(&list, &c);
    gi_list_prepend(&list, &a);
    cr_expect(list.next == &a && a.next == &b && b.next == &c &&
              c.next == &list);
    gi_list_remove(&b);
    gi_list_remove(&b); /* again: harmless */
    cr_expect(a.next == &c && c.prev == &a && gi_list_empty(&b));
    gi_list_remove(&a);
    gi_list_remove(&c);
    cr_expect(gi_list_empty(&list));
}

Test(free_list, gives_back_and_keeps_no_more_than_max) {
    gi_free_t f;
    gi_free_init(&f, 64, 2);
    void *p[3];
    for (int i = 0; i < 3; i++)
        p[i] = gi_free_take(&f);
    for (int i = 0; i < 3; i++)
        gi_free_give(&f, p[i]);
    cr_expect_eq(f.n, 2);
    cr_expect_eq(gi_free_take(&f), p[1]);
    gi_free_give(&f, p[1]);
    gi_free_fini(&f);
    cr_expect_eq(f.n, 0);
}
