/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_source.c -- a bounded queue of pieces under a monitor; memory is peeked
 * at as it lies. A descriptor's job reads as long as there is room, then ends:
 * no thread waits for the sender. */
#include "jobs/huge_source.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "jobs/huge_feed.h"
#include "base/mem.h"
#include "sync/waitpoint.h"
#include "sync/ref.h"

#define S_ROOM ((size_t)1 << 20) /* bytes of pieces that may wait */
#define S_LOOK_MS 100            /* between looks while a pipe is silent */

typedef struct s_piece {
    struct s_piece *next;
    size_t size, at;
    bool flush; /* behind it */
    char data[];
} s_piece_t;

struct gi_huge_source {
    gi_job_t job; /* reads fd */
    gi_ref_t refs;
    gi_monitor_t monitor; /* of what follows, up to kept */
    s_piece_t *head, *newest;
    bool flush;    /* behind what was used */
    size_t queued; /* bytes, and what it takes to keep them */
    uint64_t left; /* bytes still to come in */
    gi_error_t error;
    bool ended, attached, gone; /* gone: nobody sends it any more */
    bool reading;               /* the job is under way */
    int telling;                /* ready is being called */
    void (*ready)(void *ctx);
    void *ctx;
    gate_bytes_t kept; /* memory that is left; the sender's */
    void *memory;
    void (*release)(void *data);
    bool fed, regular; /* fed: by put */
    int fd;            /* -1: none */
};

/* ---- life ----------------------------------------------------------------*/
gi_huge_source_t *gi_huge_source_new(uint64_t size) {
    gi_huge_source_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self) {
        (void)gi_err(GATE_NOMEM, "no memory for a huge argument");
        return NULL;
    }
    gi_ref_init(&self->refs);
    gi_monitor_init(&self->monitor);
    gi_error_init(&self->error);
    self->left = size;
    self->fed = true;
    self->fd = -1;
    return self;
}

gi_huge_source_t *gi_huge_source_share(gi_huge_source_t *self) {
    gi_ref_take(&self->refs);
    return self;
}

void gi_huge_source_memory(gi_huge_source_t *self, const void *data,
                           void (*release)(void *data)) {
    self->fed = false;
    self->kept = (gate_bytes_t){data, (size_t)self->left};
    self->left = 0;
    self->memory = (void *)(uintptr_t)data; /* what it was given, writable */
    self->release = release;
    self->ended = true;
}

void gi_huge_source_file(gi_huge_source_t *self, int fd, bool regular) {
    self->fed = false;
    self->fd = fd;
    self->regular = regular;
    self->ended = !self->left;
}

/* What it was made of. Not while the job reads. */
static void s_let_go(gi_huge_source_t *self) {
    while (self->head) {
        s_piece_t *piece = self->head;
        self->head = piece->next;
        gi_mem_free(piece);
    }
    self->queued = 0;
    self->kept = (gate_bytes_t){NULL, 0};
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
    if (self->release)
        self->release(self->memory);
    self->release = NULL;
}

void gi_huge_source_drop(gi_huge_source_t **self_p) {
    gi_huge_source_t *self = *self_p;
    *self_p = NULL;
    if (!self || !gi_ref_drop(&self->refs))
        return;
    s_let_go(self);
    gi_error_fini(&self->error);
    gi_monitor_fini(&self->monitor);
    gi_mem_free(self);
}

/* ---- telling the sender ---------------------------------------------------*/
/* Inside the monitor, which is left meanwhile. */
static void s_tell(gi_huge_source_t *self) {
    if (!self->attached || self->gone)
        return;
    self->telling++;
    gi_monitor_leave(&self->monitor);
    self->ready(self->ctx);
    gi_monitor_enter(&self->monitor);
    self->telling--;
    gi_monitor_notify(&self->monitor);
}

/* ---- the giver ------------------------------------------------------------*/
static s_piece_t *s_piece_new(size_t size) {
    s_piece_t *piece = gi_mem_alloc(sizeof *piece + size);
    if (!piece) {
        (void)gi_err(GATE_NOMEM, "no memory for %zu bytes of a huge argument",
                     size);
        return NULL;
    }
    piece->next = NULL;
    piece->size = size;
    piece->at = 0;
    piece->flush = false;
    return piece;
}

/* Inside. Takes the piece. */
static void s_add(gi_huge_source_t *self, s_piece_t *piece) {
    if (self->head)
        self->newest->next = piece;
    else
        self->head = piece;
    self->newest = piece;
    self->queued += sizeof *piece + piece->size;
    self->left -= piece->size;
    s_tell(self);
}

/* Inside. */
static gate_err_t s_await_room(gi_huge_source_t *self) {
    if (!self->attached)
        return gi_err(GATE_BADARG, "a huge argument is fed after the call was "
                                   "started");
    while (!self->gone && self->queued >= S_ROOM)
        gi_monitor_wait(&self->monitor, -1);
    return self->gone ? gi_err(GATE_CANCELLED,
                               "the call that the huge argument was for has "
                               "ended")
                      : GATE_OK;
}

gate_err_t gi_huge_source_put(gi_huge_source_t *self, const void *data,
                              size_t size) {
    if (!self->fed)
        return gi_err(GATE_BADARG, "this huge argument is not fed");
    s_piece_t *piece = s_piece_new(size);
    if (!piece)
        return GATE_NOMEM;
    memcpy(piece->data, data, size);
    gi_monitor_enter(&self->monitor);
    gate_err_t e = s_await_room(self);
    if (!e)
        s_add(self, piece);
    gi_monitor_leave(&self->monitor);
    if (e)
        gi_mem_free(piece);
    return e;
}

gate_err_t gi_huge_source_flush(gi_huge_source_t *self) {
    if (!self->fed)
        return gi_err(GATE_BADARG, "this huge argument is not fed");
    gi_monitor_enter(&self->monitor);
    gate_err_t e = s_await_room(self);
    if (self->head)
        self->newest->flush = true;
    else
        self->flush = true;
    if (!e)
        s_tell(self);
    gi_monitor_leave(&self->monitor);
    return e;
}

/* Inside. */
static void s_end(gi_huge_source_t *self, const gate_error_t *error) {
    if (!self->ended && error)
        gi_error_set(&self->error, error);
    self->ended = true;
    s_tell(self);
}

void gi_huge_source_end(gi_huge_source_t *self, const gate_error_t *error) {
    gi_monitor_enter(&self->monitor);
    if (self->fed)
        s_end(self, error);
    gi_monitor_leave(&self->monitor);
}

/* ---- a descriptor ---------------------------------------------------------*/
/* read gave n, none: a failure, or the end. */
static gate_err_t s_gave_none(const gi_huge_source_t *self, ssize_t n) {
    return n < 0 ? gi_err_errno("reading a huge argument")
                 : gi_err(GATE_SYSTEM,
                          "a huge argument's file ended %llu bytes too early",
                          (unsigned long long)self->left);
}

static gate_err_t s_read(gi_huge_source_t *self, s_piece_t *piece) {
    struct pollfd p = {self->fd, POLLIN, 0};
    piece->size = 0;
    if (!self->regular && poll(&p, 1, S_LOOK_MS) <= 0)
        return GATE_OK;
    size_t room = self->left < GI_HUGE_PIECE ? self->left : GI_HUGE_PIECE;
    ssize_t n = read(self->fd, piece->data, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return GATE_OK;
    if (n <= 0)
        return s_gave_none(self, n);
    piece->size = (size_t)n;
    return GATE_OK;
}

/* Inside. True: there is room, and somebody who wants it. */
static bool s_goes_on(const gi_huge_source_t *self) {
    return !self->gone && !self->ended && self->queued < S_ROOM;
}

static s_piece_t *s_shrunk(s_piece_t *piece) {
    s_piece_t *small = gi_mem_realloc(piece, sizeof *piece + piece->size);
    return small ? small : piece;
}

/* One piece; inside, but for reading. */
static void s_read_piece(gi_huge_source_t *self) {
    gi_monitor_leave(&self->monitor);
    s_piece_t *piece = s_piece_new(GI_HUGE_PIECE);
    gate_err_t e = piece ? s_read(self, piece) : GATE_NOMEM;
    if (!e && piece->size < GI_HUGE_PIECE / 2)
        piece = s_shrunk(piece); /* pipes give little */
    gi_monitor_enter(&self->monitor);
    if (!e && piece->size)
        s_add(self, piece);
    else
        gi_mem_free(piece);
    if (e || !self->left)
        s_end(self, e ? gate_error() : NULL);
}

static void s_run(gi_job_t *job) {
    gi_huge_source_t *self =
        (gi_huge_source_t *)(void *)((char *)job -
                                     offsetof(gi_huge_source_t, job));
    gi_monitor_enter(&self->monitor);
    while (s_goes_on(self))
        s_read_piece(self);
    self->reading = false;
    bool gone = self->gone;
    gi_monitor_leave(&self->monitor);
    if (gone) /* while we were reading */
        s_let_go(self);
    gi_huge_source_drop(&self);
}

/* Inside. Sees to it that a job reads while there is room. */
static gate_err_t s_see_to_reading(gi_huge_source_t *self, gate_pool_t *pool) {
    if (self->fd < 0 || self->reading || self->queued > S_ROOM / 2 ||
        !s_goes_on(self))
        return GATE_OK;
    self->job = (gi_job_t){.run = s_run};
    self->reading = true;
    gi_ref_take(&self->refs);
    gate_err_t e = pool ? gi_pool_run(pool, &self->job) : GATE_CLOSED;
    if (!e)
        return GATE_OK;
    self->reading = false;
    (void)gi_ref_drop(&self->refs); /* the sender has one of its own */
    return gi_err(e, "no thread reads a huge argument: %s", gate_err_text(e));
}

/* ---- the sender -----------------------------------------------------------*/
gate_err_t gi_huge_source_attach(gi_huge_source_t *self,
                                 void (*ready)(void *ctx), void *ctx) {
    gi_monitor_enter(&self->monitor);
    bool first = !self->attached;
    if (first) {
        self->ready = ready;
        self->ctx = ctx;
        self->attached = true;
    }
    gi_monitor_leave(&self->monitor);
    return first ? GATE_OK
                 : gi_err(GATE_BADARG,
                          "a huge argument goes into one call, once");
}

void gi_huge_source_leave(gi_huge_source_t *self) {
    gi_monitor_enter(&self->monitor);
    self->gone = true;
    bool quiet =
        !self->reading; /* now: the job will have seen that it is gone */
    gi_monitor_notify(&self->monitor);
    while (self->telling)
        gi_monitor_wait(&self->monitor, -1);
    gi_monitor_leave(&self->monitor);
    if (quiet) /* else the job does it */
        s_let_go(self);
}

gate_err_t gi_huge_source_peek(gi_huge_source_t *self, gate_pool_t *pool,
                               gate_bytes_t *out) {
    if (self->kept.size) {
        *out = self->kept;
        return GATE_OK;
    }
    gi_monitor_enter(&self->monitor);
    s_piece_t *piece = self->head;
    gate_err_t e = s_see_to_reading(self, pool);
    if (piece)
        *out = (gate_bytes_t){piece->data + piece->at, piece->size - piece->at};
    else if (self->error.story.code)
        e = gi_error_publish(&self->error);
    else if (self->ended)
        e = GATE_EOS;
    else if (!e)
        e = GATE_WOULDBLOCK;
    gi_monitor_leave(&self->monitor);
    return piece ? GATE_OK : e;
}

void gi_huge_source_used(gi_huge_source_t *self, size_t size) {
    if (self->kept.size) {
        self->kept.data = (const char *)self->kept.data + size;
        self->kept.size -= size;
        return;
    }
    gi_monitor_enter(&self->monitor);
    s_piece_t *piece = self->head;
    piece->at += size;
    if (piece->at == piece->size) {
        self->head = piece->next;
        self->flush |= piece->flush;
        self->queued -= sizeof *piece + piece->size;
        gi_monitor_notify(&self->monitor);
    } else {
        piece = NULL;
    }
    gi_monitor_leave(&self->monitor);
    gi_mem_free(piece);
}

bool gi_huge_source_flushes(gi_huge_source_t *self) {
    gi_monitor_enter(&self->monitor);
    bool flush = self->flush;
    self->flush = false;
    gi_monitor_leave(&self->monitor);
    return flush;
}

/* ---- at once --------------------------------------------------------------*/
bool gi_huge_source_here(const gi_huge_source_t *self) {
    return !self->fed && (self->fd < 0 || self->regular);
}

static gate_err_t s_read_all(gi_huge_source_t *self, char *to) {
    while (self->left) {
        ssize_t n = read(self->fd, to, (size_t)self->left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return s_gave_none(self, n);
        to += n;
        self->left -= (uint64_t)n;
    }
    return GATE_OK;
}

gate_err_t gi_huge_source_fill(gi_huge_source_t *self, void *to) {
    gate_err_t e = GATE_OK;
    if (self->kept.size)
        memcpy(to, self->kept.data, self->kept.size);
    else if (self->fd >= 0)
        e = s_read_all(self, to);
    s_let_go(self);
    return e;
}
