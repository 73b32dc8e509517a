/* SPDX-License-Identifier: BSD-3-Clause */
/* stream.c -- a ring of packed items under one mutex. The reader decodes, so
 * that the producer (an actor, as a rule) only appends.
 *
 * The producer's callbacks (credit, stop) run on the reader's thread without
 * the mutex, marked by `calling`; release waits until no other thread is
 * inside. */
#include "async/stream_core.h"

#include <string.h>
#include <unistd.h>

#include "sync/actor_thread.h"
#include "sync/clock.h"
#include "base/mem.h"
#include "base/err.h"
#include "wire/rpc.h"
#include "sync/wait.h"

#define S_ROOM_MIN 16

static void *s_me(void) {
    static _Thread_local char me;

    return &me;
}

/* ---- life ---------------------------------------------------------------- */
gate_stream_t *gi_stream_new(const gate_settings_t *settings,
                             const gi_stream_options_t *options) {
    gate_stream_t *self = gi_mem_calloc(1, sizeof *self);

    if (!self)
        return NULL;
    self->options = *options;
    if (!self->options.max_items)
        self->options.max_items = SIZE_MAX;
    if (!self->options.max_bytes)
        self->options.max_bytes = SIZE_MAX;
    if (!self->options.report_items)
        self->options.report_items = self->options.max_items / 4;
    if (!self->options.report_bytes)
        self->options.report_bytes = self->options.max_bytes / 4;
    self->settings = settings ? settings : gi_settings_defaults();
    self->fd = -1;
    self->born = gi_born_now();
    gi_ref_init(&self->ref);
    gi_ref_take(&self->ref);
    gi_error_init(&self->error);
    gi_error_init(&self->late);
    pthread_mutex_init(&self->mutex, NULL);
    gi_wait_cond_init(&self->change);
    return self;
}

static void s_free_item(const gi_stream_item_t *item) {
    if (item->release)
        item->release(item->hint);
}

static void s_free_items(gate_stream_t *self) {
    for (; self->count; self->count--)
        s_free_item(&self->ring[self->head++ & (self->room - 1)]);
    self->bytes = 0;
}

static void s_drop(gate_stream_t *self) {
    if (!gi_ref_drop(&self->ref))
        return;
    s_free_items(self);
    gi_mem_free(self->ring);
    gi_error_fini(&self->error);
    gi_error_fini(&self->late);
    gate_value_destroy(&self->value);
    gi_arena_fini(&self->arena);
    gi_stream_reader_fini(self);
    if (self->fd >= 0)
        close(self->fd);
    pthread_cond_destroy(&self->change);
    pthread_mutex_destroy(&self->mutex);
    if (self->options.release_owner)
        self->options.release_owner(self->options.owner);
    gi_mem_free(self);
}

/* ---- with the mutex held ------------------------------------------------- */
/* Something changed for the reader: the descriptor follows, a waiter looks. */
static void s_tell_reader(gate_stream_t *self) {
    bool readable = self->count || self->ended;

    if (self->fd >= 0 && readable != self->rung) {
        if (readable)
            gi_wait_ring(self->fd);
        else
            gi_wait_hush(self->fd);
        self->rung = readable;
    }
    if (readable && self->reading)
        pthread_cond_broadcast(&self->change);
}

static bool s_grow(gate_stream_t *self) {
    size_t room = self->room ? 2 * self->room : S_ROOM_MIN, i;
    gi_stream_item_t *ring = gi_mem_alloc(room * sizeof *ring);

    if (!ring)
        return false;
    for (i = 0; i < self->count; i++)
        ring[i] = self->ring[(self->head + i) & (self->room - 1)];
    gi_mem_free(self->ring);
    self->ring = ring;
    self->room = room;
    self->head = 0;
    return true;
}

static gate_err_t s_append(gate_stream_t *self, const gi_stream_item_t *item) {
    if (self->reader_gone || self->stopped)
        return GATE_CANCELLED;
    if (self->ended)
        return GATE_CLOSED;
    if (self->count >= self->options.max_items ||
        self->bytes >= self->options.max_bytes)
        return GATE_BUSY;
    if (self->count == self->room && !s_grow(self))
        return GATE_NOMEM;
    if (!self->count && !self->reading)
        self->waiting_since_ns = gi_clock_coarse_ns();
    self->ring[(self->head + self->count++) & (self->room - 1)] = *item;
    self->bytes += item->size;
    self->wire += item->size;
    return GATE_OK;
}

static void s_end(gate_stream_t *self, const gate_error_t *story) {
    if (self->ended)
        return;
    self->ended = true;
    if (story)
        gi_error_set(&self->error, story);
    s_tell_reader(self);
}

/* Calls the producer without the mutex; credit unless stop is wanted. */
static void s_call_producer(gate_stream_t *self, bool stop, size_t items,
                            size_t bytes) {
    const gi_stream_ops_t *ops = self->options.ops;

    if (!ops || self->producer_gone || !(stop ? !!ops->stop : !!ops->credit))
        return;
    self->calling = s_me();
    pthread_mutex_unlock(&self->mutex);
    if (stop)
        ops->stop(self->options.ctx);
    else
        ops->credit(self->options.ctx, items, bytes);
    pthread_mutex_lock(&self->mutex);
    self->calling = NULL;
    pthread_cond_broadcast(&self->change);
}

static void s_stop_producer(gate_stream_t *self) {
    if (self->stopped || self->ended)
        return;
    self->stopped = true;
    s_call_producer(self, true, 0, 0);
}

/* ---- the producer -------------------------------------------------------- */
static gate_err_t s_push(gate_stream_t *self, const gi_stream_item_t *item) {
    gate_err_t e;

    pthread_mutex_lock(&self->mutex);
    e = s_append(self, item);
    if (e == GATE_OK) {
        if (item->reply)
            self->ended = true;
        s_tell_reader(self);
    }
    pthread_mutex_unlock(&self->mutex);
    if (e != GATE_OK)
        s_free_item(item);
    return e;
}

gate_err_t gi_stream_push(gate_stream_t *self, const void *data, size_t size,
                          gi_release_fn *release, void *hint, size_t index) {
    gi_stream_item_t item = {data, size, release, hint, index, false, false};

    return s_push(self, &item);
}

gate_err_t gi_stream_push_error(gate_stream_t *self, const gi_error_t *error,
                                gi_release_fn *release, void *hint,
                                size_t index) {
    gi_stream_item_t item = {error, 0, release, hint, index, false, true};

    return s_push(self, &item);
}

void gi_stream_push_reply(gate_stream_t *self, const void *data, size_t size,
                          gi_release_fn *release, void *hint) {
    gi_stream_item_t item = {data, size, release, hint, 0, true, false};
    gate_error_t story = {GATE_OK, NULL, NULL, ""};

    story.code = s_push(self, &item);
    if (story.code == GATE_OK)
        return;
    story.cls = gi_err_class(story.code);
    story.text = gate_err_text(story.code);
    gi_stream_fail(self, &story);
}

void gi_stream_end(gate_stream_t *self) {
    pthread_mutex_lock(&self->mutex);
    s_end(self, NULL);
    pthread_mutex_unlock(&self->mutex);
}

void gi_stream_fail(gate_stream_t *self, const gate_error_t *story) {
    pthread_mutex_lock(&self->mutex);
    s_end(self, story);
    pthread_mutex_unlock(&self->mutex);
}

void gi_stream_release(gate_stream_t **self_p) {
    static const gate_error_t closed = {
        GATE_CLOSED, "RuntimeError", "the producer of the stream has gone", ""};
    gate_stream_t *self = *self_p;

    if (!self)
        return;
    *self_p = NULL;
    pthread_mutex_lock(&self->mutex);
    s_end(self, &closed);
    self->producer_gone = true;
    while (self->calling && self->calling != s_me())
        pthread_cond_wait(&self->change, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    s_drop(self);
}

int64_t gi_stream_idle_ms(gate_stream_t *self, int64_t now_ms) {
    int64_t idle_ms = 0;

    pthread_mutex_lock(&self->mutex);
    if (self->count && !self->reading && !self->reader_gone)
        idle_ms = now_ms - self->waiting_since_ns / 1000000;
    pthread_mutex_unlock(&self->mutex);
    return idle_ms > 0 ? idle_ms : 0;
}

bool gi_stream_abandoned(const gate_stream_t *self) {
    gate_stream_t *stream = (gate_stream_t *)(uintptr_t)self;
    bool gone;

    pthread_mutex_lock(&stream->mutex);
    gone = stream->reader_gone;
    pthread_mutex_unlock(&stream->mutex);
    return gone;
}

/* ---- the reader ---------------------------------------------------------- */
void gate_stream_destroy(gate_stream_t **self_p) {
    gate_stream_t *self = self_p ? *self_p : NULL;

    if (!self)
        return;
    *self_p = NULL;
    pthread_mutex_lock(&self->mutex);
    self->reader_gone = true;
    s_stop_producer(self);
    s_free_items(self);
    pthread_mutex_unlock(&self->mutex);
    s_drop(self);
}

static bool s_credit_due(const gate_stream_t *self) {
    return self->taken_items &&
           (!self->count || self->taken_items >= self->options.report_items ||
            self->taken_bytes >= self->options.report_bytes);
}

/* Waits for an item or the end. */
gate_err_t gi_stream_await(gate_stream_t *self, int64_t timeout_ms) {
    int64_t deadline_ns;
    bool in_time = true;

    if (self->count || self->ended)
        return GATE_OK;
    if (timeout_ms == 0)
        return GATE_BUSY;
    if (gi_actor_thread())
        return GATE_WOULDBLOCK;
    deadline_ns = gi_wait_deadline(timeout_ms);
    self->reading = true;
    while (!self->count && !self->ended && in_time)
        in_time = gi_wait_cond(&self->change, &self->mutex, deadline_ns);
    self->reading = false;
    self->waiting_since_ns = gi_clock_coarse_ns(); /* it may only have looked */
    return self->count || self->ended ? GATE_OK : GATE_TIMEOUT;
}

/* Takes the next item, with the mutex held; reports credit. */
gate_err_t gi_stream_take(gate_stream_t *self, gi_stream_item_t *item) {
    size_t items, bytes;

    if (!self->count)
        return self->error.story.code != GATE_OK ? self->error.story.code
                                                 : GATE_EOS;
    *item = self->ring[self->head++ & (self->room - 1)];
    self->count--;
    self->bytes -= item->size;
    self->waiting_since_ns = gi_clock_coarse_ns();
    self->taken_items++;
    self->taken_bytes += item->size;
    s_tell_reader(self);
    if (s_credit_due(self) && !self->ended) {
        items = self->taken_items;
        bytes = self->taken_bytes;
        self->taken_items = self->taken_bytes = 0;
        s_call_producer(self, false, items, bytes);
    }
    return GATE_OK;
}

void gi_stream_break(gate_stream_t *self) {
    pthread_mutex_lock(&self->mutex);
    s_stop_producer(self);
    self->ended = true;
    gi_error_set(&self->error, gate_error());
    s_free_items(self);
    s_tell_reader(self);
    pthread_mutex_unlock(&self->mutex);
}

/* Bytes to the reader's value. What cannot be decoded ends the stream. */
static gate_err_t s_decode(gate_stream_t *self, const gi_stream_item_t *item) {
    gate_err_t e;

    self->index = item->index;
    self->single = item->reply;
    if (item->failed) { /* that one alone */
        e = gi_error_publish(item->data);
        s_free_item(item);
        return e;
    }
    e = item->reply
            ? gi_rpc_take_reply(item->data, item->size, item->release,
                                item->hint, self->settings, &self->value)
            : (self->options.results ? gi_value_take_huge : gi_value_take)(
                  item->data, item->size, item->release, item->hint,
                  self->settings, &self->value);
    if (e != GATE_OK)
        gi_stream_break(self);
    return e;
}

/* What the producer knows of why nothing comes: ": ..." or nothing. */
static void s_trouble(gate_stream_t *self, char *text, size_t room) {
    const gi_stream_ops_t *ops = self->options.ops;

    *text = 0;
    pthread_mutex_lock(&self->mutex);
    if (ops && ops->trouble && !self->producer_gone) {
        self->calling = s_me();
        pthread_mutex_unlock(&self->mutex);
        ops->trouble(self->options.ctx, text, room);
        pthread_mutex_lock(&self->mutex);
        self->calling = NULL;
        pthread_cond_broadcast(&self->change);
    }
    pthread_mutex_unlock(&self->mutex);
}

/* Nobody knows yet what it is, while nothing came. */
static const char *s_awaited(gate_stream_t *self) {
    bool any;

    pthread_mutex_lock(&self->mutex);
    any = self->wire > 0;
    pthread_mutex_unlock(&self->mutex);
    return self->huge ? "chunk of the huge result"
           : any      ? "further item of the stream"
                      : "answer";
}

/* Our own story, not the producer's. */
gate_err_t gi_stream_tell_wait(gate_stream_t *self, gate_err_t e,
                               int64_t timeout_ms) {
    char why[300];

    if (e == GATE_TIMEOUT) {
        s_trouble(self, why, sizeof why);
        (void)gi_err(e, "no %s within %lld ms%s%s", s_awaited(self),
                     (long long)timeout_ms, *why ? ": " : "", why);
        gi_error_set(&self->late, gate_error());
    }
    if (e == GATE_WOULDBLOCK)
        return gi_err(e, "waiting for a stream on the thread of actor %s",
                      gi_actor_thread());
    return e; /* GATE_BUSY: not a failure, no story */
}

/* One item, or a huge answer whole, as self->value. */
static gate_err_t s_value(gate_stream_t *self, int64_t timeout_ms) {
    gi_stream_item_t item;
    gate_err_t waited, e;
    bool huge;

    pthread_mutex_lock(&self->mutex);
    waited = gi_stream_await(self, timeout_ms);
    huge = self->huge;
    e = waited != GATE_OK || huge ? waited : gi_stream_take(self, &item);
    pthread_mutex_unlock(&self->mutex);
    if (waited != GATE_OK)
        return gi_stream_tell_wait(self, waited, timeout_ms);
    if (huge)
        return gi_stream_whole(self, timeout_ms);
    if (e != GATE_OK)
        return e == GATE_EOS ? e : gi_error_publish(&self->error);
    return s_decode(self, &item);
}

static gate_err_t s_next(gate_stream_t *self, int64_t timeout_ms,
                         gate_slot_t out) {
    gate_err_t e = GATE_OK;

    if (gi_stream_unborn(self))
        return GATE_CLOSED;
    if (self->reader.plain.size && self->reader.done)
        return gi_err(GATE_BADARG, "the answer is being read as bytes");
    bool looked = self->reader.plain.size > 0; /* its value is here already */
    self->reader.plain = (gate_bytes_t){NULL, 0};
    if (!looked)
        gate_value_destroy(&self->value);
    gi_arena_fini(&self->arena);
    self->late.story.code = GATE_OK;
    if (!looked)
        e = s_value(self, timeout_ms);
    if (e != GATE_OK)
        return e;
    return gi_slot_store(&out, gate_value_object(self->value), self->value,
                         &self->arena, "item");
}

gate_err_t gate_stream_next_(gate_stream_t *self, gate_slot_t out) {
    if (gi_err_null(self, "gate_stream_next_"))
        return GATE_BADARG;
    int64_t ms = self->options.timeout_ms;
    return s_next(self, ms == 0 ? 1 : ms, out);
}

gate_err_t gate_stream_try_(gate_stream_t *self, gate_slot_t out) {
    if (gi_err_null(self, "gate_stream_try_"))
        return GATE_BADARG;
    return s_next(self, 0, out);
}

int gate_stream_fd(gate_stream_t *self) {
    if (gi_err_null(self, "gate_stream_fd") || gi_stream_unborn(self))
        return -1;
    pthread_mutex_lock(&self->mutex);
    if (self->fd < 0) {
        self->fd = gi_wait_eventfd();
        self->rung = false;
        s_tell_reader(self);
    }
    pthread_mutex_unlock(&self->mutex);
    return self->fd;
}

size_t gate_stream_index(const gate_stream_t *self) {
    if (gi_err_null(self, "gate_stream_index"))
        return 0;
    return self->index;
}

bool gate_stream_single(const gate_stream_t *self) {
    return !gi_err_null(self, "gate_stream_single") && self->single;
}

const gate_error_t *gate_stream_error(const gate_stream_t *self) {
    if (gi_err_null(self, "gate_stream_error"))
        return gate_error();
    static const gate_error_t none = {GATE_OK, "", "", ""};
    gate_stream_t *stream = (gate_stream_t *)(uintptr_t)self;
    bool over;

    if (!self)
        return &none;
    /* The error counts when the reader has come to it, not before. */
    pthread_mutex_lock(&stream->mutex);
    over = stream->ended && !stream->count;
    pthread_mutex_unlock(&stream->mutex);
    return over                                    ? &self->error.story
           : self->late.story.code == GATE_TIMEOUT ? &self->late.story
                                                   : &none;
}
