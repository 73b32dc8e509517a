/* SPDX-License-Identifier: BSD-3-Clause */
/* life_stream.c -- a call that answers with many items. Who produces may be a
 * handler on a pool (it takes credit itself), a pool's job or process (it has a
 * copy of the credit) or a generator, pulled while there is credit.
 *
 * Credit comes from the reader when it is one of ours (docs/extensions.md); for
 * other peers from the connection: an item that it took is given back, so that a
 * producer is never further ahead than one window.
 * Law: an item is sent or its stream fails; none is left out. */
#include "service/core/life.h"

#include "base/err.h"
#include "service/core/service_core.h"

#define S_PULL_MAX 64 /* items of one generator per pass */

/* ---- credit -------------------------------------------------------------- */
static bool s_is_lent(const gi_life_t *life) {
    return life->submitted || (life->lends && life->state == GI_LIFE_RUNNING);
}

static void s_give(gi_life_t *life, int64_t items, int64_t bytes) {
    gi_credit_give(&life->credit, items, bytes);
    if (s_is_lent(life))
        life->core->ops->give(life, items, bytes);
}

/* There is some: who waits for it here. */
static void s_go_on(gi_life_t *life) {
    if (life->state == GI_LIFE_PULLED)
        gi_life_wake(life);
    else if (life->state == GI_LIFE_JOB && !life->submitted)
        gi_life_submit(life);
}

void gi_life_credit(gi_life_t *life, int64_t items, int64_t bytes) {
    if (life->state == GI_LIFE_DONE)
        return;
    s_give(life, items, bytes);
    s_go_on(life);
}

void gi_life_unblock_all(gi_service_core_t *self, const void *owner) {
    gi_life_t *next;
    for (gi_life_t *life = self->live; life; life = next) {
        next = life->next;
        if (life->owner != owner || !life->unsent_items)
            continue;
        int64_t items = life->unsent_items, bytes = life->unsent_bytes;
        life->unsent_items = life->unsent_bytes = 0;
        gi_life_credit(life, items, bytes);
    }
}

/* ---- items --------------------------------------------------------------- */
static gate_err_t s_send(gi_life_t *life, const void *data, size_t size) {
    bool queued = false;
    if (life->bulk)
        return gi_err_story(GATE_RAISED, "TypeError",
                            "an item among the chunks of a huge result", "");
    life->core->stats.items++;
    life->sent++;
    gate_err_t e = life->core->ops->send(life, data, size, &queued);
    if (e || life->credited)
        return e;
    if (queued) {
        life->unsent_items++;
        life->unsent_bytes += (int64_t)size;
    } else {
        s_give(life, 1, (int64_t)size);
    }
    return GATE_OK;
}

static void s_break(gi_life_t *life, gate_err_t e) {
    gate_error_t story = *gate_error();
    if (e == GATE_CANCELLED)
        gi_life_cancel(life);
    else
        gi_life_cut(life, &story);
}

void gi_life_item(gi_life_t *life, const void *data, size_t size) {
    if (life->state == GI_LIFE_DONE || life->cancelled)
        return;
    if (s_is_lent(life))
        gi_credit_spend(&life->credit, size);
    gate_err_t e = s_send(life, data, size);
    if (e)
        s_break(life, e);
}

void gi_life_item_lost(gi_life_t *life) {
    if (life->state != GI_LIFE_DONE)
        s_break(life, gate_error()->code);
}

/* What it makes of a failure does not count. */
gate_err_t gi_life_pulled_item(gi_life_t *life, const void *data, size_t size) {
    gi_credit_spend(&life->credit, size);
    gate_err_t e = s_send(life, data, size);
    life->broke = life->broke ? life->broke : e;
    return e;
}

/* ---- generators ---------------------------------------------------------- */
void gi_life_wake(gi_life_t *life) {
    gi_service_core_t *core = life->core;
    if (life->awake)
        return;
    life->awake = true;
    life->pull_prev = NULL;
    life->pull_next = core->pulled;
    if (life->pull_next)
        life->pull_next->pull_prev = life;
    core->pulled = life;
}

void gi_life_pause(gi_life_t *life) {
    if (!life->awake)
        return;
    life->awake = false;
    if (life->pull_prev)
        life->pull_prev->pull_next = life->pull_next;
    else
        life->core->pulled = life->pull_next;
    if (life->pull_next)
        life->pull_next->pull_prev = life->pull_prev;
}

/* One item: true while there may be more at once. */
static bool s_pull_one(gi_life_t *life) {
    uint64_t sent = life->sent;
    life->pulling = true;
    gate_err_t e = life->core->ops->pull(life);
    life->pulling = false;
    if (!e && life->broke)
        e = life->broke;
    if (!e && life->sent == sent) { /* it would be asked again for ever */
        (void)gi_err_story(GATE_RAISED, "RuntimeError",
                           "a generator's step returned GATE_OK without an "
                           "item",
                           "");
        s_break(life, GATE_RAISED);
        return false;
    }
    if (!e)
        return true;
    gi_life_returned(life, e, GI_LIFE_PULLED);
    return false;
}

static bool s_pull(gi_life_t *life) {
    const gi_life_ops_t *ops = life->core->ops;
    for (int i = 0; i < S_PULL_MAX; i++) {
        if (!ops->may_pull(life))
            return i > 0;
        if (!gi_credit_any(&life->credit)) {
            gi_life_pause(life);
            return i > 0;
        }
        if (!s_pull_one(life))
            return true;
    }
    return true;
}

bool gi_life_pull_all(gi_service_core_t *self) {
    bool any = false;
    gi_life_t *next;
    for (gi_life_t *life = self->pulled; life; life = next) {
        next = life->pull_next;
        any |= s_pull(life);
    }
    return any;
}
