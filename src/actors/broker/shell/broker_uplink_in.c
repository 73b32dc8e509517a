/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_uplink_in.c -- what comes in: blocks of the uplink, and in them the
 * records of other brokers. Whatever cannot be read ends the link that it came
 * by, and nothing else. */
#include "broker/shell/broker_uplink_impl.h"

#include <gaterpc/log.h>
#include <string.h>
#include "base/err.h"

#define S_PART "uplink"
#define S_RECORD_SLACK 65536 /* of a record, beyond the largest body */

/* ---- records ------------------------------------------------------------- */
static gate_err_t s_bad(void) {
    return gi_err(GATE_BADDATA, "a record of other frames than its type has");
}

static gate_err_t s_share(gi_broker_uplink_t *self, const unsigned char *node,
                          const gate_bytes_t *f, unsigned n, int64_t now_ms) {
    if (n != 2 || f[0].size != 4 || f[1].size != 4)
        return s_bad();
    gi_broker_core_far_share(self->core, node, gi_link_get32(f[0].data),
                             gi_link_get32(f[1].data), now_ms);
    return GATE_OK;
}

static gate_err_t s_record(gi_broker_uplink_t *self, gi_broker_link_t *link,
                           const gi_link_record_t *record, int64_t age_ms,
                           int64_t now_ms) {
    gate_bytes_t f[GI_LINK_FRAMES_MAX];
    unsigned n = 0;
    bool ok = false;
    gate_err_t e =
        gi_link_record_frames(record->body, GI_LINK_FRAMES_MAX, f, &n);
    if (e)
        return e;
    switch (record->type) {
    case GI_LINK_REQUEST:
        ok = gi_broker_core_far_request(self->core, link->node, f, n, age_ms,
                                        now_ms);
        break;
    case GI_LINK_CONTROL:
        ok = gi_broker_core_far_control(self->core, link->node, f, n, now_ms);
        break;
    case GI_LINK_REPLY:
        ok = gi_broker_core_far_reply(self->core, link->node, record->flags, f,
                                      n, now_ms);
        break;
    case GI_LINK_CREDIT:
        ok = gi_broker_core_far_credit(self->core, link->node, f, n, now_ms);
        break;
    case GI_LINK_SHARE:
        return s_share(self, link->node, f, n, now_ms);
    case GI_LINK_FRAGMENT:
        break; /* in one: none */
    }
    return ok ? GATE_OK : s_bad();
}

static gate_err_t s_fragment(gi_broker_uplink_t *self, gi_broker_link_t *link,
                             const gi_link_record_t *fragment, int64_t age_ms,
                             int64_t now_ms) {
    unsigned char *whole = NULL;
    size_t size = 0,
           max = (size_t)self->settings->message_bytes_max + S_RECORD_SLACK;
    gi_link_record_t record;
    self->fragments++;
    gate_err_t e =
        gi_link_parts_take(&link->parts, fragment, max, &whole, &size);
    if (e || whole == NULL)
        return e;
    gate_bytes_t rest = {whole, size};
    e = gi_link_record_next(&rest, &record);
    if (!e)
        e = s_record(self, link, &record, age_ms, now_ms);
    gi_mem_free(whole);
    return e;
}

static gate_err_t s_records(gi_broker_uplink_t *self, gi_broker_link_t *link,
                            gate_bytes_t rest, int64_t age_ms, int64_t now_ms) {
    gate_err_t e = GATE_OK;
    while (rest.size && !e) {
        gi_link_record_t record;
        e = gi_link_record_next(&rest, &record);
        self->records_in += !e;
        if (!e && record.type == GI_LINK_FRAGMENT)
            e = s_fragment(self, link, &record, age_ms, now_ms);
        else if (!e)
            e = s_record(self, link, &record, age_ms, now_ms);
    }
    return e;
}

static void s_data(gi_broker_uplink_t *self, gi_link_block_t *block,
                   int64_t now_ms) {
    gi_broker_link_t *link = gi_broker_uplink_link(self, block->node);
    gate_err_t e = GATE_OK;
    if (link && link->life == block->life && !link->bad)
        e = s_records(self, link,
                      (gate_bytes_t){gi_link_block_bytes(block), block->size},
                      block->at_ms, now_ms);
    block->what = GI_UPLINK_USED;
    if (e) {
        gate_log(GATE_ERROR, S_PART, "another broker sends what is none: %s",
                 gate_error()->text);
        self->malformed++;
        link->bad = true;
        block->what = GI_UPLINK_BAD;
    }
    gi_broker_uplink_used(self, block, now_ms);
}

/* ---- blocks -------------------------------------------------------------- */
static void s_lost(gi_broker_uplink_t *self, const unsigned char *node,
                   int64_t now_ms) {
    gi_broker_link_t *link = gi_broker_uplink_link(self, node);
    self->last = NULL;
    if (link)
        gi_broker_uplink_drop_link(self, link);
    gi_broker_core_far_lost(self->core, node, now_ms);
}

static void s_up(gi_broker_uplink_t *self, const gi_link_block_t *block,
                 int64_t now_ms) {
    s_lost(self, block->node, now_ms); /* nothing of another life is left */
    gi_broker_link_t *link = gi_mem_calloc(1, sizeof *link);
    if (link == NULL)
        return; /* nothing can be sent there, and all of it says so */
    memcpy(link->node, block->node, sizeof link->node);
    link->life = block->life;
    gi_list_init(&link->place);
    gi_list_append(&self->links, &link->place);
}

static void s_state(gi_broker_uplink_t *self, gi_link_block_t *block) {
    const gi_uplink_state_t *state = (const void *)block->own;
    gi_link_block_free(self->state);
    self->state = block;
    if (state->message_max)
        gi_broker_uplink_bound(self, state->message_max);
}

static void s_take(gi_broker_uplink_t *self, gi_link_block_t *block,
                   int64_t now_ms) {
    switch ((gi_uplink_what_t)block->what) {
    case GI_UPLINK_DATA:
        s_data(self, block, now_ms);
        return;
    case GI_UPLINK_DONE:
        gi_broker_uplink_done(self, block);
        return;
    case GI_UPLINK_STATE:
        s_state(self, block);
        return;
    case GI_UPLINK_HELLO:
        self->runs = true;
        break;
    case GI_UPLINK_UP:
        s_up(self, block, now_ms);
        break;
    case GI_UPLINK_LOST:
        s_lost(self, block->node, now_ms);
        break;
    case GI_UPLINK_NEWS:
        gi_broker_uplink_news(self, block, now_ms);
        break;
    case GI_UPLINK_USED:
    case GI_UPLINK_BAD:
    case GI_UPLINK_OFFERS:
        break; /* ours alone */
    }
    gi_link_block_free(block);
}

void gi_broker_uplink_mail(gi_broker_uplink_t *self, void **items, size_t n,
                           int64_t now_ms) {
    gi_broker_seen_pass(self->core);
    for (size_t i = 0; i < n; i++) {
        gi_list_t blocks;
        gi_link_blocks_unchain(&blocks, items[i]);
        for (gi_link_block_t *block; (block = gi_link_blocks_pop(&blocks));)
            s_take(self, block, now_ms);
    }
}
