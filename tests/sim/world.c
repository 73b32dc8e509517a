/* SPDX-License-Identifier: BSD-3-Clause */
/* world.c -- what happens, when, and the laws. Time jumps from one thing that is
 * due to the next. */
#include "sim.h"
#include "broker/gate/broker_gate.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const sim_op_names[SIM_OPS] = {"call",  "wait",  "cancel", "read",
                                           "kill",  "start", "cut",    "freeze",
                                           "stall", "leave", "broker", "local"};
uint64_t sim_n_events, sim_n_calls, sim_n_finals, sim_n_items;

static sim_world_t s_world; /* 4,096 calls are too much for a stack */
static sigjmp_buf s_failed;

_Noreturn void sim_fail(sim_world_t *w, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->why, sizeof w->why, fmt, args);
    va_end(args);
    siglongjmp(s_failed, 1);
}

/* A core's own assert is a law as any other: one thread, and no lock is held. */
static void s_aborted(int signal) {
    (void)signal;
    strcpy(s_world.why, "an assert of a core, see above");
    siglongjmp(s_failed, 1);
}

static const gi_broker_effects_t s_effects = {.gate = &gi_broker_internal_ops,
                                              .send = sim_broker_send};

/* ---- the broker ------------------------------------------------------------- */
static void s_broker_start(sim_world_t *w) {
    unsigned number;
    w->core = gi_broker_core_new(w->settings,
                                 (const unsigned char *)"0123456789abcdef",
                                 &s_effects, w, w->now);
    if (!w->core || gi_broker_core_socket(w->core, false, &number) ||
        gi_broker_core_socket(w->core, true, &number))
        abort();
}

static void s_broker_dies(sim_world_t *w) {
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (w->node[i].conn) {
            sim_cut(w, i, 0);
            w->node[i].connect_ms = w->now + 100;
        }
    for (unsigned i = 0; i < SIM_CONNS; i++) /* nobody is left to be told */
        w->conn[i] = (sim_conn_t){0};
    gi_broker_core_destroy(&w->core);
    s_broker_start(w);
    for (unsigned i = 0; i < w->n_calls; i++)
        w->call[i].perturbed = true;
    for (unsigned i = SIM_CLIENTS; i < SIM_NODES; i++)
        if (w->node[i].alive && !w->node[i].extended) {
            /* Python's notices by silence; it has that behind it here */
            w->node[i].life &= 0x7fff;
            memset(w->node[i].slots, 0, sizeof w->node[i].slots);
        }
}

/* ---- nodes ------------------------------------------------------------------ */
static void s_start(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    if (self->alive)
        return;
    self->alive = true;
    self->life = (self->life & 0x7fff) + 1;
    self->stalled_ms = 0;
    if (sim_is_client(node)) {
        sim_client_start(w, node);
        return;
    }
    unsigned worker = node - SIM_CLIENTS;
    self->extended = worker % 2 == 0;
    self->service = worker == 3 ? "T" : "S";
    memset(self->slots, 0, sizeof self->slots);
    /* Python's keeps its name; ours has one a connection, or what it was given */
    if (self->extended)
        sim_service_start(w, node, worker == 2);
    else
        snprintf(self->id, sizeof self->id, "w%u000", node);
    sim_connect(w, node);
}

static void s_kill(sim_world_t *w, unsigned node, bool unseen) {
    sim_node_t *self = &w->node[node];
    int64_t delay = unseen ? SIM_LATE : 1 + sim_dice(w, 5);
    if (!self->alive)
        return;
    if (self->serves)
        sim_service_end(w, node);
    sim_client_dies(w, node);
    sim_cut(w, node, delay);
    self->alive = false;
    self->connect_ms = INT64_MAX;
    sim_queue_clear(&self->waiting);
    for (unsigned i = 0; i < SIM_OPEN; i++)
        if (self->open[i].used) {
            w->call[self->open[i].call].left = true;
            w->call[self->open[i].call].gone_ms = w->now + delay;
        }
    memset(self->open, 0, sizeof self->open);
    memset(self->slots, 0, sizeof self->slots);
}

/* What a worker has may now take longer than the law says. */
static void s_perturb(sim_world_t *w, unsigned node) {
    sim_node_t *self = &w->node[node];
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        if (self->slots[i].used)
            w->call[self->slots[i].call].perturbed = true;
    if (self->serves)
        sim_service_perturb(w, node);
    for (unsigned i = 0; i < SIM_OPEN; i++)
        if (self->open[i].used)
            w->call[self->open[i].call].perturbed = true;
}

static void s_do(sim_world_t *w, const sim_event_t *e) {
    unsigned node = e->a % SIM_NODES, client = e->a % SIM_CLIENTS;
    sim_node_t *self = &w->node[node];
    switch ((sim_op_t)e->op) {
    case SIM_CALL:
        if (w->node[client].alive && w->node[client].stalled_ms <= w->now)
            sim_client_call(w, client, e->b, e->c);
        break;
    case SIM_CANCEL:
        if (w->node[client].alive && w->node[client].stalled_ms <= w->now)
            sim_client_cancel(w, client, e->b);
        break;
    case SIM_READ:
        w->node[client].reads = e->b & 1;
        if (w->node[client].alive)
            sim_client_read(w, client);
        break;
    case SIM_KILL:
        s_kill(w, node, e->b & 1);
        break;
    case SIM_START:
        s_start(w, node);
        break;
    case SIM_CUT:
        s_perturb(w, node);
        sim_cut(w, node, 1 + e->c % 8);
        if (self->alive)
            self->connect_ms = w->now + 100 + 50 * e->b;
        break;
    case SIM_FREEZE:
        s_perturb(w, node);
        if (self->conn) {
            self->conn->thaw_ms = w->now + 50 * e->b;
            self->conn->dies = e->c & 1;
        }
        break;
    case SIM_STALL:
        s_perturb(w, node);
        self->stalled_ms = w->now + 50 * e->b;
        break;
    case SIM_LEAVE:
        node = SIM_CLIENTS + e->a % SIM_WORKERS;
        if (w->node[node].alive) {
            sim_worker_leave(w, node, e->c & 1);
            if (!w->node[node].serves)
                s_kill(w, node, false);
        }
        break;
    case SIM_BROKER:
        s_broker_dies(w);
        break;
    case SIM_LOCAL:
        node = SIM_CLIENTS + e->a % SIM_WORKERS;
        if (w->node[node].stalled_ms <= w->now)
            sim_local_call(w, node, e->b, e->c);
        break;
    default:
        break;
    }
}

/* ---- time ------------------------------------------------------------------- */
static bool s_acts(const sim_world_t *w, unsigned node) {
    return w->node[node].alive && w->node[node].stalled_ms <= w->now;
}

static int64_t s_next(const sim_world_t *w) {
    int64_t next = sim_net_next(w), core = gi_broker_core_next(w->core);
    if (core < next)
        next = core;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!w->node[i].alive)
            continue;
        int64_t at =
            sim_is_client(i) ? sim_client_next(w, i) : sim_worker_next(w, i);
        if (at < w->node[i].stalled_ms)
            at = w->node[i].stalled_ms;
        if (at < next)
            next = at;
    }
    return next;
}

static void s_work(sim_world_t *w) {
    while (sim_net_work(w))
        ;
    gi_broker_core_tick(w->core, w->now);
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (s_acts(w, i)) {
            if (sim_is_client(i))
                sim_client_tick(w, i);
            else
                sim_worker_tick(w, i);
            if (sim_service_over(w, i))
                s_kill(w, i, false);
        }
    if (gi_broker_core_blocked(w->core))
        gi_broker_core_retry(w->core, 64, w->now);
}

static void s_advance(sim_world_t *w, int64_t ms) {
    int64_t until = w->now + ms;
    for (;;) {
        s_work(w);
        int64_t next = s_next(w);
        /* who is full is tried again every few ms */
        if (gi_broker_core_blocked(w->core) && next > w->now + 5)
            next = w->now + 5;
        if (next > until)
            break;
        w->now = next > w->now ? next : w->now + 1;
    }
    w->now = until;
}

/* ---- laws ------------------------------------------------------------------- */
static void s_check(sim_world_t *w) {
    if (!gi_broker_core_valid(w->core))
        sim_fail(w, "the broker core's law is broken");
}

/* Everybody lives, hears and reads; then nothing may be left. */
static void s_quiet(sim_world_t *w) {
    for (unsigned i = 0; i < SIM_NODES; i++) {
        sim_node_t *self = &w->node[i];
        self->stalled_ms = 0;
        self->reads = true;
        if (self->conn)
            self->conn->thaw_ms = 0, self->conn->dies = false;
        s_start(w, i);
        if (!self->conn && self->connect_ms > w->now + 100)
            self->connect_ms = w->now + 100;
        if (sim_is_client(i))
            sim_client_read(w, i);
    }
    for (int i = 0; i < 30; i++)
        s_advance(w, 2000);
    s_check(w);
    if (!gi_broker_core_idle(w->core))
        sim_fail(w, "at the end the broker has calls under way or messages "
                    "that wait");
    for (unsigned i = SIM_CLIENTS; i < SIM_NODES; i++)
        sim_service_at_end(w, i);
    for (unsigned i = SIM_CLIENTS; i < SIM_NODES; i++)
        for (unsigned k = 0; k < SIM_SLOTS; k++)
            if (w->node[i].slots[k].used)
                sim_fail(w, "at the end worker %u has a slot for call %u", i,
                         w->node[i].slots[k].call);
}

static void s_begin(sim_world_t *w, uint64_t dice) {
    gate_settings_t *settings = w->settings;
    memset(w, 0, sizeof *w);
    w->settings = settings;
    w->now = 1000000;
    w->dice = dice | 1;
    s_broker_start(w);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        w->node[i].connect_ms = INT64_MAX;
        s_start(w, i);
    }
    s_advance(w, 100);
}

static void s_settings(sim_world_t *w) {
    if (w->settings)
        return;
    w->settings = gate_settings_new();
    w->settings->mdp_heartbeat_interval = SIM_HEARTBEAT;
    w->settings->timeout = SIM_QUEUE_MAX / 1000.0;
    w->settings->packed = false;
    w->settings->reply_timeout = SIM_REPLY_MAX / 1000.0;
    w->settings->queue_max = 16;
    w->settings->peer_queue_max = 32;
}

const char *sim_run(const sim_event_t *events, size_t n, uint64_t dice) {
    sim_world_t *w = &s_world;
    s_settings(w);
    signal(SIGABRT, s_aborted);
    bool fine = sigsetjmp(s_failed, 1) == 0;
    if (fine) {
        s_begin(w, dice);
        for (size_t i = 0; i < n; i++) {
            s_do(w, &events[i]);
            s_advance(w, events[i].op == SIM_WAIT
                             ? 8 * events[i].b + events[i].c
                             : 1 + events[i].c % 4);
            s_check(w);
            w->n_events++;
        }
        s_quiet(w);
        for (unsigned i = 0; i < SIM_NODES; i++)
            sim_client_dies(w, i);
    }
    for (unsigned i = SIM_CLIENTS; i < SIM_NODES; i++)
        if (w->node[i].serves)
            sim_service_end(w, i);
    sim_n_events += w->n_events;
    sim_n_calls += w->n_calls;
    sim_n_finals += w->n_finals;
    sim_n_items += w->n_items;
    sim_net_end(w);
    gi_broker_core_destroy(&w->core);
    return fine ? NULL : w->why;
}
