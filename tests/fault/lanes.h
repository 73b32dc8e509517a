/* SPDX-License-Identifier: BSD-3-Clause */
/* lanes.h -- threads that call Demo.add without pause, each call in a ledger,
 * until told to stop. Thread: the test's main. */
#ifndef LANES_H
#define LANES_H

#include "ledger.h"

#define LANES_MAX 256

typedef struct lanes lanes_t;

/* n threads over one client; each call has timeout_ms; pause_ms between the
 * calls of a lane (after a failure at least 1). */
lanes_t *lanes_start(gate_client_t *client, ledger_t *ledger, size_t n,
                     int64_t timeout_ms, double pause_ms);
/* The same with n_clients clients, which the lanes share in turn. */
lanes_t *lanes_start_each(gate_client_t *const *clients, size_t n_clients,
                          ledger_t *ledger, size_t n, int64_t timeout_ms,
                          double pause_ms);
/* As lanes_start, of another method that adds two numbers ("Local.add"). */
lanes_t *lanes_start_of(const char *method, gate_client_t *client,
                        ledger_t *ledger, size_t n, int64_t timeout_ms,
                        double pause_ms);
/* Waits until each lane has had a right answer to a call begun after this one;
 * the milliseconds it took, or -1 after limit_ms. */
double lanes_all_back(lanes_t *self, double limit_ms);
/* Ends and joins them. */
void lanes_stop(lanes_t **self_p);

/* A number of Gate.stats; fails the test and gives -1 without it. */
int64_t lanes_count(gate_client_t *client, const char *name);
/* Descriptors of the broker, without those of lanes that came meanwhile. */
int lanes_fds(gate_client_t *client, pid_t broker);
/* A connected client of a started runtime, or the program ends. */
gate_client_t *lanes_client(gate_runtime_t *runtime, const char *frontend);
/* A runtime with log_level error, or the program ends. */
gate_runtime_t *lanes_runtime(void);

#endif
