/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_uplink.c -- what goes out: the frames of a pass for one node become one
 * block of records, given to the uplink at the pass's end. A block comes back
 * when the other broker has used it; until then its bytes count as under way
 * there, and beyond uplink_node_bytes the node is full, as a peer's socket may
 * be.
 *
 * What is larger than a batch goes in fragments, which later records may
 * overtake; those of the same client may not, so they follow as bulk as well. */
#include "broker/shell/broker_uplink_impl.h"

#include <errno.h>
#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"

#define S_WHOLE_MAX ((size_t)192 << 10) /* larger records go in fragments */
#define S_BLOCK_LEAST 2048
#define S_RETRY_MS 2
#define S_USED_MS 2 /* so long an acknowledgement waits for an answer */
#define S_USED_BYTES ((size_t)64 << 10)

/* ---- life ---------------------------------------------------------------- */
gate_err_t gi_broker_uplink_make(const gate_settings_t *settings,
                                 const char *urls, gi_broker_uplink_t **out) {
    *out = NULL;
    if (*urls == 0)
        return GATE_OK;
    gi_broker_uplink_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL)
        return gi_err(GATE_NOMEM, "no memory for an uplink");
    self->settings = settings;
    gi_list_init(&self->outbox);
    gi_list_init(&self->used);
    gi_list_init(&self->links);
    gi_broker_uplink_bound(self, 0);
    gate_err_t e = gi_uplink_new(settings, urls, &self->uplink);
    if (e) {
        gi_mem_free(self);
        return e;
    }
    snprintf(self->name, sizeof self->name, "%s@%s",
             gi_uplink_name(self->uplink), gi_uplink_cluster(self->uplink));
    *out = self;
    return GATE_OK;
}

gate_err_t gi_broker_uplink_start(gi_broker_uplink_t *self,
                                  gi_mailbox_t *broker) {
    return gi_uplink_start(self->uplink, broker);
}

void gi_broker_uplink_stop(gi_broker_uplink_t *self) {
    if (self)
        gi_uplink_stop(self->uplink);
}

void gi_broker_uplink_drop_link(gi_broker_uplink_t *self,
                                gi_broker_link_t *link) {
    (void)self;
    gi_link_block_free(link->open);
    gi_link_parts_fini(&link->parts);
    gi_list_remove(&link->place);
    gi_mem_free(link);
}

void gi_broker_uplink_free(gi_broker_uplink_t **self_p) {
    gi_broker_uplink_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    gi_uplink_destroy(&self->uplink);
    while (!gi_list_empty(&self->links))
        gi_broker_uplink_drop_link(
            self, GI_OF(self->links.next, gi_broker_link_t, place));
    gi_link_blocks_free(&self->outbox);
    gi_link_blocks_free(&self->used);
    gi_link_block_free(self->state);
    gi_buf_fini(&self->body);
    gi_mem_free(self);
}

const char *gi_broker_uplink_name(const gi_broker_uplink_t *self) {
    return self->name;
}

gate_err_t gi_broker_uplink_join(gi_broker_uplink_t *self,
                                 gi_broker_core_t *core) {
    self->core = core;
    return gi_broker_core_far(core, self->settings->uplink_users,
                              &self->workers, &self->clients);
}

/* ---- to the uplink ------------------------------------------------------- */
void gi_broker_uplink_give(gi_broker_uplink_t *self, gi_link_block_t *block) {
    gi_list_append(&self->outbox, &block->place);
}

void gi_broker_uplink_used(gi_broker_uplink_t *self, gi_link_block_t *block,
                           int64_t now_ms) {
    if (gi_list_empty(&self->used))
        self->used_ms = now_ms;
    self->used_bytes += block->size;
    gi_list_append(&self->used, &block->place);
}

/* Alone they would wake the uplink for an acknowledgement that can wait. */
static bool s_used_are_due(const gi_broker_uplink_t *self, int64_t now_ms) {
    return !gi_list_empty(&self->outbox) || self->used_bytes >= S_USED_BYTES ||
           now_ms - self->used_ms >= S_USED_MS;
}

/* All of a pass at once; acknowledgements first, since they go with data. */
static void s_push_outbox(gi_broker_uplink_t *self) {
    if (gi_list_empty(&self->outbox) || !self->runs)
        return;
    gi_link_block_t *first = gi_link_blocks_chain(&self->outbox);
    gate_err_t e = gi_mailbox_push(gi_uplink_mailbox(self->uplink), first, 0);
    if (e)
        gi_link_blocks_unchain(&self->outbox, first);
    if (e && e != GATE_BUSY) /* it ends */
        gi_link_blocks_free(&self->outbox);
}

/* ---- links --------------------------------------------------------------- */
gi_broker_link_t *gi_broker_uplink_link(gi_broker_uplink_t *self,
                                        const unsigned char *node) {
    gi_broker_link_t *last = self->last;
    if (last && memcmp(last->node, node, sizeof last->node) == 0)
        return last;
    for (gi_list_t *l = self->links.next; l != &self->links; l = l->next) {
        gi_broker_link_t *link = GI_OF(l, gi_broker_link_t, place);
        if (memcmp(link->node, node, sizeof link->node) == 0)
            return self->last = link;
    }
    return NULL;
}

static gi_link_block_t *s_block(gi_broker_link_t *link, size_t room,
                                int64_t now_ms) {
    gi_link_block_t *block = gi_link_block_new(room);
    if (block == NULL)
        return NULL;
    block->what = GI_UPLINK_DATA;
    block->life = link->life;
    block->at_ms = now_ms;
    memcpy(block->node, link->node, sizeof block->node);
    return block;
}

static void s_close(gi_broker_uplink_t *self, gi_broker_link_t *link) {
    if (link->open)
        gi_broker_uplink_give(self, link->open);
    link->open = NULL;
}

static size_t s_batch_max(const gi_broker_uplink_t *self) {
    size_t max = (size_t)self->settings->uplink_batch_bytes;
    return max < self->whole_max ? max : self->whole_max;
}

/* Room for a record of that size in the link's open block; NULL: no memory. */
static unsigned char *s_room(gi_broker_uplink_t *self, gi_broker_link_t *link,
                             size_t size, int64_t now_ms) {
    gi_link_block_t *open = link->open;
    if (open && open->size + size > s_batch_max(self)) {
        s_close(self, link);
        open = NULL;
    }
    if (open && open->size + size > open->room) {
        size_t room = 2 * (open->size + size);
        gi_link_block_t *more =
            gi_mem_realloc(open, sizeof *open + GI_LINK_HEAD + room);
        if (more == NULL)
            return NULL;
        gi_list_init(&more->place);
        more->room = room;
        link->open = open = more;
    }
    if (open == NULL)
        link->open = open =
            s_block(link, size > S_BLOCK_LEAST ? size : S_BLOCK_LEAST, now_ms);
    return open ? gi_link_block_bytes(open) + open->size : NULL;
}

static void s_wrote(gi_broker_uplink_t *self, gi_broker_link_t *link,
                    gi_link_block_t *block, size_t size) {
    self->records_out++;
    block->size += size;
    block->credit += size;
    link->under_way += size;
}

/* ---- bulk ---------------------------------------------------------------- */
static gi_broker_bulk_t *s_bulk(gi_broker_link_t *link, uint64_t key) {
    for (unsigned i = 0; i < link->n_bulk; i++)
        if (link->bulk[i].key == key)
            return &link->bulk[i];
    return NULL;
}

/* Whether a record of that client must stay behind a large one of its own; with
 * too many large ones all do. */
static bool s_follows(gi_broker_link_t *link, uint64_t key) {
    return link->n_bulk == GI_BROKER_BULK_MAX || s_bulk(link, key);
}

static void s_give_bulk(gi_broker_uplink_t *self, gi_broker_link_t *link,
                        gi_link_block_t *block, uint64_t key, size_t size) {
    gi_broker_bulk_t *bulk = s_bulk(link, key);
    if (bulk == NULL && link->n_bulk < GI_BROKER_BULK_MAX) {
        bulk = &link->bulk[link->n_bulk++];
        *bulk = (gi_broker_bulk_t){key, 0};
    }
    if (bulk)
        bulk->n++;
    block->bulk = true;
    block->key = bulk ? key : 0;
    s_wrote(self, link, block, size);
    gi_broker_uplink_give(self, block);
}

static void s_bulk_back(gi_broker_link_t *link, uint64_t key) {
    gi_broker_bulk_t *bulk = key ? s_bulk(link, key) : NULL;
    if (bulk && --bulk->n == 0)
        *bulk = link->bulk[--link->n_bulk];
}

void gi_broker_uplink_done(gi_broker_uplink_t *self, gi_link_block_t *block) {
    gi_broker_link_t *link = gi_broker_uplink_link(self, block->node);
    if (link && link->life == block->life) {
        link->under_way -= block->credit;
        if (block->bulk)
            s_bulk_back(link, block->key);
    }
    gi_link_block_free(block);
}

static bool s_fragments(gi_broker_uplink_t *self, gi_broker_link_t *link,
                        gate_bytes_t record, uint64_t key, int64_t now_ms) {
    uint32_t id = ++link->fragment ? link->fragment : ++link->fragment;
    size_t at = 0, bytes = GI_LINK_PART_BYTES;
    if (bytes > self->whole_max - GI_LINK_PART_HEAD)
        bytes = self->whole_max - GI_LINK_PART_HEAD;
    while (at < record.size) {
        gi_link_block_t *block =
            s_block(link, bytes + GI_LINK_PART_HEAD, now_ms);
        if (block == NULL)
            return false; /* the other side drops what it has with the link */
        unsigned char *to = gi_link_block_bytes(block),
                      *end = gi_link_parts_write(id, record, bytes, &at, to);
        s_give_bulk(self, link, block, key, (size_t)(end - to));
    }
    return true;
}

/* A record on its own, behind others of the same client. */
static bool s_write_bulk(gi_broker_uplink_t *self, gi_broker_link_t *link,
                         const gi_broker_record_t *r, size_t size,
                         int64_t now_ms) {
    s_close(self, link); /* what was written before goes before */
    gi_link_block_t *block = s_block(link, size, now_ms);
    if (block == NULL)
        return false;
    unsigned char *to = gi_link_block_bytes(block);
    gi_link_record_write(r->type, r->flags, r->f, r->n, to);
    if (size <= self->whole_max) {
        s_give_bulk(self, link, block, r->key, size);
        return true;
    }
    bool ok = s_fragments(self, link, (gate_bytes_t){to, size}, r->key, now_ms);
    gi_link_block_free(block);
    return ok;
}

static bool s_write(gi_broker_uplink_t *self, gi_broker_link_t *link,
                    const gi_broker_record_t *r, int64_t now_ms) {
    size_t size = gi_link_record_size(r->f, r->n);
    if (size > self->whole_max || (link->n_bulk && s_follows(link, r->key)))
        return s_write_bulk(self, link, r, size, now_ms);
    unsigned char *to = s_room(self, link, size, now_ms);
    if (to == NULL)
        return false;
    gi_link_record_write(r->type, r->flags, r->f, r->n, to);
    s_wrote(self, link, link->open, size);
    return true;
}

/* ---- what the core sends ------------------------------------------------- */
static uint64_t s_key(gate_bytes_t client) {
    return gi_table_hash(1, client.data, client.size) | 1;
}

/* id "" MDPW01 command client "" request_id body... */
static bool s_to_worker(gi_broker_uplink_t *self, const gate_bytes_t *v,
                        unsigned n, gi_broker_record_t *r) {
    int command = n > 6 ? *(const unsigned char *)v[3].data : 0;
    if (command != GI_MDP_REQUEST && command != GI_MDP_EXT)
        return false; /* heartbeats and the like are the link's own */
    r->type = command == GI_MDP_REQUEST ? GI_LINK_REQUEST : GI_LINK_CONTROL;
    r->f[0] =
        command == GI_MDP_REQUEST
            ? gi_broker_core_far_name(self->core, v[0])
            : (gate_bytes_t){
                  (const unsigned char *)v[0].data + GI_LINK_NODE_SIZE, 4};
    r->f[1] = v[4];
    r->key = s_key(v[4]);
    for (unsigned i = 6; i < n; i++)
        r->f[i - 4] = v[i];
    r->n = n - 4;
    return r->f[0].size > 0;
}

/* id flags MDPC01 service request_id body... */
static bool s_to_client(const gate_bytes_t *v, unsigned n,
                        gi_broker_record_t *r) {
    if (n < 6)
        return false;
    r->type = n == 6 && gi_ext_is(v[5]) ? GI_LINK_CREDIT : GI_LINK_REPLY;
    r->flags = v[1].size ? *(const unsigned char *)v[1].data : 0;
    r->f[0] =
        (gate_bytes_t){(const unsigned char *)v[0].data + GI_LINK_NODE_SIZE,
                       v[0].size - GI_LINK_NODE_SIZE};
    r->key = s_key(r->f[0]);
    for (unsigned i = 4; i < n; i++)
        r->f[i - 3] = v[i];
    r->n = n - 3;
    return true;
}

int gi_broker_uplink_send(gi_broker_uplink_t *self, unsigned socket,
                          gi_frames_t *frames, int64_t now_ms) {
    const gate_bytes_t *v = gi_frames_views(frames);
    gi_broker_record_t r = {.flags = 0};
    gi_broker_link_t *link = v[0].size > GI_LINK_NODE_SIZE
                                 ? gi_broker_uplink_link(self, v[0].data)
                                 : NULL;
    if (link == NULL)
        return EHOSTUNREACH;
    if (link->under_way >= (size_t)self->settings->uplink_node_bytes)
        return EAGAIN;
    bool wanted = socket == self->workers ? s_to_worker(self, v, frames->n, &r)
                                          : s_to_client(v, frames->n, &r);
    if (wanted && !s_write(self, link, &r, now_ms))
        return EAGAIN; /* no memory: it is tried again */
    self->requests_out += wanted && r.type == GI_LINK_REQUEST;
    self->replies_out += wanted && r.type == GI_LINK_REPLY;
    gi_frames_close(frames);
    return 0;
}

void gi_broker_uplink_share(gi_broker_uplink_t *self, const unsigned char *node,
                            uint32_t index, uint32_t share, int64_t now_ms) {
    unsigned char number[2][4];
    gi_broker_record_t r = {.type = GI_LINK_SHARE, .n = 2};
    gi_broker_link_t *link = gi_broker_uplink_link(self, node);
    gi_link_put32(number[0], index);
    gi_link_put32(number[1], share);
    r.f[0] = (gate_bytes_t){number[0], 4};
    r.f[1] = (gate_bytes_t){number[1], 4};
    if (link)
        s_write(self, link, &r, now_ms);
}

/* ---- passes -------------------------------------------------------------- */
void gi_broker_uplink_work(gi_broker_uplink_t *self, int64_t now_ms) {
    gi_broker_uplink_offer(self, now_ms);
    for (gi_list_t *l = self->links.next; l != &self->links; l = l->next)
        s_close(self, GI_OF(l, gi_broker_link_t, place));
    if (!gi_list_empty(&self->used) && s_used_are_due(self, now_ms)) {
        gi_list_prepend_all(&self->outbox, &self->used);
        self->used_bytes = 0;
    }
    s_push_outbox(self);
}

int64_t gi_broker_uplink_next(const gi_broker_uplink_t *self, int64_t now_ms) {
    if (self->runs && !gi_list_empty(&self->outbox))
        return now_ms + S_RETRY_MS;
    int64_t offer = gi_broker_uplink_offered(self) ? INT64_MAX : self->offer_ms;
    int64_t used = gi_list_empty(&self->used) || !self->runs
                       ? INT64_MAX
                       : self->used_ms + S_USED_MS;
    return used < offer ? used : offer;
}

void gi_broker_uplink_bound(gi_broker_uplink_t *self, size_t message_max) {
    size_t most = message_max > GI_LINK_HEAD ? message_max - GI_LINK_HEAD : 0;
    self->whole_max = most > 0 && most < S_WHOLE_MAX ? most : S_WHOLE_MAX;
}
