/* SPDX-License-Identifier: BSD-3-Clause */
/* table.h -- a chained hash table of intrusive nodes, and free lists. Nothing
 * here allocates in steady state.
 * Thread: one. Owns: slots and free objects, never the nodes in a table. */
#ifndef GI_TABLE_H
#define GI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- hash table ---------------------------------------------------------- */
typedef struct gi_node {
    struct gi_node *next;
    uint64_t hash;
} gi_node_t;

typedef struct gi_table {
    gi_node_t **slots;
    size_t mask, n;
} gi_table_t;

/* size: a power of two. False: no memory. */
bool gi_table_init(gi_table_t *self, size_t size);
void gi_table_fini(gi_table_t *self);
/* Grows when it is full; without memory chains get longer instead. */
void gi_table_insert(gi_table_t *self, gi_node_t *node);
void gi_table_remove(gi_table_t *self, gi_node_t *node);
/* First of the chain that nodes with this hash are in. */
static inline gi_node_t *gi_table_chain(const gi_table_t *self, uint64_t hash) {
    return self->slots[hash & self->mask];
}
/* Keyed, so that peers cannot choose colliding ids. */
uint64_t gi_table_hash(uint64_t seed, const void *data, size_t size);

/* ---- free lists ---------------------------------------------------------- */
typedef struct gi_free {
    void *first;
    size_t size, n, max; /* bytes of an object; how many are kept, at most */
} gi_free_t;

void gi_free_init(gi_free_t *self, size_t size, size_t max);
void gi_free_fini(gi_free_t *self);
void *gi_free_take(gi_free_t *self); /* not cleared; NULL: no memory */
void gi_free_give(gi_free_t *self, void *object);

#endif
