/* SPDX-License-Identifier: BSD-3-Clause */
/* node_service.c -- our worker: the service's core, with a shell over the
 * simulated network that reads and writes by the real parsers and packers. Its
 * connection lives as that of src/actors/service does: READY when it is up, a new one (under
 * a new identity, or the one that its user chose) when it was cut, was silent or
 * was refused, READY anew on the same one at a DISCONNECT.
 * Law: none comes twice, beyond the slots, or to who was let go. */
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

enum { BACKOFF_MIN = 20, BACKOFF_MAX = SIM_HEARTBEAT / 2, LINGER = 50 };

/* ---- the connection ------------------------------------------------------ */
static void s_name(sim_service_t *self) {
    sim_node_t *node = &self->w->node[self->node];
    if (self->named)
        snprintf(node->id, sizeof node->id, "w%uself", self->node % 10);
    else
        snprintf(node->id, sizeof node->id, "w%u%05u", self->node % 10,
                 ++node->names % 100000);
}

static void s_ready(sim_service_t *self) {
    const char *service = self->w->node[self->node].service;
    char *line = NULL;
    gi_frames_t m;
    if (gi_mdp_compose_ready(service, "sim", SIM_SLOTS, &line))
        abort();
    self->ext = self->ext_told = self->released = false;
    self->state = SIM_LINK_READY_SENT;
    sim_link_begin(&m, GI_MDP_READY);
    gi_frames_add(&m, line, strlen(line));
    sim_link_send(self, &m);
    gi_mem_free(line);
}

static void s_announce(sim_service_t *self) {
    gi_buf_t packed = {0};
    gi_frames_t m;
    sim_link_begin(&m, GI_MDP_HEARTBEAT);
    if (self->ext) {
        gi_ext_t ext;
        gi_ext_init(&ext);
        ext.drain = self->core.draining;
        ext.epoch = self->w->node[self->node].life;
        ext.idempotent = (gate_bytes_t){"again", 5};
        sim_link_add_packed(&m, gi_ext_pack(&packed, &ext), &packed);
        self->ext_told = true;
        self->told_ms = self->w->now;
    }
    sim_link_send(self, &m);
}

/* Its callers are gone: whatever is said to them is said to nobody. */
static void s_forget(sim_service_t *self) {
    self->epoch++;
    gi_service_core_lost(&self->core, &self->link);
    sim_service_check(self);
}

/* It is of no use any more: another after a while. */
static void s_lose(sim_service_t *self) {
    sim_node_t *node = &self->w->node[self->node];
    s_forget(self);
    sim_queue_clear(&self->out);
    self->ext = self->ext_told = false;
    self->state = SIM_LINK_DOWN;
    self->closing = true;
    sim_cut(self->w, self->node, 1 + sim_dice(self->w, 5));
    self->closing = false;
    s_name(self);
    node->connect_ms =
        self->core.draining ? INT64_MAX : self->w->now + self->backoff_ms;
    if (self->core.draining) /* nothing to come back for */
        self->state = SIM_LINK_LEFT;
    self->backoff_ms *= 2;
    if (self->backoff_ms > BACKOFF_MAX)
        self->backoff_ms = BACKOFF_MAX;
}

static bool s_talks(const sim_service_t *self) {
    return self->state == SIM_LINK_READY_SENT || self->state == SIM_LINK_UP;
}

void sim_service_up(sim_world_t *w, unsigned node) {
    sim_service_t *self = w->node[node].serves;
    if (self->state == SIM_LINK_LEFT)
        return;
    self->core.now_ms = w->now;
    self->epoch++;
    s_ready(self);
}

void sim_service_cut(sim_world_t *w, unsigned node) {
    sim_service_t *self = w->node[node].serves;
    self->core.now_ms = w->now;
    if (!self->closing && s_talks(self) && !self->core.stopping)
        s_lose(self);
}

/* ---- requests ------------------------------------------------------------ */
bool sim_is_in_place(const sim_scall_t *c) {
    return c->does.way == SIM_AT_ONCE || c->does.way == SIM_KEEPER ||
           c->does.way == SIM_JOB;
}

static sim_scall_t *s_find(sim_service_t *self, gate_bytes_t client,
                           gate_bytes_t id) {
    for (sim_scall_t *c = self->used; c; c = c->next)
        if (sim_scall_on_link(self, c) && c->life.found &&
            c->client_size == client.size && c->id_size == id.size &&
            memcmp(c->client, client.data, client.size) == 0 &&
            memcmp(c->id, id.data, id.size) == 0)
            return c;
    return NULL;
}

static void s_take_ext(sim_scall_t *c, gate_bytes_t frame) {
    gi_life_t *life = &c->life;
    gi_ext_t ext;
    if (gi_ext_parse(frame, &ext) != GATE_OK)
        sim_fail(c->service->w, "an extension that cannot be read");
    if (ext.timeout_ms >= 0)
        life->deadline_ms = c->service->w->now + ext.timeout_ms;
    if (ext.credit_items < 0 && ext.credit_bytes < 0)
        return;
    life->credited = true;
    life->credit.items =
        ext.credit_items >= 0 ? ext.credit_items : GI_CREDIT_FREE;
    life->credit.bytes =
        ext.credit_bytes >= 0 ? ext.credit_bytes : GI_CREDIT_FREE;
}

static void s_args(sim_scall_t *c, gate_bytes_t func, gate_bytes_t args) {
    const unsigned char *p = args.data;
    gate_bytes_t name;
    char text[8] = "";
    if (args.size != SIM_ARGS || gi_rpc_parse_func(func, &name) ||
        name.size >= sizeof text)
        sim_fail(c->service->w, "a request that nobody made");
    memcpy(text, name.data, name.size);
    c->call = (unsigned)p[2] << 8 | p[3];
    c->does = sim_handler(text, p[5], p[7]);
}

/* What the broker may not ask for. */
static void s_may_ask(sim_service_t *self, const sim_scall_t *asked) {
    unsigned n = 0;
    for (const sim_scall_t *c = self->used; c; c = c->next)
        n += c != asked && sim_scall_on_link(self, c) && !c->answers;
    if (n >= SIM_SLOTS)
        sim_fail(self->w, "a worker of %d slots is given one more", SIM_SLOTS);
    if (self->released)
        sim_fail(self->w, "call %u comes to a worker that was let go",
                 asked->call);
}

static void s_no_memory(sim_service_t *self, gate_bytes_t client,
                        gate_bytes_t id) {
    static const gate_error_t story = {GATE_NOMEM, "MemoryError",
                                       "no memory for the call", ""};
    gi_frames_t m;
    sim_link_begin(&m, GI_MDP_REPLY);
    gi_frames_add(&m, client.data, client.size);
    gi_frames_add_const(&m, GI_FRAME_EMPTY);
    gi_frames_add(&m, id.data, id.size);
    sim_link_add_single(&m, &story);
    sim_link_send(self, &m);
}

static void s_request(sim_service_t *self, const sim_msg_t *m,
                      const gi_mdp_worker_t *r) {
    const gate_bytes_t client = m->f[r->client_id], id = m->f[r->request_id];
    unsigned n = r->n_body;
    sim_scall_t *c = sim_scall_new(self);
    if (!c) {
        s_no_memory(self, client, id);
        return;
    }
    c->epoch = self->epoch;
    c->life.owner = &self->link;
    c->life.remote = true;
    c->life.credit.items = SIM_WINDOW;
    c->life.credit.bytes = self->w->settings->stream_max_bytes;
    memcpy(c->client, client.data, c->client_size = (unsigned)client.size);
    memcpy(c->id, id.data, c->id_size = (unsigned)id.size);
    if (gi_ext_is(m->f[r->body + n - 1]))
        s_take_ext(c, m->f[r->body + --n]);
    if (n != 3)
        sim_fail(self->w, "a request of %u frames", n);
    s_args(c, m->f[r->body], m->f[r->body + 1]);
    if (self->state == SIM_LINK_UP)
        s_may_ask(self, c);
    if (s_find(self, client, id))
        sim_fail(self->w, "call %u is given twice to a worker", c->call);
    c->credit = c->life.credit.items;
    c->life.in_place = sim_is_in_place(c);
    c->life.lends = c->does.way == SIM_PROCESS;
    gi_life_arrive(&c->life);
}

static void s_told(sim_service_t *self, const sim_msg_t *m,
                   const gi_mdp_worker_t *r) {
    gi_ext_t ext;
    sim_scall_t *c = s_find(self, m->f[r->client_id], m->f[r->request_id]);
    if (!c)
        return;
    if (r->n_body != 1 || gi_ext_parse(m->f[r->body], &ext) != GATE_OK)
        sim_fail(self->w, "an extension that cannot be read");
    if (ext.cancel) {
        gi_life_cancel(&c->life);
        return;
    }
    if (ext.credit_items > 0 && c->credit != GI_CREDIT_FREE)
        c->credit += ext.credit_items;
    gi_life_credit(&c->life, ext.credit_items, ext.credit_bytes);
}

/* ---- what a broker says of itself ---------------------------------------- */
static void s_heartbeat(sim_service_t *self, const sim_msg_t *m,
                        const gi_mdp_worker_t *r) {
    bool fresh = self->state == SIM_LINK_READY_SENT;
    if (fresh) {
        self->state = SIM_LINK_UP;
        self->backoff_ms = BACKOFF_MIN;
    }
    if (r->n_body == 1 && gi_ext_is(m->f[r->body])) {
        gi_ext_t ext;
        if (gi_ext_parse(m->f[r->body], &ext) != GATE_OK)
            sim_fail(self->w, "an extension that cannot be read");
        self->ext = true;
        if (fresh) /* what came so far was for who had our name before */
            s_forget(self);
        self->released |= ext.drain;
        if (ext.drain && !self->core.draining)
            sim_fail(self->w, "service %u is told to drain: by whom?",
                     self->node);
    }
    if (self->ext && !self->ext_told) {
        s_announce(self);
        return;
    }
    gi_frames_t out;
    sim_link_begin(&out, GI_MDP_HEARTBEAT);
    sim_link_send(self, &out);
}

static void s_disconnect(sim_service_t *self) {
    bool registered = self->state == SIM_LINK_UP;
    s_forget(self);
    if (self->state == SIM_LINK_LEFT)
        return;
    if (self->core.draining)
        self->state = SIM_LINK_LEFT;
    else if (registered)
        s_ready(self);
    else
        s_lose(self);
}

void sim_service_message(sim_world_t *w, unsigned node, const sim_msg_t *m) {
    sim_service_t *self = w->node[node].serves;
    gi_mdp_worker_t r;
    if (self->core.stopping)
        return;
    self->core.now_ms = w->now;
    if (gi_mdp_parse_broker(m->f, m->n, &r) != GATE_OK)
        sim_fail(w, "a worker hears what is no message of a broker");
    switch (r.command) {
    case GI_MDP_REQUEST:
        s_request(self, m, &r);
        break;
    case GI_MDP_EXT:
        s_told(self, m, &r);
        break;
    case GI_MDP_HEARTBEAT:
        s_heartbeat(self, m, &r);
        break;
    default:
        s_disconnect(self);
    }
    sim_service_check(self);
    sim_hands_submit(self);
    sim_service_check(self);
}

/* ---- life ---------------------------------------------------------------- */
void sim_service_start(sim_world_t *w, unsigned node, bool named) {
    sim_service_t *self = calloc(1, sizeof *self);
    self->w = w;
    self->node = node;
    self->named = named;
    self->backoff_ms = BACKOFF_MIN;
    self->gone_ms = INT64_MAX;
    self->worked_ms = w->now;
    self->mail_last = &self->mail;
    if (gi_service_core_init(&self->core, w->node[node].service,
                             &sim_service_ops, w->now))
        abort();
    self->core.limit = SIM_SLOTS;
    self->core.call_max_ms = SIM_SERVE_MAX;
    for (unsigned i = 0; i < SIM_SCALLS; i++) {
        self->calls[i].service = self;
        gi_credit_init(&self->calls[i].life.credit, 0, 0);
        self->calls[i].next = self->free;
        self->free = &self->calls[i];
    }
    w->node[node].serves = self;
    w->node[node].busy_ms = 0;
    s_name(self);
}

/* Its process is gone: nothing is said. */
void sim_service_end(sim_world_t *w, unsigned node) {
    sim_service_t *self = w->node[node].serves;
    w->node[node].serves = NULL;
    sim_hands_end(self);
    sim_queue_clear(&self->out);
    for (unsigned i = 0; i < SIM_SCALLS; i++)
        gi_credit_fini(&self->calls[i].life.credit);
    gi_service_core_fini(&self->core);
    free(self);
}

static void s_bye(sim_service_t *self) {
    gi_frames_t m;
    sim_link_begin(&m, GI_MDP_DISCONNECT);
    gi_frames_add(&m, "bye", 3);
    if (s_talks(self))
        sim_link_send(self, &m);
    self->state = SIM_LINK_LEFT;
    self->gone_ms = self->w->now + LINGER;
}

/* Nothing under way, nothing to come. */
static void s_try_leave(sim_service_t *self) {
    bool idle = !self->core.n_live && !self->core.n_waiting && !self->out.n;
    bool may = self->state == SIM_LINK_UP ? self->released || !self->ext
                                          : self->state != SIM_LINK_READY_SENT;
    if (idle && may && self->gone_ms == INT64_MAX)
        s_bye(self);
}

void sim_service_leave(sim_world_t *w, unsigned node, bool at_once) {
    sim_service_t *self = w->node[node].serves;
    if (self->core.draining || self->core.stopping)
        return;
    self->core.now_ms = w->now;
    if (!at_once) {
        self->core.draining = true;
        if (s_talks(self))
            s_announce(self);
        return;
    }
    gi_service_core_stop(&self->core);
    sim_service_check(self);
    if (self->core.n_live || self->core.n_waiting)
        sim_fail(w, "service %u was stopped and has calls", node);
    s_bye(self);
}

bool sim_service_over(const sim_world_t *w, unsigned node) {
    const sim_service_t *self = w->node[node].serves;
    return self && self->gone_ms <= w->now;
}

void sim_service_perturb(sim_world_t *w, unsigned node) {
    sim_service_t *self = w->node[node].serves;
    for (sim_scall_t *c = self->used; c; c = c->next)
        if (c->life.remote) {
            w->call[c->call].perturbed = true;
            c->hidden = true;
        }
}

/* ---- time ---------------------------------------------------------------- */
static void s_check_silence(sim_service_t *self) {
    sim_node_t *node = &self->w->node[self->node];
    int64_t now = self->w->now;
    if (now - self->worked_ms > SIM_HEARTBEAT)
        self->woke_ms = now;
    if (now - self->worked_ms > 2 * SIM_HEARTBEAT) /* we stood still */
        node->heard_ms = now;
    self->worked_ms = now;
    if (s_talks(self) && now - node->heard_ms >= SIM_SILENCE)
        s_lose(self);
}

static void s_pass(sim_service_t *self) {
    self->core.now_ms = self->w->now;
    sim_hands_mail(self);
    s_check_silence(self);
    sim_link_flush(self);
    gi_life_pull_all(&self->core);
    gi_service_core_tick(&self->core, self->w->now);
    if (self->core.n_waiting && (int64_t)self->core.n_live < self->core.limit)
        sim_fail(self->w, "service %u: a call waits, and there is room",
                 self->node);
    sim_service_check(self);
    sim_hands_submit(self);
    sim_service_check(self);
    if (self->core.draining)
        s_try_leave(self);
    sim_service_in_time(self);
    sim_service_check_gone(self);
}

void sim_service_tick(sim_world_t *w, unsigned node) {
    sim_service_t *self = w->node[node].serves;
    if (self->core.stopping)
        return;
    sim_hands_work(self);
    sim_local_work(self);
    if (w->node[node].busy_ms <= w->now)
        s_pass(self);
}

static int64_t s_sooner(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t sim_service_next(const sim_world_t *w, unsigned node) {
    const sim_service_t *self = w->node[node].serves;
    int64_t next = self->gone_ms, work;
    if (self->core.stopping)
        return next;
    next = s_sooner(next, sim_hands_next(self));
    next = s_sooner(next, sim_local_next(self));
    work =
        s_sooner(gi_service_core_next(&self->core), sim_hands_mail_next(self));
    work = s_sooner(work, self->worked_ms + SIM_HEARTBEAT);
    if (self->out.first)
        work = s_sooner(work, w->now + 5);
    if (self->core.pulled && !self->out.first)
        work = s_sooner(work, w->now + 1);
    if (s_talks(self))
        work = s_sooner(work, w->node[node].heard_ms + SIM_SILENCE);
    if (work < w->node[node].busy_ms)
        work = w->node[node].busy_ms;
    return s_sooner(next, work);
}

/* Everybody has read, heard and given back. */
void sim_service_at_end(sim_world_t *w, unsigned node) {
    const sim_service_t *self = w->node[node].serves;
    if (!self)
        return;
    if (self->core.n_live || self->core.n_waiting)
        sim_fail(w, "at the end service %u has %zu calls, and %zu wait", node,
                 self->core.n_live, self->core.n_waiting);
    if (self->used)
        sim_fail(w, "at the end service %u has the memory of call %u", node,
                 self->used->call);
    if (self->out.n)
        sim_fail(w, "at the end service %u has messages that wait", node);
}
