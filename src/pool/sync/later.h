/* SPDX-License-Identifier: BSD-3-Clause */
/* later.h -- what a thread must not do itself because it would wait for
 * itself: an object that is destroyed in a callback of its own thread. Thread:
 * any. */
#ifndef GI_LATER_H
#define GI_LATER_H

#include <stdbool.h>

/* Runs fn(arg) on a thread made for it. False: no thread can be had. */
bool gi_later(void (*fn)(void *arg), void *arg);
/* Blocks until all of them have run; not on a thread of theirs or one that they
 * wait for. */
void gi_later_wait(void);

#endif
