/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/forked.h"

#include <pthread.h>

unsigned gi_forked_count; /* written where there is one thread */

static void s_child(void) { gi_forked_count++; }

static void s_watch(void) { pthread_atfork(NULL, NULL, s_child); }

void gi_forked_watch(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, s_watch);
}
