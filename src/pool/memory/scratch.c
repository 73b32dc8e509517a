/* SPDX-License-Identifier: BSD-3-Clause */
/* scratch.c -- __thread for speed, a key only for the end of the thread. */
#include "memory/scratch.h"

#include <pthread.h>
#include "base/mem.h"

#define S_KEEP_BYTES 65536

static pthread_once_t s_once = PTHREAD_ONCE_INIT;
static pthread_key_t s_key;
static __thread gi_buf_t *s_mine;

static void s_free(void *arg) {
    gi_buf_t *buf = arg;
    s_mine = NULL;
    gi_buf_fini(buf);
    gi_mem_free(buf);
}

static void s_make_key(void) { pthread_key_create(&s_key, s_free); }

/* The main thread's is freed at exit, since no key destructor runs there. */
__attribute__((destructor)) static void s_at_exit(void) {
    if (s_mine)
        s_free(s_mine);
}

gi_buf_t *gi_scratch(void) {
    if (!s_mine) {
        pthread_once(&s_once, s_make_key);
        gi_buf_t *buf = gi_mem_calloc(1, sizeof *buf);
        if (!buf || pthread_setspecific(s_key, buf)) {
            gi_mem_free(buf);
            return NULL;
        }
        s_mine = buf;
    }
    gi_buf_reset(s_mine, S_KEEP_BYTES);
    return s_mine;
}
