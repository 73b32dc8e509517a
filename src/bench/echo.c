/* SPDX-License-Identifier: BSD-3-Clause */
/* echo.c -- `gate bench echo`: whole calls through client, broker and service,
 * by transport, calls under way and payload, each beside its references. */
#include "session.h"

#include <stdio.h>
#include <string.h>

static const char *const s_transports[] = {"registry", "inproc", "ipc", "tcp"};
static const char *const s_runs[] = {"inline", "thread", "process"};

/* Timing each call would cost a good part of one where no socket is. */
enum { S_SAMPLE_LOCAL = 16, S_KINDS = 5 };

/* True when calls without (or with) authentication are asked for. */
static bool s_asked(const gi_session_t *self, const char *auth) {
    const gi_bench_args_t *args = self->args;
    const char *usual = args->user ? "plain" : "off";
    return gi_word_in(args->auths ? args->auths : usual, auth);
}

static void s_authenticate(const gi_session_t *self, gi_spec_t *spec) {
    bool named = self->args->user != NULL;
    spec->user = named ? self->args->user : "bench";
    spec->password = named ? self->args->password : "password";
}

static void s_transport_keys(const gi_session_t *self, gi_spec_t *spec) {
    spec->plain_user = self->args->plain_user;
    spec->plain_password = self->args->plain_password;
    spec->curve_cert = self->args->curve_cert;
    spec->curve_server = self->args->curve_server;
}

/* Ours and its reference, then ours with authentication beside it, then what
 * tells where the cost lies. The registry has no broker that could ask. */
static int s_specs(const gi_session_t *self, const char *transport, int pin,
                   gate_runs_t runs, gi_spec_t *specs) {
    bool registry = !strcmp(transport, "registry");
    bool both = !registry && s_asked(self, "off") && s_asked(self, "plain");
    const gi_kind_t *kinds[S_KINDS];
    int n = 0;
    kinds[n++] = &gi_kind_gate;
    kinds[n++] = registry ? &gi_kind_ring : &gi_kind_proxy;
    if (both)
        kinds[n++] = &gi_kind_gate;
    if (!registry && runs == GATE_INLINE) {
        kinds[n++] = &gi_kind_one_frame;
        kinds[n++] = &gi_kind_direct;
    }
    for (int i = 0; i < n; i++) {
        specs[i] = gi_session_spec(self, kinds[i], transport, pin);
        if (kinds[i] == &gi_kind_gate) {
            specs[i].runs = runs;
            s_transport_keys(self, &specs[i]);
        }
    }
    if (!registry && s_asked(self, "plain"))
        s_authenticate(self, &specs[both ? 2 : 0]);
    return n;
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
    gi_spec_t specs[S_KINDS];
    gi_cell_t cell = {.n = 0};
    int n = s_specs(self, transport, pin, runs, specs);
    if (!gi_session_open(self, &cell, specs, n))
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
