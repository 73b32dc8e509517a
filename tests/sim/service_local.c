/* SPDX-License-Identifier: BSD-3-Clause */
/* service_local.c -- callers in the process of a service: their calls come by
 * mail, their answers need no socket. A reader of a stream reads at once, or
 * never; or leaves after some items, or when nothing has come for too long. */
#include "service.h"

enum { READER_MS = 5000, LEAVES_AFTER = 3 };

/* ---- calling ------------------------------------------------------------- */
static void s_register(sim_world_t *w, unsigned number,
                       const sim_handler_t *d) {
    w->call[number] = (sim_call_t){.client = SIM_NODES,
                                   .born_ms = w->now,
                                   .gone_ms = INT64_MAX,
                                   .due_ms = INT64_MAX,
                                   .stream = d->stream,
                                   .idempotent = d->idempotent,
                                   .items = d->items};
}

void sim_local_call(sim_world_t *w, unsigned node, unsigned b, unsigned c) {
    static const char *const funcs[] = {"one", "gen", "again", "one"};
    sim_service_t *self = w->node[node].serves;
    if (!self || self->core.stopping || w->n_calls == SIM_CALLS)
        return;
    sim_scall_t *call = sim_scall_new(self);
    if (!call)
        return;
    bool stream = b % 4 == 1;
    call->does = sim_handler(funcs[b % 4], stream ? c % 40 : c, SIM_HOW(b, c));
    call->call = w->n_calls++;
    s_register(w, call->call, &call->does);
    call->heard_ms = w->now;
    call->reads = c % 8 != 7;
    call->leaves = c % 16 == 3;
    call->life.urgent = b & 4;
    call->life.item_timeout_ms = stream ? SIM_ITEM_MS : SIM_CALL_MS;
    call->life.deadline_ms = stream ? INT64_MAX : w->now + SIM_CALL_MS;
    sim_hands_open(call);
}

void sim_local_open(sim_scall_t *c) {
    static const gate_error_t leaving = {GATE_NOSERVICE, "ServiceNotFound",
                                         "the service is leaving", ""};
    gi_life_t *life = &c->life;
    life->streamed = c->does.stream;
    life->credited = true;
    life->credit.items = c->credit = SIM_WINDOW;
    life->credit.bytes = GI_CREDIT_FREE;
    life->in_place = sim_is_in_place(c);
    life->lends = c->does.way == SIM_PROCESS;
    if (c->service->core.draining)
        gi_life_refuse(life, &leaving);
    else
        gi_life_arrive(life);
}

/* ---- answers ------------------------------------------------------------- */
void sim_local_item(sim_scall_t *c, unsigned item) {
    sim_world_t *w = c->service->w;
    if (item != c->got)
        sim_fail(w, "call %u, local: item %u came, %u is next", c->call, item,
                 c->got);
    c->got++;
    c->heard_ms = w->now;
    if (c->unread++ == 0)
        c->unread_ms = w->now;
    if (c->unread > SIM_WINDOW)
        sim_fail(w, "call %u, local: %d items wait for its reader", c->call,
                 (int)c->unread);
    w->n_items++;
}

void sim_local_answer(sim_scall_t *c, const gate_error_t *story, bool streams) {
    sim_world_t *w = c->service->w;
    if (!story && !c->life.cancelled &&
        (streams != c->does.stream || c->got != c->does.items))
        sim_fail(w, "call %u, local: its end after %u of %u items", c->call,
                 c->got, c->does.items);
    w->call[c->call].ended = true;
    w->n_finals++;
}

/* ---- readers ------------------------------------------------------------- */
static bool s_is_reader(const sim_scall_t *c) {
    return !c->life.remote && c->does.stream && !c->answers &&
           c->life.state != GI_LIFE_NEW;
}

static int64_t s_leaves_ms(const sim_scall_t *c) {
    if (c->leaves && c->got >= LEAVES_AFTER)
        return c->heard_ms;
    return c->reads && c->heard_ms != INT64_MAX ? c->heard_ms + READER_MS
                                                : INT64_MAX;
}

static void s_reader(sim_scall_t *c, int64_t now) {
    if (c->reads && c->unread) {
        unsigned n = (unsigned)c->unread;
        c->unread = 0;
        sim_hands_credit(c, n);
    }
    if (s_leaves_ms(c) <= now) {
        c->leaves = c->reads = false;
        c->heard_ms = INT64_MAX;
        sim_hands_cancel(c);
    }
}

void sim_local_work(sim_service_t *self) {
    for (sim_scall_t *c = self->used; c; c = c->next)
        if (s_is_reader(c))
            s_reader(c, self->w->now);
}

int64_t sim_local_next(const sim_service_t *self) {
    int64_t next = INT64_MAX;
    for (const sim_scall_t *c = self->used; c; c = c->next)
        if (s_is_reader(c) && s_leaves_ms(c) < next)
            next = s_leaves_ms(c);
    return next;
}
