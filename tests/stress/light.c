/* SPDX-License-Identifier: BSD-3-Clause */
/* light.c -- many services in one process: what each costs in memory, when it
 * has just been started and once it has had some calls. Counted, not timed.
 * stress_light [SERVICES] */
#include <gaterpc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

#define SERVICES 400 /* 3,000 with GATE_LONG, as programs had trouble with */
#define MANY 3000
#define CALLS 20
#define KIB_EACH_MAX 52

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

static gate_service_t *s_start(gate_runtime_t *rt, int i) {
    char name[16];
    snprintf(name, sizeof name, "S%d", i);
    gate_service_t *service = gate_service_new(rt, name);
    CHECK(service, "%s", gate_error()->text);
    gate_service_methods(service, s_methods, NULL);
    CHECK(gate_service_start(service, NULL) == GATE_OK, "service %d: %s", i,
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
static void s_bounded(const char *when, long before_kib, int n) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    long each_kib = (s_resident_kib() - before_kib) / n;
    printf("%d services %s: %ld KiB each\n", n, when, each_kib);
    CHECK(each_kib <= KIB_EACH_MAX, "%s: %ld KiB each", when, each_kib);
#else
    (void)when, (void)before_kib, (void)n;
#endif
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : getenv("GATE_LONG") ? MANY : SERVICES;
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_service_t **services = calloc((size_t)n, sizeof *services);
    gate_service_t *first = s_start(rt, n);
    gate_client_t *client = gate_client_new(rt);
    CHECK(gate_client_connect(client, NULL) == GATE_OK, "connect");
    s_call(client, n);
    long before_kib = s_resident_kib();
    for (int i = 0; i < n; i++)
        services[i] = s_start(rt, i);
    s_bounded("have started", before_kib, n);
    for (int k = 0; k < CALLS; k++)
        for (int i = 0; i < n; i++)
            s_call(client, i);
    s_bounded("were called", before_kib, n);
    for (int i = 0; i < n; i++)
        gate_service_destroy(&services[i]);
    gate_client_destroy(&client);
    gate_service_destroy(&first);
    gate_runtime_destroy(&rt);
    free(services);
    return 0;
}
