/* SPDX-License-Identifier: BSD-3-Clause */
/* link_core.c -- see the header for states and law.
 *
 * What is lost is found by three questions: a number that comes too early (the
 * receiver says RESUME at once), a carrier that is up again, and no progress
 * for a while (the sender asks, the receiver says what it has). So nothing is
 * sent twice on a mere suspicion. A receiver's acknowledgement rises when the
 * records were used and not when they came: it is the credit as well. */
#include "link/link_impl.h"

#include <string.h>
#include "base/bytes.h"

#define S_SHARE_FIRST ((size_t)256 << 10)
#define S_SLACK ((size_t)1 << 20) /* a peer may be so much above its grant */
#define S_ACK_BYTES ((size_t)128 << 10)
#define S_PAUSE_MS 20     /* between two answers of a kind */
#define S_PROGRESS_MS 200 /* without it, the other side is asked */
#define S_ACTIVE_MS 10000
#define S_SILENCES 3 /* heartbeats */

static int64_t s_max(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- lives --------------------------------------------------------------- */
static uint32_t s_random(gi_link_core_t *self) {
    uint32_t value;
    do {
        self->seed ^= self->seed << 13;
        self->seed ^= self->seed >> 7;
        self->seed ^= self->seed << 17;
        value = (uint32_t)(self->seed >> 16);
    } while (value == 0);
    return value;
}

/* A life's beginning: nothing of the one before is left. */
static void s_fresh(gi_link_core_t *self) {
    self->state = GI_LINK_NEW;
    self->gen = s_random(self);
    self->peer_gen = 0;
    self->hello_ms = self->now_ms;
    self->hello_wait_ms = S_PROGRESS_MS;
    self->next_seq = self->expected = self->used_seq = 1;
    self->sent_bytes = self->granted = 0;
    self->used_bytes = self->got_bytes = self->acked_bytes = 0;
    self->grant = self->share;
    self->resumed = self->probe_seq = 0;
    self->again = NULL;
    self->owes = false;
}

gi_link_core_t *gi_link_core_new(const unsigned char me[GI_LINK_NODE_SIZE],
                                 const unsigned char node[GI_LINK_NODE_SIZE],
                                 int64_t beat_ms, uint64_t seed,
                                 const gi_link_effects_t *effects, void *ctx,
                                 int64_t now_ms) {
    gi_link_core_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->effects = effects;
    self->ctx = ctx;
    memcpy(self->me, me, sizeof self->me);
    memcpy(self->node, node, sizeof self->node);
    self->seed = seed | 1;
    self->now_ms = self->tick_ms = self->heard_ms = self->awake_ms = now_ms;
    self->beat_ms = beat_ms;
    self->silence_ms = beat_ms * S_SILENCES;
    self->answer_ms = self->resume_ms = now_ms - S_PAUSE_MS;
    self->busy_ms = now_ms - S_ACTIVE_MS;
    self->share = S_SHARE_FIRST;
    self->records_max = SIZE_MAX;
    gi_list_init(&self->kept);
    gi_list_init(&self->waiting);
    gi_list_init(&self->bulk);
    s_fresh(self);
    return self;
}

static void s_give_back(gi_link_core_t *self, gi_list_t *list) {
    while (!gi_list_empty(list)) {
        gi_link_block_t *block = GI_OF(list->next, gi_link_block_t, place);
        gi_list_remove(&block->place);
        self->effects->done(self->ctx, block);
    }
}

static void s_give_back_all(gi_link_core_t *self) {
    s_give_back(self, &self->kept);
    s_give_back(self, &self->waiting);
    s_give_back(self, &self->bulk);
    self->again = NULL;
    self->n_kept = self->kept_bytes = self->waiting_bytes = 0;
}

void gi_link_core_destroy(gi_link_core_t **self_p) {
    gi_link_core_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    s_give_back_all(self);
    gi_mem_free(self);
}

/* ---- what is said -------------------------------------------------------- */
static void s_say_bye(gi_link_core_t *self, const char *why) {
    unsigned char message[GI_LINK_HEAD + 128];
    size_t n = strnlen(why, 128);
    if (!self->carrier)
        return;
    gi_link_send_head(self, GI_LINK_BYE, message, 0, 0, n, 0);
    memcpy(message + GI_LINK_HEAD, why, n);
    gi_link_send_out(self, message, GI_LINK_HEAD + n);
}

/* It does not know who we are now. */
static void s_answer(gi_link_core_t *self) {
    if (self->now_ms - self->answer_ms < S_PAUSE_MS)
        return;
    self->answer_ms = self->now_ms;
    gi_link_send_word(self, GI_LINK_HELLO, 0);
}

static void s_say_resume(gi_link_core_t *self, bool asked) {
    if (!asked && self->now_ms - self->resume_ms < S_PAUSE_MS)
        return;
    self->resume_ms = self->now_ms;
    gi_link_send_word(self, GI_LINK_RESUME, 0);
}

/* ---- up and lost --------------------------------------------------------- */
static void s_up(gi_link_core_t *self) {
    self->state = GI_LINK_UP;
    self->progress_ms = self->asked_ms = self->now_ms;
    self->life++;
    gi_link_send_word(self, GI_LINK_HELLO,
                      0); /* it may not have our echo yet */
    self->effects->up(self->ctx, self->life);
}

/* A life that ends before it was up leaves nothing. */
static void s_lose(gi_link_core_t *self, const char *why, bool tell) {
    bool was_up = self->state == GI_LINK_UP;
    if (tell && was_up)
        s_say_bye(self, why);
    s_fresh(self);
    s_give_back_all(self);
    self->state = GI_LINK_LOST_ONCE;
    self->retry_ms = self->now_ms + self->beat_ms / 2;
    if (!was_up)
        return;
    self->count.lost++;
    self->effects->lost(self->ctx, why);
}

void gi_link_core_end(gi_link_core_t *self, const char *why, int64_t now_ms) {
    self->now_ms = now_ms;
    s_lose(self, why, true);
}

/* ---- what the other side has --------------------------------------------- */
int64_t gi_link_core_now_us(const gi_link_core_t *self) {
    return self->effects->now_us ? self->effects->now_us(self->ctx)
                                 : 1000 * self->now_ms;
}

static int64_t s_rounds_ms(const gi_link_core_t *self, int64_t n) {
    return n * self->round_us / 1000;
}

static void s_round_trip(gi_link_core_t *self, uint64_t ack) {
    if (self->probe_seq == 0 || ack <= self->probe_seq)
        return;
    int64_t sample = gi_link_core_now_us(self) - self->probe_us;
    self->round_us =
        self->round_us ? (7 * self->round_us + sample) / 8 : sample;
    self->probe_seq = 0;
}

static void s_drop_first(gi_link_core_t *self) {
    gi_link_block_t *block = GI_OF(self->kept.next, gi_link_block_t, place);
    if (self->again == &block->place)
        self->again =
            block->place.next == &self->kept ? NULL : block->place.next;
    gi_list_remove(&block->place);
    self->n_kept--;
    self->kept_bytes -= block->size;
    self->effects->done(self->ctx, block);
}

static void s_acked(gi_link_core_t *self, const gi_link_head_t *head) {
    if (head->ack > self->next_seq) {
        self->count.malformed++;
        return;
    }
    s_round_trip(self, head->ack);
    while (!gi_list_empty(&self->kept) &&
           GI_OF(self->kept.next, gi_link_block_t, place)->seq < head->ack) {
        self->progress_ms = self->now_ms;
        s_drop_first(self);
    }
    if (head->grant > self->granted) {
        self->granted = head->grant;
        self->progress_ms = self->now_ms;
    }
}

/* From that number on it has nothing: all of that again, unless just that is
 * being done. */
static void s_resume(gi_link_core_t *self, uint64_t seq) {
    int64_t pause = s_max(S_PAUSE_MS, s_rounds_ms(self, 2));
    if (seq > self->next_seq) {
        self->count.malformed++;
        return;
    }
    if (seq > self->resumed)
        self->progress_ms = self->now_ms;
    else if (seq < self->resumed || self->again ||
             self->now_ms - self->resumed_ms < pause)
        return;
    self->resumed = seq;
    self->resumed_ms = self->now_ms;
    self->again = NULL;
    self->probe_seq = 0;
    gi_list_t *l = self->kept.next;
    while (l != &self->kept && GI_OF(l, gi_link_block_t, place)->seq < seq)
        l = l->next;
    if (l != &self->kept)
        self->again = l;
}

/* Something is to be acknowledged, soon. */
static void s_owe(gi_link_core_t *self) {
    if (!self->owes)
        self->owes_ms = self->now_ms;
    self->owes = true;
}

/* ---- what comes ---------------------------------------------------------- */
static void s_data(gi_link_core_t *self, const gi_link_head_t *head,
                   gate_bytes_t records) {
    self->busy_ms = self->now_ms;
    if (head->seq < self->expected) {
        self->count.stale++;
        s_owe(self);
    } else if (head->seq > self->expected) {
        self->count.gaps++;
        s_say_resume(self, false);
    } else if (self->got_bytes + records.size > self->grant + S_SLACK) {
        self->count.malformed++;
        s_lose(self, "it sends more than it was granted", true);
    } else {
        self->expected++;
        self->got_bytes += records.size;
        self->count.batches_in++;
        self->count.bytes_in += records.size;
        self->effects->data(self->ctx, records, head->age_ms, self->life);
    }
}

static void s_known(gi_link_core_t *self, const gi_link_head_t *head,
                    gate_bytes_t rest) {
    s_acked(self, head);
    switch (head->kind) {
    case GI_LINK_DATA:
        s_data(self, head, rest);
        break;
    case GI_LINK_RESUME:
        s_resume(self, head->seq);
        break;
    case GI_LINK_BYE:
        s_lose(self,
               gi_bytes_is(rest, GI_LINK_ENDS) ? GI_LINK_ENDS
                                               : "it said goodbye",
               false);
        break;
    case GI_LINK_HELLO:
    case GI_LINK_ANNOUNCE:
        break;
    }
    if (self->state == GI_LINK_UP && head->flags & GI_LINK_ASKS)
        s_say_resume(self, true);
}

/* A word from a life that we do not know. Whoever echoes our gen is there now;
 * anything else may be late, and is told what we know. */
static void s_stranger(gi_link_core_t *self, const gi_link_head_t *head) {
    bool echoes = head->peer_gen == self->gen;
    self->count.stale += head->kind == GI_LINK_DATA;
    if (self->state == GI_LINK_UP && echoes) {
        s_lose(self, "another life of it has begun", false);
        return;
    }
    if (self->state == GI_LINK_NEW && head->kind != GI_LINK_BYE)
        self->peer_gen = head->gen;
    s_answer(self);
}

void gi_link_core_message(gi_link_core_t *self, const gi_link_head_t *head,
                          gate_bytes_t rest, int64_t now_ms) {
    self->now_ms = self->heard_ms = now_ms;
    if (self->state == GI_LINK_LOST_ONCE || head->gen == 0)
        return;
    if (self->state == GI_LINK_NEW && head->peer_gen == self->gen &&
        head->kind != GI_LINK_BYE) {
        self->peer_gen = head->gen;
        s_up(self);
    }
    if (self->state == GI_LINK_UP && head->gen == self->peer_gen &&
        head->peer_gen == self->gen)
        s_known(self, head, rest);
    else
        s_stranger(self, head);
}

void gi_link_core_heard(gi_link_core_t *self, int64_t beat_ms, int64_t now_ms) {
    self->now_ms = self->heard_ms = now_ms;
    if (beat_ms > 0)
        self->silence_ms = S_SILENCES * s_max(self->beat_ms, beat_ms);
}

/* ---- what was used here --------------------------------------------------- */
void gi_link_core_used(gi_link_core_t *self, uint32_t life, unsigned n,
                       size_t bytes) {
    if (self->state != GI_LINK_UP || life != self->life)
        return;
    self->used_seq += n;
    self->used_bytes += bytes;
    if (self->used_bytes + self->share > self->grant)
        self->grant = self->used_bytes + self->share;
    s_owe(self);
    if (self->used_bytes - self->acked_bytes > S_ACK_BYTES)
        gi_link_send_word(self, GI_LINK_HELLO, 0);
}

void gi_link_core_bound(gi_link_core_t *self, size_t message_max) {
    self->records_max =
        message_max > GI_LINK_HEAD ? message_max - GI_LINK_HEAD : SIZE_MAX;
}

void gi_link_core_share(gi_link_core_t *self, size_t bytes) {
    self->share = bytes;
    if (self->used_bytes + bytes <= self->grant)
        return;
    self->grant = self->used_bytes + bytes;
    if (self->state == GI_LINK_UP)
        s_owe(self);
}

void gi_link_core_carrier(gi_link_core_t *self, bool up, int64_t now_ms) {
    self->now_ms = now_ms;
    self->carrier = up;
    if (!up)
        return;
    if (self->state == GI_LINK_NEW)
        self->hello_ms = now_ms;
    else if (self->state == GI_LINK_UP)
        gi_link_send_word(self, GI_LINK_HELLO, GI_LINK_ASKS);
}

/* ---- time ---------------------------------------------------------------- */
static bool s_has_work(const gi_link_core_t *self) {
    return self->n_kept > 0 || self->waiting_bytes > 0;
}

bool gi_link_core_is_active(const gi_link_core_t *self, int64_t now_ms) {
    return self->state == GI_LINK_UP &&
           (s_has_work(self) || now_ms - self->busy_ms < S_ACTIVE_MS);
}

/* When it is lost if nothing comes. */
static int64_t s_lost_ms(const gi_link_core_t *self) {
    int64_t heard = s_max(self->heard_ms, self->awake_ms);
    int64_t progress = s_max(self->progress_ms, self->awake_ms);
    return self->silence_ms +
           (s_has_work(self) ? s_min(heard, progress) : heard);
}

static int64_t s_ask_ms(const gi_link_core_t *self) {
    int64_t wait = s_max(S_PROGRESS_MS, s_rounds_ms(self, 4));
    return s_has_work(self) ? s_max(self->progress_ms, self->asked_ms) + wait
                            : INT64_MAX;
}

static int64_t s_beat_ms(const gi_link_core_t *self) {
    return gi_link_core_is_active(self, self->now_ms)
               ? self->said_ms + self->beat_ms
               : INT64_MAX;
}

static void s_tick_up(gi_link_core_t *self) {
    if (self->now_ms >= s_lost_ms(self)) {
        bool silent = self->now_ms - s_max(self->heard_ms, self->awake_ms) >=
                      self->silence_ms;
        s_lose(self, silent ? "it is silent" : "it takes nothing any more",
               true);
    } else if (self->now_ms >= s_ask_ms(self)) {
        self->asked_ms = self->now_ms;
        gi_link_send_word(self, GI_LINK_HELLO, GI_LINK_ASKS);
    } else if (self->now_ms >= s_beat_ms(self)) {
        self->said_ms = self->now_ms;
        gi_link_send_word(self, GI_LINK_HELLO, 0);
    }
}

void gi_link_core_tick(gi_link_core_t *self, int64_t now_ms) {
    if (now_ms - self->tick_ms > 2 * self->beat_ms)
        self->awake_ms = now_ms; /* we stood still: what came is not read yet */
    self->now_ms = self->tick_ms = now_ms;
    if (self->state == GI_LINK_LOST_ONCE && now_ms >= self->retry_ms)
        s_fresh(self);
    if (self->state == GI_LINK_NEW && now_ms >= self->hello_ms) {
        self->hello_ms = now_ms + self->hello_wait_ms;
        self->hello_wait_ms = s_min(2 * self->hello_wait_ms, self->beat_ms);
        gi_link_send_word(self, GI_LINK_HELLO, GI_LINK_ASKS);
    }
    if (self->state == GI_LINK_UP)
        s_tick_up(self);
}

int64_t gi_link_core_next(const gi_link_core_t *self) {
    int64_t look = self->tick_ms + self->beat_ms; /* or standing still shows */
    switch (self->state) {
    case GI_LINK_NEW:
        return s_min(self->hello_ms, look);
    case GI_LINK_LOST_ONCE:
        return s_min(self->retry_ms, look);
    case GI_LINK_UP:
        break;
    }
    int64_t next = s_min(s_lost_ms(self), s_ask_ms(self));
    if (self->owes && self->carrier)
        next = s_min(next, self->owes_ms + GI_LINK_OWES_MS);
    return s_min(s_min(next, s_beat_ms(self)), look);
}
