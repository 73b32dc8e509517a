/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/forked.h"

#include <pthread.h>

static unsigned s_forks; /* written where there is one thread */
static pthread_once_t s_once = PTHREAD_ONCE_INIT;

static void s_child(void) { s_forks++; }

static void s_watch(void) { pthread_atfork(NULL, NULL, s_child); }

unsigned gi_forked(void) {
    pthread_once(&s_once, s_watch);
    return s_forks;
}
