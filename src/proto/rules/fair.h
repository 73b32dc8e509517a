/* SPDX-License-Identifier: BSD-3-Clause */
/* fair.h -- who is next, of many who wait for the same: each owner has a lane,
 * first in first out, and lanes take turns by what their items cost. Whoever
 * has sent more waits longer; who has one item waits for one turn of each other.
 * Pure, intrusive. Thread: one. Owns: its lanes, never the items.
 * Law: a lane has an item. */
#ifndef GI_FAIR_H
#define GI_FAIR_H

#include "base/list.h"
#include "base/table.h"

typedef struct gi_fair_lane gi_fair_lane_t;

typedef struct gi_fair_item {
    gi_list_t link;
    gi_fair_lane_t *lane; /* NULL: it does not wait */
    int64_t cost;
} gi_fair_item_t;

typedef struct gi_fair {
    gi_list_t ring; /* of lanes, whose turn it is first */
    gi_table_t lanes;
    size_t n; /* items */
} gi_fair_t;

void gi_fair_init(gi_fair_t *self);
void gi_fair_fini(gi_fair_t *self);
/* whose: the owner, as an address. bytes: what the item costs beside itself.
 * False: no memory. */
bool gi_fair_add(gi_fair_t *self, gi_fair_item_t *item, const void *whose,
                 size_t bytes);
/* Whose turn it is; NULL: nobody waits. */
gi_fair_item_t *gi_fair_first(gi_fair_t *self);
/* Its turn has come: its lane pays. */
void gi_fair_take(gi_fair_t *self, gi_fair_item_t *item);
/* It waits no more. */
void gi_fair_remove(gi_fair_t *self, gi_fair_item_t *item);
/* All items, a lane after the other; NULL: begins, and is the end. */
gi_fair_item_t *gi_fair_next(const gi_fair_t *self, const gi_fair_item_t *item);
/* The first of each lane, in the same way. */
gi_fair_item_t *gi_fair_next_lane(const gi_fair_t *self,
                                  const gi_fair_item_t *item);

#endif
