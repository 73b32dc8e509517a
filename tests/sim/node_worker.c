/* SPDX-License-Identifier: BSD-3-Clause */
/* node_worker.c -- a model of a worker: ours (announces itself, yields while
 * there is credit, hears cancel, forgets its calls with its connection) or
 * Python's (echoes heartbeats, yields at will, never notices that a connection
 * was cut, goes on under the same identity). A method "one" and "again" run for
 * 40 ms times what they are given, "gen" yields so many numbers. */
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
    w->node[node].beat_ms = w->now + SIM_HEARTBEAT;
}

void sim_worker_up(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    if (self->extended) {
        memset(self->slots, 0, sizeof self->slots);
        s_ready(w, node);
    } else if (self->life & 0x8000) { /* said READY on an earlier connection */
        return;
    } else {
        self->life |= 0x8000;
        s_ready(w, node);
    }
}

static void s_beat(sim_world_t *w, unsigned node, bool ext) {
    gi_frames_t m;
    s_begin(&m, GI_MDP_HEARTBEAT);
    if (ext) {
        gi_buf_t packed = {0};
        gi_ext_t e;
        gi_ext_init(&e);
        e.idempotent = (gate_bytes_t){"again", 5};
        e.epoch = w->node[node].life;
        if (gi_ext_pack(&packed, &e) == GATE_OK)
            gi_frames_add(&m, packed.data, packed.size);
        gi_buf_fini(&packed);
    }
    sim_send(w, node, &m);
    w->node[node].beat_ms = w->now + SIM_HEARTBEAT;
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
    if (s->credit != INT64_MAX)
        s->credit--;
    s->end_ms = w->now + YIELD_MS;
}

static void s_exception(sim_world_t *w, unsigned node, sim_slot_t *s,
                        bool stream) {
    gi_frames_t m;
    s_reply(s, &m);
    if (stream) {
        ADD(&m, GI_STREAM_TAG);
        ADD(&m, GI_STREAM_EXCEPTION);
        ADD(&m, "\x93\xaf"
                "Cancelled"
                "Error()"
                "\xa0\xa0");
    } else {
        ADD(&m, "\x82\xa6result\xc0\xa9"
                "exception\x93\xa6"
                "Cancel\xa0\xa0");
    }
    sim_send(w, node, &m);
    s->used = false;
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

static void s_refuse(sim_world_t *w, unsigned node, gate_bytes_t client,
                     gate_bytes_t id) {
    sim_slot_t s = {.client_size = (unsigned)client.size,
                    .id_size = (unsigned)id.size};
    memcpy(s.client, client.data, client.size);
    memcpy(s.id, id.data, id.size);
    s_exception(w, node, &s, false);
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
        /* Python's still has what the broker gave up when it was cut off */
        if (self->extended)
            sim_fail(w, "a worker of %d slots is given one more", SIM_SLOTS);
        s_refuse(w, node, client, id);
        return;
    }
    s_ran(w, number);
    *s = (sim_slot_t){.used = true,
                      .call = number,
                      .client_size = (unsigned)client.size,
                      .id_size = (unsigned)id.size,
                      .deadline_ms = INT64_MAX,
                      .credit = INT64_MAX};
    memcpy(s->client, client.data, client.size);
    memcpy(s->id, id.data, id.size);
    if (memcmp(func.data, "\xa3gen", 4) == 0) {
        s->items = what;
        s->end_ms = w->now + YIELD_MS;
    } else {
        s->items = UINT32_MAX;
        s->end_ms = w->now + 40 * (int64_t)what;
    }
    if (r->n_body > 3 && gi_ext_is(m->f[r->body + 3])) {
        gi_ext_t ext;
        if (!self->extended)
            sim_fail(w, "a Python worker is sent an extension");
        if (gi_ext_parse(m->f[r->body + 3], &ext) != GATE_OK)
            sim_fail(w, "an extension that cannot be read");
        if (ext.credit_items >= 0)
            s->credit = ext.credit_items;
        if (ext.timeout_ms >= 0)
            s->deadline_ms = w->now + ext.timeout_ms;
    }
}

static void s_told(sim_world_t *w, unsigned node, const sim_msg_t *m,
                   const gi_mdp_worker_t *r) {
    sim_node_t *self = &w->node[node];
    gi_ext_t ext;
    sim_slot_t *s = s_slot(self, m->f[r->request_id]);
    if (!self->extended)
        sim_fail(w, "a Python worker is sent an extension");
    if (!s || gi_ext_parse(m->f[r->body], &ext) != GATE_OK)
        return;
    if (ext.cancel)
        s_exception(w, node, s, s->items != UINT32_MAX);
    else if (ext.credit_items > 0 && s->credit != INT64_MAX)
        s->credit += ext.credit_items;
}

void sim_worker_message(sim_world_t *w, unsigned node, const sim_msg_t *m) {
    sim_node_t *self = &w->node[node];
    gi_mdp_worker_t r;
    if (gi_mdp_parse_broker(m->f, m->n, &r) != GATE_OK)
        sim_fail(w, "a worker hears what is no message of a broker");
    switch (r.command) {
    case GI_MDP_REQUEST:
        s_request(w, node, m, &r);
        break;
    case GI_MDP_EXT:
        s_told(w, node, m, &r);
        break;
    case GI_MDP_HEARTBEAT:
        if (!self->extended)
            s_beat(w, node, false);
        else if (!self->broker_speaks)
            s_beat(w, node, self->broker_speaks = r.n_body > 0);
        break;
    default: /* DISCONNECT: again under a new connection; Python's ends */
        sim_cut(w, node, 1);
        self->connect_ms = self->extended ? w->now + 500 : INT64_MAX;
        if (!self->extended) {
            self->alive = false;
            memset(self->slots, 0, sizeof self->slots);
        }
    }
}

void sim_worker_leave(sim_world_t *w, unsigned node) {
    gi_frames_t m;
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
    else if (s->credit > 0)
        s_yield(w, node, s);
}

static bool s_waits(const sim_slot_t *s) {
    return s->items != UINT32_MAX && s->next < s->items && s->credit <= 0;
}

/* The call of somebody who is no more was not cancelled. */
static void s_check_gone(sim_world_t *w, unsigned node, const sim_slot_t *s) {
    int64_t gone_ms = w->call[s->call].gone_ms;
    if (gone_ms != INT64_MAX && w->now > gone_ms + SIM_GONE_MAX)
        sim_fail(w,
                 "worker %u goes on with call %u, whose client has been gone "
                 "for %d ms",
                 node, s->call, (int)(w->now - gone_ms));
}

void sim_worker_tick(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    for (unsigned i = 0; i < SIM_SLOTS && self->conn; i++) {
        sim_slot_t *s = &self->slots[i];
        if (s->used && s->deadline_ms <= w->now)
            s_exception(w, node, s, s->items != UINT32_MAX);
        if (s->used && s->end_ms <= w->now)
            s_work(w, node, s);
        if (s->used && self->extended && self->broker_speaks && !s->hidden)
            s_check_gone(w, node, s);
    }
    if (self->extended && self->conn && self->beat_ms <= w->now)
        s_beat(w, node, self->broker_speaks);
    if (self->conn && self->heard_ms + SIM_SILENCE + SIM_HEARTBEAT <= w->now) {
        sim_cut(w, node, 1);
        self->connect_ms = w->now + 100;
        if (!self->extended) { /* it has noticed: READY anew */
            self->life &= 0x7fff;
            memset(self->slots, 0, sizeof self->slots);
        }
    }
}

int64_t sim_worker_next(const sim_world_t *w, unsigned node) {
    const sim_node_t *self = &w->node[node];
    if (!self->conn)
        return INT64_MAX;
    int64_t next = self->heard_ms + SIM_SILENCE + SIM_HEARTBEAT;
    if (self->extended && self->beat_ms < next)
        next = self->beat_ms;
    for (unsigned i = 0; i < SIM_SLOTS; i++) {
        const sim_slot_t *s = &self->slots[i];
        if (s->used && !s_waits(s) && s->end_ms < next)
            next = s->end_ms;
        if (s->used && s->deadline_ms < next)
            next = s->deadline_ms;
    }
    return next;
}
