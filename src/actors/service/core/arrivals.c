/* SPDX-License-Identifier: BSD-3-Clause */
/* arrivals.c -- grants in steps. The oldest is a banker's best customer: what
 * others may have never touches the part that it may need, so whatever was let
 * in can be received to its end, one after the other at the worst. */
#include "service/core/arrivals.h"

#include <assert.h>

#define S_FIRST ((int64_t)1 << 20)  /* before anything has come */
#define S_STEP ((int64_t)8 << 20)   /* ahead of what has */
#define S_LEAST ((int64_t)64 << 10) /* what the smallest one costs */
#define S_MANY 256                  /* beyond that the law is not walked */
#define S_MOVES 64 /* so many still_ms a value may take while others wait */

static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t s_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* Of everybody but the oldest. */
static int64_t s_shared(const gi_arrivals_t *self) {
    return self->head ? self->granted - self->head->granted : 0;
}

/* ---- the law -------------------------------------------------------------*/
bool gi_arrivals_valid(const gi_arrivals_t *self) {
    const gi_arrival_t *prev = NULL;
    int64_t granted = 0;
    size_t n = 0, n_short = 0;
    for (const gi_arrival_t *a = self->head; a; prev = a, a = a->next) {
        if (a->of != self || a->prev != prev || a->made < a->mark ||
            a->granted > s_max(a->size, S_LEAST))
            return false;
        granted += a->granted;
        n_short += a->is_short;
        n++;
    }
    return prev == self->tail && n == self->n && n_short == self->n_short &&
           granted == self->granted &&
           s_shared(self) <= (GI_ARRIVALS_TIMES - 1) * self->max;
}

static void s_check(const gi_arrivals_t *self) {
#ifdef GI_CHECK_LAWS
    assert(self->n > S_MANY || gi_arrivals_valid(self));
#else
    (void)self;
#endif
}

/* ---- who is under way ----------------------------------------------------*/
void gi_arrivals_init(gi_arrivals_t *self, int64_t max_bytes,
                      int64_t still_ms) {
    *self =
        (gi_arrivals_t){.max = s_max(max_bytes, S_LEAST), .still_ms = still_ms};
}

void gi_arrival_open(gi_arrivals_t *self, gi_arrival_t *a, uint64_t client,
                     int64_t size, int64_t now_ms) {
    *a = (gi_arrival_t){.of = self,
                        .prev = self->tail,
                        .client = client,
                        .size = size,
                        .moved_ms = now_ms};
    *(self->tail ? &self->tail->next : &self->head) = a;
    self->tail = a;
    self->n++;
}

static void s_set_short(gi_arrival_t *a, bool is_short, int64_t now_ms) {
    if (a->is_short == is_short)
        return;
    a->is_short = is_short;
    a->of->n_short += is_short ? 1 : (size_t)-1;
    *(is_short ? &a->short_ms : &a->moved_ms) = now_ms;
}

void gi_arrival_close(gi_arrival_t *a) {
    gi_arrivals_t *self = a->of;
    if (!self)
        return;
    s_set_short(a, false, a->moved_ms);
    self->granted -= a->granted;
    self->n--;
    *(a->prev ? &a->prev->next : &self->head) = a->next;
    *(a->next ? &a->next->prev : &self->tail) = a->prev;
    a->of = NULL;
    s_check(self);
}

bool gi_arrival_whole(const gi_arrival_t *a) { return a->granted >= a->size; }

/* What it is expected to move in still_ms: some of its size, or all the rest. */
static int64_t s_pace(const gi_arrival_t *a) {
    int64_t pace = s_max(a->size / S_MOVES, S_LEAST);
    return s_max(s_min(pace, a->size - a->mark), 1);
}

void gi_arrival_made(gi_arrival_t *a, int64_t made, int64_t now_ms) {
    a->made = made;
    if (made - a->mark < s_pace(a))
        return;
    a->mark = made;
    a->moved_ms = now_ms;
}

/* ---- room ----------------------------------------------------------------*/
static int64_t s_wants(const gi_arrival_t *a) {
    int64_t ahead =
        a->made ? s_min(a->made + S_STEP, a->size) : s_min(S_FIRST, a->size);
    return s_max(s_max(ahead, S_LEAST), a->granted);
}

static int64_t s_of_client(const gi_arrivals_t *self, uint64_t client) {
    int64_t sum = 0;
    for (const gi_arrival_t *a = self->head->next; a; a = a->next)
        if (a->client == client)
            sum += a->granted;
    return sum;
}

/* A client has as much as is still free then: one alone half, two a third
 * each. */
static bool s_has_room(const gi_arrival_t *a, int64_t more) {
    const gi_arrivals_t *self = a->of;
    int64_t room = (GI_ARRIVALS_TIMES - 1) * self->max;
    int64_t left = room - s_shared(self) - more;
    return a == self->head ||
           (left >= more && s_of_client(self, a->client) + more <= left);
}

bool gi_arrival_grant(gi_arrival_t *a, int64_t now_ms) {
    int64_t more = s_wants(a) - a->granted;
    /* half a step before it would wait */
    bool soon = !a->granted || a->made + S_STEP / 2 > a->granted;
    if (!soon || gi_arrival_whole(a))
        more = 0;
    bool room = !more || s_has_room(a, more);
    if (room) {
        a->granted += more;
        a->of->granted += more;
    }
    s_set_short(a, !room && a->made >= a->granted, now_ms);
    s_check(a->of);
    return room;
}

bool gi_arrival_blocks(const gi_arrival_t *a, int64_t now_ms) {
    return a->of && a->of->n_short && !a->is_short && a->granted &&
           now_ms - a->moved_ms >= a->of->still_ms;
}
