/* SPDX-License-Identifier: BSD-3-Clause */
/* lanes.c -- synchronous callers; each writes down when the last call that
 * brought a right answer had begun. */
#include "lanes.h"
#include "child.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct lane {
    lanes_t *of;
    gate_client_t *client;
    pthread_t thread;
    int64_t n;                /* its calls so far */
    _Atomic double good_from; /* when its last right call began */
} lane_t;

struct lanes {
    ledger_t *ledger;
    const char *method;
    size_t n;
    int64_t timeout_ms;
    double pause_ms;
    atomic_bool stop;
    lane_t lane[LANES_MAX];
};

static bool s_call(lane_t *self) {
    int64_t a = ++self->n, b = self - self->of->lane, sum = -1;
    size_t id = ledger_open(self->of->ledger, a + b);
    if (id == SIZE_MAX)
        return false;
    double begin = child_now_ms();
    gate_err_t e = gate_client_call(self->client, self->of->method, &sum, a, b,
                                    gate_timeout_ms(self->of->timeout_ms));
    ledger_final(self->of->ledger, id, e, sum);
    if (e == GATE_OK)
        atomic_store(&self->good_from, begin);
    else
        child_sleep_ms(1);
    return true;
}

static void *s_run(void *arg) {
    lane_t *self = arg;
    while (!atomic_load(&self->of->stop) && s_call(self))
        if (self->of->pause_ms > 0)
            child_sleep_ms(self->of->pause_ms);
    return NULL;
}

static lanes_t *s_start(const char *method, gate_client_t *const *clients,
                        size_t n_clients, ledger_t *ledger, size_t n,
                        int64_t timeout_ms, double pause_ms) {
    lanes_t *self = calloc(1, sizeof *self);
    if (!self || n > LANES_MAX)
        child_die("no memory for the lanes");
    self->ledger = ledger;
    self->method = method;
    self->n = n;
    self->timeout_ms = timeout_ms;
    self->pause_ms = pause_ms;
    for (size_t i = 0; i < n; i++) {
        self->lane[i].of = self;
        self->lane[i].client = clients[i % n_clients];
        if (pthread_create(&self->lane[i].thread, NULL, s_run, &self->lane[i]))
            child_die("no thread");
    }
    return self;
}

lanes_t *lanes_start(gate_client_t *client, ledger_t *ledger, size_t n,
                     int64_t timeout_ms, double pause_ms) {
    return s_start("Demo.add", &client, 1, ledger, n, timeout_ms, pause_ms);
}

lanes_t *lanes_start_each(gate_client_t *const *clients, size_t n_clients,
                          ledger_t *ledger, size_t n, int64_t timeout_ms,
                          double pause_ms) {
    return s_start("Demo.add", clients, n_clients, ledger, n, timeout_ms,
                   pause_ms);
}

lanes_t *lanes_start_of(const char *method, gate_client_t *client,
                        ledger_t *ledger, size_t n, int64_t timeout_ms,
                        double pause_ms) {
    return s_start(method, &client, 1, ledger, n, timeout_ms, pause_ms);
}

double lanes_all_back(lanes_t *self, double limit_ms) {
    double begin = child_now_ms();
    for (size_t i = 0; i < self->n; i++)
        while (atomic_load(&self->lane[i].good_from) <= begin) {
            if (child_now_ms() - begin > limit_ms)
                return -1;
            child_sleep_ms(1);
        }
    return child_now_ms() - begin;
}

void lanes_stop(lanes_t **self_p) {
    lanes_t *self = *self_p;
    atomic_store(&self->stop, true);
    for (size_t i = 0; i < self->n; i++)
        pthread_join(self->lane[i].thread, NULL);
    free(self);
    *self_p = NULL;
}

gate_runtime_t *lanes_runtime(void) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    if (!settings)
        child_die("no settings");
    if (!getenv("GATE_LOG_LEVEL"))
        gate_settings_set(settings, "log_level", "error");
    gate_runtime_t *runtime = gate_runtime_new(settings);
    if (!runtime || gate_runtime_start(runtime) != GATE_OK)
        child_die("no runtime: %s", gate_error()->text);
    return runtime;
}

gate_client_t *lanes_client(gate_runtime_t *runtime, const char *frontend) {
    gate_client_t *client = gate_client_new(runtime);
    if (!client || gate_client_connect(client, frontend) != GATE_OK ||
        gate_client_ready(client, (int64_t)(10000 * child_slow())) != GATE_OK)
        child_die("no client on %s: %s", frontend, gate_error()->text);
    return client;
}

int64_t lanes_count(gate_client_t *client, const char *name) {
    int64_t n = -1;
    GATE_OWN(gate_value) stats = NULL;
    if (gate_client_call(client, "Gate.stats", &stats) ||
        gate_value_read(stats, name, &n))
        child_fail("no %s in Gate.stats: %s", name, gate_error()->text);
    return n;
}

/* Each that is there has one. */
int lanes_fds(gate_client_t *client, pid_t broker) {
    int64_t there = lanes_count(client, "lanes");
    return child_fds(broker) - (int)there;
}
