/* SPDX-License-Identifier: BSD-3-Clause */
/* link_block.h -- records on their way: one allocation that goes from who wrote
 * them to the link, is kept there until the other side has used them, and then
 * goes back. Owns: one owner at a time. */
#ifndef GI_LINK_BLOCK_H
#define GI_LINK_BLOCK_H

#include "base/list.h"
#include "base/mem.h"
#include "link/link_codec.h"

typedef struct gi_link_block {
    gi_list_t place; /* in a list of whoever has it */
    int what;        /* the actors' word for what it is */
    unsigned char node[GI_LINK_NODE_SIZE];
    uint32_t life;      /* of the link that it is for, or from */
    int64_t at_ms;      /* when its first record was written */
    uint64_t seq;       /* in the link; before it is sent, the order of puts */
    uint64_t key;       /* of a bulk one: whose it is */
    size_t credit;      /* bytes that whoever wrote it has back with it */
    size_t size, room;  /* of data, behind the head */
    bool bulk;          /* a large one: takes turns with others */
    unsigned char *own; /* bytes that are elsewhere: gi_mem_free */
    unsigned char data[]; /* GI_LINK_HEAD bytes for the head, then records */
} gi_link_block_t;

/* Blocks go from actor to actor as one item, however many: one doorbell. The
 * first of a list of some, which is empty then. */
static inline gi_link_block_t *gi_link_blocks_chain(gi_list_t *list) {
    gi_list_t *first = list->next;
    gi_list_remove(list);
    return GI_OF(first, gi_link_block_t, place);
}

/* The other way round: list gets the blocks of a chain, and nothing else. */
static inline void gi_link_blocks_unchain(gi_list_t *list,
                                          gi_link_block_t *first) {
    gi_list_init(list);
    gi_list_append(&first->place, list); /* behind the last one */
}

/* Takes the first of a list; NULL: it is empty. */
static inline gi_link_block_t *gi_link_blocks_pop(gi_list_t *list) {
    if (gi_list_empty(list))
        return NULL;
    gi_link_block_t *block = GI_OF(list->next, gi_link_block_t, place);
    gi_list_remove(&block->place);
    return block;
}

static inline void gi_link_blocks_free(gi_list_t *list) {
    for (gi_link_block_t *block; (block = gi_link_blocks_pop(list));) {
        gi_mem_free(block->own);
        gi_mem_free(block);
    }
}

/* room bytes for records; NULL: no memory. */
static inline gi_link_block_t *gi_link_block_new(size_t room) {
    gi_link_block_t *self = gi_mem_alloc(sizeof *self + GI_LINK_HEAD + room);
    if (self == NULL)
        return NULL;
    memset(self, 0, sizeof *self);
    gi_list_init(&self->place);
    self->room = room;
    return self;
}

static inline unsigned char *gi_link_block_bytes(gi_link_block_t *self) {
    return self->data + GI_LINK_HEAD;
}

static inline void gi_link_block_free(gi_link_block_t *self) {
    if (self)
        gi_mem_free(self->own);
    gi_mem_free(self);
}

#endif
