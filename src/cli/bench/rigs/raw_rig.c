/* SPDX-License-Identifier: BSD-3-Clause */
/* raw_rig.c -- the references over ZeroMQ: what the sockets alone can do. */
#include "bench/rigs/raw.h"
#include "bench/rigs/rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    S_BATCH = 256,
    S_LANES = 64,
    S_WINDOW = 1024, /* items of a stream under way */
    S_ASK = 256,     /* items asked for at a time */
    S_CHUNK = 131072
};

typedef struct s_raw {
    gi_spec_t *spec;
    gi_shape_t shape;
    bool direct;
    void *ctx;
    pthread_t proxy, worker;
    bool has_proxy, has_worker;
    void *lanes[S_LANES];
    int n_lanes;
} s_raw_t;

static bool s_fail(const char *what) {
    fprintf(stderr, "gate: reference: %s: %s\n", what,
            zmq_strerror(zmq_errno()));
    return false;
}

/* ---- broker and worker --------------------------------------------------- */
static bool s_up_proxy(s_raw_t *self) {
    gi_spec_t *spec = self->spec;
    gi_raw_proxy_t *p = calloc(1, sizeof *p);
    if (!p)
        return false;
    p->front = gi_raw_socket(self->ctx, ZMQ_ROUTER);
    p->back = gi_raw_socket(self->ctx, ZMQ_DEALER);
    if (!gi_raw_bind(p->front, spec->frontend, sizeof spec->frontend) ||
        !gi_raw_bind(p->back, spec->backend, sizeof spec->backend))
        return s_fail("bind");
    self->has_proxy =
        !pthread_create(&self->proxy, NULL, gi_raw_proxy_thread, p);
    return self->has_proxy;
}

static bool s_up_worker(s_raw_t *self) {
    gi_spec_t *spec = self->spec;
    gi_raw_worker_t *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    bool router = self->direct && spec->clients > 1;
    w->socket = gi_raw_socket(self->ctx, router ? ZMQ_ROUTER : ZMQ_DEALER);
    w->shape = self->shape;
    w->routed = router || !self->direct;
    if (self->direct
            ? !gi_raw_bind(w->socket, spec->frontend, sizeof spec->frontend)
            : zmq_connect(w->socket, spec->backend))
        return s_fail(spec->backend);
    self->has_worker =
        !pthread_create(&self->worker, NULL, gi_raw_worker_thread, w);
    return self->has_worker;
}

static void s_down(void *arg);

static void *s_up(gi_spec_t *spec, gi_shape_t shape, bool direct) {
    s_raw_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    *self = (s_raw_t){.spec = spec, .shape = shape, .direct = direct};
    self->ctx = zmq_ctx_new();
    zmq_ctx_set(self->ctx, ZMQ_MAX_SOCKETS, 65536);
    if ((spec->parts & GI_BROKER && !s_up_proxy(self)) ||
        (spec->parts & GI_SERVICE && !s_up_worker(self))) {
        s_down(self);
        return NULL;
    }
    return self;
}

/* ---- the client ---------------------------------------------------------- */
typedef struct s_lane {
    s_raw_t *rig;
    void *socket;
    uint8_t id[GI_RAW_ID]; /* stamp, then a number */
    void *args;
    size_t args_size;
    uint64_t stamp;  /* of the request for many */
    int64_t to_come; /* messages asked for and not here */
    int64_t asked;   /* since the last request of a stream */
    bool endless, stopping;
} s_lane_t;

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_lane_t *self = lane->self;
    memcpy(self->id, &stamp, sizeof stamp);
    if (self->rig->shape == GI_SHAPE_ONE) {
        memcpy(self->args, self->id, GI_RAW_ID);
        return zmq_send(self->socket, self->args, self->args_size, 0) >= 0;
    }
    return gi_raw_send_call(self->socket, "Bench0", "echo", self->id,
                            self->args, self->args_size);
}

static void s_poll(void *socket, int64_t wait_ns) {
    zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, wait_ns > 0 ? (long)((wait_ns + 999999) / 1000000) : 0);
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_lane_t *self = lane->self;
    int id_frame = self->rig->shape == GI_SHAPE_ONE ? 0 : 3;
    uint8_t id[GI_RAW_ID];
    uint64_t stamp;
    for (int i = 0; i < S_BATCH; i++) {
        if (!gi_raw_recv(self->socket, id_frame, id, NULL)) {
            if (i || !wait_ns)
                return;
            s_poll(self->socket, wait_ns);
            continue;
        }
        memcpy(&stamp, id, sizeof stamp);
        gi_lane_done(lane, stamp, true);
    }
}

static bool s_prepare(gi_lane_t *lane) {
    s_lane_t *self = lane->self;
    free(self->args);
    self->args = gi_raw_args(lane->load->size + GI_RAW_ID, &self->args_size);
    self->args_size =
        self->rig->shape == GI_SHAPE_ONE
            ? (lane->load->size > GI_RAW_ID ? lane->load->size : GI_RAW_ID)
            : lane->load->size + 6;
    return self->args != NULL;
}

/* ---- many messages for one request --------------------------------------- */
static bool s_ask(s_lane_t *self, uint32_t n, uint32_t size) {
    const gi_many_t many = {n, size};
    self->to_come += n;
    return gi_raw_send_call(self->socket, "Bench0", "stream", self->id, &many,
                            sizeof many);
}

static bool s_send_many(gi_lane_t *lane, uint64_t stamp) {
    s_lane_t *self = lane->self;
    uint64_t size = lane->load->size;
    self->stamp = stamp;
    self->stopping = false;
    if (self->endless) {
        for (int i = 0; i < S_WINDOW / S_ASK; i++)
            if (!s_ask(self, S_ASK, (uint32_t)size))
                return false;
        return true;
    }
    return s_ask(self, (uint32_t)((size + S_CHUNK - 1) / S_CHUNK), S_CHUNK);
}

static void s_item(gi_lane_t *lane) {
    s_lane_t *self = lane->self;
    self->to_come--;
    if (self->endless) {
        gi_lane_item(lane);
        if (++self->asked >= S_ASK && !self->stopping) {
            self->asked = 0;
            (void)!s_ask(self, S_ASK, (uint32_t)lane->load->size);
        }
    }
    if (!self->to_come)
        gi_lane_done(lane, self->stamp, true);
}

static void s_reap_many(gi_lane_t *lane, int64_t wait_ns) {
    s_lane_t *self = lane->self;
    uint8_t id[GI_RAW_ID];
    for (int i = 0; i < S_BATCH && self->to_come; i++) {
        if (gi_raw_recv(self->socket, 3, id, NULL)) {
            s_item(lane);
            continue;
        }
        if (i || !wait_ns)
            return;
        s_poll(self->socket, wait_ns);
    }
}

static void s_stop_many(gi_lane_t *lane) {
    ((s_lane_t *)lane->self)->stopping = true;
}

/* ---- life ---------------------------------------------------------------- */
static s_lane_t *s_lane(s_raw_t *rig) {
    s_lane_t *self = calloc(1, sizeof *self);
    if (!self || rig->n_lanes == S_LANES)
        return NULL;
    rig->lanes[rig->n_lanes++] = self;
    self->rig = rig;
    self->socket = gi_raw_socket(rig->ctx, ZMQ_DEALER);
    if (!self->socket || zmq_connect(self->socket, rig->spec->frontend)) {
        s_fail(rig->spec->frontend);
        return NULL;
    }
    return self;
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    (void)i;
    *lane = (gi_lane_t){.self = s_lane(rig),
                        .prepare = s_prepare,
                        .send = s_send,
                        .reap = s_reap};
    return lane->self != NULL;
}

static bool s_make_many(void *rig, int i, gi_lane_t *lane) {
    (void)i;
    *lane = (gi_lane_t){.self = s_lane(rig),
                        .send = s_send_many,
                        .reap = s_reap_many,
                        .stop = s_stop_many};
    return lane->self != NULL;
}

static bool s_make_items(void *rig, int i, gi_lane_t *lane) {
    bool ok = s_make_many(rig, i, lane);
    if (ok)
        ((s_lane_t *)lane->self)->endless = true;
    return ok;
}

static void s_down(void *arg) {
    s_raw_t *self = arg;
    for (int i = 0; i < self->n_lanes; i++) {
        s_lane_t *lane = self->lanes[i];
        if (lane->socket)
            zmq_close(lane->socket);
        free(lane->args);
        free(lane);
    }
    zmq_ctx_shutdown(self->ctx);
    if (self->has_proxy)
        pthread_join(self->proxy, NULL);
    if (self->has_worker)
        pthread_join(self->worker, NULL);
    zmq_ctx_term(self->ctx);
    free(self);
}

static void *s_up_call(gi_spec_t *spec) {
    return s_up(spec, GI_SHAPE_CALL, false);
}

static void *s_up_one(gi_spec_t *spec) {
    return s_up(spec, GI_SHAPE_ONE, false);
}

static void *s_up_many(gi_spec_t *spec) {
    return s_up(spec, GI_SHAPE_MANY, false);
}

static void *s_up_direct(gi_spec_t *spec) {
    return s_up(spec, GI_SHAPE_CALL, true);
}

enum { S_ALL = GI_BROKER | GI_SERVICE | GI_CLIENT };

const gi_kind_t gi_kind_proxy = {"zmq_proxy", S_ALL, s_up_call, s_make, s_down};
const gi_kind_t gi_kind_one_frame = {"zmq_proxy-1-frame", S_ALL, s_up_one,
                                     s_make, s_down};
const gi_kind_t gi_kind_direct = {"direct", GI_SERVICE | GI_CLIENT, s_up_direct,
                                  s_make, s_down};
const gi_kind_t gi_kind_items = {"zmq_proxy-items", S_ALL, s_up_many,
                                 s_make_items, s_down};
const gi_kind_t gi_kind_chunks = {"zmq_proxy-chunks", S_ALL, s_up_many,
                                  s_make_many, s_down};
