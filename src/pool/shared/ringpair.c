/* SPDX-License-Identifier: BSD-3-Clause */
/* ringpair.c -- see ringpair.h. In a ring a record is its length (4 bytes, the
 * top bit: more follows) and its bytes, rounded up to 8; it never wraps: a length
 * of all ones says that the next one is at the start. */
#include "shared/ringpair.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#define S_SKIP UINT32_MAX
#define S_MORE ((uint32_t)1 << 31)
#define S_HEAD sizeof(uint32_t)

/* A line for each side's words, so that they do not fight for it. */
typedef struct gi_ring {
    _Alignas(64) _Atomic uint64_t tail;     /* the producer's: published */
    _Alignas(64) _Atomic uint64_t head;     /* the consumer's: read */
    _Alignas(64) _Atomic uint32_t sleeping; /* consumer sets, producer takes */
    _Alignas(64) _Atomic uint32_t wants;    /* room: the other way round */
    _Atomic uint32_t load;                  /* the producer's */
} s_ring_t;

static uint64_t s_round(uint64_t n) { return (n + 7) & ~(uint64_t)7; }

size_t gi_ringpair_bytes(size_t ring) { return 2 * (sizeof(s_ring_t) + ring); }

void gi_ringpair_open(gi_ringpair_t *self, void *memory, size_t ring,
                      bool first, uint64_t at) {
    unsigned char *base = memory, *second = base + sizeof(s_ring_t) + ring;
    assert(ring >= GI_RINGPAIR_MIN && ring <= GI_RINGPAIR_MAX &&
           (ring & (ring - 1)) == 0 && at % 8 == 0);
    void *out = first ? base : second, *in = first ? second : base;
    *self = (gi_ringpair_t){.in = in,
                            .out = out,
                            .in_data = (unsigned char *)in + sizeof(s_ring_t),
                            .out_data = (unsigned char *)out + sizeof(s_ring_t),
                            .size = ring,
                            .in_pos = at,
                            .in_seen = at,
                            .in_told = at,
                            .out_pos = at,
                            .out_free = at};
}

static _Atomic uint32_t *s_length(unsigned char *data, uint64_t offset) {
    return (_Atomic uint32_t *)(void *)(data + offset);
}

/* ---- producer ------------------------------------------------------------- */
/* A skipped rest and a record are half of the ring at most, so that any record
 * has room in one that is empty. */
size_t gi_ringpair_most(const gi_ringpair_t *self) {
    return (size_t)self->size / 4 - S_HEAD;
}

/* The consumer can only say that it has read more, and no more than there is. */
static bool s_fits(gi_ringpair_t *self, uint64_t need, memory_order order) {
    uint64_t head = atomic_load_explicit(&self->out->head, order);
    if (head - self->out_free > self->out_pos - self->out_free)
        self->bad = true;
    else
        self->out_free = head;
    return self->out_pos + need - self->out_free <= self->size;
}

static bool s_has_room(gi_ringpair_t *self, uint64_t need) {
    if (self->out_pos + need - self->out_free <= self->size ||
        s_fits(self, need, memory_order_acquire))
        return true;
    atomic_store(&self->out->wants, 1);
    return s_fits(self, need, memory_order_seq_cst);
}

void *gi_ringpair_room(gi_ringpair_t *self, size_t size) {
    uint64_t offset = self->out_pos % self->size;
    uint64_t need = s_round(S_HEAD + size);
    uint64_t skip = offset + need > self->size ? self->size - offset : 0;
    assert(size > 0 && size <= gi_ringpair_most(self));
    if (self->bad || !s_has_room(self, skip + need) || self->bad)
        return NULL;
    if (skip) {
        atomic_store_explicit(s_length(self->out_data, offset), S_SKIP,
                              memory_order_relaxed);
        self->out_pos += skip; /* published with the record */
        offset = 0;
    }
    return self->out_data + offset + S_HEAD;
}

void gi_ringpair_put(gi_ringpair_t *self, size_t size, bool more) {
    uint64_t offset = self->out_pos % self->size;
    atomic_store_explicit(s_length(self->out_data, offset),
                          (uint32_t)size | (more ? S_MORE : 0),
                          memory_order_relaxed);
    self->out_pos += s_round(S_HEAD + size);
    atomic_store_explicit(&self->out->tail, self->out_pos,
                          memory_order_release);
}

bool gi_ringpair_sleeper(gi_ringpair_t *self) {
    atomic_store(&self->out->tail, self->out_pos);
    return atomic_load(&self->out->sleeping) &&
           atomic_exchange(&self->out->sleeping, 0);
}

void gi_ringpair_load(gi_ringpair_t *self, uint32_t load) {
    if (load == self->load)
        return;
    self->load = load;
    atomic_store_explicit(&self->out->load, load, memory_order_relaxed);
}

/* ---- consumer ------------------------------------------------------------- */
static int s_bad(gi_ringpair_t *self) {
    self->bad = true;
    return -1;
}

/* One look at what was published. */
static int s_look(gi_ringpair_t *self) {
    uint64_t tail = atomic_load_explicit(&self->in->tail, memory_order_acquire);
    if (tail - self->in_pos > self->size || tail % 8)
        return s_bad(self);
    self->in_seen = tail;
    return tail != self->in_pos;
}

/* The length is read once; nothing that it says reaches beyond what was
 * published, or over the end of the ring. */
int gi_ringpair_next(gi_ringpair_t *self, size_t *size, bool *more) {
    for (;;) {
        if (self->bad)
            return -1;
        int there = self->in_seen != self->in_pos ? 1 : s_look(self);
        if (there <= 0)
            return there;
        uint64_t offset = self->in_pos % self->size,
                 left = self->in_seen - self->in_pos;
        uint32_t word = atomic_load_explicit(s_length(self->in_data, offset),
                                             memory_order_relaxed);
        if (word == S_SKIP) {
            if (offset == 0 || self->size - offset > left)
                return s_bad(self);
            self->in_pos += self->size - offset;
            continue;
        }
        uint32_t length = word & ~S_MORE;
        uint64_t need = s_round(S_HEAD + (uint64_t)length);
        if (length == 0 || need > left || offset + need > self->size)
            return s_bad(self);
        self->in_size = length;
        *size = length;
        *more = word & S_MORE;
        return 1;
    }
}

static void s_tell(gi_ringpair_t *self, memory_order order) {
    self->in_told = self->in_pos;
    atomic_store_explicit(&self->in->head, self->in_pos, order);
}

void gi_ringpair_take(gi_ringpair_t *self, void *to) {
    uint64_t offset = self->in_pos % self->size;
    assert(self->in_size > 0);
    memcpy(to, self->in_data + offset + S_HEAD, self->in_size);
    self->in_pos += s_round(S_HEAD + (uint64_t)self->in_size);
    self->in_size = 0;
    self->took = true;
    if (self->in_pos - self->in_told >= self->size / 4)
        s_tell(self, memory_order_release);
}

bool gi_ringpair_freed(gi_ringpair_t *self) {
    if (!self->took)
        return false;
    self->took = false;
    s_tell(self, memory_order_seq_cst);
    return self->in_seen - self->in_pos <= self->size / 2 &&
           atomic_load(&self->in->wants) &&
           atomic_exchange(&self->in->wants, 0);
}

bool gi_ringpair_there(const gi_ringpair_t *self) {
    return !self->bad &&
           atomic_load_explicit(&self->in->tail, memory_order_acquire) !=
               self->in_pos;
}

bool gi_ringpair_sleep(gi_ringpair_t *self) {
    if (self->bad)
        return true;
    self->asleep = true;
    atomic_store(&self->in->sleeping, 1);
    return atomic_load(&self->in->tail) == self->in_pos;
}

void gi_ringpair_wake(gi_ringpair_t *self) {
    if (self->asleep)
        atomic_store_explicit(&self->in->sleeping, 0, memory_order_relaxed);
    self->asleep = false;
}

uint32_t gi_ringpair_other_load(const gi_ringpair_t *self) {
    return atomic_load_explicit(&self->in->load, memory_order_relaxed);
}
