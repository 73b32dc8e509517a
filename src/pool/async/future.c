/* SPDX-License-Identifier: BSD-3-Clause */
/* future.c -- the user's side; the other is future_done.c. One word of bits
 * decides every race: each side sets its bit by an RMW and learns from the old
 * value who came first. The same word counts the references, so that telling
 * and letting go are one step.
 *
 *   user                    completer                   canceller
 *   WAITED, then sleeps     COMPLETING|CLAIMED          ASKED|CANCELLING
 *     on the word             CLAIMED was set: drops      COMPLETING was set:
 *   THEN: leaves the            what came                   no callback
 *     callback to whoever     CANCELLING is set (by       else the callback;
 *     sets DONE                 another thread): waits      CLAIMED won: the
 *                               until it is cleared         answer is CANCELLED,
 *                             the result, then DONE         then DONE
 *                                                       CANCELLING cleared
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
#include "async/future_core.h"

#include <pthread.h>
#include <string.h>

#include "sync/actor_thread.h"
#include "memory/block.h"
#include "base/mem.h"
#include "base/err.h"
#include "wire/rpc.h"
#include "sync/luck.h"
#include "sync/wait.h"

static gate_future_t s_no_memory = {
    .state = GI_FT_REF | GI_FT_DONE | GI_FT_READ | GI_FT_CLAIMED |
             GI_FT_COMPLETING | GI_FT_ASKED,
    .fixed = true,
    .error = {{GATE_NOMEM, "MemoryError", "no memory for a future", ""}, NULL},
};

/* One address per thread. */
void *gi_future_me(void) {
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
    atomic_init(&self->state, 2 * GI_FT_REF);
    atomic_init(&self->busy, NULL);
    atomic_init(&self->strings, NULL);
    gi_error_init(&self->error);
    self->size_bytes = (unsigned)size;
    self->born = gi_born_now();
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

void gi_future_on_wait(gate_future_t *self, const void *group,
                       void (*help)(gate_future_t *self, bool always)) {
    self->help = help;
    self->helpers = group;
}

void gi_future_brief(gate_future_t *self) { self->brief = true; }

static void s_release_raw(gate_future_t *self) {
    if (self->raw != GI_FT_NOT_RAW && self->release)
        self->release(self->hint);
    self->raw = GI_FT_NOT_RAW;
}

/* The settings were the owner's: nothing may be decoded afterwards. */
static void s_release_owner(gate_future_t *self) {
    gi_release_fn *release = self->release_owner;

    self->release_owner = NULL;
    if (release)
        release(self->owner);
}

void gi_future_free(void *arg) {
    gate_future_t *self = arg;

    gi_block_give(self, self->size_bytes);
}

/* The last reference has gone; the block stays while its value is in use. The
 * owner goes last: what the value borrows may be its. */
void gi_future_die(gate_future_t *self) {
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
        gi_future_free(self);
    if (release)
        release(owner);
}

void gi_future_drop(gate_future_t *self) {
    if (self->fixed)
        return;
    if (atomic_load_explicit(&self->state, memory_order_acquire) / GI_FT_REF ==
            1 ||
        atomic_fetch_sub_explicit(&self->state, GI_FT_REF,
                                  memory_order_acq_rel) /
                GI_FT_REF ==
            1)
        gi_future_die(self);
}

void gi_future_hold(gate_future_t *self) {
    atomic_fetch_add_explicit(&self->state, GI_FT_REF, memory_order_relaxed);
}

void gate_future_destroy(gate_future_t **self_p) {
    gate_future_t *self = self_p ? *self_p : NULL;

    if (!self)
        return;
    *self_p = NULL;
    gi_future_drop(self);
}

/* ---- reading the result -------------------------------------------------- */
static gate_err_t s_decode_small(gate_future_t *self) {
    self->value = gi_value_make_at(self->room, GI_FT_OBJECTS,
                                   (gate_bytes_t){self->small, self->size},
                                   self->settings, gi_future_free, self);
    self->inlined = self->value != NULL;
    if (self->inlined)
        return GATE_OK;
    return gate_value_decode(self->small, self->size, self->settings,
                             &self->value);
}

static gate_err_t s_decode(gate_future_t *self, gi_future_raw_t raw) {
    if (raw == GI_FT_REPLY)
        return gi_rpc_take_reply(self->data, self->size, self->release,
                                 self->hint, self->settings, &self->value);
    if (raw == GI_FT_HUGE)
        return gi_value_take_huge(self->data, self->size, self->release,
                                  self->hint, self->settings, &self->value);
    if (raw == GI_FT_SMALL)
        return s_decode_small(self);
    return gi_value_take(self->data, self->size, self->release, self->hint,
                         self->settings, &self->value);
}

static bool s_done(const gate_future_t *self) {
    return gi_future_state(self) & GI_FT_DONE;
}

bool gi_future_sleep(gate_future_t *self, unsigned until, unsigned gone,
                     int64_t deadline_ns) {
    unsigned state = atomic_fetch_or(&self->state, GI_FT_WAITED) | GI_FT_WAITED;

    while (!(state & until) && !(gone && !(state & gone))) {
        if (!gi_wait_word(&self->state, state, deadline_ns))
            return gi_future_state(self) & until;
        state = gi_future_state(self);
    }
    return true;
}

void gi_future_read_alone(gate_future_t *self) {
    gi_future_raw_t raw = self->raw;

    self->raw = GI_FT_NOT_RAW; /* the bytes are taken in every case */
    if (raw != GI_FT_NOT_RAW && s_decode(self, raw) != GATE_OK)
        gi_error_set(&self->error, gate_error());
}

static gate_err_t s_read_first(gate_future_t *self) {
    unsigned old = atomic_fetch_or(&self->state, GI_FT_READING);

    if (!(old & GI_FT_READING)) {
        atomic_store_explicit(&self->busy, gi_future_me(),
                              memory_order_relaxed);
        gi_future_read_alone(self);
        atomic_store_explicit(&self->busy, NULL, memory_order_relaxed);
        old = atomic_fetch_or(&self->state, GI_FT_READ);
        if (old & GI_FT_WAITED)
            gi_wait_word_wake(&self->state);
    } else if (atomic_load_explicit(&self->busy, memory_order_relaxed) ==
               gi_future_me()) {
        return gi_err(GATE_WOULDBLOCK,
                      "a msgpack hook waits for the result it is part of");
    } else {
        gi_future_sleep(self, GI_FT_READ, 0, INT64_MAX);
    }
    return GATE_OK;
}

/* After DONE. GATE_OK: value and error stand. */
static gate_err_t s_read(gate_future_t *self) {
    return gi_future_state(self) & GI_FT_READ ? GATE_OK : s_read_first(self);
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
    static _Thread_local gi_luck_t luck;
    gi_linger_t linger;
    bool came = false;

    if (!self->brief || timeout_ms == 0)
        return false;
    linger = gi_luck_begin(&luck);
    while (!came && gi_linger(&linger))
        came = s_done(self);
    gi_luck_end(&luck, &linger, came);
    return came;
}

static bool s_sleep(gate_future_t *self, int64_t timeout_ms) {
    if (!timeout_ms) /* it has only looked */
        return false;
    gi_thread_wait_begin();
    bool done =
        gi_future_sleep(self, GI_FT_DONE, 0, gi_wait_deadline(timeout_ms));
    gi_thread_wait_end();
    return done;
}

static void s_help(gate_future_t *self, int64_t timeout_ms) {
    if (self->helpers && timeout_ms && self->helpers == gi_thread_wait_group())
        self->help(self, timeout_ms < 0);
}

gate_err_t gate_future_wait_(gate_future_t *self, int64_t timeout_ms,
                             gate_slot_t out) {
    if (!self)
        return gi_err(GATE_BADARG, "the future is NULL");
    if (!s_done(self)) {
        if (self->born != gi_born_now())
            return gi_future_unborn();
        if (gi_actor_thread())
            return gi_err(GATE_WOULDBLOCK,
                          "waiting for a future on the thread of actor %s",
                          gi_actor_thread());
        s_help(self, timeout_ms);
        if (!s_done(self) && !s_came_soon(self, timeout_ms) &&
            !s_sleep(self, timeout_ms))
            return gi_err(GATE_TIMEOUT, "no answer within %lld ms",
                          (long long)timeout_ms);
    }
    return s_store(self, out);
}

bool gate_future_ready(const gate_future_t *self) {
    if (gi_err_null(self, "gate_future_ready"))
        return false;
    return s_done(self);
}

const gate_error_t *gate_future_error(const gate_future_t *self) {
    if (gi_err_null(self, "gate_future_error"))
        return gate_error();
    static const gate_error_t none = {GATE_OK, "", "", ""};

    if (!s_done(self) || s_read((gate_future_t *)(uintptr_t)self) != GATE_OK)
        return &none;
    return &self->error.story;
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
