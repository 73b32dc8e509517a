/* SPDX-License-Identifier: BSD-3-Clause */
/* mem.c -- malloc behind one door. Counting starts with the first
 * gi_mem_fail_at, so that a program that never injects faults pays one relaxed
 * load per allocation and shares no counter between its threads. */
#include "base/mem.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_bool s_counting;
static atomic_long s_asked;
static atomic_long s_fail_first, s_fail_last; /* 1-based; 0 = none */

bool gi_mem_refused(void) {
    if (!atomic_load_explicit(&s_counting, memory_order_relaxed))
        return false;
    long n = atomic_fetch_add(&s_asked, 1) + 1;
    long first = atomic_load(&s_fail_first);
    return first && n >= first && n <= atomic_load(&s_fail_last);
}

void gi_mem_fail_at(long n, bool from_then_on) {
    atomic_store(&s_fail_first, 0);
    atomic_store(&s_asked, 0);
    atomic_store(&s_fail_last, from_then_on ? LONG_MAX : n);
    atomic_store(&s_fail_first, n > 0 ? n : 0);
    atomic_store(&s_counting, true);
}

long gi_mem_asked(void) { return atomic_load(&s_asked); }

void *gi_mem_alloc(size_t size) {
    return gi_mem_refused() ? NULL : malloc(size ? size : 1);
}

void *gi_mem_calloc(size_t n, size_t size) {
    return gi_mem_refused() ? NULL : calloc(n ? n : 1, size ? size : 1);
}

void *gi_mem_realloc(void *p, size_t size) {
    return gi_mem_refused() ? NULL : realloc(p, size ? size : 1);
}

void gi_mem_free(void *p) { free(p); }

char *gi_mem_strdup(const char *s) { return gi_mem_dup(s, strlen(s)); }

char *gi_mem_dup(const void *data, size_t size) {
    char *copy = size < SIZE_MAX ? gi_mem_alloc(size + 1) : NULL;
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}
