/* SPDX-License-Identifier: BSD-3-Clause */
/* wheel.c -- 11 levels of 64 slots, six bits of the time each, so that all of
 * int64 is covered and nothing overflows.
 *
 * A timer lies on the level of the highest six-bit digit in which its due time
 * differs from the wheel's time, in the slot that this digit names. So all
 * timers of a level come after those of the levels below it, the first used
 * slot of the lowest used level is the next to act on, and 64-bit maps of used
 * slots find it. When the wheel's time reaches a slot's start, its timers move
 * down, or fire if the level is 0: exactly due, not early and not late.
 *
 * Law: time <= the start of every used slot, apart from level 0's own. */
#include "sync/wheel.h"

#include <string.h>
#include "base/mem.h"

#define S_LEVELS 11
#define S_SLOTS 64

struct gi_wheel {
    uint64_t time; /* all before it has been expired */
    size_t size;
    uint64_t used[S_LEVELS]; /* bit n: slot n holds timers */
    /* heads of rings, of used slots alone: 17 KiB that are hardly touched */
    gi_timer_t slots[S_LEVELS * S_SLOTS];
};

gi_wheel_t *gi_wheel_new(int64_t now_ms) {
    gi_wheel_t *self = gi_mem_alloc(sizeof *self);

    if (!self)
        return NULL;
    memset(self, 0, offsetof(gi_wheel_t, slots));
    self->time = now_ms > 0 ? (uint64_t)now_ms : 0;
    return self;
}

void gi_wheel_destroy(gi_wheel_t **self_p) {
    gi_mem_free(*self_p);
    *self_p = NULL;
}

bool gi_timer_armed(const gi_timer_t *timer) { return timer->next; }

static void s_link(gi_wheel_t *self, gi_timer_t *timer) {
    uint64_t due = timer->due_ms > 0 ? (uint64_t)timer->due_ms : 0;
    unsigned level, slot;
    gi_timer_t *head;

    if (due < self->time)
        due = self->time;
    level = (63u - (unsigned)__builtin_clzll((due ^ self->time) | 63)) / 6;
    slot = (unsigned)(due >> (6 * level)) & 63;
    head = &self->slots[level * S_SLOTS + slot];
    if (!(self->used[level] >> slot & 1))
        head->next = head->prev = head;
    timer->next = head;
    timer->prev = head->prev;
    head->prev->next = timer;
    head->prev = timer;
    self->used[level] |= (uint64_t)1 << slot;
}

static void s_unlink(gi_wheel_t *self, gi_timer_t *timer) {
    gi_timer_t *head = timer->next;

    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    if (head->next == head) { /* only a head is left: its slot is empty */
        size_t i = (size_t)(head - self->slots);

        self->used[i / S_SLOTS] &= ~((uint64_t)1 << i % S_SLOTS);
    }
    timer->next = timer->prev = NULL;
}

void gi_wheel_arm(gi_wheel_t *self, gi_timer_t *timer, int64_t due_ms) {
    gi_wheel_cancel(self, timer);
    timer->due_ms = due_ms;
    s_link(self, timer);
    self->size++;
}

void gi_wheel_cancel(gi_wheel_t *self, gi_timer_t *timer) {
    if (!gi_timer_armed(timer))
        return;
    s_unlink(self, timer);
    self->size--;
}

/* The next slot to act on and its start; false when the wheel is empty. */
static bool s_next(const gi_wheel_t *self, unsigned *slot, uint64_t *start) {
    unsigned level = 0, digit;
    uint64_t above;

    while (level < S_LEVELS && !self->used[level])
        level++;
    if (level == S_LEVELS)
        return false;
    digit = (unsigned)__builtin_ctzll(self->used[level]);
    above = level + 1 < S_LEVELS ? ~(uint64_t)0 << (6 * (level + 1)) : 0;
    *start = (self->time & above) | (uint64_t)digit << (6 * level);
    *slot = level * S_SLOTS + digit;
    return true;
}

gi_timer_t *gi_wheel_expire(gi_wheel_t *self, int64_t now_ms) {
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 0, start;
    gi_timer_t *head, *timer;
    unsigned slot;

    while (s_next(self, &slot, &start) && start <= now) {
        head = &self->slots[slot];
        if (self->time < start)
            self->time = start;
        if (slot < S_SLOTS) {
            timer = head->next;
            s_unlink(self, timer);
            self->size--;
            return timer;
        }
        while ((timer = head->next) != head) {
            s_unlink(self, timer);
            s_link(self, timer);
        }
    }
    if (self->time < now)
        self->time = now;
    return NULL;
}

int64_t gi_wheel_next(const gi_wheel_t *self) {
    unsigned slot;
    uint64_t start;

    return s_next(self, &slot, &start) ? (int64_t)start : INT64_MAX;
}

size_t gi_wheel_size(const gi_wheel_t *self) { return self->size; }
