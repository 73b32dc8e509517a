/* SPDX-License-Identifier: BSD-3-Clause */
/* table.c -- hash table and free lists. Chained, because
 * nodes then never move and removal needs no tombstones; a chain is one or two
 * nodes long at a load of at most one. */
#include "base/table.h"

#include <string.h>
#include "base/mem.h"

bool gi_table_init(gi_table_t *self, size_t size) {
    self->slots = gi_mem_calloc(size, sizeof *self->slots);
    self->mask = size - 1;
    self->n = 0;
    return self->slots != NULL;
}

void gi_table_fini(gi_table_t *self) {
    gi_mem_free(self->slots);
    self->slots = NULL;
}

static void s_grow(gi_table_t *self) {
    size_t size = (self->mask + 1) * 2;
    gi_node_t **slots = gi_mem_calloc(size, sizeof *slots);
    if (slots == NULL)
        return;
    for (size_t i = 0; i <= self->mask; i++) {
        for (gi_node_t *node = self->slots[i], *next; node; node = next) {
            next = node->next;
            node->next = slots[node->hash & (size - 1)];
            slots[node->hash & (size - 1)] = node;
        }
    }
    gi_mem_free(self->slots);
    self->slots = slots;
    self->mask = size - 1;
}

void gi_table_insert(gi_table_t *self, gi_node_t *node) {
    if (self->n > self->mask)
        s_grow(self);
    gi_node_t **slot = &self->slots[node->hash & self->mask];
    node->next = *slot;
    *slot = node;
    self->n++;
}

void gi_table_remove(gi_table_t *self, gi_node_t *node) {
    gi_node_t **at = &self->slots[node->hash & self->mask];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    self->n--;
}

static uint64_t s_mix(uint64_t a, uint64_t b) {
    __extension__ unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t s_load(const unsigned char *p, size_t n) {
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

/* Multiply and fold, 16 bytes a step: wyhash's core with a secret seed. */
uint64_t gi_table_hash(uint64_t seed, const void *data, size_t size) {
    const unsigned char *p = data;
    uint64_t h = seed ^ s_mix(size ^ 0x9e3779b97f4a7c15u, seed);
    for (; size >= 16; p += 16, size -= 16)
        h = s_mix(s_load(p, 8) ^ 0xa0761d6478bd642fu ^ seed,
                  s_load(p + 8, 8) ^ h);
    if (size > 8) {
        h = s_mix(s_load(p, 8) ^ 0xe7037ed1a0b428dbu ^ seed,
                  s_load(p + 8, size - 8) ^ h);
    } else if (size > 0) {
        h = s_mix(s_load(p, size) ^ 0x8ebc6af09c88c6e3u ^ seed, h ^ size);
    }
    return s_mix(h ^ 0x589965cc75374cc3u, seed | 1);
}

void gi_free_init(gi_free_t *self, size_t size, size_t max) {
    *self = (gi_free_t){.size = size, .max = max};
}

void gi_free_fini(gi_free_t *self) {
    while (self->first) {
        void *next = *(void **)self->first;
        gi_mem_free(self->first);
        self->first = next;
    }
    self->n = 0;
}

void *gi_free_take(gi_free_t *self) {
    void *object = self->first;
    if (object == NULL)
        return gi_mem_alloc(self->size);
    self->first = *(void **)object;
    self->n--;
    return object;
}

void gi_free_give(gi_free_t *self, void *object) {
    if (self->n >= self->max) {
        gi_mem_free(object);
        return;
    }
    *(void **)object = self->first;
    self->first = object;
    self->n++;
}
