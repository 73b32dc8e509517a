/* SPDX-License-Identifier: BSD-3-Clause */
/* worker_shared.c -- a worker's view of inbox and outbox (exchange.h): mapped
 * as far as a job needs it, so that a worker whose address space is limited
 * pays for what it uses. */
#include <string.h>
#include <sys/mman.h>
#include "base/err.h"
#include "base/mem.h"
#include "shared/queue.h"
#include "procs/worker.h"

#define STEP ((size_t)16 << 20)

/* At least size bytes of fd; false: no room. What was mapped before moves. */
static bool s_map(int fd, int prot, size_t size, unsigned char **at,
                  size_t *mapped) {
    if (size <= *mapped)
        return true;
    size = (size + STEP - 1) & ~(STEP - 1);
    void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return false;
    madvise(p, size, MADV_DONTFORK);
    if (*at)
        munmap(*at, *mapped);
    *at = p;
    *mapped = size;
    return true;
}

/* ---- arguments ----------------------------------------------------------- */

static bool s_inbox(gi_worker_t *self) {
    uint64_t end = 0;
    for (int i = 0; i < self->cell->n_runs; i++)
        if (self->runs[i].at + self->runs[i].size > end)
            end = self->runs[i].at + self->runs[i].size;
    return s_map(self->inbox_fd, PROT_READ, (size_t)end, &self->inbox,
                 &self->inbox_size);
}

static void s_replace(const gi_worker_t *self, msgpack_object *o) {
    if (o->type != MSGPACK_OBJECT_EXT || o->via.ext.type != GI_EXT_RUN ||
        o->via.ext.size != 1)
        return;
    size_t i = (unsigned char)o->via.ext.ptr[0];
    if (i >= self->cell->n_runs) /* another's ext of that type */
        return;
    o->type = MSGPACK_OBJECT_BIN;
    o->via.bin.ptr = (const char *)self->inbox + self->runs[i].at;
    o->via.bin.size = (uint32_t)self->runs[i].size;
}

gate_err_t gi_worker_refer(gate_call_t *call) {
    gi_worker_t *self = (gi_worker_t *)(void *)call;
    if (self->cell->n_runs == 0)
        return GATE_OK;
    if (!s_inbox(self))
        return gi_err(GATE_NOMEM, "no address space for shared arguments");
    for (uint32_t i = 0; i < call->args.via.array.size; i++)
        s_replace(self, &call->args.via.array.ptr[i]);
    for (uint32_t i = 0; i < call->kwargs.via.map.size; i++)
        s_replace(self, &call->kwargs.via.map.ptr[i].val);
    return GATE_OK;
}

/* ---- the result ---------------------------------------------------------- */

static bool s_free(const gi_worker_t *self, uint32_t unit) {
    return self->given[unit] ==
           atomic_load_explicit(&self->shm.ctl->returned[unit],
                                memory_order_acquire);
}

/* A free run of n units in [from, to); to: none. */
static uint32_t s_fit(const gi_worker_t *self, uint32_t n, uint32_t from,
                      uint32_t to) {
    uint32_t free = 0;
    for (uint32_t u = from; u < to; u++) {
        free = s_free(self, u) ? free + 1 : 0;
        if (free == n)
            return u + 1 - n;
    }
    return to;
}

static bool s_books(gi_worker_t *self) {
    size_t size = GI_OUTBOX_UNITS * sizeof *self->given;
    if (self->given)
        return true;
    self->given = gi_mem_alloc(size);
    if (self->given)
        memcpy(self->given, self->shm.ctl->given, size);
    return self->given != NULL;
}

/* The pages of the outbox come from the parent, which takes a moment: until
 * then, and when too much is lent, results are copied. */
void *gi_worker_lend(gate_call_t *call, size_t size) {
    gi_worker_t *self = (gi_worker_t *)(void *)call;
    uint32_t units = atomic_load(&self->shm.ctl->out_units);
    if (size == 0 || size > self->config.result_max || size > UINT32_MAX ||
        size > GI_OUTBOX_UNITS * GI_UNIT_BYTES || !s_books(self))
        return NULL;
    uint32_t n = (uint32_t)((size + GI_UNIT_BYTES - 1) / GI_UNIT_BYTES);
    uint32_t at = s_fit(self, n, self->cursor, units);
    if (at == units)
        at = s_fit(self, n, 0, units);
    if (at == units) {
        atomic_store(&self->shm.own->out_wanted, units + n);
        return NULL;
    }
    if (!s_map(self->outbox_fd, PROT_READ | PROT_WRITE, units * GI_UNIT_BYTES,
               &self->outbox, &self->outbox_size))
        return NULL;
    self->cursor = at + n;
    self->lent_at = at;
    self->lent_units = n;
    self->lent_size = size;
    return self->outbox + at * GI_UNIT_BYTES;
}
