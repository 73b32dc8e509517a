/* SPDX-License-Identifier: BSD-3-Clause */
/* fair.c -- deficit round robin. A lane whose turn it is may use what it has;
 * in debt it stands back, with a turn's worth more the next time. A lane that
 * is empty goes, with its debt: who has nothing that waits holds up nobody. */
#include "rules/fair.h"

#include "base/mem.h"

#define S_TURN 16384     /* what a lane may use in a turn */
#define S_EACH 1024      /* what an item costs, however small */
#define S_MOST (1 << 20) /* and however large: so rounds are few */
#define S_LANES_LEAST 16 /* slots */

struct gi_fair_lane {
    gi_node_t node; /* in lanes */
    gi_list_t ring;
    gi_list_t items;
    const void *whose;
    int64_t left; /* of its turn; below 0: debt */
};

void gi_fair_init(gi_fair_t *self) {
    *self = (gi_fair_t){.n = 0};
    gi_list_init(&self->ring);
}

static gi_fair_lane_t *s_lane(const gi_list_t *ring) {
    return GI_OF((uintptr_t)ring, gi_fair_lane_t, ring);
}

static gi_fair_item_t *s_item(const gi_list_t *link) {
    return GI_OF((uintptr_t)link, gi_fair_item_t, link);
}

static void s_drop(gi_fair_t *self, gi_fair_lane_t *lane) {
    gi_list_remove(&lane->ring);
    gi_table_remove(&self->lanes, &lane->node);
    gi_mem_free(lane);
}

void gi_fair_fini(gi_fair_t *self) {
    while (!gi_list_empty(&self->ring))
        s_drop(self, s_lane(self->ring.next));
    gi_table_fini(&self->lanes);
}

/* ---- lanes --------------------------------------------------------------- */
static gi_fair_lane_t *s_find(const gi_fair_t *self, uint64_t hash,
                              const void *whose) {
    gi_node_t *node = gi_table_chain(&self->lanes, hash);
    for (; node; node = node->next)
        if (GI_OF(node, gi_fair_lane_t, node)->whose == whose)
            return GI_OF(node, gi_fair_lane_t, node);
    return NULL;
}

static gi_fair_lane_t *s_of(gi_fair_t *self, const void *whose) {
    uint64_t hash = gi_table_hash(0, &whose, sizeof whose);
    if (!self->lanes.slots && !gi_table_init(&self->lanes, S_LANES_LEAST))
        return NULL;
    gi_fair_lane_t *lane = s_find(self, hash, whose);
    if (lane)
        return lane;
    lane = gi_mem_calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->node.hash = hash;
    lane->whose = whose;
    lane->left = S_TURN;
    gi_list_init(&lane->items);
    gi_list_init(&lane->ring);
    gi_list_append(&self->ring, &lane->ring);
    gi_table_insert(&self->lanes, &lane->node);
    return lane;
}

/* ---- items --------------------------------------------------------------- */
bool gi_fair_add(gi_fair_t *self, gi_fair_item_t *item, const void *whose,
                 size_t bytes) {
    item->lane = s_of(self, whose);
    if (item->lane == NULL)
        return false;
    item->cost = S_EACH + (int64_t)(bytes < S_MOST ? bytes : S_MOST);
    gi_list_init(&item->link);
    gi_list_append(&item->lane->items, &item->link);
    self->n++;
    return true;
}

void gi_fair_remove(gi_fair_t *self, gi_fair_item_t *item) {
    gi_list_remove(&item->link);
    if (gi_list_empty(&item->lane->items))
        s_drop(self, item->lane);
    item->lane = NULL;
    self->n--;
}

void gi_fair_take(gi_fair_t *self, gi_fair_item_t *item) {
    item->lane->left -= item->cost;
    gi_fair_remove(self, item);
}

gi_fair_item_t *gi_fair_first(gi_fair_t *self) {
    if (gi_list_empty(&self->ring))
        return NULL;
    gi_fair_lane_t *lane = s_lane(self->ring.next);
    bool alone = lane->ring.next == lane->ring.prev;
    for (; lane->left <= 0; lane = s_lane(self->ring.next)) {
        lane->left = alone ? S_TURN : lane->left + S_TURN;
        gi_list_remove(&lane->ring);
        gi_list_append(&self->ring, &lane->ring);
    }
    return s_item(lane->items.next);
}

/* ---- all of them --------------------------------------------------------- */
static gi_fair_item_t *s_head(const gi_fair_t *self, const gi_list_t *ring) {
    return ring == &self->ring ? NULL : s_item(s_lane(ring)->items.next);
}

gi_fair_item_t *gi_fair_next_lane(const gi_fair_t *self,
                                  const gi_fair_item_t *item) {
    return s_head(self, item ? item->lane->ring.next : self->ring.next);
}

gi_fair_item_t *gi_fair_next(const gi_fair_t *self,
                             const gi_fair_item_t *item) {
    return item && item->link.next != &item->lane->items
               ? s_item(item->link.next)
               : gi_fair_next_lane(self, item);
}
