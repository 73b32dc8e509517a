/* SPDX-License-Identifier: BSD-3-Clause */
/* affinity.h -- the setting cpus: where actors and ZeroMQ's I/O threads run.
 * Thread: any. Blocks: never. */
#ifndef GI_AFFINITY_H
#define GI_AFFINITY_H

#include <gaterpc/settings.h>

/* GATE_BADARG: it is no list of CPUs, or this process may use none of them. */
gate_err_t gi_affinity_check(const gate_settings_t *settings) GATE_MUST;
/* The calling thread, an actor's. */
void gi_affinity_actor(const gate_settings_t *settings);
/* Around the making of a pool: threads inherit, and pools are not for the CPUs
 * of the actor that happens to make one. Nothing on other threads. */
void gi_affinity_loosen(void);
void gi_affinity_tighten(void);
/* A ZeroMQ context without any socket yet: its threads are made with the first
 * one. */
void gi_affinity_context(const gate_settings_t *settings, void *context);

#endif
