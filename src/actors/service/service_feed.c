/* SPDX-License-Identifier: BSD-3-Clause */
/* service_feed.c -- where the bytes of a huge result come from: memory that is
 * kept, pieces by mail from any thread, parts among the items of a pool's job.
 *
 *   put -> room (feed) -> PIECE mail -> queue -> pack -> room given back
 *
 * Law: what feeds it has a reference to the call and one to the service until
 * its END mail; pieces are in order since there is one mailbox. */
#include "service/service_call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "sync/actor_thread.h"
#include "base/err.h"
#include "base/mem.h"

#define S_ROOM ((int64_t)1 << 20) /* bytes of pieces under way */

/* ---- life ---------------------------------------------------------------- */
gi_shuge_t *gi_sfeed_new(gi_scall_t *c, const gi_huge_begin_t *begin) {
    gi_shuge_t *h = gi_mem_calloc(1, sizeof *h);
    if (!h) {
        (void)gi_err(GATE_NOMEM, "no memory for a huge result");
        return NULL;
    }
    h->call = c;
    if (begin)
        h->begin = *begin;
    else
        h->begin.size = UINT64_MAX;
    h->begin_mail.kind = GI_SMAIL_BEGIN;
    h->end_mail.kind = GI_SMAIL_END;
    gi_credit_init(&h->feed, GI_CREDIT_FREE, S_ROOM);
    gi_error_init(&h->error);
    return h;
}

void gi_sfeed_drop(gi_shuge_t *h) {
    while (h->first) {
        gi_sitem_t *item = h->first;
        h->first = item->next;
        gi_mem_free(item);
    }
    h->newest = NULL;
    h->head = h->data = (gate_bytes_t){NULL, 0};
    if (h->release)
        h->release(h->kept);
    h->release = NULL;
    gi_credit_cancel(&h->feed);
}

void gi_sfeed_free(gi_shuge_t **h_p) {
    gi_shuge_t *h = *h_p;
    if (!h)
        return;
    *h_p = NULL;
    gi_sfeed_drop(h);
    gi_huge_pack_destroy(&h->pack);
    gi_buf_fini(&h->whole);
    gi_credit_fini(&h->feed);
    gi_error_fini(&h->error);
    gi_mem_free(h);
}

/* ---- the feeder's side --------------------------------------------------- */
static bool s_on_actor(const gi_scall_t *c) {
    return gi_service_on_actor(c->service);
}

static gate_err_t s_gone(void) {
    return gi_err(GATE_CANCELLED, "the service is gone");
}

/* The feeder's references; given back by s_end. */
static void s_hold(gi_scall_t *c) {
    gi_ref_take(&c->refs);
    gi_service_share(c->service);
}

static gate_err_t s_begin(gate_call_t *call, const gi_huge_begin_t *begin) {
    gi_scall_t *c = (gi_scall_t *)call;
    gi_shuge_t *h = gi_sfeed_new(c, begin);
    if (!h)
        return GATE_NOMEM;
    c->hand.feeding = h;
    s_hold(c);
    if (s_on_actor(c)) {
        gi_sfeed_begin(h);
    } else if (gi_mailbox_push(c->service->is.mailbox, &h->begin_mail, -1)) {
        c->hand.feeding = NULL;
        gi_sfeed_free(&h);
        gi_service_release(c->service);
        gi_scall_drop(c); /* its runner has one of its own */
        return s_gone();
    }
    return GATE_OK;
}

static gate_err_t s_room(gi_shuge_t *h, size_t size) {
    if (!gi_actor_thread())
        return gi_credit_take(&h->feed, size)
                   ? gi_err(GATE_CANCELLED, "the reader left")
                   : GATE_OK;
    if (gi_credit_try(&h->feed, size))
        return GATE_OK;
    return h->closed ? gi_err(GATE_CANCELLED, "the reader left")
                     : gi_err(GATE_WOULDBLOCK,
                              "gate_huge_put would wait on an actor's thread: "
                              "let the method run on threads");
}

static gate_err_t s_put(gate_call_t *call, const void *data, size_t size) {
    gi_scall_t *c = (gi_scall_t *)call;
    gate_err_t e = s_room(c->hand.feeding, size);
    gi_sitem_t *item = e ? NULL : gi_mem_alloc(sizeof *item + size);
    if (e)
        return e;
    if (!item)
        return gi_err(GATE_NOMEM, "no memory for %zu bytes of a huge result",
                      size);
    *item =
        (gi_sitem_t){.mail = {.kind = GI_SMAIL_PIECE}, .call = c, .size = size};
    memcpy(item->data, data, size);
    if (s_on_actor(c)) {
        gi_sfeed_piece(item);
    } else if (gi_mailbox_push(c->service->is.mailbox, &item->mail, -1)) {
        gi_mem_free(item);
        e = s_gone();
    }
    return e;
}

static gate_err_t s_end(gate_call_t *call, const gate_error_t *error) {
    gi_scall_t *c = (gi_scall_t *)call;
    gi_shuge_t *h = c->hand.feeding;
    gate_service_t *self = c->service;
    gate_err_t e = GATE_OK;
    bool kept = gi_call_end_kept(call);
    c->hand.feeding = NULL;
    h->ends_kept = kept;
    if (error)
        gi_error_set(&h->error, error);
    if (s_on_actor(c)) {
        gi_sfeed_end(h);
    } else if (gi_mailbox_push(self->is.mailbox, &h->end_mail, -1)) {
        if (kept)
            gi_scall_drop(c);
        gi_scall_drop(c);
        e = s_gone();
    }
    if (kept)
        gi_service_release(self);
    gi_service_release(self);
    return e;
}

/* ---- kept memory --------------------------------------------------------- */
static gate_err_t s_keep(gate_call_t *call, const gi_huge_begin_t *begin,
                         gate_bytes_t head, gate_bytes_t data,
                         void (*release)(void *)) {
    gi_scall_t *c = (gi_scall_t *)call;
    gi_shuge_t *h = gi_sfeed_new(c, begin);
    void *kept = (void *)(uintptr_t)data.data;
    if (!h) {
        if (release)
            release(kept);
        return GATE_NOMEM;
    }
    memcpy(h->head_bytes, head.data, head.size);
    h->head = (gate_bytes_t){h->head_bytes, head.size};
    h->data = data;
    h->kept = kept;
    h->release = release;
    h->ended = true;
    if (s_on_actor(c)) {
        gi_sfeed_begin(h);
    } else if (gi_mailbox_push(c->service->is.mailbox, &h->begin_mail, -1)) {
        gi_sfeed_free(&h);
        return s_gone();
    }
    return GATE_OK;
}

/* ---- a descriptor, read by a job ----------------------------------------- */
typedef struct s_reading {
    gi_job_t job;
    gi_scall_t *call;
    int fd;
    uint64_t size;
} s_reading_t;

static void s_read_run(gi_job_t *job) {
    s_reading_t *r = (s_reading_t *)(void *)job;
    gate_service_t *self = r->call->service;
    gate_call_t *call = &r->call->call;
    gate_err_t e = gi_huge_read(call, &gi_sfeed_ops, r->fd, r->size);
    gi_error_t error = {0};
    if (e)
        gi_error_set(&error, gate_error());
    if (s_end(call, e ? &error.story : NULL)) {
        /* the service is gone, and so is its caller */
    }
    gi_error_fini(&error);
    gi_mem_free(r);
    gi_latch_done(&self->shared.away);
}

static gate_err_t s_read_begin(gate_call_t *call, const gi_huge_begin_t *begin,
                               gate_bytes_t head, s_reading_t *r) {
    gi_scall_t *c = (gi_scall_t *)call;
    gate_pool_t *pool = gate_runtime_threads(c->service->is.rt);
    gate_err_t e = pool ? s_begin(call, begin) : gate_error()->code;
    if (e)
        return e;
    if (head.size)
        e = s_put(call, head.data, head.size);
    if (!e) {
        gi_latch_add(&c->service->shared.away);
        e = gi_pool_run(pool, &r->job);
        if (!e)
            return GATE_KEPT;
        gi_latch_done(&c->service->shared.away);
        (void)gi_err(e, "no thread reads a huge result: %s", gate_err_text(e));
    }
    gate_error_t story = *gate_error();
    if (s_end(call, &story)) {
        /* nobody waits for it */
    }
    return e;
}

static gate_err_t s_read(gate_call_t *call, const gi_huge_begin_t *begin,
                         gate_bytes_t head, int fd, uint64_t size) {
    s_reading_t *r = gi_mem_alloc(sizeof *r);
    gate_err_t e = gi_err(GATE_NOMEM, "no memory to read a huge result");
    if (r) {
        *r = (s_reading_t){.job = {.run = s_read_run},
                           .call = (gi_scall_t *)call,
                           .fd = fd,
                           .size = size};
        e = s_read_begin(call, begin, head, r);
    }
    if (e != GATE_KEPT) {
        close(fd);
        gi_mem_free(r);
    }
    return e;
}

const gi_huge_ops_t gi_sfeed_ops = {.begin = s_begin,
                                    .put = s_put,
                                    .end = s_end,
                                    .keep = s_keep,
                                    .read = s_read};

/* ---- the actor's side: mail ---------------------------------------------- */
void gi_sfeed_begin(gi_shuge_t *h) {
    if (h->call->life.state == GI_LIFE_DONE) { /* freed with the call */
        h->call->huge = h;
        h->closed = true;
        gi_sfeed_drop(h);
        return;
    }
    gi_shuge_attach(h);
}

static void s_enqueue(gi_shuge_t *h, gi_sitem_t *item) {
    if (h->first)
        h->newest->next = item;
    else
        h->first = item;
    h->newest = item;
}

/* Behind what is there now. */
static void s_flush(gi_shuge_t *h) {
    if (h->first)
        h->newest->flush = true;
    else if (h->pack)
        gi_huge_pack_flush(h->pack);
}

void gi_sfeed_piece(gi_sitem_t *item) {
    gi_shuge_t *h = item->call->huge;
    if (h && !h->closed && item->size) {
        s_enqueue(h, item);
        return;
    }
    if (h && !h->closed)
        s_flush(h);
    gi_mem_free(item);
}

void gi_sfeed_end(gi_shuge_t *h) {
    gi_scall_t *c = h->call;
    bool first = !h->ended;
    h->ended = true;
    if (h->error.story.code && !h->closed)
        gi_shuge_fail(h, &h->error.story);
    bool kept = h->ends_kept;
    if (first)
        gi_life_bulk_fed(&c->life);
    gi_life_settle(&c->life);
    if (kept)
        gi_scall_free(c);
    gi_scall_free(c);
}

static void s_all_fed(gi_scall_t *c) {
    c->huge->ended = true;
    gi_life_bulk_fed(&c->life);
}

static void s_item_begin(gi_scall_t *c, gate_bytes_t part) {
    static const gate_error_t bad = {GATE_RAISED, "TypeError",
                                     "a malformed part of a huge result", ""};
    gi_huge_begin_t begin;
    gi_shuge_t *h = NULL;
    if (c->huge)
        return; /* a worker cannot mean it */
    if (gi_huge_item_begin(part, &begin) && (h = gi_sfeed_new(c, &begin))) {
        h->by_items = true;
        gi_shuge_attach(h);
    } else {
        gi_life_cut(&c->life, &bad);
    }
}

void gi_sfeed_item(gi_sitem_t *item, int kind, gate_bytes_t part) {
    gi_scall_t *c = item->call;
    bool open = c->huge && !c->huge->closed;
    if (kind == 'D' && open && part.size) {
        item->at = (size_t)((const unsigned char *)part.data - item->data);
        s_enqueue(c->huge, item);
        return;
    }
    if (kind == 'D' && open)
        s_flush(c->huge);
    else if (kind == 'B')
        s_item_begin(c, part);
    else if (kind == 'E' && c->huge)
        s_all_fed(c);
    if (c->ticket) /* it was not queued: its room is free */
        gi_pool_credit(c->pool, c->ticket, 1, item->size);
    gi_mem_free(item);
}

/* ---- the actor's side: input --------------------------------------------- */
static void s_piece_done(gi_shuge_t *h) {
    gi_sitem_t *item = h->first;
    gi_scall_t *c = h->call;
    h->first = item->next;
    if (item->flush && h->pack)
        gi_huge_pack_flush(h->pack);
    if (!h->by_items)
        gi_credit_give(&h->feed, 0, (int64_t)item->size);
    else if (c->ticket)
        gi_pool_credit(c->pool, c->ticket, 1, item->size);
    gi_mem_free(item);
}

gate_err_t gi_sfeed_peek(gi_shuge_t *h, gate_bytes_t *chunk) {
    if (h->head.size) {
        *chunk = h->head;
    } else if (h->data.size) {
        *chunk = (gate_bytes_t){h->data.data, h->data.size < GI_HUGE_PIECE
                                                  ? h->data.size
                                                  : GI_HUGE_PIECE};
    } else if (h->first) {
        *chunk = (gate_bytes_t){h->first->data + h->first->at,
                                h->first->size - h->first->at};
    } else {
        return h->ended ? GATE_EOS : GATE_WOULDBLOCK;
    }
    return GATE_OK;
}

static void s_advance(gate_bytes_t *b, size_t size) {
    b->data = (const char *)b->data + size;
    b->size -= size;
}

void gi_sfeed_used(gi_shuge_t *h, size_t size) {
    if (h->head.size) {
        s_advance(&h->head, size);
    } else if (h->data.size) {
        s_advance(&h->data, size);
    } else {
        h->first->at += size;
        if (h->first->at == h->first->size)
            s_piece_done(h);
    }
}

gate_err_t gi_sfeed_supply(gi_shuge_t *h) {
    gate_bytes_t chunk;
    gate_err_t e;
    while (!h->finished && !(e = gi_sfeed_peek(h, &chunk))) {
        gate_bytes_t in = chunk;
        e = gi_huge_pack_feed(h->pack, &in);
        if (e)
            return e;
        if (in.size == chunk.size && chunk.size)
            return GATE_OK; /* no room */
        gi_sfeed_used(h, chunk.size - in.size);
    }
    if (!h->finished && e == GATE_EOS) {
        gi_huge_pack_finish(h->pack);
        h->finished = true;
    }
    return GATE_OK;
}
