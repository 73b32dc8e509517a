/* SPDX-License-Identifier: BSD-3-Clause */
/* scale.c -- `gate bench scale`: does a call cost more when there are many
 * services, workers or clients? Each against few of them, in turns. */
#include "bench/session.h"

#include <stdio.h>

enum { S_MANY = 1000, S_CLIENTS = 10000, S_ACTIVE = 100, S_PROCESSES = 4 };

static void s_pair(gi_session_t *self, gi_cell_t *cell, const gi_spec_t *specs,
                   int64_t outstanding) {
    if (self->failed || !gi_session_open(self, cell, specs, 2))
        return;
    cell->load = gi_session_load(self, outstanding, 64);
    gi_session_measure(self, cell);
    gi_session_close(cell);
}

static void s_backend(gi_session_t *self, const char *transport, int pin,
                      int services, int workers) {
    gi_cell_t cell = {.label = services > 1 ? "services" : "workers"};
    gi_spec_t specs[2] = {gi_session_spec(self, &gi_kind_gate, transport, pin),
                          gi_session_spec(self, &gi_kind_gate, transport, pin)};
    specs[0].services = services;
    specs[0].workers = workers;
    specs[1].services = specs[1].workers = 1;
    s_pair(self, &cell, specs, S_ACTIVE);
}

/* Beside the same clients at zmq_proxy: what libzmq itself pays for them. The
 * memory is what a broker has more with all of them than with a few. */
static void s_clients(gi_session_t *self, const char *transport, int pin) {
    long base[2] = {0, 0};
    for (int many = 0; many < 2 && !self->failed; many++) {
        int crowd = many ? S_CLIENTS : S_PROCESSES * S_ACTIVE;
        gi_cell_t cell = {.label = "clients", .crowd = crowd};
        gi_spec_t specs[2] = {
            gi_session_spec(self, &gi_kind_crowd, transport, pin),
            gi_session_spec(self, &gi_kind_crowd_proxy, transport, pin)};
        for (int i = 0; i < 2; i++) {
            specs[i].clients = S_PROCESSES;
            specs[i].crowd = crowd / S_PROCESSES;
        }
        if (!gi_session_open(self, &cell, specs, 2))
            return;
        cell.load = gi_session_load(self, S_ACTIVE / S_PROCESSES, 64);
        bool ok = gi_session_measure(self, &cell);
        for (int i = 0; i < 2 && ok; i++) {
            long rss = gi_rig_rss(cell.rigs[i], GI_BROKER);
            if (many)
                cell.results[i]->broker_kib_per_client =
                    (double)(rss - base[i]) /
                    (S_CLIENTS - S_PROCESSES * S_ACTIVE);
            base[i] = rss;
        }
        gi_session_close(&cell);
    }
}

void gi_scale(gi_session_t *self) {
    static const char *const transports[] = {"ipc", "tcp"};
    gi_numbers_t pins;
    gi_numbers_parse(self->args->pins, &pins);
    for (int p = 0; p < pins.n; p++)
        for (int t = 0; t < 2; t++) {
            int pin = (int)pins.items[p];
            if (self->failed || !gi_word_in(self->transports, transports[t]))
                continue;
            s_backend(self, transports[t], pin, S_MANY, 1);
            s_backend(self, transports[t], pin, 1, S_MANY);
            s_clients(self, transports[t], pin);
        }
}
