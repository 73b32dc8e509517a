/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_rig.c -- the limit of calls inside a process: a pointer goes to another
 * thread and back through two rings of one producer and one consumer each; who
 * finds nothing sleeps on a futex, who comes next wakes it. */
#include "bench/rigs/rig.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { S_CELLS = 8192, S_LANES = 64, S_BATCH = 256 };

typedef struct s_ring {
    _Alignas(64) atomic_uint tail; /* the producer's; futex word */
    _Alignas(64) atomic_uint head; /* the consumer's */
    atomic_bool sleeping;
    _Alignas(64) uint64_t cells[S_CELLS];
} s_ring_t;

/* One caller and its echo thread. */
typedef struct s_pair {
    s_ring_t there, back;
    pthread_t echo;
    atomic_bool ending;
} s_pair_t;

typedef struct s_rings {
    s_pair_t *pairs[S_LANES];
    int n;
} s_rings_t;

static bool s_push(s_ring_t *self, uint64_t item) {
    unsigned tail = atomic_load_explicit(&self->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&self->head, memory_order_acquire) ==
        S_CELLS)
        return false;
    self->cells[tail % S_CELLS] = item;
    atomic_store_explicit(&self->tail, tail + 1, memory_order_release);
    return true;
}

/* After a batch of pushes. */
static void s_ring(s_ring_t *self) {
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&self->sleeping, memory_order_relaxed) &&
        atomic_exchange(&self->sleeping, false))
        syscall(SYS_futex, &self->tail, FUTEX_WAKE_PRIVATE, 1, NULL);
}

static bool s_pop(s_ring_t *self, uint64_t *item) {
    unsigned head = atomic_load_explicit(&self->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&self->tail, memory_order_acquire))
        return false;
    *item = self->cells[head % S_CELLS];
    atomic_store_explicit(&self->head, head + 1, memory_order_release);
    return true;
}

static void s_sleep(s_ring_t *self, int64_t wait_ns) {
    struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
    unsigned head = atomic_load_explicit(&self->head, memory_order_relaxed);
    atomic_store(&self->sleeping, true);
    if (atomic_load(&self->tail) == head)
        syscall(SYS_futex, &self->tail, FUTEX_WAIT_PRIVATE, head, &wait);
    atomic_store(&self->sleeping, false);
}

static void *s_echo(void *arg) {
    s_pair_t *self = arg;
    uint64_t item;
    while (!atomic_load_explicit(&self->ending, memory_order_relaxed)) {
        int n = 0;
        for (; n < S_BATCH && s_pop(&self->there, &item); n++)
            s_push(&self->back, item);
        if (n)
            s_ring(&self->back);
        else
            s_sleep(&self->there, 10000000);
    }
    return NULL;
}

/* ---- a lane -------------------------------------------------------------- */
static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_pair_t *self = lane->self;
    return lane->out <= S_CELLS && s_push(&self->there, stamp);
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_pair_t *self = lane->self;
    uint64_t stamp;
    s_ring(&self->there);
    for (int i = 0; i < S_BATCH; i++) {
        if (s_pop(&self->back, &stamp))
            gi_lane_done(lane, stamp, true);
        else if (i || !wait_ns)
            return;
        else
            s_sleep(&self->back, wait_ns);
    }
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    s_rings_t *self = rig;
    s_pair_t *pair = aligned_alloc(64, sizeof *pair);
    (void)i;
    if (!pair)
        return false;
    *pair = (s_pair_t){0};
    *lane = (gi_lane_t){.self = pair, .send = s_send, .reap = s_reap};
    if (self->n == S_LANES || pthread_create(&pair->echo, NULL, s_echo, pair)) {
        free(pair);
        return false;
    }
    self->pairs[self->n++] = pair;
    return true;
}

/* ---- life ---------------------------------------------------------------- */
static void *s_up(gi_spec_t *spec) {
    (void)spec;
    return calloc(1, sizeof(s_rings_t));
}

static void s_down(void *arg) {
    s_rings_t *self = arg;
    for (int i = 0; i < self->n; i++) {
        atomic_store(&self->pairs[i]->ending, true);
        pthread_join(self->pairs[i]->echo, NULL);
        free(self->pairs[i]);
    }
    free(self);
}

const gi_kind_t gi_kind_ring = {"ring", GI_CLIENT, s_up, s_make, s_down};
