/* SPDX-License-Identifier: BSD-3-Clause */
/* exchange.c -- first fit from where the last run ended. Pages are made (and
 * kept) as they are needed: a fresh memfd for each payload costs 15 times what
 * copying it does. */
#include "shared/exchange.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "sync/fd.h"
#include "sync/ref.h"
#include "shared/shm.h"

#define GROW_UNITS 256u /* 16 MiB */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

struct gate_shared {
    gi_exchange_t *owner;
    gi_ref_t refs; /* 0 = this unit begins no run */
    uint32_t first, n;
    size_t size;
};

struct gi_exchange {
    pthread_mutex_t lock; /* over all that changes; alone, or the last taken */
    gi_ref_t refs;        /* the pool's or worker's, and one of each run */
    int fd;
    unsigned char *_Atomic base; /* NULL until there is a page */
    uint32_t max, ready, cursor;
    bool counted; /* an outbox */
    _Atomic uint32_t *returned;
    uint32_t *run_of; /* by unit: 1 + the first of its run; 0 = free */
    gi_run_t runs[];
};

/* ---- life ---------------------------------------------------------------- */

gi_exchange_t *gi_exchange_new(const char *name, uint32_t max_units) {
    gi_exchange_t *self =
        gi_mem_calloc(1, sizeof *self + max_units * sizeof self->runs[0]);
    uint32_t *run_of = gi_mem_calloc(max_units, sizeof *run_of);
    int fd = gi_fd_high(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!self || !run_of || fd < 0 ||
        ftruncate(fd, (off_t)(max_units * GI_UNIT_BYTES)) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        if (self && run_of)
            (void)gi_err_errno("shared memory for %s", name);
        else
            (void)gi_err(GATE_NOMEM, "no memory for %s", name);
        if (fd >= 0)
            close(fd);
        gi_mem_free(run_of);
        gi_mem_free(self);
        return NULL;
    }
    pthread_mutex_init(&self->lock, NULL);
    gi_ref_init(&self->refs);
    self->fd = fd;
    self->max = max_units;
    self->run_of = run_of;
    return self;
}

static void s_drop(gi_exchange_t *self) {
    if (!gi_ref_drop(&self->refs))
        return;
    if (self->base)
        munmap(self->base, self->max * GI_UNIT_BYTES);
    close(self->fd);
    pthread_mutex_destroy(&self->lock);
    gi_mem_free(self->run_of);
    gi_mem_free(self);
}

void gi_exchange_release(gi_exchange_t **self_p) {
    gi_exchange_t *self = *self_p;
    *self_p = NULL;
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->returned = NULL;
    pthread_mutex_unlock(&self->lock);
    s_drop(self);
}

int gi_exchange_fd(const gi_exchange_t *self) { return self->fd; }

/* ---- pages --------------------------------------------------------------- */

/* Address space for all of it; a worker that maps it after us can only read an
 * inbox. */
static bool s_map(gi_exchange_t *self) {
    if (self->base)
        return true;
    void *base = mmap(NULL, self->max * GI_UNIT_BYTES, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, self->fd, 0);
    if (base == MAP_FAILED)
        return false;
    madvise(base, self->max * GI_UNIT_BYTES, MADV_DONTFORK);
    if (!self->counted)
        fcntl(self->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
    atomic_store(&self->base, base);
    return true;
}

static bool s_grow(gi_exchange_t *self, uint32_t n) {
    if (n > self->max)
        return false;
    if (n <= self->ready)
        return true;
    uint32_t more = n - self->ready;
    if (more < GROW_UNITS)
        more = self->max - self->ready < GROW_UNITS ? self->max - self->ready
                                                    : GROW_UNITS;
    size_t from = self->ready * GI_UNIT_BYTES, size = more * GI_UNIT_BYTES;
    if (!gi_shm_fits(size) || !s_map(self) ||
        !gi_shm_pages(self->fd, self->base, from, size))
        return false;
    self->ready += more;
    return true;
}

uint32_t gi_exchange_grow(gi_exchange_t *self, uint32_t n) {
    pthread_mutex_lock(&self->lock);
    s_grow(self, n < self->max ? n : self->max);
    uint32_t ready = self->ready;
    pthread_mutex_unlock(&self->lock);
    return ready;
}

/* ---- runs ---------------------------------------------------------------- */

static uint32_t s_units(size_t size) {
    return (uint32_t)((size + GI_UNIT_BYTES - 1) / GI_UNIT_BYTES);
}

static gi_run_t *s_begin(gi_exchange_t *self, uint32_t first, size_t size) {
    gi_run_t *run = &self->runs[first];
    run->owner = self;
    gi_ref_init(&run->refs);
    run->first = first;
    run->n = s_units(size);
    run->size = size;
    for (uint32_t i = 0; i < run->n; i++)
        self->run_of[first + i] = first + 1;
    gi_ref_take(&self->refs);
    return run;
}

/* The first free run of n units in [from, to); to when there is none. */
static uint32_t s_fit(const gi_exchange_t *self, uint32_t n, uint32_t from,
                      uint32_t to) {
    uint32_t free = 0;
    for (uint32_t u = from; u < to; u++) {
        free = self->run_of[u] ? 0 : free + 1;
        if (free == n)
            return u + 1 - n;
        if (self->run_of[u]) /* on to the end of that run */
            u += self->runs[self->run_of[u] - 1].n -
                 (u - (self->run_of[u] - 1)) - 1;
    }
    return to;
}

/* Where the free units at the end of those with pages begin. */
static uint32_t s_free_end(const gi_exchange_t *self) {
    uint32_t at = self->ready;
    while (at > 0 && !self->run_of[at - 1])
        at--;
    return at;
}

void gi_exchange_trim(gi_exchange_t *self) {
    pthread_mutex_lock(&self->lock);
    uint32_t at = s_free_end(self);
    if (at < self->ready &&
        fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(at * GI_UNIT_BYTES),
                  (off_t)((self->ready - at) * GI_UNIT_BYTES)) == 0)
        self->ready = at;
    if (self->cursor > self->ready)
        self->cursor = 0;
    pthread_mutex_unlock(&self->lock);
}

gate_err_t gi_exchange_take(gi_exchange_t *self, size_t size, gi_run_t **out) {
    if (size == 0 || size > self->max * GI_UNIT_BYTES)
        return gi_err(GATE_BADARG, "shared memory of %zu bytes: 1 to %zu", size,
                      self->max * GI_UNIT_BYTES);
    uint32_t n = s_units(size);
    pthread_mutex_lock(&self->lock);
    uint32_t at = s_fit(self, n, self->cursor, self->ready);
    if (at == self->ready)
        at = s_fit(self, n, 0, self->ready);
    bool fits = at < self->ready;
    if (!fits) /* the free end, and what has no pages yet */
        at = s_free_end(self);
    bool room = fits || self->max - at >= n;
    if (room && (fits || s_grow(self, at + n))) {
        *out = s_begin(self, at, size);
        self->cursor = at + n;
        pthread_mutex_unlock(&self->lock);
        return GATE_OK;
    }
    pthread_mutex_unlock(&self->lock);
    if (!room)
        return gi_err(GATE_BUSY, "the pool's shared memory is in use");
    return gi_err(GATE_NOMEM, "no pages for %zu bytes of shared memory", size);
}

gi_run_t *gi_exchange_lend(gi_exchange_t *self, uint32_t unit, size_t size) {
    gi_run_t *run = NULL;
    uint32_t n = size <= self->max * GI_UNIT_BYTES ? s_units(size) : 0;
    pthread_mutex_lock(&self->lock);
    bool fits = n > 0 && unit < self->ready && n <= self->ready - unit;
    for (uint32_t i = 0; i < n && fits; i++)
        fits = self->run_of[unit + i] == 0;
    if (fits)
        run = s_begin(self, unit, size);
    pthread_mutex_unlock(&self->lock);
    return run;
}

void gi_exchange_count(gi_exchange_t *self, _Atomic uint32_t *returned,
                       uint32_t *given) {
    pthread_mutex_lock(&self->lock);
    self->counted = true;
    self->returned = returned;
    for (uint32_t u = 0; u < self->max; u++) {
        atomic_store_explicit(&returned[u], 0, memory_order_relaxed);
        given[u] = self->run_of[u] != 0;
    }
    pthread_mutex_unlock(&self->lock);
}

bool gi_exchange_has(gi_exchange_t *self, const void *data) {
    uintptr_t base = (uintptr_t)atomic_load(&self->base);
    return base && (uintptr_t)data - base < self->max * GI_UNIT_BYTES;
}

gi_run_t *gi_exchange_find(gi_exchange_t *self, const void *data, size_t size) {
    uintptr_t base = (uintptr_t)atomic_load(&self->base);
    uintptr_t at = (uintptr_t)data - base;
    if (!base || at >= self->max * GI_UNIT_BYTES || size == 0)
        return NULL;
    gi_run_t *run = NULL;
    pthread_mutex_lock(&self->lock);
    uint32_t of = self->run_of[at / GI_UNIT_BYTES];
    if (of)
        run = &self->runs[of - 1];
    size_t offset = of ? at - (of - 1) * GI_UNIT_BYTES : 0;
    if (run && (offset >= run->size || size > run->size - offset))
        run = NULL;
    if (run)
        gi_ref_take(&run->refs);
    pthread_mutex_unlock(&self->lock);
    return run;
}

gi_run_t *gi_run_share(gi_run_t *self) {
    gi_ref_take(&self->refs);
    return self;
}

/* The counts go up after the last read of the run (release): the worker, which
 * loads them acquire, writes over it only then. */
void gi_run_release(void *run) {
    gi_run_t *self = run;
    gi_exchange_t *owner = self->owner;
    pthread_mutex_lock(&owner->lock); /* against find */
    bool last = gi_ref_drop(&self->refs);
    for (uint32_t u = self->first; last && u < self->first + self->n; u++) {
        owner->run_of[u] = 0;
        if (owner->returned)
            atomic_fetch_add_explicit(&owner->returned[u], 1,
                                      memory_order_release);
    }
    pthread_mutex_unlock(&owner->lock);
    if (last)
        s_drop(owner);
}

void *gi_run_data(const gi_run_t *self) {
    return self->owner->base + self->first * GI_UNIT_BYTES;
}

size_t gi_run_size(const gi_run_t *self) { return self->size; }

uint64_t gi_run_at(const gi_run_t *self, const void *data) {
    return (uint64_t)((const unsigned char *)data - self->owner->base);
}
