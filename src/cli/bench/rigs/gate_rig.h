/* SPDX-License-Identifier: BSD-3-Clause */
/* gate_rig.h -- what the kinds of rigs around the library share. */
#ifndef GI_GATE_RIG_H
#define GI_GATE_RIG_H

#include "bench/rigs/rig.h"
#include <gaterpc/zap.h>

enum { GI_GATE_LANES = 64 };

typedef struct gi_gate_rig {
    gi_spec_t *spec; /* borrowed from the role */
    gate_runtime_t *runtime;
    gate_broker_t *broker;
    gate_broker_t *near; /* joined with it, the clients' own; NULL: none */
    gate_zap_t *zap;
    gate_service_t **services;
    int n_services;
    void *lanes[GI_GATE_LANES];
    void (*lane_down[GI_GATE_LANES])(void *lane);
    int n_lanes;
} gi_gate_rig_t;

/* The item of a benched stream. */
typedef struct gi_item {
    size_t size;
    char data[];
} gi_item_t;

void *gi_gate_rig_up(gi_spec_t *spec);
void gi_gate_rig_down(void *self);
/* Takes: lane is given to down before the clients' runtime goes. */
bool gi_gate_rig_keep(gi_gate_rig_t *self, void *lane, void (*down)(void *));
/* Gives a connected client. */
bool gi_gate_rig_client(gi_gate_rig_t *self, gate_client_t **client);
/* Dispatches completions, waiting up to wait_ns for the first. */
void gi_gate_rig_reap(gate_cq_t *cq, int64_t wait_ns);
/* The method and job of echo benchmarks: gives back its one argument. */
gate_err_t gi_gate_rig_echo(gate_call_t *call);
/* Borrows, the same each time: size bytes of json, hex or random. */
gate_bytes_t gi_huge_data(const char *kind, size_t size);

#endif
