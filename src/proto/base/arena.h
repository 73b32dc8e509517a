/* SPDX-License-Identifier: BSD-3-Clause */
/* arena.h -- small pieces of memory that end together: where strings for slots
 * live. Zeroed memory is a valid empty arena. The block is seen by value.c,
 * which hangs blocks onto a value. */
#ifndef GI_ARENA_H
#define GI_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct gi_arena_block {
    struct gi_arena_block *next;
    size_t room, used; /* bytes of data */
    _Alignas(16) unsigned char data[];
} gi_arena_block_t;

typedef struct gi_arena {
    gi_arena_block_t *blocks;
} gi_arena_t;
void *gi_arena_alloc(gi_arena_t *self, size_t size); /* 16-aligned; NULL */
void gi_arena_fini(gi_arena_t *self);

#endif
