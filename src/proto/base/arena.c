/* SPDX-License-Identifier: BSD-3-Clause */
/* arena.c -- small pieces out of 1 KiB blocks, freed together. */
#include "base/arena.h"
#include "base/mem.h"

enum { S_BLOCK = 1024 };

void *gi_arena_alloc(gi_arena_t *self, size_t size) {
    gi_arena_block_t *block = self->blocks;
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if (!block || block->room - block->used < size) {
        size_t room = size > S_BLOCK ? size : S_BLOCK;
        block = gi_mem_alloc(sizeof *block + room);
        if (!block)
            return NULL;
        *block = (gi_arena_block_t){.next = self->blocks, .room = room};
        self->blocks = block;
    }
    void *piece = block->data + block->used;
    block->used += size;
    return piece;
}

void gi_arena_fini(gi_arena_t *self) {
    for (gi_arena_block_t *block = self->blocks, *next; block; block = next) {
        next = block->next;
        gi_mem_free(block);
    }
    self->blocks = NULL;
}
