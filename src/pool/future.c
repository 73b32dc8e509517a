/* SPDX-License-Identifier: BSD-3-Clause */
/* future.c -- one word of bits decides every race: each side sets its bit by an
 * RMW and learns from the old value who came first.
 *
 *   user                     completer                       canceller
 *   WAITED, then sleeps      COMPLETING|CLAIMED              ASKED|CANCELLING
 *     on the word              lost CLAIMED: drop what came    COMPLETING was
 * set: THEN: leaves the           CANCELLING seen (of another     no callback
 *     callback to whoever      thread): wait until it is     callback; CLAIMED
 * won: sets DONE                cleared                         the answer is
 *                              result, then DONE               GATE_CANCELLED,
 * DONE CANCELLING cleared
 *
 * Law: the result is written by the one who won CLAIMED, before DONE (release),
 * and read after DONE was seen (acquire). The raw bytes of a reply are turned
 * into a value or an error once, by the first who looks, under `lock`. */
#include "future.h"

#include <pthread.h>
#include <stdatomic.h>

#include "actor_thread.h"
#include "cq.h"
#include "mem.h"
#include "ref.h"
#include "rpc.h"
#include "wait.h"

enum {
    S_WAITED = 1,      /* somebody may sleep on the word */
    S_THEN = 2,        /* done, ctx and cq are set */
    S_DONE = 4,        /* the result can be read */
    S_ASKED = 8,       /* cancel was called */
    S_CANCELLING = 16, /* the cancel callback may be running */
    S_COMPLETING = 32, /* the completer has come */
    S_CLAIMED = 64     /* somebody writes the result */
};

typedef enum s_raw { S_NOT_RAW, S_REPLY, S_PACKED, S_HUGE } s_raw_t;

struct gate_future {
    atomic_uint state; /* bits above; futex word */
    gi_ref_t ref;
    atomic_bool user; /* the user's reference is held */
    bool fixed;       /* static: not counted, not freed */
    const gate_settings_t *settings;
    gi_release_fn *release_owner;
    void *owner;
    void (*cancel)(void *ctx, gate_future_t *f);
    void *cancel_ctx;
    _Atomic(void *) canceller; /* s_me() of the thread in the callback */
    pthread_mutex_t lock;      /* of raw's decoding and of arena */
    s_raw_t raw;               /* how data is to be read; S_NOT_RAW: it was */
    const void *data;
    size_t size;
    gi_release_fn *release;
    void *hint;
    gate_value_t *value;
    gi_error_t error;
    gi_arena_t arena; /* strings that waits stored */
    gate_done_fn *done;
    void *done_ctx;
    gate_cq_t *cq;
    gate_future_t *next; /* in the completion queue */
};

static gate_future_t s_no_memory = {
    .state = S_DONE | S_CLAIMED | S_COMPLETING | S_ASKED,
    .ref = {1},
    .user = true,
    .fixed = true,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .error = {{GATE_NOMEM, "MemoryError", "no memory for a future", ""}, NULL},
};

/* One address per thread. */
static void *s_me(void) {
    static _Thread_local char me;

    return &me;
}

/* ---- life ---------------------------------------------------------------- */
gate_future_t *gi_future_new(const gate_settings_t *settings,
                             gi_release_fn *release_owner, void *owner) {
    gate_future_t *self = gi_mem_calloc(1, sizeof *self);

    if (!self)
        return NULL;
    atomic_init(&self->state, 0);
    atomic_init(&self->user, true);
    atomic_init(&self->canceller, NULL);
    gi_ref_init(&self->ref);
    gi_ref_take(&self->ref);
    pthread_mutex_init(&self->lock, NULL);
    gi_error_init(&self->error);
    self->settings = settings ? settings : gi_settings_defaults();
    self->release_owner = release_owner;
    self->owner = owner;
    return self;
}

gate_future_t *gi_future_failed(const gate_error_t *story) {
    gate_future_t *self = gi_future_new(NULL, NULL, NULL);

    if (!self)
        return &s_no_memory;
    gi_future_fail(self, story);
    return self;
}

void gi_future_on_cancel(gate_future_t *self,
                         void (*cancel)(void *ctx, gate_future_t *f),
                         void *ctx) {
    self->cancel = cancel;
    self->cancel_ctx = ctx;
}

static void s_release_raw(gate_future_t *self) {
    if (self->raw != S_NOT_RAW && self->release)
        self->release(self->hint);
    self->raw = S_NOT_RAW;
}

/* The settings were the owner's: nothing may be decoded afterwards. */
static void s_release_owner(gate_future_t *self) {
    gi_release_fn *release = self->release_owner;

    self->release_owner = NULL;
    if (release)
        release(self->owner);
}

static void s_drop(gate_future_t *self) {
    if (self->fixed || !gi_ref_drop(&self->ref))
        return;
    s_release_raw(self);
    gate_value_destroy(&self->value);
    gi_error_fini(&self->error);
    gi_arena_fini(&self->arena);
    pthread_mutex_destroy(&self->lock);
    s_release_owner(self);
    gi_mem_free(self);
}

void gate_future_destroy(gate_future_t **self_p) {
    gate_future_t *self = *self_p;

    if (!self)
        return;
    *self_p = NULL;
    if (!self->fixed)
        atomic_store(&self->user, false);
    s_drop(self);
}

bool gi_future_forgotten(const gate_future_t *self) {
    return !atomic_load(&self->user);
}

/* ---- reading the result -------------------------------------------------- */
/* After DONE. Turns raw bytes into value or error; the code. */
static gate_err_t s_read(gate_future_t *self) {
    static gate_err_t (*const take[])(
        const void *, size_t, gi_release_fn *, void *, const gate_settings_t *,
        gate_value_t **) = {[S_REPLY] = gi_rpc_take_reply,
                            [S_PACKED] = gi_value_take,
                            [S_HUGE] = gi_value_take_huge};
    s_raw_t raw;
    gate_err_t e;

    pthread_mutex_lock(&self->lock);
    raw = self->raw;
    if (raw != S_NOT_RAW) {
        self->raw = S_NOT_RAW; /* the bytes are taken in every case */
        e = take[raw](self->data, self->size, self->release, self->hint,
                      self->settings, &self->value);
        if (e != GATE_OK)
            gi_error_set(&self->error, gate_error());
    }
    e = self->error.story.code;
    pthread_mutex_unlock(&self->lock);
    return e;
}

static bool s_done(const gate_future_t *self) {
    return atomic_load_explicit(&((gate_future_t *)(uintptr_t)self)->state,
                                memory_order_acquire) &
           S_DONE;
}

/* Sleeps until a bit of `until` is set or `gone` (if not 0) is cleared. */
static bool s_sleep(gate_future_t *self, unsigned until, unsigned gone,
                    int64_t deadline_ns) {
    unsigned state = atomic_fetch_or(&self->state, S_WAITED) | S_WAITED;

    while (!(state & until) && !(gone && !(state & gone))) {
        if (!gi_wait_word(&self->state, state, deadline_ns))
            return s_done(self);
        state = atomic_load_explicit(&self->state, memory_order_acquire);
    }
    return true;
}

gate_err_t gate_future_wait_(gate_future_t *self, int64_t timeout_ms,
                             gate_slot_t out) {
    gate_err_t e;

    if (!s_done(self)) {
        if (gi_actor_thread())
            return gi_err(GATE_WOULDBLOCK,
                          "waiting for a future on the thread of actor %s",
                          gi_actor_thread());
        if (!s_sleep(self, S_DONE, 0, gi_wait_deadline(timeout_ms)))
            return gi_err(GATE_TIMEOUT, "no answer within %lld ms",
                          (long long)timeout_ms);
    }
    e = s_read(self);
    if (e != GATE_OK)
        return gi_error_publish(&self->error);
    if (!self->value) /* completed with nothing: nothing to store */
        return GATE_OK;
    pthread_mutex_lock(&self->lock); /* of the arena */
    e = gi_slot_store(&out, gate_value_object(self->value), self->value,
                      &self->arena, "result");
    pthread_mutex_unlock(&self->lock);
    return e;
}

bool gate_future_ready(const gate_future_t *self) { return s_done(self); }

const gate_error_t *gate_future_error(const gate_future_t *self) {
    static const gate_error_t none = {GATE_OK, "", "", ""};

    if (!s_done(self))
        return &none;
    s_read((gate_future_t *)(uintptr_t)self);
    return &self->error.story;
}

/* ---- continuing ---------------------------------------------------------- */
/* Runs the callback here and gives up the user's reference. */
void gi_future_run_then(gate_future_t *self) {
    gate_err_t e = s_read(self);

    if (e != GATE_OK)
        gi_error_publish(&self->error);
    self->done(self->done_ctx, e, e == GATE_OK ? self->value : NULL);
    atomic_store(&self->user, false);
    s_drop(self);
}

/* Drops it unrun: its queue is gone. */
void gi_future_drop_then(gate_future_t *self) {
    atomic_store(&self->user, false);
    s_drop(self);
}

gate_future_t **gi_future_link(gate_future_t *self) { return &self->next; }

static void s_continue(gate_future_t *self) {
    gate_cq_t *cq = self->cq;

    if (!cq)
        gi_future_run_then(self);
    else
        gi_cq_push(cq, self);
}

void gate_future_then(gate_future_t **self_p, gate_cq_t *cq, gate_done_fn *done,
                      void *ctx) {
    gate_future_t *self = *self_p;

    *self_p = NULL;
    if (self->fixed) { /* shared by all: it cannot stand in a queue */
        gi_error_publish(&self->error);
        done(ctx, GATE_NOMEM, NULL);
        return;
    }
    self->done = done;
    self->done_ctx = ctx;
    self->cq = cq;
    if (cq)
        gi_cq_share(cq);
    if (atomic_fetch_or(&self->state, S_THEN) & S_DONE)
        s_continue(self);
}

/* ---- completing ---------------------------------------------------------- */
/* The result is in place. */
static void s_publish(gate_future_t *self) {
    unsigned old = atomic_fetch_or(&self->state, S_DONE);

    if (old & S_WAITED)
        gi_wait_word_wake(&self->state);
    if (old & S_THEN)
        s_continue(self);
}

/* The completer comes, once; true: the result is its to write. */
static bool s_claim(gate_future_t *self) {
    unsigned old = atomic_fetch_or(&self->state, S_COMPLETING | S_CLAIMED);

    if ((old & S_CANCELLING) &&
        atomic_load_explicit(&self->canceller, memory_order_relaxed) != s_me())
        s_sleep(self, 0, S_CANCELLING, INT64_MAX);
    return !(old & S_CLAIMED);
}

void gi_future_complete(gate_future_t *self, gate_value_t *value) {
    if (s_claim(self)) {
        self->value = value;
        s_publish(self);
    } else {
        gate_value_destroy(&value);
    }
    s_drop(self);
}

static void s_complete_raw(gate_future_t *self, s_raw_t raw, const void *data,
                           size_t size, gi_release_fn *release, void *hint) {
    if (s_claim(self)) {
        self->raw = raw;
        self->data = data;
        self->size = size;
        self->release = release;
        self->hint = hint;
        s_publish(self);
    } else if (release) {
        release(hint);
    }
    s_drop(self);
}

void gi_future_complete_reply(gate_future_t *self, const void *data,
                              size_t size, gi_release_fn *release, void *hint) {
    s_complete_raw(self, S_REPLY, data, size, release, hint);
}

void gi_future_complete_packed(gate_future_t *self, const void *data,
                               size_t size, gi_release_fn *release,
                               void *hint) {
    s_complete_raw(self, S_PACKED, data, size, release, hint);
}

void gi_future_complete_huge(gate_future_t *self, const void *data, size_t size,
                             gi_release_fn *release, void *hint) {
    s_complete_raw(self, S_HUGE, data, size, release, hint);
}

void gi_future_fail(gate_future_t *self, const gate_error_t *story) {
    if (s_claim(self)) {
        gi_error_set(&self->error, story);
        s_publish(self);
    }
    s_drop(self);
}

/* ---- cancelling ---------------------------------------------------------- */
static void s_run_cancel(gate_future_t *self) {
    atomic_store_explicit(&self->canceller, s_me(), memory_order_relaxed);
    self->cancel(self->cancel_ctx, self);
    atomic_store_explicit(&self->canceller, NULL, memory_order_relaxed);
}

void gate_future_cancel(gate_future_t *self) {
    unsigned old = atomic_fetch_or(&self->state, S_ASKED | S_CANCELLING);

    if (old & S_CANCELLING) /* another thread is at it */
        return;
    if (!(old & (S_ASKED | S_COMPLETING)) && self->cancel)
        s_run_cancel(self);
    old = atomic_fetch_or(&self->state, S_CLAIMED);
    if (!(old & S_CLAIMED)) {
        gi_error_story(&self->error, GATE_CANCELLED, NULL,
                       "cancelled by its caller", NULL);
        s_publish(self);
    }
    old = atomic_fetch_and(&self->state, ~(unsigned)S_CANCELLING);
    if (old & S_WAITED)
        gi_wait_word_wake(&self->state);
}

/* ---- synchronous calls --------------------------------------------------- */
static _Thread_local gate_future_t *s_last; /* its strings are still in use */
static pthread_key_t s_key;
static bool s_key_made;
static pthread_once_t s_key_once = PTHREAD_ONCE_INIT;

static void s_forget_last(void *last) {
    gate_future_t *f = last;

    s_last = NULL;
    gate_future_destroy(&f);
}

static void s_make_key(void) {
    s_key_made = pthread_key_create(&s_key, s_forget_last) == 0;
}

gate_err_t gi_future_wait_call(gate_future_t **f, int64_t timeout_ms,
                               gate_slot_t out) {
    gate_err_t e = gate_future_wait_(*f, timeout_ms, out);

    /* kept for its strings alone, it must not keep a runtime alive */
    if (!(*f)->fixed && gate_future_ready(*f))
        s_release_owner(*f);
    pthread_once(&s_key_once, s_make_key);
    gate_future_destroy(&s_last);
    s_last = *f;
    *f = NULL;
    if (s_key_made)
        pthread_setspecific(s_key, s_last);
    return e;
}
