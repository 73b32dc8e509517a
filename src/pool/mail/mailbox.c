/* SPDX-License-Identifier: BSD-3-Clause */
/* mailbox.c -- Vyukov's bounded queue cut down to one consumer.
 *
 *   cell.seq == pos        free for the push that claims pos
 *   cell.seq == pos + 1    holds the item of pos
 *   cell.seq == pos + cap  free for the next round
 *
 * Memory orders:
 * - tail: the next position to claim, and two flags in its top bits. Closed: no
 *   position is handed out any more, so the owner knows exactly which items it
 *   still has to expect. Sleeping: set by the owner's RMW (acquire), which at
 *   the same time reads how many positions are claimed; it sleeps only if it
 *   has taken all of them. A push claims by CAS of the same word, so it comes
 *   either before that RMW (the owner sees that something is coming and stays
 *   awake) or after it (the push sees the flag, clears it in its claim, and
 *   rings once its item is there). No third order exists; no fence and no
 *   second RMW is needed.
 * - cell.seq: release when an item is put or a cell freed, acquire when it is
 *   looked at; this carries the item. It is the last that a push touches,
 *   unless it rings: ringers count themselves before it, so whoever has seen
 *   all items and no ringers knows that the last push has left.
 * - waiters: a push that finds the ring full adds itself by RMW, then looks
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
#define S_FLAGS (S_CLOSED | S_SLEEPING)

typedef struct s_cell {
    _Atomic uint64_t seq;
    void *item;
} s_cell_t;

struct gi_mailbox {
    s_cell_t *cells;
    uint64_t mask;
    int fd;
    char pad1[44];
    _Atomic uint64_t tail; /* next position to claim; flags */
    char pad2[56];
    uint64_t head; /* owner: next position to take */
    uint64_t owed; /* owner: rings announced but not yet read */
    bool lingers;  /* owner: before it sleeps */
    char pad3[40];
    atomic_int waiters;    /* pushes that wait for room */
    atomic_uint ringers;   /* pushes that ring */
    pthread_mutex_t mutex; /* of the two conditions */
    pthread_cond_t room;   /* cells were freed, or it was closed */
    pthread_cond_t left;   /* the last waiter has gone */
};

static uint64_t s_round_up(size_t n) {
    uint64_t capacity = 2;

    while (capacity < n)
        capacity *= 2;
    return capacity;
}

gi_mailbox_t *gi_mailbox_new(size_t capacity) {
    gi_mailbox_t *self = gi_mem_calloc(1, sizeof *self);
    uint64_t room = s_round_up(capacity), i;

    if (!self)
        return NULL;
    self->cells = gi_mem_alloc(room * sizeof *self->cells);
    if (!self->cells)
        goto err_after_self;
    self->fd = gi_wait_eventfd();
    if (self->fd < 0)
        goto err_after_cells;
    for (i = 0; i < room; i++) {
        atomic_init(&self->cells[i].seq, i);
        self->cells[i].item = NULL;
    }
    self->mask = room - 1;
    pthread_mutex_init(&self->mutex, NULL);
    gi_wait_cond_init(&self->room);
    gi_wait_cond_init(&self->left);
    return self;

err_after_cells:
    gi_mem_free(self->cells);
err_after_self:
    gi_mem_free(self);
    return NULL;
}

static bool s_is_there(const gi_mailbox_t *self, uint64_t pos) {
    const s_cell_t *cell = &self->cells[pos & self->mask];

    return atomic_load_explicit(&cell->seq, memory_order_acquire) == pos + 1;
}

/* Pushes that claimed a position may still be on their way out. */
static void s_wait_for_pushes(gi_mailbox_t *self) {
    uint64_t claimed = atomic_load(&self->tail) & ~S_FLAGS, pos;

    pthread_mutex_lock(&self->mutex);
    while (atomic_load(&self->waiters))
        pthread_cond_wait(&self->left, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    for (pos = self->head; pos != claimed; pos++)
        while (!s_is_there(self, pos))
            sched_yield();
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
    gi_mem_free(self->cells);
    gi_mem_free(self);
}

/* ---- push ---------------------------------------------------------------- */
/* The item is the owner's from now on. */
static void s_put(s_cell_t *cell, uint64_t pos, void *item) {
    cell->item = item;
    atomic_store_explicit(&cell->seq, pos + 1, memory_order_release);
}

/* Whoever cleared the flag pays for the write. */
static void s_put_and_ring(gi_mailbox_t *self, s_cell_t *cell, uint64_t pos,
                           void *item) {
    atomic_fetch_add_explicit(&self->ringers, 1, memory_order_relaxed);
    s_put(cell, pos, item);
    gi_wait_ring(self->fd);
    atomic_fetch_sub_explicit(&self->ringers, 1, memory_order_release);
}

static gate_err_t s_try(gi_mailbox_t *self, void *item) {
    uint64_t tail = atomic_load_explicit(&self->tail, memory_order_relaxed);

    for (;;) {
        uint64_t pos = tail & ~S_FLAGS;
        s_cell_t *cell = &self->cells[pos & self->mask];
        int64_t ahead;

        if (tail & S_CLOSED)
            return GATE_CLOSED;
        ahead =
            (int64_t)(atomic_load_explicit(&cell->seq, memory_order_acquire) -
                      pos);
        if (ahead < 0)
            return GATE_BUSY;
        if (ahead > 0) {
            tail = atomic_load_explicit(&self->tail, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(
                       &self->tail, &tail, pos + 1, memory_order_acq_rel,
                       memory_order_relaxed)) {
            if (tail & S_SLEEPING)
                s_put_and_ring(self, cell, pos, item);
            else
                s_put(cell, pos, item);
            return GATE_OK;
        }
    }
}

static gate_err_t s_wait_and_push(gi_mailbox_t *self, void *item,
                                  int64_t timeout_ms) {
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    bool in_time = true;
    gate_err_t e;

    pthread_mutex_lock(&self->mutex);
    atomic_fetch_add(&self->waiters, 1);
    while ((e = s_try(self, item)) == GATE_BUSY && in_time)
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
    atomic_fetch_or(&self->tail, S_CLOSED);
    s_tell_waiters(self);
}

/* ---- the owner ----------------------------------------------------------- */
static bool s_has_item(const gi_mailbox_t *self) {
    return s_is_there(self, self->head);
}

/* Closed, and a push that got its position before that is about to fill it. */
static bool s_one_is_coming(gi_mailbox_t *self) {
    uint64_t tail = atomic_load(&self->tail);

    return (tail & S_CLOSED) && (tail & ~S_FLAGS) != self->head;
}

size_t gi_mailbox_pop(gi_mailbox_t *self, void **items, size_t max) {
    size_t n = 0;

    while (n < max) {
        s_cell_t *cell = &self->cells[self->head & self->mask];

        if (!s_has_item(self)) {
            if (n || !s_one_is_coming(self))
                break;
            sched_yield();
            continue;
        }
        items[n++] = cell->item;
        atomic_store_explicit(&cell->seq, self->head + self->mask + 1,
                              memory_order_release);
        self->head++;
    }
    if (n && atomic_fetch_add(&self->waiters, 0))
        s_tell_waiters(self);
    return n;
}

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
    tail =
        atomic_fetch_or_explicit(&self->tail, S_SLEEPING, memory_order_acq_rel);
    if ((tail & ~S_FLAGS) == self->head)
        return true;
    gi_mailbox_wake(self);
    if (!s_has_item(self)) /* claimed, and about to come */
        sched_yield();
    return false;
}

void gi_mailbox_wake(gi_mailbox_t *self) {
    /* As gi_doorbell_wake: a ring that was announced may be written later. */
    uint64_t tail = atomic_fetch_and_explicit(&self->tail, ~S_SLEEPING,
                                              memory_order_acq_rel);

    if (!(tail & S_SLEEPING))
        self->owed++;
    if (self->owed)
        self->owed -= gi_wait_hush(self->fd);
}
