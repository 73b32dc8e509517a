/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.c -- see rig.h. */
#include "rig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *rig_name(rig_way_t way) {
    static const char *const names[] = {"inproc", "ipc", "tcp", "registry"};
    return names[way];
}

gate_settings_t *rig_settings(void) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "heartbeat", 500);
    gate_settings_set(s, "timeout", 2);
    gate_settings_set(s, "reply_timeout", 5);
    gate_settings_set(s, "log_level", "error");
    return s;
}

#define MUST(call)                                                      \
    do {                                                                \
        gate_err_t e_ = (call);                                         \
        cr_assert_eq(e_, GATE_OK, "%s: %s", #call, gate_error()->text); \
    } while (0)

static void s_endpoints(rig_t *self, rig_way_t way, char *front, char *back) {
    static int n;
    n++;
    if (way == RIG_TCP) {
        strcpy(front, "tcp://127.0.0.1:*");
        strcpy(back, "tcp://127.0.0.1:*");
    } else if (way == RIG_INPROC) {
        sprintf(front, "inproc://rig-front-%d", n);
        sprintf(back, "inproc://rig-back-%d", n);
    } else {
        strcpy(self->dir, "/tmp/gate-rig-XXXXXX");
        cr_assert_not_null(mkdtemp(self->dir));
        sprintf(front, "ipc://%s/f", self->dir);
        sprintf(back, "ipc://%s/b", self->dir);
    }
}

void rig_up(rig_t *self, rig_way_t way, const gate_settings_t *settings,
            const gate_method_t *table, void *ctx) {
    char front[128], back[128];
    *self = (rig_t){0};
    gate_settings_t *s =
        settings ? gate_settings_dup(settings) : rig_settings();
    gate_settings_set(s, "route", way == RIG_REGISTRY ? "local" : "broker");
    self->rt = gate_runtime_new(s);
    gate_settings_destroy(&s);
    self->service = gate_service_new(self->rt, "Test");
    gate_service_methods(self->service, table, ctx);
    self->client = gate_client_new(self->rt);
    if (way == RIG_REGISTRY) {
        MUST(gate_service_start(self->service, NULL));
        MUST(gate_client_connect(self->client, NULL));
        return;
    }
    s_endpoints(self, way, front, back);
    self->broker = gate_broker_new(self->rt);
    gate_broker_bind(self->broker, front);
    gate_broker_bind_backend(self->broker, back);
    MUST(gate_broker_start(self->broker));
    MUST(gate_service_start(self->service,
                            gate_broker_backend(self->broker, 0)));
    MUST(gate_service_ready(self->service, 3000));
    MUST(gate_client_connect(self->client,
                             gate_broker_frontend(self->broker, 0)));
    MUST(gate_client_ready(self->client, 3000));
}

void rig_down(rig_t *self) {
    char path[80];
    gate_client_destroy(&self->client);
    gate_service_destroy(&self->service);
    gate_broker_destroy(&self->broker);
    gate_runtime_destroy(&self->rt);
    if (*self->dir) {
        sprintf(path, "%s/f", self->dir);
        unlink(path);
        sprintf(path, "%s/b", self->dir);
        unlink(path);
        rmdir(self->dir);
    }
}

int rig_fds(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}
