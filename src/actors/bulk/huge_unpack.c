/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_unpack.c -- a queue of frames between an actor and a helper's job. */
#include "bulk/huge_unpack.h"

#include <stddef.h>
#include "base/buf.h"
#include "base/err.h"
#include "sync/lock.h"
#include "base/mem.h"
#include "sync/ref.h"
#include "memory/spare.h"

#define S_STEP ((size_t)256 << 10)
#define S_TELL_BYTES ((size_t)256 << 10) /* news of so much at a time */

typedef struct s_chunk {
    struct s_chunk *next;
    size_t at; /* what is before it is inflated */
    zmq_msg_t frame;
} s_chunk_t;

struct gi_huge_unpack {
    gi_job_t job;
    gi_ref_t refs; /* the owner's, the job's */
    gi_huge_unpack_options_t options;
    gi_lock_t lock; /* of what follows, up to error */
    s_chunk_t *head, **tail;
    uint64_t queued;    /* bytes */
    uint64_t n_queued;  /* chunks */
    bool working;       /* the job is under way */
    bool told;          /* and its owner has not asked since */
    bool end;           /* nothing follows what is queued */
    bool left;          /* the owner is done with it */
    size_t made, room;  /* of the value: there is, may be */
    size_t taken;       /* bytes inflated that news has not said */
    gate_err_t outcome; /* GATE_OK under way, GATE_EOS complete, else error */
    gi_error_t error;
    s_chunk_t *current; /* the job's, set under the lock: no room for all */
    gi_join_t *join;
    gi_buf_t value;
};

/* ---- life ----------------------------------------------------------------*/
static void s_free_chunk(s_chunk_t *c) {
    zmq_msg_close(&c->frame);
    gi_mem_free(c);
}

static void s_free_queue(gi_huge_unpack_t *self) {
    while (self->head) {
        s_chunk_t *c = self->head;
        self->head = c->next;
        s_free_chunk(c);
    }
    self->tail = &self->head;
    self->queued = self->n_queued = 0;
}

static void s_drop(gi_huge_unpack_t *self) {
    if (!gi_ref_drop(&self->refs))
        return;
    s_free_queue(self);
    if (self->current)
        s_free_chunk(self->current);
    gi_join_destroy(&self->join);
    gi_spare_give(self->value.data);
    gi_error_fini(&self->error);
    gi_lock_fini(&self->lock);
    gi_mem_free(self);
}

static bool s_room(gi_huge_unpack_t *self, size_t size) {
    self->value.data = gi_spare_take(size, &self->value.room);
    if (!self->value.data)
        self->value.room = 0;
    return self->value.data != NULL;
}

gate_err_t gi_huge_unpack_new(const gi_huge_unpack_options_t *options,
                              gi_huge_unpack_t **out) {
    gi_huge_unpack_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return gi_err(GATE_NOMEM, "no memory for %s", options->what);
    gi_ref_init(&self->refs);
    gi_lock_init(&self->lock);
    gi_error_init(&self->error);
    self->options = *options;
    self->tail = &self->head;
    self->room = options->room ? options->room : SIZE_MAX;
    gate_err_t e = gi_join_new(&options->join, &self->join);
    if (!e && options->size && !s_room(self, options->size + S_STEP))
        e = gi_err(GATE_NOMEM, "no memory for %s of %zu bytes", options->what,
                   options->size);
    if (e) {
        s_drop(self);
        return e;
    }
    *out = self;
    return GATE_OK;
}

void gi_huge_unpack_leave(gi_huge_unpack_t **self_p) {
    gi_huge_unpack_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    gi_lock(&self->lock);
    self->left = true;
    s_free_queue(self);
    gi_unlock(&self->lock);
    s_drop(self);
}

/* ---- the job -------------------------------------------------------------*/
/* Inflates what is in hand, up to room; end: no more input comes. */
static gate_err_t s_inflate(gi_huge_unpack_t *self, gate_bytes_t *in, bool end,
                            size_t room) {
    gi_buf_t *value = &self->value;
    gate_err_t e;
    size_t n, given;
    do {
        if (value->size >= room)
            return GATE_OK;
        if (!gi_buf_reserve(value, S_STEP))
            return gi_err(GATE_NOMEM, "no memory for %s", self->options.what);
        given = value->room - value->size;
        if (given > room - value->size)
            given = room - value->size;
        n = given;
        unsigned char *to = value->data + value->size;
        e = end ? gi_join_end(self->join, to, &n)
                : gi_join_step(self->join, in, to, &n);
        if (!e && gi_join_saw_end(self->join))
            e = GATE_EOS;
        value->size += n;
    } while (!e && (end || in->size || n == given));
    return e;
}

/* The next chunk into current, unless one is there still; none: *end says
 * whether any follows. False: there is nothing to do, and the job has ended. */
static bool s_take(gi_huge_unpack_t *self, bool *end, size_t *room) {
    gi_lock(&self->lock);
    s_chunk_t *c = self->head;
    bool work = (self->current || c || self->end) && !self->left &&
                !self->outcome && self->made < self->room;
    if (work && c && !self->current) {
        self->current = c;
        self->head = c->next;
        if (!self->head)
            self->tail = &self->head;
        self->queued -= zmq_msg_size(&c->frame);
        self->n_queued--;
    }
    self->working = work;
    *end = !self->current;
    *room = self->room;
    gi_unlock(&self->lock);
    return work;
}

/* taken: the size of a chunk that is done with. */
static void s_settle(gi_huge_unpack_t *self, gate_err_t e, size_t taken) {
    const gi_huge_unpack_options_t *o = &self->options;
    gi_lock(&self->lock);
    self->outcome = e;
    if (e && e != GATE_EOS)
        gi_error_set(&self->error, gate_error());
    self->made = self->value.size;
    self->taken += taken;
    bool tell = !self->left && !self->told &&
                (e || !self->head || self->taken >= S_TELL_BYTES ||
                 self->made >= self->room);
    self->told |= tell;
    if (tell)
        o->share(o->ctx);
    gi_unlock(&self->lock);
    if (tell)
        o->tell(o->ctx);
}

static void s_step(gi_huge_unpack_t *self, bool end, size_t room) {
    s_chunk_t *c = self->current;
    if (!c) {
        gate_bytes_t none = {NULL, 0};
        s_settle(self, s_inflate(self, &none, end, room), 0);
        return;
    }
    size_t size = zmq_msg_size(&c->frame);
    const unsigned char *data = zmq_msg_data(&c->frame);
    gate_bytes_t in = {data + c->at, size - c->at};
    gate_err_t e = s_inflate(self, &in, false, room);
    bool paused = !e && self->value.size >= room;
    c->at = size - in.size;
    if (!paused) {
        gi_lock(&self->lock);
        self->current = NULL;
        gi_unlock(&self->lock);
        s_free_chunk(c);
    }
    s_settle(self, e, paused ? 0 : size);
}

static void s_run(gi_job_t *job) {
    gi_huge_unpack_t *self =
        (gi_huge_unpack_t *)(void *)((char *)job -
                                     offsetof(gi_huge_unpack_t, job));
    gi_latch_t *latch = self->options.latch;
    bool end;
    size_t room;
    while (s_take(self, &end, &room))
        s_step(self, end, room);
    s_drop(self);
    gi_latch_done(latch);
}

/* Sees to it that a job looks at the queue. */
static gate_err_t s_work(gi_huge_unpack_t *self) {
    const gi_huge_unpack_options_t *o = &self->options;
    gi_lock(&self->lock);
    bool start = !self->working;
    self->working = true;
    gi_unlock(&self->lock);
    if (!start)
        return GATE_OK;
    self->job = (gi_job_t){.run = s_run};
    gi_ref_take(&self->refs);
    gi_latch_add(o->latch);
    gate_err_t e = gi_pool_run(o->pool, &self->job);
    if (!e)
        return GATE_OK;
    gi_latch_done(o->latch);
    gi_lock(&self->lock);
    self->working = false;
    gi_unlock(&self->lock);
    (void)gi_err(e, "no thread inflates %s: %s", o->what, gate_err_text(e));
    s_drop(self); /* the job's: the owner's is there still */
    return e;
}

/* ---- the owner -----------------------------------------------------------*/
gate_err_t gi_huge_unpack_chunk(gi_huge_unpack_t *self, zmq_msg_t *frame) {
    uint64_t max = self->options.queued_max;
    s_chunk_t *c = gi_mem_alloc(sizeof *c);
    if (!c)
        return gi_err(GATE_NOMEM, "no memory for %s", self->options.what);
    c->next = NULL;
    c->at = 0;
    zmq_msg_init(&c->frame);
    zmq_msg_move(&c->frame, frame);
    gi_lock(&self->lock);
    *self->tail = c;
    self->tail = &c->next;
    self->queued += zmq_msg_size(&c->frame);
    self->n_queued++;
    /* tiny ones: what it takes to keep them counts as well */
    bool over = self->queued > max || self->n_queued * sizeof *c > max;
    gi_unlock(&self->lock);
    return over ? gi_err(GATE_TOOBIG,
                         "%s: more than %llu compressed bytes wait to be "
                         "inflated",
                         self->options.what, (unsigned long long)max)
                : s_work(self);
}

gate_err_t gi_huge_unpack_end(gi_huge_unpack_t *self) {
    gi_lock(&self->lock);
    self->end = true;
    gi_unlock(&self->lock);
    return s_work(self);
}

gate_err_t gi_huge_unpack_news(gi_huge_unpack_t *self, size_t *taken) {
    gi_lock(&self->lock);
    gate_err_t outcome = self->outcome;
    *taken = self->taken;
    self->told = false;
    self->taken = 0;
    gi_unlock(&self->lock);
    return outcome && outcome != GATE_EOS ? gi_error_publish(&self->error)
                                          : outcome;
}

size_t gi_huge_unpack_made(gi_huge_unpack_t *self) {
    gi_lock(&self->lock);
    size_t made = self->made;
    gi_unlock(&self->lock);
    return made;
}

gate_err_t gi_huge_unpack_allow(gi_huge_unpack_t *self, size_t room) {
    gi_lock(&self->lock);
    self->room = room ? room : SIZE_MAX;
    bool work = self->current || self->head || self->end;
    gi_unlock(&self->lock);
    return work ? s_work(self) : GATE_OK;
}

void *gi_huge_unpack_take(gi_huge_unpack_t *self, size_t *size) {
    return gi_buf_take(&self->value, size);
}
