/* SPDX-License-Identifier: BSD-3-Clause */
/* node_worker.c -- workers: ours (node_service.c) and a model of Python's, which
 * echoes heartbeats, yields at will, never notices that a connection was cut and
 * goes on under the same identity. A method "one" and "again" run for 40 ms
 * times what they are given, "gen" yields so many numbers. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define YIELD_MS 20

static void s_begin(gi_frames_t *m, int command) {
    unsigned char c = (unsigned char)command;
    m->n = 0;
    gi_frames_add(m, NULL, 0);
    gi_frames_add(m, GI_MDP_WORKER, GI_MDP_TAG_SIZE);
    gi_frames_add(m, &c, 1);
}

static void s_ready(sim_world_t *w, unsigned node) {
    char line[32];
    gi_frames_t m;
    s_begin(&m, GI_MDP_READY);
    snprintf(line, sizeof line, "%s:sim:%d", w->node[node].service, SIM_SLOTS);
    gi_frames_add(&m, line, strlen(line));
    sim_send(w, node, &m);
}

void sim_worker_up(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    if (self->serves) {
        sim_service_up(w, node);
    } else if (!(self->life & 0x8000)) { /* nor on an earlier connection */
        self->life |= 0x8000;
        s_ready(w, node);
    }
}

void sim_worker_cut(sim_world_t *w, unsigned node) {
    if (w->node[node].serves)
        sim_service_cut(w, node);
}

static void s_beat(sim_world_t *w, unsigned node) {
    gi_frames_t m;
    s_begin(&m, GI_MDP_HEARTBEAT);
    sim_send(w, node, &m);
}

/* ---- answers ---------------------------------------------------------------- */
static void s_reply(const sim_slot_t *s, gi_frames_t *m) {
    s_begin(m, GI_MDP_REPLY);
    gi_frames_add(m, s->client, s->client_size);
    gi_frames_add(m, NULL, 0);
    gi_frames_add(m, s->id, s->id_size);
}

#define ADD(m, text) gi_frames_add(m, text, sizeof text - 1)

static void s_single(sim_world_t *w, unsigned node, sim_slot_t *s) {
    gi_frames_t m;
    s_reply(s, &m);
    ADD(&m, "\x82\xa6result\x07\xa9"
            "exception\xc0");
    sim_send(w, node, &m);
    s->used = false;
}

static void s_end_stream(sim_world_t *w, unsigned node, sim_slot_t *s) {
    gi_frames_t m;
    s_reply(s, &m);
    ADD(&m, GI_STREAM_TAG);
    ADD(&m, GI_STREAM_END);
    sim_send(w, node, &m);
    s->used = false;
}

static void s_yield(sim_world_t *w, unsigned node, sim_slot_t *s) {
    unsigned char item[2] = {0xcc, (unsigned char)s->next};
    gi_frames_t m;
    s_reply(s, &m);
    ADD(&m, GI_STREAM_TAG);
    gi_frames_add(&m, item, 2);
    sim_send(w, node, &m);
    s->next++;
    s->end_ms = w->now + YIELD_MS;
}

/* ---- requests --------------------------------------------------------------- */
static sim_slot_t *s_slot(sim_node_t *self, gate_bytes_t id) {
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        if (self->slots[i].used && self->slots[i].id_size == id.size &&
            memcmp(self->slots[i].id, id.data, id.size) == 0)
            return &self->slots[i];
    return NULL;
}

static void s_ran(sim_world_t *w, unsigned number) {
    sim_call_t *call = &w->call[number];
    if (call->runs++ && !call->idempotent)
        sim_fail(w, "call %u runs for the %u. time", number, call->runs);
}

/* What the broker gave up when it was cut off is still in its slots. */
static void s_refuse(sim_world_t *w, unsigned node, const gate_bytes_t *client,
                     const gate_bytes_t *id) {
    gi_frames_t m;
    s_begin(&m, GI_MDP_REPLY);
    gi_frames_add(&m, client->data, client->size);
    gi_frames_add(&m, NULL, 0);
    gi_frames_add(&m, id->data, id->size);
    ADD(&m, "\x82\xa6result\xc0\xa9"
            "exception\x93\xa6"
            "Cancel\xa0\xa0");
    sim_send(w, node, &m);
}

static void s_request(sim_world_t *w, unsigned node, const sim_msg_t *m,
                      const gi_mdp_worker_t *r) {
    sim_node_t *self = &w->node[node];
    const unsigned char *args = m->f[r->body + 1].data;
    unsigned number = (unsigned)args[2] << 8 | args[3], what = args[5];
    const gate_bytes_t client = m->f[r->client_id], func = m->f[r->body],
                       id = m->f[r->request_id];
    sim_slot_t *s = self->slots;
    if (s_slot(self, id))
        sim_fail(w, "call %u is given twice to a worker", number);
    while (s < self->slots + SIM_SLOTS && s->used)
        s++;
    if (s == self->slots + SIM_SLOTS) {
        s_refuse(w, node, &client, &id);
        return;
    }
    s_ran(w, number);
    *s = (sim_slot_t){.used = true,
                      .call = number,
                      .client_size = (unsigned)client.size,
                      .id_size = (unsigned)id.size};
    memcpy(s->client, client.data, client.size);
    memcpy(s->id, id.data, id.size);
    if (memcmp(func.data, "\xa3gen", 4) == 0) {
        s->items = what;
        s->end_ms = w->now + YIELD_MS;
    } else {
        s->items = UINT32_MAX;
        s->end_ms = w->now + 40 * (int64_t)what;
    }
    if (r->n_body > 3)
        sim_fail(w, "a Python worker is sent an extension");
}

void sim_worker_message(sim_world_t *w, unsigned node, const sim_msg_t *m) {
    sim_node_t *self = &w->node[node];
    gi_mdp_worker_t r;
    if (self->serves) {
        sim_service_message(w, node, m);
        return;
    }
    if (gi_mdp_parse_broker(m->f, m->n, &r) != GATE_OK)
        sim_fail(w, "a worker hears what is no message of a broker");
    switch (r.command) {
    case GI_MDP_REQUEST:
        s_request(w, node, m, &r);
        break;
    case GI_MDP_EXT:
        sim_fail(w, "a Python worker is sent an extension");
    case GI_MDP_HEARTBEAT:
        s_beat(w, node);
        break;
    default: /* DISCONNECT: it ends */
        sim_cut(w, node, 1);
        self->connect_ms = INT64_MAX;
        self->alive = false;
        memset(self->slots, 0, sizeof self->slots);
    }
}

void sim_worker_leave(sim_world_t *w, unsigned node, bool at_once) {
    gi_frames_t m;
    if (w->node[node].serves) {
        sim_service_leave(w, node, at_once);
        return;
    }
    if (!w->node[node].conn)
        return;
    s_begin(&m, GI_MDP_DISCONNECT);
    sim_send(w, node, &m);
}

/* ---- time -------------------------------------------------------------------- */
static void s_work(sim_world_t *w, unsigned node, sim_slot_t *s) {
    if (s->items == UINT32_MAX)
        s_single(w, node, s);
    else if (s->next == s->items)
        s_end_stream(w, node, s);
    else
        s_yield(w, node, s);
}

static int64_t s_silent_ms(const sim_node_t *self) {
    return self->heard_ms + SIM_SILENCE + SIM_HEARTBEAT;
}

void sim_worker_tick(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    if (self->serves) {
        sim_service_tick(w, node);
        return;
    }
    for (unsigned i = 0; i < SIM_SLOTS && self->conn; i++) {
        sim_slot_t *s = &self->slots[i];
        if (s->used && s->end_ms <= w->now)
            s_work(w, node, s);
    }
    if (self->conn && s_silent_ms(self) <= w->now) {
        sim_cut(w, node, 1);
        self->connect_ms = w->now + 100;
        self->life &= 0x7fff; /* it has noticed: READY anew */
        memset(self->slots, 0, sizeof self->slots);
    }
}

int64_t sim_worker_next(const sim_world_t *w, unsigned node) {
    const sim_node_t *self = &w->node[node];
    if (self->serves)
        return sim_service_next(w, node);
    if (!self->conn)
        return INT64_MAX;
    int64_t next = s_silent_ms(self);
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        if (self->slots[i].used && self->slots[i].end_ms < next)
            next = self->slots[i].end_ms;
    return next;
}
