/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel.h -- a timer wheel: arm and cancel in constant time, no allocation.
 * Thread: one. Units: ms on whatever clock the caller counts. Timers never fire
 * early and at most one tick (1 ms near, 1/64 of the distance far) late. */
#ifndef GI_WHEEL_H
#define GI_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gi_timer {
    struct gi_timer *next, *prev; /* NULL when not armed */
    int64_t due_ms;
} gi_timer_t;

typedef struct gi_wheel gi_wheel_t;

gi_wheel_t *gi_wheel_new(int64_t now_ms);   /* NULL: no memory */
void gi_wheel_destroy(gi_wheel_t **self_p); /* armed timers are forgotten */
void gi_wheel_arm(gi_wheel_t *self, gi_timer_t *timer, int64_t due_ms);
void gi_wheel_cancel(gi_wheel_t *self, gi_timer_t *timer); /* or not armed */
bool gi_timer_armed(const gi_timer_t *timer);
/* The next timer due at now_ms, disarmed; NULL when there is none. */
gi_timer_t *gi_wheel_expire(gi_wheel_t *self, int64_t now_ms);
/* When to look again: at or before the earliest due time; INT64_MAX: nothing.
 */
int64_t gi_wheel_next(const gi_wheel_t *self);
size_t gi_wheel_size(const gi_wheel_t *self);

#endif
