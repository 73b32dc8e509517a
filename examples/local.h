/* SPDX-License-Identifier: BSD-3-Clause */
/* local.h -- for the examples that need a broker: one in this process, a
 * service and a client connected to it over ipc in a directory of its own. */
#ifndef LOCAL_H
#define LOCAL_H

#include <gaterpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct local {
    char dir[32], frontend[64], backend[64];
    gate_runtime_t *rt;
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client;
} local_t;

static inline void local_stop(local_t *l) {
    gate_client_destroy(&l->client);
    gate_service_destroy(&l->service);
    gate_broker_destroy(&l->broker);
    gate_runtime_destroy(&l->rt);
    unlink(l->frontend + 6);
    unlink(l->backend + 6);
    rmdir(l->dir);
}

/* Ends the program with the error's text when anything fails. */
static inline void local_start(local_t *l, const gate_settings_t *settings,
                               const char *name, const gate_method_t *methods) {
    snprintf(l->dir, sizeof l->dir, "/tmp/gate-XXXXXX");
    if (!mkdtemp(l->dir))
        exit(1);
    snprintf(l->frontend, sizeof l->frontend, "ipc://%s/f", l->dir);
    snprintf(l->backend, sizeof l->backend, "ipc://%s/b", l->dir);
    l->rt = gate_runtime_new(settings);
    l->broker = gate_broker_new(l->rt);
    gate_broker_bind(l->broker, l->frontend);
    gate_broker_bind_backend(l->broker, l->backend);
    l->service = gate_service_new(l->rt, name);
    gate_service_methods(l->service, methods, NULL);
    l->client = gate_client_new(l->rt);
    if (gate_broker_start(l->broker) ||
        gate_service_start(l->service, l->backend) ||
        gate_service_ready(l->service, 5000) ||
        gate_client_connect(l->client, l->frontend) ||
        gate_client_ready(l->client, 5000)) {
        int code = gate_perror("start");
        local_stop(l);
        exit(code);
    }
}

#endif
