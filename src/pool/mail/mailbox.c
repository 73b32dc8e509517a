/* SPDX-License-Identifier: BSD-3-Clause */
/* mailbox.c -- Vyukov's bounded queue cut down to one consumer, as rings that
 * follow each other: the first is small, so that an actor with little mail
 * costs little memory and its cells stay in the cache; whoever finds one full
 * makes the next, up to the capacity, and closes the full one.
 *
 *   cell.turn == base(pos)        free for the push that claims pos
 *   cell.turn == base(pos) + 1    holds the item of pos
 *   cell.turn == base(pos) + cap  free for the next round
 *   base(pos) = pos - pos % cap, so a ring of zeros is an empty one, and pages
 *   that no item has touched are not there
 *
 * Memory orders:
 * - tail of a ring: the next position to claim, and three flags in its top bits.
 *   Closed, left: no position is handed out any more, so the owner knows exactly
 *   which items it still has to expect; left: `next` stands, and whatever is
 *   pushed from now on lies there or behind it. Sleeping: set by the owner's RMW
 *   (acquire), which at the same time reads how many positions are claimed; it
 *   sleeps only if it has taken all of them and the ring is not left. A push
 *   claims by CAS of the same word, so it comes either before that RMW (the
 *   owner sees that something is coming and stays awake) or after it (the push
 *   sees the flag, clears it in its claim, and rings once its item is there). No
 *   third order exists; no fence and no second RMW is needed. Who leaves a ring
 *   does as a push: it clears the flag and rings.
 * - cell.turn: release when an item is put or a cell freed, acquire when it is
 *   looked at; this carries the item. It is the last that a push touches,
 *   unless it rings: ringers count themselves before it, so whoever has seen
 *   all items and no ringers knows that the last push has left.
 * - in: where pushes begin to look; behind it only ring.next counts. Rings live
 *   as long as the mailbox: a push may be inside an old one.
 * - waiters: a push that finds the last ring full adds itself by RMW, then looks
 *   again; the owner frees cells, then looks by RMW: the one that comes second
 *   sees the other. */
#include "mail/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/mem.h"
#include "sync/wait.h"

#define S_CLOSED ((uint64_t)1 << 63)
#define S_SLEEPING ((uint64_t)1 << 62)
#define S_LEFT ((uint64_t)1 << 61)
#define S_FLAGS (S_CLOSED | S_SLEEPING | S_LEFT)

#define S_FIRST 256 /* cells of the first ring: 4 KiB */
#define S_GROWS 16  /* times, from one ring to the next */

typedef struct s_cell {
    _Atomic uint64_t turn;
    void *item;
} s_cell_t;

typedef struct s_ring {
    _Atomic uint64_t tail; /* next position to claim; flags */
    char pad[56];
    uint64_t mask;
    struct s_ring *next; /* once the ring is left */
    s_cell_t cells[];
} s_ring_t;

struct gi_mailbox {
    s_ring_t *_Atomic in; /* where pushes look first */
    uint64_t capacity;    /* cells of the last ring */
    int fd;
    char pad1[44];
    s_ring_t *ring; /* owner: that it takes from */
    uint64_t head;  /* owner: next position to take */
    uint64_t owed;  /* owner: rings announced but not yet read */
    bool lingers;   /* owner: before it sleeps */
    s_ring_t *first;
    char pad2[24];
    atomic_int waiters;    /* pushes that wait for room */
    atomic_uint ringers;   /* pushes that ring */
    pthread_mutex_t mutex; /* of the two conditions, and of growth */
    pthread_cond_t room;   /* cells were freed, or it was closed */
    pthread_cond_t left;   /* the last waiter has gone */
};

static uint64_t s_round_up(size_t n) {
    uint64_t capacity = 2;

    while (capacity < n)
        capacity *= 2;
    return capacity;
}

/* Not touched beyond its head. */
static s_ring_t *s_ring_new(uint64_t capacity) {
    s_ring_t *ring =
        gi_mem_calloc(1, sizeof *ring + capacity * sizeof *ring->cells);

    if (ring)
        ring->mask = capacity - 1;
    return ring;
}

gi_mailbox_t *gi_mailbox_new(size_t capacity) {
    gi_mailbox_t *self = gi_mem_calloc(1, sizeof *self);

    if (!self)
        return NULL;
    self->capacity = s_round_up(capacity);
    self->first =
        s_ring_new(self->capacity < S_FIRST ? self->capacity : S_FIRST);
    if (!self->first)
        goto err_after_self;
    self->fd = gi_wait_eventfd();
    if (self->fd < 0)
        goto err_after_ring;
    self->ring = self->first;
    atomic_init(&self->in, self->first);
    pthread_mutex_init(&self->mutex, NULL);
    gi_wait_cond_init(&self->room);
    gi_wait_cond_init(&self->left);
    return self;

err_after_ring:
    gi_mem_free(self->first);
err_after_self:
    gi_mem_free(self);
    return NULL;
}

static uint64_t s_base(const s_ring_t *ring, uint64_t pos) {
    return pos & ~ring->mask;
}

static bool s_is_there(const s_ring_t *ring, uint64_t pos) {
    const s_cell_t *cell = &ring->cells[pos & ring->mask];

    return atomic_load_explicit(&cell->turn, memory_order_acquire) ==
           s_base(ring, pos) + 1;
}

/* Pushes that claimed a position may still be on their way out. */
static void s_wait_for_pushes(gi_mailbox_t *self) {
    pthread_mutex_lock(&self->mutex);
    while (atomic_load(&self->waiters))
        pthread_cond_wait(&self->left, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    for (s_ring_t *ring = self->ring; ring; ring = ring->next) {
        uint64_t claimed = atomic_load(&ring->tail) & ~S_FLAGS;
        uint64_t pos = ring == self->ring ? self->head : 0;

        for (; pos != claimed; pos++)
            while (!s_is_there(ring, pos))
                sched_yield();
    }
    while (atomic_load(&self->ringers))
        sched_yield();
}

void gi_mailbox_destroy(gi_mailbox_t **self_p) {
    gi_mailbox_t *self = *self_p;

    if (!self)
        return;
    *self_p = NULL;
    gi_mailbox_close(self);
    s_wait_for_pushes(self);
    pthread_cond_destroy(&self->left);
    pthread_cond_destroy(&self->room);
    pthread_mutex_destroy(&self->mutex);
    close(self->fd);
    while (self->first) {
        s_ring_t *ring = self->first;

        self->first = ring->next;
        gi_mem_free(ring);
    }
    gi_mem_free(self);
}

/* ---- push ---------------------------------------------------------------- */
/* The item is the owner's from now on. */
static void s_put(s_cell_t *cell, uint64_t base, void *item) {
    cell->item = item;
    atomic_store_explicit(&cell->turn, base + 1, memory_order_release);
}

/* Whoever cleared the flag pays for the write. */
static void s_put_and_ring(gi_mailbox_t *self, s_cell_t *cell, uint64_t base,
                           void *item) {
    atomic_fetch_add_explicit(&self->ringers, 1, memory_order_relaxed);
    s_put(cell, base, item);
    gi_wait_ring(self->fd);
    atomic_fetch_sub_explicit(&self->ringers, 1, memory_order_release);
}

/* GATE_BUSY: this ring is full; GATE_EOS: it was left for the next one. */
static gate_err_t s_try_ring(gi_mailbox_t *self, s_ring_t *ring, void *item) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);

    for (;;) {
        uint64_t pos = tail & ~S_FLAGS, base = s_base(ring, pos);
        s_cell_t *cell = &ring->cells[pos & ring->mask];
        int64_t ahead;

        if (tail & (S_CLOSED | S_LEFT))
            return tail & S_CLOSED ? GATE_CLOSED : GATE_EOS;
        ahead =
            (int64_t)(atomic_load_explicit(&cell->turn, memory_order_acquire) -
                      base);
        if (ahead < 0)
            return GATE_BUSY;
        if (ahead > 0) {
            tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
        } else if (atomic_compare_exchange_weak_explicit(
                       &ring->tail, &tail, pos + 1, memory_order_acq_rel,
                       memory_order_acquire)) {
            if (tail & S_SLEEPING)
                s_put_and_ring(self, cell, base, item);
            else
                s_put(cell, base, item);
            return GATE_OK;
        }
    }
}

static s_ring_t *s_last(gi_mailbox_t *self) {
    s_ring_t *ring = atomic_load_explicit(&self->in, memory_order_acquire);

    while (atomic_load_explicit(&ring->tail, memory_order_acquire) & S_LEFT)
        ring = ring->next;
    return ring;
}

/* As a push that claims nothing: a sleeper must look, and go to the next. */
static void s_leave(gi_mailbox_t *self, s_ring_t *ring) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(
        &ring->tail, &tail, (tail | S_LEFT) & ~S_SLEEPING, memory_order_acq_rel,
        memory_order_relaxed)) {
    }
    atomic_store_explicit(&self->in, ring->next, memory_order_release);
    if (!(tail & S_SLEEPING))
        return;
    atomic_fetch_add_explicit(&self->ringers, 1, memory_order_relaxed);
    gi_wait_ring(self->fd);
    atomic_fetch_sub_explicit(&self->ringers, 1, memory_order_release);
}

/* The full one is left for a larger one; false: it is the last, or no memory
 * (then it stays as it is). */
static bool s_grow(gi_mailbox_t *self, s_ring_t *full) {
    uint64_t capacity = (full->mask + 1) * S_GROWS;
    bool grows = full->mask + 1 < self->capacity;

    if (!grows)
        return false;
    pthread_mutex_lock(&self->mutex);
    if (!(atomic_load(&full->tail) & (S_LEFT | S_CLOSED))) {
        full->next =
            s_ring_new(capacity < self->capacity ? capacity : self->capacity);
        if (full->next)
            s_leave(self, full);
        else
            grows = false;
    }
    pthread_mutex_unlock(&self->mutex);
    return grows;
}

static gate_err_t s_try(gi_mailbox_t *self, void *item) {
    s_ring_t *ring = atomic_load_explicit(&self->in, memory_order_acquire);

    for (;;) {
        gate_err_t e = s_try_ring(self, ring, item);

        if (e == GATE_EOS)
            ring = ring->next;
        else if (e != GATE_BUSY || !s_grow(self, ring))
            return e;
    }
}

/* With the mutex held, which growth takes. */
static gate_err_t s_try_last(gi_mailbox_t *self, void *item) {
    gate_err_t e;

    while ((e = s_try_ring(self, s_last(self), item)) == GATE_EOS) {
    }
    return e;
}

static gate_err_t s_wait_and_push(gi_mailbox_t *self, void *item,
                                  int64_t timeout_ms) {
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    bool in_time = true;
    gate_err_t e;

    pthread_mutex_lock(&self->mutex);
    atomic_fetch_add(&self->waiters, 1);
    while ((e = s_try_last(self, item)) == GATE_BUSY && in_time)
        in_time = gi_wait_cond(&self->room, &self->mutex, deadline_ns);
    if (atomic_fetch_sub(&self->waiters, 1) == 1)
        pthread_cond_broadcast(&self->left);
    pthread_mutex_unlock(&self->mutex);
    return e;
}

gate_err_t gi_mailbox_push(gi_mailbox_t *self, void *item, int64_t timeout_ms) {
    gate_err_t e = s_try(self, item);

    if (e == GATE_BUSY && timeout_ms != 0)
        e = s_wait_and_push(self, item, timeout_ms);
    return e;
}

static void s_tell_waiters(gi_mailbox_t *self) {
    pthread_mutex_lock(&self->mutex);
    pthread_cond_broadcast(&self->room);
    pthread_mutex_unlock(&self->mutex);
}

void gi_mailbox_close(gi_mailbox_t *self) {
    pthread_mutex_lock(&self->mutex);
    atomic_fetch_or(&s_last(self)->tail, S_CLOSED);
    pthread_cond_broadcast(&self->room);
    pthread_mutex_unlock(&self->mutex);
}

/* ---- the owner ----------------------------------------------------------- */
static bool s_has_item(const gi_mailbox_t *self) {
    return s_is_there(self->ring, self->head);
}

/* Nothing is there. True: look again, as the next ring may have something, or a
 * push that got its position before this one was closed is about to fill it. */
static bool s_go_on(gi_mailbox_t *self) {
    uint64_t tail =
        atomic_load_explicit(&self->ring->tail, memory_order_acquire);

    if (!(tail & (S_CLOSED | S_LEFT)))
        return false;
    if ((tail & ~S_FLAGS) != self->head) {
        sched_yield();
        return true;
    }
    if (tail & S_CLOSED)
        return false;
    self->ring = self->ring->next;
    self->head = 0;
    return true;
}

size_t gi_mailbox_pop(gi_mailbox_t *self, void **items, size_t max) {
    size_t n = 0;

    while (n < max) {
        s_ring_t *ring = self->ring;
        s_cell_t *cell = &ring->cells[self->head & ring->mask];

        if (!s_has_item(self)) {
            if (n || !s_go_on(self))
                break;
            continue;
        }
        items[n++] = cell->item;
        atomic_store_explicit(&cell->turn,
                              s_base(ring, self->head) + ring->mask + 1,
                              memory_order_release);
        self->head++;
    }
    if (n && atomic_fetch_add(&self->waiters, 0))
        s_tell_waiters(self);
    return n;
}

bool gi_mailbox_there(const gi_mailbox_t *self) { return s_has_item(self); }

int gi_mailbox_fd(const gi_mailbox_t *self) { return self->fd; }

void gi_mailbox_linger(gi_mailbox_t *self) { self->lingers = true; }

static bool s_linger(gi_mailbox_t *self) {
    gi_linger_t linger = gi_linger_begin();

    self->lingers = false;
    while (!s_has_item(self))
        if (!gi_linger(&linger))
            return false;
    return true;
}

bool gi_mailbox_sleep(gi_mailbox_t *self) {
    uint64_t tail;

    if (self->lingers && s_linger(self))
        return false;
    tail = atomic_fetch_or_explicit(&self->ring->tail, S_SLEEPING,
                                    memory_order_acq_rel);
    if ((tail & ~S_FLAGS) == self->head && !(tail & S_LEFT))
        return true;
    gi_mailbox_wake(self);
    if (!s_has_item(self) && !(tail & S_LEFT)) /* claimed, and about to come */
        sched_yield();
    return false;
}

void gi_mailbox_wake(gi_mailbox_t *self) {
    /* As gi_doorbell_wake: a ring that was announced may be written later. */
    uint64_t tail = atomic_fetch_and_explicit(&self->ring->tail, ~S_SLEEPING,
                                              memory_order_acq_rel);

    if (!(tail & S_SLEEPING))
        self->owed++;
    if (self->owed)
        self->owed -= gi_wait_hush(self->fd);
}
