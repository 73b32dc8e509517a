/* SPDX-License-Identifier: BSD-3-Clause */
/* clock.h -- the test and its children run with a time of day of their own
 * (clock_shim.c). Thread: one. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#define CLOCK_ROOM 4096 /* of shared memory; the offset is its first number */

/* argv[2] is the shim: starts the test again with it, the first time, and gives
 * the offset in seconds, shared with all children. What lies behind it is the
 * test's own. Call it first. */
int64_t *clock_begin(int argc, char **argv);

#endif
