/* SPDX-License-Identifier: BSD-3-Clause */
/* fanout.c -- `gate bench fanout`: one client asks more and more services, and
 * services with more and more workers, in turns with one of each. */
#include "bench/session.h"

static void s_one(gi_session_t *self, const char *transport, int pin,
                  int services, int workers) {
    gi_cell_t cell = {.label = services > 1 ? "services" : "workers"};
    gi_spec_t specs[2] = {gi_session_spec(self, &gi_kind_gate, transport, pin),
                          gi_session_spec(self, &gi_kind_gate, transport, pin)};
    specs[0].services = services;
    specs[0].workers = workers;
    specs[1].services = specs[1].workers = 1;
    if (!gi_session_open(self, &cell, specs, 2))
        return;
    cell.load = gi_session_load(self, 1000, 64);
    gi_session_measure(self, &cell);
    gi_session_close(&cell);
}

void gi_fanout(gi_session_t *self) {
    static const int counts[] = {4, 16, 64};
    static const char *const transports[] = {"inproc", "ipc", "tcp"};
    gi_numbers_t pins;
    gi_numbers_parse(self->args->pins, &pins);
    for (int p = 0; p < pins.n; p++)
        for (int t = 0; t < 3; t++)
            for (int c = 0; c < 6 && !self->failed; c++)
                if (gi_word_in(self->transports, transports[t]))
                    s_one(self, transports[t], (int)pins.items[p],
                          c < 3 ? counts[c] : 1, c < 3 ? 1 : counts[c - 3]);
}
