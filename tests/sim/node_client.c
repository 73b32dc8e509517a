/* SPDX-License-Identifier: BSD-3-Clause */
/* node_client.c -- clients: ours (node_ours.c) and a model of Python's, without
 * deadlines, credit and cancel. They keep the accounts: what came of each
 * call. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A call without a deadline is answered by then: it waits, runs, its worker is lost
 * in silence at the worst, or cut off from what it says, and there is a reserve. */
#define ANSWER_MS \
    (SIM_QUEUE_MAX + 2 * SIM_SERVE_MAX + SIM_REPLY_MAX + 4 * SIM_SILENCE + 5000)

static void s_begin(const sim_open_t *o, const char *service, gi_frames_t *m) {
    char id[16];
    m->n = 0;
    gi_frames_add(m, NULL, 0);
    gi_frames_add(m, GI_MDP_CLIENT, GI_MDP_TAG_SIZE);
    gi_frames_add(m, service, strlen(service));
    snprintf(id, sizeof id, "%06u", o->call);
    gi_frames_add(m, id, 6);
}

static void s_end(sim_world_t *w, sim_open_t *o) {
    w->call[o->call].ended = true;
    o->used = false;
}

/* ---- calling ---------------------------------------------------------------- */
void sim_client_start(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    self->extended = node % 2 == 0;
    self->reads = true;
    memset(self->open, 0, sizeof self->open);
    snprintf(self->id, sizeof self->id, "c%u%03u", node, self->life % 1000);
    if (self->extended)
        sim_ours_start(w, node);
    sim_connect(w, node);
}

void sim_client_up(sim_world_t *w, unsigned node) {
    if (w->node[node].extended)
        sim_ours_up(w, node);
}

void sim_client_dies(sim_world_t *w, unsigned node) {
    if (w->node[node].ours)
        sim_ours_end(w, node);
}

static void s_register(sim_world_t *w, unsigned node, sim_open_t *o, unsigned b,
                       unsigned c) {
    sim_node_t *self = &w->node[node];
    *o = (sim_open_t){.used = true, .call = w->n_calls++};
    w->call[o->call] = (sim_call_t){
        .client = node,
        .born_ms = w->now,
        .gone_ms = INT64_MAX,
        .due_ms = w->now + (self->extended ? SIM_CALL_MS : ANSWER_MS),
        .stream = b % 4 == 1,
        .idempotent = b % 4 == 2,
        .items = b % 4 == 1 ? c % 40 : c,
        .perturbed = !self->conn || self->conn->thaw_ms > w->now ||
                     self->stalled_ms > w->now};
}

/* func, args: [number, what, how], kwargs; what is items of a stream or 40 ms,
 * how is for a service of ours. */
static void s_request(sim_world_t *w, const sim_open_t *o, unsigned b,
                      uint8_t how, sim_request_t *r) {
    static const char *const funcs[] = {"\xa3one", "\xa3gen",
                                        "\xa5"
                                        "again",
                                        "\xa3one"};
    const char *func = funcs[b % 4];
    unsigned char args[SIM_ARGS] = {0x93,
                                    0xcd,
                                    (unsigned char)(o->call >> 8),
                                    (unsigned char)o->call,
                                    0xcc,
                                    (unsigned char)w->call[o->call].items,
                                    0xcc,
                                    how};
    r->service = b % 16 == 15 ? "T" : "S";
    r->func_size = strlen(func);
    memcpy(r->body, func, r->func_size);
    memcpy(r->body + r->func_size, args, SIM_ARGS);
    r->body[r->func_size + SIM_ARGS] = 0x80;
}

static void s_send(sim_world_t *w, unsigned node, const sim_open_t *o,
                   const sim_request_t *r) {
    gi_frames_t m;
    s_begin(o, r->service, &m);
    gi_frames_add(&m, r->body, r->func_size);
    gi_frames_add(&m, r->body + r->func_size, SIM_ARGS);
    gi_frames_add(&m, "\x80", 1);
    sim_send(w, node, &m);
}

void sim_client_call(sim_world_t *w, unsigned node, unsigned b, unsigned c) {
    sim_node_t *self = &w->node[node];
    sim_open_t *o = self->open;
    sim_request_t request;
    while (o < self->open + SIM_OPEN && o->used)
        o++;
    if (o == self->open + SIM_OPEN || w->n_calls == SIM_CALLS)
        return;
    s_register(w, node, o, b, c);
    s_request(w, o, b, SIM_HOW(b, c), &request);
    if (self->extended)
        sim_ours_call(w, node, (unsigned)(o - self->open), &request);
    else
        s_send(w, node, o, &request);
}

static void s_give_up(sim_world_t *w, unsigned node, sim_open_t *o) {
    w->call[o->call].left = true;
    if (w->node[node].extended)
        sim_ours_cancel(w, node, (unsigned)(o - w->node[node].open));
    else
        s_end(w, o);
}

void sim_client_cancel(sim_world_t *w, unsigned node, unsigned which) {
    sim_open_t *o = &w->node[node].open[which % SIM_OPEN];
    if (o->used)
        s_give_up(w, node, o);
}

/* What was under way to us is lost; Python's never learns of it. */
void sim_client_cut(sim_world_t *w, unsigned node) {
    for (unsigned i = 0; i < SIM_OPEN; i++) {
        sim_open_t *o = &w->node[node].open[i];
        if (o->used)
            w->call[o->call].perturbed = o->gaps = true;
    }
    if (w->node[node].ours)
        sim_ours_cut(w, node);
}

/* ---- answers ---------------------------------------------------------------- */
void sim_client_read(sim_world_t *w, unsigned node) {
    if (w->node[node].ours)
        sim_ours_read(w, node);
}

static sim_open_t *s_find(sim_world_t *w, unsigned node, gate_bytes_t id,
                          unsigned *number) {
    char text[8] = "";
    *number = SIM_CALLS;
    if (id.size != 6) /* the broker asks whether anybody is there */
        return NULL;
    memcpy(text, id.data, 6);
    *number = (unsigned)atoi(text);
    for (unsigned i = 0; i < SIM_OPEN; i++) {
        sim_open_t *o = &w->node[node].open[i];
        if (o->used && o->call == *number)
            return o;
    }
    return NULL;
}

static void s_item(sim_world_t *w, sim_open_t *o, gate_bytes_t item) {
    const unsigned char *p = item.data;
    unsigned got = item.size == 2 ? p[1] : 999;
    if (got != o->next && !o->gaps)
        sim_fail(w, "call %u: item %u came, %u is next", o->call, got, o->next);
    o->next = got + 1;
    w->n_items++;
}

void sim_client_message(sim_world_t *w, unsigned node, const sim_msg_t *m) {
    gi_mdp_reply_t r;
    unsigned number;
    if (w->node[node].extended) {
        sim_ours_message(w, node, m);
        return;
    }
    if (gi_mdp_parse_reply(m->f, m->n, &r) != GATE_OK)
        sim_fail(w, "a client hears what is no reply");
    if (r.n_body == 1 && gi_ext_is(m->f[r.body]))
        return; /* of huge arguments: these have none */
    sim_open_t *o = s_find(w, node, m->f[r.request_id], &number);
    gi_body_kind_t kind = gi_rpc_body_kind(m->f + r.body, r.n_body);
    const sim_call_t *call = &w->call[number];
    if (number == SIM_CALLS)
        return;
    if (!o) {
        if (gi_body_is_final(kind) && !call->left && call->client == node &&
            call->ended)
            sim_fail(w, "call %u has two ends", number);
        return;
    }
    if (kind == GI_BODY_ITEM) {
        s_item(w, o, m->f[r.body + 1]);
    } else if (kind == GI_BODY_END && o->next != call->items && !o->gaps) {
        sim_fail(w, "call %u: END after %u of %u items", number, o->next,
                 call->items);
    }
    if (gi_body_is_final(kind)) {
        w->n_finals++;
        s_end(w, o);
    }
}

/* ---- time -------------------------------------------------------------------- */
void sim_client_tick(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    if (self->extended)
        sim_ours_tick(w, node);
    for (unsigned i = 0; i < SIM_OPEN; i++) {
        sim_open_t *o = &self->open[i];
        if (!o->used || w->call[o->call].due_ms > w->now)
            continue;
        if (!self->extended && !w->call[o->call].perturbed)
            sim_fail(w, "call %u has no answer after %d ms", o->call,
                     ANSWER_MS);
        s_give_up(w, node, o);
    }
}

int64_t sim_client_next(const sim_world_t *w, unsigned node) {
    int64_t next = w->node[node].extended ? sim_ours_next(w, node) : INT64_MAX;
    for (unsigned i = 0; i < SIM_OPEN; i++) {
        const sim_open_t *o = &w->node[node].open[i];
        if (o->used && w->call[o->call].due_ms < next)
            next = w->call[o->call].due_ms;
    }
    return next;
}
