/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.c -- items with their lengths in a ring of bytes, in a memfd of their
 * own. Each side keeps its own position and believes the other's only as far as
 * the ring is large; a consumer copies an item out before it looks at it.
 *
 * Memory orders: as rings in shm.h. `put` and `got` count bytes; each is stored
 * by one side, seq_cst, and paired with the other's `waiting` word, so no
 * wake-up is lost; the futex word is `bell`, which every change moves.
 *
 * Ends. A process claims an end when it first uses it so (pid, by
 * compare-and-swap). An end is closed by its owner, or by the pool when the job
 * that had it is over; dead when its process died. When no job has the queue
 * any more, an end that nobody claimed never will be: it takes the queue's fate
 * (orphan). The parent keeps what it knows of that in its own memory, where a
 * worker cannot undo it. */
#include "shared/queue.h"
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sync/clock.h"
#include "base/err.h"
#include "sync/futex.h"
#include "base/mem.h"
#include "shared/shm.h"

/* A worker that scribbles over `waiting` costs its other end so much delay. */
#define LOOK_MS 1000

typedef enum s_fate { OPEN, CLOSED, DEAD } s_fate_t;

typedef struct s_shared {
    uint64_t size_bytes, n_items;             /* written once */
    _Alignas(64) _Atomic uint64_t put, n_put; /* the producer's */
    _Alignas(64) _Atomic uint64_t got, n_got; /* the consumer's */
    _Alignas(64) _Atomic uint32_t bell, waiting;
    _Atomic int32_t pid[2]; /* who claimed: producer, consumer */
    _Atomic uint32_t fate[2], orphan;
    _Alignas(64) unsigned char bytes[];
} s_shared_t;

enum { PRODUCER, CONSUMER };

struct gate_queue {
    atomic_int refs;  /* handles and jobs */
    atomic_int users; /* handles */
    int fd;           /* -1 in a worker */
    const gate_settings_t *settings;
    gi_release_fn *release_owner;
    void *owner;
    size_t map_size;
    s_shared_t *shared;
    uint64_t size_bytes, n_items; /* our own copies */
    uint64_t at, n;               /* as producer: bytes, items put */
    uint64_t get_at, n_got;       /* as consumer */
    bool claimed[2];
    atomic_int fate[2], orphan; /* the parent's own knowledge */
    atomic_int attached;        /* jobs that have it */
    gi_buf_t item;              /* packed, on its way in */
    gi_buf_t got_item;          /* the last that came out */
    gate_value_t *value;        /* of the last get */
    gi_arena_t arena;
};

/* ---- life ---------------------------------------------------------------- */

static gate_queue_t *s_new(void) {
    gate_queue_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self) {
        gi_err(GATE_NOMEM, "no memory for a queue");
        return NULL;
    }
    atomic_init(&self->refs, 1);
    atomic_init(&self->users, 1);
    self->fd = -1;
    return self;
}

gate_queue_t *gi_queue_new(const gi_pool_base_t *base, size_t n_items,
                           size_t size_bytes) {
    if (n_items == 0 || size_bytes == 0 || size_bytes > (size_t)1 << 40) {
        gi_err(GATE_BADARG, "a queue needs room for 1 item and 1 byte");
        return NULL;
    }
    gate_queue_t *self = s_new();
    if (!self)
        return NULL;
    void *map;
    /* each item has 4 bytes of length */
    size_t ring =
        size_bytes + 4 * (n_items < size_bytes ? n_items : size_bytes);
    self->map_size = sizeof(s_shared_t) + ring;
    if (gi_shm_memfd("gate-queue", self->map_size, &self->fd, &map)) {
        gi_mem_free(self);
        return NULL;
    }
    self->shared = map;
    self->shared->size_bytes = self->size_bytes = ring;
    self->shared->n_items = self->n_items = n_items;
    self->settings = base->settings;
    self->release_owner = base->release_owner;
    self->owner = base->owner;
    return self;
}

static void s_release(gate_queue_t *self) {
    if (atomic_fetch_sub(&self->refs, 1) != 1)
        return;
    munmap(self->shared, self->map_size);
    if (self->fd >= 0)
        close(self->fd);
    gate_value_destroy(&self->value);
    gi_arena_fini(&self->arena);
    gi_buf_fini(&self->item);
    gi_buf_fini(&self->got_item);
    if (self->release_owner)
        self->release_owner(self->owner);
    gi_mem_free(self);
}

gate_err_t gi_queue_open(int fd, const gate_settings_t *settings,
                         gate_queue_t **out) {
    struct stat st;
    gate_queue_t *self = s_new();
    void *map = MAP_FAILED;
    if (self && fstat(fd, &st) == 0 && (size_t)st.st_size > sizeof(s_shared_t))
        map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                   fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        gi_mem_free(self);
        return gi_err(GATE_NOMEM, "a queue cannot be mapped");
    }
    self->map_size = (size_t)st.st_size;
    self->shared = map;
    self->size_bytes = self->shared->size_bytes;
    self->n_items = self->shared->n_items;
    self->settings = settings;
    /* another worker may have had it before */
    if (self->size_bytes == 0 ||
        self->size_bytes > self->map_size - sizeof(s_shared_t)) {
        s_release(self);
        return gi_err(GATE_BADDATA, "another process wrote nonsense into a "
                                    "queue");
    }
    *out = self;
    return GATE_OK;
}

gate_queue_t *gi_queue_share(gate_queue_t *self) {
    atomic_fetch_add(&self->refs, 1);
    atomic_fetch_add(&self->users, 1);
    return self;
}

int gi_queue_fd(const gate_queue_t *self) { return self->fd; }

/* ---- ends ---------------------------------------------------------------- */

static void s_changed(gate_queue_t *self) {
    s_shared_t *s = self->shared;
    if (atomic_load(&s->waiting) == 0)
        return;
    atomic_fetch_add(&s->bell, 1);
    gi_futex_wake(&s->bell);
}

static void s_end(gate_queue_t *self, int end, s_fate_t fate) {
    int open = OPEN;
    uint32_t shared_open = OPEN;
    atomic_compare_exchange_strong(&self->fate[end], &open, (int)fate);
    atomic_compare_exchange_strong(&self->shared->fate[end], &shared_open,
                                   (uint32_t)fate);
    s_changed(self);
}

static s_fate_t s_fate(const gate_queue_t *self, int end) {
    int own = atomic_load(&self->fate[end]);
    uint32_t shared = atomic_load(&self->shared->fate[end]);
    if (own == OPEN && shared == OPEN && !self->claimed[end] &&
        atomic_load(&self->shared->pid[end]) == 0) {
        own = atomic_load(&self->orphan);
        shared = atomic_load(&self->shared->orphan);
    }
    return own == DEAD || shared == DEAD ? DEAD : own || shared ? CLOSED : OPEN;
}

static gate_err_t s_claim(gate_queue_t *self, int end) {
    int32_t nobody = 0, me = (int32_t)getpid();
    if (self->claimed[end])
        return GATE_OK;
    if (!atomic_compare_exchange_strong(&self->shared->pid[end], &nobody, me) &&
        nobody != me)
        return gi_err(GATE_BADARG,
                      "process %d is this queue's %s: a queue has one of each",
                      (int)nobody, end == PRODUCER ? "producer" : "consumer");
    self->claimed[end] = true;
    return GATE_OK;
}

static void s_close_claimed(gate_queue_t *self) {
    for (int end = 0; end < 2; end++)
        if (self->claimed[end])
            s_end(self, end, CLOSED);
}

void gate_queue_close(gate_queue_t *self) {
    if (gi_err_null(self, "gate_queue_close"))
        return;
    if (self->claimed[PRODUCER] || self->claimed[CONSUMER]) {
        s_close_claimed(self);
        return;
    }
    /* never used here: what nobody has claimed is meant */
    for (int end = 0; end < 2; end++)
        if (atomic_load(&self->shared->pid[end]) == 0)
            s_end(self, end, CLOSED);
}

void gate_queue_destroy(gate_queue_t **self_p) {
    gate_queue_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    if (atomic_fetch_sub(&self->users, 1) == 1)
        s_close_claimed(self);
    s_release(self);
}

void gi_queue_attach(gate_queue_t *self) {
    atomic_fetch_add(&self->refs, 1);
    atomic_fetch_add(&self->attached, 1);
}

void gi_queue_detach(gate_queue_t *self, int pid, bool died) {
    s_fate_t fate = died ? DEAD : CLOSED;
    if (atomic_fetch_sub(&self->attached, 1) == 1) {
        int open = OPEN;
        uint32_t shared_open = OPEN;
        atomic_compare_exchange_strong(&self->orphan, &open, (int)fate);
        atomic_compare_exchange_strong(&self->shared->orphan, &shared_open,
                                       (uint32_t)fate);
    }
    for (int end = 0; end < 2; end++)
        if (pid > 0 && atomic_load(&self->shared->pid[end]) == pid)
            s_end(self, end, fate);
    /* whatever a worker wrote into `waiting` */
    atomic_fetch_add(&self->shared->bell, 1);
    gi_futex_wake(&self->shared->bell);
    s_release(self);
}

/* ---- waiting ------------------------------------------------------------- */

typedef bool s_ready_fn(gate_queue_t *self, size_t size);

/* True when ready; false after timeout_ms, or when end other is not open. */
static bool s_wait(gate_queue_t *self, s_ready_fn *ready, size_t size,
                   int other, int64_t timeout_ms) {
    s_shared_t *s = self->shared;
    int64_t until = timeout_ms < 0 ? INT64_MAX : gi_clock_ms() + timeout_ms;
    while (!ready(self, size)) {
        if (s_fate(self, other) != OPEN)
            return ready(self, size);
        int64_t left = timeout_ms < 0 ? -1 : until - gi_clock_ms();
        if (timeout_ms >= 0 && left <= 0)
            return false;
        uint32_t seen = atomic_load(&s->bell);
        atomic_fetch_add(&s->waiting, 1);
        if (!ready(self, size) && s_fate(self, other) == OPEN)
            gi_futex_wait(&s->bell, seen,
                          left < 0 || left > LOOK_MS ? LOOK_MS : left);
        atomic_fetch_sub(&s->waiting, 1);
    }
    return true;
}

/* ---- bytes in a ring ----------------------------------------------------- */

static void s_write(gate_queue_t *self, uint64_t at, const void *data,
                    size_t size) {
    size_t from = (size_t)(at % self->size_bytes);
    size_t first = (size_t)self->size_bytes - from;
    if (first > size)
        first = size;
    memcpy(self->shared->bytes + from, data, first);
    memcpy(self->shared->bytes, (const char *)data + first, size - first);
}

static void s_read(gate_queue_t *self, uint64_t at, void *data, size_t size) {
    size_t from = (size_t)(at % self->size_bytes);
    size_t first = (size_t)self->size_bytes - from;
    if (first > size)
        first = size;
    memcpy(data, self->shared->bytes + from, first);
    memcpy((char *)data + first, self->shared->bytes, size - first);
}

/* ---- put ----------------------------------------------------------------- */

static bool s_room(gate_queue_t *self, size_t size) {
    uint64_t used = self->at - atomic_load(&self->shared->got);
    uint64_t items = self->n - atomic_load(&self->shared->n_got);
    return used <= self->size_bytes && self->size_bytes - used >= size &&
           items < self->n_items;
}

static gate_err_t s_put(gate_queue_t *self, int64_t timeout_ms) {
    uint32_t len = (uint32_t)self->item.size;
    size_t size = self->item.size + sizeof len;
    if (size > self->size_bytes)
        return gi_err(GATE_TOOBIG, "an item of %zu bytes, the queue holds %llu",
                      self->item.size,
                      (unsigned long long)self->size_bytes - sizeof len);
    bool room = s_wait(self, s_room, size, CONSUMER, timeout_ms);
    s_fate_t fate = s_fate(self, CONSUMER);
    if (fate == DEAD)
        return gi_err(GATE_WORKERLOST, "the queue's consumer died");
    if (fate == CLOSED || s_fate(self, PRODUCER) != OPEN)
        return gi_err(GATE_CLOSED, "the queue is closed");
    if (!room)
        return gi_err(GATE_BUSY, "the queue is full");
    s_write(self, self->at, &len, sizeof len);
    s_write(self, self->at + sizeof len, self->item.data, self->item.size);
    self->at += size;
    self->n++;
    atomic_store(&self->shared->n_put, self->n);
    atomic_store(&self->shared->put, self->at);
    s_changed(self);
    return GATE_OK;
}

gate_err_t gate_queue_put_(gate_queue_t *self, gate_arg_t item,
                           int64_t timeout_ms) {
    if (gi_err_null(self, "gate_queue_put_"))
        return GATE_BADARG;
    gate_err_t e = s_claim(self, PRODUCER);
    if (e)
        return e;
    gi_buf_reset(&self->item, 65536);
    e = gi_arg_pack(&self->item, &item, self->settings);
    if (!e && self->item.failed)
        e = gi_err(GATE_NOMEM, "no memory for a queue's item");
    return e ? e : s_put(self, timeout_ms);
}

/* ---- get ----------------------------------------------------------------- */

static bool s_some(gate_queue_t *self, size_t size) {
    (void)size;
    return atomic_load(&self->shared->put) != self->get_at;
}

static gate_err_t s_bad(gate_queue_t *self) {
    s_end(self, PRODUCER, DEAD);
    return gi_err(GATE_BADDATA, "the queue's producer wrote nonsense");
}

/* The next item into self->item. */
static gate_err_t s_take(gate_queue_t *self) {
    uint32_t len;
    uint64_t used = atomic_load(&self->shared->put) - self->get_at;
    if (used > self->size_bytes || used < sizeof len)
        return s_bad(self);
    s_read(self, self->get_at, &len, sizeof len);
    if (len == 0 || len > used - sizeof len)
        return s_bad(self);
    gate_value_destroy(&self->value); /* it points into got_item */
    gi_arena_fini(&self->arena);
    gi_buf_reset(&self->got_item, 65536);
    if (!gi_buf_reserve(&self->got_item, len))
        return gi_err(GATE_NOMEM, "no memory for a queue's item");
    s_read(self, self->get_at + sizeof len, self->got_item.data, len);
    self->got_item.size = len;
    self->get_at += len + sizeof len;
    self->n_got++;
    atomic_store(&self->shared->n_got, self->n_got);
    atomic_store(&self->shared->got, self->get_at);
    s_changed(self);
    return GATE_OK;
}

static gate_err_t s_store(gate_queue_t *self, gate_slot_t to) {
    gate_err_t e = gi_value_take(self->got_item.data, self->got_item.size, NULL,
                                 NULL, self->settings, &self->value);
    if (e)
        return e;
    /* values that outlive the next get have their own bytes */
    if (to.type == GATE_S_VALUE)
        return gate_value_decode(self->got_item.data, self->got_item.size,
                                 self->settings, to.to);
    return gi_slot_store(&to, gate_value_object(self->value), self->value,
                         &self->arena, "item");
}

gate_err_t gate_queue_get_(gate_queue_t *self, gate_slot_t to,
                           int64_t timeout_ms) {
    if (gi_err_null(self, "gate_queue_get_"))
        return GATE_BADARG;
    gate_err_t e = s_claim(self, CONSUMER);
    if (e)
        return e;
    /* Closed as a whole: what was put is still delivered. */
    if (s_fate(self, CONSUMER) != OPEN && s_fate(self, PRODUCER) == OPEN)
        return gi_err(GATE_CLOSED, "the queue is closed");
    if (!s_wait(self, s_some, 0, PRODUCER, timeout_ms)) {
        s_fate_t fate = s_fate(self, PRODUCER);
        return fate == DEAD
                   ? gi_err(GATE_WORKERLOST, "the queue's producer died")
               : fate == CLOSED ? gi_err(GATE_EOS, "the queue is closed")
                                : gi_err(GATE_TIMEOUT, "no item came");
    }
    e = s_take(self);
    return e ? e : s_store(self, to);
}

/* ---- as arguments -------------------------------------------------------- */

size_t gi_queue_collect(const gate_arg_t *args, size_t n, gate_queue_t **out,
                        size_t max) {
    size_t found = 0;
    for (size_t i = 0; i < n && found < max; i++)
        if (args[i].type == GATE_A_QUEUE && args[i].as.p)
            out[found++] = (gate_queue_t *)(uintptr_t)args[i].as.p;
    return found;
}

gate_err_t gi_queue_pack_ref(gi_buf_t *out, size_t index) {
    unsigned char ref[3] = {0xd4, GI_EXT_QUEUE, (unsigned char)index};
    if (index > UINT8_MAX)
        return gi_err(GATE_BADARG, "more than 256 queues");
    return gi_buf_append(out, ref, sizeof ref)
               ? GATE_OK
               : gi_err(GATE_NOMEM, "no memory for an argument");
}

bool gi_queue_read_ref(const msgpack_object *object, size_t *index) {
    if (object->type != MSGPACK_OBJECT_EXT ||
        object->via.ext.type != GI_EXT_QUEUE || object->via.ext.size != 1)
        return false;
    *index = (unsigned char)object->via.ext.ptr[0];
    return true;
}
