/* SPDX-License-Identifier: BSD-3-Clause */
/* light.c -- many services and clients in one process: what each costs in
 * memory, when it has just been started and once it has had some calls; at a
 * broker of the same process, with what that keeps of it. Counted, not timed.
 * stress_light [SERVICES] */
#include <gaterpc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

#define SERVICES 400 /* 3,000 with GATE_LONG, as programs had trouble with */
#define MANY 3000
#define CALLS 20
#define KIB_ALONE_MAX 64
#define KIB_AT_BROKER_MAX 104
#define WAIT_MS 60000

static gate_err_t s_add(gate_call_t *call) {
    long a, b;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static const gate_method_t s_methods[] = {{.name = "add", .fn = s_add},
                                          GATE_END};

static long s_resident_kib(void) {
    long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%ld %ld", &all, &resident) == 2, "statm");
    fclose(f);
    return resident * 4;
}

static gate_service_t *s_start(gate_runtime_t *rt, int i, const char *backend) {
    char name[16];
    snprintf(name, sizeof name, "S%d", i);
    gate_service_t *service = gate_service_new(rt, name);
    CHECK(service, "%s", gate_error()->text);
    gate_service_methods(service, s_methods, NULL);
    CHECK(gate_service_start(service, backend) == GATE_OK, "service %d: %s", i,
          gate_error()->text);
    return service;
}

static void s_call(gate_client_t *client, int i) {
    char method[32];
    long sum = 0;
    snprintf(method, sizeof method, "S%d.add", i);
    CHECK(gate_client_call(client, method, &sum, 2, i) == GATE_OK, "%s: %s",
          method, gate_error()->text);
    CHECK(sum == 2 + i, "%ld", sum);
}

/* Sanitizers have memory of their own for each allocation. */
static void s_bounded(const char *when, long before_kib, int n, long max) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    long each_kib = (s_resident_kib() - before_kib) / n;
    printf("%d %s: %ld KiB each\n", n, when, each_kib);
    CHECK(each_kib <= max, "%s: %ld KiB each", when, each_kib);
#else
    (void)when, (void)before_kib, (void)n, (void)max;
#endif
}

static void s_stop(gate_service_t **services, int n) {
    for (int i = 0; i < n; i++)
        gate_service_destroy(&services[i]);
}

static void s_alone(gate_runtime_t *rt, gate_service_t **services, int n) {
    gate_service_t *first = s_start(rt, n, NULL);
    gate_client_t *client = gate_client_new(rt);
    CHECK(gate_client_connect(client, NULL) == GATE_OK, "connect");
    s_call(client, n);
    long before_kib = s_resident_kib();
    for (int i = 0; i < n; i++)
        services[i] = s_start(rt, i, NULL);
    s_bounded("services have started", before_kib, n, KIB_ALONE_MAX);
    for (int k = 0; k < CALLS; k++)
        for (int i = 0; i < n; i++)
            s_call(client, i);
    s_bounded("services were called", before_kib, n, KIB_ALONE_MAX);
    s_stop(services, n);
    gate_client_destroy(&client);
    gate_service_destroy(&first);
}

static gate_client_t *s_connect(gate_runtime_t *rt, const char *frontend) {
    gate_client_t *client = gate_client_new(rt);
    CHECK(gate_client_connect(client, frontend) == GATE_OK &&
              gate_client_ready(client, WAIT_MS) == GATE_OK,
          "%s", gate_error()->text);
    return client;
}

static void s_services_at(gate_runtime_t *rt, gate_broker_t *broker,
                          gate_service_t **services, int n) {
    long before_kib = s_resident_kib();
    for (int i = 0; i < n; i++)
        services[i] = s_start(rt, i, gate_broker_backend(broker, 0));
    for (int i = 0; i < n; i++)
        CHECK(gate_service_ready(services[i], WAIT_MS) == GATE_OK, "%d: %s", i,
              gate_error()->text);
    s_bounded("services at a broker", before_kib, n, KIB_AT_BROKER_MAX);
}

static void s_clients_at(gate_runtime_t *rt, gate_broker_t *broker,
                         gate_client_t **clients, int n) {
    long before_kib = s_resident_kib();
    for (int i = 0; i < n; i++)
        clients[i] = s_connect(rt, gate_broker_frontend(broker, 0));
    s_bounded("clients at a broker", before_kib, n, KIB_AT_BROKER_MAX);
}

/* As many of both; each client has a service of its own. Clients come first:
 * who connects is told the names of all services. */
static void s_at_broker(gate_runtime_t *rt, gate_service_t **services, int n) {
    gate_client_t **clients = calloc((size_t)n, sizeof *clients);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_bind(broker, "inproc://light-front");
    gate_broker_bind_backend(broker, "inproc://light-back");
    CHECK(gate_broker_start(broker) == GATE_OK, "%s", gate_error()->text);
    gate_client_t *first = s_connect(rt, gate_broker_frontend(broker, 0));
    s_clients_at(rt, broker, clients, n);
    s_services_at(rt, broker, services, n);
    for (int i = 0; i < n; i++)
        s_call(clients[i], i);
    for (int i = 0; i < n; i++)
        gate_client_destroy(&clients[i]);
    s_stop(services, n);
    gate_client_destroy(&first);
    gate_broker_destroy(&broker);
    free(clients);
}

/* In a process of its own: memory that others left would be used again. */
static void s_apart(void (*part)(gate_runtime_t *, gate_service_t **, int),
                    int n) {
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        GATE_OWN(gate_settings) settings = gate_settings_new();
        gate_settings_set(settings, "log_level", "silent");
        gate_runtime_t *rt = gate_runtime_new(settings);
        gate_service_t **services = calloc((size_t)n, sizeof *services);
        part(rt, services, n);
        gate_runtime_destroy(&rt);
        free(services);
        exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0,
          "child: %d", status);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : getenv("GATE_LONG") ? MANY : SERVICES;
    s_apart(s_alone, n);
    s_apart(s_at_broker, n);
    return 0;
}
