/* SPDX-License-Identifier: BSD-3-Clause */
/* future.c -- one word of bits decides every race: each side sets its bit by an
 * RMW and learns from the old value who came first. The same word counts the
 * references, so that telling and letting go are one step.
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
 * into a value or an error once, by the first who sets READING; others sleep
 * until READ (release; acquire). No lock is held meanwhile: hooks may run.
 *
 * Memory orders: RMWs of the word are acquire and release, so the last of them
 * sees all that came before; that is enough for who frees. Who finds one
 * reference left holds it itself: nobody can take another, and a load (acquire)
 * takes the place of the RMW. DONE and the completer's reference go in one
 * addition (each bit is set once, so adding is setting), after which the
 * future may be gone: waiters are woken by its address alone. A word of other
 * use at that address sees a wake-up too many, which every futex user must
 * bear anyway. */
#include "future.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "actor_thread.h"
#include "arena.h"
#include "block.h"
#include "clock.h"
#include "cq.h"
#include "mem.h"
#include "rpc.h"
#include "wait.h"

enum {
    S_WAITED = 1,      /* somebody may sleep on the word */
    S_THEN = 2,        /* done, ctx and cq are set */
    S_DONE = 4,        /* the result can be read */
    S_ASKED = 8,       /* cancel was called */
    S_CANCELLING = 16, /* the cancel callback may be running */
    S_COMPLETING = 32, /* the completer has come */
    S_CLAIMED = 64,    /* somebody writes the result */
    S_READING = 128,   /* somebody turns raw into value or error */
    S_READ = 256,      /* value and error stand */
    S_REF = 1024       /* one reference */
};

typedef enum s_raw {
    S_NOT_RAW,
    S_REPLY,
    S_PACKED,
    S_HUGE,
    S_SMALL /* packed, in small, where the value will lie as well */
} s_raw_t;

enum {
    S_OBJECTS = 2,   /* of a value in the block */
    S_LOOK_EVERY = 8 /* completions of a batch */
};

struct gate_future {
    atomic_uint state;   /* bits above, references; futex word */
    unsigned size_bytes; /* of the block */
    unsigned small_room;
    bool fixed;   /* static: not counted, not freed */
    bool brief;   /* its answer comes soon */
    bool inlined; /* value lies in room */
    s_raw_t raw;  /* how data is to be read; S_NOT_RAW: it was */
    const gate_settings_t *settings;
    gi_release_fn *release_owner;
    void *owner;
    void (*cancel)(void *ctx, gate_future_t *f);
    void *cancel_ctx;
    _Atomic(void *) busy; /* s_me() of the thread in a cancel or a hook */
    const void *data;
    size_t size;
    gi_release_fn *release;
    void *hint;
    gate_value_t *value;
    gi_error_t error;
    _Atomic(gi_arena_block_t *) strings; /* that waits stored */
    gate_done_fn *done;
    void *done_ctx;
    gate_cq_t *cq;
    gate_future_t *next;  /* in the completion queue */
    unsigned char *small; /* behind extra */
    _Alignas(16) unsigned char room[GI_VALUE_ROOM(S_OBJECTS)];
    max_align_t extra[]; /* the completer's */
};

static _Thread_local gi_future_batch_t *s_batch; /* under way, or NULL */

static gate_future_t s_no_memory = {
    .state = S_REF | S_DONE | S_READ | S_CLAIMED | S_COMPLETING | S_ASKED,
    .fixed = true,
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
    return gi_future_new_with(settings, release_owner, owner, 0);
}

void *gi_future_extra(gate_future_t *self) { return self->extra; }

gate_future_t *gi_future_new_with(const gate_settings_t *settings,
                                  gi_release_fn *release_owner, void *owner,
                                  size_t extra) {
    size_t head = sizeof(gate_future_t) + ((extra + 15) & ~(size_t)15);
    size_t size = head + GI_FUTURE_SMALL;
    gate_future_t *self;

    if (extra > UINT32_MAX / 2)
        return NULL;
    if (size < GI_BLOCK_BYTES)
        size = GI_BLOCK_BYTES;
    self = gi_block_take(size);
    if (!self)
        return NULL;
    gi_mem_zero(self, offsetof(gate_future_t, room));
    atomic_init(&self->state, 2 * S_REF);
    atomic_init(&self->busy, NULL);
    atomic_init(&self->strings, NULL);
    gi_error_init(&self->error);
    self->size_bytes = (unsigned)size;
    self->small = (unsigned char *)self + head;
    self->small_room = (unsigned)(size - head);
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

void gi_future_brief(gate_future_t *self) { self->brief = true; }

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

static void s_free(void *arg) {
    gate_future_t *self = arg;

    gi_block_give(self, self->size_bytes);
}

/* The last reference has gone; the block stays while its value is in use. The
 * owner goes last: what the value borrows may be its. */
static void s_die(gate_future_t *self) {
    gi_arena_t strings = {atomic_load(&self->strings)};
    gi_release_fn *release = self->release_owner;
    void *owner = self->owner;
    gate_value_t *value = self->value;
    bool inlined = self->inlined;

    s_release_raw(self);
    gi_error_fini(&self->error);
    gi_arena_fini(&strings);
    gate_value_destroy(&value); /* frees the block if it lies in it */
    if (!inlined)
        s_free(self);
    if (release)
        release(owner);
}

static void s_drop(gate_future_t *self) {
    if (self->fixed)
        return;
    if (atomic_load_explicit(&self->state, memory_order_acquire) / S_REF == 1 ||
        atomic_fetch_sub_explicit(&self->state, S_REF, memory_order_acq_rel) /
                S_REF ==
            1)
        s_die(self);
}

void gi_future_hold(gate_future_t *self) {
    atomic_fetch_add_explicit(&self->state, S_REF, memory_order_relaxed);
}

void gi_future_drop(gate_future_t *self) { s_drop(self); }

void gate_future_destroy(gate_future_t **self_p) {
    gate_future_t *self = *self_p;

    if (!self)
        return;
    *self_p = NULL;
    s_drop(self);
}

/* ---- reading the result -------------------------------------------------- */
static gate_err_t s_decode_small(gate_future_t *self) {
    self->value = gi_value_make_at(self->room, S_OBJECTS,
                                   (gate_bytes_t){self->small, self->size},
                                   self->settings, s_free, self);
    self->inlined = self->value != NULL;
    if (self->inlined)
        return GATE_OK;
    return gate_value_decode(self->small, self->size, self->settings,
                             &self->value);
}

static gate_err_t s_decode(gate_future_t *self, s_raw_t raw) {
    if (raw == S_REPLY)
        return gi_rpc_take_reply(self->data, self->size, self->release,
                                 self->hint, self->settings, &self->value);
    if (raw == S_HUGE)
        return gi_value_take_huge(self->data, self->size, self->release,
                                  self->hint, self->settings, &self->value);
    if (raw == S_SMALL)
        return s_decode_small(self);
    return gi_value_take(self->data, self->size, self->release, self->hint,
                         self->settings, &self->value);
}

static unsigned s_state(const gate_future_t *self) {
    return atomic_load_explicit(&((gate_future_t *)(uintptr_t)self)->state,
                                memory_order_acquire);
}

static bool s_done(const gate_future_t *self) { return s_state(self) & S_DONE; }

/* Sleeps until a bit of `until` is set or `gone` (if not 0) is cleared. */
static bool s_sleep(gate_future_t *self, unsigned until, unsigned gone,
                    int64_t deadline_ns) {
    unsigned state = atomic_fetch_or(&self->state, S_WAITED) | S_WAITED;

    while (!(state & until) && !(gone && !(state & gone))) {
        if (!gi_wait_word(&self->state, state, deadline_ns))
            return s_state(self) & until;
        state = s_state(self);
    }
    return true;
}

/* Turns raw bytes into value or error; by one thread, and no other reads. */
static void s_read_alone(gate_future_t *self) {
    s_raw_t raw = self->raw;

    self->raw = S_NOT_RAW; /* the bytes are taken in every case */
    if (raw != S_NOT_RAW && s_decode(self, raw) != GATE_OK)
        gi_error_set(&self->error, gate_error());
}

static gate_err_t s_read_first(gate_future_t *self) {
    unsigned old = atomic_fetch_or(&self->state, S_READING);

    if (!(old & S_READING)) {
        atomic_store_explicit(&self->busy, s_me(), memory_order_relaxed);
        s_read_alone(self);
        atomic_store_explicit(&self->busy, NULL, memory_order_relaxed);
        old = atomic_fetch_or(&self->state, S_READ);
        if (old & S_WAITED)
            gi_wait_word_wake(&self->state);
    } else if (atomic_load_explicit(&self->busy, memory_order_relaxed) ==
               s_me()) {
        return gi_err(GATE_WOULDBLOCK,
                      "a msgpack hook waits for the result it is part of");
    } else {
        s_sleep(self, S_READ, 0, INT64_MAX);
    }
    return GATE_OK;
}

/* After DONE. GATE_OK: value and error stand. */
static gate_err_t s_read(gate_future_t *self) {
    return s_state(self) & S_READ ? GATE_OK : s_read_first(self);
}

/* Hangs the strings of one wait onto the future, which frees them. */
static void s_keep_strings(gate_future_t *self, gi_arena_t *arena) {
    gi_arena_block_t *first = arena->blocks, *last = first;

    if (!first)
        return;
    while (last->next)
        last = last->next;
    last->next = atomic_load(&self->strings);
    while (!atomic_compare_exchange_weak(&self->strings, &last->next, first))
        ;
}

static gate_err_t s_store(gate_future_t *self, gate_slot_t out) {
    gi_arena_t arena = {0};
    gate_err_t e = s_read(self);

    if (e != GATE_OK)
        return e;
    if (self->error.story.code != GATE_OK)
        return gi_error_publish(&self->error);
    if (!self->value) /* completed with nothing: nothing to store */
        return GATE_OK;
    e = gi_slot_store(&out, gate_value_object(self->value), self->value, &arena,
                      "result");
    s_keep_strings(self, &arena);
    return e;
}

/* True: it came while this thread lingered. */
static bool s_came_soon(gate_future_t *self, int64_t timeout_ms) {
    gi_linger_t linger;

    if (!self->brief || timeout_ms == 0)
        return false;
    linger = gi_linger_begin();
    while (gi_linger(&linger))
        if (s_done(self))
            return true;
    return false;
}

gate_err_t gate_future_wait_(gate_future_t *self, int64_t timeout_ms,
                             gate_slot_t out) {
    if (!s_done(self)) {
        if (gi_actor_thread())
            return gi_err(GATE_WOULDBLOCK,
                          "waiting for a future on the thread of actor %s",
                          gi_actor_thread());
        if (!s_came_soon(self, timeout_ms) &&
            !s_sleep(self, S_DONE, 0, gi_wait_deadline(timeout_ms)))
            return gi_err(GATE_TIMEOUT, "no answer within %lld ms",
                          (long long)timeout_ms);
    }
    return s_store(self, out);
}

bool gate_future_ready(const gate_future_t *self) { return s_done(self); }

const gate_error_t *gate_future_error(const gate_future_t *self) {
    static const gate_error_t none = {GATE_OK, "", "", ""};

    if (!s_done(self) || s_read((gate_future_t *)(uintptr_t)self) != GATE_OK)
        return &none;
    return &self->error.story;
}

/* ---- continuing ---------------------------------------------------------- */
/* Runs the callback here and gives up the user's reference. Nobody else may
 * look: the user gave it away. */
void gi_future_run_then(gate_future_t *self) {
    gate_err_t e;

    if (!(s_state(self) & S_READ))
        s_read_alone(self);
    e = self->error.story.code;
    if (e != GATE_OK)
        gi_error_publish(&self->error);
    self->done(self->done_ctx, e, e == GATE_OK ? self->value : NULL);
    s_drop(self);
}

/* Drops it unrun: its queue is gone. */
void gi_future_drop_then(gate_future_t *self) { s_drop(self); }

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
/* It is done; what is to be told by the state before that. */
static void s_tell(gate_future_t *self, unsigned old, unsigned refs) {
    if (old & S_WAITED)
        s_wake(&self->state);
    if (old & S_THEN)
        s_continue(self);
    else if (refs && old / S_REF == refs)
        s_die(self);
}

/* The result is in place. The completer's reference goes with it: it may not be
 * looked at afterwards. */
static void s_publish(gate_future_t *self) {
    unsigned bits = self->raw == S_NOT_RAW ? S_DONE | S_READ : S_DONE;

    s_tell(self, atomic_fetch_add(&self->state, bits - S_REF), 1);
}

/* The completer comes, once; true: the result is its to write. */
static bool s_claim(gate_future_t *self) {
    unsigned old = atomic_fetch_or(&self->state, S_COMPLETING | S_CLAIMED);

    if ((old & S_CANCELLING) &&
        atomic_load_explicit(&self->busy, memory_order_relaxed) != s_me())
        s_sleep(self, 0, S_CANCELLING, INT64_MAX);
    return !(old & S_CLAIMED);
}

void gi_future_complete(gate_future_t *self, gate_value_t *value) {
    if (s_claim(self)) {
        self->value = value;
        s_publish(self);
    } else {
        gate_value_destroy(&value);
        s_drop(self);
    }
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
    } else {
        if (release)
            release(hint);
        s_drop(self);
    }
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

static void s_complete_small(gate_future_t *self, const void *data,
                             size_t size) {
    if (s_claim(self)) {
        memcpy(self->small, data, size);
        self->raw = S_SMALL;
        self->size = size;
        s_publish(self);
    } else {
        s_drop(self);
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
        s_complete_raw(self, S_PACKED, copy, size, gi_mem_free, copy);
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
    unsigned bits = S_COMPLETING | S_CLAIMED | S_DONE | S_READ;

    while (!(old & (S_ASKED | S_CANCELLING | S_CLAIMED)))
        if (atomic_compare_exchange_weak(&self->state, &old,
                                         (old | bits) - S_REF)) {
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
    value = gi_value_make_at(self->room, S_OBJECTS,
                             (gate_bytes_t){self->small, size}, self->settings,
                             s_free, self);
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
        s_drop(self);
    }
    return true;
}

void gi_future_fail(gate_future_t *self, const gate_error_t *story) {
    if (s_claim(self)) {
        gi_error_set(&self->error, story);
        s_publish(self);
    } else {
        s_drop(self);
    }
}

/* ---- cancelling ---------------------------------------------------------- */
static void s_run_cancel(gate_future_t *self) {
    atomic_store_explicit(&self->busy, s_me(), memory_order_relaxed);
    self->cancel(self->cancel_ctx, self);
    atomic_store_explicit(&self->busy, NULL, memory_order_relaxed);
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
        s_tell(self, atomic_fetch_or(&self->state, S_DONE | S_READ), 0);
    }
    old = atomic_fetch_and(&self->state, ~(unsigned)S_CANCELLING);
    if (old & S_WAITED)
        gi_wait_word_wake(&self->state);
}

/* ---- synchronous calls --------------------------------------------------- */
static _Thread_local gate_future_t *s_last; /* its strings are still in use */
static _Thread_local bool s_last_known;     /* this thread's end frees it */
static pthread_key_t s_key;
static bool s_key_made;
static pthread_once_t s_key_once = PTHREAD_ONCE_INIT;

static void s_forget_last(void *unused) {
    (void)unused;
    s_last_known = false;
    gate_future_destroy(&s_last);
}

static void s_make_key(void) {
    s_key_made = pthread_key_create(&s_key, s_forget_last) == 0;
}

static void s_keep_last(gate_future_t *f) {
    gate_future_destroy(&s_last);
    s_last = f;
    if (s_last_known)
        return;
    pthread_once(&s_key_once, s_make_key);
    s_last_known = s_key_made && pthread_setspecific(s_key, &s_last) == 0;
}

gate_err_t gi_future_wait_call(gate_future_t **f, int64_t timeout_ms,
                               gate_slot_t out) {
    gate_err_t e = gate_future_wait_(*f, timeout_ms, out);

    /* kept for its strings alone, it must not keep a runtime alive */
    if (!(*f)->fixed && gate_future_ready(*f))
        s_release_owner(*f);
    s_keep_last(*f);
    *f = NULL;
    return e;
}
