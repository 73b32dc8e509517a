/* SPDX-License-Identifier: BSD-3-Clause */
/* echo.c -- `gate bench echo`: whole calls through client, broker and service,
 * by transport, calls under way and payload, each beside its references. */
#include "bench/session.h"

#include <stdio.h>
#include <string.h>

static const char *const s_transports[] = {"registry", "inproc", "ipc", "tcp"};
static const char *const s_wires[] = {"packed", "frames", "lane"};
static const char *const s_runs[] = {"inline", "thread", "process"};

/* Timing each call would cost a good part of one where no socket is. */
enum { S_SAMPLE_LOCAL = 16, S_KINDS = 9 };

/* ---- what stands in a cell ----------------------------------------------- */
typedef struct s_cell {
    const gi_session_t *session;
    const char *transport;
    int pin;
    gate_runs_t runs;
    gi_spec_t specs[S_KINDS];
    int n;
} s_cell_t;

static gi_spec_t *s_add(s_cell_t *self, const gi_kind_t *kind) {
    gi_spec_t *spec = &self->specs[self->n++];
    *spec = gi_session_spec(self->session, kind, self->transport, self->pin);
    return spec;
}

/* Ours in one form; the first is followed by the reference. The registry has
 * no broker that could ask, and no frames. */
static void s_add_ours(s_cell_t *self, bool plain, const char *wire) {
    const gi_bench_args_t *args = self->session->args;
    bool registry = !strcmp(self->transport, "registry");
    if (registry && self->n)
        return;
    gi_spec_t *spec = s_add(self, &gi_kind_gate);
    spec->runs = self->runs;
    spec->frames = !strcmp(wire, "frames") && !registry;
    if (strcmp(wire, "lane") != 0)
        spec->lane = "off";
    if (plain && !registry) {
        spec->user = args->user ? args->user : "bench";
        spec->password = args->user ? args->password : "password";
    }
    if (self->n == 1)
        s_add(self, registry ? &gi_kind_ring : &gi_kind_proxy);
}

/* Every form asked for, then what tells where the cost lies. */
static void s_specs(s_cell_t *self) {
    const gi_bench_args_t *args = self->session->args;
    const char *auths = args->auths  ? args->auths
                        : args->user ? "plain"
                                     : "off";
    const char *wires = args->wires                  ? args->wires
                        : !strcmp(args->lane, "off") ? "packed"
                                                     : "lane";
    for (size_t w = 0; w < sizeof s_wires / sizeof *s_wires; w++)
        for (int plain = 0; plain < 2; plain++)
            if (gi_word_in(wires, s_wires[w]) &&
                gi_word_in(auths, plain ? "plain" : "off"))
                s_add_ours(self, plain, s_wires[w]);
    if (strcmp(self->transport, "registry") != 0 && self->runs == GATE_INLINE) {
        s_add(self, &gi_kind_one_frame);
        s_add(self, &gi_kind_direct);
    }
}

static void s_sweep(gi_session_t *self, gi_cell_t *cell, bool registry) {
    gi_numbers_t sizes, outstanding;
    if (!gi_numbers_parse(self->sizes, &sizes) ||
        !gi_numbers_parse(self->outstanding, &outstanding))
        return;
    for (int s = 0; s < sizes.n && !self->failed; s++)
        for (int w = 0; w < outstanding.n && !self->failed; w++) {
            cell->load =
                gi_session_load(self, outstanding.items[w], sizes.items[s]);
            if (registry && outstanding.items[w] > 1)
                cell->load.sample_every = S_SAMPLE_LOCAL;
            gi_session_measure(self, cell);
        }
}

static void s_transport(gi_session_t *self, const char *transport, int pin,
                        gate_runs_t runs) {
    s_cell_t all = {
        .session = self, .transport = transport, .pin = pin, .runs = runs};
    gi_cell_t cell = {.n = 0};
    s_specs(&all);
    if (!gi_session_open(self, &cell, all.specs, all.n))
        return;
    s_sweep(self, &cell, !strcmp(transport, "registry"));
    gi_session_close(&cell);
}

/* Against a broker that runs already there is nothing to hold it against. */
static void s_foreign(gi_session_t *self, int pin) {
    const gi_bench_args_t *args = self->args;
    gi_spec_t spec = gi_session_spec(self, &gi_kind_gate, "broker", pin);
    gi_cell_t cell = {.n = 0};
    snprintf(spec.frontend, sizeof spec.frontend, "%s", args->broker);
    spec.method = args->method;
    spec.user = args->user;
    spec.password = args->password;
    spec.plain_user = args->plain_user;
    spec.plain_password = args->plain_password;
    spec.curve_cert = args->curve_cert;
    spec.curve_server = args->curve_server;
    if (!gi_session_open(self, &cell, &spec, 1))
        return;
    s_sweep(self, &cell, false);
    gi_session_close(&cell);
}

void gi_echo(gi_session_t *self) {
    gi_numbers_t pins;
    gi_numbers_parse(self->args->pins, &pins);
    for (int p = 0; p < pins.n; p++) {
        if (self->args->broker) {
            s_foreign(self, (int)pins.items[p]);
            continue;
        }
        for (size_t r = 0; r < sizeof s_runs / sizeof *s_runs; r++)
            for (size_t t = 0; t < sizeof s_transports / sizeof *s_transports;
                 t++)
                if (!self->failed && gi_word_in(self->args->runs, s_runs[r]) &&
                    gi_word_in(self->transports, s_transports[t]))
                    s_transport(self, s_transports[t], (int)pins.items[p],
                                gi_runs_of(s_runs[r]));
    }
}
