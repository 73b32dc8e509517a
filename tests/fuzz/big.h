/* SPDX-License-Identifier: BSD-3-Clause */
/* big.h -- large blocks of gi_mem_* are kept from one input to the next: fresh
 * pages for a decompressor's window cost more than all of its work. What lies
 * behind a block, and the beginning of one that was freed, is poisoned as ASan
 * would do it. Linked by --wrap (cmake/tests.cmake). */
#ifndef FUZZ_BIG_H
#define FUZZ_BIG_H

#include <malloc.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include "base/mem.h"

enum { BIG_SIZE = 64 << 10, BIG_SLOTS = 16, BIG_RED = 64 };

typedef struct big_slot {
    char *at;
    size_t capacity, size; /* without what is red; of the last block */
    bool taken;
} big_slot_t;

static big_slot_t big_slots[BIG_SLOTS];

void *__real_gi_mem_alloc(size_t size);
void *__wrap_gi_mem_alloc(size_t size);
void *__real_gi_mem_realloc(void *p, size_t size);
void *__wrap_gi_mem_realloc(void *p, size_t size);
void __real_gi_mem_free(void *p);
void __wrap_gi_mem_free(void *p);

/* The smallest free one that is large enough, else one without memory. */
static inline big_slot_t *big_find(size_t size) {
    big_slot_t *best = NULL;
    for (size_t i = 0; i < BIG_SLOTS; i++) {
        big_slot_t *slot = &big_slots[i];
        if (slot->taken || (slot->at && slot->capacity < size))
            continue;
        if (!best || !best->at || (slot->at && slot->capacity < best->capacity))
            best = slot;
    }
    return best;
}

void *__wrap_gi_mem_alloc(size_t size) {
    big_slot_t *slot = size < BIG_SIZE ? NULL : big_find(size);
    if (!slot)
        return __real_gi_mem_alloc(size);
    if (!slot->at) {
        slot->capacity = BIG_SIZE;
        while (slot->capacity < size)
            slot->capacity *= 2;
        slot->at = malloc(slot->capacity + BIG_RED);
        if (!slot->at)
            return NULL;
    }
    slot->taken = true;
    slot->size = size;
    ASAN_UNPOISON_MEMORY_REGION(slot->at, BIG_RED);
    ASAN_POISON_MEMORY_REGION(slot->at + size, BIG_RED);
    return slot->at;
}

static inline big_slot_t *big_of(const void *p) {
    for (size_t i = 0; p && i < BIG_SLOTS; i++)
        if (big_slots[i].at == p)
            return &big_slots[i];
    return NULL;
}

void __wrap_gi_mem_free(void *p) {
    big_slot_t *slot = big_of(p);
    if (!slot) {
        __real_gi_mem_free(p);
        return;
    }
    if (!slot->taken)
        abort(); /* freed twice */
    slot->taken = false;
    ASAN_UNPOISON_MEMORY_REGION(slot->at + slot->size, BIG_RED);
    ASAN_POISON_MEMORY_REGION(slot->at, BIG_RED);
}

/* What is or becomes large always moves. */
void *__wrap_gi_mem_realloc(void *p, size_t size) {
    big_slot_t *slot = big_of(p);
    if (!slot && size < BIG_SIZE)
        return __real_gi_mem_realloc(p, size);
    size_t n = slot ? slot->size : malloc_usable_size(p);
    void *to = __wrap_gi_mem_alloc(size);
    if (to && p) {
        memcpy(to, p, n < size ? n : size);
        __wrap_gi_mem_free(p);
    }
    return to;
}

#endif
