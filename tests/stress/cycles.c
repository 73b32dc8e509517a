/* SPDX-License-Identifier: BSD-3-Clause */
/* cycles.c -- a runtime with broker, service and client is made, called and
 * destroyed again and again: no leak (ASan), no race (TSan), no descriptor
 * left. GATE_SCALE scales the 1,000 cycles. */
#include <gaterpc.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static gate_err_t add(gate_call_t *call) {
    int64_t a = 0, b = 0;
    gate_err_t e = gate_args(call, &a, &b);
    return e == GATE_OK ? gate_return(call, a + b) : e;
}

static gate_err_t twice(gate_call_t *call) {
    int64_t a = 0;
    gate_err_t e = gate_args(call, &a);
    return e == GATE_OK ? gate_return(call, 2 * a) : e;
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(add), GATE_METHOD(twice, .runs = GATE_THREAD), GATE_END};

static int s_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

/* libzmq closes behind our back: the number once it has stood for 0.3 s. */
static int s_fds_at_rest(void) {
    const struct timespec pause = {0, 10000000L};
    int n = s_fds();
    for (int still = 0, tries = 0; still < 30 && tries < 1000; tries++) {
        nanosleep(&pause, NULL);
        int now = s_fds();
        still = now == n ? still + 1 : 0;
        n = now;
    }
    return n;
}

static void s_must(gate_err_t e, const char *what) {
    if (e == GATE_OK)
        return;
    fprintf(stderr, "FAIL: %s: %s: %s: %s\n", what, gate_err_name(e),
            gate_error()->cls, gate_error()->text);
    exit(1);
}

static void s_calls(gate_client_t *client, int64_t n) {
    int64_t got = -1;
    s_must(gate_client_call(client, "Cycle.add", &got, n, 1), "add");
    if (got != n + 1)
        s_must(GATE_BADDATA, "the sum");
    s_must(gate_client_call(client, "Cycle.twice", &got, n), "twice");
    if (got != 2 * n)
        s_must(GATE_BADDATA, "the double");
}

/* Odd cycles go through the broker's sockets, even ones may skip them. */
static void s_cycle(int64_t n) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", n % 2 ? "broker" : "auto");
    gate_settings_set(settings, "threads", 2);
    gate_settings_set(settings, "log_level", "error");
    gate_runtime_t *runtime = gate_runtime_new(settings);
    s_must(gate_runtime_start(runtime), "runtime");
    gate_broker_t *broker = gate_broker_new(runtime);
    gate_broker_bind(broker, "inproc://cycles-front");
    gate_broker_bind_backend(broker, "inproc://cycles-back");
    s_must(gate_broker_start(broker), "broker");
    gate_service_t *service = gate_service_new(runtime, "Cycle");
    gate_service_methods(service, s_methods, NULL);
    s_must(gate_service_start(service, "inproc://cycles-back"), "service");
    s_must(gate_service_ready(service, 10000), "ready");
    gate_client_t *client = gate_client_new(runtime);
    s_must(gate_client_connect(client, "inproc://cycles-front"), "client");
    s_calls(client, n);
    /* Half of the cycles end with a call in flight. */
    gate_future_t *left = gate_client_start(client, "Cycle.twice", n);
    if (n % 4 < 2)
        s_must(gate_future_wait(left, 10000, (void *)NULL), "future");
    gate_client_destroy(&client);
    gate_future_destroy(&left);
    gate_service_destroy(&service);
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&runtime);
}

/* The number of cycles; the variables are not settings of the library. */
static int s_count(void) {
    const char *scale = getenv("GATE_SCALE");
    double otherwise = getenv("GATE_LONG") ? 1.0 : 0.05;
    int cycles = (int)(1000 * (scale ? strtod(scale, NULL) : otherwise));
    unsetenv("GATE_SCALE");
    unsetenv("GATE_LONG");
    unsetenv("GATE_SLOW");
    return cycles;
}

int main(void) {
    int cycles = s_count();
    for (int i = 0; i < 4; i++)
        s_cycle(i); /* what is made once is made now */
    int fds = s_fds_at_rest();
    for (int i = 0; i < cycles; i++)
        s_cycle(i);
    int after = s_fds_at_rest();
    printf("cycles: %d, descriptors %d before, %d after\n", cycles, fds, after);
    return after == fds ? 0 : 1;
}
