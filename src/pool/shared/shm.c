/* SPDX-License-Identifier: BSD-3-Clause */
/* shm.c -- one memfd for one worker. Reused by the worker's successor, so that
 * a replacement costs a fork and not 8 MiB of fresh pages. */
#include "shared/shm.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "sync/fd.h"
#include "sync/futex.h"
#include "shared/cgroup.h"
#include "shared/lane.h"

#define PAGE 4096u

static size_t s_pages(uint64_t n) {
    return (size_t)((n + PAGE - 1) & ~(uint64_t)(PAGE - 1));
}

/* UINT64_MAX: not known. */
static uint64_t s_available(void) {
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib ? kib * 1024 : UINT64_MAX;
}

bool gi_shm_fits(size_t size) {
    struct rlimit files; /* a memfd is one: beyond it comes SIGXFSZ */
    return (getrlimit(RLIMIT_FSIZE, &files) || size <= files.rlim_cur) &&
           size <= s_available() && size <= gi_cgroup_memory_left();
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* fallocate tells of a full machine; where it is refused (a sandbox, an old
 * kernel) the pages are populated, which does too, or touched. */
bool gi_shm_pages(int fd, void *base, size_t from, size_t size) {
    unsigned char *at = (unsigned char *)base + from;
    if (fallocate(fd, 0, (off_t)from, (off_t)size) != 0) {
        if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP)
            return false;
        if (madvise(at, size, MADV_POPULATE_WRITE) == 0)
            return true;
        if (errno != EINVAL && errno != EPERM && errno != ENOSYS)
            return false;
        for (size_t i = 0; i < size; i += PAGE)
            ((volatile unsigned char *)at)[i] = 0;
        return true;
    }
    madvise(at, size, MADV_POPULATE_WRITE); /* only faster */
    return true;
}

gate_err_t gi_shm_memfd(const char *name, size_t size, int *fd, void **base) {
    if (!gi_shm_fits(size)) {
        errno = ENOMEM;
        return gi_err(GATE_NOMEM,
                      "%zu bytes of shared memory for %s: the machine, its "
                      "control group (memory.max) or ulimit -f leaves fewer",
                      size, name);
    }
    int f = gi_fd_high(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (f < 0) {
        int error = errno;
        gate_err_t e = gi_err_errno("memfd_create for %s", name);
        errno = error;
        return e;
    }
    void *p = MAP_FAILED;
    if (ftruncate(f, (off_t)size) == 0 &&
        fcntl(f, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    if (p == MAP_FAILED || !gi_shm_pages(f, p, 0, size)) {
        int error = errno;
        gate_err_t e =
            gi_err_errno("%zu bytes of shared memory for %s", size, name);
        if (p != MAP_FAILED)
            munmap(p, size);
        close(f);
        errno = error;
        return e;
    }
    *fd = f;
    *base = p;
    return GATE_OK;
}

/* Computes the addresses (when there is a base) and gives the whole size;
 * *own_from is where what the worker writes begins. */
static size_t s_layout(gi_shm_t *self, unsigned char *base, size_t *own_from) {
    size_t req = s_pages(sizeof(gi_shm_ctl_t));
    size_t req_lane = req + s_pages(self->cells * sizeof(gi_req_cell_t));
    size_t own = req_lane + self->lane_bytes;
    size_t claims = own + s_pages(sizeof(gi_shm_own_t));
    size_t rsp = claims + s_pages(self->cells * sizeof(gi_claim_cell_t));
    size_t rsp_lane = rsp + s_pages(self->cells * sizeof(gi_rsp_cell_t));
    *own_from = own;
    if (base) {
        self->base = base;
        self->ctl = (gi_shm_ctl_t *)(void *)base;
        self->req = (gi_req_cell_t *)(void *)(base + req);
        self->req_lane = base + req_lane;
        self->own = (gi_shm_own_t *)(void *)(base + own);
        self->claims = (gi_claim_cell_t *)(void *)(base + claims);
        self->rsp = (gi_rsp_cell_t *)(void *)(base + rsp);
        self->rsp_lane = base + rsp_lane;
    }
    return rsp_lane + self->lane_bytes;
}

gate_err_t gi_shm_new(gi_shm_t *self, uint32_t cells, uint64_t lane_bytes) {
    memset(self, 0, sizeof *self);
    self->fd = -1;
    self->cells = 1;
    while (self->cells < cells && self->cells < 1u << 16)
        self->cells *= 2;
    self->lane_bytes = lane_bytes & ~(uint64_t)(PAGE - 1);
    void *base;
    size_t own_from;
    self->size = s_layout(self, NULL, &own_from);
    gate_err_t e = gi_shm_memfd("gate-worker", self->size, &self->fd, &base);
    if (e)
        return e;
    s_layout(self, base, &own_from);
    gi_shm_reset(self);
    return GATE_OK;
}

gate_err_t gi_shm_map(gi_shm_t *self, int fd) {
    struct stat st;
    memset(self, 0, sizeof *self);
    self->fd = -1;
    if (fstat(fd, &st) != 0)
        return gi_err_errno("fstat of the worker's memory");
    void *base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return gi_err_errno("mmap of the worker's memory");
    madvise(base, (size_t)st.st_size, MADV_DONTFORK);
    const gi_shm_ctl_t *ctl = base;
    self->cells = ctl->config.cells;
    self->lane_bytes = ctl->config.lane_bytes;
    size_t own_from;
    self->size = s_layout(self, base, &own_from);
    if (mprotect(base, own_from, PROT_READ) != 0)
        return gi_err_errno("mprotect of the worker's memory");
    return GATE_OK;
}

void gi_shm_fini(gi_shm_t *self) {
    if (self->base)
        munmap(self->base, self->size);
    if (self->base && self->fd >= 0)
        close(self->fd);
    memset(self, 0, sizeof *self);
    self->fd = -1;
}

void gi_shm_hollow(gi_shm_t *self) {
    (void)!fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                     (off_t)self->size);
}

bool gi_shm_fill(gi_shm_t *self) {
    if (!gi_shm_fits(self->size)) {
        errno = ENOMEM;
        return false;
    }
    return gi_shm_pages(self->fd, self->base, 0, self->size);
}

void gi_shm_reset(gi_shm_t *self) {
    gi_shm_ctl_t *c = self->ctl;
    gi_shm_own_t *own = self->own;
    atomic_store(&c->req_tail, 0);
    atomic_store(&c->rsp_head, 0);
    atomic_store(&c->bell, 0);
    atomic_store(&c->quit, 0);
    atomic_store(&c->rsp_free, 0);
    atomic_store(&own->req_head, 0);
    atomic_store(&own->rsp_tail, 0);
    atomic_store(&own->sleeping, 0);
    atomic_store(&own->out_wanted, 0);
    atomic_store(&own->ready, 0);
    memset(own->why, 0, sizeof own->why);
    atomic_store(&own->parent_sleeping, 0);
}

void gi_shm_wake(gi_shm_t *self, gi_sleep_t what) {
    if (!(atomic_load(&self->own->sleeping) & (uint32_t)what) ||
        atomic_exchange(&self->own->sleeping, 0) == 0)
        return;
    atomic_fetch_add(&self->ctl->bell, 1);
    gi_futex_wake(&self->ctl->bell);
}

/* ---- errors -------------------------------------------------------------- */

size_t gi_shm_error_pack(const gate_error_t *story, unsigned char *out,
                         size_t room) {
    const char *parts[3] = {story->cls, story->text, story->traceback};
    uint32_t head[4] = {(uint32_t)story->code, 0, 0, 0};
    size_t at = sizeof head;
    for (int i = 0; i < 3; i++) {
        /* the parts still to come need their NUL */
        size_t keep = (size_t)(2 - i) + 1;
        size_t n = strlen(parts[i]);
        if (n > room - at - keep)
            n = room - at - keep;
        memcpy(out + at, parts[i], n);
        out[at + n] = 0;
        head[1 + i] = (uint32_t)n;
        at += n + 1;
    }
    memcpy(out, head, sizeof head);
    return at;
}

bool gi_shm_error_read(const void *data, size_t size, gate_error_t *story) {
    uint32_t head[4];
    const char *parts[3], *p = data;
    if (size < sizeof head + 3)
        return false;
    memcpy(head, data, sizeof head);
    size_t at = sizeof head;
    for (int i = 0; i < 3; i++) {
        if (head[1 + i] >= size - at || p[at + head[1 + i]] != 0)
            return false;
        parts[i] = p + at;
        at += (size_t)head[1 + i] + 1;
        if (at >= size && i < 2)
            return false;
    }
    if (head[0] == GATE_OK || head[0] >= GATE_ERR_COUNT)
        return false;
    *story = (gate_error_t){(gate_err_t)head[0], parts[0], parts[1], parts[2]};
    return true;
}
