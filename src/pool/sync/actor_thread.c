/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/actor_thread.h"

#include <stddef.h>

static _Thread_local const char *s_name;

void gi_actor_thread_mark(const char *name) { s_name = name; }

const char *gi_actor_thread(void) { return s_name; }
