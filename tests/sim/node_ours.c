/* SPDX-License-Identifier: BSD-3-Clause */
/* node_ours.c -- our client: its core, with a shell over the simulated network.
 * Whoever calls gives each call a deadline and reads its streams, unless the
 * events say that it does not. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "client/core/client_core.h"

enum { ENDED = 64 }; /* ids that are remembered */

typedef struct s_pending {
    gi_ccall_t call;
    sim_request_t request;
    sim_open_t *open;
    int64_t unread_ms; /* since when what came waits */
    unsigned outcomes;
    bool live; /* started and not left */
} s_pending_t;

struct sim_ours {
    gi_client_core_t *core;
    gi_login_t login;
    sim_world_t *w;
    unsigned node;
    s_pending_t pending[SIM_OPEN];
    struct {
        unsigned char id[GI_ID_SIZE];
        unsigned call;
    } ended[ENDED]; /* by a final message, in a ring: a second one is found */
    unsigned n_ended;
    bool hearing; /* a message */
    bool dead;    /* nothing leaves it */
    bool closing; /* it closes its connection itself */
};

static s_pending_t *s_pending(gi_ccall_t *call) {
    return (s_pending_t *)(void *)((char *)call - offsetof(s_pending_t, call));
}

static void s_check(sim_ours_t *self) {
    if (!gi_client_core_valid(self->core))
        sim_fail(self->w, "client %u: its core's law is broken", self->node);
}

/* ---- what the core does ----------------------------------------------------- */
static int s_send(void *ctx, uint8_t conn, gi_frames_t *frames) {
    sim_ours_t *self = ctx;
    const sim_conn_t *c = self->w->node[self->node].conn;
    if (conn)
        sim_fail(self->w, "client %u sends to a former connection", self->node);
    if (self->dead || !c || c->in.n >= SIM_HWM)
        return EAGAIN;
    sim_send(self->w, self->node, frames);
    return 0;
}

static void s_close(void *ctx) {
    sim_ours_t *self = ctx;
    self->closing = true;
    sim_cut(self->w, self->node, 1 + sim_dice(self->w, 5));
    self->closing = false;
}

static gate_err_t s_reopen(void *ctx, bool fresh) {
    sim_ours_t *self = ctx;
    sim_node_t *node = &self->w->node[self->node];
    s_close(self);
    if (fresh) {
        node->life++;
        snprintf(node->id, sizeof node->id, "c%u%03u", self->node,
                 node->life % 1000);
    }
    node->connect_ms = self->w->now + 1 + sim_dice(self->w, 100);
    return GATE_OK;
}

static gate_err_t s_move(void *ctx, uint8_t former) {
    sim_ours_t *self = ctx;
    sim_fail(self->w, "client %u moves (%u): nobody told it to", self->node,
             former);
}

static void s_trouble(void *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

static void s_outcome(sim_ours_t *self, gi_ccall_t *call) {
    s_pending_t *p = s_pending(call);
    if (!p->live || p->outcomes++)
        sim_fail(self->w, "call %u has two outcomes", p->open->call);
    self->w->n_finals += !self->dead;
}

static gate_err_t s_answer(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                           unsigned at) {
    (void)in;
    (void)at;
    s_outcome(ctx, call);
    return GATE_OK;
}

static gate_err_t s_item(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                         unsigned at) {
    sim_ours_t *self = ctx;
    s_pending_t *p = s_pending(call);
    gate_bytes_t item = gi_frames_at(in, at);
    unsigned got = item.size == 2 ? ((const unsigned char *)item.data)[1] : 999;
    if (got != p->open->next)
        sim_fail(self->w, "call %u: item %u came, %u is next", p->open->call,
                 got, p->open->next);
    if (p->outcomes)
        sim_fail(self->w, "call %u: an item after its end", p->open->call);
    p->open->next++;
    if (p->open->unread++ == 0)
        p->unread_ms = self->w->now;
    self->w->n_items++;
    return GATE_OK;
}

static void s_end(void *ctx, gi_ccall_t *call) {
    sim_ours_t *self = ctx;
    const sim_open_t *o = s_pending(call)->open;
    unsigned items = self->w->call[o->call].items;
    if (o->next != items)
        sim_fail(self->w, "call %u: END after %u of %u items", o->call, o->next,
                 items);
    s_outcome(self, call);
}

static void s_fail(void *ctx, gi_ccall_t *call, const gate_error_t *story) {
    (void)story;
    s_outcome(ctx, call);
}

static void s_times(void *ctx, gi_ccall_t *call, const gi_times_t *times) {
    sim_ours_t *self = ctx;
    (void)times;
    sim_fail(self->w, "call %u is traced: nobody asked",
             s_pending(call)->open->call);
}

static gate_err_t s_no_huge(void *ctx, gi_ccall_t *call, const gi_ext_t *ext) {
    (void)ctx;
    (void)call;
    (void)ext;
    return gi_err(GATE_NOTIMPL, "nothing is huge here");
}

static gate_err_t s_no_chunk(void *ctx, gi_ccall_t *call, gi_frames_t *in,
                             unsigned at) {
    (void)ctx;
    (void)call;
    (void)in;
    (void)at;
    return gi_err(GATE_NOTIMPL, "nothing is huge here");
}

static gate_err_t s_no_end(void *ctx, gi_ccall_t *call) {
    (void)ctx;
    (void)call;
    return gi_err(GATE_NOTIMPL, "nothing is huge here");
}

static int64_t s_idle_ms(void *ctx, gi_ccall_t *call, int64_t now_ms) {
    const s_pending_t *p = s_pending(call);
    (void)ctx;
    return p->open->unread ? now_ms - p->unread_ms : 0;
}

static void s_left(void *ctx, gi_ccall_t *call) {
    sim_ours_t *self = ctx;
    s_pending_t *p = s_pending(call);
    if (!p->live || p->outcomes != 1)
        sim_fail(self->w, "call %u leaves with %u outcomes", p->open->call,
                 p->outcomes);
    p->live = false;
    if (self->hearing) {
        unsigned at = self->n_ended++ % ENDED;
        memcpy(self->ended[at].id, call->id, GI_ID_SIZE);
        self->ended[at].call = p->open->call;
    }
    if (self->dead)
        return;
    self->w->call[p->open->call].ended = true;
    p->open->used = false;
}

static const gi_client_effects_t s_effects = {.send = s_send,
                                              .reopen = s_reopen,
                                              .move = s_move,
                                              .close = s_close,
                                              .trouble = s_trouble,
                                              .answer = s_answer,
                                              .item = s_item,
                                              .end = s_end,
                                              .fail = s_fail,
                                              .times = s_times,
                                              .huge = s_no_huge,
                                              .chunk = s_no_chunk,
                                              .chunks_end = s_no_end,
                                              .upload = s_no_end,
                                              .idle_ms = s_idle_ms,
                                              .left = s_left};

/* ---- life -------------------------------------------------------------------- */
void sim_ours_start(sim_world_t *w, unsigned node) {
    sim_ours_t *self = calloc(1, sizeof *self);
    gi_client_core_options_t options = {.settings = w->settings,
                                        .login = &self->login,
                                        .endpoint = "sim",
                                        .codecs = "gzip",
                                        .watched = true,
                                        .seed = w->dice};
    self->w = w;
    self->node = node;
    self->core = gi_client_core_new(&options, &s_effects, self, w->now);
    if (!self->core)
        abort();
    w->node[node].ours = self;
    gi_client_core_open(self->core, w->now);
}

void sim_ours_end(sim_world_t *w, unsigned node) {
    sim_ours_t *self = w->node[node].ours;
    w->node[node].ours = NULL;
    self->dead = true;
    gi_client_core_stop(self->core, w->now);
    gi_client_core_destroy(&self->core);
    free(self);
}

void sim_ours_up(sim_world_t *w, unsigned node) {
    sim_ours_t *self = w->node[node].ours;
    gi_client_core_connected(self->core, w->now);
    s_check(self);
}

void sim_ours_cut(sim_world_t *w, unsigned node) {
    sim_ours_t *self = w->node[node].ours;
    if (self->closing)
        return;
    gi_client_core_closed(self->core, 0, w->now);
    s_check(self);
}

/* ---- callers ------------------------------------------------------------------ */
void sim_ours_call(sim_world_t *w, unsigned node, unsigned which,
                   const sim_request_t *request) {
    sim_ours_t *self = w->node[node].ours;
    s_pending_t *p = &self->pending[which];
    sim_open_t *open = &w->node[node].open[which];
    const sim_call_t *call = &w->call[open->call];
    *p = (s_pending_t){.request = *request, .open = open, .live = true};
    p->call = (gi_ccall_t){
        .service = {p->request.service, strlen(p->request.service)},
        .body = p->request.body,
        .request = {.func_size = request->func_size,
                    .args_size = SIM_ARGS,
                    .kwargs_size = 1,
                    .timeout_ms = SIM_CALL_MS},
        .stream = call->stream,
        .deadline_travels = true,
        .deadline_ms = call->due_ms,
        .timeout_ms = SIM_CALL_MS,
        .retries = call->items % 3 ? 0 : 2,
        .pause_ms = 20};
    gi_client_core_start(self->core, &p->call, w->now);
    s_check(self);
}

void sim_ours_cancel(sim_world_t *w, unsigned node, unsigned which) {
    sim_ours_t *self = w->node[node].ours;
    gi_client_core_cancel(self->core, &self->pending[which].call, w->now);
    s_check(self);
    if (self->pending[which].live)
        sim_fail(w, "call %u was cancelled and stays",
                 self->pending[which].open->call);
}

void sim_ours_read(sim_world_t *w, unsigned node) {
    sim_ours_t *self = w->node[node].ours;
    for (unsigned i = 0; i < SIM_OPEN && w->node[node].reads; i++) {
        s_pending_t *p = &self->pending[i];
        int64_t unread = p->live ? p->open->unread : 0;
        if (unread == 0)
            continue;
        p->open->unread = 0;
        gi_client_core_credit(self->core, &p->call, (size_t)unread,
                              (size_t)unread * 2, w->now);
        s_check(self);
    }
}

/* ---- what comes in, time -------------------------------------------------------- */
static void s_no_second_end(sim_ours_t *self, const sim_msg_t *m) {
    gi_mdp_reply_t r;
    if (gi_mdp_parse_reply(m->f, m->n, &r) != GATE_OK)
        sim_fail(self->w, "a client hears what is no reply");
    gate_bytes_t id = m->f[r.request_id];
    if (id.size != GI_ID_SIZE ||
        !gi_body_is_final(gi_rpc_body_kind(m->f + r.body, r.n_body)))
        return;
    for (unsigned i = 0; i < self->n_ended && i < ENDED; i++)
        if (memcmp(self->ended[i].id, id.data, GI_ID_SIZE) == 0 &&
            !self->w->call[self->ended[i].call].perturbed &&
            !self->w->call[self->ended[i].call].left)
            sim_fail(self->w, "call %u has two ends", self->ended[i].call);
}

void sim_ours_message(sim_world_t *w, unsigned node, const sim_msg_t *m) {
    sim_ours_t *self = w->node[node].ours;
    gi_frames_t frames;
    s_no_second_end(self, m);
    frames.n = 0;
    for (unsigned i = 0; i < m->n; i++)
        gi_frames_add(&frames, m->f[i].data, m->f[i].size);
    self->hearing = true;
    gi_client_core_message(self->core, 0, &frames, w->now);
    self->hearing = false;
    gi_frames_close(&frames);
    s_check(self);
    sim_ours_read(w, node);
}

/* A call that was given a deadline ends at it, whatever else is wrong. */
static void s_in_time(sim_ours_t *self) {
    for (unsigned i = 0; i < SIM_OPEN; i++) {
        const s_pending_t *p = &self->pending[i];
        if (p->live && !p->call.stream && p->call.deadline_ms < self->w->now)
            sim_fail(self->w, "call %u is under way after its deadline",
                     p->open->call);
    }
}

void sim_ours_tick(sim_world_t *w, unsigned node) {
    sim_ours_t *self = w->node[node].ours;
    gi_client_core_tick(self->core, w->now);
    s_check(self);
    s_in_time(self);
    sim_ours_read(w, node);
}

int64_t sim_ours_next(const sim_world_t *w, unsigned node) {
    return gi_client_core_next(w->node[node].ours->core, w->now);
}
