/* SPDX-License-Identifier: BSD-3-Clause */
/* link_send.c -- what a link sends: small words, batches for the first time and
 * again; and the link's law. */
#include "link/link_impl.h"

#include <assert.h>
#include <string.h>

#define S_AGAIN_MAX ((size_t)1 << 20) /* sent again in a pass */

/* ---- words --------------------------------------------------------------- */
void gi_link_send_head(gi_link_core_t *self, gi_link_kind_t kind,
                       unsigned char *to, uint64_t seq, int64_t age_ms,
                       size_t size, unsigned flags) {
    gi_link_head_t head = {.kind = kind,
                           .flags = (uint16_t)flags,
                           .gen = self->gen,
                           .peer_gen = self->peer_gen,
                           .seq = seq,
                           .ack = self->used_seq,
                           .grant = self->grant,
                           .age_ms = age_ms > 0 ? (uint32_t)age_ms : 0,
                           .size = (uint32_t)size};
    memcpy(head.node, self->me, sizeof head.node);
    gi_link_head_write(&head, to);
}

void gi_link_send_out(gi_link_core_t *self, const unsigned char *message,
                      size_t size) {
    self->said_ms = self->now_ms;
    self->owes = false;
    self->acked_bytes = self->used_bytes;
    self->effects->send(self->ctx, message, size);
}

void gi_link_send_word(gi_link_core_t *self, gi_link_kind_t kind,
                       unsigned flags) {
    unsigned char head[GI_LINK_HEAD];
    uint64_t seq = kind == GI_LINK_RESUME ? self->expected : 0;
    if (!self->carrier)
        return;
    gi_link_send_head(self, kind, head, seq, 0, 0, flags);
    gi_link_send_out(self, head, sizeof head);
}

/* ---- what goes ----------------------------------------------------------- */
/* Not while it could be sent: batches form by themselves where they must wait.
 * False: block is as it was. */
static bool s_join(gi_link_core_t *self, gi_link_block_t *block) {
    if (gi_list_empty(&self->waiting))
        return false;
    gi_link_block_t *last = GI_OF(self->waiting.prev, gi_link_block_t, place);
    size_t size = last->size + block->size;
    if (size > GI_LINK_BATCH || size > self->records_max)
        return false;
    if (size > last->room) {
        size_t room = 2 * size < GI_LINK_BATCH ? 2 * size : GI_LINK_BATCH;
        gi_list_remove(&last->place);
        gi_link_block_t *more =
            gi_mem_realloc(last, sizeof *last + GI_LINK_HEAD + room);
        if (more) {
            last = more;
            last->room = room;
        }
        gi_list_init(&last->place);
        gi_list_append(&self->waiting, &last->place);
        if (more == NULL)
            return false;
    }
    memcpy(gi_link_block_bytes(last) + last->size, gi_link_block_bytes(block),
           block->size);
    last->size = size;
    last->credit += block->credit;
    self->waiting_bytes += block->size;
    gi_link_block_free(block);
    return true;
}

void gi_link_core_put(gi_link_core_t *self, gi_link_block_t *block) {
    if (self->state != GI_LINK_UP || block->life != self->life) {
        self->effects->done(self->ctx, block);
        return;
    }
    if (self->n_kept == 0 && self->waiting_bytes == 0) /* nothing was owed */
        self->progress_ms =
            block->at_ms > self->now_ms ? block->at_ms : self->now_ms;
    if (!block->bulk && s_join(self, block))
        return;
    block->seq = ++self->n_put;
    self->waiting_bytes += block->size;
    gi_list_append(block->bulk ? &self->bulk : &self->waiting, &block->place);
}

static void s_transmit(gi_link_core_t *self, gi_link_block_t *block) {
    gi_link_send_head(self, GI_LINK_DATA, block->data, block->seq,
                      self->now_ms - block->at_ms, block->size, 0);
    self->busy_ms = self->now_ms;
    gi_link_send_out(self, block->data, GI_LINK_HEAD + block->size);
}

/* Larger than any message of this server: what is numbered cannot be cut
 * again, since the other side may have it. */
static bool s_too_large(gi_link_core_t *self, const gi_link_block_t *block) {
    if (block->size <= self->records_max)
        return false;
    gi_link_core_end(self, "the server takes smaller messages now",
                     self->now_ms);
    return true;
}

/* Bytes; 0: the life has ended. */
static size_t s_send_again(gi_link_core_t *self) {
    gi_link_block_t *block = GI_OF(self->again, gi_link_block_t, place);
    if (s_too_large(self, block))
        return 0;
    self->again = block->place.next == &self->kept ? NULL : block->place.next;
    self->count.resent++;
    s_transmit(self, block);
    return block->size;
}

static bool s_may_send(const gi_link_core_t *self) {
    return self->sent_bytes < self->granted &&
           self->n_kept < GI_LINK_KEPT_MAX &&
           !(gi_list_empty(&self->waiting) && gi_list_empty(&self->bulk));
}

/* They take turns; but a bulk one never overtakes what was put before it. */
static gi_link_block_t *s_next(const gi_link_core_t *self, bool *bulk) {
    gi_link_block_t *small =
        GI_OF((uintptr_t)self->waiting.next, gi_link_block_t, place);
    gi_link_block_t *large =
        GI_OF((uintptr_t)self->bulk.next, gi_link_block_t, place);
    if (gi_list_empty(&self->bulk))
        *bulk = false;
    else if (gi_list_empty(&self->waiting))
        *bulk = true;
    else
        *bulk = self->bulk_turn && large->seq < small->seq;
    return *bulk ? large : small;
}

static void s_send_new(gi_link_core_t *self) {
    bool bulk;
    gi_link_block_t *block = s_next(self, &bulk);
    if (s_too_large(self, block))
        return;
    self->bulk_turn = !bulk;
    gi_list_remove(&block->place);
    if (gi_list_empty(&self->kept))
        self->progress_ms = self->now_ms; /* nothing was owed until now */
    gi_list_append(&self->kept, &block->place);
    self->n_kept++;
    self->kept_bytes += block->size;
    self->waiting_bytes -= block->size;
    self->sent_bytes += block->size;
    block->seq = self->next_seq++;
    self->count.batches_out++;
    self->count.bytes_out += block->size;
    if (self->probe_seq == 0) {
        self->probe_seq = block->seq;
        self->probe_us = gi_link_core_now_us(self);
    }
    s_transmit(self, block);
}

/* Something waits, and not for the carrier. */
static void s_note_stall(gi_link_core_t *self) {
    if (self->stalled)
        self->count.stalled_ms += (uint64_t)(self->now_ms - self->pumped_ms);
    self->stalled = self->waiting_bytes > 0 && !s_may_send(self);
    self->pumped_ms = self->now_ms;
}

bool gi_link_core_pump(gi_link_core_t *self, int64_t now_ms) {
    size_t again = 0;
    bool any = false;
    self->now_ms = now_ms;
    if (self->state != GI_LINK_UP || !self->carrier)
        return false;
    while (self->again && again < S_AGAIN_MAX &&
           self->effects->ready(self->ctx)) {
        again += s_send_again(self);
        any = true;
    }
    while (!self->again && s_may_send(self) &&
           self->effects->ready(self->ctx)) {
        s_send_new(self);
        any = true;
    }
    if (self->owes && now_ms - self->owes_ms >= GI_LINK_OWES_MS)
        gi_link_send_word(self, GI_LINK_HELLO, 0);
    s_note_stall(self);
#ifdef GI_CHECK_LAWS
    assert(gi_link_core_valid(self));
#endif
    return any;
}

/* ---- looking ------------------------------------------------------------- */
bool gi_link_core_is_up(const gi_link_core_t *self) {
    return self->state == GI_LINK_UP;
}

size_t gi_link_core_kept_bytes(const gi_link_core_t *self) {
    return self->kept_bytes + self->waiting_bytes;
}

int64_t gi_link_core_round_us(const gi_link_core_t *self) {
    return self->round_us;
}

const gi_link_counts_t *gi_link_core_counts(const gi_link_core_t *self) {
    return &self->count;
}

bool gi_link_core_valid(const gi_link_core_t *self) {
    size_t n = 0, bytes = 0, waiting = 0, last = 0;
    bool again = self->again == NULL;
    uint64_t seq = 0;
    const gi_list_t *l = self->kept.next;
    for (; l != &self->kept; l = l->next, n++) {
        const gi_link_block_t *b = GI_OF((uintptr_t)l, gi_link_block_t, place);
        if (n > 0 && b->seq != seq + 1)
            return false;
        again |= l == self->again;
        seq = b->seq;
        last = b->size;
        bytes += b->size;
    }
    for (l = self->waiting.next; l != &self->waiting; l = l->next)
        waiting += GI_OF((uintptr_t)l, gi_link_block_t, place)->size;
    for (l = self->bulk.next; l != &self->bulk; l = l->next)
        waiting += GI_OF((uintptr_t)l, gi_link_block_t, place)->size;
    return n == self->n_kept && bytes == self->kept_bytes && again &&
           waiting == self->waiting_bytes && n <= GI_LINK_KEPT_MAX &&
           (n == 0 ||
            (self->state == GI_LINK_UP && seq + 1 == self->next_seq)) &&
           (self->state == GI_LINK_UP || waiting == 0) &&
           self->used_seq <= self->expected &&
           (n == 0 || self->sent_bytes <= self->granted + last) &&
           self->gen != 0;
}
