/* SPDX-License-Identifier: BSD-3-Clause */
/* mem.h -- the one door through which the library allocates, so that tests can
 * make the n-th allocation fail. Thread: any. Results are NULL for no memory;
 * nothing here sets gate_error(). */
#ifndef GI_MEM_H
#define GI_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

void *gi_mem_alloc(size_t size);
void *gi_mem_calloc(size_t n, size_t size);
void *gi_mem_realloc(void *p, size_t size);
void gi_mem_free(void *p);
char *gi_mem_strdup(const char *s);
/* size bytes and a NUL behind them. */
char *gi_mem_dup(const void *data, size_t size);

/* Asks the door without allocating: for memory that a library beneath us takes
 * on our behalf. True: behave as if it had none. */
bool gi_mem_refused(void);

/* Tests: the n-th allocation from now fails (1 = the next; 0 = none), only that
 * one or all from it on. */
void gi_mem_fail_at(long n, bool from_then_on);
/* Allocations asked for since the last gi_mem_fail_at. */
long gi_mem_asked(void);

/* Zeroes by a call: what gcc writes in its place (rep stos) costs 15 ns. */
static inline void gi_mem_zero(void *p, size_t size) {
    __asm__("" : "+r"(size)); /* no constant any more */
    memset(p, 0, size);
}

#endif
