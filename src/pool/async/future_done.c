/* SPDX-License-Identifier: BSD-3-Clause */
/* future_done.c -- a future's end: the completions, the cancellation that races
 * with them, and who is told of it. The rules are in future.c. */
#include "async/future_core.h"

#include <string.h>

#include "sync/clock.h"
#include "async/cq.h"
#include "sync/actor_thread.h"
#include "base/mem.h"
#include "base/err.h"
#include "sync/wait.h"

enum { S_LOOK_EVERY = 8 /* completions of a batch */ };

static _Thread_local gi_future_batch_t *s_batch; /* under way, or NULL */

/* ---- continuing ---------------------------------------------------------- */
/* Runs the callback here and gives up the user's reference. Nobody else may
 * look: the user gave it away. */
void gi_future_run_then(gate_future_t *self) {
    gate_err_t e;

    if (!(gi_future_state(self) & GI_FT_READ))
        gi_future_read_alone(self);
    e = self->error.story.code;
    if (e != GATE_OK)
        gi_error_publish(&self->error);
    self->done(self->done_ctx, e, e == GATE_OK ? self->value : NULL);
    gi_future_drop(self);
}

/* Drops it unrun: its queue is gone. */
void gi_future_drop_then(gate_future_t *self) { gi_future_drop(self); }

gate_future_t **gi_future_link(gate_future_t *self) { return &self->next; }

static void s_flush(gi_future_batch_t *b) {
    if (b->first)
        gi_cq_push(b->cq, b->first, b->last, b->n);
    b->first = b->last = NULL;
    b->n = 0;
}

static void s_wake_all(gi_future_batch_t *b) {
    while (b->n_waited)
        gi_wait_word_wake(b->waited[--b->n_waited]);
}

/* Old enough? A look at the clock is a tenth of a call. */
static void s_age(gi_future_batch_t *b) {
    int64_t now_ns;

    if (!b->age_ns || ++b->unseen < S_LOOK_EVERY)
        return;
    b->unseen = 0;
    now_ns = gi_clock_ns();
    if (now_ns < b->due_ns)
        return;
    b->due_ns = now_ns + b->age_ns;
    s_flush(b);
    s_wake_all(b);
}

static void s_chain(gi_future_batch_t *b, gate_future_t *self) {
    if (b->cq != self->cq)
        s_flush(b);
    b->cq = self->cq;
    self->next = NULL;
    if (b->first)
        *gi_future_link(b->last) = self;
    else
        b->first = self;
    b->last = self;
    b->n++;
    s_age(b);
}

void gi_future_batch_begin(gi_future_batch_t *b, int64_t age_ns) {
    b->cq = NULL;
    b->first = b->last = NULL;
    b->n = b->n_waited = 0;
    b->age_ns = age_ns;
    b->due_ns = age_ns ? gi_clock_ns() + age_ns : 0;
    b->unseen = 0;
    s_batch = b;
}

void gi_future_batch_end(gi_future_batch_t *b) {
    s_batch = NULL;
    s_flush(b);
    s_wake_all(b);
}

/* By address alone: it may be gone. */
static void s_wake(atomic_uint *word) {
    gi_future_batch_t *b = s_batch;

    if (!b) {
        gi_wait_word_wake(word);
        return;
    }
    if (b->n_waited == GI_FUTURE_WAKES)
        s_wake_all(b);
    b->waited[b->n_waited++] = word;
    s_age(b);
}

static void s_continue(gate_future_t *self) {
    gate_cq_t *cq = self->cq;

    if (!cq)
        gi_future_run_then(self);
    else if (s_batch)
        s_chain(s_batch, self);
    else
        gi_cq_push(cq, self, self, 1);
}

void gate_future_then(gate_future_t **self_p, gate_cq_t *cq, gate_done_fn *done,
                      void *ctx) {
    gate_future_t *self = self_p ? *self_p : NULL;

    if (gi_err_null(self, "gate_future_then"))
        return;
    if (!done) {
        gi_err_null_say("gate_future_then: the function");
        return;
    }
    *self_p = NULL;
    if (self->fixed) { /* shared by all: it cannot stand in a queue */
        gi_error_publish(&self->error);
        done(ctx, GATE_NOMEM, NULL);
        return;
    }
    if (self->born != gi_born_now() &&
        !(atomic_load(&self->state) & GI_FT_DONE)) {
        done(ctx, gi_future_unborn(), NULL);
        return; /* a copy, of a child of fork(): it is let go of */
    }
    self->done = done;
    self->done_ctx = ctx;
    self->cq = cq;
    if (cq)
        gi_cq_share(cq);
    if (atomic_fetch_or(&self->state, GI_FT_THEN) & GI_FT_DONE)
        s_continue(self);
}

/* ---- completing ---------------------------------------------------------- */
/* It is done; what is to be told by the state before that. */
static void s_tell(gate_future_t *self, unsigned old, unsigned refs) {
    if (old & GI_FT_WAITED)
        s_wake(&self->state);
    else if (s_batch && s_batch->n_waited)
        s_age(s_batch); /* who waits for one before it */
    if (old & GI_FT_THEN)
        s_continue(self);
    else if (refs && old / GI_FT_REF == refs)
        gi_future_die(self);
}

/* The result is in place. The completer's reference goes with it: it may not be
 * looked at afterwards. */
static void s_publish(gate_future_t *self) {
    unsigned bits =
        self->raw == GI_FT_NOT_RAW ? GI_FT_DONE | GI_FT_READ : GI_FT_DONE;

    s_tell(self, atomic_fetch_add(&self->state, bits - GI_FT_REF), 1);
}

/* The completer comes, once; true: the result is its to write. */
static bool s_claim(gate_future_t *self) {
    unsigned old =
        atomic_fetch_or(&self->state, GI_FT_COMPLETING | GI_FT_CLAIMED);

    if ((old & GI_FT_CANCELLING) &&
        atomic_load_explicit(&self->busy, memory_order_relaxed) !=
            gi_future_me())
        gi_future_sleep(self, 0, GI_FT_CANCELLING, INT64_MAX);
    return !(old & GI_FT_CLAIMED);
}

void gi_future_complete(gate_future_t *self, gate_value_t *value) {
    if (s_claim(self)) {
        self->value = value;
        s_publish(self);
    } else {
        gate_value_destroy(&value);
        gi_future_drop(self);
    }
}

static void s_complete_raw(gate_future_t *self, gi_future_raw_t raw,
                           const void *data, size_t size,
                           gi_release_fn *release, void *hint) {
    if (s_claim(self)) {
        self->raw = raw;
        self->data = data;
        self->size = size;
        self->release = release;
        self->hint = hint;
        s_publish(self);
    } else {
        if (release)
            release(hint);
        gi_future_drop(self);
    }
}

void gi_future_complete_reply(gate_future_t *self, const void *data,
                              size_t size, gi_release_fn *release, void *hint) {
    s_complete_raw(self, GI_FT_REPLY, data, size, release, hint);
}

void gi_future_complete_packed(gate_future_t *self, const void *data,
                               size_t size, gi_release_fn *release,
                               void *hint) {
    s_complete_raw(self, GI_FT_PACKED, data, size, release, hint);
}

void gi_future_complete_huge(gate_future_t *self, const void *data, size_t size,
                             gi_release_fn *release, void *hint) {
    s_complete_raw(self, GI_FT_HUGE, data, size, release, hint);
}

static void s_complete_small(gate_future_t *self, const void *data,
                             size_t size) {
    if (s_claim(self)) {
        memcpy(self->small, data, size);
        self->raw = GI_FT_SMALL;
        self->size = size;
        s_publish(self);
    } else {
        gi_future_drop(self);
    }
}

void gi_future_complete_copy(gate_future_t *self, const void *data,
                             size_t size) {
    static const gate_error_t no_memory = {GATE_NOMEM, "MemoryError",
                                           "no memory for a result", ""};
    void *copy;

    if (size <= self->small_room)
        s_complete_small(self, data, size);
    else if ((copy = gi_mem_dup(data, size)))
        s_complete_raw(self, GI_FT_HUGE, copy, size, gi_mem_free, copy);
    else
        gi_future_fail(self, &no_memory);
}

void gi_future_own(gate_future_t *self, gi_release_fn *release_owner,
                   void *owner) {
    self->release_owner = release_owner;
    self->owner = owner;
}

/* Claims and publishes in one step where nobody has asked to cancel. value is
 * the completer's alone until then: a canceller writes error. */
static bool s_claim_and_publish(gate_future_t *self) {
    unsigned old = atomic_load_explicit(&self->state, memory_order_acquire);
    unsigned bits = GI_FT_COMPLETING | GI_FT_CLAIMED | GI_FT_DONE | GI_FT_READ;

    while (!(old & (GI_FT_ASKED | GI_FT_CANCELLING | GI_FT_CLAIMED)))
        if (atomic_compare_exchange_weak(&self->state, &old,
                                         (old | bits) - GI_FT_REF)) {
            s_tell(self, old, 1);
            return true;
        }
    return false;
}

bool gi_future_complete_plain(gate_future_t *self, const void *data,
                              size_t size) {
    gate_value_t *value;

    if (size > self->small_room)
        return false;
    memcpy(self->small, data, size);
    value = gi_value_make_at(self->room, GI_FT_OBJECTS,
                             (gate_bytes_t){self->small, size}, self->settings,
                             gi_future_free, self);
    if (!value)
        return false;
    self->value = value;
    self->inlined = true;
    if (s_claim_and_publish(self))
        return true;
    if (s_claim(self)) {
        s_publish(self);
    } else {
        self->inlined = false; /* it was cancelled: nothing hangs on value */
        self->value = NULL;
        gi_future_drop(self);
    }
    return true;
}

void gi_future_fail(gate_future_t *self, const gate_error_t *story) {
    if (s_claim(self)) {
        gi_error_set(&self->error, story);
        s_publish(self);
    } else {
        gi_future_drop(self);
    }
}

/* ---- cancelling ---------------------------------------------------------- */
static void s_run_cancel(gate_future_t *self) {
    atomic_store_explicit(&self->busy, gi_future_me(), memory_order_relaxed);
    self->cancel(self->cancel_ctx, self);
    atomic_store_explicit(&self->busy, NULL, memory_order_relaxed);
}

void gate_future_cancel(gate_future_t *self) {
    if (gi_err_null(self, "gate_future_cancel"))
        return;
    unsigned old =
        atomic_fetch_or(&self->state, GI_FT_ASKED | GI_FT_CANCELLING);

    if (old & GI_FT_CANCELLING) /* another thread is at it */
        return;
    if (!(old & (GI_FT_ASKED | GI_FT_COMPLETING)) && self->cancel)
        s_run_cancel(self);
    old = atomic_fetch_or(&self->state, GI_FT_CLAIMED);
    if (!(old & GI_FT_CLAIMED)) {
        gi_error_story(&self->error, GATE_CANCELLED, NULL,
                       "cancelled by its caller", NULL);
        s_tell(self, atomic_fetch_or(&self->state, GI_FT_DONE | GI_FT_READ), 0);
    }
    old = atomic_fetch_and(&self->state, ~(unsigned)GI_FT_CANCELLING);
    if (old & GI_FT_WAITED)
        gi_wait_word_wake(&self->state);
}
