/* SPDX-License-Identifier: BSD-3-Clause */
/* arena.h -- the block behind value.h's gi_arena_t, for value.c, which hangs
 * blocks onto a value. */
#ifndef GI_ARENA_H
#define GI_ARENA_H

#include "value.h"

typedef struct gi_arena_block {
    struct gi_arena_block *next;
    size_t room, used; /* bytes of data */
    _Alignas(16) unsigned char data[];
} gi_arena_block_t;

#endif
