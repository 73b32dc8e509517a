/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_rig.c -- the library's streams and huge results: a lane reads one. */
#include "bench/rigs/gate_rig.h"

#include <stdlib.h>
#include <string.h>

enum { S_BATCH = 256, S_ITEM_MS = 5000, S_HUGE_MS = 60000 };

typedef struct s_lane {
    gi_gate_rig_t *rig;
    gate_client_t *client;
    gate_stream_t *stream;
    uint64_t stamp;
} s_lane_t;

/* ---- streams ------------------------------------------------------------- */
static bool s_open(gi_lane_t *lane, uint64_t stamp) {
    s_lane_t *self = lane->self;
    self->stamp = stamp;
    gate_err_t e =
        gate_client_open(self->client, "Bench0.stream", &self->stream,
                         lane->load->size, gate_timeout_ms(S_ITEM_MS));
    if (e)
        gi_lane_done(lane, stamp, false);
    return true;
}

static void s_leave(gi_lane_t *lane) {
    s_lane_t *self = lane->self;
    if (!self->stream)
        return;
    gate_stream_destroy(&self->stream);
    gi_lane_done(lane, self->stamp, true);
}

static void s_read(gi_lane_t *lane, int64_t wait_ns) {
    s_lane_t *self = lane->self;
    gate_bytes_t item;
    (void)wait_ns;
    for (int i = 0; i < S_BATCH && self->stream; i++) {
        gate_err_t e = gate_stream_next(self->stream, &item);
        if (e || item.size != lane->load->size) {
            gate_stream_destroy(&self->stream);
            gi_lane_done(lane, self->stamp, false);
        } else {
            gi_lane_item(lane);
        }
    }
}

/* ---- huge results -------------------------------------------------------- */
static bool s_ask(gi_lane_t *lane, uint64_t stamp) {
    s_lane_t *self = lane->self;
    gate_bytes_t out = {NULL, 0};
    gate_err_t e =
        gate_client_call(self->client, "Bench0.huge", &out, lane->load->size,
                         self->rig->spec->data, gate_timeout_ms(S_HUGE_MS));
    gi_lane_done(lane, stamp, !e && out.size == lane->load->size);
    return true;
}

static void s_no_reap(gi_lane_t *lane, int64_t wait_ns) {
    (void)lane;
    (void)wait_ns;
}

/* ---- life ---------------------------------------------------------------- */
static void s_lane_down(void *arg) {
    s_lane_t *self = arg;
    gate_stream_destroy(&self->stream);
    gate_client_destroy(&self->client);
    free(self);
}

static bool s_make(void *rig, gi_lane_t *lane) {
    s_lane_t *self = calloc(1, sizeof *self);
    if (!self || !gi_gate_rig_keep(rig, self, s_lane_down))
        return false;
    self->rig = rig;
    lane->self = self;
    return gi_gate_rig_client(rig, &self->client);
}

static bool s_make_stream(void *rig, int i, gi_lane_t *lane) {
    (void)i;
    *lane = (gi_lane_t){.send = s_open, .reap = s_read, .stop = s_leave};
    return s_make(rig, lane);
}

static bool s_make_huge(void *rig, int i, gi_lane_t *lane) {
    (void)i;
    *lane = (gi_lane_t){.send = s_ask, .reap = s_no_reap};
    return s_make(rig, lane);
}

const gi_kind_t gi_kind_stream = {"gate", GI_BROKER | GI_SERVICE | GI_CLIENT,
                                  gi_gate_rig_up, s_make_stream,
                                  gi_gate_rig_down};
const gi_kind_t gi_kind_huge = {"gate", GI_BROKER | GI_SERVICE | GI_CLIENT,
                                gi_gate_rig_up, s_make_huge, gi_gate_rig_down};
const gi_kind_t gi_kind_huge_far = {
    "gate, two brokers", GI_BROKER | GI_SERVICE | GI_CLIENT, gi_gate_rig_up,
    s_make_huge, gi_gate_rig_down};
