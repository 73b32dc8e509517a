/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_gate.h -- the internal service: what a broker answers itself. It stands
 * above the core and sees all of it; the core knows it as effects->gate. Thread,
 * units: as the core. */
#ifndef GI_BROKER_GATE_H
#define GI_BROKER_GATE_H

#include "broker/core/broker_state.h"

/* ---- broker_internal.c ---------------------------------------------------- */
extern const gi_broker_gate_ops_t gi_broker_internal_ops;
/* Functions of the internal service, as gate_broker_methods; runtime is what
 * their calls see (may be NULL). */
gate_err_t gi_broker_core_methods(gi_broker_core_t *self,
                                  const gate_method_t *table, void *ctx,
                                  gate_runtime_t *runtime) GATE_MUST;

/* ---- broker_own.c: the broker's own functions ----------------------------- */
/* Who asks, with how many arguments. */
typedef struct gi_broker_ask {
    gi_broker_core_t *core;
    gi_broker_peer_t *client;
    uint32_t n;
} gi_broker_ask_t;

typedef struct gi_broker_own {
    const char *name;
    /* args: the first one; NULL: there is none. */
    gate_err_t (*run)(const gi_broker_ask_t *ask, const msgpack_object *args,
                      msgpack_packer *pk);
    uint32_t least, most; /* how many it takes; two at most */
    bool open;            /* to everybody; else to us and by rule */
    const char *signature, *doc;
} gi_broker_own_t;
const gi_broker_own_t *gi_broker_own_find(gate_bytes_t name); /* or NULL */

/* ---- broker_stats.c ------------------------------------------------------- */
/* Appends {"services": {name: {...}}, counters...} as msgpack. */
gate_err_t gi_broker_core_stats(gi_broker_core_t *self,
                                gi_buf_t *out) GATE_MUST;
/* Appends what Gate.observe() tells. */
gate_err_t gi_broker_core_observe(gi_broker_core_t *self,
                                  gi_buf_t *out) GATE_MUST;
#define GI_BROKER_OBSERVED 2 /* entries: broker, services */
void gi_broker_stats_observe(gi_broker_core_t *core, msgpack_packer *pk);

#endif
