/* SPDX-License-Identifier: BSD-3-Clause */
/* crowd_rig.c -- many clients in few processes: raw DEALERs that speak the
 * wire, because an actor for each of 10,000 would measure threads. All of them
 * have made a call; `outstanding` of them have one under way, the next ones in
 * turn. What counts is what the broker pays. */
#include "bench/rigs/gate_rig.h"
#include "bench/rigs/proc.h"
#include "bench/rigs/raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S_ACTIVE = 1024, S_HELLO_MS = 10000, S_HELLO_BATCH = 100 };

typedef struct s_rig {
    gi_spec_t *spec;
    void *inner;    /* the broker's or service's rig */
    void *ctx;      /* the client's */
    void **sockets; /* crowd of them */
    int n, turn;
    void *args;
    size_t args_size;
    uint64_t number; /* of the last call */
    zmq_pollitem_t active[S_ACTIVE];
    int n_active;
} s_rig_t;

static const gi_kind_t *s_inner(const gi_spec_t *spec) {
    return spec->kind == &gi_kind_crowd ? &gi_kind_gate : &gi_kind_proxy;
}

/* ---- calls --------------------------------------------------------------- */
static bool s_start(s_rig_t *self, void *socket, uint64_t stamp) {
    const uint64_t id[2] = {stamp, ++self->number};
    if (self->n_active == S_ACTIVE ||
        !gi_raw_send_call(socket, "Bench0", "echo", id, self->args,
                          self->args_size))
        return false;
    self->active[self->n_active++] = (zmq_pollitem_t){socket, 0, ZMQ_POLLIN, 0};
    return true;
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_rig_t *self = lane->self;
    if (!s_start(self, self->sockets[self->turn], stamp))
        return false;
    if (++self->turn == self->n)
        self->turn = 0;
    return true;
}

/* Takes the answers that are there; how many. */
static int s_take(s_rig_t *self, gi_lane_t *lane, long wait_ms) {
    int taken = 0;
    uint64_t id[2];
    zmq_poll(self->active, self->n_active, wait_ms);
    for (int i = 0; i < self->n_active;) {
        if (!(self->active[i].revents & ZMQ_POLLIN) ||
            !gi_raw_recv(self->active[i].socket, 3, id, NULL)) {
            i++;
            continue;
        }
        self->active[i] = self->active[--self->n_active];
        taken++;
        if (lane)
            gi_lane_done(lane, id[0], true);
    }
    return taken;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_take(lane->self, lane, (long)(wait_ns / 1000000));
}

/* ---- the client process -------------------------------------------------- */
/* Everybody calls once, so that the broker knows them all. */
static bool s_hello(s_rig_t *self) {
    uint64_t until = gi_proc_now() + S_HELLO_MS * 1000000ull;
    for (int i = 0; i < self->n; i++) {
        if (!s_start(self, self->sockets[i], 0))
            return false;
        while (self->n_active >= S_HELLO_BATCH && gi_proc_now() < until)
            s_take(self, NULL, 100);
    }
    while (self->n_active && gi_proc_now() < until)
        s_take(self, NULL, 100);
    return !self->n_active;
}

static bool s_connect(s_rig_t *self) {
    gi_spec_t *spec = self->spec;
    self->ctx = zmq_ctx_new();
    zmq_ctx_set(self->ctx, ZMQ_MAX_SOCKETS, 65536);
    self->args = gi_raw_args(64, &self->args_size);
    self->sockets = calloc((size_t)spec->crowd, sizeof *self->sockets);
    if (!self->args || !self->sockets)
        return false;
    for (; self->n < spec->crowd; self->n++) {
        void *socket = gi_raw_socket(self->ctx, ZMQ_DEALER);
        if (!socket || zmq_connect(socket, spec->frontend)) {
            fprintf(stderr, "gate: client %d: %s\n", self->n,
                    zmq_strerror(zmq_errno()));
            return false;
        }
        self->sockets[self->n] = socket;
    }
    return s_hello(self);
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    *lane = (gi_lane_t){.self = rig, .send = s_send, .reap = s_reap};
    return i == 0;
}

/* ---- life ---------------------------------------------------------------- */
static void s_down(void *arg) {
    s_rig_t *self = arg;
    if (self->inner)
        s_inner(self->spec)->down(self->inner);
    for (int i = 0; i < self->n; i++)
        zmq_close(self->sockets[i]);
    if (self->ctx)
        zmq_ctx_term(self->ctx);
    free(self->sockets);
    free(self->args);
    free(self);
}

static void *s_up(gi_spec_t *spec) {
    s_rig_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->spec = spec;
    if (!(spec->parts & GI_CLIENT)) {
        self->inner = s_inner(spec)->up(spec);
        if (self->inner)
            return self;
    } else if (s_connect(self)) {
        return self;
    }
    s_down(self);
    return NULL;
}

enum { S_ALL = GI_BROKER | GI_SERVICE | GI_CLIENT };

const gi_kind_t gi_kind_crowd = {"gate", S_ALL, s_up, s_make, s_down};
const gi_kind_t gi_kind_crowd_proxy = {"zmq_proxy", S_ALL, s_up, s_make,
                                       s_down};
