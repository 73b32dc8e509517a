/* SPDX-License-Identifier: BSD-3-Clause */
/* block.c -- a list per thread, bounded: what is beyond goes back to the heap,
 * and so does all of it when the thread ends. Blocks change threads only inside
 * what they hold, so nothing here is shared. */
#include "memory/block.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"

/* Under AddressSanitizer none is kept: it shall see who uses a dead one. */
#ifdef __SANITIZE_ADDRESS__
#define S_KEEP 0
#else
#define S_KEEP 512
#endif

typedef struct s_free {
    struct s_free *next;
} s_free_t;

static __thread struct {
    s_free_t *first;
    unsigned n, max; /* max 0: not set up, or the thread ends */
    bool over;
} t_kept;

static pthread_once_t s_once = PTHREAD_ONCE_INIT;
static pthread_key_t s_key;
static bool s_key_made;

static void s_end(void *unused) {
    (void)unused;
    t_kept.max = 0;
    t_kept.over = true;
    while (t_kept.first) {
        s_free_t *block = t_kept.first;

        t_kept.first = block->next;
        gi_mem_free(block);
    }
    t_kept.n = 0;
}

static void s_make_key(void) {
    s_key_made = pthread_key_create(&s_key, s_end) == 0;
}

/* No key's destructor runs for the main thread. */
__attribute__((destructor)) static void s_at_exit(void) { s_end(NULL); }

/* The thread keeps blocks from now on, if it can be told to free them. */
static void s_begin(void) {
    pthread_once(&s_once, s_make_key);
    if (s_key_made && pthread_setspecific(s_key, &t_kept) == 0)
        t_kept.max = S_KEEP;
}

void *gi_block_take(size_t size) {
    s_free_t *block = t_kept.first;

    if (size > GI_BLOCK_BYTES)
        return gi_mem_alloc(size);
    if (!block)
        return gi_mem_alloc(GI_BLOCK_BYTES);
    if (gi_mem_refused())
        return NULL;
    t_kept.first = block->next;
    t_kept.n--;
    return block;
}

void gi_block_give(void *block, size_t size) {
    s_free_t *kept = block;

    if (S_KEEP && !t_kept.max && !t_kept.over)
        s_begin();
    if (size > GI_BLOCK_BYTES || t_kept.n >= t_kept.max) {
        gi_mem_free(block);
        return;
    }
    kept->next = t_kept.first;
    t_kept.first = kept;
    t_kept.n++;
}
