/* SPDX-License-Identifier: BSD-3-Clause */
/* pool_rig.c -- the library's pools without RPC: tasks are submitted, their
 * futures complete into a queue. */
#include "bench/rigs/gate_rig.h"

#include <stdlib.h>
#include <string.h>

enum { S_ROOM = 5000 };

static gate_err_t s_nothing(gate_call_t *call) {
    (void)call;
    return GATE_OK;
}

typedef struct s_lane s_lane_t;

typedef struct s_ticket {
    s_lane_t *lane;
    uint64_t stamp;
    struct s_ticket *next; /* free */
} s_ticket_t;

typedef struct s_rig {
    gi_spec_t *spec;
    gate_runtime_t *runtime;
    gate_pool_t *pool;
    s_lane_t *lanes; /* all, linked */
} s_rig_t;

struct s_lane {
    gi_lane_t *lane;
    s_rig_t *rig;
    gate_cq_t *cq;
    char *payload;
    s_ticket_t *tickets, *free;
    s_lane_t *next;
};

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    s_ticket_t *ticket = ctx;
    s_lane_t *self = ticket->lane;
    uint64_t stamp = ticket->stamp;
    (void)value;
    ticket->next = self->free;
    self->free = ticket;
    gi_lane_done(self->lane, stamp, !e);
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_lane_t *self = lane->self;
    s_ticket_t *ticket = self->free;
    gate_future_t *f;
    if (!ticket)
        return false;
    self->free = ticket->next;
    ticket->stamp = stamp;
    if (self->rig->spec->runs == GATE_PROCESS) {
        gate_bytes_t in = {self->payload, lane->load->size};
        f = gate_submit(self->rig->pool, gi_gate_rig_echo, in);
    } else {
        f = gate_submit(self->rig->pool, s_nothing);
    }
    gate_future_then(&f, self->cq, s_done, ticket);
    return true;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    gi_gate_rig_reap(((s_lane_t *)lane->self)->cq, wait_ns);
}

static bool s_prepare(gi_lane_t *lane) {
    s_lane_t *self = lane->self;
    free(self->payload);
    self->payload = calloc(1, lane->load->size + 1);
    return self->payload != NULL;
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    s_rig_t *owner = rig;
    s_lane_t *self = calloc(1, sizeof *self);
    (void)i;
    if (!self)
        return false;
    self->next = owner->lanes;
    owner->lanes = self;
    self->rig = owner;
    self->lane = lane;
    self->cq = gate_cq_new();
    self->tickets = calloc(S_ROOM, sizeof *self->tickets);
    *lane = (gi_lane_t){
        .self = self, .prepare = s_prepare, .send = s_send, .reap = s_reap};
    for (int t = 0; t < S_ROOM && self->tickets; t++) {
        self->tickets[t] = (s_ticket_t){self, 0, self->free};
        self->free = &self->tickets[t];
    }
    return self->cq && self->tickets;
}

/* ---- life ---------------------------------------------------------------- */
static void s_down(void *arg) {
    s_rig_t *self = arg;
    gate_pool_destroy(&self->pool);
    while (self->lanes) {
        s_lane_t *lane = self->lanes;
        self->lanes = lane->next;
        gate_cq_destroy(&lane->cq);
        free(lane->tickets);
        free(lane->payload);
        free(lane);
    }
    gate_runtime_destroy(&self->runtime);
    free(self);
}

static bool s_start(s_rig_t *self) {
    bool processes = self->spec->runs == GATE_PROCESS;
    gate_pool_options_t options = {.workers = self->spec->pool};
    if (processes && gate_process_init())
        return false;
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "error");
    self->runtime = gate_runtime_new(settings);
    if (!self->runtime || gate_runtime_start(self->runtime))
        return false;
    self->pool = processes ? gate_procs_new(self->runtime, &options)
                           : gate_threads_new(self->runtime, &options);
    return self->pool != NULL;
}

static void *s_up(gi_spec_t *spec) {
    s_rig_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->spec = spec;
    if (s_start(self))
        return self;
    gate_perror("gate bench");
    s_down(self);
    return NULL;
}

const gi_kind_t gi_kind_threads = {"gate", GI_CLIENT, s_up, s_make, s_down};
const gi_kind_t gi_kind_processes = {"gate", GI_CLIENT, s_up, s_make, s_down};
