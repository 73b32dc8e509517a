/* SPDX-License-Identifier: BSD-3-Clause */
/* actor_thread.h -- marks threads that must not block, so that a blocking call
 * there is GATE_WOULDBLOCK instead of a deadlock. */
#ifndef GI_ACTOR_THREAD_H
#define GI_ACTOR_THREAD_H

#include <stdbool.h>

void gi_actor_thread_mark(const char *name); /* static string; NULL unmarks */
const char *gi_actor_thread(void);           /* NULL: an ordinary thread */

#endif
