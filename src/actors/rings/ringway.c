/* SPDX-License-Identifier: BSD-3-Clause */
/* ringway.c -- see ringway.h. A record larger than a quarter of the ring goes in
 * pieces: it is kept whole here, and what follows it waits at its sender, until
 * its last piece has found room. */
#include "rings/ringway.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "base/mem.h"
#include "sync/fd.h"

#define S_RING_EVERY 8  /* records: the other side starts meanwhile */
#define S_BELLS 8       /* read at a time */
#define S_IN_KEPT 65536 /* bytes that the buffer may keep */
#define S_IN_FIRST 2048

/* ---- life ---------------------------------------------------------------- */
/* A child of a fork has no business in it. */
static void *s_map(int memory, size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, memory, 0);
    if (at == MAP_FAILED)
        return NULL;
    madvise(at, bytes, MADV_DONTFORK);
    return at;
}

gi_ringway_t *gi_ringway_new(int *fd, int memory, size_t ring, bool first,
                             size_t max) {
    gi_ringway_t *self = gi_mem_calloc(1, sizeof *self);
    size_t bytes = gi_ringpair_bytes(ring);
    void *at = self ? s_map(memory, bytes) : NULL;
    if (!at) {
        gi_mem_free(self);
        return NULL;
    }
    *self = (gi_ringway_t){
        .fd = *fd, .memory = at, .bytes = bytes, .rung = true, .max = max};
    gi_ringpair_open(&self->pair, at, ring, first, 0);
    *fd = -1;
    return self;
}

static void s_bell(gi_ringway_t *self) {
    ssize_t rc = send(self->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (rc < 0 && errno != EAGAIN && errno != EINTR)
        self->rung = true; /* it has an end: that is heard there */
}

void gi_ringway_destroy(gi_ringway_t **self_p) {
    gi_ringway_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_fd_close(&self->fd);
    munmap(self->memory, self->bytes);
    gi_mem_free(self->in);
    gi_mem_free(self->rest);
    gi_mem_free(self);
}

/* ---- out ----------------------------------------------------------------- */
static void s_ring(gi_ringway_t *self) {
    self->unrung = 0;
    if (gi_ringpair_sleeper(&self->pair))
        s_bell(self);
}

static void s_put(gi_ringway_t *self, size_t size, bool more) {
    gi_ringpair_put(&self->pair, size, more);
    if (++self->unrung >= S_RING_EVERY)
        s_ring(self);
}

/* As much as there is room for; true: nothing is left. */
static bool s_push(gi_ringway_t *self) {
    size_t most = gi_ringpair_most(&self->pair);
    while (self->rest_at < self->rest_size) {
        size_t left = self->rest_size - self->rest_at,
               n = left < most ? left : most;
        void *to = gi_ringpair_room(&self->pair, n);
        if (!to)
            return false;
        memcpy(to, self->rest + self->rest_at, n);
        self->rest_at += n;
        s_put(self, n, left > n);
    }
    gi_mem_free(self->rest);
    self->rest = NULL;
    self->rest_at = self->rest_size = 0;
    return true;
}

void *gi_ringway_room(gi_ringway_t *self, size_t size) {
    void *to = NULL;
    if (self->ended || (self->rest && !s_push(self)))
        to = NULL;
    else if (size <= gi_ringpair_most(&self->pair))
        to = gi_ringpair_room(&self->pair, size);
    else
        to = self->rest = gi_mem_alloc(size);
    if (!to && self->unrung)
        s_ring(self); /* who is to make room may sleep */
    return to;
}

void gi_ringway_sent(gi_ringway_t *self, size_t size) {
    self->moved++;
    if (!self->rest) {
        s_put(self, size, false);
        return;
    }
    self->rest_size = size;
    s_push(self);
}

bool gi_ringway_flush(gi_ringway_t *self) {
    size_t at = self->rest_at;
    bool waits = self->rest != NULL;
    if (self->ended)
        return false;
    bool pushed = waits && (s_push(self) || self->rest_at != at);
    if (self->unrung)
        s_ring(self);
    if (gi_ringpair_freed(&self->pair))
        s_bell(self);
    return pushed;
}

/* ---- in ------------------------------------------------------------------ */
static bool s_grow(gi_ringway_t *self, size_t size) {
    if (size > self->max)
        return false;
    if (size <= self->in_room)
        return true;
    size_t room = self->in_room ? self->in_room : S_IN_FIRST;
    while (room < size)
        room *= 2;
    unsigned char *in = gi_mem_realloc(self->in, room);
    if (!in)
        return false;
    self->in = in;
    self->in_room = room;
    return true;
}

static void s_begin(gi_ringway_t *self) {
    self->in_size = 0;
    self->in_whole = false;
    if (self->in_room <= S_IN_KEPT)
        return;
    gi_mem_free(self->in);
    self->in = NULL;
    self->in_room = 0;
}

bool gi_ringway_take(gi_ringway_t *self, gate_bytes_t *record) {
    size_t size;
    bool more = true;
    if (self->in_whole)
        s_begin(self);
    gi_ringpair_wake(&self->pair);
    while (more) {
        int rc = gi_ringpair_next(&self->pair, &size, &more);
        if (rc == 0)
            return false;
        if (rc < 0 || !s_grow(self, self->in_size + size)) {
            self->pair.bad = self->ended = true;
            return false;
        }
        gi_ringpair_take(&self->pair, self->in + self->in_size);
        self->in_size += size;
    }
    self->in_whole = true;
    self->moved++;
    self->taken++;
    *record = (gate_bytes_t){self->in, self->in_size};
    return true;
}

/* An empty message is an end as well: nobody sends one. */
void gi_ringway_hear(gi_ringway_t *self) {
    char bells[16];
    for (unsigned i = 0; self->rung && i < S_BELLS; i++) {
        ssize_t rc = recv(self->fd, bells, sizeof bells, MSG_DONTWAIT);
        if (rc > 0 || (rc < 0 && errno == EINTR))
            continue;
        self->rung = false;
        if (rc == 0 || errno != EAGAIN)
            self->ended = true;
    }
}

bool gi_ringway_there(const gi_ringway_t *self) {
    return gi_ringpair_there(&self->pair);
}

bool gi_ringway_over(const gi_ringway_t *self) {
    return self->ended && !gi_ringway_there(self);
}

bool gi_ringway_sleep(gi_ringway_t *self) {
    return self->ended || gi_ringpair_sleep(&self->pair);
}

bool gi_ringway_calm(gi_ringway_t *self) {
    bool calm = self->moved > 0 && self->taken <= GI_RINGWAY_FEW;
    self->moved = self->taken = 0;
    return calm;
}
